//! What is counted before it is in the log: reads of `counted` collections, and refusals, by caller
//! and collection. A crash loses at most one minute of them; the docs say so.
//!
//! An entry names the map under which its reads were let out, and stands in the log before the
//! entry of the next map. So counters belong to one map: before another is taken they are closed,
//! written, and opened again for the map that is in force then. A read that was judged under
//! another map than the counters' is not counted: it has to have an entry of its own, and the
//! committer judges it again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ledger::entry::{Call, Entry, MapRef};
use terms::{Collection, Reason};

use crate::store::growing_log::GrowingLog;
use crate::store::principal::Principal;
use crate::store::types::{EpochNumber, Minute};

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
    /// Whether it was judged under the map for which the counters are open. A refusal that comes
    /// too late for the entries of its map names none.
    of_map: bool,
    who: Option<Arc<Principal>>,
    collection: Option<Collection>,
}

/// What is not in the log yet.
pub(crate) struct AccessCounters(Mutex<Open>);

struct Open {
    /// The number of the map under which counters are open. `None`: they are being written.
    epoch: Option<EpochNumber>,
    counted: Taken,
}

impl AccessCounters {
    /// Counters for the map of that number.
    pub(crate) fn new(epoch: EpochNumber) -> Self {
        Self(Mutex::new(Open { epoch: Some(epoch), counted: Taken::default() }))
    }

    /// Counts some reads that were judged under the map of that number. False when there is no counter
    /// left for it, or the counters are another map's: then it must have an entry of its own.
    pub(crate) fn add(
        &self,
        judged: EpochNumber,
        who: &Arc<Principal>,
        collection: &Collection,
        times: u64,
    ) -> bool {
        let counter = Counter {
            refused: None,
            of_map: true,
            who: Some(Arc::clone(who)),
            collection: Some(collection.clone()),
        };
        let mut open = self.lock();
        let reads = &open.counted.reads;
        let room = reads.len() < READS_MAX || reads.contains_key(&counter);
        if !room || open.epoch != Some(judged) {
            return false;
        }
        *open.counted.reads.entry(counter).or_default() += times;
        true
    }

    /// Counts a refusal under the map of that number, if it is one that the log tells: by rules,
    /// borders and roles. What a caller got wrong is between the two of them.
    pub(crate) fn refused(
        &self,
        reason: Reason,
        judged: EpochNumber,
        who: &Arc<Principal>,
        collection: Option<&Collection>,
    ) {
        if !is_told(reason) {
            return;
        }
        let mut open = self.lock();
        let of_map = open.epoch == Some(judged);
        let counter = Counter {
            refused: Some(reason),
            of_map,
            who: Some(Arc::clone(who)),
            collection: collection.cloned(),
        };
        let refusals = &mut open.counted.refusals;
        let room = refusals.len() < REFUSALS_MAX || refusals.contains_key(&counter);
        let counter = if room { counter } else { Counter::alone(reason, of_map) };
        *refusals.entry(counter).or_default() += 1;
    }

    /// Whether anything is to be written.
    pub(crate) fn any(&self) -> bool {
        let open = self.lock();
        !open.counted.reads.is_empty() || !open.counted.refusals.is_empty()
    }

    /// Reads that were counted and have no entry yet.
    pub(crate) fn reads(&self) -> u64 {
        self.lock().counted.reads.values().sum()
    }

    /// Counts nothing more under the map in force: what is there is to be written before the next.
    pub(crate) fn close(&self) {
        self.lock().epoch = None;
    }

    /// Whether all that was counted under a map has been written.
    pub(crate) fn none_of_map(&self) -> bool {
        let open = self.lock();
        open.counted.reads.is_empty() && !open.counted.refusals.keys().any(|one| one.of_map)
    }

    /// Counts for the map of that number.
    pub(crate) fn open(&self, epoch: EpochNumber) {
        self.lock().epoch = Some(epoch);
    }

    /// Takes all of them: for a commit, which puts them back unless it is durable. Where the disk
    /// is `low`, refusals are told by reason alone: a refused caller fills no disk.
    pub(crate) fn take(&self, low: bool) -> Taken {
        let mut taken = std::mem::take(&mut self.lock().counted);
        if low {
            let mut alone = HashMap::new();
            for (counter, times) in taken.refusals {
                if let Some(reason) = counter.refused {
                    *alone.entry(Counter::alone(reason, counter.of_map)).or_default() += times;
                }
            }
            taken.refusals = alone;
        }
        taken
    }

