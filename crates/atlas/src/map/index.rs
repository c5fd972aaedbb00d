//! The look-up tables of a map, which depend on no person.

use std::collections::BTreeMap;

use terms::Collection;

use crate::geo::country::COUNT;
use crate::map::model::ClausesFrom;
use crate::map::{Clause, Home, HomeFor, RegionMap};
use crate::{Country, StatuteId, Territory};

/// Builds the tables of a map whose parts are sorted.
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
