//! The rows of a store in sled's one tree: opening and counting them, writing a batch with its
//! head and tally, and views of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use ::sled::{Config, Db, IVec};

use super::blobs::Blobs;
use super::rows::{CHUNK_BYTES, Stored, chunks};
use super::versions::{Before, Versions};
use crate::codec::{
    HEAD_KEY, caller_key, chunk_key, decode_head, encode_head, row_key, stored_span,
};
use crate::folder::Folder;
use crate::quiet::{Panicked, catch};
use crate::span::Filling;
use crate::tally::{TALLY_BYTES, Tally};
use crate::{Batch, Error, Head, Key, Options, Order, Page, ScanLimit, Span, Value};

/// A row as sled has it.
type Row = (IVec, IVec);

/// How often opening is tried while sled says that its file is locked: its threads may hold the
/// file a little longer than its handle. The folder is ours by then, so nobody else can.
const OPEN_TRIES_MAX: u32 = 100;
/// Between two tries.
const OPEN_PAUSE: Duration = Duration::from_millis(10);
/// Rows that a scan reads from sled before it looks at what commits have replaced.
const ROWS_AT_ONCE: usize = 64;

/// sled's one tree, its files, and the folder they lie in.
pub(super) struct Store {
    /// `None` only while it is dropped.
    db: Option<Db>,
    data: File,
    blobs: Blobs,
    /// Of the rows that are durable.
    tally: Mutex<Tally>,
    pub(super) versions: Versions,
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
        let (tally, versions) = (Mutex::default(), Versions::default());
        Ok(Self { db: Some(db), data, blobs, tally, versions, folder })
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
        let tally = self.begin(batch, head)?;
        let db = self.db.as_ref().ok_or(Error::Poisoned)?;
        let outcome = catch(|| {
            db.flush().map_err(|e| unknown(&e))?;
            self.data
                .sync_data()
                .and_then(|()| self.blobs.sync())
                .map_err(|e| Error::Unknown { cause: e.kind() })
        });
        outcome.unwrap_or(Err(Error::Unknown { cause: ErrorKind::Other }))?;
        *self.lock_tally() = tally;
        self.versions.end();
        Ok(())
    }

    /// Hands the batch and the head to sled, not durable yet; gives the tally that comes with them.
    pub(super) fn begin(&self, batch: &Batch, head: Head) -> Result<Tally, Error> {
        let db = self.db.as_ref().ok_or(Error::Poisoned)?;
        let change = self.guarded(|db| self.stored_rows(db, batch, head));
        // sled also writes on threads of its own. When a sync of theirs fails, sled tells it with
        // whatever is asked next, and syncs nothing more until it is opened again.
        if let Err(Error::Io { cause, .. }) = change {
            return Err(Error::Unknown { cause });
        }
        let Change { rows, tally, before } = change?;
        self.versions.begin(before);
        let outcome = catch(|| db.apply_batch(rows).map_err(|e| unknown(&e)));
        outcome.unwrap_or(Err(Error::Unknown { cause: ErrorKind::Other })).map(|()| tally)
    }

    /// The batch as rows of sled: chunks of large values, no chunk of an old value left, the head
    /// and the tally.
    fn stored_rows(&self, db: &Db, batch: &Batch, head: Head) -> Result<Change, Error> {
        let (rows, tally) = (::sled::Batch::default(), *self.lock_tally());
        let mut change = Change { rows, tally, before: Before::new() };
        for (key, value) in batch.rows() {
            self.change_row(db, &mut change, key, value.map(Vec::as_slice))?;
        }
        let tally = change.tally.encode();
        change.rows.insert(HEAD_KEY, [encode_head(head).as_slice(), &tally].concat());
        Ok(change)
    }

    fn change_row(
        &self,
        db: &Db,
        change: &mut Change,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), Error> {
        let mut set = |stored_key: Key, value: Option<Value>| {
            change.set(db, stored_key, value).map_err(|e| self.read_error(&e))
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
}

/// The rows of one moment. Read by [`Store::guarded`].
pub(super) struct Rows<'a> {
    pub(super) store: &'a Store,
    pub(super) db: &'a Db,
    /// By [`Versions::open`].
    pub(super) at: u64,
}

