//! The change feed: for each commit that changed records of a collection with a feed, one row that
//! says which. It names records by the keys of their heads, which are keyed hashes, so that a person
//! who is erased is named by nothing that is left.
//!
//! A row: `01`, the minute (4 bytes), a nonce (12 bytes), then sealed: groups of changes, each with
//! tenant, collection and the number of its changes (4 bytes), and of each change what it was (1
//! byte), the version (8 bytes) and the key of the head (40 bytes).
//!
//! Of which collections a map keeps a feed: `01`, then their names. Up to where the feed was swept:
//! `01`, period (4 bytes), index (8 bytes) of the last row that was removed.

use aws_lc_rs::hmac;
use engine::{Batch, Key, ScanLimit, View};
use terms::{Collection, RegionId, ShardId, TenantId};

use crate::Error;
use crate::store::aead::{NONCE_BYTES, SealKey, binding};
use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::keyring::Keyring;
use crate::store::keys;
use crate::store::record::Address;
use crate::store::types::{CommitAt, EpochNumber, Minute, Period, Version};

const FORMAT: u8 = 1;
/// Bytes of the key of a record's head.
const HEAD_KEY_BYTES: usize = 40;
/// Bytes of one change.
const CHANGE_BYTES: usize = 1 + 8 + HEAD_KEY_BYTES;
const DAMAGED: Error = Error::Damaged("change feed");
/// Maps that one look at their feeds goes through.
const MAPS_MAX: usize = 4_096;

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    /// It was put, patched or touched.
    Written,
    Deleted,
    /// Its time had come.
    Expired,
}

impl ChangeKind {
    const fn code(self) -> u8 {
        match self {
            Self::Written => 1,
            Self::Deleted => 2,
            Self::Expired => 3,
        }
    }

    const fn of_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Written),
            2 => Some(Self::Deleted),
            3 => Some(Self::Expired),
            _ => None,
        }
    }
}

/// One change of one record.
#[derive(Clone)]
pub(crate) struct Change {
    pub(crate) kind: ChangeKind,
    pub(crate) version: Version,
    /// The key of the record's head.
    pub(crate) head: Key,
}

/// The changes of one tenant's collection.
struct Group {
    tenant: TenantId,
    collection: Collection,
    changes: Vec<Change>,
}

/// The row of a commit that is being made.
#[derive(Default)]
pub(crate) struct FeedDraft {
    /// Drawn with the first change.
    nonce: Option<[u8; NONCE_BYTES]>,
    groups: Vec<Group>,
    changes: usize,
}

impl FeedDraft {
    /// Draws what the row needs, before anything of a change is done.
    pub(crate) fn begin(
        &mut self,
        draw: impl FnOnce() -> Result<[u8; NONCE_BYTES], Error>,
    ) -> Result<(), Error> {
        if self.nonce.is_none() {
            self.nonce = Some(draw()?);
        }
        Ok(())
    }

    pub(crate) fn add(&mut self, address: &Address, version: Version, kind: ChangeKind) {
        let (tenant, collection) = (&address.owner.tenant, &address.collection);
        let change = Change { kind, version, head: address.row.clone() };
        self.changes += 1;
        let own = |group: &&mut Group| group.tenant == *tenant && group.collection == *collection;
        match self.groups.iter_mut().find(own) {
            Some(group) => group.changes.push(change),
            None => self.groups.push(Group {
                tenant: tenant.clone(),
                collection: collection.clone(),
                changes: vec![change],
            }),
        }
    }

    /// Bytes of the row, roughly.
    pub(crate) const fn bytes(&self) -> usize {
        self.changes * CHANGE_BYTES
    }

    /// Adds the row to the commit whose first entry that is, if anything changed.
    pub(crate) fn finish(
        self,
        feed: impl FnOnce() -> FeedKey,
        batch: &mut Batch,
        commit: CommitAt,
        minute: Minute,
    ) {
        let Some(nonce) = self.nonce.filter(|_| self.changes > 0) else { return };
        let mut row = Writer::with_capacity(256 + self.bytes());
        row.u8(FORMAT).u32(minute.0).fixed(&nonce);
        let front = row.0.len();
        for Group { tenant, collection, changes } in &self.groups {
            row.text(tenant.as_str()).text(collection.as_str());
            row.u32(u32::try_from(changes.len()).expect("a commit has few thousand writes"));
            for change in changes {
                row.u8(change.kind.code()).u64(change.version.0).fixed(&change.head);
            }
        }
        let (key, mut row) = (keys::feed(commit), row.0);
        let feed = feed();
        feed.key.seal_tail(nonce, &feed.bound(&key), &mut row, front);
        batch.put(key, row);
    }
}

