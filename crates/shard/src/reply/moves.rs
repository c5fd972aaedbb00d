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
    /// Chunks that have arrived of the attachment that comes next.
    pub(crate) chunks: u32,
    /// The MOVE_IN entry with which it began: origin and index.
    pub(crate) began: Option<(Arc<str>, LogIndex)>,
    /// Of all that has arrived. None: it was not asked for.
    pub(crate) digest: Option<[u8; 32]>,
    /// The entry of the adoption, with its proof. None: it was not asked for.
    pub(crate) taken: Option<Box<TakenIn>>,
}

/// The MOVE_IN entry with which a subject was adopted, and the proof that the log has it.
pub(crate) struct TakenIn {
    pub(crate) origin: String,
    pub(crate) index: u64,
    pub(crate) entry: Vec<u8>,
    /// A C2SP tlog-proof, and the key of the log.
    pub(crate) proof: String,
    pub(crate) vkey: String,
}

impl Arrived {
    /// One of which nothing else is to be said.
    pub(crate) fn of(state: ArrivedState) -> Self {
        Self {
            state,
            after: Vec::new(),
            heads: 0,
            chunks: 0,
            began: None,
            digest: None,
            taken: None,
        }
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

/// The proof of a move to here: the entries of both logs. What their commitments open to names a person.
pub(crate) struct MoveProven {
    /// Of all that moved.
    pub(crate) digest: [u8; 32],
    /// The entry that gave it away.
    pub(crate) out: ProvenEntry,
    /// The entry that took it.
    pub(crate) into: ProvenEntry,
}

/// An entry of a log, what it commits to, and the proof that the log has it.
pub(crate) struct ProvenEntry {
    pub(crate) origin: String,
    pub(crate) index: u64,
    pub(crate) entry: Vec<u8>,
    pub(crate) opening: [u8; 32],
    pub(crate) statement: Vec<u8>,
    /// A C2SP tlog-proof.
    pub(crate) proof: String,
}
