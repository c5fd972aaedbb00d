//! The mirrored logs of one shard, the oldest first.

use std::path::Path;

use ledger::entry::{Entry, Kind};

use super::{Error, Place};
use crate::folder::{self, Folder};
use crate::random::sample;

/// One log, as far as its key has signed it.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) folder: Folder,
    pub(super) origin: String,
    pub(super) size: u64,
    /// Entries from its first whose records the store has, or had: all, unless the store was restored
    /// from a backup that has fewer.
    pub(super) kept: u64,
}

/// The mirrored logs of one shard: one for each period, the oldest first.
#[derive(Debug)]
pub struct Logs {
    older: Vec<Log>,
    newest: Log,
}

/// The first entries of a log, of which RESTORE is one.
const FIRST_ENTRIES: u64 = 8;

/// Receives an entry: its index, its content or why it is none, and its bytes.
type Each<'e> = dyn FnMut(u64, Result<&Entry, ledger::entry::Error>, &[u8]) + 'e;

// === impl Logs ===

impl Logs {
    /// The logs of every shard of which there are mirrors below `place`.
    ///
    /// # Errors
    /// [`Error`].
    pub fn of_all(place: &Path) -> Result<Vec<Self>, Error> {
        let unread = |error| Error::Folder { origin: place.display().to_string(), error };
        let mut logs = Vec::new();
        for folder in Folder::logs(place).map_err(unread)? {
            let log = Log::open(folder)?;
            logs.extend(log);
        }
        // The period is the last part of the origin, and a number.
        let key = |log: &Log| {
            let (shard, period) = log.origin.rsplit_once('/').unwrap_or_default();
            (shard.to_owned(), period.parse::<u64>().unwrap_or(0), period.to_owned())
        };
        logs.sort_by_cached_key(key);
        let mut shards: Vec<Self> = Vec::new();
        for log in logs {
            match shards.last_mut() {
                Some(shard) if shard.name() == shard_of(&log.origin) => {
                    let before = std::mem::replace(&mut shard.newest, log);
                    shard.older.push(before);
                }
                _ => shards.push(Self { older: Vec::new(), newest: log }),
            }
        }
        shards.iter_mut().try_for_each(Self::note_restores)?;
        Ok(shards)
    }

    /// Notes of which logs the store has lost the end, by the RESTORE entries of those after them.
    fn note_restores(&mut self) -> Result<(), Error> {
        let mut heads = Vec::new();
        for (number, log) in self.all().enumerate() {
            log.each(FIRST_ENTRIES, &mut |_, entry, _| {
                let restore = entry.ok().filter(|entry| entry.kind == Kind::Restore);
                heads.extend(restore.and_then(Entry::old_head).map(|head| (number, head)));
            })?;
        }
        for (number, head) in heads {
            for log in self.older.iter_mut().take(number) {
                if log.origin == head.origin {
                    log.kept = log.kept.min(head.size);
                } else if follows(&log.origin, &head.origin) {
                    log.kept = 0;
                }
            }
        }
        Ok(())
    }

    /// The logs of the shard one of whose logs is `origin`.
    ///
    /// # Errors
    /// [`Error`].
    pub fn of_shard(place: &Path, origin: &str) -> Result<Self, Error> {
        let all = Self::of_all(place)?;
        all.into_iter().find(|logs| logs.name() == shard_of(origin)).ok_or(Error::NoLog)
    }

    /// The shard, as `<deployment>/<region>/<shard>`.
    pub fn name(&self) -> &str {
        shard_of(&self.newest.origin)
    }

    /// The origin and the size of the log that grows.
    pub fn growing(&self) -> (&str, u64) {
        (&self.newest.origin, self.newest.size)
    }

