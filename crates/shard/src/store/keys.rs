//! Where each row lies: the keys of the store, and the one list of all rows.
//!
//! A subject's rows share a prefix for each kind, so that they lie together and move together.
//! Names of persons, collections and records appear only as HMACs under the region's index key. The tag
//! of a subject is made of its hash under the locate key, so that a gateway can ask for it by that hash.
//! Bodies lie apart from heads, so that a walk over subjects and records reads none of them.
//!
//! Every value begins with a format version, which is 1. A value of another version is refused.
//!
//! | prefix | what | key after it | value |
//! |---|---|---|---|
//! | `01` | identity of the store | | `store/identity.rs` |
//! | `02` | the region map in force | | `store/slots.rs` |
//! | `03` | a slot that this store owns | slot | the version alone |
//! | `04` | a region map that was taken, whole | its number | `store/region_maps.rs` |
//! | `05` | a constant sealed under a generation of the region's key | its number | `store/generations.rs` |
//! | `06` | of which collections a map that was taken keeps a feed | its number | `store/feed.rs` |
//! | `10` | a subject, or a record's head | slot, subject tag, then `00` for the subject's own row, or `01`, collection tag, record tag | `store/subject.rs`, `store/record.rs` |
//! | `11` | a record's body, if its head's row does not have it | as the head's row | `store/record.rs` |
//! | `12` | a chunk of an attachment | as the head's row, tag of the attachment, number | `store/attachment.rs` |
//! | `13` | an upload in progress | as the head's row, request id | `store/attachment.rs` |
//! | `14` | an attachment that is gone, whose chunks are not yet | as the head's row, tag of the attachment | `store/attachment.rs` |
//! | `15` | a request whose record was erased with its collection | as the head's row without the record's tag, day, request id | the version alone |
//! | `16` | who read a subject's records | as the subject's own row | `store/accesses.rs` |
//! | `17` | the proof of the move by which a subject came | as the subject's own row | `store/move_proof.rs` |
//! | `20` | a copy that is due | tag of the mirror's region, key of the head's row | version, entry, minute |
//! | `30` | a record in an index | tag of the index, value, key of the head's row | `store/index_keys.rs` |
//! | `31` | a record that expires | minute, key of the head's row | the version alone |
//! | `32` | a subject whose block ends, or whose erasure goes on | minute, key of the subject's row | the version alone |
//! | `33` | an erasure that is done, or a subject that has moved to or from another region | period and index of its entry | `log/erasure_file.rs` |
//! | `34` | a subject that moves from here | key of the subject's row | `store/moving.rs` |
//! | `35` | a move of a subject to here that has ended | key of the subject's row, id of the move, its source | `write/arrivals.rs` |
//! | `36` | a subject of which another region is to erase what it has | key of the subject's row, id of the move | `store/left_copy.rs` |
//! | `37` | a subject that arrives here from another region | key of the subject's row | the version alone |
//! | `38` | a collection of a subject of which another region has copies | key of the subject's row, tag of collection and region | `store/copy_mark.rs` |
//! | `39` | of which that region is to be told something | the region, key of the subject's row, tag as in `38` | `store/copy_mark.rs` |
//! | `3b` | the slots that are owned and not confirmed by the other shards of the region | | `store/slots.rs` |
//! | `3c` | a slot that goes to another shard of the region | slot | `store/slot_move.rs` |
//! | `3d` | a slot that comes from another shard of the region, or came | slot, id of the move | `store/slot_move.rs` |
//! | `3e` | a row of such a slot that is not in its place yet | its key | the row |
//! | `40` | the entries of one commit | period, index of the first | `log/mod.rs` |
//! | `41` | the right edge of the log | | `log/mod.rs` |
//! | `42` | a full tile | period, level, index | `log/mod.rs` |
//! | `43` | a period of the log that has ended | period | `log/closed_periods.rs` |
//! | `44` | the origin of another shard's log that records here name | log id | `store/foreign_log.rs` |
//! | `50` | what one commit changed, by tenant and collection (the change feed) | period, index of the commit's first entry | `store/feed.rs` |
//! | `51` | up to which row the change feed was swept | | `store/feed.rs` |
//! | `52` | the indexes that the map in force declares, and which are being built | | `store/index_state.rs` |
//! | `53` | how far the walk that builds them has come | | `store/index_state.rs` |
//! | `54` | how many records the list of a collection has | tag of the list's index | `store/list_number.rs` |
//! | `60` | copies of a collection of a subject whose home is another region | slot, subject tag, tag of collection and home | `store/copied_set.rs` |
//! | `61` | the head of such a copy | as `60`, record tag | `store/copied_record.rs` |
//! | `62` | its body, if its head's row does not have it | as `61` | `store/record.rs` |
//! | `63` | that copies here may have been dropped before a restore | | `store/copy_keys.rs` |
//! | `64` | that other regions may have copies of which a restored store does not know | | `store/copy_keys.rs` |
//!
//! Nothing is written under a reserved prefix.

