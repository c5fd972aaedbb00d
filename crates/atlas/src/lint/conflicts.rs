//! Pairs of laws that no placement satisfies, each with an example of a person to whom both attach.

use std::collections::BTreeSet;

use terms::{Collection, Reason, TenantId};

use crate::lint::Check;
use crate::{
    Constraint, Country, EvidenceKind, Finding, Findings, Question, Scope, Statute, Trigger, decide,
};

/// A set of places in a list: one bit each.
struct Places(Vec<u64>);

/// A law in force, with its tenants and collections.
struct Law<'a> {
    place: usize,
    statute: &'a Statute,
    scope: &'a Scope,
    constraint: Constraint,
    tenants: Places,
    collections: Places,
}

impl Places {
    fn of(all: impl Iterator<Item = bool>) -> Self {
        let mut words = Vec::new();
        for (n, is) in all.enumerate() {
            if n % 64 == 0 {
                words.push(0);
            }
            if let Some(word) = words.last_mut() {
                *word |= u64::from(is) << (n % 64);
            }
        }
        Self(words)
    }

    /// The first place that is in both.
    fn first_of_both(&self, other: &Self) -> Option<usize> {
        let mut words = self.0.iter().zip(&other.0).map(|(a, b)| a & b).enumerate();
        let (n, word) = words.find(|(_, word)| *word != 0)?;
        Some(n * 64 + usize::try_from(word.trailing_zeros()).ok()?)
    }
}

impl Check<'_> {
    pub(super) fn conflicts(&self) {
        let statutes = self.map.statutes().iter().enumerate();
        let laws: Vec<Law<'_>> = statutes
            .flat_map(|(n, statute)| {
                let demands = statute.demands_at(self.day.into());
                demands.map(move |(scope, constraint)| self.law(n, statute, scope, constraint))
            })
            .collect();
        let mut reported = BTreeSet::new();
        for (n, law) in laws.iter().enumerate() {
            for other in laws.iter().skip(n + 1) {
                let pair = (law.statute.jurisdiction(), other.statute.jurisdiction());
                if pair.0 == pair.1 || reported.contains(&pair) || !may_conflict(law, other) {
                    continue;
                }
                if let Some(example) = self.example(law, other) {
                    reported.insert(pair);
                    let (a, b) = (law.statute.id(), other.statute.id());
                    let problem = format!("no placement satisfies both `{a}` and `{b}`: {example}");
                    let help = "expect such people to be refused, or apply one of the two to other \
                                collections";
                    let places = &self.places.statutes;
                    self.note(places, other.place, "LAWS_CONFLICT", problem, help);
                }
            }
        }
    }

    fn law<'m>(
        &'m self,
        place: usize,
        statute: &'m Statute,
        scope: &'m Scope,
        constraint: Constraint,
    ) -> Law<'m> {
        let operator = scope.trigger() == Trigger::Operator;
        let members = statute.jurisdiction().members();
        let tenants = self.map.tenants().map(|tenant| {
            let established = !tenant.established.and(members).is_empty();
            scope.concerns(Some(tenant.sectors())) && (!operator || established)
        });
        let collections = self.map.collections().map(|rules| statute.covers(rules.name()));
        let (tenants, collections) = (Places::of(tenants), Places::of(collections));
        Law { place, statute, scope, constraint, tenants, collections }
    }

    /// An example of a person to whom both laws attach and who is refused for it, in words.
    fn example(&self, law: &Law<'_>, other: &Law<'_>) -> Option<String> {
        let tenant = self.map.tenants().nth(law.tenants.first_of_both(&other.tenants)?)?;
        let collection = law.collections.first_of_both(&other.collections)?;
        let collection = self.map.collections().nth(collection)?.name();
        let (a, b) = (country(law.statute)?, country(other.statute)?);
        let both: Vec<(EvidenceKind, Country)> =
            [finding(law.scope, a), finding(other.scope, b)].into_iter().flatten().collect();
        // Laws of citizens may leave those alone who live elsewhere: presence brings them back.
        let more = [
            None,
            Some((EvidenceKind::CollectedIn, a)),
            Some((EvidenceKind::CollectedIn, b)),
            Some((EvidenceKind::Residence, a)),
        ];
        let mut people = more.into_iter().map(|more| both.iter().copied().chain(more).collect());
        people
            .find(|person: &Vec<_>| self.is_refused(tenant.name(), collection, person, law, other))
            .map(|person| {
                let known: Vec<String> =
                    person.iter().map(|(kind, country)| format!("{kind} {country}")).collect();
                let (known, tenant) = (known.join(", "), tenant.name());
                format!("a person with {known} is refused for `{collection}` of `{tenant}`")
            })
    }

    /// Whether a person is refused because of these two laws.
    fn is_refused(
        &self,
        tenant: &TenantId,
        collection: &Collection,
        person: &[(EvidenceKind, Country)],
        law: &Law<'_>,
        other: &Law<'_>,
    ) -> bool {
        let mut findings = Findings::new();
        for (kind, country) in person {
            // A handful of findings: there is room.
            let _new = findings.insert(Finding::new(*kind, *country));
        }
        let question = Question { tenant, collection, findings: &findings, date: self.day.into() };
        let Ok(ruling) = decide(self.map, &question) else { return false };
        let Some(refusal) = ruling.refusal() else { return false };
        let conflicting = refusal.conflicting();
        let named = |law: &Law<'_>| {
            let whole = law.statute.jurisdiction().members();
            let mut all = conflicting.iter().map(|territory| territory.members());
            all.any(|territory| territory.without(whole).is_empty())
        };
        refusal.reason() == Reason::Unsatisfiable && named(law) && named(other)
    }
}

/// Whether two laws can be in each other's way at all: one that keeps records to itself, or denies
/// a destination, and one that asks for a place.
fn may_conflict(law: &Law<'_>, other: &Law<'_>) -> bool {
    let keeps = |law: &Law<'_>| {
        !law.statute.pack().deny().is_empty()
            || matches!(law.constraint, Constraint::Exclusive | Constraint::PrimaryFirst)
    };
    keeps(law) || keeps(other)
}

/// A country of a law's territory.
fn country(statute: &Statute) -> Option<Country> {
    statute.jurisdiction().members().iter().next()
}

/// What makes a law attach to a person, if it is anything about the person.
fn finding(scope: &Scope, country: Country) -> Option<(EvidenceKind, Country)> {
    match scope.trigger() {
        Trigger::Citizen => Some((EvidenceKind::Citizenship, country)),
        Trigger::Located => Some((EvidenceKind::Residence, country)),
        Trigger::Operator => None,
    }
}
