//! One walk through all logs of a shard: how many records they leave, and what became of the
//! entries that an answer names.

use ledger::entry::{Detail, Entry, Kind};

use super::logs::{Logs, supersedes};
use super::{Error, Place, SeenAt};

/// An entry that an answer names, and what the logs say of it later.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Its bytes.
    pub(super) entry: Vec<u8>,
    tenant: Option<[u8; 16]>,
    /// The entry that took its record away.
    pub(super) superseded: Option<(Kind, Place)>,
    /// Whether somebody of the same tenant was erased after it.
    pub(super) erased_after: bool,
}

/// What the logs add up to.
#[derive(Debug, Default)]
pub(super) struct Sums {
    /// Live records when the walk through the store began.
    pub(super) expected: i128,
    /// Of these, those that were written or taken away while it lasted.
    pub(super) spread: u64,
    /// The entries that the answer names, those that exist.
    pub(super) seen: SeenAt,
}

// === impl Sums ===

impl Sums {
    /// Adds up all logs; of the one that grows, `start` entries were there when the shard began to
    /// walk through its store, and `end` when it was done.
    pub(super) fn of(
        logs: &Logs,
        start: u64,
        end: u64,
        places: impl Iterator<Item = Place>,
    ) -> Result<Self, Error> {
        let mut sums = Self::default();
        let named: std::collections::BTreeSet<Place> = places.collect();
        for (number, log) in logs.all().enumerate() {
            let grows = number == logs.newest_number();
            log.each(&mut |index, entry, bytes| {
                let earlier = earlier(logs, number, entry);
                if !grows || index < start {
                    sums.expected += change(entry);
                } else if index < end {
                    sums.spread = sums.spread.saturating_add(taken(logs, entry, earlier, start));
                }
                sums.look((number, index), entry, earlier);
                if named.contains(&(number, index)) {
                    let tenant = entry.tenant_tag;
                    let seen = Seen { entry: bytes.to_vec(), tenant, ..Seen::default() };
                    sums.seen.insert((number, index), seen);
                }
            })?;
        }
        Ok(sums)
    }

    /// What an entry says of those that are named.
    fn look(&mut self, at: Place, entry: &Entry, earlier: Option<Place>) {
        if supersedes(entry.kind)
            && let Some(seen) = earlier.and_then(|place| self.seen.get_mut(&place))
        {
            seen.superseded.get_or_insert((entry.kind, at));
        }
        if entry.kind == Kind::Erase {
            for seen in self.seen.values_mut() {
                seen.erased_after |= entry.tenant_tag.is_none() || seen.tenant == entry.tenant_tag;
            }
        }
    }
}

/// The entry that this one names as earlier, of whichever period.
fn earlier(logs: &Logs, own: usize, entry: &Entry) -> Option<Place> {
    if let Some(index) = entry.earlier {
        return Some((own, index));
    }
    // A move names the other shard's entry by the same detail; that is no log of ours.
    entry.details.iter().find_map(|detail| match detail {
        Detail::Peer { origin, index } => logs.place(origin, *index),
        Detail::Count(_)
        | Detail::Reason(_)
        | Detail::OldHead { .. }
        | Detail::Deadline(_)
        | Detail::LogKey(_)
        | Detail::PhoneData(_)
        | Detail::IpData(_)
        | Detail::Signers(_) => None,
    })
}

/// By how many an entry changes the number of live records.
fn change(entry: &Entry) -> i128 {
    match entry.kind {
        Kind::Place | Kind::MoveIn | Kind::CopyIn => 1,
        Kind::Delete | Kind::Expire | Kind::MoveOut => -1,
        Kind::Erase => -i128::from(counted(entry)),
        Kind::Genesis
        | Kind::Map
        | Kind::Replace
        | Kind::Read
        | Kind::Count
        | Kind::Refuse
        | Kind::CopyOut
        | Kind::Export
        | Kind::Key
        | Kind::Backup
        | Kind::Restore
        | Kind::Seal
        | Kind::Create => 0,
    }
}

/// How many records that were there at `start` an entry may have hidden from the walk.
fn taken(logs: &Logs, entry: &Entry, earlier: Option<Place>, start: u64) -> u64 {
    if entry.kind == Kind::Erase {
        return counted(entry);
    }
    let before = earlier.is_some_and(|(log, index)| log != logs.newest_number() || index < start);
    u64::from(before && supersedes(entry.kind))
}

/// The records that an erasure counts.
fn counted(entry: &Entry) -> u64 {
    let counts = entry.details.iter().map(|detail| match detail {
        Detail::Count(count) => *count,
        Detail::Reason(_)
        | Detail::OldHead { .. }
        | Detail::Peer { .. }
        | Detail::Deadline(_)
        | Detail::LogKey(_)
        | Detail::PhoneData(_)
        | Detail::IpData(_)
        | Detail::Signers(_) => 0,
    });
    counts.sum()
}
