//! Where each row lies: the keys of the store.
//!
//! A subject's rows share one prefix, so that they lie together and move together. Names of
//! persons, collections and records appear only as HMACs under the region's index key.
//!
//! | prefix | what | key after it |
//! |---|---|---|
//! | `01` | identity of the store | |
//! | `02` | the region map in force | |
//! | `03` | a slot that this store owns | slot |
//! | `04` | a region map that was taken, whole | its number |
//! | `05` | a constant sealed under a generation of the region's key | its number |
//! | `10` | a subject's rows | slot, subject tag, then `00` for the subject's own row, or `01`, collection tag, record tag |
//! | `20` | a copy that is due | tag of the mirror's region, record row |
//! | `40` | the entries of one commit | period, index of the first |
//! | `41` | the right edge of the log | |
//! | `42` | a full tile | period, level, index |
//! | `43` | a period of the log that has ended | period |

use aws_lc_rs::hmac;
use engine::{Key, Span};
use ledger::tile::TileId;
use terms::{Collection, RecordKey, RegionId, Slot, SubjectId, TenantId};

use crate::store::aead::binding;
use crate::store::codec::Writer;
use crate::store::keyring::Keyring;

/// The store's identity.
pub(crate) const IDENTITY: &[u8] = &[0x01];
/// The region map in force.
pub(crate) const MAP: &[u8] = &[0x02];
/// The right edge of the log.
pub(crate) const EDGE: &[u8] = &[0x41];

/// A keyed hash of sixteen bytes.
pub(crate) type Tag = [u8; 16];

/// Names rows and makes tags, under keys derived from the region's index key.
pub(crate) struct KeyLayout {
    rows: hmac::Key,
    requests: hmac::Key,
    log: hmac::Key,
}

/// A subject within this region: who, and where the rows lie.
#[derive(Clone)]
pub(crate) struct Owner {
    pub(crate) tenant: TenantId,
    pub(crate) subject: SubjectId,
    pub(crate) slot: Slot,
    pub(crate) tag: Tag,
}

impl Owner {
    /// The key of the subject's own row.
    pub(crate) fn row(&self) -> Key {
        let mut key = self.prefix();
        key.push(0x00);
        key
    }

    fn prefix(&self) -> Key {
        let mut key = Vec::with_capacity(40);
        key.push(0x10);
        key.extend_from_slice(&self.slot.number().to_be_bytes());
        key.extend_from_slice(&self.tag);
        key
    }
}

fn short(tag: hmac::Tag) -> Tag {
    *tag.as_ref().first_chunk().expect("HMAC-SHA-256 has 32 bytes")
}

impl KeyLayout {
    /// Derives its keys. Tags in the log are bound to the log's origin, so that two logs cannot be
    /// joined by them.
    pub(crate) fn new(keyring: &dyn Keyring, origin: &str) -> Self {
        let log = keyring.derive(&format!("log tags of {origin}"));
        Self { rows: keyring.derive("rows"), requests: keyring.derive("requests"), log }
    }

    /// What the identity row keeps of the index key, so that a wrong keyring is found at once.
    pub(crate) fn check(&self) -> Tag {
        short(hmac::sign(&self.rows, b"bailiwick key check"))
    }

    pub(crate) fn owner(&self, tenant: TenantId, subject: SubjectId) -> Owner {
        let text = binding("subject", &[tenant.as_str(), subject.expose()], None);
        let tag = short(hmac::sign(&self.rows, &text));
        Owner { slot: Slot::of(&tenant, &subject), tenant, subject, tag }
    }

    /// The key of a record's row.
    pub(crate) fn record(&self, owner: &Owner, collection: &Collection, key: &RecordKey) -> Key {
        let of_collection = hmac::sign(&self.rows, collection.as_str().as_bytes());
        let mut text = Writer::with_capacity(96);
        text.text("record").fixed(&owner.tag).text(collection.as_str()).text(key.expose());
        let of_record = short(hmac::sign(&self.rows, &text.0));
        let mut row = owner.prefix();
        row.push(0x01);
        row.extend_from_slice(of_collection.as_ref().first_chunk::<4>().expect("32 bytes"));
        row.extend_from_slice(&of_record);
        row
    }

