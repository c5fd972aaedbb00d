//! What of a map ends, and when: the map itself, its clauses, and what attests its regions' sites.

use crate::Date;
use crate::map::RegionMap;

/// What a part of a map is that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MapPart {
    /// The map itself.
    Map,
    /// A transfer clause.
    Clause,
    /// The attestation of a region's site.
    Attestation,
}

/// A part of a map that ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapEnding {
    /// What it is.
    pub part: MapPart,
    /// The same with its name, for an operator.
    pub what: String,
    /// The first day on which it holds no longer.
    pub over: Date,
}

impl RegionMap {
    /// All that ends, in order of its end.
    pub fn endings(&self) -> Vec<MapEnding> {
        let mut all = Vec::new();
        let mut add = |part, what: String, over| all.push(MapEnding { part, what, over });
        if let Some(last) = self.valid_until() {
            let what = format!("the map {} {}", self.name(), self.epoch().number);
            add(MapPart::Map, what, last.after_days(1));
        }
        for clause in self.clauses() {
            let what = format!("the transfer clause {}", clause.id());
            add(MapPart::Clause, what, clause.expires());
        }
        for region in self.regions() {
            if let Some(last) = region.site().attestation_expires {
                let what = format!("the attestation of the site of {}", region.name());
                add(MapPart::Attestation, what, last.after_days(1));
            }
        }
        all.sort_by_key(|ending| ending.over);
        all
    }
}
