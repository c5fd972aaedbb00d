//! An entry of the placement log: small, canonical, readable, without content or direct identifier.
//!
//! One sequence of bytes for each entry and no other: whatever decodes encodes to the same bytes.
//! Entries are hashed as they are and are never migrated; a later version of this codec adds a
//! format and goes on reading the old ones. Vectors: `tests/golden/entries.txt`.
//!
//! Layout, all numbers big endian:
//! ```text
//! u8   format, 1
//! u8   kind                         Kind::code
//! u32  minute                       whole minutes since 1970-01-01T00:00Z
//! u16  which of the following are there; the other bits are 0
//! bit 0   [16] tenant_tag
//! bit 1   name                      collection
//! bit 2   list                      jurisdictions
//! bit 3   list                      statutes
//! bit 4   list                      clauses
//! bit 5   u64, [32]                 map: epoch, digest
//! bit 6   u8                        evidence kinds: bit EvidenceKind::code for each
//! bit 7   u8, [16], u8, bytes       caller: Role::code, tag, length of territory (0: not known)
//! bit 8   u64                       earlier
//! bit 9   u8 count, details         each: u8 code, and
//!           1 count     u64
//!           2 reason    text
//!           3 old head  text, u64, [32]   origin, size, root
//!           4 peer      text, u64         origin, index
//!           5 deadline  u32               minutes since 1970-01-01T00:00Z
//!           6 log key   text              verifier key of a note
//!           7 phone data  text            version of the numbering plans
//!           8 ip data     text            version of the address database
//!           9 signers     text            names of the keys that signed a map, with commas
//!          10 region      text            the region at the other end of a copy
//!          11 references  text            what the map states as reference of each clause, with "; "
//! bit 10  [32] commitment
//! name    u8 length (1 to 127), bytes 0x21 to 0x7e, no comma
//! list    u8 count (1 to 64), names, each greater than the one before, byte by byte
//! text    u16 length (1 to 512), bytes 0x20 to 0x7e
//! details each code greater than the one before
//! ```

mod build;
mod codec;
mod codes;
mod copy;
mod display;

pub use build::{Call, Ruled};
pub use codes::{EvidenceKind, EvidenceKinds, Kind, Role};
pub use copy::{Copied, CopyEnd, references};
pub use display::Minute;

use crate::checkpoint::Checkpoint;
use crate::hash::Hash;

/// Bytes of an entry at the most; below what a bundle can hold.
pub const ENTRY_BYTES_MAX: usize = 32_768;
/// Bytes of a name (collection, jurisdiction, statute, clause, territory) at the most.
pub const NAME_BYTES_MAX: usize = 127;
/// Bytes of a text (reason, origin, key, version of data) at the most.
pub const TEXT_BYTES_MAX: usize = 512;
/// Names in one list at the most.
pub const LIST_ITEMS_MAX: usize = 64;

/// Why something is no entry. It never holds what was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A format that this version does not know.
    #[error("unknown format of an entry")]
    Format,
    /// A code that this version does not know, or a bit that must be 0.
    #[error("unknown code in an entry")]
    Code,
    /// The bytes end too early.
    #[error("the entry ends too early")]
    Truncated,
    /// Bytes are left over.
    #[error("bytes after the entry")]
    Trailing,
    /// A name, text, list or the entry itself is longer than its limit, or empty where that has
    /// to be said by leaving it out.
    #[error("a length in the entry is outside its limits")]
    Length,
    /// A name or text has a character that may not stand in it.
    #[error("a character that is not allowed in an entry")]
    Character,
    /// A list is not in order, or has something twice.
    #[error("a list of the entry is not in order")]
    Order,
}

/// What happened in one step, for auditors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What happened.
    pub kind: Kind,
    /// When, in whole minutes since 1970-01-01T00:00Z, rounded down.
    pub minute: u32,
    /// The tenant, by a tag that means something in this log only.
    pub tenant_tag: Option<[u8; 16]>,
    /// The kind of record.
    pub collection: Option<String>,
    /// The jurisdictions that attached, in order, each once.
    pub jurisdictions: Vec<String>,
    /// The statutes that attached, in order, each once.
    pub statutes: Vec<String>,
    /// The transfer clauses that were relied upon, in order, each once.
    pub clauses: Vec<String>,
    /// The region map that ruled.
    pub map: Option<MapRef>,
    /// Of what kinds the evidence was.
    pub evidence_kinds: EvidenceKinds,
    /// Who asked.
    pub caller: Option<Caller>,
    /// An earlier entry of this log that this one is about.
    pub earlier: Option<u64>,
    /// What else belongs to this kind, by code, each at most once.
    pub details: Vec<Detail>,
    /// The commitment to a statement: [`crate::statement::commitment`].
    pub commitment: Option<[u8; 32]>,
}

/// A region map, by number and digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MapRef {
    /// Its number.
    pub epoch: u64,
    /// SHA-256 of its bytes.
    pub digest: [u8; 32],
}

/// Who asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Caller {
    /// In what capacity.
    pub role: Role,
    /// Who, by a tag that means something in this log only.
    pub tag: [u8; 16],
    /// From which territory, if it is known.
    pub territory: Option<String>,
}

