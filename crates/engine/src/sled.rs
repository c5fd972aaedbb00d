//! sled 0.34.7, hardened.
//!
//! What its source and traces show, and what is done about it here:
//! - `flush` writes and calls `sync_file_range`, no fsync: after each flush, `sync_data` on a
//!   descriptor of our own of its data file `store/db`.
//! - Log records over 128 KiB go to files under `blobs/` that are never synced. Not only large
//!   values: a tree node is one record, and a leaf holds up to about 20 rows. So values are cut
//!   into chunks of 4 KiB and keys are short, which keeps every record in the log; and should a
//!   blob appear all the same, it is synced with its folder before the commit returns.
//! - It shows a batch before the flush: reads go through the [`Gate`].
//! - Opening writes a snapshot and renames it without syncing the folder: everything in the folder
//!   is synced after opening and before the first commit. Snapshots are written only at opening.
//! - It panics on damage, and on a failed sync while it closes: both are caught.
//! - One tree, because a batch is atomic across a crash within one tree only.
//!
//! Not covered: a panic of one of sled's own threads in the middle of a flush would leave the
//! commit waiting for ever; nothing is acknowledged then.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use ::sled::{Config, Db, IVec};

use crate::codec::{
    HEAD_KEY, caller_key, chunk_key, decode_head, encode_head, row_key, stored_span,
};
use crate::engine::check_commit;
use crate::folder::Folder;
use crate::gate::Gate;
use crate::quiet::{Panicked, catch};
use crate::span::Filling;
use crate::{Batch, Engine, Error, Head, Key, Kind, Options, Order, Page, ScanLimit, Span, Value};

/// Bytes of a value that are kept in one row of sled. See above.
const CHUNK_BYTES: usize = 4096;

/// First byte of a stored row: the value follows.
const WHOLE: u8 = 0;
/// First byte of a stored row: the value's length (four bytes, big-endian) follows, and it lies in
/// chunks.
const CHUNKED: u8 = 1;

pub(crate) struct Sled {
    /// `None` only while it is dropped.
    db: Option<Db>,
    data: File,
    blobs: Blobs,
    gate: Gate,
    // Dropped last: it holds the lock.
    folder: Folder,
}

