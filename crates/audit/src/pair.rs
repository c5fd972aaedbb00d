//! Moves and copies between the shards of two mirrors. Of a move, each MOVE_OUT entry that gives a subject away has one MOVE_IN
//! entry in the other shard's log that names it, with the same commitment and the same number of records;
//! and each such MOVE_IN entry has its MOVE_OUT.
//!
//! The commitment of both opens to one digest of all records, so equal commitments are equal records. No
//! opening is needed for that, and nothing here says whose records they are.

mod copies;

use std::collections::{BTreeMap, BTreeSet};

use ledger::Checkpoint;
use ledger::entry::{Entry, Kind};

use crate::finding::FINDINGS_MAX;
use crate::folder::{Error, Folder};
use crate::origin::Origin;
use crate::shown::shown;

/// A mirrored log that was verified.
#[derive(Debug, Clone, Copy)]
pub struct Log<'a> {
    /// Where it is.
    pub folder: &'a Folder,
    /// Its origin and size.
    pub checkpoint: &'a Checkpoint,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paired {
    /// Moves of which both entries agree.
    pub moves: u64,
    /// COPY_IN entries that agree with the COPY_OUT and the write of the home's log.
    pub copies: u64,
    /// Versions sent to a mirror of which no mirrored log has a COPY_IN: under way, overtaken by a newer version, or
    /// taken by a shard of that region whose log is not here.
    pub copies_under_way: u64,
    /// Of [`Paired::copies`], those that the mirror still holds, as far as its log names what went, while the
    /// home has replaced or removed that version.
    pub copies_behind: u64,
    /// Entries of copies whose other side is in a log, or a part of one, that neither mirror has.
    pub copies_not_mirrored: u64,
    /// Entries of moves whose other side is in such a log or part.
    pub not_mirrored: u64,
    /// What does not agree, a sentence each, the first [`FINDINGS_MAX`].
    pub findings: Vec<String>,
    /// Findings beyond those.
    pub more: u64,
}

/// An entry, by its log's origin and its number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    origin: String,
    index: u64,
}

/// An entry that gives a subject away, or takes one.
struct End {
    /// The entry on the other side.
    peer: Place,
    commitment: Option<[u8; 32]>,
    /// Live records.
    count: u64,
    /// The key of the other side's log, if it is named.
    key: Option<String>,
    /// Whether it says a reason: what an entry that says another one again has.
    reasoned: bool,
}

/// What a mirror has of moves with the shards of the other one.
#[derive(Default)]
struct Moves {
    /// Entries of each log, by its origin.
    sizes: BTreeMap<String, u64>,
    left: BTreeMap<Place, End>,
    taken: BTreeMap<Place, End>,
    /// MOVE_IN entries with which a subject began to arrive.
    begun: BTreeSet<Place>,
}

/// Compares the moves and copies between the shards of two mirrors, in both directions.
///
/// # Errors
/// [`Error`], if a mirror cannot be read.
pub fn pair(first: &[Log<'_>], second: &[Log<'_>]) -> Result<Paired, Error> {
    let one = Moves::read(first, second)?;
    let two = Moves::read(second, first)?;
    let mut paired = Paired::default();
    paired.compare(&one, &two);
    paired.compare(&two, &one);
    copies::compare(&mut paired, first, second)?;
    Ok(paired)
}

// === impl Moves ===

impl Moves {
    /// The moves in `own` that name a shard of a region of `others`.
    fn read(own: &[Log<'_>], others: &[Log<'_>]) -> Result<Self, Error> {
        // Another shard of a region that is mirrored in part counts, too: it is not mirrored.
        let regions: BTreeSet<(&str, &str)> =
            others.iter().filter_map(|log| region_of(&log.checkpoint.origin)).collect();
        let mut moves = Self::default();
        for log in own {
            let Checkpoint { origin, size, .. } = log.checkpoint;
            moves.sizes.insert(origin.clone(), *size);
            // Of the collections of a subject that is given away by the next entry about one.
            let mut count = 0;
            for entry in log.folder.entries(*size, 0, *size) {
                let (index, bytes) = entry?;
                // A verification says of one that is none.
                let Ok(entry) = Entry::decode(&bytes) else { continue };
                if entry.kind == Kind::MoveOut && entry.collection.is_some() {
                    count += entry.count().unwrap_or(0);
                    continue;
                }
                let counted = std::mem::take(&mut count);
                let at = Place { origin: origin.clone(), index };
                moves.take(at, &entry, counted, &regions);
            }
        }
        Ok(moves)
    }

