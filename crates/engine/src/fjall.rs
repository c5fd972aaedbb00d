//! fjall 3.1.
//!
//! What its source and traces show, and what is done about it here:
//! - A batch is written to the journal and synced (`SyncData`) before it reaches the memtable, and
//!   its number is published last: a snapshot sees durable batches only, whole ones only. So a view
//!   is a snapshot, never the keyspace. While one is open, compaction keeps the rows it may need.
//! - A batch in the journal has an end marker and a checksum: recovery drops a torn one. It also
//!   cuts the journal at a record it cannot parse, without a word: the shard's signed checkpoint
//!   notices.
//! - It poisons itself on a failed journal write, and when one of its own threads fails: it commits
//!   nothing from then on, and goes on reading. Opened again, it begins with the work that failed.
//!   So a compaction that meets a damaged block fails at every opening, and no setting avoids that.
//!   Then the tables are read through for it: if one does not read back, commits are refused and
//!   name it; if all do, only opening the store again helps, and our commits say so.
//! - A commit may sleep inside fjall when four write buffers wait to be flushed, or compaction is
//!   20 runs behind.
//! - Values are as large as `u32` allows and lie in the tree itself: no separation of large values,
//!   which would be one more kind of file to trust.
//! - Sealed bodies do not compress: compression is off.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use ::fjall::config::CompressionPolicy;
use ::fjall::{
    AbstractTree, CompressionType, Database, Guard, Keyspace, KeyspaceCreateOptions, LsmError,
    PersistMode, Readable, Slice, Snapshot,
};

use crate::codec::{HEAD_KEY, caller_key, decode_head, encode_head, row_key, stored_span};
use crate::engine::check_commit;
use crate::folder::Folder;
use crate::gate::Gate;
use crate::quiet::{Panicked, catch};
use crate::span::Filling;
use crate::{
    Batch, Engine, Error, Head, Key, Kind, Options, Order, Page, ScanLimit, Space, Span, Value,
    View,
};

/// Bytes of the journals at which the library flushes what they hold: its least. Without it they
/// grow to 512 MiB, which no reserve counts.
const JOURNAL_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Bytes that compactions may need for their output. A judgement, from the library's sizes: level 0
/// begins to be merged at 4 tables of 64 MiB into a level 1 of 256 MiB.
const WORK_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// The one keyspace that everything lies in.
const KEYSPACE: &str = "rows";

pub(crate) struct Fjall {
    /// `None` only while it is dropped.
    store: Option<Store>,
    gate: Gate,
    halted: Mutex<Option<Halted>>,
    /// Ends the look at all tables early.
    stop: Arc<AtomicBool>,
    // Dropped last: it holds the lock.
    folder: Folder,
}

struct Store {
    rows: Keyspace,
    db: Database,
}

/// One of the library's own threads has failed: it commits nothing more.
enum Halted {
    /// All tables are being read, to tell which of the two below it is.
    Looking(JoinHandle<Option<PathBuf>>),
    /// This table does not read back.
    Damaged(PathBuf),
    /// All of them do.
    Sound,
}

