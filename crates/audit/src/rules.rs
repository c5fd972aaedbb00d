//! What entries must be like besides hashing to the root: rules that hold from one to the next.

use std::collections::BTreeMap;

use ledger::entry::{Entry, Kind, Minute};
use ledger::hash::Hash;

use crate::details::{log_key, old_head};

/// The head of the log that came before: what a GENESIS says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldHead {
    /// Its origin.
    pub origin: String,
    /// Its size.
    pub size: u64,
    /// Its root.
    pub root: Hash,
}

/// What an entry breaks. It names no field that could hold a person's data: entries have none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The bytes are no entry.
    #[error("is not accepted: {0}")]
    Entry(#[from] ledger::entry::Error),
    /// A log begins with GENESIS.
    #[error("is {0}, and a log begins with GENESIS")]
    NoGenesis(Kind),
    /// And with no other.
    #[error("is a second GENESIS")]
    Genesis,
    /// It names another key than the log's.
    #[error("names another key than the log's own")]
    Key,
    /// Time went back.
    #[error("is of {}, and the one before it of {}", Minute(*.now), Minute(*.before))]
    ClockBack {
        /// Its minute.
        now: u32,
        /// That of the entry before it.
        before: u32,
    },
    /// It names an entry that does not come before it.
    #[error("names entry {0} as an earlier one")]
    Earlier(u64),
    /// SEAL ends a log.
    #[error("comes after SEAL, which ends a log")]
    AfterSeal,
}

/// The rules, and where in the log they stand.
#[derive(Debug, Clone)]
pub struct Rules {
    vkey: String,
    next: u64,
    minute: u32,
    sealed: bool,
    counts: BTreeMap<Kind, u64>,
    first_minute: Option<u32>,
    old_head: Option<OldHead>,
    /// Whether the last entry says all that the rules need to go on after it.
    last_tells: bool,
}

/// Where the rules stand after so many entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Entries.
    pub size: u64,
    /// The minute of the last one that says one.
    pub minute: u32,
    /// Whether one of them has ended the log.
    pub sealed: bool,
}

// === impl Rules ===

impl Rules {
    /// The rules at the beginning of the log of that key.
    pub fn new(vkey: &str) -> Self {
        Self {
            vkey: vkey.to_owned(),
            next: 0,
            minute: 0,
            sealed: false,
            counts: BTreeMap::new(),
            first_minute: None,
            old_head: None,
            last_tells: true,
        }
    }

    /// The rules after `size` entries, the last of which is `last`, where they stand as was kept or,
    /// if nothing was, as the last entry says.
    pub fn after(vkey: &str, size: u64, last: Option<&Entry>, kept: Option<State>) -> Self {
        let said = State {
            size,
            minute: last.map_or(0, |entry| entry.minute),
            sealed: last.is_some_and(|entry| entry.kind == Kind::Seal),
        };
        let kept = kept.filter(|kept| kept.size == size);
        let State { minute, sealed, .. } = kept.unwrap_or(said);
        Self { next: size, minute, sealed, last_tells: kept.is_none(), ..Self::new(vkey) }
    }

    /// Where the rules stand, if the last entry alone does not tell.
    pub(crate) fn state(&self) -> Option<State> {
        let state = State { size: self.next, minute: self.minute, sealed: self.sealed };
        (!self.last_tells).then_some(state)
    }

    /// Looks at the next entry.
    ///
    /// # Errors
    /// [`Broken`]: the first rule that it breaks. It counts all the same if it is an entry.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Entry, Broken> {
        let index = self.next;
        self.next += 1;
        self.last_tells = false;
        let entry = Entry::decode(bytes)?;
        *self.counts.entry(entry.kind).or_default() += 1;
        self.first_minute.get_or_insert(entry.minute);
        let before = std::mem::replace(&mut self.minute, entry.minute);
        let was_sealed = self.sealed;
        self.sealed |= entry.kind == Kind::Seal;
        self.last_tells = self.sealed == (entry.kind == Kind::Seal);
        if was_sealed {
            return Err(Broken::AfterSeal);
        }
        if index == 0 {
            self.begin(&entry)?;
        } else if entry.kind == Kind::Genesis {
            return Err(Broken::Genesis);
        }
        if entry.minute < before {
            return Err(Broken::ClockBack { now: entry.minute, before });
        }
        match entry.earlier {
            Some(earlier) if earlier >= index => Err(Broken::Earlier(earlier)),
            _ => Ok(entry),
        }
    }

    fn begin(&mut self, entry: &Entry) -> Result<(), Broken> {
        if entry.kind != Kind::Genesis {
            return Err(Broken::NoGenesis(entry.kind));
        }
        self.old_head = old_head(entry);
        if log_key(entry) == Some(self.vkey.as_str()) { Ok(()) } else { Err(Broken::Key) }
    }

    /// Entries by kind, of those that were looked at.
    pub const fn counts(&self) -> &BTreeMap<Kind, u64> {
        &self.counts
    }

    /// The minutes of the first and the last entry that were looked at.
    pub fn minutes(&self) -> Option<(u32, u32)> {
        Some((self.first_minute?, self.minute))
    }

    /// Whether the log has ended.
    pub const fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// What the first entry says of the log before.
    pub const fn old_head(&self) -> Option<&OldHead> {
        self.old_head.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use ledger::entry::Detail;

    use super::*;

    fn genesis(vkey: &str) -> Entry {
        let mut entry = Entry::new(Kind::Genesis, 100);
        entry.details.push(Detail::LogKey(vkey.to_owned()));
        entry
    }

    fn check(entries: &[Entry], expect: Result<(), Broken>) {
        let mut rules = Rules::new("key");
        let taken = entries.iter().map(|entry| rules.take(&entry.encode().unwrap()));
        let first = taken.filter_map(Result::err).next();
        assert_eq!(first.map_or(Ok(()), Err), expect);
    }

    #[test]
    fn a_log_goes_by_its_rules() {
        let place = |minute| Entry::new(Kind::Place, minute);
        let naming = |earlier| Entry { earlier: Some(earlier), ..place(100) };
        let seal = Entry::new(Kind::Seal, 101);
        let begin = || genesis("key");
        check(&[], Ok(()));
        check(&[begin(), place(100), naming(1), seal.clone()], Ok(()));
        check(&[place(1)], Err(Broken::NoGenesis(Kind::Place)));
        check(&[genesis("other")], Err(Broken::Key));
        check(&[begin(), begin()], Err(Broken::Genesis));
        check(&[begin(), place(99)], Err(Broken::ClockBack { now: 99, before: 100 }));
        check(&[begin(), naming(1)], Err(Broken::Earlier(1)));
        check(&[begin(), seal, place(101)], Err(Broken::AfterSeal));
        assert!(matches!(Rules::new("key").take(b"x"), Err(Broken::Entry(_))));
    }
}