    /// Puts back what could not be written.
    pub(crate) fn put_back(&self, taken: Taken) {
        let counted = &mut self.lock().counted;
        for (counter, times) in taken.reads {
            *counted.reads.entry(counter).or_default() += times;
        }
        for (counter, times) in taken.refusals {
            *counted.refusals.entry(counter).or_default() += times;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counter {
    /// Of a refusal, by nothing but its reason.
    const fn alone(reason: Reason, of_map: bool) -> Self {
        let refused = Some(reason);
        Self { refused, of_map, who: None, collection: None }
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
            | Reason::RegionExcluded
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

impl Taken {
    /// Adds an entry for every counter to `log`: COUNT of reads, REFUSE of refusals. Returns those
    /// whose entry `append` does not take.
    pub(crate) fn write(
        &self,
        log: &GrowingLog,
        minute: Minute,
        map: MapRef,
        append: &mut dyn FnMut(&Entry) -> bool,
    ) -> Self {
        let mut left = Self::default();
        for (counter, times) in self.reads.iter().chain(&self.refusals) {
            let Counter { refused, of_map, who, collection } = counter;
            // It may have been counted while another log grew.
            let who = who.as_ref().map(|who| who.in_log(log));
            let call = Call {
                tenant_tag: who.as_ref().and_then(|who| who.tenant_tag).map(|tag| tag.0),
                caller: who.as_ref().map(|who| &who.caller),
                collection: collection.as_ref().map(Collection::as_str),
                map,
            };
            let mut entry = match refused {
                Some(reason) => Entry::refused(minute.0, call, *times, reason.as_str()),
                None => Entry::counted(minute.0, call, *times),
            };
            if !of_map {
                entry.map = None;
            }
            if !append(&entry) {
                let of = if refused.is_some() { &mut left.refusals } else { &mut left.reads };
                of.insert(counter.clone(), *times);
            }
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use ledger::entry::Role;
    use terms::TenantId;

    use super::*;
    use crate::store::types::Period;
    use crate::testing;

    #[test]
    fn nothing_is_counted_under_a_map_whose_entries_are_written() {
        let counts = AccessCounters::new(EpochNumber(1));
        let folder = tempfile::tempdir().unwrap();
        let log = testing::log(folder.path(), Period::FIRST);
        let tenant = TenantId::parse("sample").unwrap();
        let who = Arc::new(Principal::new(&log, Some(tenant), "app", Role::Reader, None));
        let collection = Collection::parse("profiles").unwrap();
        assert!(counts.add(EpochNumber(1), &who, &collection, 1));
        counts.refused(Reason::NotPermitted, EpochNumber(1), &who, None);
        assert!(!counts.none_of_map());
        counts.close();
        // A reader that looked at the map before is a moment late.
        assert!(!counts.add(EpochNumber(1), &who, &collection, 1));
        let taken = counts.take(false);
        assert_eq!(taken.reads.values().sum::<u64>(), 1);
        assert!(taken.refusals.keys().all(|counter| counter.of_map));
        assert!(counts.none_of_map());
        counts.refused(Reason::NotPermitted, EpochNumber(1), &who, None);
        // It is in the log, and claims no map.
        assert!(counts.none_of_map() && counts.any());
        counts.open(EpochNumber(2));
        assert!(
            !counts.add(EpochNumber(1), &who, &collection, 1)
                && counts.add(EpochNumber(2), &who, &collection, 1)
        );
        counts.refused(Reason::NotPermitted, EpochNumber(1), &who, None);
        counts.refused(Reason::NotPermitted, EpochNumber(2), &who, None);
        let taken = counts.take(true);
        let late: u64 = taken.refusals.iter().filter(|(c, _)| !c.of_map).map(|(_, n)| n).sum();
        assert_eq!((late, taken.refusals.values().sum::<u64>()), (2, 3));
        counts.put_back(taken);
        assert!(!counts.none_of_map());
    }
    #[test]
    fn an_entry_has_the_tags_of_the_log_in_which_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = [1, 2].map(|period| testing::log(folder.path(), Period(period)));
        let tenant = TenantId::parse("sample").unwrap();
        let who = Arc::new(Principal::new(&first, Some(tenant), "app", Role::Reader, None));
        let counts = AccessCounters::new(EpochNumber(1));
        let collection = Collection::parse("profiles").unwrap();
        assert!(counts.add(EpochNumber(1), &who, &collection, 1));
        counts.refused(Reason::NotPermitted, EpochNumber(1), &who, None);
        let taken = counts.take(false);
        for log in [&first, &second] {
            let mut entries = Vec::new();
            let map = MapRef { epoch: 1, digest: [0; 32] };
            taken.write(log, Minute(1), map, &mut |entry| {
                entries.push((entry.tenant_tag, entry.caller.as_ref().map(|caller| caller.tag)));
                true
            });
            let tags = (Some(log.tenant_tag("sample").0), Some(log.caller_tag("app").0));
            assert_eq!(entries, [tags; 2]);
        }
        assert_ne!(first.tenant_tag("sample"), second.tenant_tag("sample"));
    }
}