impl fmt::Debug for Fjall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fjall").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Fjall {
    pub(crate) fn open(folder: Folder, options: Options) -> Result<Self, Error> {
        folder.check_open_space()?;
        let path = folder.store();
        let store = match catch(|| Store::open(&path, options)) {
            Ok(Ok(store)) => store,
            Ok(Err(e)) => return Err(read_error("open", &path, &e)),
            Err(Panicked) => return Err(Error::damaged(&path, "it does not open")),
        };
        let gate = Gate::new(Head::default());
        let (halted, stop) = (Mutex::default(), Arc::default());
        let mut opened = Self { store: Some(store), gate, halted, stop, folder };
        opened.folder.sync_all()?;
        match opened.take_term() {
            // The library begins to compact at once: that has failed before there was a term. There
            // is no need of one to read, and nothing else is done.
            Err(_) if opened.has_halted() => {}
            taken => taken?,
        }
        opened.folder.finish()?;
        Ok(opened)
    }

    fn has_halted(&self) -> bool {
        self.halted.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Why a commit was refused that the library did not begin with, since one of its own threads
    /// has failed. Nothing was written.
    fn halted(&self, store: &Store) -> Error {
        let mut halted = self.halted.lock().unwrap_or_else(PoisonError::into_inner);
        let now = match halted.take() {
            None => {
                let (rows, stop) = (store.rows.clone(), Arc::clone(&self.stop));
                let look = move || damaged_table(&rows, &stop);
                // As the library's own threads are called, so that a panic prints nothing.
                let looking = thread::Builder::new().name("fjall:look".to_owned()).spawn(look);
                looking.map_or(Halted::Sound, Halted::Looking)
            }
            Some(Halted::Looking(looking)) if looking.is_finished() => {
                looking.join().ok().flatten().map_or(Halted::Sound, Halted::Damaged)
            }
            Some(same) => same,
        };
        let error = match &now {
            Halted::Looking(_) => {
                let (path, cause) = (self.folder.store(), io::ErrorKind::ResourceBusy);
                Error::Io { action: "write to", path, cause }
            }
            Halted::Damaged(table) => {
                Error::damaged(table, "a compaction cannot read it; nothing is written any more")
            }
            Halted::Sound => Error::Poisoned,
        };
        *halted = Some(now);
        error
    }

    /// Moves the head to the next term, durably.
    fn take_term(&mut self) -> Result<(), Error> {
        let row = self.guarded(|store| store.db.snapshot().get(&store.rows, HEAD_KEY))?;
        let found = match row {
            Some(row) => decode_head(&row)
                .ok_or_else(|| Error::damaged(&self.folder.store(), "the head is not one"))?,
            None => Head::default(),
        };
        let head = Head { term: found.term + 1, size: found.size };
        self.gate = Gate::new(found);
        self.gate.commit(found, head, || self.write(Batch::new(), head))
    }

    /// Runs `work` on the store. A panic in it means damage of what it read, and of nothing else.
    fn guarded<T>(&self, work: impl FnOnce(&Store) -> ::fjall::Result<T>) -> Result<T, Error> {
        let store = self.store.as_ref().ok_or(Error::Poisoned)?;
        match catch(|| work(store)) {
            Ok(Ok(seen)) => Ok(seen),
            Ok(Err(e)) => Err(read_error("read", &self.folder.store(), &e)),
            Err(Panicked) => {
                Err(Error::damaged(&self.folder.store(), "a block does not read back"))
            }
        }
    }

    /// Names the table file in which a part of `spans` does not read back, which the library does
    /// not say. It reads through the tables' blocks of those keys once more, by their own order.
    fn located(&self, error: Error, spans: impl IntoIterator<Item = (Key, Key)>) -> Error {
        let (Error::Damaged { what, .. }, Some(store)) = (&error, &self.store) else {
            return error;
        };
        let found = catch(|| {
            let version = store.rows.tree.current_version();
            spans.into_iter().find_map(|(from, until)| {
                let span = Slice::from(from)..=Slice::from(until);
                let mut tables = version.iter_tables();
                let broken = tables.find(|table| table.range(span.clone()).any(|row| row.is_err()));
                broken.map(|table| table.path.to_path_buf())
            })
        });
        match found {
            Ok(Some(file)) => Error::damaged(&file, what),
            Ok(None) | Err(Panicked) => error,
        }
    }

    /// Writes the batch and the head, and makes them durable.
    fn write(&self, batch: Batch, head: Head) -> Result<(), Error> {
        let store = self.store.as_ref().ok_or(Error::Poisoned)?;
        let outcome = catch(|| {
            let mut rows =
                ::fjall::OwnedWriteBatch::with_capacity(store.db.clone(), batch.len() + 1)
                    .durability(Some(PersistMode::SyncData));
            for (key, value) in batch.into_rows() {
                match value {
                    Some(value) => rows.insert(&store.rows, row_key(&key), value),
                    None => rows.remove(&store.rows, row_key(&key)),
                }
            }
            rows.insert(&store.rows, HEAD_KEY, encode_head(head));
            rows.commit()
        });
        let outcome = match outcome {
            Ok(Ok(())) => Ok(()),
            // One of its own threads failed earlier: nothing was written.
            Ok(Err(::fjall::Error::Poisoned)) => Err(self.halted(store)),
            Ok(Err(e)) => Err(Error::Unknown { cause: cause(&e) }),
            Err(Panicked) => Err(Error::Unknown { cause: io::ErrorKind::Other }),
        };
        if matches!(outcome, Err(Error::Unknown { .. } | Error::Poisoned)) {
            self.folder.drop_cached_pages();
        }
        outcome
    }
}

impl Store {
    fn open(path: &Path, options: Options) -> ::fjall::Result<Self> {
        let db = Database::builder(path)
            .cache_size(options.cache_bytes)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .journal_compression(CompressionType::None)
            .open()?;
        let rows = db.keyspace(KEYSPACE, || {
            KeyspaceCreateOptions::default()
                .data_block_compression_policy(CompressionPolicy::disabled())
        })?;
        Ok(Self { rows, db })
    }
}

/// A snapshot of the durable commits.
struct Moment<'a> {
    engine: &'a Fjall,
    snapshot: Snapshot,
}

