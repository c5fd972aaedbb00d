//! The numbers of records in lists, changed in the commit that changes the lists
//! ([`crate::store::list_number`] has their rows).

use std::collections::{BTreeMap, HashMap};

use engine::{Batch, Engine};

use crate::store::index_keys::ListKeys;
use crate::store::list_number;

/// By how many records lists change.
#[derive(Default)]
pub(crate) struct ListChanges(BTreeMap<ListKeys, i64>);

impl ListChanges {
    /// A record comes into a list, or goes from it.
    pub(crate) fn add(&mut self, list: ListKeys, comes: bool) {
        *self.0.entry(list).or_default() += if comes { 1 } else { -1 };
    }

    /// Adds other changes to these.
    pub(crate) fn append(&mut self, other: Self) {
        other.0.into_iter().for_each(|(list, by)| *self.0.entry(list).or_default() += by);
    }
}

/// The numbers as the last commit has left them. None: that of a list is not known.
#[derive(Default)]
pub(crate) struct ListNumbers(HashMap<ListKeys, Option<u64>>);

impl ListNumbers {
    /// Changes them, and adds their rows to a batch. Unless that is committed, they say too much.
    pub(super) fn change(
        &mut self,
        engine: &dyn Engine,
        changes: &ListChanges,
        batch: &mut Batch,
    ) -> Result<(), engine::Error> {
        for (list, by) in changes.0.iter().filter(|(_, by)| **by != 0) {
            let before = match self.0.get(list) {
                Some(before) => *before,
                None => list_number::read(&*engine.view()?, list)?,
            };
            let after = before.and_then(|before| before.checked_add_signed(*by));
            batch.put(list.number(), list_number::encode(after));
            self.0.insert(list.clone(), after);
        }
        Ok(())
    }
}
