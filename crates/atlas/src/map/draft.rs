//! A map while it is being read: its parts, each with its place in the file.

use std::collections::BTreeSet;

use crate::map::names::Names;
use crate::map::{Clause, CollectionRules, Disputed, Home, Region, Statute, Tenant};
use crate::toml::At;

/// What was read, each with where it stood. What could not be read is missing from it.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) tenants: Vec<At<Tenant>>,
    pub(super) collections: Vec<At<CollectionRules>>,
    pub(super) regions: Vec<At<Region>>,
    pub(super) homes: Vec<At<Home>>,
    pub(super) statutes: Vec<At<Statute>>,
    pub(super) clauses: Vec<At<Clause>>,
    pub(super) disputed: Vec<At<Disputed>>,
    /// The names of all regions and collections, also of those that could not be read.
    pub(super) known_regions: BTreeSet<String>,
    pub(super) known_collections: BTreeSet<String>,
    /// Every use of a name of another part.
    pub(super) names: Names,
}

/// Where the parts of a map stood: in the order in which the map has them.
#[derive(Debug, Default)]
pub(crate) struct Places {
    pub(crate) valid_until: Option<usize>,
    pub(crate) tenants: Vec<usize>,
    pub(crate) collections: Vec<usize>,
    pub(crate) regions: Vec<usize>,
    pub(crate) statutes: Vec<usize>,
    pub(crate) clauses: Vec<usize>,
    pub(crate) disputed: Vec<usize>,
}

/// Sorts what was read, and keeps where it stood.
pub(super) fn sorted(draft: &mut Draft, valid_until: Option<usize>) -> Places {
    draft.tenants.sort_by(|a, b| a.it.name.cmp(&b.it.name));
    draft.collections.sort_by(|a, b| a.it.name.cmp(&b.it.name));
    draft.regions.sort_by(|a, b| a.it.name.cmp(&b.it.name));
    draft.homes.sort_by_key(|home| home.it.home_for);
    draft.statutes.sort_by(|a, b| {
        let key = |statute: &Statute| (statute.jurisdiction(), statute.id().clone());
        key(&a.it).cmp(&key(&b.it))
    });
    draft.clauses.sort_by(|a, b| a.it.id.cmp(&b.it.id));
    Places {
        valid_until,
        tenants: places(&draft.tenants),
        collections: places(&draft.collections),
        regions: places(&draft.regions),
        statutes: places(&draft.statutes),
        clauses: places(&draft.clauses),
        disputed: places(&draft.disputed),
    }
}

fn places<T>(read: &[At<T>]) -> Vec<usize> {
    read.iter().map(|item| item.at).collect()
}
