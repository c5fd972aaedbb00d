//! The copies of one collection of a subject whose home is another region, at the region that has them.
//!
//! They have a key of their own, which wraps nothing else: without this row none of them can be read.
//! The subject has no row of its own because of them. The name says whose they are to
//! what walks over all rows, as that of a subject does.
//!
//! The row of copies that are kept: `01`, `01`, generation (4 bytes), the wrapped key (60 bytes), the sealed
//! name with its length, a nonce (12 bytes), the sealed state. The row of copies that were dropped, so that
//! what comes late is known as late: `01`, `02`, the minute, whether rows are left (1 byte), and the place.
//!
//! A **place** says where something stands in the home's log: shard, period, index. What stands earlier in
//! the log of the same shard is older.

use std::sync::Arc;

use atlas::Findings;
use terms::{Collection, Entropy, RegionId, ShardId};
use zeroize::Zeroizing;

use crate::Error;
use crate::store::aead::{NONCE_BYTES, SealKey, binding};
use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::copy_keys;
use crate::store::keyring::WRAPPED_BYTES;
use crate::store::keys;
use crate::store::keys::{Owner, SubjectKeys};
use crate::store::secret_files::draw;
use crate::store::subject_name;
use crate::store::types::{Minute, Period, SubjectTag};

const FORMAT: u8 = 1;
const KEPT: u8 = 1;
const DROPPED: u8 = 2;
/// Hours for which it is known that copies were dropped.
const DROPPED_HOURS: u32 = 24;
const DAMAGED: Error = Error::Damaged("copies");

/// A place in the log of a shard of the home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HomePlace {
    pub(crate) shard: ShardId,
    pub(crate) period: Period,
    pub(crate) index: u64,
}

impl HomePlace {
    /// Before all places of that shard.
    pub(crate) const fn first(shard: ShardId) -> Self {
        Self { shard, period: Period(0), index: 0 }
    }

    /// Whether it is older than the other. The logs of two shards have no order.
    pub(crate) fn precedes(&self, other: &Self) -> bool {
        self.shard == other.shard && (self.period, self.index) < (other.period, other.index)
    }

    pub(crate) fn write(&self, row: &mut Writer) {
        row.text(self.shard.as_str()).u32(self.period.0).u64(self.index);
    }

    pub(crate) fn read(row: &mut Reader<'_>) -> Result<Self, Malformed> {
        let shard = ShardId::parse(row.text()?).map_err(|_| Malformed)?;
        Ok(Self { shard, period: Period(row.u32()?), index: row.u64()? })
    }
}

/// Copies that were dropped.
#[derive(Clone)]
pub(crate) struct DroppedSet {
    /// What stands before it in the home's log comes too late.
    pub(crate) at: HomePlace,
    pub(crate) minute: Minute,
    /// Rows of copies that no key opens any more are still there.
    pub(crate) left: bool,
}

impl DroppedSet {
    /// Whether nothing that stands before it can still come.
    pub(crate) fn is_over(&self, now: Minute) -> bool {
        !self.left && self.minute < now.minus_hours(DROPPED_HOURS)
    }

    pub(crate) fn row(&self) -> Vec<u8> {
        let mut row = Writer::with_capacity(64);
        row.u8(FORMAT).u8(DROPPED).u32(self.minute.0).u8(u8::from(self.left));
        self.at.write(&mut row);
        row.0
    }
}

/// A stored row.
pub(crate) enum SetRow {
    Kept(Box<CopiedSet>),
    Dropped(DroppedSet),
}

/// Copies that are kept. It has no `Debug`.
#[derive(Clone)]
pub(crate) struct CopiedSet {
    pub(crate) owner: Owner,
    pub(crate) collection: Collection,
    /// The region in which the records are.
    pub(crate) home: RegionId,
    /// On what the ruling rests.
    pub(crate) findings: Findings,
    /// The subject is blocked at its home: no copy is read.
    pub(crate) blocked: bool,
    /// Copies of records that are not deleted.
    pub(crate) live: u64,
    /// What stands before it in the home's log comes too late.
    pub(crate) floor: HomePlace,
    /// As of where the home has said last whether the subject is blocked.
    pub(crate) told: HomePlace,
    generation: u32,
    wrapped: [u8; WRAPPED_BYTES],
    key: Arc<SealKey>,
    name: Vec<u8>,
}

/// What copies are made with.
pub(crate) struct NewSet<'a> {
    pub(crate) owner: &'a Owner,
    pub(crate) collection: &'a Collection,
    pub(crate) home: &'a RegionId,
    pub(crate) findings: &'a Findings,
    pub(crate) floor: HomePlace,
    /// Where the copy stands with which it begins: what was said of the person before comes too late.
    pub(crate) told: HomePlace,
}

