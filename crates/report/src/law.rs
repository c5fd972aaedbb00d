//! What the region maps say that were in force in the period: sites, laws, collections and transfer
//! clauses. Each fact once, with the maps in which it stands, so that a change shows as two facts.

use std::collections::BTreeMap;

use atlas::{Clause, CollectionRules, Region, RegionMap, Statute};
use ledger::entry::{MapRef, Minute};
use serde_json::{Value, json};
use terms::Collection;

use crate::member;
use audit::Maps;
use audit::maps::StoredMap;

/// When a map was in force anywhere.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InForce {
    /// The first minute.
    pub(crate) since: u32,
    /// The minute at which it ended. None: it was in force at the period's end.
    pub(crate) until: Option<u32>,
}

impl InForce {
    /// From the earlier beginning to the later end.
    pub(crate) fn union(self, other: Self) -> Self {
        let until = self.until.zip(other.until).map(|(one, other)| one.max(other));
        Self { since: self.since.min(other.since), until }
    }
}

/// Facts of one kind, with where and when they held.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts(Vec<Stated>);

/// A fact, with the maps in which it stands.
#[derive(Debug, Clone)]
pub(crate) struct Stated {
    /// The fact.
    pub(crate) fact: Value,
    /// The epochs, ascending.
    pub(crate) epochs: Vec<u64>,
    /// When one of these maps was in force.
    in_force: InForce,
}

/// What all maps say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Law {
    /// The maps that were given, by epoch.
    pub(crate) maps: Vec<Value>,
    /// Sites, by region.
    pub(crate) sites: Facts,
    /// Laws, by jurisdiction and id.
    pub(crate) statutes: Facts,
    /// Collections, by name.
    pub(crate) collections: Facts,
    /// Clauses, by id.
    pub(crate) clauses: Facts,
}

impl Law {
    /// Reads the maps that were in force.
    pub(crate) fn of(maps: &Maps, in_force: &BTreeMap<MapRef, InForce>) -> Self {
        let mut law = Self::default();
        for held in maps.all() {
            let epoch = held.map_ref.epoch;
            let when = in_force.get(&held.map_ref).copied();
            law.maps.push(map(held, when));
            let (Some(when), Ok(map)) = (when, &held.map) else { continue };
            for region in map.regions() {
                law.sites.state(site(region), epoch, when);
            }
            for law_in_map in map.statutes() {
                law.statutes.state(statute(law_in_map), epoch, when);
            }
            for rules in map.collections() {
                law.collections.state(collection(rules), epoch, when);
            }
            for in_map in map.clauses() {
                law.clauses.state(clause(in_map), epoch, when);
            }
        }
        law.sites.sort(&["region"]);
        law.statutes.sort(&["jurisdiction", "id"]);
        law.collections.sort(&["name"]);
        law.clauses.sort(&["id"]);
        law
    }

    /// The site of a region, by the newest map that has it.
    pub(crate) fn site(&self, region: &str) -> Option<&Stated> {
        let of_region =
            |it: &&Stated| it.fact.get("region").and_then(Value::as_str) == Some(region);
        self.sites.iter().filter(of_region).max_by_key(|site| site.epochs.last().copied())
    }

    /// Its territory.
    pub(crate) fn territory(&self, region: &str) -> Option<&str> {
        self.site(region)?.fact.get("territory")?.as_str()
    }
}

impl Facts {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Stated> {
        self.0.iter()
    }

    fn state(&mut self, fact: Value, epoch: u64, in_force: InForce) {
        let Some(known) = self.0.iter_mut().find(|known| known.fact == fact) else {
            self.0.push(Stated { fact, epochs: vec![epoch], in_force });
            return;
        };
        known.epochs.push(epoch);
        known.in_force = known.in_force.union(in_force);
    }

    fn sort(&mut self, by: &[&str]) {
        self.0.sort_by_key(|it| {
            let keys: Vec<String> =
                by.iter().map(|key| member(&it.fact, key).to_string()).collect();
            (keys, it.epochs.clone())
        });
    }