/// Seals and opens the rows of one shard.
pub(crate) struct FeedKey {
    key: SealKey,
    /// To what rows are bound besides their places: their shard.
    shard: Vec<u8>,
}

impl FeedKey {
    pub(crate) fn new(keyring: &dyn Keyring, region: &RegionId, shard: &ShardId) -> Self {
        let tag = hmac::sign(&keyring.derive("change feed"), b"key");
        let key = SealKey::new(tag.as_ref().first_chunk().expect("HMAC-SHA-256 has 32 bytes"));
        let shard = binding("change feed v1", &[region.as_str(), shard.as_str()], None);
        Self { key, shard }
    }

    fn bound(&self, key: &[u8]) -> Vec<u8> {
        [&self.shard[..], key].concat()
    }

    /// The changes that a row has of a tenant's collection, in their order.
    pub(crate) fn open(
        &self,
        key: &[u8],
        row: &[u8],
        tenant: &TenantId,
        collection: &Collection,
    ) -> Result<Vec<Change>, Error> {
        let mut front = Reader::new(row);
        front.format(FORMAT)?;
        let (_minute, nonce) = (front.u32()?, front.array()?);
        let mut sealed = front.rest().to_vec();
        let plain = self.key.open(nonce, &self.bound(key), &mut sealed).map_err(|_| DAMAGED)?;
        let mut rest = Reader::new(plain);
        let mut found = Vec::new();
        while !rest.rest().is_empty() {
            let (of, in_collection) = (rest.text()?, rest.text()?);
            let wanted = of == tenant.as_str() && in_collection == collection.as_str();
            for _ in 0..rest.u32()? {
                let change = change(&mut rest)?;
                if wanted {
                    found.push(change);
                }
            }
        }
        Ok(found)
    }
}

fn change(row: &mut Reader<'_>) -> Result<Change, Malformed> {
    let kind = ChangeKind::of_code(row.u8()?).ok_or(Malformed)?;
    let version = Version(row.u64()?);
    let head: [u8; HEAD_KEY_BYTES] = row.array()?;
    Ok(Change { kind, version, head: head.to_vec() })
}

/// When the commit of a row was.
pub(crate) fn minute_of(row: &[u8]) -> Result<Minute, Error> {
    let mut row = Reader::new(row);
    row.format(FORMAT)?;
    Ok(Minute(row.u32()?))
}

/// The row that says of which collections a map keeps a feed.
pub(crate) fn of_map(map: &atlas::RegionMap) -> Vec<u8> {
    let mut row = Writer::with_capacity(64);
    row.u8(FORMAT);
    for rules in map.collections().filter(|rules| rules.feed().is_some()) {
        row.text(rules.name().as_str());
    }
    row.0
}

/// Whether every map of these numbers that was taken keeps a feed of the collection; the first is
/// among them.
pub(crate) fn kept_throughout(
    view: &dyn View,
    from: EpochNumber,
    to: EpochNumber,
    collection: &Collection,
) -> Result<bool, Error> {
    let limit = ScanLimit { rows: MAPS_MAX, bytes: usize::MAX };
    let found = view.scan(&keys::maps_feeds(from, to), engine::Order::Ascending, limit)?;
    let first = found.rows.first().is_some_and(|(key, _)| *key == keys::map_feeds(from));
    if found.more || !first {
        return Ok(false);
    }
    for (_, row) in &found.rows {
        let mut names = Reader::new(row);
        names.format(FORMAT)?;
        let mut named = false;
        while !names.rest().is_empty() {
            named |= names.text()? == collection.as_str();
        }
        if !named {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The row that says that everything up to there was removed.
pub(crate) fn swept(last: CommitAt) -> Vec<u8> {
    let mut row = Writer::with_capacity(16);
    row.u8(FORMAT).u32(last.period.0).u64(last.index);
    row.0
}

/// The last row that was removed. None: none was.
pub(crate) fn swept_to(view: &dyn View) -> Result<Option<CommitAt>, Error> {
    let Some(row) = view.get_many(&[keys::FEED_SWEPT])?.pop().flatten() else { return Ok(None) };
    let mut row = Reader::new(&row);
    row.format(FORMAT)?;
    let last = CommitAt { period: Period(row.u32()?), index: row.u64()? };
    row.end()?;
    Ok(Some(last))
}
