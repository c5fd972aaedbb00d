//! Makes the copies that are due in other regions, and tells these what becomes of them.
//!
//! What is due to one region is done in a turn of its own, some records at a time: for each the COPY_OUT entry
//! is durable, and only then does a byte of it leave; once the other region has it, it is due no more. So a
//! region that is slow, or not reached, keeps no other waiting, and no write; and all that is known is in the
//! store, so it goes on after a crash, and whenever the link is back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use engine::{Key, Order, ScanLimit};
use terms::{RecordKey, RegionId, Rejection};
use tokio::sync::oneshot;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep};
use wire::session as proto;
use wire::session::copied::State;
use wire::session::copy_call::Step;

use crate::Error;
use crate::relocate::copies_due::{
    Found, What, call_of, due, log_now, marked, marked_subject, regions, state_of,
};
use crate::relocate::drive::{Driver, Halt, Sessions, is_for_good};
use crate::relocate::peers::PeerShard;
use crate::reply::{Copied, CopiedState, Outcome, ReplySlot};
use crate::store::copy_keys;
use crate::store::copy_mark::{CopyMark, DueStep, MarkState};
use crate::store::record::Address;
use crate::write::command::{Action, CopyOut, CopyOutStep, Op};
use crate::write::expiry::own;

/// Time between two looks for what is due.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Time that writes which come together have until they are looked for.
const GATHER: Duration = Duration::from_millis(10);
/// Time in which a step here must have begun.
const WITHIN: Duration = Duration::from_secs(60);
/// Time until a region with which something failed is asked again; it is doubled as long as that goes on.
const REST: Duration = Duration::from_millis(250);
const DOUBLED_MAX: u32 = 4;
/// Groups of records of one turn: then others to be told something have theirs.
const GROUPS_MAX: usize = 64;
/// Time after which a turn takes no further group.
const TURN_MAX: Duration = Duration::from_secs(1);
/// Marks of one turn.
const TELLS_MAX: usize = 256;
/// How often a region is asked in one turn to go on erasing the copies of one mark.
const ASKED_MAX: u32 = 64;

/// What is known of a region that is due something.
#[derive(Default)]
struct Mirror {
    turn: Option<Id>,
    sessions: Sessions,
    /// After which rows it goes on: of those that it is to be told of, and of those that are due.
    after: After,
    failed: u32,
    not_before: Option<Instant>,
}

/// How a turn has ended.
#[derive(Default)]
struct Ended {
    sessions: Sessions,
    after: After,
    failed: bool,
}

/// Where a turn goes on. None: at the beginning.
#[derive(Default)]
struct After {
    told: Option<Key>,
    due: Option<Key>,
}

impl Driver {
    /// Starts what is done about copies.
    pub(crate) fn tend_copies(&self, tasks: &mut JoinSet<()>) {
        tasks.spawn(self.clone().run_copies());
        tasks.spawn(self.clone().watch_copies());
        tasks.spawn(self.clone().measure_copies());
    }

