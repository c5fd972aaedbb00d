//! Answers: what becomes of a call, and the place that is kept for it on its way back. What they are
//! on the wire is the server's to say.

pub(crate) mod answer_room;
mod copies;
mod held;
mod moves;
mod page;

use std::sync::Arc;

use atlas::{Jurisdiction, SignedMap};
use bytes::Bytes;
use ledger::entry::MapRef;
use terms::{Collection, Reason, RegionId, Rejection, SlotSet, UnixMillis};
use tokio::sync::OwnedSemaphorePermit;

use crate::policy::erasure_terms::DueTerm;
use crate::policy::map_impact::Impact;
use crate::policy::rulings::{Ruled, Verdict};
use crate::reply::answer_room::split;
use crate::store::claims::Ticket;
use crate::store::index_state::IndexesBuilding;
use crate::store::participants::Participant;
use crate::store::region_maps::Taken;
use crate::store::slot_move::ComingState;
use crate::store::types::{EpochNumber, LogIndex, Version};

pub(crate) use copies::{Copied, CopiedState, CopiesHeld, FoundCopy};
pub(crate) use held::{Held, HeldCollection, HeldState};
pub(crate) use moves::{
    Arrived, ArrivedState, MoveProven, Moved, MovedState, ProvenEntry, TakenIn,
};
pub(crate) use page::{Listed, Page, weight};

/// What becomes of a call.
pub(crate) enum Outcome {
    Written(Written),
    Found(Found),
    /// A page of records, or their number.
    Listed(Page),
    /// The map that was fetched. None: the shard has not taken it.
    Map(Option<SignedMap>),
    /// The map that was offered is in force.
    MapTaken(MapRef),
    /// Maps that the shard has taken, with their numbers, and whether more may follow.
    History {
        maps: Vec<(EpochNumber, Taken)>,
        more: bool,
    },
    Impact(Impact),
    /// What is held of a subject.
    Held(Box<Held>),
    /// How many bytes of an upload are stored, and of them checked for its end.
    Uploading {
        stored: u64,
        checked: u64,
    },
    Located(Located),
    Claimed(Claimed),
    /// The write would create a subject whose id the other regions must be asked for first.
    AskFirst(Ticket),
    /// The locate key. None: the map in force lets no tenant ask.
    LocateKey(Option<Bytes>),
    /// The region's transit key, as it is published.
    TransitKey(String),
    Indexes(IndexesBuilding),
    /// The slots of which the store has the ownership row.
    Slots(Box<SlotSet>),
    /// How far a slot is that comes to here.
    SlotStand(Box<SlotStand>),
    /// What binds a person.
    Binding(Binding),
    /// How far a move to here is.
    Arrived(Arrived),
    /// What has become of a copy.
    Copied(Copied),
    /// Copies of records of a shard that asks.
    CopiesHeld(Box<CopiesHeld>),
    /// Moves from here, and whether there are more.
    Moves(Vec<Moved>, bool),
    /// The proof of a move to here.
    MoveProof(Box<MoveProven>),
    Rejected(Rejection),
}

/// How far a slot is that comes to here.
#[derive(Default)]
pub(crate) struct SlotStand {
    pub(crate) state: SlotState,
    /// The key of the row that came last.
    pub(crate) after: Vec<u8>,
    /// The log and index of the entry with which it began.
    pub(crate) origin: String,
    pub(crate) index: u64,
    /// Whether the store has the ownership row.
    pub(crate) held: bool,
    /// Of what has come, if that was asked for.
    pub(crate) digest: Option<[u8; 32]>,
}

/// The state of a slot that comes to here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum SlotState {
    /// Nothing is known of that move.
    #[default]
    None,
    Staging,
    Installing,
    Adopted,
    Dropped,
}

impl SlotState {
    /// That of a stored row.
    pub(crate) const fn of(state: &ComingState) -> Self {
        match state {
            ComingState::Staging(_) => Self::Staging,
            ComingState::Installing(_) => Self::Installing,
            ComingState::Adopted => Self::Adopted,
            ComingState::Dropped => Self::Dropped,
        }
    }
}

/// Which jurisdictions bind a person in a collection.
pub(crate) struct Binding {
    pub(crate) jurisdictions: Vec<Jurisdiction>,
    /// The map under which that was ruled.
    pub(crate) judged: EpochNumber,
}

