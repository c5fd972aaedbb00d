//! What a map must satisfy as a whole.

use std::collections::{BTreeMap, BTreeSet};

use crate::map::draft::Draft;
use crate::map::{Home, HomeFor, Region};
use crate::toml::{At, File, one_of};
use crate::{Statute, Transfers};

/// Reports everything in which the parts of a map do not fit together.
pub(super) fn draft(file: &File<'_>, draft: &Draft) {
    unique(file, "tenant", draft.tenants.iter().map(|t| (t.at, t.it.name.as_str())));
    unique(file, "collection", draft.collections.iter().map(|c| (c.at, c.it.name.as_str())));
    unique(file, "region", draft.regions.iter().map(|r| (r.at, r.it.name.as_str())));
    unique(file, "statute", draft.statutes.iter().map(|s| (s.at, s.it.id().as_str())));
    unique(file, "clause", draft.clauses.iter().map(|c| (c.at, c.it.id.as_str())));
    unique(file, "disputed area", draft.disputed.iter().map(|d| (d.at, d.it.name())));
    homes(file, &draft.homes);
    authorities(file, &draft.regions);
    backup_endpoints(file, &draft.regions);
    names(file, draft);
    exempts(file, draft);
    notifications(file, draft);
    for home in &draft.homes {
        outside(file, draft, home);
    }
}

/// Reports each name that stands twice.
fn unique<'a>(file: &File<'_>, what: &str, names: impl Iterator<Item = (usize, &'a str)>) {
    let mut seen = BTreeSet::new();
    for (at, name) in names {
        if !seen.insert(name) {
            let problem = format!("there is a {what} `{name}` already");
            file.wrong(at, "NAME_DUPLICATE", problem, "remove one of them, or rename it");
        }
    }
}

/// Reports each territory that has two homes.
fn homes(file: &File<'_>, homes: &[At<Home>]) {
    let mut seen = BTreeSet::new();
    for home in homes {
        if !seen.insert(home.it.home_for) {
            let problem = format!("`{}` has a home already", home.it.home_for.as_str());
            file.wrong(home.at, "HOME_DUPLICATE", problem, "keep one home for it");
        }
    }
}

/// Reports each authority that may issue for two regions: with its key an attacker could act as
/// both.
fn authorities(file: &File<'_>, regions: &[At<Region>]) {
    let mut seen = BTreeMap::new();
    for region in regions {
        for authority in region.it.authorities() {
            let owner = *seen.entry(authority).or_insert(&region.it.name);
            if *owner != region.it.name {
                let problem = format!("an authority of `{owner}` is one of this region, too");
                let help = "let each region have an authority of its own";
                file.wrong(region.at, "AUTHORITY_SHARED", problem, help);
            }
        }
    }
}

/// Reports each server of backups that two regions of different countries have: it stands in one of them.
fn backup_endpoints(file: &File<'_>, regions: &[At<Region>]) {
    let mut seen = BTreeMap::new();
    for region in regions {
        for endpoint in region.it.backup_endpoints().iter().filter(|it| !it.is_local()) {
            let first = *seen.entry(endpoint.as_str()).or_insert(&region.it);
            if first.territory() != region.it.territory() {
                let problem =
                    format!("a server of backups of `{}` is one of this region, too", first.name);
                let help = "list a server for regions of one country only";
                file.wrong(region.at, "BACKUP_ENDPOINT_SHARED", problem, help);
            }
        }
    }
}

/// Reports each name of a region or collection that the map does not have.
fn names(file: &File<'_>, draft: &Draft) {
    let regions = draft.names.regions.iter().map(|name| (name.at, name.it.as_str()));
    for (at, name) in regions.filter(|(_, name)| !draft.known_regions.contains(*name)) {
        let problem = format!("the map has no region `{name}`");
        file.wrong(at, "REGION_UNKNOWN", problem, one_of(&draft.known_regions));
    }
    let collections = draft.names.collections.iter().map(|name| (name.at, name.it.as_str()));
    for (at, name) in collections.filter(|(_, name)| !draft.known_collections.contains(*name)) {
        let problem = format!("the map has no collection `{name}`");
        file.wrong(at, "COLLECTION_UNKNOWN", problem, one_of(&draft.known_collections));
    }
}

