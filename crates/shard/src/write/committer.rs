//! The one writer of a shard. It takes what has queued while the last commit ran, and makes one
//! atomic, durable commit of it; only then is anything acknowledged.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use engine::{Batch, Head};
use link::ops::log_throttle::LogThrottle;
use link::ops::metrics::Gauge;
use terms::{Reason, UnixMillis, limits};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::Error;
use crate::lifecycle::Life;
use crate::log::access_counters::{AccessCounters, Taken};
use crate::log::checkpointer::{Durable, SharedSigner};
use crate::log::erasure_file::ErasureFile;
use crate::log::{Draft, Log};
use crate::node::Node;
use crate::policy::rulings::Rules;
use crate::reply::{Outcome, ReplySlot, busy};
use crate::settings::Settings;
use crate::store::feed::FeedDraft;
use crate::store::reserve::Reserve;
use crate::store::subject::Subject;
use crate::store::types::{Minute, SubjectTag};
use crate::write::all_or_none::{self, Undone};
use crate::write::answers::{Answers, Deliver};
use crate::write::command::{Errand, Op};
use crate::write::entries::GroupEntries;
use crate::write::fill::fill;
use crate::write::kept::Kept;
use crate::write::list_numbers::ListNumbers;
use crate::write::needed_rows;
use crate::write::queue_share::{Room, Share, Usage};
use crate::write::retries::Retries;
use crate::write::transaction::{Done, Transaction};

/// Places in the queue for what is no write: maps, questions, counters.
const QUEUE_BESIDE_MAX: usize = 64;
/// Milliseconds by which the clock may be behind the last commit before it is worth a word.
const CLOCK_BEHIND_MS_MAX: u64 = 5_000;

/// What the committer is asked.
enum Command {
    Op(Op, Room),
    /// Writes of which all are done or none.
    All(Vec<(Op, Room)>),
    /// A commit of its own.
    Errand(Box<Errand>),
    /// Write down the reads that were counted since the last time.
    AccessCounters,
    /// A reader has met a store that answers no more.
    Recover,
    /// Finish what is queued, take nothing more, end.
    End,
}

/// The way to the committer. Clones share one queue.
#[derive(Clone)]
pub(crate) struct Queue {
    sender: mpsc::Sender<Command>,
    usage: Usage,
    /// None: it is no session's, and takes no writes.
    share: Option<Arc<Share>>,
}

impl Queue {
    /// The same queue for one more session, which has its own part of it.
    pub(crate) fn of_session(&self) -> Self {
        Self { share: Some(self.usage.share()), ..self.clone() }
    }

    /// Takes room for a write of so many bytes, before anything is done for it: what is being
    /// sealed counts as queued. `None`: there is no room.
    pub(crate) fn admit(&self, bytes: usize) -> Option<Room> {
        Room::take(self.share.as_ref()?, bytes)
    }

    /// Queues a write, or answers it with `SHARD_BUSY` at once: the queue never makes one wait.
    pub(crate) fn submit(&self, op: Op, room: Room) {
        match self.sender.try_send(Command::Op(op, room)) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(Command::Op(op, _))) => op.reply.send(busy()),
            // The committer has stopped: what was not queued was not done, and is so answered by
            // being dropped.
            Err(_) => {}
        }
    }

    /// The same for writes of which all are done or none.
    pub(crate) fn submit_all(&self, ops: Vec<(Op, Room)>) {
        match self.sender.try_send(Command::All(ops)) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(Command::All(ops))) => {
                ops.into_iter().for_each(|(op, _)| op.reply.send(busy()));
            }
            // As for one.
            Err(_) => {}
        }
    }

    /// Queues a commit of its own behind the writes that are there already. What comes after a map
    /// is done under it.
    pub(crate) fn submit_errand(&self, errand: Errand) {
        match self.sender.try_send(Command::Errand(Box::new(errand))) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(Command::Errand(errand))) => errand.refuse(),
            // As for a write.
            Err(_) => {}
        }
    }

    /// Has the committer finish what is queued and end. Waits for a place in the queue.
    pub(crate) async fn end(&self) {
        // Gone already: it has ended by itself.
        self.sender.send(Command::End).await.ok();
    }

    /// Has the committer look whether the store still answers: it opens it again, or ends the shard.
    pub(crate) fn recover(&self) {
        // A committer whose queue is full is about to find out by itself.
        self.sender.try_send(Command::Recover).ok();
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
        self.0.upgrade().is_some_and(|sender| sender.try_send(Command::AccessCounters).is_ok())
    }

    /// [`Queue::recover`].
    pub(crate) fn recover(&self) {
        self.0.upgrade().and_then(|sender| sender.try_send(Command::Recover).ok());
    }
}

