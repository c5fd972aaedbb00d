//! How far the moves from here and to here are, in memory: for those who ask, and to wake what drives
//! them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::store::moving::Arriving;
use crate::store::read_back::ArrivalCheck;
use crate::store::types::SubjectTag;

/// Arrivals whose check is remembered: a region sends one subject after another.
const CHECKS_MAX: usize = 32;

/// The moves of one run of a shard.
#[derive(Default)]
pub(crate) struct MoveProgress {
    /// Told when a move is ordered, or given up.
    pub(crate) ordered: Notify,
    /// Heads that have been copied, by subject.
    copied: Mutex<HashMap<SubjectTag, u64>>,
    /// Checks of arrivals that have begun, by subject.
    checks: Mutex<HashMap<SubjectTag, ArrivalCheck>>,
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

    /// Takes the check of what has arrived, or one that begins.
    pub(crate) fn take_check(&self, subject: SubjectTag, here: &Arriving) -> ArrivalCheck {
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        let known = checks.remove(&subject).filter(|check| check.here == *here);
        known.unwrap_or_else(|| ArrivalCheck::new(here.clone()))
    }

    /// Keeps it for the next step.
    pub(crate) fn keep_check(&self, subject: SubjectTag, check: ArrivalCheck) {
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        if checks.len() >= CHECKS_MAX {
            // Those that were left alone go too: they begin again.
            checks.clear();
        }
        checks.insert(subject, check);
    }

    /// The arrival has ended.
    pub(crate) fn arrived(&self, subject: SubjectTag) {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner).remove(&subject);
    }
}
