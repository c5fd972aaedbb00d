//! What changes, and for which people, when one map replaces another: found before it does.
//!
//! Countries that neither map can tell apart are one class. Every person with up to
//! [`FINDINGS_MAX`] findings over the classes is ruled upon twice, and the answers are compared.
//! Evidence becomes findings before a ruling: a changed disputed area is a
//! change here, without an effect on people.

mod classes;
mod effect;
mod moves;
mod people;
mod show;

pub use effect::{Differences, Effect};
pub use moves::Move;

use terms::{Collection, TenantId};

use crate::map::diff::Change;
use crate::{Country, Date, Epoch, Question, RegionMap};

use classes::Class;
use effect::{Effects, Person};
use moves::Answer;
use people::People;

/// The most findings that the people of a plan have.
pub const FINDINGS_MAX: usize = 3;
/// The most questions that a plan asks of each map. A plan that would need more leaves out people
/// with more findings, and says so.
pub const QUESTIONS_MAX: usize = 2_000_000;
/// The most effects that a plan lists. Of others it says how many there are.
pub const EFFECTS_MAX: usize = 10_000;

/// What changes, and for which people, when one map replaces another. It holds no personal data.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The map that is in force.
    pub old: Epoch,
    /// The map that would take its place.
    pub new: Epoch,
    /// The day for which it was asked.
    pub as_of: Date,
    /// What the new map says otherwise, by part.
    pub changes: Vec<Change>,
    /// What follows for people, gravest first.
    pub effects: Vec<Effect>,
    /// The countries by class: of one class are those that neither map can tell apart.
    pub classes: Vec<Vec<Country>>,
    /// How many questions were put to each map.
    pub questions: usize,
    /// What was left out, if anything.
    pub cut: Option<Cut>,
}

/// What a plan left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// People with more findings than these were not asked about.
    pub findings: usize,
    /// Questions that would have been needed for those up to [`FINDINGS_MAX`].
    pub questions: usize,
    /// Classes of people whose effects were found and are not listed.
    pub unlisted: usize,
}

/// The bounds of a plan.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    questions: usize,
    effects: usize,
}

/// What changes, and for which people, when the new map replaces the old one, on a day.
pub fn plan(old: &RegionMap, new: &RegionMap, as_of: Date) -> Plan {
    let bounds = Bounds { questions: QUESTIONS_MAX, effects: EFFECTS_MAX };
    within(bounds, old, new, as_of)
}

fn within(bounds: Bounds, old: &RegionMap, new: &RegionMap, as_of: Date) -> Plan {
    let countries = classes::countries(old, new);
    let asked = Asked {
        maps: (old, new),
        as_of,
        tenants: classes::tenants(old, new),
        collections: classes::collections(old, new),
        people: People::new(&countries),
        classes: &countries,
    };
    let (findings, questions) = asked.reach(bounds.questions);
    let mut effects = Effects::new(bounds.effects);
    for number in 0..=findings {
        asked.each(number, &mut effects);
    }
    let needed = (0..=FINDINGS_MAX).map(|number| asked.questions(number));
    let needed = needed.fold(0, usize::saturating_add);
    let (effects, over) = effects.finish();
    let short = findings < FINDINGS_MAX || over > 0;
    Plan {
        old: old.epoch(),
        new: new.epoch(),
        as_of,
        changes: crate::map::diff::changes(old, new),
        effects,
        classes: countries.iter().map(|class| class.iter().collect()).collect(),
        questions,
        cut: short.then_some(Cut { findings, questions: needed, unlisted: over }),
    }
}

impl Plan {
    /// Whether the new map opens something that the old one kept shut, so that two must sign it.
    pub fn widens(&self) -> bool {
        self.changes.iter().any(|change| change.widens.is_some())
    }

    /// Whether records that are stored may be unlawful, must move or must be copied elsewhere.
    pub fn acts(&self) -> bool {
        self.effects.iter().any(|effect| effect.moved.acts())
    }
}

/// The questions of a plan.
struct Asked<'a> {
    maps: (&'a RegionMap, &'a RegionMap),
    as_of: Date,
    tenants: Vec<Vec<TenantId>>,
    collections: Vec<Vec<Collection>>,
    people: People,
    classes: &'a [Class],
}

impl Asked<'_> {
    /// How many questions there are about people with that number of findings.
    fn questions(&self, findings: usize) -> usize {
        let others = self.tenants.len().saturating_mul(self.collections.len());
        self.people.count(findings).saturating_mul(others)
    }

    /// Up to how many findings all people can be asked about, and with how many questions.
    fn reach(&self, questions_max: usize) -> (usize, usize) {
        let mut sum = self.questions(0);
        for findings in 1..=FINDINGS_MAX {
            let more = sum.saturating_add(self.questions(findings));
            if more > questions_max {
                return (findings - 1, sum);
            }
            sum = more;
        }
        (FINDINGS_MAX, sum)
    }

    /// Asks about all people with that number of findings.
    fn each(&self, number: usize, effects: &mut Effects) {
        let (old, new) = self.maps;
        for person in self.people.with(number) {
            let findings = people::findings(&person);
            for tenants in &self.tenants {
                for collections in &self.collections {
                    let (Some(tenant), Some(collection)) = (tenants.first(), collections.first())
                    else {
                        continue;
                    };
                    let date = self.as_of.into();
                    let question = Question { tenant, collection, findings: &findings, date };
                    let (was, is) = (Answer::of(old, &question), Answer::of(new, &question));
                    let moved = Move::between(&was, &is);
                    if moved != Move::Stays {
                        let words = || people::words(&person, self.classes);
                        let of = Person { tenants, collections, findings: number };
                        effects.add(&of, moved, &was, &is, words);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
