//! What a map would do to the subjects that are stored here. Every standing ruling is made again
//! under it, from the sealed findings, and so is that of every record that is found by people that it
//! names; of each count the ten is told in which it lies. Each question is in the placement log before it
//! is answered.

use std::collections::BTreeMap;

use atlas::{Jurisdiction, Moment, Move, Question, RegionMap};
use engine::{Key, Order, ScanLimit, Span};
use terms::{Reason, Rejection, Rounded};
use tokio::time::Instant;

use crate::Error;
use crate::node::Node;
use crate::store::index_keys::{Named, head_of};
use crate::store::keys;
use crate::store::record::{Address, Head, Stored};
use crate::store::subject::{Status, Subject, SubjectRow};
use crate::store::types::SubjectTag;

/// Rows that are read at once.
const ROWS_AT_ONCE: usize = 256;
const DAMAGED: Error = Error::Damaged("records");
/// Kinds of fate that are told apart; what is beyond is counted together.
const FATES_MAX: usize = 4_096;

/// What would become of the records of one standing ruling, or of one record that names people.
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
    /// Past it no caller waits any more.
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
        self.shared(&in_force, &mut tally)?;
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
            let chosen = subject.choice.chosen.as_ref();
            let fate = |map| Move::of_stored(region, &standing.mirrors, map, &question, chosen);
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

impl MapImpact<'_> {
    /// Walks over the records that name people besides their owner, by what finds them.
    fn shared(&self, in_force: &RegionMap, tally: &mut Tally) -> Result<(), Rejection> {
        for tenant in in_force.tenants() {
            let named = Named { layout: &self.node.namer, tenant: tenant.name() };
            for region in in_force.regions() {
                let mut span = named.of_region(region.name());
                while let Some(past) = self.shared_page(&named, &span, in_force, tally)? {
                    span.from = past;
                }
            }
        }
        Ok(())
    }

    /// The next of these rows. Gives what lies past them; none: there was none.
    fn shared_page(
        &self,
        named: &Named<'_>,
        span: &Span,
        in_force: &RegionMap,
        tally: &mut Tally,
    ) -> Result<Option<Key>, Rejection> {
        if Instant::now() > self.deadline {
            return Err(Reason::DeadlinePassed.into());
        }
        let view = self.node.engine.view().map_err(Error::from)?;
        let limit = ScanLimit { rows: ROWS_AT_ONCE, bytes: 1 << 20 };
        let page = view.scan(span, Order::Ascending, limit).map_err(Error::from)?;
        let Some((last, _)) = page.rows.last() else { return Ok(None) };
        let past = [last.as_slice(), &[0]].concat();
        for (row, _) in &page.rows {
            let key = head_of(row).ok_or(DAMAGED)?;
            let (prefix, tag) = keys::of_subject(key).ok_or(DAMAGED)?;
            let rows = view.get_many(&[&keys::subject_row(prefix), key]).map_err(Error::from)?;
            // A row of an index, its record and its subject are of one commit.
            let [Some(subject), Some(head)] = rows.as_slice() else { return Err(DAMAGED.into()) };
            let owner = Subject::owner_of(subject, tag, self.node.subject_keys())?;
            let owner = owner.ok_or(DAMAGED)?;
            let SubjectRow::Kept(subject) = self.node.open_subject(&owner, subject)? else {
                return Err(DAMAGED.into());
            };
            let stored = Stored::read(head).map_err(|_| DAMAGED)?;
            let of_record = subject.key_of(key).map_err(Error::from)?;
            let opened = stored.named(&owner, key, &self.node.region, of_record);
            let (address, head) = opened.map_err(|_| DAMAGED)?;
            // Of a record that names several people, one row counts.
            let first = head.indexed.participants.first();
            let counts = first.is_some_and(|one| named.row(&one.id, &one.region, key) == *row);
            let served = !matches!(subject.status, Status::Left(_) | Status::Arriving(_));
            if counts && served {
                self.shared_record(&subject, &address, &head, in_force, tally)?;
            }
        }
        Ok(Some(past))
    }

    /// Whether a record may lie here together with what binds those that it names. Where the rules do not
    /// place its owner's records here, that is the fate of the owner's ruling.
    fn shared_record(
        &self,
        subject: &Subject,
        address: &Address,
        head: &Head,
        in_force: &RegionMap,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        let Some(standing) = subject.standing(&address.collection) else { return Ok(()) };
        let basis = standing.weighed(&subject.findings).map_err(|_| Error::Damaged("subjects"))?;
        let (tenant, collection) = (&address.owner.tenant, &address.collection);
        let question = Question { tenant, collection, findings: &basis, date: self.date };
        let people = head.indexed.participants.iter();
        let bound: Vec<&[Jurisdiction]> = people.map(|one| &one.jurisdictions[..]).collect();
        let refused = |map: &RegionMap| {
            let (chosen, region) = (subject.choice.chosen.as_ref(), &self.node.region);
            let ruling = atlas::decide_stored(map, &question, chosen, region).ok()?;
            let here = ruling.placement().filter(|at| at.region() == region)?;
            let conflict = atlas::together(map, &question, here, &bound).err()?;
            Some(conflict.refusal().reason())
        };
        let (now, then) = (refused(in_force), refused(self.next));
        let Some(reason) = then else { return Ok(()) };
        let what = if now == then { "shared-already" } else { "shared" };
        tally.add(Fate {
            collection: collection.as_str().to_owned(),
            what: what.to_owned(),
            detail: reason.as_str().to_owned(),
        });
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
