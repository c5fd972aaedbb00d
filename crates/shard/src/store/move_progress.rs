//! How far the moves from here are, in memory: for those who ask, and to wake what drives them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::store::types::SubjectTag;

/// The moves of one run of a shard.
#[derive(Default)]
pub(crate) struct MoveProgress {
    /// Told when a move is ordered, or given up.
    pub(crate) ordered: Notify,
    /// Heads that have been copied, by subject.
    copied: Mutex<HashMap<SubjectTag, u64>>,
}

impl MoveProgress {
    /// So many heads have been copied.
    pub(crate) fn set(&self, subject: SubjectTag, heads: u64) {
        self.copied.lock().unwrap_or_else(PoisonError::into_inner).insert(subject, heads);
    }

    /// How many heads have been copied, as far as this run knows.
    pub(crate) fn get(&self, subject: SubjectTag) -> u64 {
        let copied = self.copied.lock().unwrap_or_else(PoisonError::into_inner);
        copied.get(&subject).copied().unwrap_or(0)
    }

    /// The move has ended.
    pub(crate) fn end(&self, subject: SubjectTag) {
        self.copied.lock().unwrap_or_else(PoisonError::into_inner).remove(&subject);
    }
}
