//! What is asked of the committer about copies in other regions, and of other regions here.

use atlas::Findings;
use engine::Key;
use ledger::entry::CopyEnd;
use terms::RegionId;

use crate::store::copied_set::HomePlace;
use crate::store::copy_mark::DueStep;
use crate::store::keys::Owner;
use crate::store::record::Address;
use crate::store::types::{EntryAt, Minute, Version};
use crate::write::move_command::ArrivingRecord;

/// What the home does about copies in another region.
pub(crate) struct CopyOut {
    /// The record; of the steps about a mark, any record of its collection.
    pub(crate) address: Address,
    pub(crate) mirror: RegionId,
    /// The key of the mark.
    pub(crate) mark: Key,
    pub(crate) step: CopyOutStep,
}

/// What to do.
pub(crate) enum CopyOutStep {
    /// Write down that this version is about to be sent.
    Send(SendCopy),
    /// The other region has that version, or needs none: it is due no more.
    Done {
        /// The newest version, when it was looked at. None: there is no such record.
        version: Option<Version>,
        /// What is to be done about it all the same. None: nothing, and the row that it is due goes.
        left: Option<DueStep>,
        /// Since when it is due.
        minute: Minute,
    },
    /// The rules allow no copy of that version.
    Refused {
        /// Which version.
        version: Version,
    },
    /// Look whether the rules still allow what the mark says.
    Check {
        /// The head after which records are noted as due.
        after: Option<Key>,
        /// The other region has none, as it says or as there is no mark: all records are due.
        wanted: bool,
    },
    /// The other region has been told, as this was then.
    Told {
        /// The value of the row that it is to be told.
        told: Vec<u8>,
        /// It has erased its copies.
        dropped: bool,
    },
}

/// A version that is about to be sent.
pub(crate) struct SendCopy {
    pub(crate) version: Version,
    /// Since when it is due.
    pub(crate) minute: Minute,
    /// Its COPY_OUT entry, if it has one.
    pub(crate) sent: Option<EntryAt>,
}

/// What a shard of the home asks about copies here.
pub(crate) struct TakeCopy {
    pub(crate) owner: Owner,
    /// The region of the home.
    pub(crate) home: RegionId,
    /// The key of the set of copies.
    pub(crate) set: Key,
    /// Where it stands in the home's log.
    pub(crate) at: HomePlace,
    /// Bytes that it holds in memory, roughly.
    pub(crate) bytes: usize,
    pub(crate) collection: terms::Collection,
    pub(crate) step: TakeCopyStep,
}

/// What to do.
pub(crate) enum TakeCopyStep {
    /// Keep this version.
    Record(Box<CopyOfRecord>),
    /// The record is deleted.
    Gone { address: Address, why: CopyEnd },
    /// What is known of the subject.
    State { findings: Findings, blocked: bool },
    /// Erase all copies of the set.
    Drop(CopyEnd),
    /// Look whether the rules here still allow them. The shard itself asks.
    Check,
}

/// A copy that has come. Its body is encrypted under a key of this region already.
pub(crate) struct CopyOfRecord {
    /// Its address is that of the copy.
    pub(crate) record: ArrivingRecord,
    pub(crate) findings: Findings,
    /// The entry that placed it at the home: origin and index.
    pub(crate) placed: (String, u64),
    /// When the home wrote it.
    pub(crate) written: Minute,
    /// Random values for what is sealed with it.
    pub(crate) nonces: [[u8; crate::store::aead::NONCE_BYTES]; 2],
}

impl CopyOutStep {
    /// Whether it reads what is stored.
    pub(crate) const fn goes_alone(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Check { .. } | Self::Told { .. })
    }
}

impl TakeCopyStep {
    /// Whether it reads what is stored.
    pub(crate) const fn goes_alone(&self) -> bool {
        matches!(self, Self::Drop(_) | Self::Check)
    }

    /// The copy that it is about.
    pub(crate) fn copy(&self) -> Option<&Address> {
        match self {
            Self::Record(copy) => Some(&copy.record.address),
            Self::Gone { address, .. } => Some(address),
            Self::State { .. } | Self::Drop(_) | Self::Check => None,
        }
    }
}
