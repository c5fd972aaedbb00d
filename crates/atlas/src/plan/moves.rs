//! What a change of the map does to one person's records of one collection.

use std::fmt;

use terms::{Reason, RegionId};

use crate::{Outcome, Question, RegionMap, Ruling, UnknownCollection, decide, decide_stored};

/// What becomes of one person's records of one collection when one map takes the place of another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Move {
    /// The same places, on the same grounds; or refused as before, whatever the laws behind it.
    Stays,
    /// The first copy belongs in another region.
    Elsewhere {
        /// Where it was placed.
        from: RegionId,
        /// Where the new map places it.
        to: RegionId,
    },
    /// It was placed, and is refused.
    Refused {
        /// Where it was placed.
        from: RegionId,
        /// Why it is refused.
        reason: Reason,
    },
    /// It was refused, and is placed.
    NewlyAllowed {
        /// Why it was refused.
        reason: Reason,
        /// Where the new map places it.
        to: RegionId,
    },
    /// The first copy stays, and other regions hold the further ones.
    Copies {
        /// Where the first copy is.
        region: RegionId,
    },
    /// The same places, under other laws or other clauses.
    Grounds {
        /// Where the first copy is.
        region: RegionId,
    },
    /// It was refused by a ruling, and is refused by one for another reason.
    StillRefused {
        /// Why it was refused.
        before: Reason,
        /// Why it is refused.
        after: Reason,
    },
}

impl Move {
    /// What becomes of the answer to a question.
    pub fn of(old: &RegionMap, new: &RegionMap, question: &Question<'_>) -> Self {
        Self::between(&Answer::of(old, question), &Answer::of(new, question))
    }

    /// What becomes of records that lie in a region, with copies in others, whatever map put them
    /// there. The question's findings are those that the shard holds. `chosen`: the region that was chosen
    /// for the person; where the rules place records here without it, they may stay until they are moved.
    pub fn of_stored(
        region: &RegionId,
        copies: &[RegionId],
        new: &RegionMap,
        question: &Question<'_>,
        chosen: Option<&RegionId>,
    ) -> Self {
        let ruling = decide_stored(new, question, chosen, region);
        match Answer::ruled(new, question, ruling) {
            Answer::Refused(reason, _) => Self::Refused { from: region.clone(), reason },
            Answer::Placed(ruling) => match ruling.placement() {
                Some(placement) if placement.region() != region => {
                    Self::Elsewhere { from: region.clone(), to: placement.region().clone() }
                }
                Some(placement) if !same(placement.mirrors(), copies) => {
                    Self::Copies { region: region.clone() }
                }
                _ => Self::Stays,
            },
        }
    }

    /// What becomes of one answer that turns into another.
    pub(super) fn between(before: &Answer, after: &Answer) -> Self {
        let (stood, stands) = match (before.placement(), after.placement()) {
            (Ok(stood), Ok(stands)) => (stood, stands),
            (Ok(stood), Err(reason)) => {
                return Self::Refused { from: stood.region().clone(), reason };
            }
            (Err(reason), Ok(stands)) => {
                return Self::NewlyAllowed { reason, to: stands.region().clone() };
            }
            (Err(before_reason), Err(after_reason)) => {
                // A map that does not know the tenant or collection makes no ruling.
                let ruled = before.ruling().is_some() && after.ruling().is_some();
                return if ruled && before_reason != after_reason {
                    Self::StillRefused { before: before_reason, after: after_reason }
                } else {
                    Self::Stays
                };
            }
        };
        let region = || stands.region().clone();
        if stood.region() != stands.region() {
            Self::Elsewhere { from: stood.region().clone(), to: region() }
        } else if stood.mirrors() != stands.mirrors() {
            Self::Copies { region: region() }
        } else if !same(stood.clauses(), stands.clauses()) || before.laws() != after.laws() {
            Self::Grounds { region: region() }
        } else {
            Self::Stays
        }
    }

