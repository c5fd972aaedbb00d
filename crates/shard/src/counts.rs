//! Reads of `counted` collections: how many, by caller and collection, since they were last
//! written to the log. A crash loses at most one minute of them; the docs say so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ledger::entry::{Caller, Detail, Entry, Kind};
use terms::Collection;

use crate::Error;
use crate::rows::Tag;
use crate::work::Work;

/// Counters in memory, and so COUNT entries in one commit. A read beyond them is logged by itself.
const COUNTERS_MAX: usize = 4096;

/// Who read what.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Counter {
    tenant_tag: Tag,
    caller: Arc<Caller>,
    collection: Collection,
}

/// The counted reads that are not in the log yet.
#[derive(Default)]
pub(crate) struct Counts(Mutex<HashMap<Counter, u64>>);

impl Counts {
    /// Counts a read. False when there is no counter left for it.
    pub(crate) fn add(
        &self,
        tenant_tag: Tag,
        caller: &Arc<Caller>,
        collection: &Collection,
    ) -> bool {
        let counter =
            Counter { tenant_tag, caller: Arc::clone(caller), collection: collection.clone() };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= COUNTERS_MAX && !counts.contains_key(&counter) {
            return false;
        }
        *counts.entry(counter).or_default() += 1;
        true
    }

    /// Whether anything is to be written.
    pub(crate) fn any(&self) -> bool {
        !self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Takes all of them: for a commit, which puts them back unless it is durable.
    pub(crate) fn take(&self) -> Taken {
        Taken(std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Puts back what could not be written.
    pub(crate) fn put_back(&self, taken: Taken) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (counter, reads) in taken.0 {
            *counts.entry(counter).or_default() += reads;
        }
    }
}

/// Counted reads on their way into a commit.
#[derive(Default)]
pub(crate) struct Taken(HashMap<Counter, u64>);

impl Work<'_> {
    /// Adds a COUNT entry for every counter.
    pub(crate) fn count(&mut self, taken: &Taken) -> Result<(), Error> {
        for (counter, reads) in &taken.0 {
            let mut entry = Entry::new(Kind::Count, self.minute);
            entry.tenant_tag = Some(counter.tenant_tag);
            entry.collection = Some(counter.collection.as_str().to_owned());
            entry.map = Some(self.rules.map_ref());
            entry.caller = Some(Caller::clone(&counter.caller));
            entry.details = vec![Detail::Count(*reads)];
            self.draft.append(&entry).map_err(|_| Error::Damaged("placement log"))?;
        }
        Ok(())
    }
}
