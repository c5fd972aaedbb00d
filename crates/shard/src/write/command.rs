//! What is asked of the committer.

use atlas::{ErasureGround, RecordAttributes};
use bytes::Bytes;
use engine::Key;
use ledger::entry::MapRef;
use terms::{Collection, Reason, RegionId, Rejection, SlotSet, UnixMillis};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::Error;
use crate::log::begun_backup::BeginBackup;
use crate::log::rotation_request::Rotated;
use crate::policy::asker::Asker;
use crate::policy::standing_ruling::Given;
use crate::reply::{ReplySlot, busy};
use crate::store::aead::NONCE_BYTES;
use crate::store::index_state::WalkPlace;
use crate::store::indexed::AttributeChanges;
use crate::store::keyring::KeyChange;
use crate::store::keys::{Asked, Owner};
use crate::store::participants::Participant;
use crate::store::record::Address;
use crate::store::region_maps::Offered;
use crate::store::subject::Blocked;
use crate::store::types::{EpochNumber, Minute};
pub(crate) use crate::write::content::Content;
pub(crate) use crate::write::copy_command::{CopyOut, CopyOutStep, TakeCopy, TakeCopyStep};
pub(crate) use crate::write::move_command::{Arrive, ArriveStep, Depart, DepartStep};
use crate::write::question::Question;
pub(crate) use crate::write::read_command::{Read, ReadAbout, ReadOf};
pub(crate) use crate::write::request::{Condition, Request, remembered};
pub(crate) use crate::write::ruling_command::{Adjudicate, Reassess};
use crate::write::seen::Seen;
pub(crate) use crate::write::slot_move_command::{SlotMove, SlotStep};
pub(crate) use crate::write::upload_command::{Basis, Begin, UploadStep, Uploaded, What};

/// One write on its way to the committer.
pub(crate) struct Op {
    pub(crate) reply: ReplySlot,
    /// Past it, nothing is done any more. Once committed, nothing is taken back.
    pub(crate) deadline: Instant,
    pub(crate) asker: Asker,
    /// The map under which the gateway sent it. None: the gateway does not say, or the shard itself
    /// sent it.
    pub(crate) map_epoch: Option<EpochNumber>,
    pub(crate) action: Action,
}

/// What to do.
pub(crate) enum Action {
    Put(Box<Put>),
    Delete(Box<Delete>),
    Create(Box<Create>),
    /// Changes when a live record expires, and nothing else of it.
    Touch(Box<Touch>),
    /// Changes the body of a live record, or some of its attributes.
    Patch(Box<Patch>),
    /// Deletes a record, if its time has come. The shard itself asks.
    Expire(Box<Address>),
    /// Erases a subject, and all that is known of it.
    Erase(Box<Erase>),
    /// Blocks a subject, or lifts the block.
    Block(Box<Block>),
    /// Replaces the keys of a subject, or goes on with that.
    RotateKey(Box<RotateKey>),
    /// A read of a collection whose reads are logged: answered once its entry is durable.
    Read(Box<Read>),
    /// One step of the upload of an attachment.
    Upload(Box<UploadStep>),
    /// Keeps a subject for another region, if there is none here.
    Claim(Box<Claim>),
    /// Makes the rulings of a subject again.
    Reassess(Box<Reassess>),
    /// Proposes or confirms the region of a subject.
    Adjudicate(Box<Adjudicate>),
    /// One step of the move of a subject to another region.
    Depart(Box<Depart>),
    /// One step of the move of a subject to here.
    Arrive(Box<Arrive>),
    /// One step about copies in another region.
    CopyOut(Box<CopyOut>),
    /// One step about copies of records of another region.
    TakeCopy(Box<TakeCopy>),
    /// One step of the move of a slot between two shards of the region.
    SlotMove(Box<SlotMove>),
}