    /// A keyed hash of a whole request, by which a reused request id is told from a retry.
    pub(crate) fn fingerprint(&self, parts: &[&[u8]]) -> Tag {
        let mut mac = hmac::Context::with_key(&self.requests);
        for part in parts {
            mac.update(&u64::try_from(part.len()).expect("64-bit lengths").to_be_bytes());
            mac.update(part);
        }
        short(mac.sign())
    }

    /// The tag by which this log, and no other, knows a tenant or a caller.
    pub(crate) fn log_tag(&self, what: &str, name: &str) -> Tag {
        short(hmac::sign(&self.log, &binding(what, &[name], None)))
    }
}

/// Whether a key is a record's.
pub(crate) fn is_record(key: &[u8]) -> bool {
    // Prefix, slot and subject tag; then the kind of row.
    key.first() == Some(&0x10) && key.get(19) == Some(&0x01)
}

/// All rows of subjects.
pub(crate) fn subjects() -> Span {
    Span::prefix(&[0x10])
}

/// What all rows of one subject begin with, and its tag.
pub(crate) fn of_subject(key: &[u8]) -> Option<(&[u8], Tag)> {
    let prefix = key.get(..19)?;
    Some((prefix, *prefix.last_chunk()?))
}

/// Whether a key is a subject's own row.
pub(crate) fn is_subject(key: &[u8]) -> bool {
    key.first() == Some(&0x10) && key.len() == 20 && key.last() == Some(&0x00)
}

/// The first key past the rows that begin so.
pub(crate) fn past_subject(prefix: &[u8]) -> Key {
    Span::prefix(prefix).until
}

/// The ownership row of a slot.
pub(crate) fn slot(slot: Slot) -> Key {
    let mut key = vec![0x03];
    key.extend_from_slice(&slot.number().to_be_bytes());
    key
}

/// A region map that was taken, by its number.
pub(crate) fn map_taken(epoch: u64) -> Key {
    let mut key = vec![0x04];
    key.extend_from_slice(&epoch.to_be_bytes());
    key
}

/// All maps that were taken, from that number on.
pub(crate) fn maps_taken(from: u64) -> Span {
    Span { from: map_taken(from), until: vec![0x05] }
}

/// The number in the key of a map that was taken.
pub(crate) fn map_taken_epoch(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|epoch| u64::from_be_bytes(*epoch))
}

/// The constant sealed under a generation of the region's key.
pub(crate) fn generation(number: u32) -> Key {
    let mut key = Writer::with_capacity(8);
    key.u8(0x05).u32(number);
    key.0
}

/// All such constants.
pub(crate) fn generations() -> Span {
    Span::prefix(&[0x05])
}

/// All ownership rows.
pub(crate) fn slots() -> Span {
    Span::prefix(&[0x03])
}

/// The row that says that `mirror` is due a copy of the record at `row`. One for each record and
/// mirror, however often the record changes before it is copied.
pub(crate) fn copy_due(mirror: &RegionId, row: &[u8]) -> Key {
    let mut key = Writer::with_capacity(64);
    key.u8(0x20).text(mirror.as_str()).fixed(row);
    key.0
}

/// The entries of the commit whose first entry is `index`.
pub(crate) fn entries(period: u32, index: u64) -> Key {
    let mut key = Writer::with_capacity(16);
    key.u8(0x40).u32(period).u64(index);
    key.0
}

/// The entry rows of a period that begin in `from..until`.
pub(crate) fn entries_span(period: u32, from: u64, until: u64) -> Span {
    Span { from: entries(period, from), until: entries(period, until) }
}

/// The index in the key of an entries row.
pub(crate) fn entries_index(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|index| u64::from_be_bytes(*index))
}

/// A period that has ended.
pub(crate) fn sealed(period: u32) -> Key {
    let mut key = Writer::with_capacity(8);
    key.u8(0x43).u32(period);
    key.0
}

/// All periods that have ended.
pub(crate) fn all_sealed() -> Span {
    Span::prefix(&[0x43])
}

/// A full tile.
pub(crate) fn tile(period: u32, tile: TileId) -> Key {
    let mut key = Writer::with_capacity(16);
    key.u8(0x42).u32(period).u8(tile.level).u64(tile.index);
    key.0
}
