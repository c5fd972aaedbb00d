//! The closed sets of an entry, each member with a number that never changes.

use std::fmt;

macro_rules! codes {
    (
        $(#[$doc:meta])*
        pub enum $name:ident { $($(#[$member_doc:meta])* $member:ident = $code:literal $text:literal,)* }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$member_doc])* $member,)* }

        impl $name {
            /// All of them, by code.
            pub const ALL: &'static [Self] = &[$(Self::$member),*];

            /// Its number in an entry's bytes.
            pub const fn code(self) -> u8 {
                match self { $(Self::$member => $code),* }
            }

            /// The one of that number.
            pub const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$member),)* _ => None }
            }

            /// Its name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$member => $text),* }
            }

            /// The one of that name.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|it| it.as_str() == text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

codes! {
    /// What happened.
    pub enum Kind {
        /// The log begins. Names its key, and the old head if it follows another log.
        Genesis = 1 "GENESIS",
        /// A region map was accepted.
        Map = 2 "MAP",
        /// A record was stored where there was none.
        Place = 3 "PLACE",
        /// A record got a new version.
        Replace = 4 "REPLACE",
        /// A record was deleted.
        Delete = 5 "DELETE",
        /// A record was deleted because its time had come.
        Expire = 6 "EXPIRE",
        /// A subject was erased, with the number of records.
        Erase = 7 "ERASE",
        /// A record of a `logged` collection was read.
        Read = 8 "READ",
        /// Reads of a `counted` collection, by caller and minute.
        Count = 9 "COUNT",
        /// A write was refused.
        Refuse = 10 "REFUSE",
        /// Records left for another region.
        MoveOut = 11 "MOVE_OUT",
        /// Records came from another region.
        MoveIn = 12 "MOVE_IN",
        /// A copy of a record's version is about to be sent to another region.
        CopyOut = 13 "COPY_OUT",
        /// A copy of a record's version came from its home, and is stored.
        CopyIn = 14 "COPY_IN",
        /// A person was given what is held about them.
        Export = 15 "EXPORT",
        /// A key was made, replaced, or destroyed.
        Key = 16 "KEY",
        /// A backup was taken.
        Backup = 17 "BACKUP",
        /// The store was restored.
        Restore = 18 "RESTORE",
        /// The log ends.
        Seal = 19 "SEAL",
        /// A subject was created, without a record.
        Create = 20 "CREATE",
        /// A subject was blocked: its records are kept, and neither read nor written.
        Block = 21 "BLOCK",
        /// The block on a subject was lifted, or has ended.
        Unblock = 22 "UNBLOCK",
        /// The rulings of a subject were made again from new evidence, and stand from now on.
        Reassess = 23 "REASSESS",
        /// Copies that came from another region were removed.
        CopyDrop = 24 "COPY_DROP",
        /// The region of a subject was proposed, or what was proposed was confirmed.
        Adjudicate = 25 "ADJUDICATE",
    }
}

codes! {
    /// In what capacity a caller acted.
    pub enum Role {
        /// Stores records.
        Writer = 1 "writer",
        /// Reads records.
        Reader = 2 "reader",
        /// Erases subjects.
        Eraser = 3 "eraser",
        /// Runs the region.
        Operator = 4 "operator",
        /// Reads the log.
        Auditor = 5 "auditor",
        /// Another shard, or this one by itself.
        Shard = 6 "shard",
        /// Proposes the region of a subject where the rules leave a choice.
        Adjudicator = 7 "adjudicator",
        /// Confirms what an adjudicator has proposed.
        Approver = 8 "approver",
    }
}

codes! {
    /// Of what kind a piece of evidence was. Its code is its bit in a set.
    pub enum EvidenceKind {
        /// Declared citizenship.
        Citizenship = 0 "citizenship",
        /// The issuer of a passport or national identity card.
        Document = 1 "document",
        /// Where the person resides.
        Residence = 2 "residence",
        /// Where the person was, as the caller knows.
        CollectedIn = 3 "collected_in",
        /// An internet address.
        Ip = 4 "ip",
        /// A telephone number.
        Phone = 5 "phone",
        /// A mobile country code.
        Sim = 6 "sim",
    }
}

/// The bits that stand for a kind of evidence.
const EVIDENCE_BITS: u8 = 0x7f;

/// A set of kinds of evidence.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct EvidenceKinds(u8);

// === impl EvidenceKinds ===

impl EvidenceKinds {
    /// None.
    pub const fn new() -> Self {
        Self(0)
    }

    /// The set of these bits, if each stands for a kind.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !EVIDENCE_BITS == 0 { Some(Self(bits)) } else { None }
    }

    /// One bit for each kind, by its code.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `kind` is among them.
    pub const fn contains(self, kind: EvidenceKind) -> bool {
        self.0 & (1 << kind.code()) != 0
    }

    /// Adds `kind`.
    pub const fn insert(&mut self, kind: EvidenceKind) {
        self.0 |= 1 << kind.code();
    }

    /// The kinds, by code.
    pub fn iter(self) -> impl Iterator<Item = EvidenceKind> {
        EvidenceKind::ALL.iter().copied().filter(move |kind| self.contains(*kind))
    }
}

impl FromIterator<EvidenceKind> for EvidenceKinds {
    fn from_iter<I: IntoIterator<Item = EvidenceKind>>(kinds: I) -> Self {
        let mut set = Self::new();
        kinds.into_iter().for_each(|kind| set.insert(kind));
        set
    }
}

impl fmt::Debug for EvidenceKinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_never_change() {
        let kinds = "GENESIS MAP PLACE REPLACE DELETE EXPIRE ERASE READ COUNT REFUSE MOVE_OUT \
                     MOVE_IN COPY_OUT COPY_IN EXPORT KEY BACKUP RESTORE SEAL CREATE BLOCK \
                     UNBLOCK REASSESS COPY_DROP ADJUDICATE";
        for (code, name) in (1..).zip(kinds.split(' ')) {
            let kind = Kind::from_code(code).unwrap();
            assert_eq!((kind.code(), kind.as_str()), (code, name));
            assert_eq!(Kind::parse(name), Some(kind));
        }
        assert_eq!((Kind::from_code(0), Kind::from_code(26)), (None, None));
        assert_eq!(Kind::ALL.len(), 25);
        let roles = "writer reader eraser operator auditor shard adjudicator approver";
        for (code, name) in (1..).zip(roles.split(' ')) {
            assert_eq!(Role::from_code(code).map(Role::as_str), Some(name));
        }
        assert_eq!((Role::from_code(0), Role::from_code(9)), (None, None));
        let evidence = "citizenship document residence collected_in ip phone sim";
        for (code, name) in (0..).zip(evidence.split(' ')) {
            assert_eq!(EvidenceKind::from_code(code).map(EvidenceKind::as_str), Some(name));
        }
        assert_eq!(EvidenceKind::from_code(7), None);
    }

    #[test]
    fn a_set_of_evidence_is_its_bits() {
        let set: EvidenceKinds =
            [EvidenceKind::Phone, EvidenceKind::Citizenship].into_iter().collect();
        assert_eq!(set.bits(), 0b010_0001);
        assert_eq!(
            set.iter().collect::<Vec<_>>(),
            [EvidenceKind::Citizenship, EvidenceKind::Phone]
        );
        assert_eq!(EvidenceKinds::from_bits(0x80), None);
        let all: EvidenceKinds = EvidenceKind::ALL.iter().copied().collect();
        assert_eq!(EvidenceKinds::from_bits(0x7f), Some(all));
    }
}
