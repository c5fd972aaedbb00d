//! Who has read a subject's records of collections whose reads are logged, and for which purpose: one row
//! a subject, encrypted under its key.
//!
//! Reads of one kind by one caller are one line with their number, so the row stays small however often
//! a subject is read. When it is full, what has no line yet is counted together. The row repeats
//! READ entries. It adds only which subject they concern.
//!
//! A READ entry about the subject alone changes the row in its commit. A page of the whole collection
//! changes it before that page is answered, once a day and caller and purpose: so the many who are in
//! pages that are asked for again and again cost a row a day, and not a row a page.
//!
//! The row ([`crate::store::own_row`]) has the lines.

use ledger::entry::{Caller, Role};
use terms::{Collection, RegionId};

use crate::Error;
use crate::store::aead::{NONCE_BYTES, SealKey};
use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::keys::Owner;
use crate::store::own_row::OwnRow;
use crate::store::types::{Incarnation, Minute};

/// Lines that are kept of one subject.
const LINES_MAX: usize = 64;
/// Lines that one caller has: for its further purposes there is one more of each kind and collection.
const LINES_OF_CALLER_MAX: usize = 16;
/// Lines that are read of another region: those, and one of others for each collection and kind.
pub(crate) const LINES_READ_MAX: usize = LINES_MAX + 2 * terms::limits::RULINGS_PER_SUBJECT_MAX;

/// How records were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccessKind {
    /// One by one, or in pages of this subject alone: READ entries are counted.
    Records,
    /// In pages of the whole collection: days are counted.
    Pages,
}

impl AccessKind {
    /// Its number in stored rows, and on the wire.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Records => 1,
            Self::Pages => 2,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Records, Self::Pages].into_iter().find(|kind| kind.code() == code)
    }
}

/// Reads of one kind by one caller.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) collection: Collection,
    pub(crate) kind: AccessKind,
    /// None: all callers for which no line is left.
    pub(crate) by: Option<Caller>,
    /// Empty: none was stated.
    pub(crate) purpose: String,
    pub(crate) reads: u64,
    pub(crate) first: Minute,
    pub(crate) last: Minute,
}

impl Access {
    fn is_of(&self, other: &Self) -> bool {
        (&self.collection, self.kind, &self.by, &self.purpose)
            == (&other.collection, other.kind, &other.by, &other.purpose)
    }

    /// Whether it says already what that read of the same kind would add: it was on the same day.
    fn says(&self, read: &Self) -> bool {
        self.kind == AccessKind::Pages && read.last.day() <= self.last.day()
    }

    pub(crate) fn write(&self, row: &mut Writer) {
        row.text(self.collection.as_str()).u8(self.kind.code());
        row.text(&self.purpose).u64(self.reads);
        row.u32(self.first.0).u32(self.last.0);
        match &self.by {
            None => {
                row.u8(0);
            }
            Some(Caller { role, tag, territory }) => {
                row.u8(role.code()).fixed(tag).text(territory.as_deref().unwrap_or_default());
            }
        }
    }

    pub(crate) fn read(row: &mut Reader<'_>) -> Result<Self, Malformed> {
        let collection = Collection::parse(row.text()?).map_err(|_| Malformed)?;
        let kind = AccessKind::from_code(row.u8()?).ok_or(Malformed)?;
        let (purpose, reads) = (row.text()?.to_owned(), row.u64()?);
        let (first, last) = (Minute(row.u32()?), Minute(row.u32()?));
        let by = match row.u8()? {
            0 => None,
            code => Some(Caller {
                role: Role::from_code(code).ok_or(Malformed)?,
                tag: row.array()?,
                territory: Some(row.text()?.to_owned()).filter(|text| !text.is_empty()),
            }),
        };
        Ok(Self { collection, kind, by, purpose, reads, first, last })
    }
}

/// The lines of one subject.
#[derive(Clone, Default)]
pub(crate) struct Accesses(pub(crate) Vec<Access>);

impl Accesses {
    /// Adds a read. False: the lines say it already.
    pub(crate) fn add(&mut self, mut read: Access) -> bool {
        let own = self.0.iter().filter(|line| line.by == read.by).count();
        if own >= LINES_OF_CALLER_MAX && !self.has(&read) {
            // Otherwise one caller could take the lines of all others.
            read.purpose.clear();
        }
        if self.0.len() >= LINES_MAX && !self.has(&read) {
            (read.by, read.purpose) = (None, String::new());
        }
        match self.0.iter_mut().find(|line| line.is_of(&read)) {
            Some(line) if line.says(&read) => return false,
            Some(line) => {
                line.reads = line.reads.saturating_add(read.reads);
                line.last = line.last.max(read.last);
            }
            None => self.0.push(read),
        }
        true
    }

    /// Whether there is a line for it.
    fn has(&self, read: &Access) -> bool {
        self.0.iter().any(|line| line.is_of(read))
    }

    /// The row as it is stored.
    pub(crate) fn seal(
        &self,
        owner: &Owner,
        incarnation: Incarnation,
        region: &RegionId,
        key: &SealKey,
        nonce: [u8; NONCE_BYTES],
    ) -> Vec<u8> {
        let bytes = 64 + self.0.len() * 96;
        row_of(owner, incarnation, region, key)
            .seal(nonce, bytes, |row| self.0.iter().for_each(|line| line.write(row)))
    }

