//! Records that name other people besides their owner: they lie where the owner's lie, if what binds
//! each of the others allows that too.
//!
//! Of a participant only the jurisdictions are known whose law attaches to that person's records of the
//! collection. To which people a law applies is not known, so everything counts that the map's laws of those
//! jurisdictions demand of anyone: that is the stricter reading, and a later map is met with it too.
//!
//! The record is the owner's. To a participant it is a copy of what that person takes part in, so a law
//! that wants the first copy in its territory (`primary-first`) asks of it what it asks of a copy: a
//! transfer clause.

use smallvec::SmallVec;
use terms::{Collection, Rejection, TenantId};

use super::{Claims, Placement, PlacementSolver};
use crate::decide::refusal::{Jurisdictions, Refusal, Why};
use crate::{Constraint, Jurisdiction, Moment, Question, Region, RegionMap, StatutePack, Tenant};

/// What one participant's law does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    participant: usize,
    refusal: Refusal,
}

impl Conflict {
    /// Which participant, by its place in the request.
    pub fn participant(&self) -> usize {
        self.participant
    }

    /// The refusal, with the pair of jurisdictions.
    pub fn refusal(&self) -> &Refusal {
        &self.refusal
    }
}

impl From<&Conflict> for Rejection {
    fn from(conflict: &Conflict) -> Self {
        let field = format!("participants[{}]", conflict.participant);
        Self::from(&conflict.refusal).field(field)
    }
}

/// What the laws of a jurisdiction demand at most of one participant's records of a collection.
pub fn demands_on_participant<'a>(
    map: &'a RegionMap,
    jurisdiction: Jurisdiction,
    tenant: &TenantId,
    collection: &'a Collection,
    date: Moment,
) -> impl Iterator<Item = (&'a StatutePack, Constraint)> {
    let sectors = map.tenant(tenant).map(Tenant::sectors);
    let laws = map.statutes().iter();
    let laws = laws.filter(move |law| law.jurisdiction() == jurisdiction && law.covers(collection));
    laws.flat_map(move |law| {
        let demands = law.demands_at(date).filter(move |(scope, _)| scope.concerns(sectors));
        demands.map(|(_, constraint)| (&**law.pack(), constraint))
    })
}

/// The placement of a record that names participants: that of its owner, with the clauses,
/// jurisdictions and laws of the others besides. `participants`: of each, the jurisdictions whose law
/// attaches to that person.
///
/// # Errors
/// [`Conflict`]: the first participant whose laws do not allow it there. The record is never moved, and
/// gets no further copy: a law that wants one (`mirror`) is kept if the owner's record has it anyway.
pub fn together(
    map: &RegionMap,
    question: &Question<'_>,
    placement: &Placement,
    participants: &[&[Jurisdiction]],
) -> Result<Placement, Conflict> {
    let (claims, clauses) = (Claims::new(), placement.clauses.clone());
    let solver = PlacementSolver { map, question, claims, clauses };
    let mut union = Union { solver, placement: placement.clone() };
    for (participant, jurisdictions) in participants.iter().enumerate() {
        for jurisdiction in *jurisdictions {
            if let Err(why) = union.add(*jurisdiction) {
                let all = union.placement.jurisdictions;
                let refusal = Refusal::new(why, all, question.collection.clone(), map.epoch());
                return Err(Conflict { participant, refusal });
            }
        }
    }
    let Union { solver, mut placement } = union;
    placement.clauses = solver.clauses;
    Ok(placement)
}

/// A placement to which participants are added.
struct Union<'a> {
    /// It has the clauses.
    solver: PlacementSolver<'a>,
    placement: Placement,
}

impl Union<'_> {
    /// Adds the laws of one jurisdiction.
    fn add(&mut self, from: Jurisdiction) -> Result<(), Why> {
        let (map, to) = (self.solver.map, self.placement.territory);
        let Question { tenant, collection, date, .. } = *self.solver.question;
        insert(&mut self.placement.jurisdictions, from);
        let names = self.placement.mirrors.iter().chain([&self.placement.region]);
        let places: SmallVec<[&Region; 4]> = names.filter_map(|name| map.region(name)).collect();
        for (pack, constraint) in demands_on_participant(map, from, tenant, collection, date) {
            for place in &places {
                self.solver.lies_in(pack, constraint, place)?;
            }
            let inside = |place: &&Region| from.contains(place.territory());
            if constraint == Constraint::Mirror && !places.iter().any(inside) {
                return Err(Why::NoFurtherCopy { from, to });
            }
            if !self.placement.statutes.contains(pack.id()) {
                self.placement.statutes.push(pack.id().clone());
            }
        }
        Ok(())
    }
}

impl PlacementSolver<'_> {
    /// Whether a law lets the record, or a copy of it, lie in a region.
    fn lies_in(
        &mut self,
        pack: &StatutePack,
        constraint: Constraint,
        region: &Region,
    ) -> Result<(), Why> {
        let (from, to) = (pack.jurisdiction(), region.territory());
        if pack.denies(to) {
            return Err(Why::Denied { from, to });
        }
        match constraint {
            Constraint::Exclusive if !from.contains(to) => Err(Why::ExclusiveAbroad { from, to }),
            Constraint::PrimaryFirst | Constraint::ConditionalTransfer => self.cover(from, region),
            Constraint::Exclusive | Constraint::Mirror | Constraint::None => Ok(()),
        }
    }
}

/// Adds one to the jurisdictions, which are in order, each once.
fn insert(all: &mut Jurisdictions, one: Jurisdiction) {
    if let Err(place) = all.binary_search(&one) {
        all.insert(place, one);
    }
}
