//! What a region holds of a subject, without its records.

use std::sync::Arc;

use atlas::Findings;
use bytes::Bytes;
use terms::{Collection, RegionId, UnixMillis};

use crate::policy::erasure_terms::DueTerm;
use crate::policy::rulings::Ruled;
use crate::store::accesses::Accesses;
use crate::store::erasure::Erasure;
use crate::store::subject::{Blocked, Status, Subject};
use crate::store::tombstone::Tombstone;
use crate::store::types::Minute;

/// What is held of a subject. It has no `Debug`.
pub(crate) struct Held {
    pub(crate) state: HeldState,
    /// None of a subject that is not served.
    pub(crate) findings: Option<Findings>,
    pub(crate) collections: Vec<HeldCollection>,
    /// Those that were erased, and when.
    pub(crate) erased: Vec<(Collection, Minute)>,
    /// Who read its records of collections whose reads are logged.
    pub(crate) accesses: Accesses,
    pub(crate) created: Minute,
    /// Under which the subject's key is wrapped; 0: it is destroyed.
    pub(crate) generation: u32,
    /// When its keys were replaced last.
    pub(crate) rotated: Option<Minute>,
    /// The region that was chosen for it. None of a subject that is not served.
    pub(crate) chosen: Option<RegionId>,
    /// Of a sealed export: shows which collections follow.
    pub(crate) seal: Bytes,
}

/// The state of a subject, as callers are told.
pub(crate) enum HeldState {
    Live,
    Blocked(Blocked),
    Moving(RegionId),
    Moved(RegionId),
    Arriving,
    Erasing,
    Erased(Minute),
}

/// What is held of a subject in one collection.
pub(crate) struct HeldCollection {
    pub(crate) name: Collection,
    /// None: the map in force gives its records no place here.
    pub(crate) ruling: Option<Arc<Ruled>>,
    pub(crate) since: Minute,
    pub(crate) mirrors: Vec<RegionId>,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    /// When the next of them expires.
    pub(crate) expires: Option<UnixMillis>,
    /// By when laws would want them erased, if the ground arose now.
    pub(crate) terms: Vec<DueTerm>,
}

impl Held {
    /// What is left of a subject that was erased, or has moved.
    pub(crate) fn erased(stone: &Tombstone) -> Self {
        let state = match &stone.moved {
            Some(to) => HeldState::Moved(to.clone()),
            None => HeldState::Erased(stone.by.minute),
        };
        Self::new(state, Minute(0), 0)
    }

    /// A subject, of which no collection has been looked at.
    pub(crate) fn of(subject: &Subject) -> Self {
        let state = match &subject.status {
            Status::Live => HeldState::Live,
            Status::Blocked(blocked) => HeldState::Blocked(*blocked),
            Status::Moving(of) => HeldState::Moving(of.to.clone()),
            Status::Left(left) => HeldState::Moving(left.of.to.clone()),
            Status::Arriving(_) => HeldState::Arriving,
            Status::Erasing(Erasure { .. }) => HeldState::Erasing,
        };
        let (created, generation) = (subject.created_by.minute, subject.generation());
        let rotated = subject.rotated.map(|rotated| rotated.by.minute);
        Self { rotated, ..Self::new(state, created, generation) }
    }

    fn new(state: HeldState, created: Minute, generation: u32) -> Self {
        Self {
            state,
            findings: None,
            collections: Vec::new(),
            erased: Vec::new(),
            accesses: Accesses::default(),
            created,
            generation,
            rotated: None,
            chosen: None,
            seal: Bytes::new(),
        }
    }
}
