//! What is asked of the committer about a read that is logged.

use engine::Key;
use terms::Collection;

use crate::reply::{Found, Page};
use crate::store::keys::Owner;
use crate::store::types::{EntryAt, EpochNumber};

/// A read, which is answered once its entry is durable.
pub(crate) struct Read {
    pub(crate) collection: Collection,
    pub(crate) of: ReadOf,
    /// Whose records were read. None: those of a whole collection.
    pub(crate) about: Option<Box<ReadAbout>>,
    /// The map under which it was let out.
    pub(crate) judged: EpochNumber,
}

/// The one subject that a read was about.
pub(crate) struct ReadAbout {
    pub(crate) owner: Owner,
    /// The row of its accesses.
    pub(crate) row: Key,
    /// Empty: none was stated.
    pub(crate) purpose: String,
}

impl ReadAbout {
    pub(crate) fn new(owner: Owner, purpose: String) -> Box<Self> {
        let row = owner.accesses();
        Box::new(Self { owner, row, purpose })
    }
}

/// What was read.
pub(crate) enum ReadOf {
    /// One record, and the entry of the write that is read.
    Record(EntryAt, Found),
    /// The copy of a record of another region: the COPY_IN entry, and why it was read.
    Copy(EntryAt, Found, String),
    /// A page of records.
    Page {
        page: Page,
        /// How many records the entry says.
        count: u64,
        /// Why they were read.
        why: String,
    },
}

impl ReadOf {
    pub(super) const fn bytes(&self) -> usize {
        match self {
            Self::Record(_, found) | Self::Copy(_, found, _) => found.body.len(),
            Self::Page { page, .. } => page.weight,
        }
    }
}
