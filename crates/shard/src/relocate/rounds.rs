//! Which moves are driven when: those to one shard one after another, those to different shards at the
//! same time. So a shard that is slow, or not reached, keeps no move to another one waiting. In a turn,
//! subjects that were given away come first: no region serves them. A shard with which something failed is
//! left alone for a while.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use engine::{Key, Order, ScanLimit, Span};
use terms::{RegionId, Rejection, Slot};
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep};
use wire::session::arrival::Step;
use wire::session::arrived::State;

use crate::Error;
use crate::node::Node;
use crate::relocate::drive::{Driver, Halt, Sessions};
use crate::relocate::peers::PeerShard;
use crate::relocate::show;
use crate::store::damage::read_rows;
use crate::store::keys;
use crate::store::left_copy::LeftCopy;
use crate::store::moving::MovesTo;
use crate::store::subject::Status;
use crate::store::types::Minute;
use crate::write::command::DepartStep;
use crate::write::move_command::GiveUp;

/// Time between two looks for what there is to do.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Time until a shard is asked again that is to sign an entry first.
const SIGNED_WITHIN: Duration = Duration::from_millis(100);
/// How often that time is doubled for a shard with which something fails again and again.
const DOUBLED_MAX: u32 = 2;
/// Rows that are read at once.
const ROWS_AT_ONCE: usize = 1_024;
/// Rows of one kind that are driven in one turn.
const TURN_MAX: usize = 1_024;

/// What is to be done for one subject: in this order.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    /// It was given away, and the other region is to serve it.
    HandOver(Key),
    /// The other region is to erase what it has.
    Drop(Key),
    /// It is copied.
    Copy(Key),
}

/// What there is to do.
#[derive(Default)]
struct Due {
    /// By the region and the slot.
    work: BTreeMap<(RegionId, Slot), Vec<Work>>,
    moving: u64,
    left: u64,
    copies: u64,
    /// Since when the oldest subject is served by no region.
    oldest_left: Option<Minute>,
}

/// What is known of another shard.
#[derive(Default)]
struct Known {
    /// The turn that goes on.
    turn: Option<Id>,
    sessions: Sessions,
    /// How often something failed since the last turn in which nothing did.
    failed: u32,
    not_before: Option<Instant>,
}

/// How a turn has ended.
struct Ended {
    sessions: Sessions,
    failed: bool,
    /// Something waits: for a signature of the other shard, or for a look at what has changed.
    waits: bool,
}

/// All other shards to which something moves.
#[derive(Default)]
struct Others(HashMap<PeerShard, Known>);

impl Others {
    /// `ended`: None: it has panicked.
    fn ended(&mut self, id: Id, ended: Option<Ended>) {
        let sessions = Sessions::default();
        let ended = ended.unwrap_or(Ended { sessions, failed: true, waits: false });
        let Some(known) = self.0.values_mut().find(|known| known.turn == Some(id)) else { return };
        known.turn = None;
        known.sessions = ended.sessions;
        known.sessions.again();
        known.failed = if ended.failed { known.failed.saturating_add(1) } else { 0 };
        let rest = match known.failed {
            0 if ended.waits => Some(SIGNED_WITHIN),
            0 => None,
            failed => Some(LOOK_EVERY * 2_u32.pow(failed.min(DOUBLED_MAX) - 1)),
        };
        known.not_before = rest.map(|rest| Instant::now() + rest);
    }
}

