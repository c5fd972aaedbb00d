//! Copies between the shards of two mirrors: each COPY_IN entry has the entry of the home's log that placed
//! its version, and a COPY_OUT entry that sends that version to its region; all three commit to the same, and
//! the COPY_OUT is not dated after the COPY_IN. A COPY_OUT without a COPY_IN is under way, or a newer version
//! has overtaken it.
//!
//! COPY_OUT stands after the entry that it names, and the commitment rests on a random value that the home
//! draws as it stores the version. So a COPY_IN that agrees shows that the version lay at the home first.

use std::collections::{BTreeMap, BTreeSet};

use ledger::entry::{Entry, Kind};

use super::{Log, Paired, Place, named, region_of, shard_of};
use crate::folder::Error;
use crate::reconcile::{Live, supersedes, writes};

/// Minutes by which the clocks of two regions may differ.
const CLOCKS_MINUTES: u32 = 1;

/// An entry, by the number of its log among those of its mirror, and its own.
type At = (usize, u64);

/// A COPY_OUT or COPY_IN entry.
struct End {
    at: At,
    /// The entry of the home's log that placed the version.
    placed: At,
    /// The mirror's region.
    region: String,
    minute: u32,
    commitment: Option<[u8; 32]>,
}

/// What a mirror has of copies between its shards and those of the other one.
struct Copies<'a> {
    logs: &'a [Log<'a>],
    /// COPY_OUT entries to regions of the other mirror.
    sent: Vec<End>,
    /// COPY_IN entries from shards of the other mirror; `placed` is an entry there.
    came: Vec<End>,
    /// COPY_IN entries whose copy was not taken away by its name.
    held: Live,
    /// Writes whose record has another version by now, or went.
    old: Live,
    /// The minute of the last entry of each log.
    until: Vec<u32>,
    /// Entries whose other side is in a log that is not mirrored.
    not_mirrored: u64,
}

