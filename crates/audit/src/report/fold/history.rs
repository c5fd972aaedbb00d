//! What happened to a log and its store: maps taken, periods, keys, backups, restores.

use std::collections::BTreeSet;

use ledger::entry::MapRef;
use ledger::{Entry, Kind};

use super::capped::Listed;
use super::links::At;
use crate::details::{count, log_key, old_head, reason, signers};
use crate::rules::OldHead;

/// Maps taken, and other events, that are listed.
pub(crate) const EVENTS_MAX: usize = 2_000;
/// Different maps that entries may name.
pub(crate) const MAP_REFS_MAX: usize = 4_096;

/// That a shard took a region map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The number of the log.
    pub log: usize,
    /// The entry's number in it.
    pub index: u64,
    /// When.
    pub minute: u32,
    /// The map's number.
    pub epoch: u64,
    /// The map's digest.
    pub digest: [u8; 32],
    /// The names of the keys that signed it, as the entry gives them, with commas.
    pub signers: String,
}

/// Something that happened to a log, its keys or its store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The number of the log.
    pub log: usize,
    /// The entry's number in it.
    pub index: u64,
    /// When.
    pub minute: u32,
    /// GENESIS, KEY, BACKUP, RESTORE or SEAL.
    pub kind: Kind,
    /// What the entry says of it.
    pub reason: String,
    /// The number that the entry gives.
    pub count: Option<u64>,
    /// The log's key, as a GENESIS gives it.
    pub log_key: Option<String>,
    /// The head of the log before, as a GENESIS gives it.
    pub old_head: Option<OldHead>,
}

/// What happened to all logs.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) taken: Listed<Taken>,
    pub(crate) events: Listed<Event>,
    pub(crate) map_refs: BTreeSet<(u64, [u8; 32])>,
    /// The map that the last entry named, so that millions of entries cost one comparison each.
    last: Option<MapRef>,
    pub(crate) map_refs_cut: bool,
}

impl History {
    pub(crate) fn new() -> Self {
        Self {
            taken: Listed::new(EVENTS_MAX),
            events: Listed::new(EVENTS_MAX),
            map_refs: BTreeSet::new(),
            last: None,
            map_refs_cut: false,
        }
    }

    /// Takes one entry, from before the period too: a map taken before it may rule in it.
    pub(crate) fn entry(&mut self, at: At, entry: &Entry, in_period: bool) {
        if let Some(map) = entry.map.filter(|map| in_period && self.last != Some(*map)) {
            self.last = Some(map);
            if self.map_refs.len() < MAP_REFS_MAX {
                self.map_refs.insert((map.epoch, map.digest));
            } else {
                self.map_refs_cut |= !self.map_refs.contains(&(map.epoch, map.digest));
            }
        }
        // Where a log begins is said of every log, whenever it began.
        let event = matches!(entry.kind, Kind::Key | Kind::Backup | Kind::Restore | Kind::Seal);
        if entry.kind == Kind::Map {
            self.map(at, entry);
        } else if entry.kind == Kind::Genesis || (event && in_period) {
            self.event(at, entry);
        }
    }

    fn map(&mut self, at: At, entry: &Entry) {
        let Some(map) = entry.map else { return };
        self.taken.push(Taken {
            log: at.log,
            index: at.index,
            minute: entry.minute,
            epoch: map.epoch,
            digest: map.digest,
            signers: signers(entry).unwrap_or("").to_owned(),
        });
    }

    fn event(&mut self, at: At, entry: &Entry) {
        self.events.push(Event {
            log: at.log,
            index: at.index,
            minute: entry.minute,
            kind: entry.kind,
            reason: reason(entry).unwrap_or("").to_owned(),
            count: count(entry),
            log_key: log_key(entry).map(str::to_owned),
            old_head: old_head(entry),
        });
    }
}
