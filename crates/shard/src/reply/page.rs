//! What a list gives.

use bytes::Bytes;
use terms::{RecordKey, SubjectId, UnixMillis};

use crate::store::feed::ChangeKind;
use crate::store::participants::Participant;
use crate::store::types::Version;

/// Weight of a record beside its names, attributes and body: fields of the answer, mostly.
const RECORD_WEIGHT: usize = 256;
/// Weight of an attribute beside its bytes: in the answer to the caller it is several fields.
const ATTRIBUTE_WEIGHT: usize = 192;

/// A page of records, or the number of records, read at one moment.
#[derive(Default)]
pub(crate) struct Page {
    pub(crate) records: Vec<Listed>,
    /// Where the next page begins; empty: there is none.
    pub(crate) next: Bytes,
    /// Records that may not leave.
    pub(crate) withheld: u64,
    pub(crate) count: u64,
    /// Of changes: there are more just now.
    pub(crate) more: bool,
    /// Of an export: shows where the page begins and ends, and what it has.
    pub(crate) seal: Bytes,
    /// What it weighs: bytes, roughly.
    pub(crate) weight: usize,
}

/// One record of a page.
pub(crate) struct Listed {
    pub(crate) subject: SubjectId,
    pub(crate) key: RecordKey,
    pub(crate) version: Version,
    pub(crate) etag: String,
    /// When it expires.
    pub(crate) expires: Option<UnixMillis>,
    /// As [`atlas::RecordAttributes::encode`] has them.
    pub(crate) attributes: Vec<u8>,
    /// The people that it names besides its owner.
    pub(crate) participants: Vec<Participant>,
    pub(crate) body: Bytes,
    /// Whether the body is sealed to the question.
    pub(crate) sealed: bool,
    /// Bytes of the body, if it is an attachment; 0: it is not.
    pub(crate) attachment_bytes: u64,
    /// Its place in the order that was asked for; empty: none was.
    pub(crate) order: Vec<u8>,
    /// Where a page after this record begins, if that was asked for.
    pub(crate) cursor: Bytes,
    /// Of a change: what became of the record.
    pub(crate) change: Option<ChangeKind>,
}

/// What a record with so many attributes and bytes adds to a page.
pub(crate) const fn weight(attributes: usize, bytes: usize) -> usize {
    RECORD_WEIGHT + attributes * ATTRIBUTE_WEIGHT + bytes
}