    /// Each fact as an object, with `epochs`, `since` and `until` beside what it says.
    pub(crate) fn json(&self) -> Value {
        let one = |stated: &Stated| {
            let mut fact = stated.fact.clone();
            if let Some(fact) = fact.as_object_mut() {
                fact.insert("epochs".to_owned(), stated.epochs.clone().into());
                let InForce { since, until } = stated.in_force;
                fact.insert("since".to_owned(), Minute(since).to_string().into());
                let until = until.map(|until| Minute(until).to_string());
                fact.insert("until".to_owned(), until.into());
            }
            fact
        };
        self.0.iter().map(one).collect()
    }
}

fn map(held: &StoredMap, when: Option<InForce>) -> Value {
    let map = held.map.as_deref().ok();
    let before = map.map_or(&[][..], RegionMap::predecessors);
    json!({
        "epoch": held.map_ref.epoch,
        "digest": hex::encode(held.map_ref.digest),
        "name": map.map(RegionMap::name),
        "valid_until": map.and_then(RegionMap::valid_until).map(|day| day.to_string()),
        "predecessors": before.iter().map(hex::encode).collect::<Vec<_>>(),
        "signers": held.signed_by,
        "unusable": held.map.as_ref().err(),
        "since": when.map(|when| Minute(when.since).to_string()),
        "until": when.and_then(|when| when.until).map(|until| Minute(until).to_string()),
    })
}

fn site(region: &Region) -> Value {
    let site = region.site();
    json!({
        "region": region.name().as_str(),
        "territory": region.territory().as_str(),
        "address": site.address,
        "operator": site.operator,
        "contract": site.contract,
        "register": site.register,
        "attestation": site.attestation,
        "attestation_expires": site.attestation_expires.map(|day| day.to_string()),
    })
}

fn statute(statute: &Statute) -> Value {
    let pack = statute.pack();
    let citizen = pack.asks_citizenship();
    let constraints: Vec<&str> = statute.constraints().iter().map(|one| one.as_str()).collect();
    let marks = pack.rules().iter().map(|rule| rule.verified);
    let marks = marks.chain(pack.exemptions().iter().map(|ground| ground.verified));
    let mut by_mark: BTreeMap<&str, u64> = BTreeMap::new();
    for mark in marks {
        *by_mark.entry(mark.as_str()).or_default() += 1;
    }
    json!({
        "jurisdiction": pack.jurisdiction().as_str(),
        "id": pack.id().as_str(),
        "title": pack.title(),
        "citation": pack.citation(),
        "digest": hex::encode(pack.digest()),
        "from": pack.from().to_string(),
        "to": pack.until().map(|day| day.to_string()),
        "constraint": constraints.join(", "),
        "constraints": constraints,
        "readings": pack.readings().iter().map(|one| one.as_str()).collect::<Vec<_>>(),
        "unknown": citizen.then(|| statute.unknown().as_str()),
        "citizens_abroad": citizen.then(|| statute.citizens_abroad().as_str()),
        "ingress": statute.ingress().as_str(),
        "collections": statute.collections().map(names),
        "draft": pack.draft(),
        "marks": by_mark,
    })
}

fn collection(rules: &CollectionRules) -> Value {
    json!({
        "name": rules.name().as_str(),
        "category": rules.category(),
        "grounds": rules.grounds(),
        "reads": rules.reads().as_str(),
        "exempt": rules.exempt().iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn clause(clause: &Clause) -> Value {
    json!({
        "id": clause.id().as_str(),
        "from": clause.from().as_str(),
        "to": clause.to().to_string(),
        "collections": clause.collections().map(names),
        "legal_basis": clause.legal_basis(),
        "importer": clause.importer(),
        "reference": clause.reference(),
        "notified": clause.notified().map(|day| day.to_string()),
        "not_before": clause.not_before().to_string(),
        "expires": clause.expires().to_string(),
    })
}

fn names(collections: &[Collection]) -> Vec<&str> {
    collections.iter().map(Collection::as_str).collect()
}
