//! Who, what and when is asked about under small maps.

use atlas::{Country, Date, EvidenceKind, Finding, Findings};
use terms::{Collection, TenantId};

use super::COLLECTIONS;

/// Every set of up to two findings, of one kind for each aspect, over some countries.
pub(crate) fn people(countries: &[Country]) -> Vec<Findings> {
    use EvidenceKind::{Citizenship, CollectedIn, Phone, Residence};
    let kinds = [Residence, Citizenship, CollectedIn, Phone];
    let all = kinds.iter().flat_map(|kind| countries.iter().map(|c| Finding::new(*kind, *c)));
    let all: Vec<Finding> = all.chain(Finding::stateless(Citizenship)).collect();
    let mut people = vec![Findings::new()];
    for (n, one) in all.iter().enumerate() {
        for other in &all[n..] {
            let mut findings = Findings::new();
            findings.insert(*one).expect("room");
            findings.insert(*other).expect("room");
            people.push(findings);
        }
    }
    people
}

/// The tenants that are asked about; one is never declared.
pub(crate) fn tenants() -> Vec<TenantId> {
    ["acme", "beta", "gamma", "ghost"].map(|name| TenantId::parse(name).expect("a name")).to_vec()
}

/// The collections that are asked about.
pub(crate) fn collections() -> Vec<Collection> {
    COLLECTIONS.iter().map(|name| Collection::parse(name).expect("a name")).collect()
}

/// The days that are asked about.
pub(crate) fn days() -> Vec<Date> {
    ["2025-12-31", "2026-05-31", "2027-06-01"].map(|day| Date::parse(day).expect("a day")).to_vec()
}
