//! Countries, tenants and collections that two maps cannot tell apart.

use std::collections::BTreeMap;

use terms::{Collection, TenantId};

use crate::geo::country::Countries;
use crate::{Country, Group, Jurisdiction, RegionMap, Trigger};

/// Countries that neither map can tell apart: each is in the same jurisdictions of statutes, and
/// led to the same region.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Class(Countries);

impl Class {
    /// Its first country, by code.
    pub(super) fn first(self) -> Option<Country> {
        self.0.iter().next()
    }

    /// Its last country, by code.
    pub(super) fn last(self) -> Option<Country> {
        self.0.iter().last()
    }

    pub(super) fn contains(self, country: Country) -> bool {
        self.0.contains(country)
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Country> {
        self.0.iter()
    }

    /// A country of it in words: with how many there are, or the group that they are.
    pub(super) fn name(self, example: Country) -> String {
        let group = Group::ALL.iter().find(|group| group.members() == self.0);
        match (group, self.0.iter().count()) {
            (_, 0 | 1) => example.to_string(),
            (Some(group), _) => format!("{example} ({})", group.as_str()),
            (None, count) => format!("{example} (or {} like it)", count - 1),
        }
    }
}

/// The classes of countries, by their first country.
pub(super) fn countries(old: &RegionMap, new: &RegionMap) -> Vec<Class> {
    let both = || old.statutes().iter().chain(new.statutes());
    let mut laws: Vec<Jurisdiction> = both().map(|statute| statute.jurisdiction()).collect();
    laws.sort();
    laws.dedup();
    let mut classes = BTreeMap::<_, Countries>::new();
    for country in Country::all() {
        let covered: Vec<bool> = laws.iter().map(|law| law.contains(country)).collect();
        let leads = [old, new].map(|map| map.lead(country).map(crate::Home::region));
        let class = classes.entry((covered, leads)).or_default();
        *class = class.with(country);
    }
    let mut classes: Vec<Class> = classes.into_values().map(Class).collect();
    classes.sort_by_key(|class| class.first());
    classes
}

/// Things that neither map can tell apart, each class with its members.
fn alike<T: Clone + Ord, K: Ord>(all: Vec<T>, key: impl Fn(&T) -> K) -> Vec<Vec<T>> {
    let mut classes = BTreeMap::<K, Vec<T>>::new();
    for one in all {
        classes.entry(key(&one)).or_default().push(one);
    }
    let mut classes: Vec<Vec<T>> = classes.into_values().collect();
    classes.sort();
    classes
}

/// The names of either map, by name, each once.
fn names<T: Ord>(old: impl Iterator<Item = T>, new: impl Iterator<Item = T>) -> Vec<T> {
    let mut all: Vec<T> = old.chain(new).collect();
    all.sort();
    all.dedup();
    all
}

/// The classes of tenants: which of them either map declares, and which laws of operators hold.
pub(super) fn tenants(old: &RegionMap, new: &RegionMap) -> Vec<Vec<TenantId>> {
    let of = |map: &RegionMap| map.tenants().map(|t| t.name().clone()).collect::<Vec<_>>();
    let all = names(of(old).into_iter(), of(new).into_iter());
    let asks = |map: &RegionMap, name: &TenantId| {
        let tenant = map.tenant(name)?;
        let scopes = || {
            let laws = map.statutes().iter();
            laws.flat_map(|law| {
                law.pack().scopes().iter().map(move |scope| (law.jurisdiction(), scope))
            })
        };
        let operators = scopes().filter(|(_, scope)| scope.trigger() == Trigger::Operator);
        let meets = operators.map(|(place, _)| !tenant.established.and(place.members()).is_empty());
        let concerns = scopes().map(|(_, scope)| scope.concerns(Some(tenant.sectors())));
        Some(meets.chain(concerns).collect::<Vec<_>>())
    };
    alike(all, |name| [old, new].map(|map| asks(map, name)))
}

/// The classes of collections: which of them either map declares, which laws and clauses are for them,
/// and in which regions they must not lie.
pub(super) fn collections(old: &RegionMap, new: &RegionMap) -> Vec<Vec<Collection>> {
    let of = |map: &RegionMap| map.collections().map(|c| c.name().clone()).collect::<Vec<_>>();
    let all = names(of(old).into_iter(), of(new).into_iter());
    let asks = |map: &RegionMap, name: &Collection| {
        let rules = map.collection(name)?;
        let laws = map.statutes().iter().map(|statute| statute.covers(name));
        let clauses = map.clauses().iter().map(|clause| clause.covers(name));
        let excluded = map.regions().iter().map(|region| region.is_excluded(rules.exclude()));
        Some(laws.chain(clauses).chain(excluded).collect::<Vec<_>>())
    };
    alike(all, |name| [old, new].map(|map| asks(map, name)))
}
