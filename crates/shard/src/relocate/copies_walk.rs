//! Looks whether the rules still allow the copies that there are: those in other regions of records here, and
//! those here of records of other regions. With each new map, and once a day, since laws and clauses are
//! dated, and whenever a law begins or ends, which is at midnight of its place. Neither end relies on the
//! other for it.

use std::collections::HashMap;
use std::time::Duration;

use atlas::{Constraint, Moment, RegionMap};
use engine::{Key, Order, ScanLimit, Span};
use terms::{Collection, RegionId, Rejection};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use wire::session::copied::State;
use wire::session::copy_call::Step;

use crate::Error;
use crate::node::Node;
use crate::policy::copies::{CopyQuestion, copy_ruling};
use crate::policy::rulings::{Rules, Verdict};
use crate::policy::second_check::Here;
use crate::read::copies::is_restored;
use crate::relocate::copies_due::{call_of, log_now, marked_subject, state_of};
use crate::relocate::drive::{Driver, Halt, Sessions};
use crate::relocate::peers::PeerShard;
use crate::reply::{Copied, CopiedState, Outcome};
use crate::store::copied_set::{CopiedSet, HomePlace, SetRow};
use crate::store::copy_keys;
use crate::store::copy_mark::{CopyMark, MarkState};
use crate::store::keys;
use crate::store::keys::Owner;
use crate::store::subject::{Status, Subject, SubjectRow};
use crate::store::types::{Minute, SubjectTag};
use crate::write::command::{Action, Errand, TakeCopy, TakeCopyStep};

/// Time between two looks whether there is a new map, or a new day.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Time until what has failed is begun again.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Rows that are read at once.
const ROWS_AT_ONCE: usize = 256;
/// How many times as long as it has looked at some subjects it leaves the disk to others.
const WALK_SHARE: u32 = 4;

/// A set of copies here for which something is to be done.
enum SetWork {
    /// The rules allow them no more.
    Check(Box<CopiedSet>),
    /// They were dropped, and something is left of them.
    Clear,
}

impl Driver {
    /// Looks at all copies with each new map, once a day, and when a law begins or ends. Never done.
    pub(super) async fn watch_copies(self) {
        let (mut looked, mut searched, mut taken_back) = (None, None, false);
        let began = Instant::now();
        loop {
            let has_read = began.elapsed() >= LOOK_AGAIN;
            taken_back = taken_back || self.is_done(self.take_back_copies(has_read).await);
            let (map, time) = (self.node.map(), self.node.now());
            // Slots are passed over as long as they are not confirmed.
            let served = self.node.slots.borrow().served.clone();
            let laws = laws_at(&map, Moment::of(time));
            let now = Some((map.epoch(), Minute::of(time).day(), laws, served));
            if looked != now && self.is_done(self.look_at_copies().await) {
                looked.clone_from(&now);
            }
            if searched != now && self.is_done(self.look_for_mirrors().await) {
                searched.clone_from(&now);
            }
            let all = looked == now && searched == now && taken_back;
            sleep(if all { LOOK_EVERY } else { LOOK_AGAIN }).await;
        }
    }

    fn is_done(&self, ended: Result<(), Halt>) -> bool {
        ended.map_err(|halt| self.halted(&halt)).is_ok()
    }

    /// What fails holds up nothing behind it: then the look was not whole, and is made again.
    async fn look_at_copies(&self) -> Result<(), Halt> {
        self.look_at_sets().await?;
        let (mut whole, mut from) = (Ok(()), None);
        loop {
            let after = from.take();
            let (work, last) = self.blocking(move |node| marks(node, after.as_deref())).await?;
            for (key, mark) in work {
                whole = self.check_mark(&mark, &key, false).await.and(whole);
            }
            let Some(last) = last else { break };
            from = Some(last);
        }
        self.probe_mirrors().await.and(whole)
    }

    /// Looks at the copies here of other homes.
    async fn look_at_sets(&self) -> Result<(), Halt> {
        let (mut whole, mut from) = (Ok(()), None);
        loop {
            let after = from.take();
            let (work, last) = self.blocking(move |node| sets(node, after.as_deref())).await?;
            for (key, work) in work {
                let done = match work {
                    SetWork::Check(set) => self.check_set(key, *set).await,
                    SetWork::Clear => self.clear_set(key).await,
                };
                whole = done.and(whole);
            }
            let Some(last) = last else { break };
            from = Some(last);
        }
        whole?;
        if self.blocking(is_restored).await? {
            let (sender, done) = oneshot::channel();
            let rows = vec![copy_keys::RESTORED.to_vec()];
            self.queue.submit_errand(Errand::Clear(rows, sender));
            done.await.map_err(|_| Halt::Later("a step was not answered".to_owned()))?;
        }
        Ok(())
    }

