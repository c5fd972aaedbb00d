//! What is answered about copies between regions.

use engine::Key;
use terms::{Collection, RegionId};

use crate::store::keys::Owner;
use crate::store::types::Minute;

/// What has become of a copy, or of the copies of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CopiedState {
    /// It was done, now or before.
    Done,
    /// There are no copies.
    None,
    /// It came after something later: it is asked again from where the home's log is now.
    Stale,
    /// It took a part: it is asked again.
    Unfinished,
}

/// The answer.
pub(crate) struct Copied {
    pub(crate) state: CopiedState,
    /// Where the home goes on.
    pub(crate) after: Option<Key>,
}

impl Copied {
    /// One of which nothing else is to be said.
    pub(crate) const fn of(state: CopiedState) -> Self {
        Self { state, after: None }
    }
}

/// Some of the copies here of records of one shard, a collection of a person each.
pub(crate) struct CopiesHeld {
    pub(crate) all: Vec<(Owner, Collection)>,
    /// Where the next begin. None: there are no more.
    pub(crate) after: Option<Key>,
}

/// Of a read: the record's home, and as of when its copy is.
pub(crate) struct FoundCopy {
    pub(crate) home: RegionId,
    /// When the home wrote the version.
    pub(crate) written: Minute,
    /// When it came here.
    pub(crate) taken: Minute,
}