impl Action {
    /// Bytes that it holds in memory, roughly.
    pub(crate) const fn bytes(&self) -> usize {
        match self {
            Self::Put(put) => 512 + put.content.sealed.bytes(),
            Self::Patch(patch) => match &patch.body {
                PatchedBody::New { content, .. } => 512 + content.sealed.bytes(),
                PatchedBody::Stays(_) => 512,
            },
            Self::Delete(_) | Self::Create(_) | Self::Touch(_) | Self::Expire(_) => 512,
            Self::Erase(_) | Self::Block(_) | Self::Claim(_) | Self::Reassess(_) => 512,
            Self::Depart(_) | Self::RotateKey(_) | Self::Adjudicate(_) | Self::CopyOut(_) => 512,
            Self::Arrive(arrive) => arrive.bytes,
            Self::TakeCopy(copy) => copy.bytes,
            Self::SlotMove(of) => of.bytes,
            Self::Read(read) => 512 + read.of.bytes(),
            Self::Upload(step) => 512 + step.what.bytes(),
        }
    }

    /// Whether it leaves more in the store than a deletion or a read.
    pub(crate) const fn fills(&self) -> bool {
        match self {
            Self::Put(_) | Self::Create(_) | Self::Touch(_) | Self::Patch(_) => true,
            Self::Reassess(_) | Self::Adjudicate(_) => true,
            // What the shard goes on with by itself leaves each row as large as it is.
            Self::RotateKey(rotate) => rotate.request.is_some(),
            Self::Depart(depart) => matches!(depart.step, DepartStep::Order(_)),
            // What ends an arrival takes no more: one whose source has given it away is served nowhere else.
            Self::Arrive(arrive) => match arrive.step {
                ArriveStep::Begin(_) | ArriveStep::Rows { .. } | ArriveStep::Chunk(_) => true,
                ArriveStep::Look | ArriveStep::Adopt(_) | ArriveStep::Drop => false,
                ArriveStep::Forget | ArriveStep::Reopen => false,
                ArriveStep::SayAgain(_) | ArriveStep::SayTaken(_) => false,
            },
            Self::CopyOut(of) => matches!(of.step, CopyOutStep::Send(_)),
            Self::TakeCopy(copy) => matches!(copy.step, TakeCopyStep::Record(_)),
            // What was given away is served nowhere else: it ends whatever room is left.
            Self::SlotMove(of) => matches!(of.step, SlotStep::Begin { .. } | SlotStep::Rows { .. }),
            Self::Delete(_) | Self::Expire(_) | Self::Read(_) => false,
            Self::Erase(_) | Self::Block(_) | Self::Claim(_) => false,
            Self::Upload(step) => !matches!(step.what, What::Discard { .. }),
        }
    }

    /// The record whose body it takes out of the row that was read for the group.
    pub(crate) const fn keeps_body_of(&self) -> Option<&Address> {
        match self {
            Self::Touch(touch) => Some(&touch.address),
            Self::Patch(patch) => match patch.body {
                PatchedBody::Stays(_) => Some(&patch.address),
                PatchedBody::New { .. } => None,
            },
            Self::Put(_)
            | Self::Delete(_)
            | Self::Create(_)
            | Self::Expire(_)
            | Self::Erase(_)
            | Self::Block(_)
            | Self::RotateKey(_)
            | Self::Read(_)
            | Self::Upload(_)
            | Self::Claim(_)
            | Self::Reassess(_)
            | Self::Adjudicate(_)
            | Self::Depart(_)
            | Self::Arrive(_)
            | Self::CopyOut(_)
            | Self::SlotMove(_)
            | Self::TakeCopy(_) => None,
        }
    }

    /// Whether it reads what is stored, and needs all of a commit's room.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are treated alike")]
    pub(crate) const fn goes_alone(&self) -> bool {
        match self {
            Self::Erase(_) | Self::Depart(_) | Self::Arrive(_) | Self::RotateKey(_) => true,
            Self::SlotMove(_) => true,
            // They look for copies of the subject.
            Self::Block(_) | Self::Reassess(_) => true,
            Self::CopyOut(of) => of.step.goes_alone(),
            Self::TakeCopy(copy) => copy.step.goes_alone(),
            _ => false,
        }
    }

