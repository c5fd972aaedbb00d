//! What is answered about moves between regions.

use std::sync::Arc;

use terms::{Reason, RegionId, SubjectId};

use crate::store::types::{LogIndex, Minute};

/// What has become of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArrivedState {
    /// Records may still come.
    Staging,
    /// The subject is served here.
    Adopted,
    /// There is no such arrival.
    None,
}

/// How far an arrival is.
pub(crate) struct Arrived {
    pub(crate) state: ArrivedState,
    /// As the source has said it.
    pub(crate) after: Vec<u8>,
    /// Heads that have arrived.
    pub(crate) heads: u64,
    /// The MOVE_IN entry with which it began: origin and index.
    pub(crate) began: Option<(Arc<str>, LogIndex)>,
    /// Of all that has arrived. None: it was not asked for.
    pub(crate) digest: Option<[u8; 32]>,
}

impl Arrived {
    /// One of which nothing else is to be said.
    pub(crate) fn of(state: ArrivedState) -> Self {
        Self { state, after: Vec::new(), heads: 0, began: None, digest: None }
    }
}

/// What has become of a move from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MovedState {
    Copying,
    Switching,
    Done,
    Cancelling,
    Cancelled,
}

/// A move from here, as its caller sees it.
pub(crate) struct Moved {
    pub(crate) subject: SubjectId,
    pub(crate) to: RegionId,
    pub(crate) request_id: [u8; 16],
    pub(crate) began: Option<Minute>,
    pub(crate) ended: Option<Minute>,
    pub(crate) state: MovedState,
    /// Heads that have been copied, and those that there are.
    pub(crate) copied: u64,
    pub(crate) heads: u64,
    /// Why the other region has refused it.
    pub(crate) refused: Option<Reason>,
}
