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

use crate::beat::Durable;
use crate::counts::{Counts, Taken};
use crate::decision::Rules;
use crate::log::{Draft, Log};
use crate::node::Node;
use crate::op::{Action, Op, Outcome, ReplySlot};
use crate::record::without_body;
use crate::rows::Tag;
use crate::subject::Subject;
use crate::take_map::Errand;
use crate::work::Work;
use crate::{Error, rows};

/// Bytes of writes that may wait, whatever their number.
const QUEUE_BYTES_MAX: usize = 256 << 20;
/// Rows that are read at once: a few of the largest records fit into memory.
const ROWS_AT_ONCE: usize = 64;
/// Milliseconds by which the clock may be behind the last commit before it is worth a word.
const CLOCK_BEHIND_MS_MAX: u64 = 5_000;

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
    Op(Op, Room),
    /// A commit of its own.
    Errand(Box<Errand>),
    /// Write down the reads that were counted since the last time.
    Counts,
    /// Finish what is queued, take nothing more, end.
    End,
}

/// The way to the committer. Clones share one queue.
#[derive(Clone)]
pub(crate) struct Queue {
    sender: mpsc::Sender<Command>,
    bytes: Arc<AtomicUsize>,
}

impl Queue {
    /// Takes room for a write of so many bytes, before anything is done for it: what is being
    /// sealed counts as queued. `None`: there is no room.
    pub(crate) fn admit(&self, bytes: usize) -> Option<Room> {
        let queued = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let room = Room { bytes, of: Arc::clone(&self.bytes) };
        (queued.saturating_add(bytes) <= QUEUE_BYTES_MAX).then_some(room)
    }

    /// Queues a write, or answers it with `SHARD_BUSY` at once: the queue never makes one wait.
    pub(crate) fn submit(&self, op: Op, room: Room) {
        match self.sender.try_send(Command::Op(op, room)) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(Command::Op(op, _))) => op.reply.send(busy()),
            // The committer has stopped: the session ends, and its gateway says what is not known.
            Err(_) => {}
        }
    }

    /// Queues a commit of its own behind the writes that are there already. What comes after a map
    /// is done under it.
    pub(crate) fn submit_errand(&self, errand: Errand) {
        match self.sender.try_send(Command::Errand(Box::new(errand))) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(Command::Errand(errand))) => errand.refuse(),
            Err(_) => {}
        }
    }

    /// Has the committer finish what is queued and end. Waits for a place in the queue.
    pub(crate) async fn end(&self) {
        // Gone already: it has ended by itself.
        self.sender.send(Command::End).await.ok();
    }

    /// A way that does not keep the committer from ending.
    pub(crate) fn weak(&self) -> WeakQueue {
        WeakQueue(self.sender.downgrade())
    }
}

/// A [`Queue`] that may have ended.
pub(crate) struct WeakQueue(mpsc::WeakSender<Command>);

impl WeakQueue {
    /// Has the counted reads written down. False: the queue is full, or gone.
    pub(crate) fn write_counts(&self) -> bool {
        self.0.upgrade().is_some_and(|sender| sender.try_send(Command::Counts).is_ok())
    }
}

