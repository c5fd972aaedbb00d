//! What a ruling looks up, sorted, and where each part of a map stood in its file.

use std::collections::BTreeMap;

use terms::Collection;

use crate::geo::country::COUNT;
use crate::map::reader::Draft;
use crate::map::{Clause, ClausesFrom, Home, HomeFor, RegionMap};
use crate::toml::reader::At;
use crate::{Country, StatuteId, Territory};

/// Where the parts of a map stood: in the order in which the map has them.
#[derive(Debug, Default)]
pub(crate) struct Places {
    pub(crate) valid_until: Option<usize>,
    pub(crate) tenants: Vec<usize>,
    pub(crate) regions: Vec<usize>,
    pub(crate) statutes: Vec<usize>,
    pub(crate) clauses: Vec<usize>,
    pub(crate) disputed: Vec<usize>,
}

/// Sorts what was read, and keeps where it stood.
pub(super) fn sorted(draft: &mut Draft, valid_until: Option<usize>) -> Places {
    draft.tenants.sort_by(|a, b| a.it.name.cmp(&b.it.name));
    draft.regions.sort_by(|a, b| a.it.name.cmp(&b.it.name));
    draft.homes.sort_by_key(|home| home.it.home_for);
    draft.statutes.sort_by_key(|statute| (statute.it.jurisdiction(), statute.it.id()));
    draft.clauses.sort_by(|a, b| a.it.id.cmp(&b.it.id));
    Places {
        valid_until,
        tenants: places(&draft.tenants),
        regions: places(&draft.regions),
        statutes: places(&draft.statutes),
        clauses: places(&draft.clauses),
        disputed: places(&draft.disputed),
    }
}

fn places<T>(read: &[At<T>]) -> Vec<usize> {
    read.iter().map(|item| item.at).collect()
}

/// Works out what does not depend on a person, of a map whose parts are sorted.
pub(super) fn make(map: &mut RegionMap) {
    for home in &mut map.homes {
        let place = map.regions.binary_search_by(|region| region.name.cmp(&home.region));
        home.place = place.unwrap_or(usize::MAX);
    }
    let mut exempt = BTreeMap::<StatuteId, Vec<Collection>>::new();
    for rules in map.collections.values() {
        for ground in &rules.exempt {
            exempt.entry(ground.statute.clone()).or_default().push(rules.name.clone());
        }
    }
    for statute in &mut map.statutes {
        let all = exempt.get(statute.pack.id()).into_iter().flatten();
        statute.exempt = all.cloned().collect();
    }
    map.leads = Country::all().map(|country| lead(&map.homes, country)).collect();
    assert_eq!(map.leads.len(), COUNT, "one lead for each country");
    for (place, clause) in map.clauses.iter().enumerate() {
        map.clauses_from.entry(clause.from).or_default().add(place, clause);
    }
}

impl ClausesFrom {
    fn add(&mut self, place: usize, clause: &Clause) {
        match &clause.collections {
            None => self.of_all.push(place),
            Some(listed) => {
                for collection in listed {
                    self.of.entry(collection.clone()).or_default().push(place);
                }
            }
        }
    }

    /// The places of the clauses for a collection, in the order of their ids.
    pub(super) fn places(&self, collection: &Collection) -> impl Iterator<Item = usize> {
        let listed = self.of.get(collection).map(Vec::as_slice).unwrap_or_default();
        let (mut one, mut other) = (listed.iter().peekable(), self.of_all.iter().peekable());
        std::iter::from_fn(move || match (one.peek(), other.peek()) {
            (Some(a), Some(b)) if a < b => one.next(),
            (Some(_), None) => one.next(),
            (_, _) => other.next(),
        })
        .copied()
    }
}

/// The home for a country: its own, else its first group's, else that of `*`; none if the one
/// that is found first may not lead.
fn lead(homes: &[Home], country: Country) -> Option<usize> {
    let rank = |home: &Home| match home.home_for {
        HomeFor::Territory(Territory::Country(own)) => (own == country).then_some(0),
        HomeFor::Territory(group @ Territory::Group(_)) => group.contains(country).then_some(1),
        HomeFor::Any => Some(2),
    };
    let ranked = homes.iter().enumerate().filter_map(|(n, home)| Some((rank(home)?, n, home.lead)));
    ranked.min().and_then(|(_, n, lead)| lead.then_some(n))
}
