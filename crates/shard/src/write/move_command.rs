//! What is asked of the committer about the move of a subject between regions.

use std::collections::BTreeMap;

use atlas::{Findings, RecordAttributes};
use engine::Key;
use ledger::entry::Entry;
use terms::{Collection, Reason, RegionId, UnixMillis};

use crate::Error;
use crate::policy::standing_ruling::Given;
use crate::store::accesses::Accesses;
use crate::store::block::Blocked;
use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::keys::Owner;
use crate::store::lost_move::LostMove;
use crate::store::move_progress::Look;
use crate::store::move_proof::GaveAway;
use crate::store::moving::{Arriving, ArrivingChunks};
use crate::store::participants::Participant;
use crate::store::record::Address;
use crate::store::types::{EntryAt, Minute, Version};
use crate::write::content::Content;
use crate::write::request::Request;

/// One step of a move from here.
pub(crate) struct Depart {
    pub(crate) owner: Owner,
    /// Of the step's entry.
    pub(crate) opening: [u8; 32],
    pub(crate) step: DepartStep,
}

impl Depart {
    /// Whether a caller asks for it. All other steps are the shard's own.
    pub(crate) fn is_of_caller(&self) -> bool {
        match &self.step {
            DepartStep::Order(_) => true,
            DepartStep::GiveUp(why) => why.refused.is_none(),
            DepartStep::TakeCopiesBack { .. } | DepartStep::Switch(_) => false,
            DepartStep::Dropped { .. } | DepartStep::Finish { .. } => false,
        }
    }
}

/// What to do.
pub(crate) enum DepartStep {
    /// A caller orders it.
    Order(Box<Order>),
    /// It is given up.
    GiveUp(Box<GiveUp>),
    /// Copies of it in mirrors go before it is given away: its new home makes its own, and an erasure there
    /// knows nothing of these.
    TakeCopiesBack {
        /// Which move.
        move_id: [u8; 16],
    },
    /// The subject is given away: all of it is in the other region.
    Switch(Box<Switch>),
    /// The other region has erased what it had of a move that was given up.
    Dropped {
        /// Which move.
        move_id: [u8; 16],
    },
    /// The other region serves the subject: what is left of it here goes.
    Finish {
        /// Which move.
        move_id: [u8; 16],
    },
}

/// Why a move is given up, and which.
pub(crate) struct GiveUp {
    /// Why, for the log.
    pub(crate) reason: String,
    /// The reason for which it cannot go on. None: a caller gives it up.
    pub(crate) refused: Option<Reason>,
    /// Only this one. None: whichever goes on.
    pub(crate) move_id: Option<[u8; 16]>,
}

/// The order of a move.
pub(crate) struct Order {
    pub(crate) to: RegionId,
    pub(crate) request: Request,
    pub(crate) reason: String,
    /// As of a reassessment.
    pub(crate) given: Option<Given>,
    pub(crate) validate_only: bool,
    /// What was seen of the subject's records before. None: the committer looks itself.
    pub(crate) looked: Option<Looked>,
}

/// What was seen of a subject's records outside of the committer: none of them names other people.
pub(crate) struct Looked {
    pub(crate) look: Look,
    /// Heads of records.
    pub(crate) heads: u64,
}

/// What is given away.
pub(crate) struct Switch {
    pub(crate) move_id: [u8; 16],
    /// The digest of all of it, as both regions have read it.
    pub(crate) digest: [u8; 32],
    /// Live records, by collection.
    pub(crate) live: BTreeMap<Collection, u64>,
    /// The MOVE_IN entry with which it began to arrive: origin and index.
    pub(crate) peer: (String, u64),
}

/// One step of a move to here.
pub(crate) struct Arrive {
    pub(crate) owner: Owner,
    /// Where from.
    pub(crate) from: RegionId,
    pub(crate) move_id: [u8; 16],
    /// Of the step's entry.
    pub(crate) opening: [u8; 32],
    /// Bytes that it holds in memory, roughly.
    pub(crate) bytes: usize,
    pub(crate) step: ArriveStep,
}

/// What to do.
pub(crate) enum ArriveStep {
    /// Begin, or say how far it is.
    Begin(Box<ArrivingSubject>),
    /// Store these records, if it is as far as `after`.
    Rows {
        /// How far it was before.
        after: Vec<u8>,
        /// How far it is then.
        next: Vec<u8>,
        /// The records.
        records: Vec<ArrivingRecord>,
    },
    /// Store a chunk of the attachment that comes next, if it is as far as that.
    Chunk(Box<ArrivingChunk>),
    /// Nothing: say how far it is.
    Look,
    /// Serve the subject: the source has given it away. None: nothing was there to be checked; say what
    /// has become of it.
    Adopt(Option<Box<Adoption>>),
    /// Erase what has arrived.
    Drop,
    /// The same after a restore or a recovery, which cannot know how the arrival went on: it may begin
    /// again.
    Forget,
    /// Let a move begin again that was given up, though its source's log has given the subject away.
    Reopen,
    /// Say again that the subject was adopted: no checkpoint covers the entry that says it any more.
    SayAgain(Box<LostEntry>),
    /// The same where a restore has lost that entry, if the subject is gone from here since.
    SayTaken(Box<Entry>),
}

