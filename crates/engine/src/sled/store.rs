//! The rows of a store in sled's one tree: opening and counting them, writing a batch with its
//! head and tally, reading values and pages.

use std::fs::File;
use std::io::ErrorKind;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use ::sled::{Config, Db, IVec};

use super::blobs::Blobs;
use super::rows::{CHUNK_BYTES, Stored, chunks};
use crate::codec::{HEAD_KEY, caller_key, chunk_key, decode_head, encode_head, row_key};
use crate::folder::Folder;
use crate::quiet::{Panicked, catch};
use crate::span::Filling;
use crate::tally::{TALLY_BYTES, Tally};
use crate::{Batch, Error, Head, Key, Options, Page, ScanLimit, Value};

/// How often opening is tried while sled says that its file is locked: its threads may hold the
/// file a little longer than its handle. The folder is ours by then, so nobody else can.
const OPEN_TRIES_MAX: u32 = 100;
/// Between two tries.
const OPEN_PAUSE: Duration = Duration::from_millis(10);

/// sled's one tree, its files, and the folder they lie in.
pub(super) struct Store {
    /// `None` only while it is dropped.
    db: Option<Db>,
    data: File,
    blobs: Blobs,
    /// Of the rows that are durable.
    tally: Mutex<Tally>,
    // Dropped last: it holds the lock.
    pub(super) folder: Folder,
}

impl Store {
    pub(super) fn open(folder: Folder, options: Options) -> Result<Self, Error> {
        folder.check_open_space()?;
        let store = folder.store();
        let config =
            Config::new().path(&store).cache_capacity(options.cache_bytes).flush_every_ms(None);
        let mut tries = 0;
        let db = loop {
            tries += 1;
            match catch(|| config.open()) {
                Ok(Ok(db)) => break db,
                Ok(Err(::sled::Error::Io(e)))
                    if e.kind() == ErrorKind::Other && tries < OPEN_TRIES_MAX =>
                {
                    thread::park_timeout(OPEN_PAUSE);
                }
                Ok(Err(e)) => return Err(open_error(&folder, &e)),
                Err(Panicked) => return Err(Error::damaged(&store, "it does not open")),
            }
        };
        let path = store.join("db");
        let data = File::open(&path).map_err(|e| Error::io("open", &path, &e))?;
        let blobs = Blobs::new(&store);
        Ok(Self { db: Some(db), data, blobs, tally: Mutex::default(), folder })
    }

    /// Runs `work` on the store. A panic in it means damage.
    pub(super) fn guarded<T>(
        &self,
        work: impl FnOnce(&Db) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let db = self.db.as_ref().ok_or(Error::Poisoned)?;
        catch(|| work(db)).unwrap_or_else(|Panicked| {
            Err(Error::damaged(&self.folder.store(), "a page does not read back"))
        })
    }

    /// The head, once every row that was there at its commit has been found.
    pub(super) fn check_rows(&self) -> Result<Head, Error> {
        let damaged = |what| Error::damaged(&self.folder.store(), what);
        let (head, counted) = self.guarded(|db| {
            let mut counted = Tally::default();
            let mut head = None;
            for row in db.iter() {
                let (key, value) = row.map_err(|e| self.read_error(&e))?;
                if key == HEAD_KEY {
                    head = Some(value);
                } else {
                    counted.add(&key, &value);
                }
            }
            Ok((head, counted))
        })?;
        let (head, tally) = match head {
            None => (Head::default(), Tally::default()),
            Some(row) => {
                let (head, tally) = row
                    .split_last_chunk::<TALLY_BYTES>()
                    .and_then(|(head, tally)| Some((decode_head(head)?, Tally::decode(*tally))))
                    .ok_or_else(|| damaged("the head is not one"))?;
                (head, tally)
            }
        };
        if counted != tally {
            return Err(damaged("rows are missing or not what was stored"));
        }
        *self.lock_tally() = tally;
        Ok(head)
    }

    fn lock_tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_error(&self, error: &::sled::Error) -> Error {
        match error {
            ::sled::Error::Io(e) => Error::io("read", &self.folder.store(), e),
            ::sled::Error::Corruption { .. }
            | ::sled::Error::CollectionNotFound(_)
            | ::sled::Error::Unsupported(_)
            | ::sled::Error::ReportableBug(_) => {
                Error::damaged(&self.folder.store(), "a page does not read back")
            }
        }
    }

    /// Writes the batch and the head, and makes them durable. What it reads first changes nothing.
    pub(super) fn write(&self, batch: &Batch, head: Head) -> Result<(), Error> {
        let db = self.db.as_ref().ok_or(Error::Poisoned)?;
        let (rows, tally) = self.guarded(|db| self.stored_rows(db, batch, head))?;
        let outcome = catch(|| {
            db.apply_batch(rows).and_then(|()| db.flush()).map_err(|e| unknown(&e))?;
            self.data
                .sync_data()
                .and_then(|()| self.blobs.sync())
                .map_err(|e| Error::Unknown { cause: e.kind() })?;
            *self.lock_tally() = tally;
            Ok(())
        });
        outcome.unwrap_or(Err(Error::Unknown { cause: ErrorKind::Other }))?;
        self.folder.note_head(head);
        Ok(())
    }