/// What belongs to some kinds of entry only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Detail {
    /// How many records, or reads.
    Count(u64),
    /// Why: a reason's name, or the stated purpose of a read.
    Reason(String),
    /// The head of the log that came before this one.
    OldHead {
        /// Its origin.
        origin: String,
        /// Its size.
        size: u64,
        /// Its root.
        root: Hash,
    },
    /// The entry on the other side of a move or copy.
    Peer {
        /// The other log.
        origin: String,
        /// The entry's number in it.
        index: u64,
    },
    /// By when, in whole minutes since 1970-01-01T00:00Z.
    Deadline(u32),
    /// The key of this log, as [`crate::note::Verifier::from_vkey`] reads it.
    LogKey(String),
    /// The version of the numbering plans that read the phone numbers.
    PhoneData(String),
    /// The version of the database that placed the addresses.
    IpData(String),
    /// The names of the keys that signed a region map, with commas between them.
    Signers(String),
    /// The region at the other end of a copy.
    Region(String),
    /// The references of the clauses that a copy rests on: [`references`].
    References(String),
}

// === impl Entry ===

impl Entry {
    /// An entry with nothing but its kind and time.
    pub const fn new(kind: Kind, minute: u32) -> Self {
        Self {
            kind,
            minute,
            tenant_tag: None,
            collection: None,
            jurisdictions: Vec::new(),
            statutes: Vec::new(),
            clauses: Vec::new(),
            map: None,
            evidence_kinds: EvidenceKinds::new(),
            caller: None,
            earlier: None,
            details: Vec::new(),
            commitment: None,
        }
    }

    /// The same with its lists in order and without doubles. Two details of one code stay and
    /// are refused by [`Entry::encode`]: which of them is meant is not for us to guess.
    #[must_use]
    pub fn in_order(mut self) -> Self {
        for list in [&mut self.jurisdictions, &mut self.statutes, &mut self.clauses] {
            list.sort_unstable();
            list.dedup();
        }
        self.details.sort_by_key(Detail::code);
        self
    }

    /// How many records or reads the entry counts.
    pub fn count(&self) -> Option<u64> {
        self.detail(|it| if let Detail::Count(count) = it { Some(*count) } else { None })
    }

    /// A reason's name, or the stated purpose of a read.
    pub fn reason(&self) -> Option<&str> {
        self.detail(|it| if let Detail::Reason(text) = it { Some(text.as_str()) } else { None })
    }

    /// The minute by which an erasure had to be done.
    pub fn deadline(&self) -> Option<u32> {
        self.detail(|it| if let Detail::Deadline(minute) = it { Some(*minute) } else { None })
    }

    /// The log's key, as GENESIS states it; of MOVE_IN, the key of the log that gave the subject away.
    pub fn log_key(&self) -> Option<&str> {
        self.detail(|it| if let Detail::LogKey(vkey) = it { Some(vkey.as_str()) } else { None })
    }

    /// The names of the keys that signed the map of a MAP entry, with commas between them.
    pub fn signers(&self) -> Option<&str> {
        self.detail(|it| if let Detail::Signers(names) = it { Some(names.as_str()) } else { None })
    }

    /// The region at the other end of a copy.
    pub fn region(&self) -> Option<&str> {
        self.detail(|it| if let Detail::Region(name) = it { Some(name.as_str()) } else { None })
    }

    /// The references of the clauses that a copy rests on.
    pub fn references(&self) -> Option<&str> {
        self.detail(|it| if let Detail::References(all) = it { Some(all.as_str()) } else { None })
    }

    /// Origin and index of the entry on the other side of a move or copy.
    pub fn peer(&self) -> Option<(&str, u64)> {
        self.detail(|it| {
            let Detail::Peer { origin, index } = it else { return None };
            Some((origin.as_str(), *index))
        })
    }

    /// The head of the log that came before this one. No signature of it is stated.
    pub fn old_head(&self) -> Option<Checkpoint> {
        self.detail(|it| {
            let Detail::OldHead { origin, size, root } = it else { return None };
            Some(Checkpoint { origin: origin.clone(), size: *size, root: *root })
        })
    }

    /// The only detail of which `of` makes something: the codec takes each code once.
    fn detail<'a, T>(&'a self, of: impl FnMut(&'a Detail) -> Option<T>) -> Option<T> {
        self.details.iter().find_map(of)
    }
}

// === impl Detail ===

impl Detail {
    /// Its number in an entry's bytes.
    pub const fn code(&self) -> u8 {
        match self {
            Self::Count(_) => 1,
            Self::Reason(_) => 2,
            Self::OldHead { .. } => 3,
            Self::Peer { .. } => 4,
            Self::Deadline(_) => 5,
            Self::LogKey(_) => 6,
            Self::PhoneData(_) => 7,
            Self::IpData(_) => 8,
            Self::Signers(_) => 9,
            Self::Region(_) => 10,
            Self::References(_) => 11,
        }
    }
}

#[cfg(test)]
mod tests;
