//! One walk through all logs of a shard: how many records they leave, and what became of the
//! entries that an answer names.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use ledger::entry::{Entry, Kind};

use super::live::Live;
use super::logs::{Logs, supersedes, writes};
use super::{Error, Place, Reconciled, SeenAt};

/// An entry that an answer names, and what the logs say of it later.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Its bytes.
    pub(super) entry: Vec<u8>,
    /// Of which tenant.
    pub(super) tenant: Option<[u8; 16]>,
    /// The entry that took its record away.
    pub(super) superseded: Option<(Kind, Place)>,
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
    /// The writes that stand when the walk has ended.
    pub(super) live: Live,
    /// Copies that the store held when the walk began.
    pub(super) copies: i128,
    /// Copies that came, and that went, while it lasted.
    pub(super) copies_moved: [u64; 2],
    /// The copies that came, without those that one entry took away by its name.
    taken: Live,
    /// The erasures of each tenant, and the subjects that were given away: where they are, and how many
    /// records they count.
    erasures: BTreeMap<[u8; 16], Vec<(Place, u64)>>,
}

// === impl Sums ===

impl Sums {
    /// Adds up all logs; of the one that grows, `start` entries were there when the shard began to
    /// walk through its store, and `end` when it was done. What comes after that is about another
    /// time, and excuses nothing.
    pub(super) fn of(
        logs: &Logs,
        new: Range<u64>,
        places: impl Iterator<Item = Place>,
        done: &mut Reconciled,
    ) -> Result<Self, Error> {
        let mut sums = Self::default();
        let named: BTreeSet<Place> = places.collect();
        for (number, log) in logs.all().enumerate() {
            let grows = number == logs.newest_number();
            log.each(if grows { new.end } else { log.kept }, &mut |index, entry, bytes| {
                let entry = match entry {
                    Ok(entry) => entry,
                    Err(error) => {
                        let origin = &log.origin;
                        done.wrong(format!("{origin} entry {index} is not accepted: {error}"));
                        return;
                    }
                };
                let earlier = earlier(logs, number, entry);
                if !grows || index < new.start {
                    sums.expected += change(entry);
                    sums.copies += entry.change_of_copies();
                } else {
                    sums.copies_while(entry);
                    sums.spread =
                        sums.spread.saturating_add(taken(logs, entry, earlier, new.start));
                }
                if let Err(what) = sums.look((number, index), entry, earlier) {
                    done.wrong(format!("{} entry {index} is {} {what}", log.origin, entry.kind));
                }
                if named.contains(&(number, index)) {
                    let tenant = entry.tenant_tag;
                    let seen = Seen { entry: bytes.to_vec(), tenant, ..Seen::default() };
                    sums.seen.insert((number, index), seen);
                }
            })?;
        }
        Ok(sums)
    }