    /// Opens a stored row.
    pub(crate) fn open(
        row: &[u8],
        owner: &Owner,
        incarnation: Incarnation,
        region: &RegionId,
        key: &SealKey,
    ) -> Result<Self, Error> {
        row_of(owner, incarnation, region, key).open(row, |plain| {
            let mut lines = Vec::new();
            while !plain.rest().is_empty() {
                lines.push(Access::read(plain)?);
            }
            Ok(Self(lines))
        })
    }
}

const fn row_of<'a>(
    owner: &'a Owner,
    incarnation: Incarnation,
    region: &'a RegionId,
    key: &'a SealKey,
) -> OwnRow<'a> {
    let (label, table) = ("subject accesses v1", "accesses");
    OwnRow { label, table, owner, incarnation, region, key }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn read(collection: &str, tag: u8, purpose: &str, minute: u32) -> Access {
        Access {
            collection: Collection::parse(collection).unwrap(),
            kind: AccessKind::Records,
            by: Some(Caller { role: Role::Reader, tag: [tag; 16], territory: Some("DE".into()) }),
            purpose: purpose.to_owned(),
            reads: 1,
            first: Minute(minute),
            last: Minute(minute),
        }
    }

    #[test]
    fn reads_of_one_kind_are_one_line_and_none_is_lost_when_all_lines_are_taken() {
        let mut all = Accesses::default();
        for minute in 1..=3 {
            all.add(read("a", 1, "care", minute));
        }
        let line = all.0.first().unwrap();
        assert_eq!((all.0.len(), line.reads, line.first, line.last), (1, 3, Minute(1), Minute(3)));
        for n in 0..200_u8 {
            all.add(read(if n % 2 == 0 { "a" } else { "b" }, n, "care", 4));
        }
        // One line of others for each collection.
        assert_eq!(all.0.len(), LINES_MAX + 2);
        assert_eq!(all.0.iter().map(|line| line.reads).sum::<u64>(), 203);
        // One that has its line already still finds it.
        all.add(read("a", 1, "care", 9));
        assert_eq!(all.0.first().unwrap().reads, 4);
    }

    #[test]
    fn one_caller_with_many_purposes_leaves_lines_for_others() {
        let mut all = Accesses::default();
        for n in 0..200 {
            all.add(read("a", 1, &format!("care {n}"), 4));
        }
        let told = |all: &Accesses| {
            let line = all.0.last().unwrap();
            (line.by.as_ref().unwrap().tag[0], line.purpose.clone(), line.reads)
        };
        assert_eq!(all.0.len(), LINES_OF_CALLER_MAX + 1);
        assert_eq!(told(&all), (1, String::new(), 184));
        all.add(read("a", 2, "care", 5));
        assert_eq!(told(&all), (2, "care".to_owned(), 1));
    }

    #[test]
    fn of_pages_each_day_is_told_once() {
        const DAY: u32 = 24 * 60;
        let page =
            |tag, minute| Access { kind: AccessKind::Pages, ..read("a", tag, "care", minute) };
        let mut all = Accesses::default();
        let days = [(1, true), (DAY - 1, false), (DAY, true), (1, false), (2 * DAY, true)];
        for (minute, new) in days {
            assert_eq!(all.add(page(1, minute)), new, "{minute}");
        }
        // A read of the subject alone is another line, and so is another caller's page.
        assert!(all.add(read("a", 1, "care", 2 * DAY)) && all.add(page(2, 2 * DAY)));
        let line = all.0.first().unwrap();
        assert_eq!((all.0.len(), line.reads), (3, 3));
        assert_eq!((line.first, line.last), (Minute(1), Minute(2 * DAY)));
        // Where no line is left, those of others are of a kind, too.
        for tag in 3..200 {
            all.add(page(tag, 2 * DAY));
        }
        assert_eq!(all.0.len(), LINES_MAX + 1);
        assert!(!all.add(page(200, 2 * DAY + 1)) && all.add(page(200, 3 * DAY)));
    }

    #[test]
    fn a_row_opens_in_its_place_only() {
        let folder = tempfile::tempdir().unwrap();
        let node = testing::node(folder.path(), &engine::Disk::new(1));
        let (owner, other) = (testing::address(&node, "anna").owner, testing::address(&node, "bo"));
        let (key, region) = (SealKey::new(&[7; 32]), &node.region);
        let mut all = Accesses::default();
        all.add(read("a", 1, "", 1));
        let kind = AccessKind::Pages;
        all.add(Access { by: None, kind, ..read("b", 2, "care", 2) });
        let first = Incarnation::FIRST;
        let row = all.seal(&owner, first, region, &key, [3; 12]);
        let opened = Accesses::open(&row, &owner, first, region, &key).unwrap();
        assert!(opened.0 == all.0);
        assert!(Accesses::open(&row, &other.owner, first, region, &key).is_err());
        assert!(Accesses::open(&row, &owner, Incarnation(2), region, &key).is_err());
        for bit in 0..row.len() * 8 {
            let mut flipped = row.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Accesses::open(&flipped, &owner, first, region, &key).is_err(), "bit {bit}");
        }
    }
}
