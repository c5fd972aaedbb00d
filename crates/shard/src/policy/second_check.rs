//! The second, separately written check: does the map allow this placement to lie here?
//!
//! It shares no code with the steps that made the placement (`atlas::decide`): it asks of each law
//! that attaches whether it is kept, not where the record should go. A disagreement is a mistake
//! of ours in one of the two, and then nothing is stored.

use atlas::{Constraint, Country, Date, Jurisdiction, Placement, RegionMap, Ruling};
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
