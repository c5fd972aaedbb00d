//! How far the reading back of a subject that moves is. It is kept in memory alone, and begins again
//! after a restart.

use std::collections::BTreeMap;

use terms::Collection;

use crate::store::moving::Arriving;
use crate::store::upload_check::UploadCheck;

/// What was read so far of the records of one subject.
#[derive(Default)]
pub(crate) struct ReadBack {
    /// The row of the last record that was read.
    pub(crate) after: Vec<u8>,
    /// The hash of each record that was read.
    pub(crate) leaves: Vec<[u8; 32]>,
    /// Live records among them, by collection.
    pub(crate) live: BTreeMap<Collection, u64>,
    /// The attachment of the next record, read in part.
    pub(crate) attachment: Option<UploadCheck>,
    /// All of it was read.
    pub(crate) done: bool,
}

/// The reading back of what has arrived.
pub(crate) struct ArrivalCheck {
    /// How far the arrival was when it began. Of an arrival that is further, nothing is known.
    pub(crate) here: Arriving,
    pub(crate) read: ReadBack,
}

impl ArrivalCheck {
    /// One that begins.
    pub(crate) fn new(here: Arriving) -> Self {
        Self { here, read: ReadBack::default() }
    }
}
