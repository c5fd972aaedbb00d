//! Opens the file of erasures, and adds what the store lists and it lacks. Both are in the order of
//! entries, but for what a restore has added to the file: so they are walked through together, and only
//! what stands elsewhere in the file is kept in memory.

use std::collections::BTreeSet;

use engine::{Engine, Key};
use terms::Entropy;

use crate::log::erasure_file::{
    AT_ONCE, ErasureFile, KnownErasure, LISTED, Listed, Name, listed_at, listed_from,
};
use crate::store::keyring::Keyring;
use crate::store::types::CommitAt;
use crate::{Error, Settings};

impl ErasureFile {
    /// Opens the file, or makes it, and adds what the store lists and it does not. `end`: where the
    /// store's log ends.
    pub(crate) fn open(
        settings: &Settings,
        keyring: &dyn Keyring,
        engine: &dyn Engine,
        end: CommitAt,
        entropy: &dyn Entropy,
    ) -> Result<Self, Error> {
        let mut compared = Comparison::new(engine);
        let mut each = |known: KnownErasure| compared.names(&known);
        let mut file = Self::opened(settings, keyring, entropy, &mut each)?;
        loop {
            let missing = compared.missing()?;
            if missing.is_empty() {
                break;
            }
            file.add(&missing, entropy)?;
        }
        file.next = end;
        Ok(file)
    }
}

/// A walk through the store's list, by what the file names.
struct Comparison<'a> {
    engine: &'a dyn Engine,
    /// What comes next in the list, the last one first.
    page: Vec<Listed>,
    /// Where the page after it begins. None: there is none.
    from: Option<Key>,
    /// What the file names and the walk has not come to.
    ahead: BTreeSet<Name>,
}

impl<'a> Comparison<'a> {
    fn new(engine: &'a dyn Engine) -> Self {
        Self { engine, page: Vec::new(), from: Some(vec![LISTED]), ahead: BTreeSet::new() }
    }

    /// The file names that one. Those that it names come in its order.
    fn names(&mut self, known: &KnownErasure) -> Result<(), Error> {
        self.ahead.insert(known.name());
        while let Some(next) = self.next()? {
            if !self.ahead.remove(&next.name()) {
                self.page.push(next);
                break;
            }
        }
        Ok(())
    }

    /// Some of those that the file lacks, once it has named all. Empty: it lacks no more.
    fn missing(&mut self) -> Result<Vec<KnownErasure>, Error> {
        let mut missing = Vec::new();
        while missing.len() < AT_ONCE
            && let Some(next) = self.next()?
        {
            if !self.ahead.remove(&next.name()) {
                missing.push(next.known(self.engine)?);
            }
        }
        Ok(missing)
    }

    fn next(&mut self) -> Result<Option<Listed>, Error> {
        if self.page.is_empty()
            && let Some(from) = self.from.take()
        {
            self.page = listed_from(self.engine, from)?;
            self.from = self.page.last().map(|last| [listed_at(last.entry), vec![0]].concat());
            self.page.reverse();
        }
        Ok(self.page.pop())
    }
}

#[cfg(test)]
mod tests {
    use engine::{Batch, Disk};

    use super::*;
    use crate::log::erasure_file::{What, list};
    use crate::store::types::Period;
    use crate::testing;

    fn erasure(n: u16) -> KnownErasure {
        let entry = CommitAt { period: Period(1), index: n.into() };
        let row = [&[0x10][..], &n.to_be_bytes()[..]].concat();
        KnownErasure { entry, row, what: What::Subject(vec![1]) }
    }

    #[test]
    fn what_is_named_in_order_is_not_kept_in_memory() {
        let folder = tempfile::tempdir().expect("a folder");
        let node = testing::node(folder.path(), &Disk::new(1));
        let mut batch = Batch::new();
        for n in 0..600 {
            let KnownErasure { entry, row, .. } = erasure(n);
            list(&mut batch, entry, &row, None);
            batch.put(row, vec![1]);
        }
        let head = node.engine.head().expect("a head");
        node.engine.commit(batch, head, head.size).expect("a commit");
        let mut compared = Comparison::new(&*node.engine);
        for n in 0..500 {
            compared.names(&erasure(n)).expect("a list");
            assert!(compared.ahead.is_empty(), "{n}");
        }
        // A restore has added some, of this store and of another one.
        for n in [515, 510, 700, 505] {
            compared.names(&erasure(n)).expect("a list");
        }
        assert_eq!(compared.ahead.len(), 4);
        let mut missing = Vec::new();
        loop {
            let some = compared.missing().expect("a list");
            if some.is_empty() {
                break;
            }
            missing.extend(some.into_iter().map(|known| known.entry.index));
        }
        let lacks = |n: &u64| ![505, 510, 515].contains(n);
        assert_eq!(missing, (500..600).filter(lacks).collect::<Vec<u64>>());
    }
}