    /// Whether it is done only while all that was erased before is noted outside the store.
    pub(crate) fn is_noted(&self) -> bool {
        let switches = |depart: &Depart| matches!(depart.step, DepartStep::Switch(_));
        matches!(self, Self::Erase(_)) || matches!(self, Self::Depart(depart) if switches(depart))
    }

    /// The collection that it is about. None: a subject, with all of its collections.
    pub(crate) fn collection(&self) -> Option<&Collection> {
        match self {
            Self::Put(put) => Some(&put.address.collection),
            Self::Delete(delete) => Some(&delete.address.collection),
            Self::Touch(touch) => Some(&touch.address.collection),
            Self::Patch(patch) => Some(&patch.address.collection),
            Self::Expire(address) => Some(&address.collection),
            Self::Create(create) => Some(&create.collection),
            Self::Read(read) => Some(&read.collection),
            Self::Upload(step) => Some(&step.address.collection),
            Self::Erase(erase) => erase.collection.as_ref(),
            Self::Block(_) | Self::Claim(_) | Self::Reassess(_) | Self::SlotMove(_) => None,
            Self::CopyOut(of) => Some(&of.address.collection),
            Self::TakeCopy(copy) => Some(&copy.collection),
            Self::Depart(_) | Self::Arrive(_) | Self::RotateKey(_) | Self::Adjudicate(_) => None,
        }
    }

    /// The row that must be read to decide on it.
    pub(crate) fn record(&self) -> Option<&Address> {
        match self {
            Self::Put(put) => Some(&put.address),
            Self::Delete(delete) => Some(&delete.address),
            Self::Touch(touch) => Some(&touch.address),
            Self::Patch(patch) => Some(&patch.address),
            Self::Expire(address) => Some(address),
            Self::Upload(step) => Some(&step.address),
            Self::Create(_) | Self::Read(_) | Self::Erase(_) | Self::Block(_) => None,
            Self::Claim(_) | Self::Reassess(_) | Self::Depart(_) | Self::Arrive(_) => None,
            Self::RotateKey(_) | Self::Adjudicate(_) | Self::SlotMove(_) => None,
            Self::CopyOut(of) => Some(&of.address),
            Self::TakeCopy(copy) => copy.step.copy(),
        }
    }

    /// The subject whose row must be read to decide on it.
    pub(crate) fn owner(&self) -> Option<&Owner> {
        match self {
            Self::Put(put) => Some(&put.address.owner),
            Self::Delete(delete) => Some(&delete.address.owner),
            Self::Touch(touch) => Some(&touch.address.owner),
            Self::Patch(patch) => Some(&patch.address.owner),
            Self::Expire(address) => Some(&address.owner),
            Self::Create(create) => Some(&create.owner),
            Self::Erase(erase) => Some(&erase.owner),
            Self::Block(block) => Some(&block.owner),
            Self::RotateKey(rotate) => Some(&rotate.owner),
            Self::Reassess(reassess) => Some(&reassess.owner),
            Self::Adjudicate(of) => Some(&of.owner),
            Self::Depart(depart) => Some(&depart.owner),
            Self::Arrive(arrive) => Some(&arrive.owner),
            Self::Upload(step) => Some(&step.address.owner),
            Self::Read(read) => read.about.as_ref().map(|about| &about.owner),
            Self::CopyOut(of) => Some(&of.address.owner),
            // A subject of which copies are here has no row because of them.
            Self::Claim(_) | Self::TakeCopy(_) | Self::SlotMove(_) => None,
        }
    }