/// Reports each ground that is none of a statute of the map.
fn exempts(file: &File<'_>, draft: &Draft) {
    let statutes: BTreeMap<&str, &Statute> =
        draft.statutes.iter().map(|s| (s.it.id().as_str(), &s.it)).collect();
    for exempt in &draft.names.exempts {
        let (named, ground) = (&exempt.it.statute, &exempt.it.exemption);
        let Some(statute) = statutes.get(named.as_str()) else {
            let problem = format!("the map has no statute `{named}`");
            file.wrong(exempt.at, "EXEMPTION_UNKNOWN", problem, one_of(statutes.keys()));
            continue;
        };
        let grounds = statute.pack().exemptions();
        if !grounds.iter().any(|exemption| exemption.id == *ground) {
            let problem = format!("`{named}` has no exemption `{ground}`");
            let all = grounds.iter().map(|exemption| format!("{named}/{}", exemption.id));
            let help = match grounds {
                [] => "leave it out: this law has no exemptions".to_owned(),
                _ => one_of(all),
            };
            file.wrong(exempt.at, "EXEMPTION_UNKNOWN", problem, help);
        }
    }
}

/// Reports each clause that begins before the law lets a transfer begin: without a notification, or
/// before the wait after it has passed.
fn notifications(file: &File<'_>, draft: &Draft) {
    let laws = draft.statutes.iter().map(|statute| statute.it.pack());
    let laws: Vec<_> = laws.filter_map(|pack| Some((pack, pack.transfers()?))).collect();
    for clause in &draft.clauses {
        let (at, clause) = (clause.at, &clause.it);
        let of_its_law = laws.iter().filter(|(pack, _)| pack.jurisdiction() == clause.from());
        for (pack, transfers) in of_its_law {
            let ended = pack.until().is_some_and(|until| until < clause.not_before());
            if ended || clause.expires() <= pack.from() {
                continue;
            }
            let Some(notified) = clause.notified() else {
                let problem =
                    format!("`{}` asks for a notification before a transfer begins", pack.id());
                let help = "add `notified`, the day on which the authority was notified";
                file.wrong(at, "CLAUSE_NOT_NOTIFIED", problem, help);
                continue;
            };
            // What began before the law was in force had to be notified by the day it was.
            let begins = clause.not_before().max(pack.from());
            let first = Transfers::first_day(transfers, notified, clause.to());
            if begins < first {
                let days = transfers.working_days();
                let problem = if begins < notified {
                    format!("this clause begins before it was notified under `{}`", pack.id())
                } else {
                    format!("`{}` asks for {days} working days after {notified}", pack.id())
                };
                let help =
                    format!("let `not_before` be no earlier than {first}; add the public holidays");
                file.wrong(at, "CLAUSE_TOO_EARLY", problem, help);
            }
        }
    }
}

/// Reports a home that a law will ask for and that does not lie where that law wants it.
fn outside(file: &File<'_>, draft: &Draft, home: &At<Home>) {
    let HomeFor::Territory(territory) = home.it.home_for else { return };
    let Some(region) = draft.regions.iter().find(|region| region.it.name == home.it.region) else {
        return;
    };
    if territory.contains(region.it.territory) {
        return;
    }
    for statute in draft.statutes.iter().filter(|s| s.it.jurisdiction() == territory) {
        if let Some(constraint) = statute.it.puts() {
            let (id, name, place) = (statute.it.id(), &region.it.name, region.it.territory);
            let problem = format!(
                "`{id}` ({constraint}) asks for a region in {territory}, and `{name}` is in {place}"
            );
            let help = format!("name a region in {territory} as the home of {territory}");
            file.wrong(home.at, "HOME_OUTSIDE", problem, help);
        }
    }
}
