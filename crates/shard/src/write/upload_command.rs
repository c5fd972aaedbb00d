//! What is asked of the committer about uploads.

use atlas::RecordAttributes;
use bytes::Bytes;
use engine::Key;
use terms::{Rejection, UnixMillis};

use crate::policy::standing_ruling::Given;
use crate::store::aead::NONCE_BYTES;
use crate::store::attachment::AttachmentKey;
use crate::store::participants::Participant;
use crate::store::record::Address;
use crate::store::types::{EpochNumber, Minute};
use crate::write::request::{Condition, Request};

/// An upload of which all is stored and checked.
pub(crate) struct Uploaded {
    pub(crate) row: Key,
    /// The row that has the hash of the whole: its key and value.
    pub(crate) whole: (Key, Vec<u8>),
}

/// One step of an upload.
pub(crate) struct UploadStep {
    pub(crate) address: Address,
    /// The key of the upload's row.
    pub(crate) row: Key,
    pub(crate) basis: Basis,
    pub(crate) what: What,
}

/// What a step is ruled by besides what is stored: the same as for the put that ends the upload.
pub(crate) struct Basis {
    pub(crate) create_subject: bool,
    pub(crate) given: Option<Given>,
    pub(crate) participants: Vec<Participant>,
    pub(crate) participants_epoch: EpochNumber,
}

impl Basis {
    /// Of a step that stores nothing.
    pub(crate) const NONE: Self = Self {
        create_subject: false,
        given: None,
        participants: Vec::new(),
        participants_epoch: EpochNumber(0),
    };

    /// Whether it comes with the evidence by which its subject may be created.
    pub(crate) const fn creates(&self) -> bool {
        self.create_subject && self.given.is_some()
    }
}

/// What a step does.
pub(crate) enum What {
    Begin(Box<Begin>),
    /// Stores a chunk, sealed, in the row `at`.
    Chunk {
        number: u32,
        at: Key,
        sealed: Vec<u8>,
    },
    /// Discards the upload; `idle_since`: if nothing was added to it since then. Answered by `because`.
    Discard {
        idle_since: Option<Minute>,
        because: Option<Box<Rejection>>,
    },
}

impl What {
    /// Bytes that it holds in memory.
    pub(crate) const fn bytes(&self) -> usize {
        match self {
            Self::Chunk { sealed, .. } => sealed.len(),
            Self::Begin(_) | Self::Discard { .. } => 0,
        }
    }
}

/// The beginning of an upload.
pub(crate) struct Begin {
    pub(crate) request: Request,
    pub(crate) condition: Condition,
    pub(crate) expires: Option<UnixMillis>,
    pub(crate) attributes: RecordAttributes,
    /// As of a put.
    pub(crate) asked: Bytes,
    /// Bytes of the whole.
    pub(crate) bytes: u32,
    /// Of the whole.
    pub(crate) sha256: [u8; 32],
    /// Of the attachment, random.
    pub(crate) key: AttachmentKey,
    /// Of the upload's row.
    pub(crate) nonce: [u8; NONCE_BYTES],
}