    /// A further row that must be read to decide on it: of an upload, of a subject's accesses, or of a
    /// subject without its id.
    pub(crate) fn further_row(&self) -> Option<&Key> {
        match self {
            Self::Read(read) => read.about.as_ref().map(|about| &about.row),
            Self::Upload(step) => Some(&step.row),
            Self::Claim(claim) => Some(&claim.of.row),
            Self::CopyOut(of) => Some(&of.mark),
            Self::TakeCopy(copy) => Some(&copy.set),
            Self::Put(put) => put.uploaded.as_ref().map(|uploaded| &uploaded.row),
            Self::Delete(_)
            | Self::Create(_)
            | Self::Touch(_)
            | Self::Patch(_)
            | Self::Expire(_)
            | Self::Erase(_)
            | Self::Block(_)
            | Self::RotateKey(_)
            | Self::Reassess(_)
            | Self::Adjudicate(_)
            | Self::Depart(_)
            | Self::SlotMove(_)
            | Self::Arrive(_) => None,
        }
    }
}

pub(crate) struct Put {
    pub(crate) address: Address,
    pub(crate) request: Request,
    pub(crate) condition: Condition,
    pub(crate) create_subject: bool,
    /// Since when other regions were asked for the subject, if they were.
    pub(crate) asked: Bytes,
    pub(crate) given: Option<Given>,
    pub(crate) validate_only: bool,
    pub(crate) content: Content,
    /// Bytes of the body, for the limit of the map in force at the commit.
    pub(crate) body_bytes: usize,
    /// From then on the record is not read any more. None: it does not expire.
    pub(crate) expires: Option<UnixMillis>,
    pub(crate) attributes: RecordAttributes,
    /// Empty: those that the record names stay.
    pub(crate) participants: Vec<Participant>,
    /// The number of the map under which it was said what binds them.
    pub(crate) participants_epoch: EpochNumber,
    /// The upload that this put ends, whose chunks are its body. None: it has a body of its own.
    pub(crate) uploaded: Option<Box<Uploaded>>,
}

pub(crate) struct Touch {
    pub(crate) address: Address,
    pub(crate) request: Request,
    pub(crate) condition: Condition,
    pub(crate) validate_only: bool,
    /// As of a put.
    pub(crate) expires: Option<UnixMillis>,
    /// Of the head.
    pub(crate) nonce: [u8; NONCE_BYTES],
}

pub(crate) struct Patch {
    pub(crate) address: Address,
    pub(crate) request: Request,
    pub(crate) condition: Condition,
    pub(crate) validate_only: bool,
    pub(crate) body: PatchedBody,
    pub(crate) changes: AttributeChanges,
}

/// What a patch does to the body.
pub(crate) enum PatchedBody {
    /// The nonce of the head under which it stays.
    Stays([u8; NONCE_BYTES]),
    New {
        content: Content,
        /// As of a put.
        bytes: usize,
    },
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
    /// As of a put.
    pub(crate) asked: Bytes,
    pub(crate) given: Option<Given>,
    pub(crate) validate_only: bool,
    pub(crate) opening: [u8; 32],
}

/// A claim of another region to a subject: it is about to create it.
pub(crate) struct Claim {
    pub(crate) of: Asked,
    pub(crate) region: RegionId,
    pub(crate) validate_only: bool,
}

pub(crate) struct Erase {
    pub(crate) owner: Owner,
    /// None: the whole subject.
    pub(crate) collection: Option<Collection>,
    /// None: the shard asks itself, to do what is due.
    pub(crate) request: Option<Request>,
    pub(crate) reason: String,
    /// By when a law wants it.
    pub(crate) deadline: Option<Minute>,
    /// On which ground the data must go.
    pub(crate) ground: Option<ErasureGround>,
    /// When it arose. None: now.
    pub(crate) arose: Option<UnixMillis>,
    pub(crate) validate_only: bool,
    /// It was erased once, and a restore has brought it back: its status says nothing.
    pub(crate) again: bool,
    /// Where it is now, if it was not erased but had moved away.
    pub(crate) moved: Option<RegionId>,
    pub(crate) opening: [u8; 32],
}

pub(crate) struct Block {
    pub(crate) owner: Owner,
    /// None: it is lifted.
    pub(crate) blocked: Option<Blocked>,
    pub(crate) reason: String,
    pub(crate) validate_only: bool,
    pub(crate) opening: [u8; 32],
}

