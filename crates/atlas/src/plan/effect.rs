//! The effects of a change, grouped so that they can be read.

use std::collections::BTreeMap;

use terms::{Collection, TenantId};

use super::moves::{Answer, AttachedLaw, Laws, Move};
use crate::{Ingress, Question, RegionMap, Ruling};

/// What follows for some people of some tenants, in some collections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// What becomes of their records.
    pub moved: Move,
    /// In these collections.
    pub collections: Vec<Collection>,
    /// Of these tenants.
    pub tenants: Vec<TenantId>,
    /// By what: the grounds that came and went.
    pub differences: Differences,
    /// One of the people, of those with the fewest findings, in words. Not a real person.
    pub example: String,
    /// How many findings there are about that person.
    pub findings: usize,
    /// Why that person's records were placed as they were, or refused.
    pub before: String,
    /// Why they would be placed as they would be, or refused.
    pub after: String,
    /// How many people of this kind the two maps tell apart: of how many classes.
    pub classes: usize,
}

/// The grounds of an answer that came and went, in words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Differences {
    /// Laws that attach and did not, with what they demand.
    pub laws_gained: Vec<String>,
    /// Laws that attached and do not.
    pub laws_lost: Vec<String>,
    /// Transfer clauses on which it rests and did not.
    pub clauses_gained: Vec<String>,
    /// Transfer clauses on which it rested and does not.
    pub clauses_lost: Vec<String>,
    /// Regions that hold a copy and did not.
    pub copies_gained: Vec<String>,
    /// Regions that held a copy and do not.
    pub copies_lost: Vec<String>,
    /// The territories that are in each other's way now, where it is refused; else those that were.
    pub conflicting: Vec<String>,
}

/// Those of `one` that are not in `other`.
fn without<T: PartialEq>(one: &[T], other: &[T], name: impl Fn(&T) -> String) -> Vec<String> {
    one.iter().filter(|item| !other.contains(item)).map(name).collect()
}

/// A law and what it demands.
fn law(law: &AttachedLaw<'_>) -> String {
    let AttachedLaw { statute: id, constraint, ingress } = law;
    match ingress {
        Ingress::Anywhere => format!("{id} ({constraint})"),
        Ingress::InTerritory => format!("{id} ({constraint}, {ingress})"),
    }
}

impl Differences {
    /// The grounds that come and go where two maps answer a question otherwise.
    pub fn of(old: &RegionMap, new: &RegionMap, question: &Question<'_>) -> Self {
        let (before, after) = (Answer::of(old, question), Answer::of(new, question));
        Self::between(&Move::between(&before, &after), &before, &after)
    }