/// The committer's own state.
pub(crate) struct Committer {
    pub(crate) node: Arc<Node>,
    pub(crate) rules: Rules,
    pub(crate) log: Log,
    pub(crate) head: Head,
    pub(crate) lists: ListNumbers,
    pub(crate) last_commit: UnixMillis,
    pub(crate) counts: Arc<AccessCounters>,
    pub(crate) durable: Arc<Durable>,
    pub(crate) signer: SharedSigner,
    /// What the shard was told: where keys lie, when a period ends.
    pub(crate) settings: Settings,
    /// The disk of the store.
    pub(crate) disk: Reserve,
    /// Lines about a clock that is behind.
    pub(crate) behind: LogThrottle,
    pub(crate) retries: Retries,
    /// Where erasures are named outside the store.
    pub(crate) erasures: ErasureFile,
    pub(crate) deliver: Deliver,
}

/// Makes the queue and its committer's end of it; `bytes` shows what waits in it.
pub(crate) fn queue(bytes: Gauge) -> (Queue, Inbox) {
    let (sender, receiver) = mpsc::channel(limits::COMMIT_QUEUE_MAX + QUEUE_BESIDE_MAX);
    let queue = Queue { sender, usage: Usage::new(bytes), share: None };
    (queue, Inbox { receiver, taken: VecDeque::new() })
}

/// The committer's end of the queue.
pub(crate) struct Inbox {
    receiver: mpsc::Receiver<Command>,
    taken: VecDeque<Command>,
}

