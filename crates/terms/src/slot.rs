//! The hash bucket that says which shard of a region holds a subject.

use sha2::{Digest, Sha256};

use crate::{SubjectId, TenantId};

/// Slots in a region. Frozen: another number would move people between shards.
pub const SLOTS: u16 = 1024;

/// One of the [`SLOTS`] hash buckets of a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u16);

impl Slot {
    /// The slot of a subject: the first ten bits of SHA-256 over a label and both ids, each with
    /// its length in front. Frozen, with test vectors: a change would make people unfindable.
    pub fn of(tenant: &TenantId, subject: &SubjectId) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"bailiwick slot v1");
        for part in [tenant.as_str(), subject.expose()] {
            hash.update(u32::try_from(part.len()).expect("ids are short").to_be_bytes());
            hash.update(part.as_bytes());
        }
        let digest: [u8; 32] = hash.finalize().into();
        let [first, second, ..] = digest;
        Self(u16::from_be_bytes([first, second]) >> 6)
    }

    /// Slot number `n`, if there is one.
    pub const fn new(n: u16) -> Option<Self> {
        if n < SLOTS { Some(Self(n)) } else { None }
    }

    /// Its number, below [`SLOTS`].
    pub const fn number(self) -> u16 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slot_of_a_subject_never_changes() {
        let slot = |tenant: &str, subject: &str| {
            Slot::of(&TenantId::parse(tenant).unwrap(), &SubjectId::parse(subject).unwrap())
                .number()
        };
        // Computed by another program (Python's hashlib) from the sentence above.
        assert_eq!(slot("sample", "p-00000"), 609);
        assert_eq!(slot("sample", "p-00001"), 492);
        assert_eq!(slot("a", "bc"), 525);
        assert_ne!(slot("a", "bc"), slot("ab", "c"));
    }
}
