//! Why a record may not be stored, and what would cure it.

use smallvec::SmallVec;
use terms::{Collection, Detail, Reason, RegionId, Rejection};

use crate::{Country, Epoch, Jurisdiction, StatuteId};

pub(crate) type Jurisdictions = SmallVec<[Jurisdiction; 4]>;

/// That a record may be stored nowhere. A value, not an error. Only [`crate::decide`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    why: Why,
    jurisdictions: Jurisdictions,
    collection: Collection,
    epoch: Epoch,
}

/// What was missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// A law attaches to a citizen who lives elsewhere, and the map refuses those.
    CitizenAbroad(Jurisdiction, StatuteId),
    /// No finding that counts names a country.
    Undetermined,
    /// Several jurisdictions want the first copy.
    Pins(SmallVec<[Jurisdiction; 2]>),
    /// A jurisdiction wants a copy, and the map names no region in it as its home.
    NoHome(Jurisdiction),
    /// No home may take these countries, and there is none for `*`.
    NoLead,
    /// The region into which the record, or a copy of it, would go is at a site with which the collection
    /// must not lie. `by`: the jurisdiction whose law asks for that region, if one does.
    Excluded { by: Option<Jurisdiction>, region: RegionId },
    /// A law wants a clause from there to there.
    NoClause { from: Jurisdiction, to: Country },
    /// The same, and every clause that leads there excludes the site of the region.
    ClauseExcludes { from: Jurisdiction, to: Country, region: RegionId },
    /// The same, and the map is past the day until which its clauses may be relied on.
    MapExpired { from: Jurisdiction, to: Country },
    /// The first wants no copy abroad, the second wants one.
    ExclusiveBesideMirror(Jurisdiction, Jurisdiction),
    /// A law lets no record of its people lie there, and the record would.
    ExclusiveAbroad { from: Jurisdiction, to: Country },
    /// A law wants a copy at home, and the record of another owner, which lies there, gets none.
    NoFurtherCopy { from: Jurisdiction, to: Country },
    /// A law denies the country in which the record, or a copy of it, would have to lie.
    Denied { from: Jurisdiction, to: Country },
}

impl Refusal {
    pub(crate) fn new(
        why: Why,
        jurisdictions: Jurisdictions,
        collection: Collection,
        epoch: Epoch,
    ) -> Self {
        Self { why, jurisdictions, collection, epoch }
    }

    /// The reason, by its stable name.
    pub fn reason(&self) -> Reason {
        match self.why {
            Why::CitizenAbroad(..) => Reason::CitizenAbroad,
            Why::Undetermined => Reason::JurisdictionUndetermined,
            Why::Pins(_)
            | Why::ExclusiveBesideMirror(..)
            | Why::ExclusiveAbroad { .. }
            | Why::NoFurtherCopy { .. }
            | Why::Denied { .. } => Reason::Unsatisfiable,
            Why::NoHome(_) | Why::NoLead => Reason::NoRegion,
            Why::Excluded { .. } => Reason::RegionExcluded,
            Why::NoClause { .. } | Why::ClauseExcludes { .. } | Why::MapExpired { .. } => {
                Reason::TransferNotCovered
            }
        }
    }

    /// The jurisdictions that attach, by code, each once.
    pub fn jurisdictions(&self) -> &[Jurisdiction] {
        &self.jurisdictions
    }

    /// The collection that was asked about.
    pub fn collection(&self) -> &Collection {
        &self.collection
    }

    /// The map that ruled.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The territories that are in each other's way; for a missing clause, from where and to where.
    pub fn conflicting(&self) -> SmallVec<[Jurisdiction; 2]> {
        match &self.why {
            Why::Undetermined | Why::NoLead => SmallVec::new(),
            Why::Pins(pins) => pins.clone(),
            Why::CitizenAbroad(jurisdiction, _) | Why::NoHome(jurisdiction) => {
                SmallVec::from_iter([*jurisdiction])
            }
            Why::Excluded { by, .. } => by.iter().copied().collect(),
            Why::NoClause { from, to }
            | Why::ClauseExcludes { from, to, .. }
            | Why::MapExpired { from, to }
            | Why::ExclusiveAbroad { from, to }
            | Why::NoFurtherCopy { from, to }
            | Why::Denied { from, to } => SmallVec::from_buf([*from, (*to).into()]),
            Why::ExclusiveBesideMirror(one, other) => SmallVec::from_buf([*one, *other]),
        }
    }