const KEY: &str = "copies key v1";
const STATE: &str = "copies state v1";

/// What binds a key, or a state, to its row.
fn bound(label: &str, owner: &Owner, region: &RegionId, key: &[u8]) -> Vec<u8> {
    let parts = [region.as_str(), owner.tenant.as_str(), owner.subject.expose()];
    let mut bound = binding(label, &parts, None);
    bound.extend_from_slice(key);
    bound
}

impl CopiedSet {
    /// Without copies yet, under a key of its own.
    pub(crate) fn create(
        new: NewSet<'_>,
        keys: SubjectKeys<'_>,
        entropy: &dyn Entropy,
    ) -> Result<Self, Error> {
        let NewSet { owner, collection, home, findings, floor, told } = new;
        let SubjectKeys { region, layout, keyring } = keys;
        let at = copy_keys::set(owner, layout.copy_set(collection, home));
        let (key, nonce) = (draw(entropy)?, nonce(entropy)?);
        let (generation, wrapped) = keyring.wrap(&key, &bound(KEY, owner, region, &at), nonce);
        Ok(Self {
            owner: owner.clone(),
            collection: collection.clone(),
            home: home.clone(),
            findings: findings.clone(),
            blocked: false,
            live: 0,
            told,
            floor,
            generation,
            wrapped,
            key: Arc::new(SealKey::new(&key)),
            name: subject_name::seal(owner, region, keyring, generation, entropy)?,
        })
    }

    /// The key of its row.
    pub(crate) fn at(&self, keys: SubjectKeys<'_>) -> Vec<u8> {
        copy_keys::set(&self.owner, keys.layout.copy_set(&self.collection, &self.home))
    }

    /// The key under which the heads of its copies are sealed.
    pub(crate) fn key(&self) -> &SealKey {
        &self.key
    }

    /// The row as it is stored.
    pub(crate) fn row(&self, keys: SubjectKeys<'_>, nonce: [u8; NONCE_BYTES]) -> Vec<u8> {
        let mut row = Writer::with_capacity(512);
        row.u8(FORMAT).u8(KEPT).u32(self.generation).fixed(&self.wrapped);
        row.bytes(&self.name).fixed(&nonce);
        let from = row.0.len();
        row.text(self.collection.as_str()).text(self.home.as_str());
        row.bytes(&self.findings.encode()).u8(u8::from(self.blocked)).u64(self.live);
        self.floor.write(&mut row);
        self.told.write(&mut row);
        let bound = bound(STATE, &self.owner, keys.region, &self.at(keys));
        self.key.seal_tail(nonce, &bound, &mut row.0, from);
        row.0
    }

    /// Opens a stored row.
    pub(crate) fn open(at: &[u8], row: &[u8], keys: SubjectKeys<'_>) -> Result<SetRow, Error> {
        let SubjectKeys { region, layout, keyring } = keys;
        let mut reader = Reader::new(row);
        reader.format(FORMAT)?;
        match reader.u8()? {
            KEPT => {}
            DROPPED => {
                let (minute, left) = (Minute(reader.u32()?), reader.u8()? == 1);
                let place = HomePlace::read(&mut reader)?;
                reader.end()?;
                return Ok(SetRow::Dropped(DroppedSet { at: place, minute, left }));
            }
            _ => return Err(DAMAGED),
        }
        let (generation, wrapped) = (reader.u32()?, reader.array::<WRAPPED_BYTES>()?);
        let (name, nonce) = (reader.bytes()?, reader.array::<NONCE_BYTES>()?);
        let (_, tag) = keys::of_subject(at).ok_or(DAMAGED)?;
        let owner = owner_of(name, tag, generation, keys)?;
        let of_key = bound(KEY, &owner, region, at);
        let key = keyring.unwrap(generation, &wrapped, &of_key).ok_or(DAMAGED)?;
        let key = Arc::new(SealKey::new(&key));
        let mut sealed = Zeroizing::new(reader.rest().to_vec());
        let of_state = bound(STATE, &owner, region, at);
        let mut state = Reader::new(key.open(nonce, &of_state, &mut sealed).map_err(|_| DAMAGED)?);
        let collection = Collection::parse(state.text()?).map_err(|_| DAMAGED)?;
        let home = RegionId::parse(state.text()?).map_err(|_| DAMAGED)?;
        let findings = Findings::decode(state.bytes()?).map_err(|_| DAMAGED)?;
        let (blocked, live) = (state.u8()? == 1, state.u64()?);
        let (floor, told) = (HomePlace::read(&mut state)?, HomePlace::read(&mut state)?);
        state.end()?;
        let name = name.to_vec();
        let set = Self {
            owner,
            collection,
            home,
            findings,
            blocked,
            live,
            floor,
            told,
            generation,
            wrapped,
            key,
            name,
        };
        let ours = copy_keys::set(&set.owner, layout.copy_set(&set.collection, &set.home)) == at;
        if ours { Ok(SetRow::Kept(Box::new(set))) } else { Err(DAMAGED) }
    }

