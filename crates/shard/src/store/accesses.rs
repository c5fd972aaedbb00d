//! Who has read a subject's records of collections whose reads are logged, and for which purpose: one row
//! a subject, encrypted under its key, and changed in the commit of each READ entry about it alone.
//!
//! Reads of one kind by one caller are one line with their number, so the row stays small however often
//! a subject is read. When it is full, what has no line yet is counted together. The row repeats
//! READ entries. It adds only which subject they concern.
//!
//! Layout: the format (1 byte), a nonce (12 bytes), the encrypted lines.

use ledger::entry::{Caller, Role};
use terms::{Collection, RegionId};
use zeroize::Zeroizing;

use crate::Error;
use crate::store::aead::{NONCE_BYTES, SealKey, binding};
use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::keys::Owner;
use crate::store::types::{Incarnation, Minute};

const FORMAT: u8 = 1;
/// Lines that are kept of one subject.
const LINES_MAX: usize = 64;
/// Lines that are read of another region: those, and one of others for each collection.
pub(crate) const LINES_READ_MAX: usize = LINES_MAX + terms::limits::RULINGS_PER_SUBJECT_MAX;
const DAMAGED: Error = Error::Damaged("accesses");

/// Reads of one kind by one caller.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) collection: Collection,
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
        (&self.collection, &self.by, &self.purpose)
            == (&other.collection, &other.by, &other.purpose)
    }

    pub(crate) fn write(&self, row: &mut Writer) {
        row.text(self.collection.as_str()).text(&self.purpose).u64(self.reads);
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
        Ok(Self { collection, by, purpose, reads, first, last })
    }
}

/// The lines of one subject.
#[derive(Clone, Default)]
pub(crate) struct Accesses(pub(crate) Vec<Access>);

impl Accesses {
    /// Adds a read.
    pub(crate) fn add(&mut self, read: Access) {
        let full = self.0.len() >= LINES_MAX;
        let known = self.0.iter().any(|line| line.is_of(&read));
        let read =
            if full && !known { Access { by: None, purpose: String::new(), ..read } } else { read };
        match self.0.iter_mut().find(|line| line.is_of(&read)) {
            Some(line) => {
                line.reads = line.reads.saturating_add(read.reads);
                line.last = line.last.max(read.last);
            }
            None => self.0.push(read),
        }
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
        let mut row = Writer::with_capacity(64 + self.0.len() * 96);
        row.u8(FORMAT).fixed(&nonce);
        let from = row.0.len();
        self.0.iter().for_each(|line| line.write(&mut row));
        key.seal_tail(nonce, &bound(owner, incarnation, region), &mut row.0, from);
        row.0
    }

    /// Opens a stored row.
    pub(crate) fn open(
        row: &[u8],
        owner: &Owner,
        incarnation: Incarnation,
        region: &RegionId,
        key: &SealKey,
    ) -> Result<Self, Error> {
        let mut reader = Reader::new(row);
        reader.format(FORMAT)?;
        let nonce = reader.array()?;
        let mut sealed = Zeroizing::new(reader.rest().to_vec());
        let bound = bound(owner, incarnation, region);
        let mut plain = Reader::new(key.open(nonce, &bound, &mut sealed).map_err(|_| DAMAGED)?);
        let mut lines = Vec::new();
        while !plain.rest().is_empty() {
            lines.push(Access::read(&mut plain)?);
        }
        Ok(Self(lines))
    }
}

fn bound(owner: &Owner, incarnation: Incarnation, region: &RegionId) -> Vec<u8> {
    let parts = [region.as_str(), owner.tenant.as_str(), owner.subject.expose()];
    binding("subject accesses v1", &parts, Some(incarnation.0.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn read(collection: &str, tag: u8, purpose: &str, minute: u32) -> Access {
        Access {
            collection: Collection::parse(collection).unwrap(),
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
    fn a_row_opens_in_its_place_only() {
        let folder = tempfile::tempdir().unwrap();
        let node = testing::node(folder.path(), &engine::Disk::new(1));
        let (owner, other) = (testing::address(&node, "anna").owner, testing::address(&node, "bo"));
        let (key, region) = (SealKey::new(&[7; 32]), &node.region);
        let mut all = Accesses::default();
        all.add(read("a", 1, "", 1));
        all.add(Access { by: None, ..read("b", 2, "care", 2) });
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
