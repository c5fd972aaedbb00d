//! The hash bucket that says which shard of a region holds a subject.

use std::fmt;

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

/// Bytes of a [`SlotSet`] as it travels.
pub const SLOT_SET_BYTES: usize = SLOTS as usize / 8;

/// A set of slots. Shown as ranges, such as `0-511, 600`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotSet([u8; SLOT_SET_BYTES]);

impl SlotSet {
    /// No slot.
    pub const NONE: Self = Self([0; SLOT_SET_BYTES]);
    /// Every slot.
    pub const ALL: Self = Self([0xff; SLOT_SET_BYTES]);

    /// From its bytes: slot 0 is the lowest bit of the first one. `None`: they are not as many as there
    /// are slots for.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Its bytes, as [`SlotSet::from_bytes`] reads them.
    pub const fn as_bytes(&self) -> &[u8; SLOT_SET_BYTES] {
        &self.0
    }

    /// The slots that a text names: numbers and ranges, as a set is shown. `None`: it names something
    /// else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut set = Self::NONE;
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.trim().parse::<u16>().ok().filter(|n| *n < SLOTS);
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            (first..=last).for_each(|n| set.insert(Slot(n)));
        }
        Some(set)
    }

    /// Adds a slot.
    pub fn insert(&mut self, slot: Slot) {
        if let Some(byte) = self.0.get_mut(usize::from(slot.0 / 8)) {
            *byte |= 1 << (slot.0 % 8);
        }
    }

    /// Whether a slot is in it.
    pub fn contains(&self, slot: Slot) -> bool {
        self.0.get(usize::from(slot.0 / 8)).is_some_and(|byte| byte >> (slot.0 % 8) & 1 == 1)
    }

    /// Whether it has no slot.
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    /// How many slots it has.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Its slots, in order.
    pub fn iter(&self) -> impl Iterator<Item = Slot> {
        (0..SLOTS).map(Slot).filter(|slot| self.contains(*slot))
    }

    /// The slots of either.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        self.with(other, |own, other| own | other)
    }

    /// The slots of both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        self.with(other, |own, other| own & other)
    }

    /// Those that the other does not have.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        self.with(other, |own, other| own & !other)
    }

    fn with(&self, other: &Self, join: impl Fn(u8, u8) -> u8) -> Self {
        let mut joined = self.clone();
        joined.0.iter_mut().zip(other.0).for_each(|(own, other)| *own = join(*own, other));
        joined
    }

    /// Its slots as ranges, each from its first to its last.
    pub fn ranges(&self) -> Vec<(Slot, Slot)> {
        let mut ranges: Vec<(Slot, Slot)> = Vec::new();
        for slot in self.iter() {
            match ranges.last_mut() {
                Some((_, last)) if last.0 + 1 == slot.0 => *last = slot,
                _ => ranges.push((slot, slot)),
            }
        }
        ranges
    }
}

impl Default for SlotSet {
    fn default() -> Self {
        Self::NONE
    }
}

impl FromIterator<Slot> for SlotSet {
    fn from_iter<T: IntoIterator<Item = Slot>>(slots: T) -> Self {
        let mut set = Self::NONE;
        slots.into_iter().for_each(|slot| set.insert(slot));
        set
    }
}

impl fmt::Display for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (first, last)) in self.ranges().into_iter().enumerate() {
            let comma = if n > 0 { ", " } else { "" };
            write!(f, "{comma}{}", first.0)?;
            if first != last {
                write!(f, "-{}", last.0)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_slots_has_what_was_put_in_and_says_so() {
        let slot = |n| Slot::new(n).unwrap();
        let set: SlotSet = [0, 1, 2, 7, 8, 600, 1022, 1023].map(slot).into_iter().collect();
        assert_eq!(set.to_string(), "0-2, 7-8, 600, 1022-1023");
        assert_eq!(set.len(), 8);
        assert!(set.iter().all(|slot| set.contains(slot)) && !set.contains(slot(3)));
        assert_eq!(SlotSet::from_bytes(set.as_bytes()), Some(set.clone()));
        assert_eq!(SlotSet::from_bytes(&[0; 127]), None);
        assert_eq!((SlotSet::ALL.to_string(), SlotSet::ALL.len()), ("0-1023".to_owned(), 1024));
        assert!(SlotSet::NONE.is_empty() && SlotSet::NONE.to_string().is_empty());
        let rest = SlotSet::ALL.without(&set);
        assert_eq!(rest.or(&set), SlotSet::ALL);
        assert!(rest.and(&set).is_empty());
        assert_eq!(SlotSet::parse(&set.to_string()), Some(set));
        for wrong in ["", "1-", "3-2", "1024", "a", "1,,2"] {
            assert_eq!(SlotSet::parse(wrong), None, "{wrong}");
        }
        let mut one = SlotSet::NONE;
        one.insert(slot(9));
        assert_eq!(one.as_bytes()[1], 2);
    }

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