    fn between(moved: &Move, before: &Answer, after: &Answer) -> Self {
        let conflicting = |answer: &Answer| {
            let refusal = answer.ruling().and_then(Ruling::refusal);
            let all = refusal.map(|refusal| refusal.conflicting()).unwrap_or_default();
            all.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let mut differences = Self::default();
        match moved {
            Move::Stays => {}
            Move::StillRefused { .. } | Move::Refused { .. } => {
                differences.conflicting = conflicting(after);
            }
            Move::NewlyAllowed { .. } => differences.conflicting = conflicting(before),
            Move::Elsewhere { .. } => differences.laws(&before.laws(), &after.laws()),
            Move::Copies { .. } | Move::Grounds { .. } => {
                differences.laws(&before.laws(), &after.laws());
                differences.places(before, after);
            }
        }
        if matches!(moved, Move::Refused { .. } | Move::NewlyAllowed { .. }) {
            differences.known(before, after);
        }
        differences
    }

    fn laws(&mut self, before: &Laws<'_>, after: &Laws<'_>) {
        self.laws_gained = without(after, before, law);
        self.laws_lost = without(before, after, law);
    }

    /// Laws, where both maps ruled: one that does not know the collection has none to compare.
    fn known(&mut self, before: &Answer, after: &Answer) {
        if before.ruling().is_some() && after.ruling().is_some() {
            self.laws(&before.laws(), &after.laws());
        }
    }

    fn places(&mut self, before: &Answer, after: &Answer) {
        if let (Ok(before), Ok(after)) = (before.placement(), after.placement()) {
            let name = |region: &terms::RegionId| region.to_string();
            self.copies_gained = without(after.mirrors(), before.mirrors(), name);
            self.copies_lost = without(before.mirrors(), after.mirrors(), name);
            let name = |clause: &crate::ClauseId| clause.to_string();
            self.clauses_gained = without(after.clauses(), before.clauses(), name);
            self.clauses_lost = without(before.clauses(), after.clauses(), name);
        }
    }

    /// What came and went, in words; empty if nothing did.
    pub fn words(&self) -> String {
        let Self {
            laws_gained,
            laws_lost,
            clauses_gained,
            clauses_lost,
            copies_gained,
            copies_lost,
            conflicting,
        } = self;
        let all = [
            ("law that attaches: ", laws_gained),
            ("law that no longer attaches: ", laws_lost),
            ("clause: ", clauses_gained),
            ("clause no longer: ", clauses_lost),
            ("copy in: ", copies_gained),
            ("copy no longer in: ", copies_lost),
            ("conflicting: ", conflicting),
        ];
        let said = all.into_iter().filter(|(_, names)| !names.is_empty());
        said.map(|(what, names)| format!("{what}{}", names.join(", ")))
            .collect::<Vec<_>>()
            .join("; ")
    }
}

/// By what effects are gathered: how grave, what becomes of records, by what, and whose.
type Key = (u8, String, Differences, Vec<Collection>, Vec<TenantId>);

/// A person about whom both maps were asked.
pub(super) struct Person<'a> {
    pub(super) tenants: &'a [TenantId],
    pub(super) collections: &'a [Collection],
    /// How many findings there are about the person.
    pub(super) findings: usize,
}

/// Effects, as they are gathered.
#[derive(Debug)]
pub(super) struct Effects {
    all: BTreeMap<Key, Effect>,
    max: usize,
    over: usize,
}

impl Effects {
    pub(super) fn new(max: usize) -> Self {
        Self { all: BTreeMap::new(), max, over: 0 }
    }

    /// Adds what becomes of one person's records.
    pub(super) fn add(
        &mut self,
        person: &Person<'_>,
        moved: Move,
        before: &Answer,
        after: &Answer,
        example: impl Fn() -> String,
    ) {
        let Person { tenants, collections, findings } = *person;
        let differences = Differences::between(&moved, before, after);
        let (own, of) = (collections.to_vec(), tenants.to_vec());
        let key = (gravity(&moved), moved.key(), differences, own, of);
        if let Some(effect) = self.all.get_mut(&key) {
            effect.classes += 1;
            return;
        }
        let effect = Effect {
            moved,
            collections: collections.to_vec(),
            tenants: tenants.to_vec(),
            differences: key.2.clone(),
            example: example(),
            findings,
            before: before.reason(),
            after: after.reason(),
            classes: 1,
        };
        self.all.insert(key, effect);
        // The gravest are kept.
        if self.all.len() > self.max {
            self.over += self.all.pop_last().map_or(0, |(_, effect)| effect.classes);
        }
    }

    /// The effects, gravest first, and how many people's were not kept.
    pub(super) fn finish(self) -> (Vec<Effect>, usize) {
        (self.all.into_values().collect(), self.over)
    }
}

/// How grave it is for what is stored: what must move or go first, then what opens, then the rest.
const fn gravity(moved: &Move) -> u8 {
    match moved {
        Move::Refused { .. } => 0,
        Move::Elsewhere { .. } => 1,
        Move::Copies { .. } => 2,
        Move::NewlyAllowed { .. } => 3,
        Move::Grounds { .. } => 4,
        Move::StillRefused { .. } => 5,
        Move::Stays => 6,
    }
}