use aws_lc_rs::hmac;
use engine::{Key, Span};
use ledger::tile::TileId;
use link::session::{LOCATE_BYTES, LocateKey, Question};
use terms::{Collection, RecordKey, RegionId, Slot, SubjectId, TenantId};
use zeroize::Zeroizing;

use crate::store::aead::{KEY_BYTES, binding};
use crate::store::codec::Writer;
pub(crate) use crate::store::due_keys::{
    all_arriving, all_left_copies, all_moving, all_subjects_due, arriving, copy_due, expires,
    expiring, is_left_copy, left_copies, left_copy, move_ended, moving, of_due, of_left_copy,
    of_moving, slot_of, subject_due, subjects_due,
};
pub(crate) use crate::store::feed_keys::{
    FEED_SWEPT, fed_commit, feed, feed_from, feed_rows, map_feeds, maps_feeds,
};
use crate::store::keyring::Keyring;
use crate::store::types::{
    AttachmentTag, EpochNumber, Fingerprint, KeyCheck, Period, SubjectTag, TAG_BYTES, TenantRows,
    TombstoneTag,
};

/// The store's identity.
pub(crate) const IDENTITY: &[u8] = &[0x01];
/// The region map in force.
pub(crate) const MAP: &[u8] = &[0x02];
/// The slots that are owned and not confirmed.
pub(crate) const UNCONFIRMED_SLOTS: &[u8] = &[0x3b];
/// The right edge of the log.
pub(crate) const EDGE: &[u8] = &[0x41];
/// The indexes of the map in force.
pub(crate) const INDEX_STATE: &[u8] = &[0x52];
/// How far the walk that builds indexes has come.
pub(crate) const INDEX_WALK: &[u8] = &[0x53];
/// Bytes of the tag of a collection in the keys of its rows.
pub(crate) const COLLECTION_TAG_BYTES: usize = 4;

/// Bytes of the key of a head before the record's tag.
const OF_COLLECTION_BYTES: usize = 20 + COLLECTION_TAG_BYTES;

/// Names rows and makes tags, under keys derived from the region's index key.
pub(crate) struct KeyLayout {
    rows: hmac::Key,
    requests: hmac::Key,
    tombstones: hmac::Key,
    indexes: hmac::Key,
    /// By it gateways ask for subjects, and rows of subjects are found.
    locate: LocateKey,
    locate_bytes: Zeroizing<[u8; LOCATE_BYTES]>,
}

/// What the rows of subjects are sealed and named with.
#[derive(Clone, Copy)]
pub(crate) struct SubjectKeys<'a> {
    pub(crate) region: &'a RegionId,
    pub(crate) layout: &'a KeyLayout,
    pub(crate) keyring: &'a dyn Keyring,
}

/// A subject within this region: who, and where the rows lie.
#[derive(Clone)]
pub(crate) struct Owner {
    pub(crate) tenant: TenantId,
    pub(crate) subject: SubjectId,
    pub(crate) slot: Slot,
    pub(crate) tag: SubjectTag,
}

impl Owner {
    /// The key of the subject's own row.
    pub(crate) fn row(&self) -> Key {
        let mut key = self.prefix();
        key.push(0x00);
        key
    }

    /// The key of the row that says who read its records.
    pub(crate) fn accesses(&self) -> Key {
        beside(&self.row(), 0x16)
    }

    /// The key of the row that proves the move by which it came.
    pub(crate) fn move_proof(&self) -> Key {
        beside(&self.row(), 0x17)
    }