    /// Looks at all subjects for records of which a mirror has no copies yet: a map may want copies of what
    /// was stored before.
    async fn look_for_mirrors(&self) -> Result<(), Halt> {
        let (mut whole, mut from) = (Ok(()), Some(keys::subjects().from));
        while let Some(at) = from {
            let began = Instant::now();
            let (work, next) = self.blocking(move |node| unmarked(node, at)).await?;
            for (key, mark) in work {
                whole = self.check_mark(&mark, &key, true).await.and(whole);
            }
            from = next;
            // Calls come first.
            sleep(began.elapsed() * WALK_SHARE).await;
        }
        whole
    }

    /// Asks mirrors whether they still have the copies that they had: a store that was restored has none. One
    /// that is not reached is asked another time.
    async fn probe_mirrors(&self) -> Result<(), Halt> {
        let (mut from, mut sessions) = (None::<Key>, Sessions::default());
        loop {
            let (after, at) = (from.take(), log_now(&self.node));
            let (made, last) = self.blocking(move |node| made(node, after.as_deref())).await?;
            let mut by_shard = HashMap::<PeerShard, Vec<Probe>>::new();
            for probe in made {
                if let Ok(peer) = self.peer(&probe.mark.owner, &probe.mark.mirror) {
                    by_shard.entry(peer).or_default().push(probe);
                }
            }
            for some in by_shard.into_values() {
                self.probe(&mut sessions, &at, some).await?;
            }
            let Some(last) = last else { return Ok(()) };
            from = Some(last);
        }
    }

    /// Asks one shard. `at`: where the log was before that was read which it is told.
    async fn probe(
        &self,
        sessions: &mut Sessions,
        at: &(String, u64),
        some: Vec<Probe>,
    ) -> Result<(), Halt> {
        let Some(Probe { mark: first, .. }) = some.first() else { return Ok(()) };
        let Ok(session) = self.session(sessions, &first.owner, &first.mirror).await else {
            return Ok(());
        };
        let (mut marks, mut calls) = (Vec::new(), Vec::new());
        for Probe { key, mark, step } in some {
            calls.push((mark.owner.tenant.clone(), call_of(&mark, &at.0, at.1, step)));
            marks.push((key, mark));
        }
        let Ok(answers) = session.copies(&self.node, calls).await else { return Ok(()) };
        for ((key, mark), answer) in marks.into_iter().zip(answers) {
            if matches!(answer, Ok(State::None)) {
                self.check_mark(&mark, &key, true).await?;
            }
        }
        Ok(())
    }

    /// Has the committer erase copies here that the rules allow no more.
    async fn check_set(&self, key: Key, of: CopiedSet) -> Result<(), Halt> {
        let copy = TakeCopy {
            at: HomePlace::first(of.floor.shard.clone()),
            owner: of.owner,
            home: of.home,
            set: key.clone(),
            bytes: 512,
            collection: of.collection,
            step: TakeCopyStep::Check,
        };
        let action = Action::TakeCopy(Box::new(copy));
        match self.commit(vec![action]).await.pop().flatten() {
            Some(Outcome::Copied(Copied { state: CopiedState::Unfinished, .. })) => {
                self.clear_set(key).await
            }
            Some(Outcome::Rejected(fault)) => Err(fault.into()),
            Some(_) => Ok(()),
            None => Err(Halt::Later("a step was not answered".to_owned())),
        }
    }

    /// Deletes what is left of copies that were dropped.
    async fn clear_set(&self, key: Key) -> Result<(), Halt> {
        loop {
            let (sender, done) = oneshot::channel();
            self.queue.submit_errand(Errand::ClearCopies(key.clone(), sender));
            done.await.map_err(|_| Halt::Later("a step was not answered".to_owned()))?;
            let at = key.clone();
            if !self.blocking(move |node| is_left(node, &at)).await? {
                return Ok(());
            }
        }
    }
}

type Marks = (Vec<(Key, CopyMark)>, Option<Key>);

/// The marks after a row that the rules do not agree with, and the last that was looked at. Blocks its thread.
fn marks(node: &Node, from: Option<&[u8]>) -> Result<Marks, Rejection> {
    let limit = ScanLimit { rows: ROWS_AT_ONCE, bytes: 1 << 20 };
    let page = node.engine.scan(&copy_keys::all_marks(from), Order::Ascending, limit);
    let (mut work, mut last) = (Vec::new(), None);
    for (key, _) in page.map_err(Error::from)?.rows {
        match disagrees(node, &key) {
            Ok(Some(mark)) => work.push((key.clone(), mark)),
            Ok(None) => {}
            Err(fault) => node.report(&fault),
        }
        last = Some(key);
    }
    Ok((work, last))
}