    /// Its kind, by a name that stays.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Stays => "stays",
            Self::Elsewhere { .. } => "elsewhere",
            Self::Refused { .. } => "refused",
            Self::NewlyAllowed { .. } => "newly-allowed",
            Self::Copies { .. } => "copies",
            Self::Grounds { .. } => "grounds",
            Self::StillRefused { .. } => "still-refused",
        }
    }

    /// Whether records that lie where they were placed before are unlawful under the new map, or
    /// must move, or must be copied elsewhere.
    pub const fn acts(&self) -> bool {
        match self {
            Self::Elsewhere { .. } | Self::Refused { .. } | Self::Copies { .. } => true,
            Self::Stays
            | Self::NewlyAllowed { .. }
            | Self::Grounds { .. }
            | Self::StillRefused { .. } => false,
        }
    }

    /// A short text by which equal moves can be counted, the same in every process: its kind, then
    /// regions and reasons, with `/` between them.
    pub fn key(&self) -> String {
        let kind = self.kind();
        match self {
            Self::Stays => kind.to_owned(),
            Self::Elsewhere { from, to } => format!("{kind}/{from}/{to}"),
            Self::Refused { from, reason } => format!("{kind}/{from}/{}", reason.as_str()),
            Self::NewlyAllowed { reason, to } => format!("{kind}/{}/{to}", reason.as_str()),
            Self::Copies { region } | Self::Grounds { region } => format!("{kind}/{region}"),
            Self::StillRefused { before, after } => {
                format!("{kind}/{}/{}", before.as_str(), after.as_str())
            }
        }
    }
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stays => f.write_str("nothing changes"),
            Self::Elsewhere { from, to } => write!(f, "placed in {to} instead of {from}"),
            Self::Refused { from, reason } => {
                write!(f, "refused ({}), was placed in {from}", reason.as_str())
            }
            Self::NewlyAllowed { reason, to } => {
                write!(f, "placed in {to}, was refused ({})", reason.as_str())
            }
            Self::Copies { region } => write!(f, "stays in {region}, with other copies"),
            Self::Grounds { region } => write!(f, "stays in {region}, on other grounds"),
            Self::StillRefused { before, after } => {
                write!(f, "refused ({}), was refused ({})", after.as_str(), before.as_str())
            }
        }
    }
}

/// Whether two lists hold the same, in whatever order.
fn same<T: PartialEq>(one: &[T], other: &[T]) -> bool {
    one.len() == other.len() && one.iter().all(|item| other.contains(item))
}

/// What a map answers to a question, tenants included.
#[derive(Debug)]
pub(super) enum Answer {
    /// Placed.
    Placed(Ruling),
    /// Refused; by a ruling, or because the map does not know what was asked about.
    Refused(Reason, Option<Ruling>),
}

impl Answer {
    pub(super) fn of(map: &RegionMap, question: &Question<'_>) -> Self {
        Self::ruled(map, question, decide(map, question))
    }

    /// The same, by a ruling of that map on that question.
    fn ruled(
        map: &RegionMap,
        question: &Question<'_>,
        ruling: Result<Ruling, UnknownCollection>,
    ) -> Self {
        if map.tenant(question.tenant).is_none() {
            return Self::Refused(Reason::NotPermitted, None);
        }
        match ruling {
            Err(unknown) => Self::Refused(terms::Rejection::from(unknown).reason, None),
            Ok(ruling) => match ruling.outcome() {
                Outcome::Placed(_) => Self::Placed(ruling),
                Outcome::Refused(refusal) => Self::Refused(refusal.reason(), Some(ruling)),
            },
        }
    }

    /// Its ruling, if there was one.
    pub(super) fn ruling(&self) -> Option<&Ruling> {
        match self {
            Self::Placed(ruling) => Some(ruling),
            Self::Refused(_, ruling) => ruling.as_ref(),
        }
    }

    /// Its placement, or why there is none.
    pub(super) fn placement(&self) -> Result<&crate::Placement, Reason> {
        match self {
            Self::Placed(ruling) => ruling.placement().ok_or(Reason::Internal),
            Self::Refused(reason, _) => Err(*reason),
        }
    }

    /// The laws that attach, with what each demands.
    pub(super) fn laws(&self) -> Laws<'_> {
        let attachments = self.ruling().map_or(&[][..], Ruling::attachments);
        let said = attachments.iter().map(|law| AttachedLaw {
            statute: law.statute(),
            constraint: law.constraint(),
            ingress: law.ingress(),
        });
        said.collect()
    }

    /// Why: one sentence for a person.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Placed(ruling) | Self::Refused(_, Some(ruling)) => ruling.reason(),
            Self::Refused(reason, None) => {
                format!("the map does not know what is asked about; {}", reason.cure())
            }
        }
    }
}

/// A law that attaches, and what it demands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AttachedLaw<'a> {
    pub(super) statute: &'a crate::StatuteId,
    pub(super) constraint: crate::Constraint,
    pub(super) ingress: crate::Ingress,
}

pub(super) type Laws<'a> = smallvec::SmallVec<[AttachedLaw<'a>; 4]>;
