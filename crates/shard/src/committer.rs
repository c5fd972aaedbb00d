//! The one writer of a shard. It takes what has queued while the last commit ran, and makes one
//! atomic, durable commit of it; only then is anything acknowledged.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::{Batch, Head};
use terms::{Fault, Reason, UnixMillis, limits};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::Error;
use crate::beat::Durable;
use crate::counts::Counts;
use crate::decision::Rules;
use crate::log::{Draft, Log};
use crate::node::Node;
use crate::op::{Action, Op, Outcome, ReplySlot};
use crate::work::Work;

/// Bytes of writes that may wait, whatever their number.
const QUEUE_BYTES_MAX: usize = 256 << 20;

/// Whether the shard still answers. It only ever goes on to a later state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(crate) enum Life {
    Serving,
    /// Nothing new is taken; what is queued is finished.
    Draining,
    /// The time to drain is over: what is still connected is left.
    Ended,
    /// A flush failed: nothing is answered any more.
    Poisoned,
}

/// What the committer is asked.
enum Command {
    Op(Op),
    /// Write down the reads that were counted since the last time.
    Counts,
}

/// The way to the committer. Clones share one queue.
#[derive(Clone)]
pub(crate) struct Queue {
    sender: mpsc::Sender<Command>,
    bytes: Arc<AtomicUsize>,
}

impl Queue {
    /// Queues a write, or answers it with `SHARD_BUSY` at once: the queue never makes one wait.
    pub(crate) fn submit(&self, op: Op) {
        let bytes = op.action.bytes();
        let queued = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if queued.saturating_add(bytes) > QUEUE_BYTES_MAX {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return op.reply.send(busy());
        }
        match self.sender.try_send(Command::Op(op)) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(Command::Op(op))) => {
                self.bytes.fetch_sub(bytes, Ordering::Relaxed);
                op.reply.send(busy());
            }
            // The committer has stopped: the session ends, and its gateway says what is not known.
            Err(_) => {}
        }
    }

    /// Has the counted reads written down. A full queue has them written down next time.
    pub(crate) fn write_counts(&self) {
        let _full = self.sender.try_send(Command::Counts);
    }

    /// A way that does not keep the committer from ending.
    pub(crate) fn weak(&self) -> WeakQueue {
        WeakQueue(self.sender.downgrade())
    }
}

/// A [`Queue`] that may have ended.
pub(crate) struct WeakQueue(mpsc::WeakSender<Command>);

impl WeakQueue {
    /// As [`Queue::write_counts`], if the queue is still there.
    pub(crate) fn write_counts(&self) {
        if let Some(sender) = self.0.upgrade() {
            let _full = sender.try_send(Command::Counts);
        }
    }
}

fn busy() -> Outcome {
    Outcome::Fault(Fault::new(Reason::ShardBusy))
}

/// The committer's own state.
pub(crate) struct Committer {
    pub(crate) node: Arc<Node>,
    pub(crate) rules: Rules,
    pub(crate) log: Log,
    pub(crate) head: Head,
    pub(crate) last_commit: UnixMillis,
    pub(crate) counts: Arc<Counts>,
    pub(crate) durable: Arc<Durable>,
    /// The folder whose disk is watched, and the bytes that are kept free on it.
    pub(crate) data: PathBuf,
    pub(crate) disk_reserve_bytes: u64,
}

/// Makes the queue and its committer's end of it.
pub(crate) fn queue() -> (Queue, Inbox) {
    let (sender, receiver) = mpsc::channel(limits::COMMIT_QUEUE_MAX);
    let bytes = Arc::new(AtomicUsize::new(0));
    (Queue { sender, bytes: Arc::clone(&bytes) }, Inbox { receiver, bytes, taken: VecDeque::new() })
}

/// The committer's end of the queue.
pub(crate) struct Inbox {
    receiver: mpsc::Receiver<Command>,
    bytes: Arc<AtomicUsize>,
    taken: VecDeque<Command>,
}

impl Inbox {
    /// The next group: whatever is there, within the limits of one commit. Waits for the first.
    /// `None`: every sender is gone and nothing is left.
    fn group(&mut self) -> Option<(Vec<Op>, bool)> {
        if self.taken.is_empty() {
            self.taken.push_back(self.receiver.blocking_recv()?);
        }
        while self.taken.len() < limits::COMMIT_WRITES_MAX {
            match self.receiver.try_recv() {
                Ok(command) => self.taken.push_back(command),
                Err(_) => break,
            }
        }
        let (mut ops, mut counts, mut bytes) = (Vec::new(), false, 0_usize);
        while let Some(command) = self.taken.pop_front() {
            match command {
                Command::Counts => counts = true,
                Command::Op(op) => {
                    let size = op.action.bytes();
                    if !ops.is_empty() && bytes + size > limits::COMMIT_BYTES_MAX {
                        self.taken.push_front(Command::Op(op));
                        break;
                    }
                    bytes += size;
                    ops.push(op);
                }
            }
        }
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        Some((ops, counts))
    }

    fn waiting(&self) -> usize {
        self.taken.len() + self.receiver.len()
    }
}