    /// Under which generation a row is wrapped, by the row alone. `None`: nothing is.
    pub(crate) fn generation_of(row: &[u8]) -> Result<Option<u32>, Error> {
        let mut reader = Reader::new(row);
        reader.format(FORMAT)?;
        match reader.u8()? {
            KEPT => Ok(Some(reader.u32()?)),
            DROPPED => Ok(None),
            _ => Err(DAMAGED),
        }
    }

    /// The same copies, their key and name wrapped under the current generation. `None`: they are so
    /// already.
    pub(crate) fn rewrapped(
        &self,
        keys: SubjectKeys<'_>,
        entropy: &dyn Entropy,
    ) -> Result<Option<Self>, Error> {
        let SubjectKeys { region, keyring, .. } = keys;
        if keyring.current() == Some(self.generation) {
            return Ok(None);
        }
        let of_key = bound(KEY, &self.owner, region, &self.at(keys));
        let key = keyring.unwrap(self.generation, &self.wrapped, &of_key).ok_or(DAMAGED)?;
        let (generation, wrapped) = keyring.wrap(&key, &of_key, nonce(entropy)?);
        let name = subject_name::seal(&self.owner, region, keyring, generation, entropy)?;
        Ok(Some(Self { generation, wrapped, name, ..self.clone() }))
    }
}

fn nonce(entropy: &dyn Entropy) -> Result<[u8; NONCE_BYTES], Error> {
    let mut nonce = [0; NONCE_BYTES];
    entropy.fill(&mut nonce).map_err(|_| Error::NoEntropy)?;
    Ok(nonce)
}

fn owner_of(
    name: &[u8],
    tag: SubjectTag,
    generation: u32,
    keys: SubjectKeys<'_>,
) -> Result<Owner, Error> {
    let (tenant, subject) = subject_name::open(name, tag, generation, keys)?;
    let owner = keys.layout.owner(tenant, subject);
    if owner.tag == tag { Ok(owner) } else { Err(DAMAGED) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn copies_open_in_their_place_only_and_as_no_subject() {
        let folder = tempfile::tempdir().unwrap();
        let node = testing::node(folder.path(), &engine::Disk::new(1));
        let address = testing::address(&node, "anna");
        let home = RegionId::parse("in-bom").unwrap();
        let floor = HomePlace::first(ShardId::parse("s1").unwrap());
        let new = NewSet {
            owner: &address.owner,
            collection: &address.collection,
            home: &home,
            findings: &Findings::new(),
            told: floor.clone(),
            floor,
        };
        let keys = node.subject_keys();
        let mut set = CopiedSet::create(new, keys, &*node.entropy).unwrap();
        (set.live, set.blocked) = (7, true);
        let (at, row) = (set.at(keys), set.row(keys, [1; NONCE_BYTES]));
        assert!(!row.windows(4).any(|part| part == b"anna"));
        let SetRow::Kept(read) = CopiedSet::open(&at, &row, keys).unwrap() else {
            unreachable!("it is kept")
        };
        assert!(read.home == home && read.live == 7 && read.blocked);
        assert!(read.owner.tag == address.owner.tag && read.collection == address.collection);
        let other = RegionId::parse("kz-ala").unwrap();
        let elsewhere = copy_keys::set(&set.owner, node.namer.copy_set(&set.collection, &other));
        assert!(CopiedSet::open(&elsewhere, &row, keys).is_err());
        assert!(node.open_subject(&address.owner, &row).is_err(), "it is no subject");
    }

    #[test]
    fn a_place_precedes_later_ones_of_its_shard() {
        let place = |shard: &str, period, index| HomePlace {
            shard: ShardId::parse(shard).unwrap(),
            period: Period(period),
            index,
        };
        assert!(place("s1", 1, 9).precedes(&place("s1", 2, 0)));
        assert!(place("s1", 1, 8).precedes(&place("s1", 1, 9)));
        assert!(!place("s1", 1, 9).precedes(&place("s1", 1, 9)));
        assert!(!place("s1", 1, 8).precedes(&place("s2", 1, 9)));
    }
}