/// Where the shard holds a subject, as far as the caller may know.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) collections: Vec<Collection>,
    /// A law may keep the shard from telling, whether it holds the subject or not.
    pub(crate) withheld: bool,
}

/// What becomes of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// There is no such subject, and there will be none for a few seconds.
    Free,
    Held,
    Contended,
}

impl From<Rejection> for Outcome {
    fn from(fault: Rejection) -> Self {
        Self::Rejected(fault)
    }
}

/// A write that is durable, or was so already; or one that would have been done.
#[derive(Default)]
pub(crate) struct Written {
    pub(crate) version: Version,
    /// Empty: the record is deleted, or none was written.
    pub(crate) etag: String,
    pub(crate) replayed: bool,
    pub(crate) index: LogIndex,
    /// The origin of the entry's log. None: it was a dry run.
    pub(crate) origin: Option<Arc<str>>,
    /// The receipt. None: nothing was written, or its opening no longer exists.
    pub(crate) receipt: Option<Receipt>,
    /// The ruling that stands. None: the map in force gives the record no place here.
    pub(crate) ruling: Option<Arc<Ruled>>,
    /// The proof that the log has the entry, if the call asked for it.
    pub(crate) proof: Option<String>,
    /// Records that an erasure has destroyed.
    pub(crate) records: u64,
    /// An erasure that has to go on.
    pub(crate) unfinished: bool,
    /// By when laws want the erasure done.
    pub(crate) terms: Vec<DueTerm>,
    /// The regions that may still have a copy of what was deleted.
    pub(crate) copied: Vec<RegionId>,
    /// What a reassessment gave.
    pub(crate) reassessed: Option<Box<Reassessed>>,
    /// What is chosen for the subject, if that was asked for.
    pub(crate) choice: Option<Box<Chosen>>,
}

/// What is chosen and proposed for a subject, and what can be.
pub(crate) struct Chosen {
    pub(crate) chosen: Option<RegionId>,
    pub(crate) proposed: Option<RegionId>,
    /// The regions that the rules leave open.
    pub(crate) open: Vec<RegionId>,
}

/// What the rules give for a subject that is reassessed.
pub(crate) struct Reassessed {
    /// By collection.
    pub(crate) verdicts: Vec<(Collection, Verdict)>,
    /// All of it stays here.
    pub(crate) stands: bool,
}

/// What opens an entry.
pub(crate) struct Receipt {
    pub(crate) entry: Bytes,
    pub(crate) opening: [u8; 32],
    pub(crate) statement: Bytes,
}

/// A record that was read.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) version: Version,
    pub(crate) etag: String,
    /// When it expires.
    pub(crate) expires: Option<UnixMillis>,
    pub(crate) body: Bytes,
    /// As [`atlas::RecordAttributes::encode`] has them.
    pub(crate) attributes: Bytes,
    /// The people that it names besides its owner.
    pub(crate) participants: Vec<Participant>,
    /// Bytes of the whole body, if a part was asked for.
    pub(crate) size: u64,
    /// SHA-256 of the whole, if it is an attachment and a part was asked for.
    pub(crate) sha256: Bytes,
    /// The body is sealed to the question.
    pub(crate) sealed: bool,
    /// It is a copy.
    pub(crate) copy: Option<FoundCopy>,
}

/// Where an answer goes, with the room that it takes among those that wait.
type Sink = Box<dyn FnOnce(Outcome, Option<OwnedSemaphorePermit>) + Send>;

/// The place that is kept for a reply on its session, so that an answer never waits. Dropped
/// without an answer, it gives one itself.
pub(crate) struct ReplySlot {
    /// None: it is answered.
    sink: Option<Sink>,
    /// Room for a record among the answers that wait on the session; taken before it is read.
    pub(crate) room: Option<OwnedSemaphorePermit>,
    /// Whether a commit that may hold what was asked for has begun.
    begun: bool,
}

impl ReplySlot {
    pub(crate) fn new(
        sink: impl FnOnce(Outcome, Option<OwnedSemaphorePermit>) + Send + 'static,
    ) -> Self {
        Self { sink: Some(Box::new(sink)), room: None, begun: false }
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
        self.answer(outcome);
    }