pub(crate) struct RotateKey {
    pub(crate) owner: Owner,
    /// None: the shard asks itself, to go on.
    pub(crate) request: Option<Request>,
    pub(crate) reason: String,
    pub(crate) validate_only: bool,
    pub(crate) opening: [u8; 32],
}

/// What is a commit of its own.
pub(crate) enum Errand {
    /// Take a map.
    Map(MapOp),
    /// Write down that a caller asked, then answer.
    Note(Box<Question>),
    /// Remove rows of the change feed, of which the last is the newest.
    SweepFeed(Vec<Key>, oneshot::Sender<()>),
    /// Delete rows of attachments that are gone.
    Clear(Vec<Key>, oneshot::Sender<()>),
    /// Delete some of what is left of copies that were dropped, by the key of their set.
    ClearCopies(Key, oneshot::Sender<()>),
    /// End the period of the log, and begin the next.
    Rotate(oneshot::Sender<Result<Rotated, Error>>),
    /// Change the region's keys, or what is wrapped under them.
    Keys(KeyWork, oneshot::Sender<Result<(), Error>>),
    /// Build indexes of some more records. The answer: whether the walk can go on now.
    Index(IndexStep, oneshot::Sender<Result<bool, Error>>),
    /// Begin a backup.
    Backup(BeginBackup),
    /// Note erasures that could not be noted.
    NoteErasures,
    /// Tell people that a page of a collection had their records.
    NoteSeen(Box<Seen>, oneshot::Sender<Result<(), Rejection>>),
    /// Serve these slots: no other shard of the region has them.
    ConfirmSlots(SlotSet),
}

/// What is done about the region's keys.
pub(crate) enum KeyWork {
    Change(KeyChange),
    /// Wrap these rows under the current generation.
    Rewrap(Wrapped, Vec<Key>),
}

/// What a generation of the region's key wraps.
#[derive(Clone, Copy)]
pub(crate) enum Wrapped {
    Subjects,
    /// The stand-ins of uploads in progress.
    Uploads,
    /// Copies of records of other regions, by sets.
    Copies,
}

impl Wrapped {
    pub(crate) const ALL: [Self; 3] = [Self::Subjects, Self::Uploads, Self::Copies];

    /// What entries and messages call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Subjects => "subjects",
            Self::Uploads => "uploads",
            Self::Copies => "copies",
        }
    }
}

/// A step of the walk that builds indexes, as it was found outside of the committer.
pub(crate) struct IndexStep {
    /// Where it began.
    pub(crate) from: WalkPlace,
    /// The map by which heads were looked at.
    pub(crate) judged: MapRef,
    /// The heads that do not say what the map says.
    pub(crate) heads: Vec<Key>,
    /// Where the next begins. None: this one is the last.
    pub(crate) next: Option<Key>,
}

impl Errand {
    /// Answers that it cannot be done now.
    pub(crate) fn refuse(self) {
        match self {
            Self::Map(op) => op.reply.send(busy()),
            Self::Note(question) => question.answer.give(Err(Rejection::new(Reason::ShardBusy))),
            // Who asked sees that it is gone, and asks again.
            Self::Rotate(answer) => drop(answer),
            Self::SweepFeed(_, answer) | Self::Clear(_, answer) => drop(answer),
            Self::ClearCopies(_, answer) => drop(answer),
            Self::Keys(_, answer) => drop(answer),
            Self::Index(_, answer) => drop(answer),
            Self::Backup(begin) => drop(begin),
            Self::NoteErasures | Self::ConfirmSlots(_) => {}
            Self::NoteSeen(_, answer) => drop(answer),
        }
    }
}

/// A map on its way to the committer: whose signatures are good.
pub(crate) struct MapOp {
    pub(crate) reply: ReplySlot,
    pub(crate) offered: Offered,
}

#[cfg(test)]
mod tests;