impl Rows<'_> {
    /// A row of sled's.
    fn stored(&self, key: &[u8]) -> Result<Option<IVec>, Error> {
        let found = self.db.get(key).map_err(|e| self.store.read_error(&e))?;
        Ok(self.store.versions.before(self.at, key)?.unwrap_or(found))
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Value>, Error> {
        match self.stored(&row_key(key))? {
            Some(row) => self.value(key, &row).map(Some),
            None => Ok(None),
        }
    }

    /// The value of a stored row.
    fn value(&self, key: &[u8], row: &[u8]) -> Result<Value, Error> {
        let damaged = |what| Error::damaged(&self.store.folder.store(), what);
        let bytes = match Stored::parse(row).ok_or_else(|| damaged("a row is not one"))? {
            Stored::Whole(value) => return Ok(value.to_vec()),
            Stored::Chunked(bytes) => bytes,
        };
        let mut value = Value::new();
        for index in 0..chunks(bytes) {
            let chunk = self.stored(&chunk_key(key, index))?;
            value.extend_from_slice(&chunk.ok_or_else(|| damaged("a chunk is missing"))?);
        }
        if u32::try_from(value.len()) != Ok(bytes) {
            return Err(damaged("a chunk has another length"));
        }
        Ok(value)
    }

    pub(super) fn page(&self, span: &Span, order: Order, limit: ScanLimit) -> Result<Page, Error> {
        let (mut from, mut until) = stored_span(span);
        let mut filling = Filling::new(limit);
        let some = ROWS_AT_ONCE.min(limit.rows.saturating_add(1));
        loop {
            let rows = self.db.range(from.as_slice()..until.as_slice());
            let (rows, last) = match order {
                Order::Ascending => self.some(rows, some)?,
                Order::Descending => self.some(rows.rev(), some)?,
            };
            // From here to the last row that was read, or to the end.
            let between: (Bound<&[u8]>, Bound<&[u8]>) = match (&last, order) {
                (None, _) => (Bound::Included(&from), Bound::Excluded(&until)),
                (Some(last), Order::Ascending) => (Bound::Included(&from), Bound::Included(last)),
                (Some(last), Order::Descending) => (Bound::Included(last), Bound::Excluded(&until)),
            };
            let rows = self.as_they_were(rows, between)?;
            let full = match order {
                Order::Ascending => self.fill(&mut filling, rows.into_iter())?,
                Order::Descending => self.fill(&mut filling, rows.into_iter().rev())?,
            };
            match (last, order) {
                (Some(last), Order::Ascending) if !full => from = [last.as_slice(), &[0]].concat(),
                (Some(last), Order::Descending) if !full => until = last,
                _ => return Ok(filling.page()),
            }
        }
    }

    /// The next rows of sled's, and the key of the last of them; `None`: there are no more.
    fn some(
        &self,
        rows: impl Iterator<Item = ::sled::Result<(IVec, IVec)>>,
        count: usize,
    ) -> Result<(Vec<Row>, Option<Key>), Error> {
        let rows: ::sled::Result<Vec<_>> = rows.take(count).collect();
        let rows = rows.map_err(|e| self.store.read_error(&e))?;
        let last = rows.last().filter(|_| rows.len() == count).map(|(key, _)| key.to_vec());
        Ok((rows, last))
    }

    /// Rows that were read, as they were at this moment.
    fn as_they_were(
        &self,
        rows: Vec<(IVec, IVec)>,
        between: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> Result<BTreeMap<Key, IVec>, Error> {
        let changed = self.store.versions.before_between(self.at, between)?;
        let mut rows: BTreeMap<Key, IVec> =
            rows.into_iter().map(|(key, row)| (key.to_vec(), row)).collect();
        for (key, before) in changed {
            match before {
                Some(row) => rows.insert(key, row),
                None => rows.remove(&key),
            };
        }
        Ok(rows)
    }

    /// Fills the page with these rows. True: it is full.
    fn fill(
        &self,
        filling: &mut Filling,
        rows: impl Iterator<Item = (Key, IVec)>,
    ) -> Result<bool, Error> {
        for (stored_key, row) in rows {
            let damaged = || Error::damaged(&self.store.folder.store(), "a row is not one");
            let key = caller_key(&stored_key).ok_or_else(damaged)?;
            let bytes = Stored::parse(&row).ok_or_else(damaged)?.bytes();
            if !filling.admits(key.len(), bytes) {
                return Ok(true);
            }
            filling.push(key.to_vec(), self.value(key, &row)?);
        }
        Ok(false)
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
struct Change {
    rows: ::sled::Batch,
    tally: Tally,
    before: Before,
}

impl Change {
    /// Sets or removes a stored row; gives the one that was there. Each key once.
    fn set(&mut self, db: &Db, key: Key, value: Option<Value>) -> ::sled::Result<Option<IVec>> {
        let old = db.get(&key)?;
        if let Some(old) = &old {
            self.tally.remove(&key, old);
        }
        self.before.insert(key.clone(), old.clone());
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