/// What goes into one commit.
struct Group {
    /// Each with its room, which is given back once it is answered.
    ops: VecDeque<(Op, Room)>,
    /// All of them are done, or none.
    all: bool,
    /// Goes alone: it is a commit between the writes before it and those after it.
    errand: Option<Box<Errand>>,
    counts: bool,
    recover: bool,
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
        let ops = VecDeque::new();
        let mut group = Group { ops, all: false, errand: None, counts: false, recover: false };
        let mut bytes = 0_usize;
        while let Some(command) = self.taken.pop_front() {
            match command {
                Command::AccessCounters => group.counts = true,
                Command::Recover => group.recover = true,
                Command::End => {}
                Command::All(ops) if group.ops.is_empty() && !group.counts => {
                    (group.ops, group.all) = (ops.into(), true);
                    break;
                }
                Command::All(ops) => {
                    self.taken.push_front(Command::All(ops));
                    break;
                }
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
                    group.ops.push_back((op, room));
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

    /// Puts back what was taken and not done: it goes first into the next group.
    fn put_back(&mut self, ops: VecDeque<(Op, Room)>) {
        for (op, room) in ops.into_iter().rev() {
            self.taken.push_front(Command::Op(op, room));
        }
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
            let mut ops = group.ops;
            let recovered = if group.recover { self.check_store() } else { Ok(()) };
            let done = recovered.and_then(|()| match group.errand {
                Some(errand) => self.run_errand(*errand, group.counts),
                None if group.all => self.commit_all(&mut ops),
                None => self.commit(&mut ops, group.counts),
            });
            if let Err(error) = done {
                return poison(&error, life);
            }
            inbox.put_back(ops);
        }
        if let Err(error) = self.commit(&mut VecDeque::new(), true) {
            poison(&error, life);
        }
        let reads = self.counts.reads();
        if reads > 0 {
            tracing::error!(reads, "counted reads have no entry in the log: the store took none");
        }
    }

    /// One group, one commit. What is left in `ops` did not fit. `Err`: the process must end.
    pub(crate) fn commit(
        &mut self,
        ops: &mut VecDeque<(Op, Room)>,
        counts: bool,
    ) -> Result<(), Error> {
        self.refuse_unnoted(ops);
        self.commit_group(ops, counts, false)
    }

    /// The same for writes of which all are done or none.
    fn commit_all(&mut self, ops: &mut VecDeque<(Op, Room)>) -> Result<(), Error> {
        self.commit_group(ops, false, true)
    }

    fn commit_group(
        &mut self,
        ops: &mut VecDeque<(Op, Room)>,
        counts: bool,
        all: bool,
    ) -> Result<(), Error> {
        let (now, low) = (self.now(), self.disk_is_low());
        let (subjects, unbelieved) = (self.cached_subjects(ops), self.node.clock.ahead().is_some());
        let read = match needed_rows::read(&*self.node.engine, ops, &subjects) {
            Err(error) => {
                self.recover(error.into())?;
                needed_rows::read(&*self.node.engine, ops, &subjects)
            }
            read => read,
        };
        let (rows, unreadable) = read?;
        self.rules.set_date(atlas::Moment::of(now));
        let (map, growing) = (self.rules.map_ref(), self.node.growing());
        let draft = Draft::new(&self.log);
        let entries = GroupEntries::new(&self.node, &growing, map, Minute::of(now), draft);
        let mut work = Transaction {
            node: &self.node,
            counts: &self.counts,
            rules: &mut self.rules,
            rows,
            unreadable,
            subjects,
            heads: HashMap::new(),
            erased: Vec::new(),
            moves_ended: HashMap::new(),
            batch: Batch::new(),
            kept: Kept::new(&entries),
            uploads: None,
            feed: FeedDraft::default(),
            now,
            entries,
            answers: Vec::with_capacity(ops.len()),
        };
        let rooms = fill(&mut work, ops, low, unbelieved);
        if all {
            // What does not fit into one commit can never be done together: limits rule it out.
            let left = (!ops.is_empty()).then(|| Undone::Refused(Reason::Internal.into()));
            if let Some(undone) = all_or_none::undone(&work.answers).or(left) {
                all_or_none::answer(&undone, work.answers, ops);
                return Ok(());
            }
        }
        let counted = if counts { self.counts.take(low) } else { Taken::default() };
        let uncounted = work.entries.count(&counted);
        let Transaction { subjects, erased, mut kept, feed, entries, mut answers, .. } = work;
        feed.finish(|| self.node.feed_key(), &mut kept.batch, entries.commit(), entries.minute());
        let draft = entries.into_draft();
        if draft.is_empty() {
            self.counts.put_back(uncounted);
            return self.commit_steps(kept, subjects, &erased, answers, rooms);
        }
        let (added, expired) = (draft.next_index().0 - self.log.edge.size(), draft.expired());
        let (edge, size) = draft.finish(&mut kept.batch, now);
        let started = Instant::now();
        begin(&mut answers);
        self.node.forget_changed(&subjects);
        if let Err(error) = self.commit_rows(kept.batch, &kept.listed, size)
            && let Some(fault) = self.settle(error, &edge, size)?
        {
            // Every answer may rest on what was not written, even a retry's: none is given.
            self.counts.put_back(counted);
            let refused = |(reply, _)| (reply, Outcome::Rejected(fault.clone()));
            let replies = answers.into_iter().map(refused).collect();
            (self.deliver)(Answers { replies, rooms });
            return Ok(());
        }
        self.counts.put_back(uncounted);
        self.measure(started, answers.len(), added, expired);
        self.remember(subjects);
        self.committed(edge, size, now);
        self.read_slots(kept.slots_changed)?;
        self.answer_noted(&erased, answers, rooms);
        Ok(())
    }

    /// Commits a group that adds no entry, and answers.
    fn commit_steps(
        &mut self,
        kept: Kept,
        subjects: HashMap<SubjectTag, Arc<Subject>>,
        erased: &[SubjectTag],
        mut answers: Vec<(ReplySlot, Done)>,
        rooms: Vec<Room>,
    ) -> Result<(), Error> {
        self.node.forget_changed(&subjects);
        if self.commit_unlogged(kept.batch, &kept.listed, &mut answers)? {
            self.remember(subjects);
        }
        self.read_slots(kept.slots_changed)?;
        self.answer_noted(erased, answers, rooms);
        Ok(())
    }

    /// Keeps the subjects of a group in memory as its commit has left them.
    fn remember(&self, subjects: HashMap<SubjectTag, Arc<Subject>>) {
        self.node.moves.written(&subjects);
        subjects.into_iter().for_each(|(tag, subject)| self.node.subjects.insert(tag, subject));
    }

    fn measure(&self, started: Instant, writes: usize, entries: u64, expired: u64) {
        let metrics = &self.node.metrics;
        metrics.commits.inc();
        metrics.commit_seconds.observe(started.elapsed().as_secs_f64());
        metrics.commit_writes.observe(f64::from(u32::try_from(writes).unwrap_or(u32::MAX)));
        metrics.entries.inc_by(entries);
        metrics.expired.inc_by(expired);
    }

    pub(super) fn answer(&self, answers: Vec<(ReplySlot, Done)>, rooms: Vec<Room>) {
        let mut replies = Vec::with_capacity(answers.len());
        for (reply, done) in answers {
            match done {
                Done::Answer(outcome) => replies.push((reply, outcome)),
                Done::Retry(retry) => self.retries.answer(reply, retry),
            }
        }
        (self.deliver)(Answers { replies, rooms });
    }

    /// A commit has returned: this is what the store holds now.
    pub(crate) fn committed(&mut self, edge: ledger::Edge, size: u64, now: UnixMillis) {
        (self.head.size, self.log.edge) = (size, edge);
        self.last_commit = now;
        self.node.committed.store(now.0, Ordering::Relaxed);
        let entries = self.log.edge.size();
        self.node.growing.load().set_size(entries);
        self.node.metrics.log_size.set(i64::try_from(entries).unwrap_or(i64::MAX));
        self.durable.publish(entries, self.log.edge.root());
    }

    /// Time in a shard never falls below its last commit's.
    pub(crate) fn now(&self) -> UnixMillis {
        let clock = self.node.clock.now();
        let now = clock.max(self.last_commit);
        if clock.0.saturating_add(CLOCK_BEHIND_MS_MAX) < now.0
            && let Some(unsaid) = self.behind.allow(clock)
        {
            tracing::error!(
                behind_ms = now.0 - clock.0,
                unsaid,
                "the clock is behind the last commit: time stands still here until it has caught up"
            );
        }
        now
    }

    /// The subjects of a group that are open in memory.
    fn cached_subjects(&self, ops: &VecDeque<(Op, Room)>) -> HashMap<SubjectTag, Arc<Subject>> {
        let owners = ops.iter().filter_map(|(op, _)| op.action.owner());
        let cached = |tag| Some((tag, self.node.subjects.get(&tag)?));
        owners.filter_map(|owner| cached(owner.tag)).collect()
    }

    /// Whether the disk is down to the reserve that is kept for erasure and expiry. One that cannot
    /// be measured counts as low.
    pub(crate) fn disk_is_low(&self) -> bool {
        match self.disk.free_and_needed(&*self.node.engine) {
            Ok((free, needed)) => self.node.disk_is_low(free, needed),
            Err(error) => {
                if let Some(unsaid) = self.node.troubles.allow(self.node.clock.now()) {
                    tracing::error!(%error, unsaid, "the disk is not measured: it counts as low");
                }
                true
            }
        }
    }
}

/// The outcome of the group is not known: the process must start again and read.
fn poison(error: &Error, life: &watch::Sender<Life>) {
    tracing::error!(%error, "the commit failed; the shard answers nothing more");
    life.send_replace(Life::Poisoned);
}

/// From here on it is not known of these writes whether they are done, until the commit says so.
fn begin(answers: &mut [(ReplySlot, Done)]) {
    let written = |done: &Done| matches!(done, Done::Answer(Outcome::Written(_)));
    answers.iter_mut().filter(|(_, done)| written(done)).for_each(|(reply, _)| reply.begin());
}

#[cfg(test)]
pub(crate) mod tests;
