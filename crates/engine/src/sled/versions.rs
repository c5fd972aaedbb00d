//! Rows as they were before a commit, so that a view shows its own moment.
//!
//! sled shows a batch to readers at once, before it is durable, and keeps no older state. So a
//! commit notes here what it is about to replace, before it does; a view reads sled first and then
//! looks here, in this order: what a commit has replaced meanwhile is then noted already. What no
//! view needs any more is dropped.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ::sled::IVec;

use crate::{Error, Key};

/// Bytes of replaced rows that are kept for views. A view that needs more is too old.
const KEPT_BYTES_MAX: usize = 128 << 20;

/// Stored rows before a commit, by their keys in sled; `None`: there was no row.
pub(super) type Before = BTreeMap<Key, Option<IVec>>;

#[derive(Debug, Default)]
pub(super) struct Versions(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Durable commits.
    durable: u64,
    /// By commits in order, the last of them perhaps not durable yet: what each has replaced.
    replaced: VecDeque<Replaced>,
    /// How many views show so many durable commits.
    views: BTreeMap<u64, usize>,
    bytes: usize,
    /// Views of fewer commits than this are too old.
    expired_below: u64,
}

#[derive(Debug)]
struct Replaced {
    commit: u64,
    bytes: usize,
    before: Before,
}

impl Versions {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A view of the durable commits: its number, to be given to every other call and to `close`.
    pub(super) fn open(&self) -> u64 {
        let mut state = self.lock();
        let at = state.durable;
        *state.views.entry(at).or_default() += 1;
        at
    }

    /// The view is not used any more.
    pub(super) fn close(&self, at: u64) {
        let mut state = self.lock();
        if let Some(count) = state.views.get_mut(&at) {
            *count -= 1;
            if *count == 0 {
                state.views.remove(&at);
            }
        }
        state.drop_unneeded();
    }

    /// A commit is about to replace these rows.
    pub(super) fn begin(&self, before: Before) {
        let value = |row: &Option<IVec>| row.as_ref().map_or(0, |row| row.len());
        let bytes = before.iter().map(|(key, row)| key.len() + value(row)).sum();
        let mut state = self.lock();
        let commit = state.durable + 1;
        state.bytes += bytes;
        state.replaced.push_back(Replaced { commit, bytes, before });
    }

    /// The commit is durable.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.durable += 1;
        if state.bytes > KEPT_BYTES_MAX {
            state.expired_below = state.durable;
        }
        state.drop_unneeded();
    }

    /// What view `at` must show in place of what was read from sled under `key`. `None`: what was
    /// read.
    pub(super) fn before(&self, at: u64, key: &[u8]) -> Result<Option<Option<IVec>>, Error> {
        let state = self.lock();
        let mut later = state.later_than(at)?;
        Ok(later.find_map(|replaced| replaced.before.get(key).cloned()))
    }

    /// The same for all keys between two bounds.
    pub(super) fn before_between(
        &self,
        at: u64,
        between: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> Result<Before, Error> {
        let state = self.lock();
        let mut changed = Before::new();
        for replaced in state.later_than(at)? {
            for (key, row) in replaced.before.range::<[u8], _>(between) {
                // The first commit after the view has replaced what the view shows.
                changed.entry(key.clone()).or_insert_with(|| row.clone());
            }
        }
        Ok(changed)
    }
}

impl State {
    /// What commits have replaced that a view does not show, the first of them first.
    fn later_than(&self, at: u64) -> Result<impl Iterator<Item = &Replaced>, Error> {
        if at < self.expired_below {
            return Err(Error::ViewExpired);
        }
        Ok(self.replaced.iter().filter(move |replaced| replaced.commit > at))
    }

    fn drop_unneeded(&mut self) {
        let oldest = self.views.keys().find(|at| **at >= self.expired_below);
        let needed_after = oldest.map_or(self.durable, |at| *at);
        while let Some(first) = self.replaced.front()
            && first.commit <= needed_after
        {
            self.bytes -= first.bytes;
            self.replaced.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn before(rows: &[(&str, Option<&str>)]) -> Before {
        let row = |row: &Option<&str>| row.map(|row| IVec::from(row.as_bytes()));
        rows.iter().map(|(key, value)| (key.as_bytes().to_vec(), row(value))).collect()
    }

    #[test]
    fn a_view_sees_what_commits_after_it_have_replaced_and_nothing_is_kept_for_nobody() {
        let versions = Versions::default();
        let old = versions.open();
        versions.begin(before(&[("a", Some("1")), ("b", None)]));
        // Opened while the commit is on its way: it is not durable.
        let during = versions.open();
        versions.end();
        let new = versions.open();
        versions.begin(before(&[("a", Some("2"))]));
        versions.end();
        let shown = |at, key: &str| versions.before(at, key.as_bytes()).unwrap();
        for at in [old, during] {
            assert_eq!(shown(at, "a"), Some(Some("1".into())));
            assert_eq!((shown(at, "b"), shown(at, "c")), (Some(None), None));
        }
        assert_eq!((shown(new, "a"), shown(new, "b")), (Some(Some("2".into())), None));
        let all = (Bound::Unbounded, Bound::Unbounded);
        assert_eq!(
            versions.before_between(old, all).unwrap(),
            before(&[("a", Some("1")), ("b", None)])
        );
        assert_eq!(versions.before_between(new, all).unwrap(), before(&[("a", Some("2"))]));
        versions.close(old);
        assert_eq!(versions.lock().replaced.len(), 2, "`during` still needs both");
        versions.close(during);
        assert_eq!(versions.lock().replaced.len(), 1);
        versions.close(new);
        let state = versions.lock();
        assert_eq!((state.replaced.len(), state.bytes, state.views.len()), (0, 0, 0));
    }

    #[test]
    fn a_view_that_needs_too_much_is_given_up_and_the_next_one_works() {
        let versions = Versions::default();
        let old = versions.open();
        let large = IVec::from(vec![7; KEPT_BYTES_MAX / 2]);
        for n in 0..3_u8 {
            versions.begin([(vec![n], Some(large.clone()))].into());
            versions.end();
        }
        assert_eq!(versions.before(old, b"a"), Err(Error::ViewExpired));
        assert!(versions.lock().bytes <= KEPT_BYTES_MAX);
        let new = versions.open();
        assert_eq!(versions.before(new, b"a"), Ok(None));
        versions.close(old);
        versions.close(new);
        assert_eq!(versions.lock().bytes, 0);
    }
}
