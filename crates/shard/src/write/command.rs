//! What a session asks of the committer, and what comes back.

use std::sync::Arc;

use atlas::{Country, Findings};
use ledger::entry::Caller;
use link::session::FromShard;
use terms::{Collection, Reason, Rejection};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::OwnedPermit;
use tokio::time::Instant;
use wire::session as proto;
use zeroize::Zeroizing;

use crate::log::proof_waiter::ProofWaiter;
use crate::server::answer_room::split;
use crate::store::aead::{KEY_BYTES, NONCE_BYTES};
use crate::store::keys::Owner;
use crate::store::record::{Address, SealedBody};
use crate::store::types::{EntryAt, Fingerprint, TenantTag};

/// One write on its way to the committer.
pub(crate) struct Op {
    pub(crate) reply: ReplySlot,
    /// Past it, nothing is done any more. Once committed, nothing is taken back.
    pub(crate) deadline: Instant,
    pub(crate) caller: Arc<Caller>,
    pub(crate) tenant_tag: TenantTag,
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
    pub(crate) fingerprint: Fingerprint,
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
    pub(crate) entry: EntryAt,
    pub(crate) found: proto::Found,
    /// The number of the map under which it was let out.
    pub(crate) judged: u64,
}

/// The place that is kept for a reply on its session, so that an answer never waits. Dropped
/// without an answer, it gives one itself.
pub(crate) struct ReplySlot {
    id: u64,
    /// None: it is answered, or on its way with somebody else.
    permit: Option<OwnedPermit<FromShard>>,
    /// Room for a record among the answers that wait on the session; taken before it is read.
    pub(crate) room: Option<OwnedSemaphorePermit>,
    /// Where a write's answer goes that is to bear a proof.
    pub(crate) prover: Option<ProofWaiter>,
    /// Whether a commit that may hold what was asked for has begun.
    begun: bool,
}

impl ReplySlot {
    pub(crate) const fn new(id: u64, permit: OwnedPermit<FromShard>) -> Self {
        Self { id, permit: Some(permit), room: None, prover: None, begun: false }
    }

    /// A commit begins that may hold what was asked for: from here on, only an answer tells.
    pub(crate) const fn begin(&mut self) {
        self.begun = true;
    }

    /// Gives back the room beyond what so many bytes take.
    pub(crate) fn fit_room(&mut self, bytes: usize) {
        self.room = self.room.take().and_then(|mut room| split(&mut room, bytes));
    }

    pub(crate) fn send(mut self, outcome: Outcome) {
        let outcome = match (outcome, self.prover.take()) {
            // It comes back when a checkpoint has signed its entry.
            (Outcome::Written(written), Some(prover)) if !written.entry.is_empty() => {
                return prover.take(self, written);
            }
            (outcome, _) => outcome,
        };
        let answer = match outcome {
            Outcome::Written(written) => proto::reply::Outcome::Written(written),
            Outcome::Found(found) => proto::reply::Outcome::Found(found),
            Outcome::Told(told) => told,
            Outcome::Rejected(fault) => {
                // It takes no room.
                self.room = None;
                proto::reply::Outcome::Fault(link::session::to_wire(&fault))
            }
        };
        self.answer(answer);
    }

    fn answer(&mut self, outcome: proto::reply::Outcome) {
        let Some(permit) = self.permit.take() else { return };
        let reply = proto::Reply { id: self.id, outcome: Some(outcome) };
        permit.send(FromShard::Reply(reply, self.room.take()));
    }
}

impl Drop for ReplySlot {
    /// What was asked for was not done, unless its commit had begun.
    fn drop(&mut self) {
        if self.permit.is_none() {
            return;
        }
        self.room = None;
        let reason = if self.begun {
            Reason::WriteOutcomeUnknown
        } else if std::thread::panicking() {
            Reason::Internal
        } else {
            Reason::ShuttingDown
        };
        let fault = link::session::to_wire(&Rejection::new(reason));
        self.answer(proto::reply::Outcome::Fault(fault));
    }
}

/// What becomes of an op.
pub(crate) enum Outcome {
    Written(proto::Written),
    Found(proto::Found),
    /// An answer about maps.
    Told(proto::reply::Outcome),
    Rejected(Rejection),
}

impl From<Rejection> for Outcome {
    fn from(fault: Rejection) -> Self {
        Self::Rejected(fault)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::server::answer_room::AnswerRoom;

    /// A slot, and where its answer arrives.
    pub(crate) fn slot(id: u64) -> (ReplySlot, mpsc::Receiver<FromShard>) {
        let (sender, receiver) = mpsc::channel(1);
        (ReplySlot::new(id, sender.try_reserve_owned().unwrap()), receiver)
    }

    /// The reason of the answer that has arrived; empty: it is no refusal.
    pub(crate) fn reason(answers: &mut mpsc::Receiver<FromShard>) -> String {
        let Ok(FromShard::Reply(reply, _)) = answers.try_recv() else { return "none".to_owned() };
        match reply.outcome {
            Some(proto::reply::Outcome::Fault(fault)) => fault.reason,
            _ => String::new(),
        }
    }

    #[tokio::test]
    async fn a_slot_that_is_dropped_answers_what_is_known() {
        let (unanswered, mut answers) = slot(1);
        drop(unanswered);
        assert_eq!(reason(&mut answers), "SHUTTING_DOWN");
        let (mut begun, mut answers) = slot(2);
        begun.begin();
        drop(begun);
        assert_eq!(reason(&mut answers), "WRITE_OUTCOME_UNKNOWN");
        let (lost, mut answers) = slot(3);
        let panics = std::thread::spawn(move || {
            let _lost = lost;
            std::panic::resume_unwind(Box::new("as the test wants it"));
        });
        assert!(panics.join().is_err());
        assert_eq!(reason(&mut answers), "INTERNAL");
        let (mut begun, mut answers) = slot(4);
        begun.begin();
        begun.send(Outcome::Written(proto::Written::default()));
        assert_eq!(reason(&mut answers), "");
        assert!(answers.try_recv().is_err(), "it answers once");
    }

    #[tokio::test]
    async fn room_goes_with_the_answer_and_not_with_a_refusal() {
        let room = AnswerRoom::new();
        let found =
            || Outcome::Found(proto::Found { body: vec![0; 900].into(), ..Default::default() });
        // All of it: the next can only have it if every part has come back.
        let all = terms::limits::SESSION_ANSWER_BYTES_MAX;
        let (mut reply, mut answers) = slot(1);
        reply.room = room.take(all).await;
        reply.fit_room(900);
        let rest = room.take(all - (1 << 10) - 1).await.unwrap();
        reply.send(found());
        drop(rest);
        assert!(answers.try_recv().is_ok());
        for answered in [true, false] {
            let (mut reply, _answers) = slot(2);
            reply.room = room.take(all).await;
            if answered {
                reply.send(Rejection::new(Reason::ShardBusy).into());
            } else {
                drop(reply);
            }
            // The refusal still waits in its queue.
            drop(room.take(all).await.unwrap());
        }
    }
}
