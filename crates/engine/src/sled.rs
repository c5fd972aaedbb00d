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
//! - It skips damaged records when it opens, and rows are gone without a word: the head's row holds
//!   a [`Tally`] of all rows, and opening counts them. So opening reads the whole store.
//! - One tree, because a batch is atomic across a crash within one tree only.
//!
//! - When a write of its own threads fails, its `flush` sometimes waits for ever (seen once in some
//!   hundred injected failures of `sync_file_range`). So a thread of ours writes, and a commit that
//!   is not through in [`WRITE_MAX`] ends as unknown. That thread, and the lock of the folder with
//!   it, then stay until the process ends.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ::sled::{Config, Db, IVec};

use crate::codec::{
    HEAD_KEY, caller_key, chunk_key, decode_head, encode_head, row_key, stored_span,
};
use crate::engine::check_commit;
use crate::folder::Folder;
use crate::gate::Gate;
use crate::quiet::{Panicked, catch};
use crate::span::Filling;
use crate::tally::{TALLY_BYTES, Tally};
use crate::{Batch, Engine, Error, Head, Key, Kind, Options, Order, Page, ScanLimit, Span, Value};

/// Bytes of a value that are kept in one row of sled. See above.
const CHUNK_BYTES: usize = 4096;

/// First byte of a stored row: the value follows.
const WHOLE: u8 = 0;
/// First byte of a stored row: the value's length (four bytes, big-endian) follows, and it lies in
/// chunks.
const CHUNKED: u8 = 1;

/// How long one commit may take before its outcome counts as unknown.
const WRITE_MAX: Duration = Duration::from_secs(30);

/// How often opening is tried while sled says that its file is locked: its threads may hold the
/// file a little longer than its handle. The folder is ours by then, so nobody else can.
const OPEN_TRIES_MAX: u32 = 100;
/// Between two tries.
const OPEN_PAUSE: Duration = Duration::from_millis(10);

pub(crate) struct Sled {
    /// `None` only while it is dropped.
    store: Option<Arc<Store>>,
    gate: Gate,
    /// `None` only while it is dropped.
    jobs: Option<Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

/// A commit on its way to the thread that writes.
struct Job {
    batch: Arc<Batch>,
    head: Head,
    done: Sender<Result<(), Error>>,
}

struct Store {
    /// `None` only while it is dropped.
    db: Option<Db>,
    data: File,
    blobs: Blobs,
    /// Of the rows that are durable.
    tally: Mutex<Tally>,
    // Dropped last: it holds the lock.
    folder: Folder,
}

impl fmt::Debug for Sled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sled")
            .field("store", &self.store.as_ref().map(|store| &store.folder))
            .finish_non_exhaustive()
    }
}

impl Sled {
    pub(crate) fn open(folder: Folder, options: Options) -> Result<Self, Error> {
        let store = Arc::new(Store::open(folder, options)?);
        store.folder.sync_all()?;
        let found = store.check_rows()?;
        store.folder.check_head(found)?;
        let (jobs, queue) = mpsc::channel::<Job>();
        let writer = {
            let store = Arc::clone(&store);
            let work = move || {
                for job in queue {
                    // Nobody listens any more when the commit has been given up.
                    let _given_up = job.done.send(store.write(&job.batch, job.head));
                }
            };
            let builder = thread::Builder::new().name("engine-writer".to_owned());
            builder.spawn(work)
        };
        let writer =
            writer.map_err(|e| Error::io("start a thread for", &store.folder.store(), &e))?;
        let gate = Gate::new(found);
        let opened = Self { store: Some(store), gate, jobs: Some(jobs), writer: Some(writer) };
        let head = Head { term: found.term + 1, size: found.size };
        opened.gate.commit(Batch::new(), found, head, |batch| opened.write(batch, head))?;
        opened.store()?.folder.finish()?;
        Ok(opened)
    }

    fn store(&self) -> Result<&Arc<Store>, Error> {
        self.store.as_ref().ok_or(Error::Poisoned)
    }

