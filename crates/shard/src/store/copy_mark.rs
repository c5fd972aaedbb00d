//! What the home of a record knows of copies in other regions.
//!
//! A **mark** (prefix `38`) says that a region has, or may have, copies of a collection of a subject. It is
//! written with the first COPY_OUT entry, before a byte leaves, and goes when that region has confirmed that
//! it has erased them. So it outlives the subject's own row, and has the names that the other region must
//! be told, sealed under a key of this region. The row: `01`; the state (0: made, 1: to be dropped, 2:
//! dropped, as the rules allow none just now); why it is dropped; the other region with its length; a nonce
//! (12 bytes); sealed: tenant, id and collection.
//!
//! A row under `39` says that the region is to be told what the mark says, or that the subject is blocked.
//! Its value is `01` and the number of entries that the log had when it was written.
//!
//! A row under `20` says that a copy is due: `01`; the version, where its entry stands, the minute; then 0,
//! or 1 and where its COPY_OUT entry stands, or 2: it is an attachment, of which no copy is made.

use ledger::entry::CopyEnd;
use terms::{Collection, RegionId, SubjectId, TenantId};
use zeroize::Zeroizing;

use crate::Error;
use crate::store::aead::{NONCE_BYTES, SealKey, binding};
use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::copy_keys;
use crate::store::keyring::Keyring;
use crate::store::keys::{Owner, SubjectKeys};
use crate::store::types::{EntryAt, Minute, Version};

const FORMAT: u8 = 1;
const DAMAGED: Error = Error::Damaged("copies");

/// What is known of the copies in another region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MarkState {
    /// It has copies, or may have.
    Made,
    /// It is to erase them.
    Drop(CopyEnd),
    /// It has erased them, and the rules allow none. They are made again once the rules allow them.
    Gone,
}

/// A mark. It has no `Debug`.
#[derive(Clone)]
pub(crate) struct CopyMark {
    pub(crate) owner: Owner,
    pub(crate) collection: Collection,
    /// The region that has the copies.
    pub(crate) mirror: RegionId,
    pub(crate) state: MarkState,
}

fn seal_key(keyring: &dyn Keyring) -> SealKey {
    SealKey::derived(&keyring.derive("copies"), b"copy mark v1")
}

fn bound(here: &RegionId, mirror: &RegionId, key: &[u8]) -> Vec<u8> {
    let mut bound = binding("copy mark v1", &[here.as_str(), mirror.as_str()], None);
    bound.extend_from_slice(key);
    bound
}

const fn end_code(end: CopyEnd) -> u8 {
    match end {
        CopyEnd::Deleted => 1,
        CopyEnd::Expired => 2,
        CopyEnd::Erased => 3,
        CopyEnd::Withdrawn => 4,
        CopyEnd::Moved => 5,
        CopyEnd::Replaced => 6,
    }
}

impl CopyMark {
    /// The key of its row.
    pub(crate) fn key(&self, of: SubjectKeys<'_>) -> Vec<u8> {
        copy_keys::mark(&self.owner, of.layout.copy_set(&self.collection, &self.mirror))
    }

    /// Its row.
    pub(crate) fn row(&self, of: SubjectKeys<'_>, nonce: [u8; NONCE_BYTES]) -> Vec<u8> {
        let (state, why) = match self.state {
            MarkState::Made => (0, 0),
            MarkState::Drop(end) => (1, end_code(end)),
            MarkState::Gone => (2, 0),
        };
        let mut row = Writer::with_capacity(256);
        row.u8(FORMAT).u8(state).u8(why).text(self.mirror.as_str()).fixed(&nonce);
        let from = row.0.len();
        row.text(self.owner.tenant.as_str()).text(self.owner.subject.expose());
        row.text(self.collection.as_str());
        let bound = bound(of.region, &self.mirror, &self.key(of));
        seal_key(of.keyring).seal_tail(nonce, &bound, &mut row.0, from);
        row.0
    }

    /// Opens a stored row.
    pub(crate) fn open(key: &[u8], row: &[u8], of: SubjectKeys<'_>) -> Result<Self, Error> {
        let mut reader = Reader::new(row);
        reader.format(FORMAT)?;
        let state = match (reader.u8()?, reader.u8()?) {
            (0, 0) => MarkState::Made,
            (1, why) => {
                let end = CopyEnd::ALL.iter().find(|end| end_code(**end) == why);
                MarkState::Drop(*end.ok_or(DAMAGED)?)
            }
            (2, 0) => MarkState::Gone,
            _ => return Err(DAMAGED),
        };
        let mirror = RegionId::parse(reader.text()?).map_err(|_| Malformed)?;
        let nonce = reader.array::<NONCE_BYTES>()?;
        let mut sealed = Zeroizing::new(reader.rest().to_vec());
        let bound = bound(of.region, &mirror, key);
        let plain = seal_key(of.keyring).open(nonce, &bound, &mut sealed);
        let mut plain = Reader::new(plain.map_err(|_| DAMAGED)?);
        let tenant = TenantId::parse(plain.text()?).map_err(|_| Malformed)?;
        let subject = SubjectId::parse(plain.text()?).map_err(|_| Malformed)?;
        let collection = Collection::parse(plain.text()?).map_err(|_| Malformed)?;
        plain.end()?;
        let owner = of.layout.owner(tenant, subject);
        Ok(Self { owner, collection, mirror, state })
    }
}