impl Committer {
    /// Works until every sender of the queue is gone, or until a commit fails. Blocks its thread.
    pub(crate) fn run(mut self, mut inbox: Inbox, life: &watch::Sender<Life>) {
        while let Some((ops, counts)) = inbox.group() {
            self.node.metrics.queue.set(i64::try_from(inbox.waiting()).unwrap_or(i64::MAX));
            let queued = inbox.bytes.load(Ordering::Relaxed);
            self.node.metrics.queue_bytes.set(i64::try_from(queued).unwrap_or(i64::MAX));
            if let Err(error) = self.commit(ops, counts) {
                return poison(&error, life);
            }
        }
        if let Err(error) = self.commit(Vec::new(), true) {
            poison(&error, life);
        }
    }

    /// One group, one commit. `Err`: the outcome is not known, or nothing can be committed more.
    fn commit(&mut self, ops: Vec<Op>, counts: bool) -> Result<(), Error> {
        // Time in a shard never falls below its last commit's.
        let now = self.node.clock.now().max(self.last_commit);
        let low = self.disk_is_low()?;
        let rows = self.read_rows(&ops)?;
        self.rules.set_date(atlas::Date::of(now));
        let mut work = Work {
            node: &self.node,
            rules: &mut self.rules,
            minute: u32::try_from(now.minute()).unwrap_or(u32::MAX),
            rows,
            subjects: HashMap::new(),
            heads: HashMap::new(),
            batch: Batch::new(),
            draft: Draft::new(&self.log),
            answers: Vec::with_capacity(ops.len()),
        };
        for op in &ops {
            if let Some(owner) = op.action.owner()
                && let Some(subject) = self.node.subjects.get(&owner.tag)
            {
                work.subjects.insert(owner.tag, subject);
            }
        }
        for op in ops {
            if low && matches!(op.action, Action::Put(_) | Action::Create(_)) {
                work.answers.push((op.reply, Outcome::Fault(Fault::new(Reason::DiskReserve))));
            } else {
                work.apply(op);
            }
        }
        if counts {
            work.count(&self.counts)?;
        }
        let Work { subjects, mut batch, draft, answers, .. } = work;
        if draft.is_empty() {
            answer(answers);
            return Ok(());
        }
        let added = draft.next_index() - self.log.edge.size();
        let (edge, size) = draft.finish(&mut batch, now);
        let started = Instant::now();
        match self.node.engine.commit(batch, self.head, size) {
            Ok(()) => {}
            // Nothing was changed: as if the reserve had been reached.
            Err(engine::Error::Full { .. }) => {
                refuse(answers);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        let metrics = &self.node.metrics;
        metrics.commits.inc();
        metrics.commit_seconds.observe(started.elapsed().as_secs_f64());
        // Precise far beyond any group.
        metrics.commit_writes.observe(f64::from(u32::try_from(answers.len()).unwrap_or(u32::MAX)));
        metrics.entries.inc_by(added);
        self.head.size = size;
        self.log.edge = edge;
        self.last_commit = now;
        for (tag, subject) in subjects {
            self.node.subjects.insert(tag, subject);
        }
        self.durable.publish(self.log.edge.size(), self.log.edge.root());
        answer(answers);
        Ok(())
    }

    /// Reads what the group's conditions need, in one go.
    fn read_rows(&self, ops: &[Op]) -> Result<HashMap<engine::Key, Option<engine::Value>>, Error> {
        let mut keys = Vec::with_capacity(ops.len() * 2);
        for op in ops {
            if let Some(owner) = op.action.owner()
                && self.node.subjects.get(&owner.tag).is_none()
            {
                keys.push(owner.row());
            }
            if let Some(address) = op.action.record() {
                keys.push(address.row.clone());
            }
        }
        keys.sort_unstable();
        keys.dedup();
        let wanted: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let values = self.node.engine.get_many(&wanted)?;
        Ok(keys.into_iter().zip(values).collect())
    }

    /// Whether the disk is down to the reserve that is kept for erasure and expiry.
    fn disk_is_low(&self) -> Result<bool, Error> {
        let free = engine::free_bytes(&self.data)?;
        self.node.metrics.disk_free_bytes.set(i64::try_from(free).unwrap_or(i64::MAX));
        Ok(free < self.disk_reserve_bytes)
    }
}

/// Nothing of the group was answered, and nothing will be. The engine has dropped the kernel's
/// pages of its files; the process must start anew and read.
fn poison(error: &Error, life: &watch::Sender<Life>) {
    tracing::error!(%error, "the commit failed; the shard answers nothing more");
    life.send_replace(Life::Poisoned);
}

fn answer(answers: Vec<(ReplySlot, Outcome)>) {
    for (reply, outcome) in answers {
        reply.send(outcome);
    }
}

/// Answers a group whose commit did not fit on the disk: what was found out stands, what was to
/// be written was not.
fn refuse(answers: Vec<(ReplySlot, Outcome)>) {
    for (reply, outcome) in answers {
        match outcome {
            Outcome::Fault(fault) => reply.send(Outcome::Fault(fault)),
            Outcome::Written(written) if written.replayed => reply.send(Outcome::Written(written)),
            Outcome::Written(_) | Outcome::Found(_) => {
                reply.send(Outcome::Fault(Fault::new(Reason::DiskReserve)));
            }
        }
    }
}