/// Why what has arrived is erased.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum WhyDropped {
    /// The move was given up.
    GivenUp,
    /// A restore or a recovery does not know how the move went on. No end is noted: its source may begin
    /// it again.
    Lost,
}

impl WhyDropped {
    /// For the log.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::GivenUp => "the move was given up",
            Self::Lost => "a restore or a recovery does not know how the move went on",
        }
    }
}

/// An entry of a log that a restore or a recovery has ended.
pub(crate) struct LostEntry {
    pub(crate) at: EntryAt,
    pub(crate) entry: Entry,
}

/// What is known of a subject that arrives.
pub(crate) struct ArrivingSubject {
    pub(crate) findings: Findings,
    /// On what its rulings rest.
    pub(crate) bases: Vec<(Collection, Findings)>,
    /// The request that created it, and when.
    pub(crate) created: ([u8; 16], Minute),
    pub(crate) erased: Vec<ErasedElsewhere>,
    /// It is blocked.
    pub(crate) blocked: Option<Blocked>,
    /// The region that was chosen for it.
    pub(crate) chosen: Option<RegionId>,
}

/// A collection that was erased before the subject came.
pub(crate) struct ErasedElsewhere {
    pub(crate) collection: Collection,
    pub(crate) records: u64,
    pub(crate) request_id: [u8; 16],
    pub(crate) minute: Minute,
}

/// A record that arrives. Its body is encrypted under a key of this region already.
pub(crate) struct ArrivingRecord {
    pub(crate) address: Address,
    pub(crate) version: Version,
    pub(crate) content: Content,
    pub(crate) expires: Option<UnixMillis>,
    pub(crate) attributes: RecordAttributes,
    /// The people that it names besides its owner.
    pub(crate) participants: Vec<Participant>,
    /// The requests that it remembers: id, minute and version.
    pub(crate) requests: Vec<([u8; 16], Minute, Version)>,
    /// Of an attachment, the row that has the hash of the whole: its key and value.
    pub(crate) whole: Option<(Key, Vec<u8>)>,
}

/// A chunk of an attachment that arrives. It is encrypted under a key of this region already.
pub(crate) struct ArrivingChunk {
    /// How far the records were.
    pub(crate) after: Vec<u8>,
    pub(crate) collection: Collection,
    pub(crate) number: u32,
    /// The attachment, as it is once this chunk is stored.
    pub(crate) chunks: ArrivingChunks,
    /// The row of the chunk: its key and value.
    pub(crate) at: Key,
    pub(crate) sealed: Vec<u8>,
}

/// What was checked of a subject that is to be served: what has arrived, and that the source has
/// committed to give exactly that away.
pub(crate) struct Adoption {
    /// The arrival, as it was when it was checked.
    pub(crate) here: Arriving,
    pub(crate) digest: [u8; 32],
    /// The MOVE_OUT entry, and its proof.
    pub(crate) source: GaveAway,
    /// The key by which that proof was verified.
    pub(crate) vkey: String,
    /// Who read the subject's records until it was given away.
    pub(crate) accesses: Accesses,
}

/// How a move has ended at the region to which it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    GivenUp,
    /// The MOVE_IN entry.
    Adopted(EntryAt),
    /// The subject was adopted, and a restore or a recovery has lost that.
    Lost(Box<LostMove>),
}

/// The format of a row that says it.
const ENDED_FORMAT: u8 = 1;
const GIVEN_UP: u8 = 0;
const ADOPTED: u8 = 1;
const LOST: u8 = 2;

impl Ended {
    /// The row as it is stored.
    pub(crate) fn row(&self) -> Vec<u8> {
        let mut row = Writer::with_capacity(2 + EntryAt::BYTES);
        match self {
            Self::GivenUp => {
                row.u8(ENDED_FORMAT).u8(GIVEN_UP);
            }
            Self::Adopted(entry) => {
                row.u8(ENDED_FORMAT).u8(ADOPTED);
                entry.write(&mut row);
            }
            Self::Lost(lost) => {
                row.u8(ENDED_FORMAT).u8(LOST);
                lost.write(&mut row);
            }
        }
        row.0
    }

    /// Reads a stored row.
    pub(crate) fn read(row: &[u8]) -> Result<Self, Error> {
        let damaged = |Malformed| Error::Damaged("moves");
        let mut row = Reader::new(row);
        row.format(ENDED_FORMAT)?;
        match row.u8().map_err(damaged)? {
            GIVEN_UP => Ok(Self::GivenUp),
            ADOPTED => EntryAt::read(&mut row).map(Self::Adopted).map_err(damaged),
            LOST => {
                LostMove::read(&mut row).map(|lost| Self::Lost(Box::new(lost))).map_err(damaged)
            }
            _ => Err(Error::Damaged("moves")),
        }
    }
}
