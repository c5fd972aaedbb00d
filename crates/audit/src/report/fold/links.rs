//! What an earlier entry was, for later ones that name it: a DELETE says which entry it is about,
//! and not which law had claimed the record.

use std::collections::HashMap;

use ledger::{Entry, Kind};

use crate::details::peer;

/// Entries of all logs that are remembered, at six bytes each. Later ones that name an entry beyond
/// them are counted as of an unstated jurisdiction.
pub(crate) const LINKS_MAX: usize = 1 << 24;
/// Sets of jurisdictions that are told apart. A deployment has some dozens.
pub(crate) const CLASSES_MAX: usize = 64;

/// The set of jurisdictions that claims a record, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Class(u16);

/// What cannot be told, and what is beyond [`CLASSES_MAX`].
pub(crate) const UNSTATED: Class = Class(1);
/// The name of the class that no law claims.
pub(crate) const NO_LAW: &str = "(none)";
/// The name of the class that cannot be told.
pub(crate) const NOT_STATED: &str = "(not stated)";
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

/// The writes of each log, by index.
#[derive(Debug, Default)]
struct Log {
    classes: Vec<u16>,
    minutes: Vec<u32>,
}

/// What is remembered of all logs.
#[derive(Debug)]
pub(crate) struct Links {
    sets: HashMap<Vec<String>, u16>,
    names: Vec<Vec<String>>,
    logs: Vec<Log>,
    origins: HashMap<String, usize>,
    room: usize,
    /// Entries that found no room.
    pub(crate) cut: u64,
}

impl Links {
    /// Nothing yet, of the logs of these origins.
    pub(crate) fn new(origins: impl Iterator<Item = String>) -> Self {
        let origins: HashMap<String, usize> = origins.enumerate().map(|(n, o)| (o, n)).collect();
        let logs = std::iter::repeat_with(Log::default).take(origins.len()).collect();
        Self {
            sets: HashMap::new(),
            names: vec![Vec::new(), vec![NOT_STATED.to_owned()]],
            logs,
            origins,
            room: LINKS_MAX,
            cut: 0,
        }
    }

    /// The class of that set of jurisdictions.
    pub(crate) fn class(&mut self, set: &[String]) -> Class {
        if let Some(class) = self.sets.get(set) {
            return Class(*class);
        }
        let next = u16::try_from(self.names.len()).ok();
        let Some(next) = next.filter(|_| self.sets.len() < CLASSES_MAX) else { return UNSTATED };
        self.sets.insert(set.to_vec(), next);
        self.names.push(set.to_vec());
        Class(next)
    }

    /// The jurisdictions of a class, joined.
    pub(crate) fn name(&self, class: Class) -> String {
        match self.names.get(usize::from(class.0)) {
            Some(names) if names.is_empty() => NO_LAW.to_owned(),
            Some(names) => names.join(" + "),
            None => NOT_STATED.to_owned(),
        }
    }

    /// Remembers a write, or with `None` an entry that is none.
    pub(crate) fn remember(&mut self, at: At, minute: u32, class: Option<Class>) {
        let Some(log) = self.logs.get_mut(at.log) else { return };
        let known = u64::try_from(log.classes.len()).unwrap_or(u64::MAX);
        // Gaps are filled, so that an index finds its entry; going back is not possible.
        let missing = usize::try_from(at.index.saturating_sub(known)).unwrap_or(usize::MAX);
        if at.index < known || missing >= self.room {
            self.cut += 1;
            return;
        }
        self.room -= missing + 1;
        log.classes.resize(log.classes.len() + missing, NO_WRITE.0);
        log.minutes.resize(log.minutes.len() + missing, 0);
        log.classes.push(class.unwrap_or(NO_WRITE).0);
        log.minutes.push(minute);
    }

    /// Class and minute of the write at that place, if it is one and remembered.
    pub(crate) fn write(&self, at: At) -> Option<(Class, u32)> {
        let log = self.logs.get(at.log)?;
        let index = usize::try_from(at.index).ok()?;
        let class =
            log.classes.get(index).copied().map(Class).filter(|class| *class != NO_WRITE)?;
        Some((class, *log.minutes.get(index)?))
    }

    /// The entry that this one of log number `log` is about: in its own log or, for a record of
    /// an earlier period, in that log.
    pub(crate) fn about(&self, log: usize, entry: &Entry) -> Option<At> {
        if let Some(index) = entry.earlier {
            return Some(At { log, index });
        }
        let own = [Kind::Replace, Kind::Delete, Kind::Expire, Kind::Erase].contains(&entry.kind);
        if own { self.peer(entry) } else { None }
    }

    /// The entry of another log that this one names, if that log is here.
    pub(crate) fn peer(&self, entry: &Entry) -> Option<At> {
        let (origin, index) = peer(entry)?;
        Some(At { log: *self.origins.get(origin)?, index })
    }

    /// The number of the log of that origin.
    pub(crate) fn log_of(&self, origin: &str) -> Option<usize> {
        self.origins.get(origin).copied()
    }
}