    /// What was missing: one sentence for a person, without a value of the evidence.
    pub fn problem(&self) -> String {
        match &self.why {
            Why::CitizenAbroad(place, law) => {
                format!(
                    "a citizen of {place} with residence elsewhere, whom the map refuses under {law}"
                )
            }
            Why::Undetermined => "no evidence that counts names a country".to_owned(),
            Why::Pins(pins) => {
                let pins = join(pins.iter().map(|pin| pin.as_str()));
                format!("each of {pins} wants the first copy for itself")
            }
            Why::NoHome(place) => format!("the map names no region in {place} as its home"),
            Why::NoLead => "the map names no home for the countries found".to_owned(),
            Why::Excluded { by: Some(place), region } => format!(
                "{place} asks for a copy in its home {region}, and {} must not lie there: the map \
                 excludes its site",
                self.collection
            ),
            Why::Excluded { by: None, region } => format!(
                "the record would go to {region}, and {} must not lie there: the map excludes its site",
                self.collection
            ),
            Why::ClauseExcludes { from, to, region } => format!(
                "every transfer clause that covers {} from {from} to {to} excludes the site of {region}",
                self.collection
            ),
            Why::NoClause { from, to } => format!(
                "no transfer clause in force covers {} from {from} to {to}",
                self.collection
            ),
            Why::MapExpired { from, to } => format!(
                "the map is past its valid_until, and {} from {from} to {to} rests on a clause",
                self.collection
            ),
            Why::ExclusiveBesideMirror(exclusive, mirror) => {
                format!("{exclusive} allows no copy abroad, and {mirror} wants one")
            }
            Why::ExclusiveAbroad { from, to } => {
                format!("{from} allows no copy abroad, and the record would lie in {to}")
            }
            Why::NoFurtherCopy { from, to } => {
                format!("{from} wants a copy of its own, and the record would lie in {to} alone")
            }
            Why::Denied { from, to } => {
                format!("the record would have to lie in {to}, and the law of {from} denies {to}")
            }
        }
    }

    /// What would cure it.
    pub fn cure(&self) -> String {
        match &self.why {
            Why::CitizenAbroad(..) | Why::Undetermined => self.reason().cure().to_owned(),
            Why::Pins(_)
            | Why::ExclusiveBesideMirror(..)
            | Why::ExclusiveAbroad { .. }
            | Why::NoFurtherCopy { .. }
            | Why::Denied { .. } => self.reason().cure().to_owned(),
            Why::NoHome(place) => format!("give the map a home for exactly {place}, in {place}"),
            Why::Excluded { by: Some(place), .. } => {
                format!(
                    "give the map another home for exactly {place}, at a site that is not excluded"
                )
            }
            Why::Excluded { by: None, .. } => {
                "give the map a home for these countries, or for *, at a site that is not excluded"
                    .to_owned()
            }
            Why::ClauseExcludes { from, region, .. } => format!(
                "give the map a transfer clause from {from} that does not exclude the site of {region}, \
                 or another home for these people"
            ),
            Why::NoLead => {
                "give the map a home for these countries, or one for *, which takes every other"
                    .to_owned()
            }
            Why::NoClause { from, to } => format!(
                "give the map a transfer clause for {} from {from} to {to}, or to a group that \
                 holds {to}",
                self.collection
            ),
            Why::MapExpired { .. } => "apply a map that is still valid".to_owned(),
        }
    }
}

/// Words with commas between them.
pub(crate) fn join<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

impl From<&Refusal> for Rejection {
    fn from(refusal: &Refusal) -> Self {
        let conflicting = refusal.conflicting();
        let list =
            |all: &[Jurisdiction]| all.iter().map(|j| j.as_str()).collect::<Vec<_>>().join(",");
        let mut fault = Self::new(refusal.reason())
            .problem(refusal.problem())
            .cure(refusal.cure())
            .with(Detail::MapEpoch, refusal.epoch.number);
        for (key, all) in [
            (Detail::Jurisdictions, refusal.jurisdictions()),
            (Detail::Conflicting, conflicting.as_slice()),
        ] {
            if !all.is_empty() {
                fault = fault.with(key, list(all));
            }
        }
        fault
    }
}
