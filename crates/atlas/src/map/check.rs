//! What a map must satisfy as a whole.

use std::collections::{BTreeMap, BTreeSet};

use super::parse::Draft;
use super::{Home, HomeFor, Region};
use crate::Constraint;
use crate::read::{At, File};

/// Notes everything in which the parts of a map do not fit together.
pub(super) fn draft(file: &File<'_>, draft: &Draft) {
    unique(file, "tenant", draft.tenants.iter().map(|t| (t.at, t.it.name.as_str())));
    unique(file, "collection", draft.collections.iter().map(|c| (c.at, c.it.name.as_str())));
    unique(file, "region", draft.regions.iter().map(|r| (r.at, r.it.name.as_str())));
    unique(file, "statute", draft.statutes.iter().map(|s| (s.at, s.it.id().as_str())));
    unique(file, "clause", draft.clauses.iter().map(|c| (c.at, c.it.id.as_str())));
    homes(file, &draft.homes);
    authorities(file, &draft.regions);
    names(file, draft);
    for home in &draft.homes {
        outside(file, draft, home);
    }
}

/// Notes each name that stands twice.
fn unique<'a>(file: &File<'_>, what: &str, names: impl Iterator<Item = (usize, &'a str)>) {
    let mut seen = BTreeSet::new();
    for (at, name) in names {
        if !seen.insert(name) {
            let problem = format!("there is a {what} `{name}` already");
            file.wrong(at, "NAME_DUPLICATE", problem, "remove one of them, or rename it");
        }
    }
}

/// Notes each territory that has two homes.
fn homes(file: &File<'_>, homes: &[At<Home>]) {
    let mut seen = BTreeSet::new();
    for home in homes {
        if !seen.insert(home.it.home_for) {
            let problem = format!("`{}` has a home already", home.it.home_for.as_str());
            file.wrong(home.at, "HOME_DUPLICATE", problem, "keep one home for it");
        }
    }
}

/// Notes each authority that may issue for two regions: whoever has stolen the key of one could
/// speak for the other.
fn authorities(file: &File<'_>, regions: &[At<Region>]) {
    let mut seen = BTreeMap::new();
    for region in regions {
        for authority in region.it.authorities() {
            let owner = *seen.entry(authority).or_insert(&region.it.name);
            if *owner != region.it.name {
                let problem = format!("an authority of `{owner}` is one of this region, too");
                let cure = "let each region have an authority of its own";
                file.wrong(region.at, "AUTHORITY_SHARED", problem, cure);
            }
        }
    }
}

/// Notes each name of a region or collection that the map does not have.
fn names(file: &File<'_>, draft: &Draft) {
    let regions = draft.region_names.iter().map(|name| (name.at, name.it.as_str()));
    for (at, name) in regions.filter(|(_, name)| !draft.known_regions.contains(*name)) {
        let problem = format!("the map has no region `{name}`");
        file.wrong(at, "REGION_UNKNOWN", problem, one_of(&draft.known_regions));
    }
    let collections = draft.collection_names.iter().map(|name| (name.at, name.it.as_str()));
    for (at, name) in collections.filter(|(_, name)| !draft.known_collections.contains(*name)) {
        let problem = format!("the map has no collection `{name}`");
        file.wrong(at, "COLLECTION_UNKNOWN", problem, one_of(&draft.known_collections));
    }
}

fn one_of(known: &BTreeSet<String>) -> String {
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    format!("use one of: {}", known.join(", "))
}

/// Notes a home that a law will ask for and that does not lie where that law wants it.
fn outside(file: &File<'_>, draft: &Draft, home: &At<Home>) {
    let HomeFor::Territory(territory) = home.it.home_for else { return };
    let Some(region) = draft.regions.iter().find(|region| region.it.name == home.it.region) else {
        return;
    };
    if territory.contains(region.it.territory) {
        return;
    }
    for statute in draft.statutes.iter().filter(|s| s.it.jurisdiction() == territory) {
        let constraint = statute.it.constraint();
        let pins = match constraint {
            Constraint::Exclusive | Constraint::PrimaryFirst | Constraint::Mirror => true,
            Constraint::ConditionalTransfer | Constraint::None => false,
        };
        if pins {
            let (id, name, place) = (statute.it.id(), &region.it.name, region.it.territory);
            let problem = format!(
                "`{id}` ({constraint}) asks for a region in {territory}, and `{name}` is in {place}"
            );
            let cure = format!("name a region in {territory} as the home of {territory}");
            file.wrong(home.at, "HOME_OUTSIDE", problem, cure);
        }
    }
}
