//! The keys of the rows of the change feed.

use engine::{Key, Span};

use crate::store::codec::Writer;
use crate::store::types::{CommitAt, EpochNumber, Period};

/// Up to which row the change feed was swept.
pub(crate) const FEED_SWEPT: &[u8] = &[0x51];

/// What a commit changed.
pub(crate) fn feed(commit: CommitAt) -> Key {
    let mut key = Writer::with_capacity(16);
    key.u8(0x50).u32(commit.period.0).u64(commit.index);
    key.0
}

/// The rows of the change feed from there on.
pub(crate) fn feed_from(commit: CommitAt) -> Span {
    Span { from: feed(commit), until: FEED_SWEPT.to_vec() }
}

/// All rows of the change feed.
pub(crate) fn feed_rows() -> Span {
    Span { from: vec![0x50], until: FEED_SWEPT.to_vec() }
}

/// The commit in the key of a row of the change feed, or the entry in a key of the same form.
pub(crate) fn fed_commit(key: &[u8]) -> Option<CommitAt> {
    let (period, index) = key.get(1..)?.split_first_chunk()?;
    let period = Period(u32::from_be_bytes(*period));
    Some(CommitAt { period, index: u64::from_be_bytes(index.try_into().ok()?) })
}

/// Of which collections a map that was taken keeps a feed, by its number.
pub(crate) fn map_feeds(epoch: EpochNumber) -> Key {
    let mut key = vec![0x06];
    key.extend_from_slice(&epoch.0.to_be_bytes());
    key
}

/// The same for the maps of these numbers, both included.
pub(crate) fn maps_feeds(from: EpochNumber, to: EpochNumber) -> Span {
    Span { from: map_feeds(from), until: [map_feeds(to), vec![0]].concat() }
}
