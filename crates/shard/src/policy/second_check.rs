//! The second, separately written check: does the map allow this placement to lie here?
//!
//! It shares no code with the steps that made the placement (`atlas::decide`): it asks of each law
//! that attaches whether it is kept, not where the record should go. A disagreement is a mistake
//! of ours in one of the two, and then nothing is stored.

use atlas::{
    Constraint, Country, Date, Jurisdiction, Placement, Question, Region, RegionMap, Ruling,
    demands_on_participant,
};
use terms::{Collection, RegionId};

/// Where this store is, by its own identity row and not by any map.
pub(crate) struct Here<'a> {
    pub(crate) region: &'a RegionId,
    pub(crate) territory: Country,
}

/// Whether a record ruled so may lie in this store, and its copies in the mirrors it names.
pub(crate) fn admits(
    placement: &Placement,
    ruling: &Ruling,
    map: &RegionMap,
    here: &Here<'_>,
    date: Date,
) -> bool {
    let named_here = placement.region() == here.region;
    let map_agrees = map.region(here.region).is_some_and(|r| r.territory() == here.territory);
    let same_map = placement.epoch() == map.epoch() && ruling.epoch() == map.epoch();
    let mut copies = Vec::new();
    for mirror in placement.mirrors() {
        match map.region(mirror) {
            Some(region) => copies.push(region.territory()),
            None => return false,
        }
    }
    named_here
        && map_agrees
        && same_map
        && ruling.attachments().iter().all(|attached| {
            let law =
                Law { map, of: attached.jurisdiction(), collection: placement.collection(), date };
            let denied = |country: &Country| attached.denies(*country);
            !denied(&here.territory)
                && !copies.iter().any(denied)
                && law.is_kept(attached.constraint(), here.territory, &copies)
        })
}

/// Whether a record placed so may name a person that the laws of these jurisdictions bind: it lies in
/// this store for its owner, and a law that wants the first copy at home sees one abroad.
pub(crate) fn admits_participant(
    placement: &Placement,
    jurisdictions: &[Jurisdiction],
    map: &RegionMap,
    here: &Here<'_>,
    question: &Question<'_>,
) -> bool {
    let Question { tenant, collection, date, .. } = *question;
    let copies = placement.mirrors().iter().map(|name| map.region(name).map(Region::territory));
    let Some(copies) = copies.collect::<Option<Vec<Country>>>() else { return false };
    placement.region() == here.region
        && placement.epoch() == map.epoch()
        && jurisdictions.iter().all(|of| {
            let law = Law { map, of: *of, collection, date: date.date() };
            demands_on_participant(map, *of, tenant, collection, date).all(|(pack, demand)| {
                let demand = if demand == Constraint::PrimaryFirst {
                    Constraint::ConditionalTransfer
                } else {
                    demand
                };
                let denied = |country: &Country| pack.denies(*country);
                !denied(&here.territory)
                    && !copies.iter().any(denied)
                    && law.is_kept(demand, here.territory, &copies)
            })
        })
}

/// One law that attaches.
struct Law<'a> {
    map: &'a RegionMap,
    of: Jurisdiction,
    collection: &'a Collection,
    date: Date,
}

impl Law<'_> {
    fn is_kept(&self, constraint: Constraint, primary: Country, copies: &[Country]) -> bool {
        let at_home = |country: &Country| self.of.contains(*country);
        match constraint {
            Constraint::Exclusive => at_home(&primary) && copies.iter().all(at_home),
            Constraint::PrimaryFirst => {
                at_home(&primary) && copies.iter().all(|copy| self.may_leave_to(*copy))
            }
            Constraint::Mirror => at_home(&primary) || copies.iter().any(at_home),
            Constraint::ConditionalTransfer => {
                self.may_leave_to(primary) && copies.iter().all(|copy| self.may_leave_to(*copy))
            }
            Constraint::None => true,
        }
    }

    /// At home, or under a clause in force, on a map that is still valid.
    fn may_leave_to(&self, country: Country) -> bool {
        self.of.contains(country)
            || (!self.map.expired(self.date)
                && self.map.clauses().iter().any(|clause| {
                    clause.from() == self.of
                        && clause.to().contains(country)
                        && clause.covers(self.collection)
                        && clause.in_force(self.date)
                }))
    }
}