impl fmt::Debug for Sled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sled").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Sled {
    pub(crate) fn open(folder: Folder, options: Options) -> Result<Self, Error> {
        folder.check_space(0)?;
        let store = folder.store();
        let config =
            Config::new().path(&store).cache_capacity(options.cache_bytes).flush_every_ms(None);
        let db = match catch(|| config.open()) {
            Ok(Ok(db)) => db,
            Ok(Err(e)) => return Err(open_error(&folder, &e)),
            Err(Panicked) => return Err(Error::damaged(&store, "it does not open")),
        };
        let path = store.join("db");
        let data = File::open(&path).map_err(|e| Error::io("open", &path, &e))?;
        let blobs = Blobs { folder: store.join("blobs"), synced: Mutex::default() };
        let gate = Gate::new(Head::default());
        let mut opened = Self { db: Some(db), data, blobs, gate, folder };
        opened.folder.sync_all()?;
        opened.take_term()?;
        opened.folder.finish()?;
        Ok(opened)
    }

    /// Moves the head to the next term, durably.
    fn take_term(&mut self) -> Result<(), Error> {
        let found = match self.guarded(|db| db.get(HEAD_KEY).map_err(|e| self.read_error(&e)))? {
            Some(row) => decode_head(&row)
                .ok_or_else(|| Error::damaged(&self.folder.store(), "the head is not one"))?,
            None => Head::default(),
        };
        self.folder.check_head(found)?;
        let head = Head { term: found.term + 1, size: found.size };
        self.gate = Gate::new(found);
        self.gate.commit(Batch::new(), found, head, |batch| self.write(batch, head))
    }

    /// Runs `work` on the store. A panic in it means damage, and poisons.
    fn guarded<T>(&self, work: impl FnOnce(&Db) -> Result<T, Error>) -> Result<T, Error> {
        let db = self.db.as_ref().ok_or(Error::Poisoned)?;
        let outcome = catch(|| work(db));
        let outcome = outcome.unwrap_or_else(|Panicked| {
            Err(Error::damaged(&self.folder.store(), "a page does not read back"))
        });
        if matches!(outcome, Err(Error::Damaged { .. })) {
            self.gate.poison();
        }
        outcome
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

    /// Writes the batch and the head, and makes them durable.
    fn write(&self, batch: &Batch, head: Head) -> Result<(), Error> {
        let db = self.db.as_ref().ok_or(Error::Poisoned)?;
        let outcome = catch(|| {
            let rows = self.stored_rows(db, batch, head)?;
            db.apply_batch(rows).and_then(|()| db.flush()).map_err(|e| unknown(&e))?;
            self.data
                .sync_data()
                .and_then(|()| self.blobs.sync())
                .map_err(|e| Error::Unknown { cause: e.kind() })
        });
        let outcome = outcome
            .unwrap_or(Err(Error::Unknown { cause: io::ErrorKind::Other }))
            .and_then(|()| self.folder.note_head(head));
        if outcome.is_err() {
            self.folder.drop_cached_pages();
        }
        outcome
    }

    /// The batch as rows of sled: chunks of large values, no chunk of an old value left, the head.
    fn stored_rows(&self, db: &Db, batch: &Batch, head: Head) -> Result<::sled::Batch, Error> {
        let mut rows = ::sled::Batch::default();
        for (key, value) in batch.rows() {
            let stored_key = row_key(key);
            let old = db.get(&stored_key).map_err(|e| self.read_error(&e))?;
            let chunks_before = match old.as_deref().map(Stored::parse) {
                None | Some(Some(Stored::Whole(_))) => 0,
                Some(Some(Stored::Chunked(bytes))) => chunks(bytes),
                Some(None) => return Err(Error::damaged(&self.folder.store(), "a row is not one")),
            };
            let chunks_after = match value {
                None => {
                    rows.remove(stored_key);
                    0
                }
                Some(value) if value.len() <= CHUNK_BYTES => {
                    rows.insert(stored_key, with_first(WHOLE, value));
                    0
                }
                Some(value) => {
                    let bytes = u32::try_from(value.len()).unwrap_or(u32::MAX);
                    rows.insert(stored_key, with_first(CHUNKED, &bytes.to_be_bytes()));
                    for (index, chunk) in (0_u32..).zip(value.chunks(CHUNK_BYTES)) {
                        rows.insert(chunk_key(key, index), chunk);
                    }
                    chunks(bytes)
                }
            };
            for index in chunks_after..chunks_before {
                rows.remove(chunk_key(key, index));
            }
        }
        rows.insert(HEAD_KEY, &encode_head(head));
        Ok(rows)
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

    fn page(
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

impl Engine for Sled {
    fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Value>>, Error> {
        let read = |db: &Db, key: &[u8]| match db.get(row_key(key)) {
            Ok(Some(row)) => self.value(db, key, &row).map(Some),
            Ok(None) => Ok(None),
            Err(e) => Err(self.read_error(&e)),
        };
        self.gate.read(
            |batch| batch.touches_any(keys),
            || self.guarded(|db| keys.iter().map(|key| read(db, key)).collect()),
        )
    }

    fn scan(&self, span: &Span, order: Order, limit: ScanLimit) -> Result<Page, Error> {
        if span.is_empty() {
            return self.gate.check().map(|()| Page::default());
        }
        let (from, until): (Key, Key) = stored_span(span);
        self.gate.read(
            |batch| batch.touches(span),
            || {
                self.guarded(|db| {
                    let rows = db.range(from.as_slice()..until.as_slice());
                    match order {
                        Order::Ascending => self.page(db, rows, limit),
                        Order::Descending => self.page(db, rows.rev(), limit),
                    }
                })
            },
        )
    }

    fn commit(&self, batch: Batch, expected: Head, next_size: u64) -> Result<(), Error> {
        check_commit(&batch, expected, next_size)?;
        self.gate.check()?;
        self.folder.check_space(batch.bytes())?;
        let next = Head { size: next_size, ..expected };
        self.gate.commit(batch, expected, next, |batch| self.write(batch, next))
    }

    fn head(&self) -> Result<Head, Error> {
        self.gate.head()
    }

    fn kind(&self) -> &'static str {
        Kind::Sled.as_str()
    }
}

impl Drop for Sled {
    fn drop(&mut self) {
        let db = self.db.take();
        // sled panics when its last sync fails. Nothing that was acknowledged hangs on it.
        let _swallowed = catch(|| drop(db));
    }
}

/// A row as it is stored.
enum Stored<'a> {
    Whole(&'a [u8]),
    Chunked(u32),
}

impl<'a> Stored<'a> {
    fn parse(row: &'a [u8]) -> Option<Self> {
        match row.split_first()? {
            (&WHOLE, value) => Some(Self::Whole(value)),
            (&CHUNKED, bytes) => Some(Self::Chunked(u32::from_be_bytes(bytes.try_into().ok()?))),
            _ => None,
        }
    }

    /// The length of the value.
    fn bytes(&self) -> usize {
        match self {
            Self::Whole(value) => value.len(),
            Self::Chunked(bytes) => usize::try_from(*bytes).unwrap_or(usize::MAX),
        }
    }
}

/// How many chunks a value of `bytes` bytes has.
fn chunks(bytes: u32) -> u32 {
    bytes.div_ceil(CHUNK_BYTES_U32)
}
const CHUNK_BYTES_U32: u32 = 4096;
const _: () = assert!(CHUNK_BYTES_U32 as usize == CHUNK_BYTES, "one size of chunk");

fn with_first(first: u8, rest: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(1 + rest.len());
    row.push(first);
    row.extend_from_slice(rest);
    row
}

fn unknown(error: &::sled::Error) -> Error {
    let cause = match error {
        ::sled::Error::Io(e) => e.kind(),
        ::sled::Error::Corruption { .. }
        | ::sled::Error::CollectionNotFound(_)
        | ::sled::Error::Unsupported(_)
        | ::sled::Error::ReportableBug(_) => io::ErrorKind::Other,
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

/// sled's folder for large records, which it never syncs.
#[derive(Debug)]
struct Blobs {
    folder: PathBuf,
    synced: Mutex<HashSet<OsString>>,
}

impl Blobs {
    /// Syncs the files that appeared since the last time. There should be none.
    fn sync(&self) -> io::Result<()> {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        let mut here = HashSet::new();
        let mut appeared = false;
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            if !synced.contains(&name) {
                match File::open(self.folder.join(&name)) {
                    Ok(file) => file.sync_all()?,
                    // sled removed it: nothing refers to it any more.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                    Err(e) => return Err(e),
                }
                appeared = true;
            }
            here.insert(name);
        }
        *synced = here;
        if appeared { File::open(&self.folder)?.sync_all() } else { Ok(()) }
    }
}