    fn answer(&mut self, outcome: Outcome) {
        let Some(sink) = self.sink.take() else { return };
        // A refusal takes no room.
        let room = self.room.take().filter(|_| !matches!(outcome, Outcome::Rejected(_)));
        sink(outcome, room);
    }
}

impl Drop for ReplySlot {
    /// What was asked for was not done, unless its commit had begun.
    fn drop(&mut self) {
        let reason = if self.begun {
            Reason::WriteOutcomeUnknown
        } else if std::thread::panicking() {
            Reason::Internal
        } else {
            Reason::ShuttingDown
        };
        self.answer(Rejection::new(reason).into());
    }
}

/// What is answered when too much waits.
pub(crate) fn busy() -> Outcome {
    Rejection::new(Reason::ShardBusy).into()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;
    use crate::reply::answer_room::AnswerRoom;

    /// An answer as it arrives: with its room.
    pub(crate) type Arrived = (Outcome, Option<OwnedSemaphorePermit>);

    /// A slot, and where its answer arrives.
    pub(crate) fn slot() -> (ReplySlot, Receiver<Arrived>) {
        let (sender, receiver) = channel();
        let sink = move |outcome, room| sender.send((outcome, room)).unwrap_or_default();
        (ReplySlot::new(sink), receiver)
    }

    /// What an outcome says: a reason, or what was done.
    pub(crate) fn said(outcome: &Outcome) -> &'static str {
        match outcome {
            Outcome::Written(_) => "written",
            Outcome::Found(_) => "found",
            Outcome::Rejected(fault) => fault.reason.as_str(),
            Outcome::Listed(_)
            | Outcome::Map(_)
            | Outcome::MapTaken(_)
            | Outcome::History { .. }
            | Outcome::Held(_)
            | Outcome::Impact(_) => "something else",
            Outcome::Uploading { .. } => "uploading",
            Outcome::Located(_) | Outcome::LocateKey(_) => "something else",
            Outcome::TransitKey(_) | Outcome::Slots(_) => "something else",
            Outcome::Indexes(_) | Outcome::Binding(_) => "something else",
            Outcome::Claimed(Claimed::Free) => "free",
            Outcome::Claimed(Claimed::Held) => "held",
            Outcome::Claimed(Claimed::Contended) => "contended",
            Outcome::AskFirst(_) => "ask first",
            Outcome::Arrived(_) | Outcome::Moves(..) | Outcome::MoveProof(_) => "something else",
            Outcome::Copied(_) | Outcome::CopiesHeld(_) => "something else",
            Outcome::SlotStand(_) => "something else",
        }
    }

    /// What the answer that has arrived says.
    pub(crate) fn answered(answers: &Receiver<Arrived>) -> &'static str {
        answers.try_recv().map_or("nothing", |(outcome, _)| said(&outcome))
    }

    #[test]
    fn a_slot_that_is_dropped_answers_what_is_known() {
        let (unanswered, answers) = slot();
        drop(unanswered);
        assert_eq!(answered(&answers), "SHUTTING_DOWN");
        let (mut begun, answers) = slot();
        begun.begin();
        drop(begun);
        assert_eq!(answered(&answers), "WRITE_OUTCOME_UNKNOWN");
        let (lost, answers) = slot();
        let panics = std::thread::spawn(move || {
            let _lost = lost;
            std::panic::resume_unwind(Box::new("as the test wants it"));
        });
        assert!(panics.join().is_err());
        assert_eq!(answered(&answers), "INTERNAL");
        let (mut begun, answers) = slot();
        begun.begin();
        begun.send(Outcome::Written(Written::default()));
        assert_eq!(answered(&answers), "written");
        assert_eq!(answered(&answers), "nothing", "it answers once");
    }

    #[tokio::test]
    async fn room_goes_with_the_answer_and_not_with_a_refusal() {
        let room = AnswerRoom::new();
        let found = || Outcome::Found(Found { body: vec![0; 900].into(), ..Default::default() });
        // All of it: the next can only have it if every part has come back.
        let all = answer_room::OTHERS_KIB << 10;
        let (mut reply, answers) = slot();
        reply.room = room.take(all).await;
        reply.fit_room(900);
        let rest = room.take(all - (1 << 10) - 1).await.unwrap();
        reply.send(found());
        drop(rest);
        assert!(answers.try_recv().is_ok());
        for answered in [true, false] {
            let (mut reply, _answers) = slot();
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