    /// The heads of all its records.
    pub(crate) fn records(&self) -> Span {
        let mut heads = self.prefix();
        heads.push(0x01);
        Span::prefix(&heads)
    }

    /// All its uploads in progress.
    pub(crate) fn uploads(&self) -> Span {
        Span::prefix(&beside(&self.prefix(), 0x13))
    }

    /// What is noted of requests whose records were erased with their collection.
    pub(crate) fn gone_requests(&self) -> Span {
        Span::prefix(&beside(&self.prefix(), 0x15))
    }

    fn prefix(&self) -> Key {
        subject_prefix(self.slot, self.tag)
    }
}

fn subject_prefix(slot: Slot, tag: SubjectTag) -> Key {
    let mut key = Vec::with_capacity(40);
    key.push(0x10);
    key.extend_from_slice(&slot.number().to_be_bytes());
    key.extend_from_slice(&tag.0);
    key
}

/// A subject that is asked for without its id: where its own row lies.
pub(crate) struct Asked {
    pub(crate) slot: Slot,
    pub(crate) tag: SubjectTag,
    pub(crate) row: Key,
}

pub(crate) fn short(tag: hmac::Tag) -> [u8; TAG_BYTES] {
    *tag.as_ref().first_chunk().expect("HMAC-SHA-256 has 32 bytes")
}

impl KeyLayout {
    /// Derives its keys.
    pub(crate) fn new(keyring: &dyn Keyring) -> Self {
        let [rows, requests, tombstones, indexes] =
            ["rows", "requests", "tombstones", "indexes"].map(|purpose| keyring.derive(purpose));
        let locate = hmac::sign(&keyring.derive("locate"), b"bailiwick locate key v1");
        let locate_bytes = *locate.as_ref().first_chunk().expect("HMAC-SHA-256 has 32 bytes");
        let locate = LocateKey::new(&locate_bytes);
        Self { rows, requests, tombstones, indexes, locate, locate_bytes: locate_bytes.into() }
    }

    /// The locate key, as gateways get it.
    pub(crate) fn locate_key(&self) -> &[u8; LOCATE_BYTES] {
        &self.locate_bytes
    }

    /// The row of the subject that a gateway asks for, and its tag. None: it has not asked under this
    /// region's key, or for another tenant.
    pub(crate) fn asked_for(&self, tenant: &TenantId, question: &[u8]) -> Option<Asked> {
        let Question { slot, hash } = self.locate.read(tenant, question)?;
        let tag = self.subject_tag(&hash);
        Some(Asked { slot, tag, row: subject_row(&subject_prefix(slot, tag)) })
    }

    /// What the rows of a subject begin with, from its hash under the locate key.
    fn subject_tag(&self, hash: &[u8; LOCATE_BYTES]) -> SubjectTag {
        SubjectTag(short(hmac::sign(&self.rows, &[&b"subject"[..], hash].concat())))
    }

    /// What the identity row keeps of the index key, so that a wrong keyring is found at once.
    pub(crate) fn check(&self) -> KeyCheck {
        KeyCheck(short(hmac::sign(&self.rows, b"bailiwick key check: subjects by locate key")))
    }

    pub(crate) fn owner(&self, tenant: TenantId, subject: SubjectId) -> Owner {
        let tag = self.subject_tag(&self.locate.hash(&tenant, &subject));
        Owner { slot: Slot::of(&tenant, &subject), tenant, subject, tag }
    }

    /// The key of the row of a record's head.
    pub(crate) fn record(&self, owner: &Owner, collection: &Collection, key: &RecordKey) -> Key {
        let mut text = Writer::with_capacity(96);
        text.text("record").fixed(&owner.tag.0).text(collection.as_str()).text(key.expose());
        let of_record = short(hmac::sign(&self.rows, &text.0));
        let mut row = self.of_collection(owner, collection);
        row.extend_from_slice(&of_record);
        row
    }

    /// The heads of a subject's records of a collection, and perhaps of another: its tag is short.
    pub(crate) fn records(&self, owner: &Owner, collection: &Collection) -> Span {
        Span::prefix(&self.of_collection(owner, collection))
    }

    fn of_collection(&self, owner: &Owner, collection: &Collection) -> Key {
        let mut row = owner.prefix();
        row.push(0x01);
        row.extend_from_slice(&self.collection_tag(collection));
        row
    }

