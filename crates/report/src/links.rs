//! Which law claimed a record, for later entries that name its entry: a DELETE says which entry it
//! is about, and not which law had claimed the record.

use std::collections::HashMap;

use ledger::{Entry, Kind};

/// Entries of all logs that are remembered, at two bytes each. Later ones that name an entry beyond
/// them are counted as of an unstated jurisdiction.
const LINKS_MAX: usize = 1 << 26;
/// Different sets of jurisdictions at the most. A deployment has some dozens.
const CLASSES_MAX: usize = 64;

/// The set of jurisdictions that claims a record, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Class(u16);

/// A record whose jurisdictions are not known, or beyond [`CLASSES_MAX`].
pub(crate) const UNSTATED: Class = Class(1);
/// No write.
const NO_WRITE: Class = Class(0);

/// Where an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At {
    /// The number of its log.
    pub(crate) log: usize,
    /// Its number in that log.
    pub(crate) index: u64,
}

/// What is remembered of all logs.
#[derive(Debug)]
pub(crate) struct Links {
    sets: HashMap<Vec<String>, Class>,
    names: Vec<Vec<String>>,
    /// The classes of each log's entries, by index.
    logs: Vec<Vec<Class>>,
    origins: HashMap<String, usize>,
    room: usize,
    /// Entries that found no room.
    pub(crate) cut: u64,
}

impl Links {
    /// Nothing yet, of the logs of these origins.
    pub(crate) fn new(origins: impl Iterator<Item = String>) -> Self {
        let origins: HashMap<String, usize> = origins.enumerate().map(|(n, o)| (o, n)).collect();
        let logs = vec![Vec::new(); origins.len()];
        let names = vec![Vec::new(), Vec::new()];
        Self { sets: HashMap::new(), names, logs, origins, room: LINKS_MAX, cut: 0 }
    }

    /// The class of that set of jurisdictions.
    pub(crate) fn class(&mut self, set: &[String]) -> Class {
        if let Some(class) = self.sets.get(set) {
            return *class;
        }
        let next = u16::try_from(self.names.len()).ok().map(Class);
        let Some(next) = next.filter(|_| self.sets.len() < CLASSES_MAX) else { return UNSTATED };
        self.sets.insert(set.to_vec(), next);
        self.names.push(set.to_vec());
        next
    }

    /// The jurisdictions of a class. None: they are not known.
    pub(crate) fn jurisdictions(&self, class: Class) -> Option<&[String]> {
        if class == UNSTATED {
            return None;
        }
        self.names.get(usize::from(class.0)).map(Vec::as_slice)
    }

    /// Remembers a write, or with `None` an entry that is none.
    pub(crate) fn remember(&mut self, at: At, class: Option<Class>) {
        let Some(log) = self.logs.get_mut(at.log) else { return };
        let known = u64::try_from(log.len()).unwrap_or(u64::MAX);
        // Gaps are filled, so that an index finds its entry; going back is not possible.
        let missing = usize::try_from(at.index.saturating_sub(known)).unwrap_or(usize::MAX);
        if at.index < known || missing >= self.room {
            self.cut += 1;
            return;
        }
        self.room -= missing + 1;
        log.resize(log.len() + missing, NO_WRITE);
        log.push(class.unwrap_or(NO_WRITE));
    }

    /// The class of the record that an entry of log number `log` is about: by the entry that it
    /// names in its own log or, for a record of an earlier period, in that log.
    pub(crate) fn about(&self, log: usize, entry: &Entry) -> Option<Class> {
        let own = [Kind::Replace, Kind::Delete, Kind::Expire, Kind::Erase].contains(&entry.kind);
        let (log, index) = match (entry.earlier, entry.peer()) {
            (Some(index), _) => (log, index),
            (None, Some((origin, index))) if own => (self.log_of(origin)?, index),
            _ => return None,
        };
        let class = self.logs.get(log)?.get(usize::try_from(index).ok()?)?;
        Some(*class).filter(|class| *class != NO_WRITE)
    }

    /// The number of the log of that origin.
    pub(crate) fn log_of(&self, origin: &str) -> Option<usize> {
        self.origins.get(origin).copied()
    }
}