    /// Takes an entry that is not about a collection of a subject that moves.
    fn take(&mut self, at: Place, entry: &Entry, counted: u64, regions: &BTreeSet<(&str, &str)>) {
        if entry.collection.is_some() {
            return;
        }
        let peer = entry
            .peer()
            .filter(|(origin, _)| region_of(origin).is_some_and(|of| regions.contains(&of)));
        let end = |count| {
            let (origin, index) = peer?;
            let peer = Place { origin: origin.to_owned(), index };
            let commitment = entry.commitment;
            let key = entry.log_key().map(str::to_owned);
            Some(End { peer, commitment, count, key, reasoned: entry.reason().is_some() })
        };
        if entry.kind == Kind::MoveOut {
            self.left.extend(end(counted).map(|end| (at, end)));
        } else if entry.kind == Kind::MoveIn && entry.peer().is_some() {
            let count = entry.count().unwrap_or(0);
            self.taken.extend(end(count).map(|end| (at, end)));
        } else if entry.kind == Kind::MoveIn && entry.count().is_none() {
            // One with a number says that the arrival was given up.
            self.begun.insert(at);
        }
    }

    /// Whether the mirror has that entry.
    fn has(&self, place: &Place) -> bool {
        self.sizes.get(&place.origin).is_some_and(|size| place.index < *size)
    }
}

// === impl Paired ===

impl Paired {
    /// Compares what one mirror has given away with what the other one has taken.
    fn compare(&mut self, from: &Moves, to: &Moves) {
        let mut takers: BTreeMap<&Place, Vec<(&Place, &End)>> = BTreeMap::new();
        for (at, end) in &to.taken {
            takers.entry(&end.peer).or_default().push((at, end));
        }
        for (at, left) in &from.left {
            let all = takers.remove(at).unwrap_or_default();
            match all.as_slice() {
                [] if !to.has(&left.peer) => self.not_mirrored += 1,
                [] => self.add(at, "MOVE_OUT gives a subject away, and no MOVE_IN entry names it"),
                [(by, taken)] => self.both(at, left, by, taken, to),
                [(by, taken), ..] if is_one_said_again(&all) => self.both(at, left, by, taken, to),
                more => {
                    let all =
                        more.iter().map(|(by, _)| named(by)).collect::<Vec<_>>().join(" and ");
                    self.add(at, &format!("MOVE_OUT is named by more than one MOVE_IN: {all}"));
                }
            }
        }
        for (left, all) in takers {
            let what = format!("MOVE_IN takes a subject that {} does not give away", named(left));
            for (by, _) in all {
                if from.has(left) {
                    self.add(by, &what);
                } else {
                    self.not_mirrored += 1;
                }
            }
        }
    }

    /// Compares the two entries of one move.
    fn both(&mut self, at: &Place, left: &End, by: &Place, taken: &End, to: &Moves) {
        let begun = !to.has(&left.peer) || to.begun.contains(&left.peer);
        let wrong = if left.commitment.is_none() || left.commitment != taken.commitment {
            Some("commits to other records than")
        } else if left.count != taken.count {
            Some("counts another number of records than")
        } else if shard_of(&left.peer.origin) != shard_of(&by.origin) {
            Some("gives the subject to another shard than")
        } else if !begun {
            Some("names as its beginning no entry with which a subject began to arrive; see")
        } else {
            None
        };
        match wrong {
            None => self.moves += 1,
            Some(wrong) => self.add(at, &format!("MOVE_OUT {wrong} the MOVE_IN {}", named(by))),
        }
    }

    fn add(&mut self, at: &Place, what: &str) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(format!("{}: {what}", named(at)));
        } else {
            self.more += 1;
        }
    }
}

/// Whether it is one entry that later periods of the same shard's log say again, with a reason: a restore or
/// a recovery had ended the log that said it first.
fn is_one_said_again(all: &[(&Place, &End)]) -> bool {
    let said = |(at, end): &(&Place, &End)| {
        (shard_of(&at.origin).map(str::to_owned), end.commitment, end.count, end.key.clone())
    };
    // They are in the order of their logs.
    all.windows(2).all(|two| match two {
        [one, next] => one.0.origin != next.0.origin && next.1.reasoned && said(one) == said(next),
        _ => false,
    })
}

/// An entry, as findings name it.
fn named(place: &Place) -> String {
    format!("{} entry {}", shown(&place.origin), place.index)
}

/// The deployment and the region of an origin.
fn region_of(origin: &str) -> Option<(&str, &str)> {
    Origin::parse(origin).map(|origin| (origin.deployment, origin.region))
}

/// The shard of an origin: all of it but the period.
fn shard_of(origin: &str) -> Option<&str> {
    Origin::parse(origin)?;
    origin.rsplit_once('/').map(|(shard, _)| shard)
}