/// Compares the copies between the shards of two mirrors, in both directions.
pub(super) fn compare(
    paired: &mut Paired,
    first: &[Log<'_>],
    second: &[Log<'_>],
) -> Result<(), Error> {
    let one = Copies::read(first, second)?;
    let two = Copies::read(second, first)?;
    for (home, mirror) in [(&one, &two), (&two, &one)] {
        paired.copies_not_mirrored += home.not_mirrored;
        if !home.sent.is_empty() || !mirror.came.is_empty() {
            let placed = home.placed(mirror)?;
            paired.compare_copies(home, mirror, &placed);
        }
    }
    Ok(())
}

// === impl Copies ===

impl<'a> Copies<'a> {
    fn read(own: &'a [Log<'a>], others: &[Log<'_>]) -> Result<Self, Error> {
        let mut copies = Self {
            logs: own,
            sent: Vec::new(),
            came: Vec::new(),
            held: Live::default(),
            old: Live::default(),
            until: Vec::new(),
            not_mirrored: 0,
        };
        for (number, log) in own.iter().enumerate() {
            let size = log.checkpoint.size;
            copies.until.push(0);
            for entry in log.folder.entries(size, 0, size) {
                let (index, bytes) = entry?;
                // A verification says of one that is none.
                let Ok(entry) = Entry::decode(&bytes) else { continue };
                if let Some(until) = copies.until.last_mut() {
                    *until = entry.minute;
                }
                copies.take((number, index), &entry, others);
            }
        }
        Ok(copies)
    }

    fn take(&mut self, at: At, entry: &Entry, others: &[Log<'_>]) {
        // The entry of this shard that it names, in this log or an earlier one.
        let earlier = match (entry.earlier, entry.peer()) {
            (Some(index), _) => Some((at.0, index)),
            (None, Some((origin, index))) => find(self.logs, origin).map(|log| (log, index)),
            (None, None) => None,
        };
        if entry.kind == Kind::CopyIn {
            if let Some(index) = entry.earlier {
                self.held.take((at.0, index));
            }
            self.held.set(at);
            self.came(at, entry, others);
        } else if let (Kind::CopyDrop, Some(earlier)) = (entry.kind, earlier) {
            self.held.take(earlier);
        } else if entry.kind == Kind::CopyOut {
            self.sent(at, entry, earlier, others);
        } else if let Some(earlier) = earlier.filter(|_| supersedes(entry)) {
            self.old.set(earlier);
        }
    }

    /// A COPY_OUT, if the region to which it goes is of the other mirror.
    fn sent(&mut self, at: At, entry: &Entry, placed: Option<At>, others: &[Log<'_>]) {
        let region = entry.region().unwrap_or_default();
        let own = self.logs.get(at.0).and_then(|log| region_of(&log.checkpoint.origin));
        let mirror = own.map(|(deployment, _)| (deployment, region));
        if !others.iter().any(|log| mirror.is_some() && region_of(&log.checkpoint.origin) == mirror)
        {
            return;
        }
        match placed {
            Some(placed) => self.sent.push(End::of(at, placed, region, entry)),
            None => self.not_mirrored += 1,
        }
    }

    /// A COPY_IN whose home is a shard of the other mirror.
    fn came(&mut self, at: At, entry: &Entry, others: &[Log<'_>]) {
        let own = self.logs.get(at.0).and_then(|log| region_of(&log.checkpoint.origin));
        let (Some((_, region)), Some((origin, index))) = (own, entry.peer()) else { return };
        match find(others, origin) {
            Some(log) => self.came.push(End::of(at, (log, index), region, entry)),
            None => {
                let home = region_of(origin);
                let known = |log: &Log<'_>| region_of(&log.checkpoint.origin) == home;
                self.not_mirrored += u64::from(home.is_some() && others.iter().any(known));
            }
        }
    }

    /// The commitments of the writes of this mirror that copies of either side name.
    fn placed(&self, mirror: &Self) -> Result<BTreeMap<At, Option<[u8; 32]>>, Error> {
        let named: BTreeSet<At> =
            self.sent.iter().chain(&mirror.came).map(|end| end.placed).collect();
        let mut placed = BTreeMap::new();
        for (number, log) in self.logs.iter().enumerate() {
            let size = log.checkpoint.size;
            for entry in log.folder.entries(size, 0, size) {
                let (index, bytes) = entry?;
                if !named.contains(&(number, index)) {
                    continue;
                }
                let Ok(entry) = Entry::decode(&bytes) else { continue };
                if writes(&entry) {
                    placed.insert((number, index), entry.commitment);
                }
            }
        }
        Ok(placed)
    }

    /// An entry, as findings name it.
    fn place(&self, (log, index): At) -> Place {
        let origin = self.logs.get(log).map(|log| log.checkpoint.origin.clone());
        Place { origin: origin.unwrap_or_default(), index }
    }

    fn has(&self, (log, index): At) -> bool {
        self.logs.get(log).is_some_and(|log| index < log.checkpoint.size)
    }

    /// Whether an entry of that minute may be missing because the logs of that one's shard were mirrored
    /// before it.
    fn ends_before(&self, log: usize, minute: u32) -> bool {
        let shard = |log: &Log<'_>| shard_of(&log.checkpoint.origin).map(str::to_owned);
        let own = self.logs.get(log).and_then(shard);
        let logs = self.logs.iter().zip(&self.until).filter(|(log, _)| shard(log) == own);
        let last = logs.map(|(_, until)| *until).max().unwrap_or(0);
        last <= minute.saturating_add(CLOCKS_MINUTES)
    }
}

// === impl End ===

impl End {
    fn of(at: At, placed: At, region: &str, entry: &Entry) -> Self {
        let Entry { minute, commitment, .. } = *entry;
        Self { at, placed, region: region.to_owned(), minute, commitment }
    }

    /// The version and where it goes.
    fn key(&self) -> (At, &str) {
        (self.placed, &self.region)
    }
}

// === impl Paired ===

impl Paired {
    /// Compares what came to `mirror` with what `home` has placed and sent.
    fn compare_copies(
        &mut self,
        home: &Copies<'_>,
        mirror: &Copies<'_>,
        placed: &BTreeMap<At, Option<[u8; 32]>>,
    ) {
        let mut sent: BTreeMap<(At, &str), Vec<&End>> = BTreeMap::new();
        for end in &home.sent {
            sent.entry(end.key()).or_default().push(end);
            if !home.has(end.placed) {
                self.copies_not_mirrored += 1;
            } else if let Err(wrong) = agrees(end, home, placed) {
                self.add(&home.place(end.at), &format!("COPY_OUT {wrong}"));
            }
        }
        let mut came = BTreeSet::new();
        for end in &mirror.came {
            came.insert(end.key());
            let at = mirror.place(end.at);
            if !home.has(end.placed) {
                self.copies_not_mirrored += 1;
                continue;
            }
            if let Err(wrong) = agrees(end, home, placed) {
                self.add(&at, &format!("COPY_IN {wrong}"));
                continue;
            }
            let by = home.place(end.placed);
            let before = |out: &&End| out.minute <= end.minute.saturating_add(CLOCKS_MINUTES);
            match sent.get(&end.key()) {
                Some(all) if all.iter().any(before) => {
                    self.copies += 1;
                    let behind = home.old.has(end.placed) && mirror.held.has(end.at);
                    self.copies_behind += u64::from(behind);
                }
                Some(_) => {
                    let what = "is dated before each COPY_OUT entry of its version";
                    self.add(&at, &format!("COPY_IN {what}, {}", named(&by)));
                }
                None if home.ends_before(end.placed.0, end.minute) => self.copies_not_mirrored += 1,
                None => {
                    let what = "has a copy that no COPY_OUT entry sends: of the version of";
                    self.add(&at, &format!("COPY_IN {what} {}", named(&by)));
                }
            }
        }
        let under_way = sent.keys().filter(|key| !came.contains(*key)).count();
        self.copies_under_way += u64::try_from(under_way).unwrap_or(u64::MAX);
    }
}

/// Whether the version that the entry of a copy names is a write of its home, with the same commitment.
fn agrees(
    end: &End,
    home: &Copies<'_>,
    placed: &BTreeMap<At, Option<[u8; 32]>>,
) -> Result<(), String> {
    let by = home.place(end.placed);
    match placed.get(&end.placed) {
        None => Err(format!("names {}, which stores no record", named(&by))),
        Some(commitment) if commitment.is_none() || *commitment != end.commitment => {
            Err(format!("commits to another version than {}", named(&by)))
        }
        Some(_) => Ok(()),
    }
}

/// The number of the log of that origin.
fn find(logs: &[Log<'_>], origin: &str) -> Option<usize> {
    logs.iter().position(|log| log.checkpoint.origin == origin)
}