    /// Has the batch written, and waits for it.
    fn write(&self, batch: &Arc<Batch>, head: Head) -> Result<(), Error> {
        let (done, outcome) = mpsc::channel();
        let job = Job { batch: Arc::clone(batch), head, done };
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        let outcome = match outcome.recv_timeout(WRITE_MAX) {
            _ if !sent => Err(Error::Poisoned),
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout) => Err(Error::Unknown { cause: ErrorKind::TimedOut }),
            Err(RecvTimeoutError::Disconnected) => Err(Error::Unknown { cause: ErrorKind::Other }),
        };
        if outcome.is_err() {
            self.store()?.folder.drop_cached_pages();
        }
        outcome
    }

    /// Reads the store; what shows damage poisons.
    fn read<T>(&self, work: impl FnOnce(&Store, &Db) -> Result<T, Error>) -> Result<T, Error> {
        let store = self.store()?;
        let outcome = store.guarded(|db| work(store, db));
        if matches!(outcome, Err(Error::Damaged { .. })) {
            self.gate.poison();
        }
        outcome
    }
}

impl Store {
    fn open(folder: Folder, options: Options) -> Result<Self, Error> {
        folder.check_space(0)?;
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
        let blobs = Blobs { folder: store.join("blobs"), synced: Mutex::default() };
        Ok(Self { db: Some(db), data, blobs, tally: Mutex::default(), folder })
    }

    /// Runs `work` on the store. A panic in it means damage.
    fn guarded<T>(&self, work: impl FnOnce(&Db) -> Result<T, Error>) -> Result<T, Error> {
        let db = self.db.as_ref().ok_or(Error::Poisoned)?;
        catch(|| work(db)).unwrap_or_else(|Panicked| {
            Err(Error::damaged(&self.folder.store(), "a page does not read back"))
        })
    }

    /// The head, once every row that was there at its commit has been found.
    fn check_rows(&self) -> Result<Head, Error> {
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

    /// Writes the batch and the head, and makes them durable.
    fn write(&self, batch: &Batch, head: Head) -> Result<(), Error> {
        let db = self.db.as_ref().ok_or(Error::Poisoned)?;
        let outcome = catch(|| {
            let (rows, tally) = self.stored_rows(db, batch, head)?;
            db.apply_batch(rows).and_then(|()| db.flush()).map_err(|e| unknown(&e))?;
            self.data
                .sync_data()
                .and_then(|()| self.blobs.sync())
                .map_err(|e| Error::Unknown { cause: e.kind() })?;
            *self.lock_tally() = tally;
            Ok(())
        });
        outcome
            .unwrap_or(Err(Error::Unknown { cause: ErrorKind::Other }))
            .and_then(|()| self.folder.note_head(head))
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
            Some(value) if value.len() <= CHUNK_BYTES => (Some(with_first(WHOLE, value)), &[]),
            Some(value) => {
                let bytes = u32::try_from(value.len()).unwrap_or(u32::MAX);
                (Some(with_first(CHUNKED, &bytes.to_be_bytes())), value)
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

    fn get(&self, db: &Db, key: &[u8]) -> Result<Option<Value>, Error> {
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
        self.gate.read(
            |batch| batch.touches_any(keys),
            || self.read(|store, db| keys.iter().map(|key| store.get(db, key)).collect()),
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
                self.read(|store, db| {
                    let rows = db.range(from.as_slice()..until.as_slice());
                    match order {
                        Order::Ascending => store.page(db, rows, limit),
                        Order::Descending => store.page(db, rows.rev(), limit),
                    }
                })
            },
        )
    }

    fn commit(&self, batch: Batch, expected: Head, next_size: u64) -> Result<(), Error> {
        check_commit(&batch, expected, next_size)?;
        self.gate.check()?;
        self.store()?.folder.check_space(batch.bytes())?;
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
        self.jobs = None;
        let poisoned = self.gate.check().is_err();
        if let Some(writer) = self.writer.take()
            && !poisoned
        {
            let _its_panics_are_caught = writer.join();
        }
        let store = self.store.take();
        if poisoned {
            // Closing sled after a failure may wait for ever: not here. If the thread does not
            // start, the closure is dropped here, and closes after all.
            let builder = thread::Builder::new().name("engine-closer".to_owned());
            let _detached = builder.spawn(move || drop(store));
        }
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
                    Err(e) if e.kind() == ErrorKind::NotFound => continue,
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