/// The value of a row that says that a region is to be told something. `entries`: of the log at that
/// moment, with those of the commit before this one.
pub(crate) fn tell_row(entries: u64) -> Vec<u8> {
    let mut row = Writer::with_capacity(9);
    row.u8(FORMAT).u64(entries);
    row.0
}

/// What is done about a copy that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DueStep {
    /// Nothing yet.
    New,
    /// The version has this COPY_OUT entry.
    Sent(EntryAt),
    /// It is an attachment: no copy is made.
    Attachment,
}

/// A copy that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CopyDue {
    pub(crate) version: Version,
    pub(crate) entry: EntryAt,
    pub(crate) minute: Minute,
    pub(crate) step: DueStep,
}

impl CopyDue {
    /// Its row.
    pub(crate) fn row(&self) -> Vec<u8> {
        let mut due = Writer::with_capacity(64);
        due.u8(FORMAT).u64(self.version.0);
        self.entry.write(&mut due);
        due.u32(self.minute.0);
        match self.step {
            DueStep::New => {
                due.u8(0);
            }
            DueStep::Sent(at) => {
                due.u8(1);
                at.write(&mut due);
            }
            DueStep::Attachment => {
                due.u8(2);
            }
        }
        due.0
    }

    /// Reads a stored row.
    pub(crate) fn read(row: &[u8]) -> Result<Self, Error> {
        let mut due = Reader::new(row);
        due.format(FORMAT)?;
        let (version, entry) = (Version(due.u64()?), EntryAt::read(&mut due)?);
        let minute = Minute(due.u32()?);
        let step = match due.u8()? {
            0 => DueStep::New,
            1 => DueStep::Sent(EntryAt::read(&mut due)?),
            2 => DueStep::Attachment,
            _ => return Err(DAMAGED),
        };
        due.end()?;
        Ok(Self { version, entry, minute, step })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::types::{LogId, LogIndex};
    use crate::testing;

    #[test]
    fn a_mark_opens_in_its_place_only_and_names_no_person() {
        let folder = tempfile::tempdir().unwrap();
        let node = testing::node(folder.path(), &engine::Disk::new(1));
        let address = testing::address(&node, "anna");
        let mirror = RegionId::parse("in-bom").unwrap();
        let state = MarkState::Drop(CopyEnd::Erased);
        let (owner, collection) = (address.owner, address.collection);
        let mark = CopyMark { owner, collection, mirror, state };
        let keys = node.subject_keys();
        let (key, row) = (mark.key(keys), mark.row(keys, [1; NONCE_BYTES]));
        assert!(!row.windows(4).any(|part| part == b"anna"));
        let read = CopyMark::open(&key, &row, keys).unwrap();
        assert!(read.owner.tag == mark.owner.tag && read.collection == mark.collection);
        assert_eq!((read.mirror, read.state), (mark.mirror.clone(), mark.state));
        let elsewhere = CopyMark { mirror: RegionId::parse("kz-ala").unwrap(), ..mark };
        assert!(CopyMark::open(&elsewhere.key(keys), &row, keys).is_err());
        let mut changed = row;
        changed[1] = 0;
        assert!(CopyMark::open(&key, &changed, keys).is_err(), "a state has no reason");
    }

    #[test]
    fn what_is_due_is_read_as_it_was_written() {
        let entry = EntryAt { log: LogId([7; 8]), index: LogIndex(9), first: LogIndex(4) };
        for step in [DueStep::New, DueStep::Sent(entry), DueStep::Attachment] {
            let due = CopyDue { version: Version(3), entry, minute: Minute(5), step };
            assert_eq!(CopyDue::read(&due.row()).unwrap(), due);
        }
    }

    #[test]
    fn rows_of_one_region_are_found_by_it() {
        let folder = tempfile::tempdir().unwrap();
        let node = testing::node(folder.path(), &engine::Disk::new(1));
        let address = testing::address(&node, "anna");
        let mirror = RegionId::parse("in-bom").unwrap();
        let due = crate::store::keys::copy_due(&mirror, &address.row);
        assert_eq!(copy_keys::record_of_due(&due), Some(address.row.as_slice()));
        let (found, past) = copy_keys::region_of_due(&due).unwrap();
        assert!(
            found == mirror && due < past && copy_keys::copies_due(&mirror, None).until == past
        );
        let tag = node.namer.copy_set(&address.collection, &mirror);
        let mark = copy_keys::mark(&address.owner, tag);
        let tell = copy_keys::tell(&mirror, &mark);
        assert_eq!(copy_keys::mark_of_tell(&tell), Some(mark));
        let set = copy_keys::set(&address.owner, tag);
        let copy = copy_keys::copy(&set, &address.row);
        assert!(copy_keys::copies(&set)[0].from < copy && copy < copy_keys::copies(&set)[0].until);
    }
}