    /// The batch as rows of sled: chunks of large values, no chunk of an old value left, the head
    /// and the tally.
    fn stored_rows(
        &self,
        db: &Db,
        batch: &Batch,
        head: Head,
    ) -> Result<(::sled::Batch, Tally), Error> {
        let mut change = Change { db, rows: ::sled::Batch::default(), tally: *self.lock_tally() };
        for (key, value) in batch.rows() {
            self.change_row(&mut change, key, value.map(Vec::as_slice))?;
        }
        let Change { mut rows, tally, .. } = change;
        rows.insert(HEAD_KEY, [encode_head(head).as_slice(), &tally.encode()].concat());
        Ok((rows, tally))
    }

    fn change_row(
        &self,
        change: &mut Change<'_>,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), Error> {
        let mut set = |stored_key: Key, value: Option<Value>| {
            change.set(stored_key, value).map_err(|e| self.read_error(&e))
        };
        let (row, chunked): (_, &[u8]) = match value {
            None => (None, &[]),
            Some(value) if value.len() <= CHUNK_BYTES => (Some(Stored::Whole(value).encode()), &[]),
            Some(value) => {
                let bytes = u32::try_from(value.len()).unwrap_or(u32::MAX);
                (Some(Stored::Chunked(bytes).encode()), value)
            }
        };
        let chunks_before = match set(row_key(key), row)?.as_deref().map(Stored::parse) {
            None | Some(Some(Stored::Whole(_))) => 0,
            Some(Some(Stored::Chunked(bytes))) => chunks(bytes),
            Some(None) => return Err(Error::damaged(&self.folder.store(), "a row is not one")),
        };
        let mut chunks_after = 0;
        for chunk in chunked.chunks(CHUNK_BYTES) {
            set(chunk_key(key, chunks_after), Some(chunk.to_vec()))?;
            chunks_after += 1;
        }
        for index in chunks_after..chunks_before {
            set(chunk_key(key, index), None)?;
        }
        Ok(())
    }

    pub(super) fn get(&self, db: &Db, key: &[u8]) -> Result<Option<Value>, Error> {
        match db.get(row_key(key)) {
            Ok(Some(row)) => self.value(db, key, &row).map(Some),
            Ok(None) => Ok(None),
            Err(e) => Err(self.read_error(&e)),
        }
    }

    /// The value of a stored row.
    fn value(&self, db: &Db, key: &[u8], row: &[u8]) -> Result<Value, Error> {
        let damaged = |what| Error::damaged(&self.folder.store(), what);
        let bytes = match Stored::parse(row).ok_or_else(|| damaged("a row is not one"))? {
            Stored::Whole(value) => return Ok(value.to_vec()),
            Stored::Chunked(bytes) => bytes,
        };
        let mut value = Value::new();
        for index in 0..chunks(bytes) {
            let chunk = db.get(chunk_key(key, index)).map_err(|e| self.read_error(&e))?;
            value.extend_from_slice(&chunk.ok_or_else(|| damaged("a chunk is missing"))?);
        }
        if u32::try_from(value.len()) != Ok(bytes) {
            return Err(damaged("a chunk has another length"));
        }
        Ok(value)
    }

    pub(super) fn page(
        &self,
        db: &Db,
        rows: impl Iterator<Item = ::sled::Result<(IVec, IVec)>>,
        limit: ScanLimit,
    ) -> Result<Page, Error> {
        let mut filling = Filling::new(limit);
        for row in rows {
            let (stored_key, row) = row.map_err(|e| self.read_error(&e))?;
            let damaged = || Error::damaged(&self.folder.store(), "a row is not one");
            let key = caller_key(&stored_key).ok_or_else(damaged)?;
            let bytes = Stored::parse(&row).ok_or_else(damaged)?.bytes();
            if !filling.admits(key.len(), bytes) {
                break;
            }
            filling.push(key.to_vec(), self.value(db, key, &row)?);
        }
        Ok(filling.page())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let db = self.db.take();
        // sled panics when its last sync fails. Nothing that was acknowledged hangs on it.
        let _swallowed = catch(|| drop(db));
    }
}

/// A batch of sled's in the making.
struct Change<'a> {
    db: &'a Db,
    rows: ::sled::Batch,
    tally: Tally,
}

impl Change<'_> {
    /// Sets or removes a stored row; gives the one that was there. Each key once.
    fn set(&mut self, key: Key, value: Option<Value>) -> ::sled::Result<Option<IVec>> {
        let old = self.db.get(&key)?;
        if let Some(old) = &old {
            self.tally.remove(&key, old);
        }
        match value {
            Some(value) => {
                self.tally.add(&key, &value);
                self.rows.insert(key, value);
            }
            None => self.rows.remove(key),
        }
        Ok(old)
    }
}

fn unknown(error: &::sled::Error) -> Error {
    let cause = match error {
        ::sled::Error::Io(e) => e.kind(),
        ::sled::Error::Corruption { .. }
        | ::sled::Error::CollectionNotFound(_)
        | ::sled::Error::Unsupported(_)
        | ::sled::Error::ReportableBug(_) => ErrorKind::Other,
    };
    Error::Unknown { cause }
}

fn open_error(folder: &Folder, error: &::sled::Error) -> Error {
    match error {
        ::sled::Error::Io(e) => Error::io("open", &folder.store(), e),
        ::sled::Error::Corruption { .. }
        | ::sled::Error::CollectionNotFound(_)
        | ::sled::Error::Unsupported(_)
        | ::sled::Error::ReportableBug(_) => Error::damaged(&folder.store(), "it does not open"),
    }
}
