//! Numbers and keyed hashes, each with a type of its own, so that none is taken for another.

use std::fmt;

use atlas::RegionMap;
use aws_lc_rs::digest;
use terms::UnixMillis;

use crate::store::codec::{Malformed, Reader, Writer};

/// Bytes of a keyed hash.
pub(crate) const TAG_BYTES: usize = 16;

macro_rules! tags {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) struct $name(pub(crate) [u8; TAG_BYTES]);
    )*};
}

tags! {
    /// By this tag one log, and no other, knows a tenant.
    TenantTag;
    /// By this tag one log, and no other, knows a caller.
    CallerTag;
    /// A subject within the region: the keyed hash of tenant and id.
    SubjectTag;
    /// A keyed hash of a whole request: tells a retry from a reused request id.
    Fingerprint;
    /// A keyed hash of a constant: tells one keyring from another.
    KeyCheck;
    /// An attachment: the keyed hash of its own key.
    AttachmentTag;
    /// A tenant within the store: by it the room of its uploads is counted.
    TenantRows;
    /// Authenticates a tombstone, whose row is not sealed.
    TombstoneTag;
}

impl Fingerprint {
    /// Of a request that was done in another region: that region's key hashed it.
    pub(crate) const ELSEWHERE: Self = Self([0xff; TAG_BYTES]);
}

/// Minutes since 1970-01-01T00:00Z. The log knows no finer time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Minute(pub(crate) u32);

impl Minute {
    pub(crate) fn of(now: UnixMillis) -> Self {
        Self(u32::try_from(now.minute()).unwrap_or(u32::MAX))
    }

    /// The day in which it lies, of UTC.
    pub(crate) const fn day(self) -> u32 {
        self.0 / (24 * 60)
    }

    pub(crate) const fn minus_minutes(self, minutes: u32) -> Self {
        Self(self.0.saturating_sub(minutes))
    }

    pub(crate) const fn minus_hours(self, hours: u32) -> Self {
        Self(self.0.saturating_sub(hours * 60))
    }
}

/// The version of a record: 1 for its first write, one more for each later write and deletion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u64);

impl Version {
    /// There is no record.
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Tells a subject from an earlier one of the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Incarnation(pub(crate) u32);

impl Incarnation {
    /// That of a subject that had no tombstone.
    pub(crate) const FIRST: Self = Self(1);
}

/// A period of a shard's log, from 1: a log of its own, with its own origin and key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Period(pub(crate) u32);

impl Period {
    /// That of a new store.
    pub(crate) const FIRST: Self = Self(1);

    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a region map: its version, as the map gives it. Its digest says the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EpochNumber(pub(crate) u64);

impl EpochNumber {
    pub(crate) fn of(map: &RegionMap) -> Self {
        Self(map.epoch().number)
    }

    /// The next number. None: there is none.
    pub(crate) fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl fmt::Display for EpochNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The place of an entry in its log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogIndex(pub(crate) u64);

/// A log, by the first eight bytes of the SHA-256 of its origin. It says the same at every shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LogId(pub(crate) [u8; 8]);

impl LogId {
    pub(crate) fn of(origin: &str) -> Self {
        let digest = digest::digest(&digest::SHA256, origin.as_bytes());
        Self(*digest.as_ref().first_chunk().expect("SHA-256 has 32 bytes"))
    }
}

/// A commit of this shard, by the first of its entries. Later commits compare as greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CommitAt {
    pub(crate) period: Period,
    pub(crate) index: u64,
}

/// Where an entry stands: one point read finds it, wherever the record has moved since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryAt {
    pub(crate) log: LogId,
    pub(crate) index: LogIndex,
    /// The index of the first entry in the row of entries that holds this one.
    pub(crate) first: LogIndex,
}

impl EntryAt {
    /// Bytes of its stored form.
    pub(crate) const BYTES: usize = 24;

    pub(crate) fn write(self, row: &mut Writer) {
        row.fixed(&self.log.0).u64(self.index.0).u64(self.first.0);
    }

    pub(crate) fn read(row: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (log, index, first) = (LogId(row.array()?), row.u64()?, row.u64()?);
        if first > index {
            return Err(Malformed);
        }
        Ok(Self { log, index: LogIndex(index), first: LogIndex(first) })
    }
}

/// What a request did, kept so that a retry has no second effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recent {
    pub(crate) request_id: [u8; 16],
    pub(crate) fingerprint: Fingerprint,
    pub(crate) minute: Minute,
    pub(crate) version: Version,
    pub(crate) entry: EntryAt,
}

impl Recent {
    /// Bytes of its stored form.
    pub(crate) const BYTES: usize = 16 + TAG_BYTES + 4 + 8 + EntryAt::BYTES;

    pub(crate) fn write(&self, row: &mut Writer) {
        row.fixed(&self.request_id).fixed(&self.fingerprint.0).u32(self.minute.0);
        row.u64(self.version.0);
        self.entry.write(row);
    }

    pub(crate) fn read(row: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            request_id: row.array()?,
            fingerprint: Fingerprint(row.array()?),
            minute: Minute(row.u32()?),
            version: Version(row.u64()?),
            entry: EntryAt::read(row)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_named_by_the_hash_of_its_origin() {
        // `printf 'sample/ru-msk/s1/1' | sha256sum | cut -c 1-16`
        assert_eq!(LogId::of("sample/ru-msk/s1/1").0, HASHED);
        assert_ne!(LogId::of("sample/ru-msk/s1/2").0, HASHED);
    }

    const HASHED: [u8; 8] = [0x40, 0x14, 0x12, 0xed, 0x5f, 0xa6, 0x25, 0xb5];

    #[test]
    fn an_entry_does_not_lie_before_its_row() {
        let at = |index, first| {
            let mut row = Writer::default();
            row.fixed(&[7; 8]).u64(index).u64(first);
            EntryAt::read(&mut Reader::new(&row.0))
        };
        let right = at(9, 4).unwrap();
        let mut row = Writer::default();
        right.write(&mut row);
        assert_eq!(row.0.len(), EntryAt::BYTES);
        assert_eq!(EntryAt::read(&mut Reader::new(&row.0)), Ok(right));
        assert_eq!(at(3, 4), Err(Malformed));
    }
}
