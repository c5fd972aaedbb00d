//! How far the moves from here and to here are, in memory: for those who ask, and to wake what drives
//! them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use terms::TenantId;
use tokio::sync::Notify;

use crate::store::keys::Owner;
use crate::store::moving::Arriving;
use crate::store::read_back::ArrivalCheck;
use crate::store::subject::Subject;
use crate::store::types::SubjectTag;

/// Arrivals whose check is remembered: a region sends one subject after another.
const CHECKS_MAX: usize = 32;

/// Looks at subjects that may be under way, or wait for the committer; and those of one tenant, so that none
/// takes all.
const LOOKS_MAX: usize = 32;
const LOOKS_OF_TENANT_MAX: usize = LOOKS_MAX / 2;

/// A look at a subject outside of the committer.
pub(crate) struct Look(Arc<AtomicBool>);

impl Look {
    /// Whether nothing of the subject was written since it began. Asked in the committer.
    pub(crate) fn holds(&self) -> bool {
        !self.0.load(Ordering::Acquire)
    }
}

/// A look that may not be over.
struct Looking {
    subject: SubjectTag,
    tenant: TenantId,
    /// Whether the subject was written since it began.
    written: Weak<AtomicBool>,
}

/// The moves of one run of a shard.
#[derive(Default)]
pub(crate) struct MoveProgress {
    /// Told when a move is ordered, or given up.
    pub(crate) ordered: Notify,
    /// Heads that have been copied, by subject.
    copied: Mutex<HashMap<SubjectTag, u64>>,
    /// Checks of arrivals that have begun, by subject.
    checks: Mutex<HashMap<SubjectTag, ArrivalCheck>>,
    /// Looks that are not over.
    looks: Mutex<Vec<Looking>>,
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

    /// Begins a look at a subject, before any of its rows is read. None: there are too many.
    pub(crate) fn look(&self, owner: &Owner) -> Option<Look> {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        looks.retain(|look| look.written.strong_count() > 0);
        let own = looks.iter().filter(|look| look.tenant == owner.tenant).count();
        if looks.len() >= LOOKS_MAX || own >= LOOKS_OF_TENANT_MAX {
            return None;
        }
        let look = Look(Arc::default());
        let (subject, tenant) = (owner.tag, owner.tenant.clone());
        looks.push(Looking { subject, tenant, written: Arc::downgrade(&look.0) });
        Some(look)
    }

    /// A commit that has just returned has written these subjects. A look that begins after this call sees
    /// the commit's rows.
    pub(crate) fn written(&self, subjects: &HashMap<SubjectTag, Arc<Subject>>) {
        let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        for look in looks.iter().filter(|look| subjects.contains_key(&look.subject)) {
            if let Some(written) = look.written.upgrade() {
                written.store(true, Ordering::Release);
            }
        }
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
