//! What a session asks of the committer, and what comes back.

use std::sync::Arc;

use atlas::{Country, Findings};
use ledger::entry::Caller;
use link::session::FromShard;
use terms::{Collection, Fault};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::OwnedPermit;
use tokio::time::Instant;
use wire::session as proto;
use zeroize::Zeroizing;

use crate::prover::Prover;
use crate::record::{Address, SealedBody};
use crate::rows::{Owner, Tag};
use crate::seal::{KEY_BYTES, NONCE_BYTES};

/// One write on its way to the committer.
pub(crate) struct Op {
    pub(crate) reply: ReplySlot,
    /// Past it, nothing is done any more. Once committed, nothing is taken back.
    pub(crate) deadline: Instant,
    pub(crate) caller: Arc<Caller>,
    pub(crate) tenant_tag: Tag,
    /// Where the gateway stands through which it came.
    pub(crate) gateway: Country,
    /// The number of the map under which the gateway sent it; 0: it does not say.
    pub(crate) map_epoch: u64,
    pub(crate) action: Action,
}

/// What to do.
pub(crate) enum Action {
    Put(Box<Put>),
    Delete(Box<Delete>),
    Create(Box<Create>),
    /// A read of a collection whose reads are logged: answered once its entry is durable.
    Read(Box<Read>),
}

impl Action {
    /// Bytes that it holds in memory, roughly.
    pub(crate) const fn bytes(&self) -> usize {
        match self {
            Self::Put(put) => 512 + put.content.sealed.bytes(),
            Self::Delete(_) | Self::Create(_) => 512,
            Self::Read(read) => 512 + read.found.body.len(),
        }
    }

    /// The collection that it is about.
    pub(crate) fn collection(&self) -> &Collection {
        match self {
            Self::Put(put) => &put.address.collection,
            Self::Delete(delete) => &delete.address.collection,
            Self::Create(create) => &create.collection,
            Self::Read(read) => &read.collection,
        }
    }

    /// The row that must be read to decide on it.
    pub(crate) fn record(&self) -> Option<&Address> {
        match self {
            Self::Put(put) => Some(&put.address),
            Self::Delete(delete) => Some(&delete.address),
            Self::Create(_) | Self::Read(_) => None,
        }
    }

    /// The subject whose row must be read to decide on it.
    pub(crate) fn owner(&self) -> Option<&Owner> {
        match self {
            Self::Put(put) => Some(&put.address.owner),
            Self::Delete(delete) => Some(&delete.address.owner),
            Self::Create(create) => Some(&create.owner),
            Self::Read(_) => None,
        }
    }
}

/// The id of a request, and a keyed hash of all of it.
#[derive(Clone, Copy)]
pub(crate) struct Request {
    pub(crate) id: [u8; 16],
    pub(crate) fingerprint: Tag,
}

/// On which state a write insists.
#[derive(Default)]
pub(crate) struct Condition {
    pub(crate) if_version: Option<u64>,
    pub(crate) etag: Option<String>,
}

/// Findings that came with a request, and the versions of the data they were made with.
pub(crate) struct Given {
    pub(crate) findings: Findings,
    pub(crate) phone_data: Option<String>,
    pub(crate) ip_data: Option<String>,
}

/// A body, sealed already, and all that chance has to give to the write.
pub(crate) struct Content {
    pub(crate) opening: [u8; 32],
    pub(crate) digest: [u8; 32],
    pub(crate) body_key: Zeroizing<[u8; KEY_BYTES]>,
    pub(crate) nonce: [u8; NONCE_BYTES],
    pub(crate) sealed: SealedBody,
}

impl Content {
    /// What a deletion has in place of content.
    pub(crate) fn none(opening: [u8; 32], nonce: [u8; NONCE_BYTES]) -> Self {
        Self {
            opening,
            digest: ledger::statement::content_digest(&opening, &[]),
            body_key: Zeroizing::new([0; KEY_BYTES]),
            nonce,
            sealed: SealedBody::none(),
        }
    }
}

pub(crate) struct Put {
    pub(crate) address: Address,
    pub(crate) request: Request,
    pub(crate) condition: Condition,
    pub(crate) create_subject: bool,
    pub(crate) given: Option<Given>,
    pub(crate) validate_only: bool,
    pub(crate) content: Content,
    /// Bytes of the body, for the limit of the map in force at the commit.
    pub(crate) body_bytes: usize,
}

pub(crate) struct Delete {
    pub(crate) address: Address,
    pub(crate) request: Request,
    pub(crate) condition: Condition,
    pub(crate) validate_only: bool,
    pub(crate) content: Content,
}

pub(crate) struct Create {
    pub(crate) owner: Owner,
    pub(crate) collection: Collection,
    pub(crate) request: Request,
    pub(crate) given: Option<Given>,
    pub(crate) validate_only: bool,
    pub(crate) opening: [u8; 32],
}

pub(crate) struct Read {
    pub(crate) collection: Collection,
    /// The entry of the write that is read.
    pub(crate) entry: crate::record::EntryAt,
    pub(crate) found: proto::Found,
    /// The number of the map under which it was let out.
    pub(crate) judged: u64,
}

/// The place that is kept for a reply on its session, so that an answer never waits.
pub(crate) struct ReplySlot {
    pub(crate) id: u64,
    pub(crate) permit: OwnedPermit<FromShard>,
    /// Room for a record among the answers that wait on the session; taken before it is sent.
    pub(crate) room: Option<OwnedSemaphorePermit>,
    /// Where a write's answer goes that is to bear a proof.
    pub(crate) prover: Option<Prover>,
}

impl ReplySlot {
    pub(crate) fn send(mut self, outcome: Outcome) {
        let outcome = match (outcome, self.prover.take()) {
            // It comes back when a checkpoint has signed its entry.
            (Outcome::Written(written), Some(prover)) if !written.entry.is_empty() => {
                return prover.take(self, written);
            }
            (outcome, _) => outcome,
        };
        let outcome = match outcome {
            Outcome::Written(written) => proto::reply::Outcome::Written(written),
            Outcome::Found(found) => {
                // Given back when the record leaves the session's queue.
                self.room.into_iter().for_each(OwnedSemaphorePermit::forget);
                proto::reply::Outcome::Found(found)
            }
            Outcome::Told(told) => {
                if matches!(told, proto::reply::Outcome::Map(_)) {
                    // As for a record.
                    self.room.into_iter().for_each(OwnedSemaphorePermit::forget);
                }
                told
            }
            Outcome::Fault(fault) => proto::reply::Outcome::Fault(link::session::to_wire(&fault)),
        };
        self.permit.send(FromShard::Reply(proto::Reply { id: self.id, outcome: Some(outcome) }));
    }
}

/// What becomes of an op.
pub(crate) enum Outcome {
    Written(proto::Written),
    Found(proto::Found),
    /// An answer about maps.
    Told(proto::reply::Outcome),
    Fault(Fault),
}

impl From<Fault> for Outcome {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}