impl Driver {
    /// Drives what there is to drive, again and again. Never done.
    pub(crate) async fn run(self) {
        let driver = Arc::new(self);
        let (mut turns, mut others) = (JoinSet::new(), Others::default());
        loop {
            match driver.blocking(|node| Ok(due(node)?)).await {
                Ok(due) => driver.begin(due, &mut turns, &mut others),
                Err(fault) => driver.say(fault.reason.as_str()),
            }
            tokio::select! {
                Some(ended) = turns.join_next_with_id(), if !turns.is_empty() => match ended {
                    Ok((id, ended)) => others.ended(id, Some(ended)),
                    Err(error) => others.ended(error.id(), None),
                },
                () = driver.node.moves.ordered.notified() => {}
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Begins a turn with each shard with which there is something to do, and none goes on.
    fn begin(self: &Arc<Self>, due: Due, turns: &mut JoinSet<Ended>, others: &mut Others) {
        let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let metrics = &self.node.metrics.moves;
        metrics.out.set(count(due.moving));
        metrics.left.set(count(due.left));
        metrics.copies.set(count(due.copies));
        let now = Minute::of(self.node.now());
        let oldest = due.oldest_left.map_or(0, |since| now.0.saturating_sub(since.0));
        metrics.left_seconds.set(i64::from(oldest) * 60);
        let (map, mut work) = (self.node.map(), HashMap::<PeerShard, Vec<Work>>::new());
        for ((region, slot), some) in due.work {
            match self.peers.shard(&map, &region, slot) {
                Some(peer) => work.entry(peer).or_default().extend(some),
                None => self.say(&format!("there is no annex of region {region} that counts")),
            }
        }
        others.0.retain(|peer, known| {
            known.turn.is_some() || work.contains_key(peer) || known.sessions.has_open()
        });
        for (peer, mut work) in work {
            let known = others.0.entry(peer).or_default();
            let rests = known.not_before.is_some_and(|until| Instant::now() < until);
            if known.turn.is_some() || rests {
                continue;
            }
            put_in_order(&mut work, known.failed);
            let (driver, sessions) = (Arc::clone(self), std::mem::take(&mut known.sessions));
            let turn = turns.spawn(async move { driver.turn(sessions, work).await });
            known.turn = Some(turn.id());
        }
    }

    /// Drives the moves to one shard.
    async fn turn(&self, mut sessions: Sessions, work: Vec<Work>) -> Ended {
        let (mut failed, mut waits, mut unserved) = (false, false, false);
        for one in work {
            let hands_over = matches!(one, Work::HandOver(_));
            if matches!(one, Work::Copy(_)) {
                if unserved {
                    sessions.gave_away();
                }
                if waits || sessions.is_awaited() {
                    // No region serves those that were given away: they come first, in the next turn.
                    waits = true;
                    break;
                }
            }
            let done = self.one(&mut sessions, one).await;
            unserved |= hands_over && done.is_err();
            match done {
                Ok(()) => {}
                Err(Halt::GoesOn) => waits = true,
                Err(Halt::Later(why)) => {
                    failed = true;
                    self.say(&why);
                }
                Err(Halt::Refused(fault) | Halt::Failed(fault)) => {
                    failed = true;
                    self.say(fault.reason.as_str());
                }
            }
            if sessions.lacks_any() {
                break;
            }
        }
        Ended { sessions, failed, waits }
    }

    /// Drives the move of one subject as far as it goes.
    async fn one(&self, sessions: &mut Sessions, work: Work) -> Result<(), Halt> {
        let row = match work {
            Work::Drop(key) => return self.drop_there(sessions, key).await,
            Work::HandOver(row) | Work::Copy(row) => row,
        };
        let found = self.blocking(move |node| show::kept(node, &row)).await?;
        // It ended just now: the next look tells.
        let Some((owner, subject)) = found else { return Err(Halt::GoesOn) };
        let subject = Arc::new(subject);
        match &subject.status {
            Status::Moving(of) => {
                let (fault, why) = match self.copy(sessions, &owner, &subject, of).await {
                    Err(Halt::Refused(fault)) => (fault, "refused"),
                    Err(Halt::Failed(fault)) => (fault, "cannot go on here"),
                    done => return done,
                };
                let reason = fault.reason;
                tracing::warn!(%reason, why, "a move to another region is given up");
                let (reason, refused) = (format!("{why}: {reason}"), Some(reason));
                let of = GiveUp { reason, refused, move_id: Some(of.request_id) };
                self.step(&owner, DepartStep::GiveUp(Box::new(of))).await
            }
            Status::Left(left) => self.hand_over(sessions, &owner, &subject, left).await,
            Status::Live | Status::Blocked(_) | Status::Erasing(_) | Status::Arriving(_) => {
                Err(Halt::GoesOn)
            }
        }
    }

    /// Has the other region erase what it has of a move that was given up.
    async fn drop_there(&self, sessions: &mut Sessions, key: Key) -> Result<(), Halt> {
        let copy = self.blocking(move |node| left_copy(node, &key)).await?;
        // It was confirmed just now.
        let Some(LeftCopy { owner, to, move_id }) = copy else { return Ok(()) };
        loop {
            let session = self.session(sessions, &owner, &to).await?;
            let left = self.ask(session, &owner, move_id, Step::Drop(true)).await?;
            match left.state() {
                State::None => break,
                State::Staging => {}
                State::Adopted | State::Unspecified => {
                    return Err(Halt::Later("the other region serves it".to_owned()));
                }
            }
        }
        self.step(&owner, DepartStep::Dropped { move_id }).await
    }

    fn say(&self, why: &str) {
        self.node.metrics.moves.halted.inc();
        if let Some(unsaid) = self.node.troubles.allow(self.node.clock.now()) {
            tracing::warn!(why, unsaid, "a move to another region does not go on for now");
        }
    }
}

/// Subjects that were given away come first, and those to be copied last. Among its like, what fails again
/// and again does not stay in front.
fn put_in_order(work: &mut [Work], failed: u32) {
    work.sort_unstable();
    let copies = work.partition_point(|one| !matches!(one, Work::Copy(_)));
    let (first, copies) = work.split_at_mut(copies);
    let drops = first.partition_point(|one| matches!(one, Work::HandOver(_)));
    let (handed_over, drops) = first.split_at_mut(drops);
    for some in [handed_over, drops, copies] {
        let front = usize::try_from(failed).unwrap_or(0) % some.len().max(1);
        some.rotate_left(front);
    }
}

/// The copy of which a row says that it is to be erased. Blocks its thread.
fn left_copy(node: &Node, key: &Key) -> Result<Option<LeftCopy>, Rejection> {
    let rows = read_rows(&*node.engine, std::slice::from_ref(key)).map_err(Error::from)?;
    let row = rows.into_iter().next().unwrap_or(Ok(None))?;
    Ok(row.map(|row| LeftCopy::open(key, &row, node.subject_keys())).transpose()?)
}

/// What there is to do. Blocks its thread.
fn due(node: &Node) -> Result<Due, Error> {
    let mut due = Due::default();
    let damaged = || Error::Damaged("moves");
    let mut unread = each(node, keys::all_moving(None), |key, row| {
        let MovesTo { to, left, since } = MovesTo::read(row)?;
        let slot = keys::of_moving(key).and_then(keys::slot_of).ok_or_else(damaged)?;
        if left {
            due.left += 1;
            due.oldest_left = Some(due.oldest_left.map_or(since, |oldest| oldest.min(since)));
        } else {
            due.moving += 1;
        }
        if !node.owns(slot) {
            // Another shard of the region may serve the person by now.
            return Ok(());
        }
        let work = due.work.entry((to, slot)).or_default();
        if work.len() < TURN_MAX {
            let key = key.clone();
            work.push(if left { Work::HandOver(key) } else { Work::Copy(key) });
        }
        Ok(())
    })?;
    unread += each(node, keys::all_left_copies(None), |key, row| {
        let (subject, _) = keys::of_left_copy(key).ok_or_else(damaged)?;
        let slot = keys::slot_of(subject).ok_or_else(damaged)?;
        due.copies += 1;
        let work = due.work.entry((LeftCopy::region_of(row)?, slot)).or_default();
        if work.len() < 2 * TURN_MAX {
            work.push(Work::Drop(key.clone()));
        }
        Ok(())
    })?;
    if unread > 0
        && let Some(unsaid) = node.troubles.allow(node.clock.now())
    {
        tracing::error!(
            rows = unread,
            unsaid,
            "rows of moves are damaged: these moves stand still"
        );
    }
    Ok(due)
}

/// Gives each row to `found`. How many rows it could not read: they keep no other from being found.
fn each(
    node: &Node,
    mut span: Span,
    mut found: impl FnMut(&Key, &[u8]) -> Result<(), Error>,
) -> Result<u64, Error> {
    let mut unread = 0;
    let limit = ScanLimit { rows: ROWS_AT_ONCE, bytes: 1 << 20 };
    loop {
        let page = node.engine.scan(&span, Order::Ascending, limit)?;
        let Some((last, _)) = page.rows.last() else { return Ok(unread) };
        span.from = [last.as_slice(), &[0]].concat();
        for (key, row) in &page.rows {
            unread += u64::from(found(key, row).is_err());
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::{Batch, Disk};
    use terms::SlotSet;

    use super::*;
    use crate::store::slots::OwnSlots;
    use crate::testing;

    #[test]
    fn no_move_goes_on_from_a_slot_that_is_not_confirmed() {
        let (folder, disk) = (tempfile::tempdir().expect("a folder"), Disk::new(1));
        let node = testing::node(folder.path(), &disk);
        let to = RegionId::parse("eu-fra").expect("a region");
        let mut batch = Batch::new();
        for (subject, left) in [("anna", false), ("boris", true)] {
            let row = MovesTo { to: to.clone(), left, since: Minute(1) }.row();
            batch.put(keys::moving(&testing::address(&node, subject).owner.row()), row);
        }
        // What the other region is to erase, it erases.
        let owner = testing::address(&node, "clara").owner;
        let slot = owner.slot;
        let copy = LeftCopy { owner, to: to.clone(), move_id: [1; 16] };
        let (key, row) = copy.row(node.subject_keys(), [2; 12]);
        batch.put(key, row);
        let head = node.engine.head().expect("a head");
        node.engine.commit(batch, head, head.size).expect("a commit");

        let confirmed =
            node.slots.send_replace(OwnSlots { unconfirmed: SlotSet::ALL, ..OwnSlots::default() });
        let found = due(&node).expect("a look");
        assert_eq!((found.moving, found.left, found.copies), (1, 1, 1));
        let work: Vec<&(RegionId, Slot)> = found.work.keys().collect();
        assert_eq!(work, [&(to, slot)]);
        assert!(found.work.values().flatten().all(|one| matches!(one, Work::Drop(_))));

        node.slots.send_replace(confirmed);
        let found = due(&node).expect("a look");
        let all: Vec<&Work> = found.work.values().flatten().collect();
        assert_eq!(all.len(), 3);
        assert!(all.iter().any(|one| matches!(one, Work::Copy(_))));
        assert!(all.iter().any(|one| matches!(one, Work::HandOver(_))));
    }

    #[test]
    fn what_no_region_serves_comes_first_whatever_has_failed() {
        for failed in 0..5 {
            let copies = [1, 2].map(|n| Work::Copy(vec![n]));
            let others = [3, 4].map(|n| Work::HandOver(vec![n]));
            let mut work: Vec<Work> = copies.into_iter().chain(others).collect();
            work.push(Work::Drop(vec![5]));
            put_in_order(&mut work, failed);
            let kinds = work.iter().map(|one| match one {
                Work::HandOver(_) => 'h',
                Work::Drop(_) => 'd',
                Work::Copy(_) => 'c',
            });
            assert_eq!(kinds.collect::<String>(), "hhdcc");
            let front = if failed % 2 == 0 { 3 } else { 4 };
            assert!(work.first() == Some(&Work::HandOver(vec![front])), "{failed}");
        }
    }
}