impl View for Moment<'_> {
    fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Value>>, Error> {
        self.engine.gate.check()?;
        let found = self.engine.guarded(|store| {
            let value = |key: &&[u8]| {
                Ok(self.snapshot.get(&store.rows, row_key(key))?.map(|value| value.to_vec()))
            };
            keys.iter().map(value).collect()
        });
        let spans = || keys.iter().map(|key| (row_key(key), row_key(key)));
        found.map_err(|error| self.engine.located(error, spans()))
    }

    fn scan(&self, span: &Span, order: Order, limit: ScanLimit) -> Result<Page, Error> {
        self.engine.gate.check()?;
        if span.is_empty() {
            return Ok(Page::default());
        }
        let (from, until) = stored_span(span);
        let found = self.engine.guarded(|store| {
            let rows = self.snapshot.range(&store.rows, from.clone()..until.clone());
            match order {
                Order::Ascending => page(rows, limit),
                Order::Descending => page(rows.rev(), limit),
            }
        });
        found.map_err(|error| self.engine.located(error, [(from.clone(), until.clone())]))
    }
}

fn page(rows: impl Iterator<Item = Guard>, limit: ScanLimit) -> ::fjall::Result<Page> {
    let mut filling = Filling::new(limit);
    for row in rows {
        let (stored_key, value) = row.into_inner()?;
        let Some(key) = caller_key(&stored_key) else { continue };
        if !filling.admits(key.len(), value.len()) {
            break;
        }
        filling.push(key.to_vec(), value.to_vec());
    }
    Ok(filling.page())
}

impl Engine for Fjall {
    fn view(&self) -> Result<Box<dyn View + '_>, Error> {
        self.gate.check()?;
        let snapshot = self.guarded(|store| Ok(store.db.snapshot()))?;
        Ok(Box::new(Moment { engine: self, snapshot }))
    }

    fn commit(&self, batch: Batch, expected: Head, next_size: u64) -> Result<(), Error> {
        check_commit(&batch, expected, next_size)?;
        self.gate.check()?;
        self.folder.check_space(batch.bytes())?;
        let next = Head { size: next_size, ..expected };
        self.gate.commit(expected, next, || self.write(batch, next))
    }

    fn head(&self) -> Result<Head, Error> {
        self.gate.head()
    }

    fn space(&self) -> Result<Space, Error> {
        // A compaction writes its output before it removes its input: at the most the tables of the
        // first two levels, by two workers at once, and never more than there is.
        let tables = self.store.as_ref().map_or(0, |store| store.rows.disk_space());
        Ok(Space { work: tables.min(WORK_BYTES_MAX), ..self.folder.space()? })
    }

    fn kind(&self) -> &'static str {
        Kind::Fjall.as_str()
    }
}

impl Drop for Fjall {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let halted = self.halted.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Halted::Looking(looking)) = halted {
            // It holds a part of the store.
            drop(looking.join());
        }
        let store = self.store.take();
        let _swallowed = catch(|| drop(store));
    }
}

/// The first table that does not read back, all of it, as a compaction reads it.
fn damaged_table(rows: &Keyspace, stop: &AtomicBool) -> Option<PathBuf> {
    let going = || !stop.load(Ordering::Relaxed);
    let version = rows.tree.current_version();
    let mut tables = version.iter_tables().take_while(|_| going());
    let broken = tables.find(|table| {
        let path: &Path = &table.path;
        let read =
            catch(|| table.scan()?.take_while(|_| going()).try_for_each(|row| row.map(drop)));
        match read {
            Ok(Ok(())) => false,
            Ok(Err(error)) => {
                matches!(read_error("read", path, &error.into()), Error::Damaged { .. })
            }
            Err(Panicked) => true,
        }
    });
    broken.map(|table| table.path.to_path_buf())
}

/// The system's failure within an error of fjall's, if it is one.
fn system(error: &::fjall::Error) -> Option<&io::Error> {
    if let ::fjall::Error::Io(e) | ::fjall::Error::Storage(LsmError::Io(e)) = error {
        Some(e)
    } else {
        None
    }
}

fn cause(error: &::fjall::Error) -> io::ErrorKind {
    system(error).map_or(io::ErrorKind::Other, io::Error::kind)
}

/// A file that is missing or ends too early is damage; so is everything but the system's failures.
fn read_error(action: &'static str, path: &Path, error: &::fjall::Error) -> Error {
    if matches!(error, ::fjall::Error::Locked) {
        return Error::Locked { path: path.join("lock") };
    }
    if matches!(error, ::fjall::Error::Poisoned) {
        return Error::Poisoned;
    }
    match system(error) {
        Some(e) if !matches!(e.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound) => {
            Error::io(action, path, e)
        }
        _ => Error::damaged(path, "it does not read back"),
    }
}