    /// What an entry does to the writes before it.
    fn look(
        &mut self,
        at: Place,
        entry: &Entry,
        earlier: Option<Place>,
    ) -> Result<(), &'static str> {
        if writes(entry) {
            self.live.set(at);
        }
        if entry.is_of_copy() {
            return self.copy(at, entry, earlier);
        }
        if takes_many(entry) {
            if entry.tenant_tag.is_none() && is_of_slot(entry) {
                return Ok(());
            }
            let tenant = entry.tenant_tag.ok_or("and does not say of which tenant")?;
            self.erasures.entry(tenant).or_default().push((at, counted(entry)));
        }
        if !supersedes(entry) {
            return Ok(());
        }
        let earlier = earlier.ok_or("and names no write whose record it takes away")?;
        if let Some(seen) = self.seen.get_mut(&earlier) {
            seen.superseded.get_or_insert((entry.kind, at));
        }
        // Deleting what was never written, or twice, would allow any count.
        if earlier == at || !self.live.take(earlier) {
            return Err("of something that is no write, or was taken away before");
        }
        Ok(())
    }

    /// Notes an entry about copies that was written while the shard walked.
    fn copies_while(&mut self, entry: &Entry) {
        let change = entry.change_of_copies();
        let [came, went] = &mut self.copies_moved;
        let moved = if change > 0 { came } else { went };
        let by = u64::try_from(change.unsigned_abs()).unwrap_or(u64::MAX);
        *moved = moved.saturating_add(by);
    }

    /// What an entry does to the copies before it. One that is removed with others is named by none.
    fn copy(
        &mut self,
        at: Place,
        entry: &Entry,
        earlier: Option<Place>,
    ) -> Result<(), &'static str> {
        let goes = (entry.kind == Kind::CopyIn && entry.earlier.is_some())
            || (entry.kind == Kind::CopyDrop && entry.count().is_none());
        if entry.kind == Kind::CopyIn {
            self.taken.set(at);
        }
        if goes && !earlier.is_some_and(|earlier| earlier != at && self.taken.take(earlier)) {
            return Err("of a copy that never came, or was removed before");
        }
        Ok(())
    }

    /// Records of a tenant that were erased after that entry.
    pub(super) fn erased_after(&self, tenant: &[u8; 16], place: Place) -> u64 {
        let erasures = self.erasures.get(tenant).into_iter().flatten();
        let after = erasures.filter(|(at, _)| *at > place).map(|(_, count)| *count);
        after.fold(0, u64::saturating_add)
    }
}

/// The entry that this one names as earlier, of whichever period.
fn earlier(logs: &Logs, own: usize, entry: &Entry) -> Option<Place> {
    if let Some(index) = entry.earlier {
        return Some((own, index));
    }
    // A move names the other shard's entry by the same detail; that is no log of ours.
    entry.peer().and_then(|(origin, index)| logs.place(origin, index))
}

/// By how many an entry changes the number of live records.
fn change(entry: &Entry) -> i128 {
    match entry.kind {
        Kind::Place => 1,
        Kind::MoveIn => i128::from(entry.collection.is_some()),
        Kind::Delete | Kind::Expire => -1,
        Kind::Erase | Kind::MoveOut if takes_many(entry) => -i128::from(counted(entry)),
        Kind::MoveOut => -1,
        Kind::Erase
        | Kind::Genesis
        | Kind::Map
        | Kind::Replace
        | Kind::Read
        | Kind::Count
        | Kind::Refuse
        // A copy is no record of its shard: [`Entry::change_of_copies`].
        | Kind::CopyOut
        | Kind::CopyIn
        | Kind::CopyDrop
        | Kind::Export
        | Kind::Key
        | Kind::Backup
        | Kind::Restore
        | Kind::Seal
        | Kind::Create
        | Kind::Block
        | Kind::Unblock
        | Kind::Reassess
        | Kind::Adjudicate => 0,
    }
}

/// How many records that were there at `start` an entry may have hidden from the walk.
fn taken(logs: &Logs, entry: &Entry, earlier: Option<Place>, start: u64) -> u64 {
    if takes_many(entry) {
        return counted(entry);
    }
    let before = earlier.is_some_and(|(log, index)| log != logs.newest_number() || index < start);
    u64::from(before && supersedes(entry))
}

/// Whether an entry takes away as many records as it counts, and names none of them: an erasure, or a
/// subject that was given away to another region.
fn takes_many(entry: &Entry) -> bool {
    entry.kind == Kind::Erase || (entry.kind == Kind::MoveOut && entry.earlier.is_none())
}

/// Whether an entry gives a whole slot to another shard: those before it say how many records of which
/// tenants go with it.
fn is_of_slot(entry: &Entry) -> bool {
    entry.kind == Kind::MoveOut && entry.collection.is_none() && entry.count().is_none()
}

/// The records that such an entry counts.
fn counted(entry: &Entry) -> u64 {
    entry.count().unwrap_or(0)
}
