//! What a map would do to the subjects that are stored here. Every standing ruling is made again
//! under it, from the sealed findings; of each count the ten is told in which it lies. Each question is in the placement log before it is answered.

use std::collections::BTreeMap;

use atlas::{Moment, Move, Question, RegionMap};
use engine::{Key, Order, ScanLimit, Span};
use terms::{Reason, Rejection, Rounded};
use tokio::time::Instant;

use crate::Error;
use crate::node::Node;
use crate::store::keys;
use crate::store::subject::{Status, Subject, SubjectRow};
use crate::store::types::SubjectTag;

/// Kinds of fate that are told apart; what is beyond is counted together.
const FATES_MAX: usize = 4_096;

/// What would become of the records of one standing ruling.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fate {
    pub(crate) collection: String,
    pub(crate) what: String,
    pub(crate) detail: String,
}

/// What a map would do to the subjects of this shard: of each count, the ten in which it lies.
pub(crate) struct Impact {
    pub(crate) fates: Vec<(Fate, Rounded)>,
    pub(crate) subjects: Rounded,
}

/// What is asked.
pub(crate) struct MapImpact<'a> {
    pub(crate) node: &'a Node,
    pub(crate) next: &'a RegionMap,
    pub(crate) date: Moment,
    /// Past it nobody waits any more.
    pub(crate) deadline: Instant,
}

/// What is counted while it walks.
#[derive(Default)]
struct Tally {
    fates: BTreeMap<Fate, u64>,
    subjects: u64,
}

impl MapImpact<'_> {
    /// Walks over all subjects. Blocks its thread.
    ///
    /// # Errors
    /// `STORED_DATA_DAMAGED` when a row does not open: a count without it would be a lie.
    pub(crate) fn walk(&self) -> Result<Impact, Rejection> {
        let in_force = self.node.map();
        let mut tally = Tally::default();
        let mut from = keys::subjects().from;
        while let Some((key, row)) = self.first(from)? {
            if Instant::now() > self.deadline {
                return Err(Reason::DeadlinePassed.into());
            }
            let (prefix, tag) = keys::of_subject(&key).ok_or(Error::Damaged("subjects"))?;
            if keys::is_subject(&key) {
                self.subject(tag, &row, &in_force, &mut tally)?;
            }
            from = keys::past_subject(prefix);
        }
        let fates = tally.fates.into_iter().map(|(fate, count)| (fate, Rounded::of(count)));
        Ok(Impact { fates: fates.collect(), subjects: Rounded::of(tally.subjects) })
    }

    /// The first row of a subject from that key on.
    fn first(&self, from: Key) -> Result<Option<(Key, Vec<u8>)>, Error> {
        let span = Span { from, until: keys::subjects().until };
        let limit = ScanLimit { rows: 1, bytes: 1 };
        let mut page = self.node.engine.scan(&span, Order::Ascending, limit)?;
        Ok(page.rows.pop())
    }

    fn subject(
        &self,
        tag: SubjectTag,
        row: &[u8],
        in_force: &RegionMap,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        let region = &self.node.region;
        let Some(owner) = Subject::owner_of(row, tag, self.node.subject_keys())? else {
            return Ok(());
        };
        let SubjectRow::Kept(subject) = self.node.open_subject(&owner, row)? else { return Ok(()) };
        // Another region has it, or has it still.
        if matches!(subject.status, Status::Left(_) | Status::Arriving(_)) {
            return Ok(());
        }
        tally.subjects += 1;
        for standing in subject.standings() {
            let basis =
                standing.weighed(&subject.findings).map_err(|_| Error::Damaged("subjects"))?;
            let (tenant, collection) = (&owner.tenant, &standing.collection);
            let question = Question { tenant, collection, findings: &basis, date: self.date };
            let fate = |map| Move::of_stored(region, &standing.mirrors, map, &question);
            let (now, then) = (fate(in_force), fate(self.next));
            let (what, detail) = match &then {
                Move::Elsewhere { to, .. } => ("elsewhere", to.as_str()),
                Move::Refused { reason, .. } => ("refused", reason.as_str()),
                // Copies that are due by the map in force, too, are no effect of the next.
                Move::Copies { .. } if now != then => ("copies", ""),
                Move::Copies { .. }
                | Move::Stays
                | Move::NewlyAllowed { .. }
                | Move::Grounds { .. }
                | Move::StillRefused { .. } => continue,
            };
            let already = if now == then { "-already" } else { "" };
            tally.add(Fate {
                collection: collection.as_str().to_owned(),
                what: format!("{what}{already}"),
                detail: detail.to_owned(),
            });
        }
        Ok(())
    }
}

impl Tally {
    fn add(&mut self, fate: Fate) {
        let room = self.fates.len() < FATES_MAX || self.fates.contains_key(&fate);
        let rest =
            Fate { collection: String::new(), what: "other".to_owned(), detail: String::new() };
        *self.fates.entry(if room { fate } else { rest }).or_default() += 1;
    }
}
