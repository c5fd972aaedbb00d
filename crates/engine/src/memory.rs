//! An engine in memory, for tests and the simulator, on a disk that fails when told to.
//!
//! The [`Disk`] outlives its openings as a real one does: drop the [`Memory`], or call
//! [`Disk::crash`], and open again. Everything it decides by chance comes from its seed, in the
//! order of the calls.

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::engine::check_commit;
use crate::span::Filling;
use crate::{
    Backend, Batch, Engine, Error, Head, Key, Order, Page, ScanLimit, Space, Span, Value, View,
};

/// What can go wrong in a commit on a [`Disk`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The machine dies while the batch is on its way to the disk: every opening is dead, and some
    /// of the batch's pieces reached the disk. The next opening finds the batch whole or not at
    /// all, as recovery does with a torn one.
    Crash,
    /// The flush fails: the batch is written, not synced. This opening is poisoned; the next one
    /// finds the batch whole or not at all.
    FlushFails,
    /// The batch is durable, but the commit does not say so. This opening is poisoned.
    ReplyLost,
    /// The disk is full: nothing changes, and the opening serves on.
    Full,
}

/// How often a commit meets each fault, in thousandths. Their sum is at most 1,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chances {
    /// Of [`Fault::Crash`].
    pub crash: u16,
    /// Of [`Fault::FlushFails`].
    pub flush_fails: u16,
    /// Of [`Fault::ReplyLost`].
    pub reply_lost: u16,
    /// Of [`Fault::Full`].
    pub full: u16,
}

/// What survives a crash. Clones are handles on the same disk.
#[derive(Debug, Clone)]
pub struct Disk {
    state: Arc<Mutex<State>>,
}

struct State {
    /// Shared with the views of it.
    rows: Arc<BTreeMap<Key, Value>>,
    head: Head,
    /// Written, not synced.
    unsynced: Option<(Batch, Head)>,
    chances: Chances,
    /// None: one that meets no fault.
    planned: VecDeque<Option<Fault>>,
    random: u64,
    /// Crashes so far. An opening of before a crash is dead.
    crashes: u64,
    /// Reads that fail from now on.
    failing_reads: u64,
    /// Rows that were read so far.
    rows_read: u64,
    /// Whether an opening can be opened again in the process.
    reopens: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("rows", &self.rows.len())
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
}

impl Disk {
    /// An empty disk. What it decides by chance follows from `seed`.
    pub fn new(seed: u64) -> Self {
        let state = State {
            rows: Arc::default(),
            head: Head::default(),
            unsynced: None,
            chances: Chances::default(),
            planned: VecDeque::new(),
            random: seed,
            crashes: 0,
            failing_reads: 0,
            rows_read: 0,
            reopens: false,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Lets commits fail by chance from now on.
    pub fn set_chances(&self, chances: Chances) {
        self.lock().chances = chances;
    }

    /// Lets the next commit that is not refused meet `fault`; several are met in turn.
    pub fn fail_next(&self, fault: Fault) {
        self.fail_after(0, fault);
    }

    /// The commit that comes after so many meets this fault, and those before it none.
    pub fn fail_after(&self, commits: usize, fault: Fault) {
        let planned = &mut self.lock().planned;
        planned.extend(std::iter::repeat_n(None, commits));
        planned.push_back(Some(fault));
    }

    /// Lets that many reads fail, as they do in a process that is out of file descriptors. The data
    /// are sound.
    pub fn fail_reads(&self, count: u64) {
        self.lock().failing_reads = count;
    }

    /// How many rows were read so far, by all openings: a test sees by it what a write costs.
    pub fn rows_read(&self) -> u64 {
        self.lock().rows_read
    }

    /// Lets an opening be opened again in the process ([`Engine::reopen`]), as one of a database is
    /// that runs elsewhere. Without it, it is as with files.
    pub fn let_reopen(&self) {
        self.lock().reopens = true;
    }

    /// The machine dies: every opening answers [`Error::Poisoned`] from now on.
    pub fn crash(&self) {
        self.lock().crash();
    }

    /// The durable head, as an auditor of the disk would read it.
    pub fn head(&self) -> Head {
        self.lock().head
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The next number of the seed's sequence (SplitMix64).
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn fault(&mut self) -> Option<Fault> {
        if let Some(planned) = self.planned.pop_front() {
            return planned;
        }
        let Chances { crash, flush_fails, reply_lost, full } = self.chances;
        let mut roll = self.random() % 1000;
        for (chance, fault) in [
            (crash, Fault::Crash),
            (flush_fails, Fault::FlushFails),
            (reply_lost, Fault::ReplyLost),
            (full, Fault::Full),
        ] {
            match roll.checked_sub(u64::from(chance)) {
                Some(rest) => roll = rest,
                None => return Some(fault),
            }
        }
        None
    }

    fn crash(&mut self) {
        self.crashes += 1;
        self.recover();
    }

    /// What recovery makes of the unsynced end of the log: its pieces (one a row, and the end
    /// mark) reached the disk up to a point that chance decides. Without the end mark the batch is
    /// torn, and dropped.
    fn recover(&mut self) {
        let Some((batch, head)) = self.unsynced.take() else { return };
        let pieces = u64::try_from(batch.len()).unwrap_or(u64::MAX).saturating_add(1);
        let written = match self.random() % 2 {
            0 => pieces,
            _ => self.random() % pieces,
        };
        if written == pieces {
            self.apply(batch, head);
        }
    }

    fn apply(&mut self, batch: Batch, head: Head) {
        let rows = Arc::make_mut(&mut self.rows);
        for (key, value) in batch.into_rows() {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        self.head = head;
    }
}

impl Backend for Disk {
    fn exists(&self) -> Result<bool, Error> {
        Ok(self.lock().head.term > 0)
    }

    fn open(&self) -> Result<Box<dyn Engine>, Error> {
        Ok(Box::new(Memory::open(self)))
    }

    fn folder(&self) -> Option<&Path> {
        None
    }

    fn place(&self) -> String {
        "the backend".to_owned()
    }
}

/// An opening of a [`Disk`].
#[derive(Debug)]
pub struct Memory {
    disk: Disk,
    term: AtomicU64,
    crashes: AtomicU64,
    poisoned: AtomicBool,
}

impl Memory {
    /// Opens `disk` and takes a new term, which replaces every earlier opening.
    pub fn open(disk: &Disk) -> Self {
        let mut state = disk.lock();
        state.recover();
        state.head.term += 1;
        Self {
            disk: disk.clone(),
            term: AtomicU64::new(state.head.term),
            crashes: AtomicU64::new(state.crashes),
            poisoned: AtomicBool::new(false),
        }
    }

    // The atomics change under the disk's lock alone.
    fn lock(&self) -> Result<MutexGuard<'_, State>, Error> {
        let state = self.disk.lock();
        let crashed = state.crashes != self.crashes.load(Ordering::Relaxed);
        if self.poisoned.load(Ordering::Relaxed) || crashed {
            Err(Error::Poisoned)
        } else {
            Ok(state)
        }
    }

    fn is_own(&self, head: Head) -> bool {
        head.term == self.term.load(Ordering::Relaxed)
    }
}

/// The rows of one moment.
struct Moment<'a> {
    engine: &'a Memory,
    rows: Arc<BTreeMap<Key, Value>>,
}

impl Moment<'_> {
    /// Whether a read is answered.
    fn check(&self) -> Result<(), Error> {
        let mut state = self.engine.lock()?;
        let Some(left) = state.failing_reads.checked_sub(1) else { return Ok(()) };
        state.failing_reads = left;
        Err(Error::io("read", Path::new("memory"), &ErrorKind::Other.into()))
    }

    fn count(&self, rows: usize) {
        self.engine.disk.lock().rows_read += u64::try_from(rows).unwrap_or(u64::MAX);
    }
}

impl View for Moment<'_> {
    fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Value>>, Error> {
        self.check()?;
        let found: Vec<_> = keys.iter().map(|key| self.rows.get(*key).cloned()).collect();
        self.count(found.iter().flatten().count());
        Ok(found)
    }

