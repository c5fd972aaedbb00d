//! sled 0.34.7, hardened.
//!
//! What its source and traces show, and what is done about it here:
//! - `flush` writes and calls `sync_file_range`, no fsync: after each flush, `sync_data` on a
//!   descriptor of our own of its data file `store/db`.
//! - Log records over 128 KiB go to files under `blobs/` that are never synced. Not only large
//!   values: a tree node is one record, and a leaf holds up to about 20 rows. So values are cut
//!   into chunks of 4 KiB and keys are short, which keeps every record in the log; and should a
//!   blob appear all the same, it is synced with its folder before the commit returns.
//! - It shows a batch before the flush, and keeps no older state: views put back what a commit has
//!   replaced (`versions.rs`).
//! - Opening writes a snapshot and renames it without syncing the folder: everything in the folder
//!   is synced after opening and before the first commit. Snapshots are written only at opening.
//! - It panics on damage, and on a failed sync while it closes: both are caught.
//! - It skips damaged records when it opens, and rows are gone without a word: the head's row holds
//!   a [`Tally`](crate::tally::Tally) of all rows, and opening counts them. So opening reads the
//!   whole store, and its time grows with it; the figure stands below.
//! - One tree, because a batch is atomic across a crash within one tree only.
//! - When a write of its own threads fails, its `flush` sometimes waits for ever (seen once in some
//!   hundred injected failures of `sync_file_range`). So a thread of ours writes, and a commit that
//!   is not through in [`WRITE_MAX`] ends as unknown. That thread, and the lock of the folder with
//!   it, then stay until the process ends.
//!
//! **Opening**, measured on 2026-11-24: a store of 200,000 rows of 700 B with keys of 48 B, written
//! in commits of 1,000 rows and closed (310 MB on disk), opens in 0.6 s when its file is in the
//! kernel's cache and in 1.3 s when it is not, with 190 MB resident and a cache of 256 MiB. Two
//! cores, shared with other builds; disk of the target folder. By `cargo run --release -p engine
//! --example opening`, an example that timed [`crate::open`] and was not kept. fjall, which counts
//! nothing, opens the same rows in 0.13 s and 0.23 s.

mod blobs;
mod rows;
mod store;
mod versions;

use std::fmt;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use self::store::{Rows, Store};
use crate::engine::check_commit;
use crate::folder::Folder;
use crate::gate::Gate;
use crate::{
    Batch, Engine, Error, Head, Kind, Options, Order, Page, ScanLimit, Space, Span, Value, View,
};

/// How long one commit may take before its outcome counts as unknown.
const WRITE_MAX: Duration = Duration::from_secs(30);

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
    batch: Batch,
    head: Head,
    done: Sender<Result<(), Error>>,
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
        opened.gate.commit(found, head, || opened.write(Batch::new(), head))?;
        opened.store()?.folder.finish()?;
        Ok(opened)
    }

    fn store(&self) -> Result<&Arc<Store>, Error> {
        self.store.as_ref().ok_or(Error::Poisoned)
    }

    /// Has the batch written, and waits for it.
    fn write(&self, batch: Batch, head: Head) -> Result<(), Error> {
        let (done, outcome) = mpsc::channel();
        let job = Job { batch, head, done };
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        let outcome = match outcome.recv_timeout(WRITE_MAX) {
            _ if !sent => Err(Error::Poisoned),
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout) => Err(Error::Unknown { cause: ErrorKind::TimedOut }),
            Err(RecvTimeoutError::Disconnected) => Err(Error::Unknown { cause: ErrorKind::Other }),
        };
        if matches!(outcome, Err(Error::Unknown { .. })) {
            self.store()?.folder.drop_cached_pages();
        }
        outcome
    }
}

/// The rows of one moment.
struct Moment<'a> {
    engine: &'a Sled,
    store: &'a Store,
    at: u64,
}

impl Moment<'_> {
    fn read<T>(&self, work: impl FnOnce(&Rows<'_>) -> Result<T, Error>) -> Result<T, Error> {
        self.engine.gate.check()?;
        self.store.guarded(|db| work(&Rows { store: self.store, db, at: self.at }))
    }
}

impl View for Moment<'_> {
    fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Value>>, Error> {
        self.read(|rows| keys.iter().map(|key| rows.get(key)).collect())
    }

    fn scan(&self, span: &Span, order: Order, limit: ScanLimit) -> Result<Page, Error> {
        if span.is_empty() {
            return self.engine.gate.check().map(|()| Page::default());
        }
        self.read(|rows| rows.page(span, order, limit))
    }
}

impl Drop for Moment<'_> {
    fn drop(&mut self) {
        self.store.versions.close(self.at);
    }
}

impl Engine for Sled {
    fn view(&self) -> Result<Box<dyn View + '_>, Error> {
        self.gate.check()?;
        let store = self.store()?;
        Ok(Box::new(Moment { engine: self, store, at: store.versions.open() }))
    }

    fn commit(&self, batch: Batch, expected: Head, next_size: u64) -> Result<(), Error> {
        check_commit(&batch, expected, next_size)?;
        self.gate.check()?;
        self.store()?.folder.check_space(batch.bytes())?;
        let next = Head { size: next_size, ..expected };
        self.gate.commit(expected, next, || self.write(batch, next))
    }

    fn head(&self) -> Result<Head, Error> {
        self.gate.head()
    }

    fn space(&self) -> Result<Space, Error> {
        self.store()?.folder.space()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What sled shows before its flush is not durable, and so is in no view.
    #[test]
    fn a_batch_that_is_not_flushed_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Folder::open(folder.path(), Kind::Sled).unwrap();
        let engine = Sled::open(folder, Options { cache_bytes: 1 << 20 }).unwrap();
        let mut batch = Batch::new();
        batch.put("a", vec![1; 10_000]);
        batch.put("b", vec![1; 10_000]);
        let head = engine.head().unwrap();
        engine.commit(batch, head, 1).unwrap();
        let mut batch = Batch::new();
        batch.put("a", "2");
        batch.put("aa", "2");
        batch.delete("b");
        let store = engine.store().unwrap();
        store.begin(&batch, head).unwrap();
        for view in [engine.view().unwrap(), engine.view().unwrap()] {
            let old = Some(vec![1; 10_000]);
            assert_eq!(view.get_many(&[b"a", b"aa", b"b"]), Ok(vec![old.clone(), None, old]));
            let limit = ScanLimit { rows: 9, bytes: usize::MAX };
            let page = view.scan(&Span::all(), Order::Ascending, limit).unwrap();
            assert_eq!(page.rows.len(), 2);
        }
    }
}