/// Room in the queue, given back when it is dropped.
pub(crate) struct Room {
    bytes: usize,
    of: Arc<AtomicUsize>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.of.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The answer when there is no room.
pub(crate) fn busy() -> Outcome {
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

/// What goes into one commit.
struct Group {
    ops: Vec<Op>,
    /// Goes alone: it is a commit between the writes before it and those after it.
    errand: Option<Box<Errand>>,
    counts: bool,
    /// Given back once the group is answered.
    _rooms: Vec<Room>,
}

impl Inbox {
    /// The next group: whatever is there, within the limits of one commit. Waits for the first.
    /// `None`: it is to end, and nothing is left.
    fn group(&mut self) -> Option<Group> {
        if self.taken.is_empty() {
            // After the end, only what had been queued before is left.
            let next = self.receiver.blocking_recv()?;
            self.take(next);
        }
        while self.taken.len() < limits::COMMIT_WRITES_MAX {
            match self.receiver.try_recv() {
                Ok(command) => self.take(command),
                Err(_) => break,
            }
        }
        let mut group = Group { ops: Vec::new(), errand: None, counts: false, _rooms: Vec::new() };
        let mut bytes = 0_usize;
        while let Some(command) = self.taken.pop_front() {
            match command {
                Command::Counts => group.counts = true,
                Command::End => {}
                Command::Errand(errand) if group.ops.is_empty() => {
                    group.errand = Some(errand);
                    break;
                }
                Command::Errand(errand) => {
                    self.taken.push_front(Command::Errand(errand));
                    break;
                }
                Command::Op(op, room) => {
                    let size = op.action.bytes();
                    if !group.ops.is_empty() && bytes + size > limits::COMMIT_BYTES_MAX {
                        self.taken.push_front(Command::Op(op, room));
                        break;
                    }
                    bytes += size;
                    group.ops.push(op);
                    group._rooms.push(room);
                }
            }
        }
        Some(group)
    }

    fn take(&mut self, command: Command) {
        if matches!(command, Command::End) {
            self.receiver.close();
        }
        self.taken.push_back(command);
    }

    fn waiting(&self) -> usize {
        self.taken.len() + self.receiver.len()
    }
}

impl Committer {
    /// Works until it is told to end, or until a commit fails. Blocks its thread.
    pub(crate) fn run(mut self, mut inbox: Inbox, life: &watch::Sender<Life>) {
        while let Some(group) = inbox.group() {
            self.node.metrics.queue.set(i64::try_from(inbox.waiting()).unwrap_or(i64::MAX));
            let queued = inbox.bytes.load(Ordering::Relaxed);
            self.node.metrics.queue_bytes.set(i64::try_from(queued).unwrap_or(i64::MAX));
            let done = match group.errand {
                Some(errand) => self.run_errand(*errand, group.counts),
                None => self.commit(group.ops, group.counts),
            };
            if let Err(error) = done {
                return poison(&error, life);
            }
        }
        if let Err(error) = self.commit(Vec::new(), true) {
            poison(&error, life);
        }
    }

    /// One group, one commit. `Err`: the outcome is not known, or nothing can be committed more.
    pub(crate) fn commit(&mut self, ops: Vec<Op>, counts: bool) -> Result<(), Error> {
        let now = self.now();
        let low = self.disk_is_low()?;
        let subjects = self.cached_subjects(&ops);
        let rows = self.read_rows(&ops, &subjects)?;
        self.rules.set_date(atlas::Moment::of(now));
        let mut work = Work {
            node: &self.node,
            counts: &self.counts,
            rules: &mut self.rules,
            minute: minute(now),
            rows,
            subjects,
            heads: HashMap::new(),
            batch: Batch::new(),
            draft: Draft::new(&self.log),
            answers: Vec::with_capacity(ops.len()),
        };
        for op in ops {
            if low && matches!(op.action, Action::Put(_) | Action::Create(_)) {
                work.answers.push((op.reply, Outcome::Fault(Fault::new(Reason::DiskReserve))));
            } else {
                work.apply(op);
            }
        }
        let counted = if counts { self.counts.take(low) } else { Taken::default() };
        work.count(&counted)?;
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
            // Nothing was changed. Every answer of the group may rest on what was not written, a
            // retry's as much as a conflict's, so none of them is given.
            Err(error @ (engine::Error::Full { .. } | engine::Error::TooLarge { .. })) => {
                tracing::error!(%error, "a group of writes was not committed");
                let full = matches!(error, engine::Error::Full { .. });
                let reason = if full { Reason::DiskReserve } else { Reason::ShardBusy };
                self.counts.put_back(counted);
                for (reply, _) in answers {
                    reply.send(Outcome::Fault(Fault::new(reason)));
                }
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
        for (tag, subject) in subjects {
            self.node.subjects.insert(tag, subject);
        }
        self.committed(edge, size, now);
        answer(answers);
        Ok(())
    }

    /// A commit has returned: this is what the store holds now.
    pub(crate) fn committed(&mut self, edge: ledger::Edge, size: u64, now: UnixMillis) {
        self.head.size = size;
        self.log.edge = edge;
        self.last_commit = now;
        self.node.committed.store(now.0, Ordering::Relaxed);
        self.node.log_size.store(self.log.edge.size(), Ordering::Release);
        self.durable.publish(self.log.edge.size(), self.log.edge.root());
    }

    /// Time in a shard never falls below its last commit's.
    pub(crate) fn now(&self) -> UnixMillis {
        let clock = self.node.clock.now();
        let now = clock.max(self.last_commit);
        if clock.0.saturating_add(CLOCK_BEHIND_MS_MAX) < now.0 {
            tracing::error!(
                behind_ms = now.0 - clock.0,
                "the clock is behind the last commit: time stands still here until it has caught up"
            );
        }
        now
    }

    /// The subjects of a group that are open in memory.
    fn cached_subjects(&self, ops: &[Op]) -> HashMap<Tag, Arc<Subject>> {
        let owners = ops.iter().filter_map(|op| op.action.owner());
        let cached = |tag| Some((tag, self.node.subjects.get(&tag)?));
        owners.filter_map(|owner| cached(owner.tag)).collect()
    }

    /// Reads what the group's conditions need, in one go.
    fn read_rows(
        &self,
        ops: &[Op],
        cached: &HashMap<Tag, Arc<Subject>>,
    ) -> Result<HashMap<engine::Key, Option<engine::Value>>, Error> {
        let mut keys = Vec::with_capacity(ops.len() * 2);
        for op in ops {
            if let Some(owner) = op.action.owner()
                && !cached.contains_key(&owner.tag)
            {
                keys.push(owner.row());
            }
            if let Some(address) = op.action.record() {
                keys.push(address.row.clone());
            }
        }
        keys.sort_unstable();
        keys.dedup();
        let mut rows = HashMap::with_capacity(keys.len());
        for some in keys.chunks(ROWS_AT_ONCE) {
            let wanted: Vec<&[u8]> = some.iter().map(Vec::as_slice).collect();
            let values = self.node.engine.get_many(&wanted)?;
            for (key, value) in some.iter().zip(values) {
                // Conditions need heads, and a head is small whatever its body.
                let record = rows::is_record(key);
                let value = value.map(|row| if record { without_body(row) } else { row });
                rows.insert(key.clone(), value);
            }
        }
        Ok(rows)
    }

    /// Whether the disk is down to the reserve that is kept for erasure and expiry.
    pub(crate) fn disk_is_low(&self) -> Result<bool, Error> {
        let free = engine::free_bytes(&self.data)?;
        self.node.metrics.disk_free_bytes.set(i64::try_from(free).unwrap_or(i64::MAX));
        Ok(free < self.disk_reserve_bytes)
    }
}

/// The minute of an entry.
pub(crate) fn minute(now: UnixMillis) -> u32 {
    u32::try_from(now.minute()).unwrap_or(u32::MAX)
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