    fn scan(&self, span: &Span, order: Order, limit: ScanLimit) -> Result<Page, Error> {
        self.check()?;
        let mut filling = Filling::new(limit);
        if span.is_empty() {
            return Ok(filling.page());
        }
        let until = match span.until.as_slice() {
            [] => Bound::Unbounded,
            until => Bound::Excluded(until),
        };
        let mut rows = self.rows.range::<[u8], _>((Bound::Included(span.from.as_slice()), until));
        let mut next = || match order {
            Order::Ascending => rows.next(),
            Order::Descending => rows.next_back(),
        };
        while let Some((key, value)) = next() {
            if !filling.admits(key.len(), value.len()) {
                break;
            }
            filling.push(key.clone(), value.clone());
        }
        let page = filling.page();
        self.count(page.rows.len());
        Ok(page)
    }
}

impl Engine for Memory {
    fn view(&self) -> Result<Box<dyn View + '_>, Error> {
        let rows = Arc::clone(&self.lock()?.rows);
        Ok(Box::new(Moment { engine: self, rows }))
    }

    fn commit(&self, batch: Batch, expected: Head, next_size: u64) -> Result<(), Error> {
        check_commit(&batch, expected, next_size)?;
        let mut state = self.lock()?;
        if state.head != expected || !self.is_own(expected) {
            return Err(Error::HeadMoved { found: state.head });
        }
        let next = Head { size: next_size, ..expected };
        let fault = state.fault();
        if fault == Some(Fault::Full) {
            let needed = u64::try_from(batch.bytes()).unwrap_or(u64::MAX);
            return Err(Error::Full { folder: PathBuf::from("memory"), free: 0, needed });
        }
        match fault {
            None | Some(Fault::ReplyLost) => state.apply(batch, next),
            Some(_) => state.unsynced = Some((batch, next)),
        }
        if fault.is_none() {
            return Ok(());
        }
        self.poisoned.store(true, Ordering::Relaxed);
        if fault == Some(Fault::Crash) {
            state.crash();
        }
        Err(Error::Unknown { cause: ErrorKind::Other })
    }

    fn head(&self) -> Result<Head, Error> {
        let found = self.lock()?.head;
        if self.is_own(found) { Ok(found) } else { Err(Error::HeadMoved { found }) }
    }

    fn reopen(&self) -> Result<Head, Error> {
        let mut state = self.disk.lock();
        if !state.reopens {
            return Err(Error::Poisoned);
        }
        if !self.is_own(state.head) {
            return Err(Error::HeadMoved { found: state.head });
        }
        state.recover();
        state.head.term += 1;
        self.term.store(state.head.term, Ordering::Relaxed);
        self.crashes.store(state.crashes, Ordering::Relaxed);
        self.poisoned.store(false, Ordering::Relaxed);
        Ok(state.head)
    }

    fn space(&self) -> Result<Space, Error> {
        Ok(Space { free: u64::MAX, total: u64::MAX, commit_min: 0, work: 0 })
    }

    fn kind(&self) -> &'static str {
        "memory"
    }
}

#[cfg(test)]
mod tests;