    /// All uploads for a subject's records of a collection, as [`KeyLayout::records`].
    pub(crate) fn uploads(&self, owner: &Owner, collection: &Collection) -> Span {
        Span::prefix(&beside(&self.of_collection(owner, collection), 0x13))
    }

    /// What is noted of requests whose records were erased with their collection before that day, as
    /// [`KeyLayout::records`].
    pub(crate) fn gone_requests(&self, owner: &Owner, collection: &Collection, day: u32) -> Span {
        let from = beside(&self.of_collection(owner, collection), 0x15);
        Span { until: [from.as_slice(), &day.to_be_bytes()].concat(), from }
    }

    /// What the heads of a collection's records have behind their subject's tag.
    pub(crate) fn collection_tag(&self, collection: &Collection) -> [u8; COLLECTION_TAG_BYTES] {
        let tag = hmac::sign(&self.rows, collection.as_str().as_bytes());
        *tag.as_ref().first_chunk().expect("32 bytes")
    }

    /// A keyed hash that names an index, or a value in one.
    pub(crate) fn index_tag(&self, text: &[u8]) -> [u8; TAG_BYTES] {
        short(hmac::sign(&self.indexes, text))
    }

    /// What the rows of an attachment are found by, from its own key.
    pub(crate) fn attachment(&self, key: &[u8; KEY_BYTES]) -> AttachmentTag {
        let text = [&b"attachment"[..], key].concat();
        AttachmentTag(short(hmac::sign(&self.rows, &Zeroizing::new(text))))
    }

    /// What the uploads of a tenant are counted by.
    pub(crate) fn tenant_rows(&self, tenant: &TenantId) -> TenantRows {
        TenantRows(short(hmac::sign(&self.rows, &binding("tenant", &[tenant.as_str()], None))))
    }

    /// A keyed hash of a whole request, by which a reused request id is told from a retry.
    pub(crate) fn fingerprint(&self, parts: &[&[u8]]) -> Fingerprint {
        let mut mac = hmac::Context::with_key(&self.requests);
        for part in parts {
            mac.update(&u64::try_from(part.len()).expect("64-bit lengths").to_be_bytes());
            mac.update(part);
        }
        Fingerprint(short(mac.sign()))
    }

    /// What authenticates the tombstone of a subject.
    pub(crate) fn tombstone(&self, subject: SubjectTag, stone: &[u8]) -> TombstoneTag {
        let mut text = Writer::with_capacity(128);
        text.fixed(&subject.0).fixed(stone);
        TombstoneTag(short(hmac::sign(&self.tombstones, &text.0)))
    }
}

/// The key of a subject's own row, by what all of its rows begin with.
pub(crate) fn subject_row(prefix: &[u8]) -> Key {
    [prefix, &[0x00]].concat()
}

/// The key of a record's body, by that of its head.
pub(crate) fn body(head: &[u8]) -> Key {
    beside(head, 0x11)
}

/// The same place under another prefix.
fn beside(row: &[u8], prefix: u8) -> Key {
    let mut key = row.to_vec();
    if let Some(first) = key.first_mut() {
        *first = prefix;
    }
    key
}