    /// Makes what is due, again and again. Never done.
    async fn run_copies(self) {
        let driver = Arc::new(self);
        let (mut turns, mut mirrors) = (JoinSet::new(), HashMap::<RegionId, Mirror>::new());
        loop {
            match driver.blocking(|node| Ok(regions(node)?)).await {
                Ok(regions) => driver.begin_copies(regions, &mut turns, &mut mirrors),
                Err(fault) => driver.say_copies(fault.reason.as_str()),
            }
            tokio::select! {
                Some(ended) = turns.join_next_with_id(), if !turns.is_empty() => {
                    let (id, ended) = match ended {
                        Ok((id, ended)) => (id, ended),
                        Err(error) => (error.id(), Ended { failed: true, ..Ended::default() }),
                    };
                    if let Some(mirror) = mirrors.values_mut().find(|one| one.turn == Some(id)) {
                        mirror.end(ended);
                    }
                }
                () = driver.node.copies_due.notified() => sleep(GATHER).await,
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Begins a turn with each region that is due something, and has none.
    fn begin_copies(
        self: &Arc<Self>,
        regions: Vec<RegionId>,
        turns: &mut JoinSet<Ended>,
        mirrors: &mut HashMap<RegionId, Mirror>,
    ) {
        mirrors.retain(|region, mirror| {
            mirror.turn.is_some() || regions.contains(region) || mirror.sessions.has_open()
        });
        for region in regions {
            let mirror = mirrors.entry(region.clone()).or_default();
            let rests = mirror.not_before.is_some_and(|until| Instant::now() < until);
            if mirror.turn.is_some() || rests {
                continue;
            }
            let sessions = std::mem::take(&mut mirror.sessions);
            let after = std::mem::take(&mut mirror.after);
            let driver = Arc::clone(self);
            let turn =
                turns.spawn(async move { driver.copies_turn(region, sessions, after).await });
            mirror.turn = Some(turn.id());
        }
    }

    /// Does what is due to one region.
    async fn copies_turn(
        &self,
        region: RegionId,
        mut sessions: Sessions,
        mut after: After,
    ) -> Ended {
        let mut failed = self.tell_all(&region, &mut sessions, &mut after.told).await;
        let began = Instant::now();
        for _ in 0..GROUPS_MAX {
            // Another shard of the region may be reached.
            if sessions.lacks_any() && !sessions.has_open() {
                failed = true;
                break;
            }
            let (at, from) = (region.clone(), after.due.take());
            let found = self.blocking(move |node| due(node, &at, from.as_deref())).await;
            let (found, last) = match found {
                Ok(found) => found,
                Err(fault) => {
                    self.say_copies(fault.reason.as_str());
                    failed = true;
                    break;
                }
            };
            let (ok, more) = (self.group(&region, &mut sessions, found).await, last.is_some());
            failed |= !ok;
            after.due = last;
            // Erasures and blocks are told between turns.
            if !more || began.elapsed() >= TURN_MAX {
                break;
            }
        }
        Ended { sessions, after, failed }
    }

    /// Does one group of records. False: something failed, and is tried again later.
    async fn group(&self, region: &RegionId, sessions: &mut Sessions, found: Vec<Found>) -> bool {
        let (mut ok, mut after) = (true, Vec::new());
        let mut by_shard = HashMap::<PeerShard, Vec<Found>>::new();
        for one in found {
            if matches!(one.what, What::Nothing) {
                after.push(one.done(region, one.left()));
                continue;
            }
            match self.peer(&one.address.owner, region) {
                Ok(peer) => by_shard.entry(peer).or_default().push(one),
                Err(halt) => ok &= self.halted(&halt),
            }
        }
        for some in by_shard.into_values() {
            ok &= self.send_some(region, sessions, some, &mut after).await;
        }
        let done = self.commit(after).await;
        ok & done.iter().all(|outcome| !matches!(outcome, None | Some(Outcome::Rejected(_))))
    }

    /// Sends some records to one shard, if it is reached. What follows is added to `after`.
    async fn send_some(
        &self,
        region: &RegionId,
        sessions: &mut Sessions,
        some: Vec<Found>,
        after: &mut Vec<Action>,
    ) -> bool {
        let Some(first) = some.first() else { return true };
        // Nothing is written down about what cannot leave.
        if let Err(halt) = self.session(sessions, &first.address.owner, region).await {
            return self.halted(&halt);
        }
        let ruled = self.node.map().epoch();
        let (gone, sent): (Vec<_>, Vec<_>) =
            some.into_iter().partition(|one| !matches!(one.what, What::Send { .. }));
        let steps = sent.iter().map(|one| one.action(region, one.send())).collect();
        let told = self.commit(steps).await;
        let (mut calls, mut begun) = (Vec::new(), Vec::<(CopyMark, Key)>::new());
        for (one, outcome) in sent.into_iter().zip(told) {
            match outcome {
                Some(Outcome::Written(written)) => {
                    let origin = written.origin.as_deref().unwrap_or_default().to_owned();
                    calls.push((one, origin, written.index.0));
                }
                // It is the first copy of its collection.
                Some(Outcome::Copied(_)) => {
                    let Address { owner, collection, .. } = one.address.clone();
                    let (mirror, state) = (region.clone(), MarkState::Gone);
                    begun.push((CopyMark { owner, collection, mirror, state }, one.mark.clone()));
                }
                // By this region's own rules there is to be none.
                Some(Outcome::Rejected(fault)) if is_for_good(&fault) => {
                    let version = one.head.version;
                    after.push(one.action(region, CopyOutStep::Refused { version }));
                }
                // It has changed, or its subject is not live just now.
                _ => {}
            }
        }
        // Several records of one collection ask for the same.
        begun.dedup_by(|one, other| one.1 == other.1);
        for (mark, key) in begun {
            if let Err(halt) = self.check_mark(&mark, &key, true).await {
                return self.halted(&halt);
            }
        }
        let (origin, size) = log_now(&self.node);
        calls.extend(gone.into_iter().map(|one| (one, origin.clone(), size)));
        let mut asked = Vec::new();
        for (mut one, origin, index) in calls {
            match one.call(&self.node, origin, index) {
                Ok(call) => asked.push((one, call)),
                Err(error) => {
                    self.say_copies(Rejection::from(error).reason.as_str());
                    return false;
                }
            }
        }
        // What a map has forbidden since does not leave: it is ruled again.
        self.node.map().epoch() == ruled && self.ask_copies(region, sessions, asked, after).await
    }

    /// Asks one shard. What follows is added to `after`.
    async fn ask_copies(
        &self,
        region: &RegionId,
        sessions: &mut Sessions,
        some: Vec<(Found, proto::CopyCall)>,
        after: &mut Vec<Action>,
    ) -> bool {
        let (mut found, mut calls) = (Vec::new(), Vec::new());
        for (one, call) in some {
            calls.push((one.address.owner.tenant.clone(), call));
            found.push(one);
        }
        let Some(first) = found.first() else { return true };
        let session = match self.session(sessions, &first.address.owner, region).await {
            Ok(session) => session,
            Err(halt) => return self.halted(&halt),
        };
        let answers = match session.copies(&self.node, calls).await {
            Ok(answers) => answers,
            Err(end) => return self.halted(&end.into()),
        };
        let mut ok = true;
        for (one, answer) in found.into_iter().zip(answers) {
            match (answer, &one.what) {
                (Ok(State::Done | State::None), _) => after.push(one.done(region, one.left())),
                // Its entry stands before something that the other region knows: it gets another in the end.
                (Ok(State::Stale), What::Send { .. }) => {
                    self.say_copies("the other region knows something later of this shard's log");
                    after.extend(one.is_old.then(|| one.done(region, Some(DueStep::New))));
                    ok = false;
                }
                (Ok(State::Stale | State::Unfinished | State::Unspecified), _) => {}
                // The other region's rules allow none, or it has no room just now.
                (Err(fault), _) => {
                    self.say_copies(fault.reason.as_str());
                    ok = false;
                }
            }
        }
        ok
    }

    /// Tells a region what has become of subjects of which it has copies. Whether something failed.
    async fn tell_all(
        &self,
        region: &RegionId,
        sessions: &mut Sessions,
        after: &mut Option<Key>,
    ) -> bool {
        let (at, from) = (region.clone(), after.take());
        let tells = self.blocking(move |node| {
            let limit = ScanLimit { rows: TELLS_MAX, bytes: 1 << 20 };
            let span = copy_keys::tells(&at, from.as_deref());
            let page = node.engine.scan(&span, Order::Ascending, limit).map_err(Error::from)?;
            Ok((page.rows, page.more))
        });
        let (tells, more) = match tells.await {
            Ok(tells) => tells,
            Err(fault) => {
                self.say_copies(fault.reason.as_str());
                return true;
            }
        };
        // What fails again and again does not stay in front.
        *after = tells.last().filter(|_| more).map(|(key, _)| key.clone());
        let mut failed = false;
        for (key, told) in tells {
            if sessions.lacks_any() && !sessions.has_open() {
                return true;
            }
            let Some(mark) = copy_keys::mark_of_tell(&key) else { continue };
            if let Err(halt) = self.tell_one(region, sessions, mark, told).await {
                failed |= !self.halted(&halt);
            }
        }
        failed
    }

    /// Tells a region what one mark says.
    async fn tell_one(
        &self,
        region: &RegionId,
        sessions: &mut Sessions,
        key: Key,
        told: Vec<u8>,
    ) -> Result<(), Halt> {
        let at = key.clone();
        let Some(mark) = self.blocking(move |node| marked(node, &at)).await? else {
            return Ok(());
        };
        self.check_mark(&mark, &key, false).await?;
        let (origin, index) = log_now(&self.node);
        let at = key.clone();
        let Some((mark, subject)) = self.blocking(move |node| marked_subject(node, &at)).await?
        else {
            return Ok(());
        };
        let step = match mark.state {
            MarkState::Drop(why) => Some(Step::Drop(why.as_str().to_owned())),
            // Another shard may serve what this one has not confirmed.
            MarkState::Made if !self.node.owns(mark.owner.slot) => return Err(Halt::GoesOn),
            MarkState::Made => subject.as_ref().and_then(|subject| state_of(subject, &mark)),
            MarkState::Gone => None,
        };
        let dropped = matches!(mark.state, MarkState::Drop(_));
        if let Some(step) = step {
            let (owner, mut asked) = (&mark.owner, 0);
            loop {
                asked += 1;
                let call = call_of(&mark, &origin, index, step.clone());
                let session = self.session(sessions, owner, region).await?;
                let calls = vec![(owner.tenant.clone(), call)];
                match session.copies(&self.node, calls).await?.pop() {
                    Some(Ok(State::Done)) => break,
                    Some(Ok(State::None)) if dropped => break,
                    Some(Ok(State::None)) => {
                        self.check_mark(&mark, &key, true).await?;
                        break;
                    }
                    Some(Ok(State::Unfinished)) if asked < ASKED_MAX => {}
                    Some(Err(fault)) => return Err(Halt::Later(fault.reason.as_str().to_owned())),
                    _ => return Err(Halt::GoesOn),
                }
            }
        } else if mark.state == MarkState::Made {
            // The subject is in hand: it is looked at again.
            return Err(Halt::GoesOn);
        }
        let step = CopyOutStep::Told { told, dropped };
        self.mark_step(&mark, &key, step).await?;
        // The rules may allow them again by now.
        if dropped { self.check_mark(&mark, &key, false).await } else { Ok(()) }
    }

    /// Has the committer look whether the rules still allow what a mark says. `wanted`: the other region
    /// has no copies, so all records are due.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are treated alike")]
    pub(super) async fn check_mark(
        &self,
        mark: &CopyMark,
        key: &Key,
        wanted: bool,
    ) -> Result<(), Halt> {
        let mut after = None;
        loop {
            let step = CopyOutStep::Check { after, wanted };
            match self.mark_step(mark, key, step).await? {
                Outcome::Copied(Copied { state: CopiedState::Unfinished, after: next }) => {
                    after = next;
                }
                _ => return Ok(()),
            }
        }
    }

    async fn mark_step(
        &self,
        mark: &CopyMark,
        key: &Key,
        step: CopyOutStep,
    ) -> Result<Outcome, Halt> {
        let (owner, collection) = (mark.owner.clone(), mark.collection.clone());
        // The step is about the mark: it is about no record.
        let record = RecordKey::parse("mark").map_err(|why| Rejection::id("key", why))?;
        let row = self.node.namer.record(&owner, &collection, &record);
        let address = Address { owner, collection, key: record, row };
        let (mark, mirror) = (key.clone(), mark.mirror.clone());
        let action = Action::CopyOut(Box::new(CopyOut { address, mirror, mark, step }));
        match self.commit(vec![action]).await.pop().flatten() {
            Some(Outcome::Rejected(fault)) => Err(Halt::Later(fault.reason.as_str().to_owned())),
            Some(outcome) => Ok(outcome),
            None => Err(Halt::Later("a step was not answered".to_owned())),
        }
    }

    /// Has the committer do some steps, together as far as they may be. None: the queue is full, or there
    /// was no answer.
    pub(super) async fn commit(&self, actions: Vec<Action>) -> Vec<Option<Outcome>> {
        let queue = self.queue.of_session();
        let mut answers = Vec::with_capacity(actions.len());
        for action in actions {
            let (sender, answer) = oneshot::channel();
            if let Some(room) = queue.admit(action.bytes()) {
                let reply = ReplySlot::new(move |outcome, _| drop(sender.send(outcome)));
                let (deadline, asker) = (Instant::now() + WITHIN, own(&self.node, &action));
                queue.submit(Op { reply, deadline, asker, map_epoch: None, action }, room);
            }
            answers.push(answer);
        }
        let mut outcomes = Vec::with_capacity(answers.len());
        for answer in answers {
            outcomes.push(answer.await.ok());
        }
        outcomes
    }

    /// Says why something does not go on. False: it has failed.
    pub(super) fn halted(&self, halt: &Halt) -> bool {
        match halt {
            Halt::GoesOn => return true,
            Halt::Later(why) => self.say_copies(why),
            Halt::Refused(fault) | Halt::Failed(fault) => self.say_copies(fault.reason.as_str()),
        }
        false
    }

    pub(super) fn say_copies(&self, why: &str) {
        self.node.metrics.copies.halted.inc();
        if let Some(unsaid) = self.node.copy_lines.allow(self.node.clock.now()) {
            tracing::warn!(why, unsaid, "a copy in another region is not made for now");
        }
    }
}

impl Mirror {
    fn end(&mut self, ended: Ended) {
        (self.turn, self.sessions, self.after) = (None, ended.sessions, ended.after);
        self.sessions.again();
        self.failed = if ended.failed { self.failed.saturating_add(1) } else { 0 };
        let times = self.failed.checked_sub(1);
        let rest = times.map(|times| REST * 2_u32.pow(times.min(DOUBLED_MAX)));
        // What is due and cannot be sent now, such as records of a blocked person, begins no turn at once.
        self.not_before = Some(Instant::now() + rest.unwrap_or(LOOK_EVERY));
    }
}
