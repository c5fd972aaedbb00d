//! What is counted before it is in the log: reads of `counted` collections, and refusals, by caller
//! and collection. A crash loses at most one minute of them; the docs say so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ledger::entry::{Call, Caller, Entry};
use terms::{Collection, Reason};

use crate::rows::Tag;
use crate::work::Work;

/// Counters of reads in memory, and so entries in one commit. A read beyond them is logged by
/// itself.
const READS_MAX: usize = 4096;
/// Counters of refusals, which are their own: who is refused much must not push reads into the way
/// of writes. A refusal beyond them is counted by its reason alone.
const REFUSALS_MAX: usize = 1024;

/// Who did what, or was refused what.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Counter {
    /// None: it is a read.
    refused: Option<Reason>,
    tenant_tag: Option<Tag>,
    caller: Option<Arc<Caller>>,
    collection: Option<Collection>,
}

/// What is not in the log yet.
#[derive(Default)]
pub(crate) struct Counts(Mutex<Taken>);

impl Counts {
    /// Counts a read. False when there is no counter left for it.
    pub(crate) fn add(
        &self,
        tenant_tag: Tag,
        caller: &Arc<Caller>,
        collection: &Collection,
    ) -> bool {
        let counter = Counter {
            refused: None,
            tenant_tag: Some(tenant_tag),
            caller: Some(Arc::clone(caller)),
            collection: Some(collection.clone()),
        };
        let mut counts = self.lock();
        if counts.reads.len() >= READS_MAX && !counts.reads.contains_key(&counter) {
            return false;
        }
        *counts.reads.entry(counter).or_default() += 1;
        true
    }

    /// Counts a refusal, if it is one that the log tells: by rules, borders and roles. What a
    /// caller got wrong is between the two of them.
    pub(crate) fn refused(
        &self,
        reason: Reason,
        (tenant_tag, caller): (Tag, &Arc<Caller>),
        collection: Option<&Collection>,
    ) {
        if !is_told(reason) {
            return;
        }
        let counter = Counter {
            refused: Some(reason),
            tenant_tag: Some(tenant_tag),
            caller: Some(Arc::clone(caller)),
            collection: collection.cloned(),
        };
        let mut counts = self.lock();
        let refusals = &mut counts.refusals;
        let room = refusals.len() < REFUSALS_MAX || refusals.contains_key(&counter);
        *refusals.entry(if room { counter } else { Counter::alone(reason) }).or_default() += 1;
    }

    /// Whether anything is to be written.
    pub(crate) fn any(&self) -> bool {
        let counts = self.lock();
        !counts.reads.is_empty() || !counts.refusals.is_empty()
    }

    /// Takes all of them: for a commit, which puts them back unless it is durable. Where the disk
    /// is `low`, refusals are told by reason alone: whoever is refused fills no disk.
    pub(crate) fn take(&self, low: bool) -> Taken {
        let mut taken = std::mem::take(&mut *self.lock());
        if low {
            let mut alone = HashMap::new();
            for (counter, times) in taken.refusals {
                if let Some(reason) = counter.refused {
                    *alone.entry(Counter::alone(reason)).or_default() += times;
                }
            }
            taken.refusals = alone;
        }
        taken
    }

    /// Puts back what could not be written.
    pub(crate) fn put_back(&self, taken: Taken) {
        let mut counts = self.lock();
        for (counter, times) in taken.reads {
            *counts.reads.entry(counter).or_default() += times;
        }
        for (counter, times) in taken.refusals {
            *counts.refusals.entry(counter).or_default() += times;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counter {
    /// Of a refusal, by nothing but its reason.
    const fn alone(reason: Reason) -> Self {
        Self { refused: Some(reason), tenant_tag: None, caller: None, collection: None }
    }
}

/// Whether a refusal belongs into the log: a regulator asks for what the rules refused, not for
/// mistyped names, races and full queues.
fn is_told(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::JurisdictionUndetermined
            | Reason::JurisdictionDisputed
            | Reason::Unsatisfiable
            | Reason::NoRegion
            | Reason::TransferNotCovered
            | Reason::CitizenAbroad
            | Reason::JurisdictionChanged
            | Reason::PlacementNotAdmitted
            | Reason::WrongDomicile
            | Reason::EgressNotCovered
            | Reason::WrongIngress
            | Reason::NotPermitted
    )
}

/// What was counted, on its way into a commit.
#[derive(Default)]
pub(crate) struct Taken {
    reads: HashMap<Counter, u64>,
    refusals: HashMap<Counter, u64>,
}

impl Work<'_> {
    /// Adds an entry for every counter: COUNT of reads, REFUSE of refusals. Returns those whose
    /// entry cannot be written.
    pub(crate) fn count(&mut self, taken: &Taken) -> Taken {
        let mut left = Taken::default();
        for (counter, times) in taken.reads.iter().chain(&taken.refusals) {
            let Counter { refused, tenant_tag, caller, collection } = counter;
            let call = Call {
                tenant_tag: *tenant_tag,
                caller: caller.as_deref(),
                collection: collection.as_ref().map(Collection::as_str),
                map: self.rules.map_ref(),
            };
            let entry = match refused {
                Some(reason) => Entry::refused(self.minute, call, *times, reason.as_str()),
                None => Entry::counted(self.minute, call, *times),
            };
            if self.append(&entry).is_err() {
                let of = if refused.is_some() { &mut left.refusals } else { &mut left.reads };
                of.insert(counter.clone(), *times);
            }
        }
        left
    }
}