/// What a mirror is told of copies that it had, to learn whether it still has them.
struct Probe {
    key: Key,
    mark: CopyMark,
    step: Step,
}

/// The marks after a row whose copies were made, and the last that was looked at. Blocks its thread.
fn made(node: &Node, from: Option<&[u8]>) -> Result<(Vec<Probe>, Option<Key>), Rejection> {
    let limit = ScanLimit { rows: ROWS_AT_ONCE, bytes: 1 << 20 };
    let page = node.engine.scan(&copy_keys::all_marks(from), Order::Ascending, limit);
    let (mut made, mut last) = (Vec::new(), None);
    for (key, _) in page.map_err(Error::from)?.rows {
        last = Some(key.clone());
        let found = match marked_subject(node, &key) {
            Ok(found) => found,
            Err(fault) => {
                node.report(&fault);
                continue;
            }
        };
        let Some((mark, Some(subject))) = found else { continue };
        if mark.state == MarkState::Made
            && node.owns(mark.owner.slot)
            && let Some(step) = state_of(&subject, &mark)
        {
            made.push(Probe { key, mark, step });
        }
    }
    Ok((made, last))
}

/// The mark, if it is not as the rules want it.
fn disagrees(node: &Node, key: &Key) -> Result<Option<CopyMark>, Rejection> {
    let Some((mark, subject)) = marked_subject(node, key)? else { return Ok(None) };
    if !node.owns(mark.owner.slot) {
        return Ok(None);
    }
    let map = node.map();
    let allowed = || {
        let standing = subject.as_ref()?.standing(&mark.collection)?;
        let findings = standing.weighed(&subject.as_ref()?.findings).ok()?;
        let territory = map.region(&mark.mirror)?.territory();
        let question = CopyQuestion {
            home: &node.region,
            there: Here { region: &mark.mirror, territory },
            tenant: &mark.owner.tenant,
            collection: &mark.collection,
            findings: &findings,
            participants: &[],
            chosen: subject.as_ref()?.choice.chosen.as_ref(),
        };
        copy_ruling(&map, Moment::of(node.now()), &question).ok()
    };
    let disagrees = match mark.state {
        MarkState::Made => allowed().is_none(),
        MarkState::Gone => allowed().is_some(),
        MarkState::Drop(_) => false,
    };
    Ok(disagrees.then_some(mark))
}

/// Collections of some subjects of which mirrors have no copies yet, though the rules want them, and where
/// the next subjects begin; none: there are no more. Blocks its thread.
fn unmarked(node: &Node, mut from: Key) -> Result<Marks, Rejection> {
    let (map, mut work) = (node.map(), Vec::new());
    if !wants_copies(&map, Moment::of(node.now())) {
        return Ok((work, None));
    }
    let mut rules = Rules::new(map, node.region.clone(), node.territory);
    rules.set_date(Moment::of(node.now()));
    let limit = ScanLimit { rows: 1, bytes: 1 };
    for _ in 0..ROWS_AT_ONCE {
        // Each subject's own row comes before those of its records, which are passed over.
        let span = Span { from, until: keys::subjects().until };
        let mut page = node.engine.scan(&span, Order::Ascending, limit).map_err(Error::from)?;
        let Some((key, row)) = page.rows.pop() else { return Ok((work, None)) };
        let (prefix, tag) = keys::of_subject(&key).ok_or(Error::Damaged("subjects"))?;
        from = keys::past_subject(prefix);
        if keys::is_subject(&key) {
            match unmarked_of(node, &mut rules, tag, &row) {
                Ok(some) => work.extend(some),
                // It is said where it is asked for.
                Err(fault) => node.report(&fault),
            }
        }
    }
    Ok((work, Some(from)))
}

/// For each demand of the map's laws whether it applies at that time.
fn laws_at(map: &RegionMap, at: Moment) -> Vec<bool> {
    let laws = map.statutes().iter();
    laws.flat_map(|law| law.demands().map(move |(scope, _)| law.pack().applies(scope, at)))
        .collect()
}

/// Whether some law of the map may want a copy.
fn wants_copies(map: &RegionMap, at: Moment) -> bool {
    let wants = |statute: &atlas::Statute| {
        statute.demands_at(at).any(|(_, constraint)| constraint == Constraint::Mirror)
    };
    map.statutes().iter().any(wants)
}

