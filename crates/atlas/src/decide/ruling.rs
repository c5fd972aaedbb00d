//! Which laws claim a person's record, and what follows from it. Pure: the same question always
//! has the same answer.

use terms::{Reason, RegionId, Rejection};

use crate::decide::attach::{Attached, Attachments, Facts, attached};
use crate::decide::place;
use crate::decide::refusal::Why;
use crate::{Attachment, Epoch, Jurisdiction, Kinds, Placement, Question, Refusal, RegionMap};

/// The map declares no such collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the region map declares no such collection")]
pub struct UnknownCollection;

impl From<UnknownCollection> for Rejection {
    fn from(_: UnknownCollection) -> Self {
        Self::new(Reason::CollectionUnknown).field("collection")
    }
}

/// A placement, or the refusal of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The record may be stored, there and nowhere else.
    Placed(Placement),
    /// It may not be stored.
    Refused(Refusal),
}

/// The laws that attach to one person's records of one collection, and what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    attachments: Attachments,
    outcome: Outcome,
    epoch: Epoch,
    kinds: Kinds,
}

/// Rules on a question: which laws attach, and where the record may lie.
///
/// A tenant that the map does not declare is taken to be established wherever a law asks for
/// that, and to work in every sector, which is the stricter reading. The gateway refuses calls of
/// such a tenant before it asks.
///
/// # Errors
/// [`UnknownCollection`]. A refusal is no error: it is an [`Outcome`].
pub fn decide(map: &RegionMap, question: &Question<'_>) -> Result<Ruling, UnknownCollection> {
    decide_chosen(map, question, None)
}

/// The same where a region was chosen for the person. The choice counts where the rules leave one:
/// no law that attaches fixes the place or wants a copy, a home in that region may lead, the collection
/// does not exclude the site, and every law lets the records lie there, under a clause if it asks for
/// one. Otherwise the choice is void, and the answer is that of [`decide`].
///
/// # Errors
/// As [`decide`].
pub fn decide_chosen(
    map: &RegionMap,
    question: &Question<'_>,
    chosen: Option<&RegionId>,
) -> Result<Ruling, UnknownCollection> {
    if map.collection(question.collection).is_none() {
        return Err(UnknownCollection);
    }
    let facts = Facts::of(question.findings);
    let Attached { laws, refused_abroad } = attached(map, question, &facts);
    let placed = match refused_abroad {
        Some(pack) => Err(Why::CitizenAbroad(pack.jurisdiction(), pack.id().clone())),
        None => place::place(map, question, &laws, &facts, chosen),
    };
    let outcome = match placed {
        Ok(placement) => Outcome::Placed(placement),
        Err(why) => {
            let jurisdictions = place::jurisdictions(&laws);
            let collection = question.collection.clone();
            Outcome::Refused(Refusal::new(why, jurisdictions, collection, map.epoch()))
        }
    };
    Ok(Ruling { attachments: laws, outcome, epoch: map.epoch(), kinds: facts.kinds })
}

/// The same for records that are stored in a region. Where a choice counts, it is the only place for what
/// moves; what is stored here may stay, until it is moved, where the rules place it without the choice.
///
/// # Errors
/// As [`decide`].
pub fn decide_stored(
    map: &RegionMap,
    question: &Question<'_>,
    chosen: Option<&RegionId>,
    here: &RegionId,
) -> Result<Ruling, UnknownCollection> {
    let is_here =
        |ruling: &Ruling| ruling.placement().is_some_and(|placement| placement.region() == here);
    let ruling = decide_chosen(map, question, chosen)?;
    if chosen.is_none() || is_here(&ruling) {
        return Ok(ruling);
    }
    let by_rules = decide(map, question)?;
    Ok(if is_here(&by_rules) { by_rules } else { ruling })
}

/// The regions among which the rules leave a choice for that person, by name: each of them, chosen, is
/// where [`decide_chosen`] places the record. Empty where a law fixes the place, or nothing is lawful.
///
/// # Errors
/// [`UnknownCollection`].
pub fn choices(
    map: &RegionMap,
    question: &Question<'_>,
) -> Result<Vec<RegionId>, UnknownCollection> {
    if map.collection(question.collection).is_none() {
        return Err(UnknownCollection);
    }
    let facts = Facts::of(question.findings);
    let Attached { laws, refused_abroad } = attached(map, question, &facts);
    if refused_abroad.is_some() {
        return Ok(Vec::new());
    }
    Ok(place::choices(map, question, &laws, &facts))
}

// === impl Ruling ===

impl Ruling {
    /// The laws that attach, by jurisdiction and id.
    pub fn attachments(&self) -> &[Attachment] {
        &self.attachments
    }

    /// What follows.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The placement, if it is one.
    pub fn placement(&self) -> Option<&Placement> {
        match &self.outcome {
            Outcome::Placed(placement) => Some(placement),
            Outcome::Refused(_) => None,
        }
    }

    /// The refusal, if it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match &self.outcome {
            Outcome::Placed(_) => None,
            Outcome::Refused(refusal) => Some(refusal),
        }
    }

    /// The map that ruled.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The jurisdictions that attach, by code, each once.
    pub fn jurisdictions(&self) -> &[Jurisdiction] {
        match &self.outcome {
            Outcome::Placed(placement) => placement.jurisdictions(),
            Outcome::Refused(refusal) => refusal.jurisdictions(),
        }
    }

    /// The kinds of evidence that played a part.
    pub fn kinds(&self) -> Kinds {
        self.kinds
    }

    /// Why it ended so: one sentence for a person, without a value of the evidence.
    pub fn reason(&self) -> String {
        match &self.outcome {
            Outcome::Placed(placement) => placement.reason(),
            Outcome::Refused(refusal) => format!("{}; {}", refusal.problem(), refusal.cure()),
        }
    }
}