    /// Up to `count` entries of the log that grows which the shard must be able to open: of
    /// writes that no later entry supersedes. The same seed draws the same ones.
    ///
    /// # Errors
    /// [`Error`].
    pub fn draw(&self, count: u32, seed: u64) -> Result<Vec<u64>, Error> {
        let size = usize::try_from(self.newest.size).unwrap_or(usize::MAX);
        let mut live = vec![false; size];
        self.newest.each(self.newest.size, &mut |index, entry, _| {
            let Ok(entry) = entry else { return };
            if writes(entry)
                && let Some(live) = usize::try_from(index).ok().and_then(|i| live.get_mut(i))
            {
                *live = true;
            }
            if let Some(earlier) = entry.earlier.filter(|_| supersedes(entry))
                && let Some(live) = usize::try_from(earlier).ok().and_then(|i| live.get_mut(i))
            {
                *live = false;
            }
        })?;
        let all = (0_u64..).zip(live).filter(|(_, live)| *live).map(|(index, _)| index);
        Ok(sample(all, usize::try_from(count).unwrap_or(0), seed))
    }

    pub(super) const fn newest(&self) -> &Log {
        &self.newest
    }

    pub(super) fn newest_number(&self) -> usize {
        self.older.len()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Log> {
        self.older.iter().chain([&self.newest])
    }

    pub(super) fn origin(&self, log: usize) -> &str {
        self.older.get(log).map_or(&self.newest.origin, |log| &log.origin)
    }

    /// Where an entry is, if its log is mirrored; an empty origin is the log that grows.
    pub(super) fn place(&self, origin: &str, index: u64) -> Option<Place> {
        let number = if origin.is_empty() {
            Some(self.newest_number())
        } else {
            self.all().position(|log| log.origin == origin)
        };
        number.map(|number| (number, index))
    }
}

// === impl Log ===

impl Log {
    /// The log in a folder. None: it has a key, and nothing yet.
    fn open(folder: Folder) -> Result<Option<Self>, Error> {
        let lost = |error| Error::Folder { origin: folder.path().display().to_string(), error };
        let key = folder.key().map_err(lost)?;
        match folder.checkpoint(&key) {
            Ok(at) => Ok(Some(Self { folder, origin: at.origin, size: at.size, kept: at.size })),
            Err(folder::Error::Missing(_)) => Ok(None),
            Err(error) => Err(lost(error)),
        }
    }

    /// Calls `each` with every entry before `until`, its index and its bytes. Bytes that are no entry
    /// are signed all the same, and do not stop the walk.
    pub(super) fn each(&self, until: u64, each: &mut Each<'_>) -> Result<(), Error> {
        let lost = |error| Error::Folder { origin: self.origin.clone(), error };
        // Another process may have extended the mirror; the files are those of its new size.
        let _held = self.folder.hold();
        let size = self.folder.key().and_then(|key| self.folder.checkpoint(&key)).map_err(lost)?;
        for entry in self.folder.entries(size.size, 0, until.min(self.size)) {
            let (index, bytes) = entry.map_err(lost)?;
            let entry = Entry::decode(&bytes);
            each(index, entry.as_ref().map_err(|error| *error), &bytes);
        }
        Ok(())
    }
}

/// Whether an entry takes away the record of the one that it names as earlier. A move of a whole subject
/// names none.
pub(crate) fn supersedes(entry: &Entry) -> bool {
    matches!(entry.kind, Kind::Replace | Kind::Delete | Kind::Expire)
        || (entry.kind == Kind::MoveOut && entry.earlier.is_some())
}

/// Whether an entry is the write of a record. One about a subject as a whole is none, and neither is one
/// about a copy.
pub(crate) fn writes(entry: &Entry) -> bool {
    matches!(entry.kind, Kind::Place | Kind::Replace)
        || (entry.kind == Kind::MoveIn && entry.collection.is_some())
}

/// Whether a log is of a later period of the same shard than `before`.
pub(super) fn follows(origin: &str, before: &str) -> bool {
    let period = |origin: &str| origin.rsplit_once('/').and_then(|(_, p)| p.parse::<u64>().ok());
    let later = matches!((period(origin), period(before)), (Some(a), Some(b)) if a > b);
    later && shard_of(origin) == shard_of(before)
}

fn shard_of(origin: &str) -> &str {
    origin.rsplit_once('/').map_or(origin, |(shard, _)| shard)
}