fn unmarked_of(
    node: &Node,
    rules: &mut Rules,
    tag: SubjectTag,
    row: &[u8],
) -> Result<Vec<(Key, CopyMark)>, Rejection> {
    let mut work = Vec::new();
    let Some(owner) = Subject::owner_of(row, tag, node.subject_keys())? else { return Ok(work) };
    if !node.owns(owner.slot) {
        return Ok(work);
    }
    let SubjectRow::Kept(subject) = node.open_subject(&owner, row)? else { return Ok(work) };
    if !matches!(subject.status, Status::Live | Status::Blocked(_)) {
        return Ok(work);
    }
    for standing in subject.standings() {
        let Ok(findings) = standing.weighed(&subject.findings) else { continue };
        let collection = &standing.collection;
        let chosen = subject.choice.chosen.as_ref();
        let ruled = rules.decide_stored(&owner.tenant, collection, &findings, chosen);
        let Verdict::Here(ruled) = ruled else { continue };
        for mirror in &ruled.mirrors {
            let key = copy_keys::mark(&owner, node.namer.copy_set(collection, mirror));
            let marked = node.engine.get_many(&[&key]).map_err(Error::from)?.pop().flatten();
            if marked.is_none() && !are_due(node, &owner, collection, mirror)? {
                let (owner, collection) = (owner.clone(), collection.clone());
                let (mirror, state) = (mirror.clone(), MarkState::Gone);
                work.push((key, CopyMark { owner, collection, mirror, state }));
            }
        }
    }
    Ok(work)
}

/// Whether all records of a collection are due, or there are none: then nothing else is to be done.
fn are_due(
    node: &Node,
    owner: &Owner,
    collection: &Collection,
    mirror: &RegionId,
) -> Result<bool, Rejection> {
    let limit = ScanLimit { rows: ROWS_AT_ONCE, bytes: 4 << 20 };
    let span = node.namer.records(owner, collection);
    let page = node.engine.scan(&span, Order::Ascending, limit).map_err(Error::from)?;
    for (head, _) in &page.rows {
        let due = keys::copy_due(mirror, head);
        if node.engine.get_many(&[&due]).map_err(Error::from)?.pop().flatten().is_none() {
            return Ok(false);
        }
    }
    Ok(!page.more)
}

type Sets = (Vec<(Key, SetWork)>, Option<Key>);

/// The copies here for which something is to be done, after a row. Blocks its thread.
fn sets(node: &Node, from: Option<&[u8]>) -> Result<Sets, Rejection> {
    let limit = ScanLimit { rows: ROWS_AT_ONCE, bytes: 1 << 20 };
    let page = node.engine.scan(&copy_keys::sets(from), Order::Ascending, limit);
    let (mut work, mut last) = (Vec::new(), None);
    let (map, restored) = (node.map(), is_restored(node)?);
    for (key, row) in page.map_err(Error::from)?.rows {
        match CopiedSet::open(&key, &row, node.subject_keys()) {
            Ok(SetRow::Kept(set)) => {
                let question = CopyQuestion {
                    home: &set.home,
                    there: Here { region: &node.region, territory: node.territory },
                    tenant: &set.owner.tenant,
                    collection: &set.collection,
                    findings: &set.findings,
                    participants: &[],
                    chosen: None,
                };
                if restored || copy_ruling(&map, Moment::of(node.now()), &question).is_err() {
                    work.push((key.clone(), SetWork::Check(set)));
                }
            }
            Ok(SetRow::Dropped(dropped)) => {
                let over = dropped.is_over(Minute::of(node.now()));
                if dropped.left || over {
                    work.push((key.clone(), SetWork::Clear));
                }
            }
            Err(error) => node.report(&error.into()),
        }
        last = Some(key);
    }
    Ok((work, last))
}

/// Whether something is left of copies that were dropped. Blocks its thread.
fn is_left(node: &Node, key: &Key) -> Result<bool, Rejection> {
    let row = node.engine.get_many(&[key]).map_err(Error::from)?.pop().flatten();
    Ok(match row.map(|row| CopiedSet::open(key, &row, node.subject_keys())).transpose()? {
        Some(SetRow::Dropped(dropped)) => dropped.left,
        Some(SetRow::Kept(_)) | None => false,
    })
}

#[cfg(test)]
mod tests {
    use terms::UnixMillis;

    use super::*;

    #[test]
    fn a_law_that_begins_within_a_day_of_utc_is_looked_at_when_it_does() {
        let map = RegionMap::parse(crate::testing::MAP).expect("a map");
        // The law of the EEA applies from 25 May 2018: in its easternmost places 4 hours before that day of UTC.
        let day = atlas::Date::parse("2018-05-24").expect("a day").day();
        let at = |hour: u64| {
            let time = UnixMillis((u64::from(day) * 24 + hour) * 3_600_000);
            (Minute::of(time).day(), laws_at(&map, Moment::of(time)))
        };
        let ((first, before), (last, after)) = (at(1), at(23));
        assert_eq!((first, last), (day, day));
        assert_ne!(before, after);
    }
}