/// The key of a chunk of an attachment, by that of its record's head.
pub(crate) fn chunk(head: &[u8], attachment: AttachmentTag, number: u32) -> Key {
    let mut key = beside(head, 0x12);
    key.extend_from_slice(&attachment.0);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The key of an upload in progress, by that of its record's head.
pub(crate) fn upload(head: &[u8], request_id: &[u8; 16]) -> Key {
    let mut key = beside(head, 0x13);
    key.extend_from_slice(request_id);
    key
}

/// The key that says that an attachment is gone, by that of its record's head.
pub(crate) fn gone(head: &[u8], attachment: AttachmentTag) -> Key {
    let mut key = beside(head, 0x14);
    key.extend_from_slice(&attachment.0);
    key
}

/// All attachments that are gone and whose chunks are not yet.
pub(crate) fn all_gone() -> Span {
    Span::prefix(&[0x14])
}

/// Of which record's head, and which attachment, such a key speaks.
pub(crate) fn gone_attachment(key: &[u8]) -> Option<(Key, AttachmentTag)> {
    let (head, tag) = key.split_last_chunk()?;
    Some((beside(head, 0x10), AttachmentTag(*tag)))
}

/// All uploads in progress.
pub(crate) fn uploads() -> Span {
    Span::prefix(&[0x13])
}

/// The uploads in progress of the subject whose rows begin so: all, or those for collections with that
/// tag.
pub(crate) fn uploads_of(prefix: &[u8], collection: Option<[u8; COLLECTION_TAG_BYTES]>) -> Span {
    match collection {
        None => Span::prefix(&beside(prefix, 0x13)),
        Some(tag) => Span::prefix(&beside(&heads_of(prefix, tag).from, 0x13)),
    }
}

/// The key of the head of the record that an upload is for.
pub(crate) fn uploaded_record(upload: &[u8]) -> Option<Key> {
    Some(beside(upload.get(..upload.len().checked_sub(16)?)?, 0x10))
}

/// All rows of subjects, and all heads of records.
pub(crate) fn subjects() -> Span {
    Span::prefix(&[0x10])
}

/// What all rows of one subject begin with, and its tag.
pub(crate) fn of_subject(key: &[u8]) -> Option<(&[u8], SubjectTag)> {
    let prefix = key.get(..19)?;
    Some((prefix, SubjectTag(*prefix.last_chunk()?)))
}

/// The row that notes a request whose record was erased with its collection on that day. `head`: the key
/// of the head of any record of that collection.
pub(crate) fn gone_request(head: &[u8], day: u32, request_id: &[u8; 16]) -> Key {
    let of_collection = head.get(..OF_COLLECTION_BYTES).unwrap_or(head);
    let mut key = beside(of_collection, 0x15);
    key.extend_from_slice(&day.to_be_bytes());
    key.extend_from_slice(request_id);
    key
}

/// The tag of the collection in the key of a record's head, or of a row that lies as heads do.
pub(crate) fn collection_of(key: &[u8]) -> Option<[u8; COLLECTION_TAG_BYTES]> {
    key.get(19).filter(|kind| **kind == 0x01)?;
    key.get(20..24)?.try_into().ok()
}

/// The heads of the records of a subject whose rows begin so, of collections with that tag.
pub(crate) fn heads_of(prefix: &[u8], collection: [u8; COLLECTION_TAG_BYTES]) -> Span {
    Span::prefix(&[prefix, &[0x01], &collection].concat())
}

/// Whether a key is the head of a record whose collection has that tag.
pub(crate) fn is_head_of(key: &[u8], collection: [u8; COLLECTION_TAG_BYTES]) -> bool {
    collection_of(key) == Some(collection)
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
pub(crate) fn map_taken(epoch: EpochNumber) -> Key {
    let mut key = vec![0x04];
    key.extend_from_slice(&epoch.0.to_be_bytes());
    key
}

/// All maps that were taken, from that number on.
pub(crate) fn maps_taken(from: EpochNumber) -> Span {
    Span { from: map_taken(from), until: vec![0x05] }
}

/// The number in the key of a map that was taken.
pub(crate) fn map_taken_epoch(key: &[u8]) -> Option<EpochNumber> {
    key.last_chunk().map(|epoch| EpochNumber(u64::from_be_bytes(*epoch)))
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

/// The entries of the commit whose first entry is `index`.
pub(crate) fn entries(period: Period, index: u64) -> Key {
    let mut key = Writer::with_capacity(16);
    key.u8(0x40).u32(period.0).u64(index);
    key.0
}

/// The entry rows of a period that begin in `from..until`.
pub(crate) fn entries_span(period: Period, from: u64, until: u64) -> Span {
    Span { from: entries(period, from), until: entries(period, until) }
}

/// The index in the key of an entries row.
pub(crate) fn entries_index(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|index| u64::from_be_bytes(*index))
}

/// A period that has ended.
pub(crate) fn sealed(period: Period) -> Key {
    let mut key = Writer::with_capacity(8);
    key.u8(0x43).u32(period.0);
    key.0
}

/// All periods that have ended.
pub(crate) fn all_sealed() -> Span {
    Span::prefix(&[0x43])
}

/// A full tile.
pub(crate) fn tile(period: Period, tile: TileId) -> Key {
    let mut key = Writer::with_capacity(16);
    key.u8(0x42).u32(period.0).u8(tile.level).u64(tile.index);
    key.0
}
