//! One record at rest: a sealed body, and a sealed head that says everything else about it.
//!
//! The row, of format 2: `02`, version (8 bytes), length of the sealed body (4 bytes), the sealed
//! body, a nonce (12 bytes), the sealed head. In format 1 the head did not name its record, and was
//! bound to the names in plain; it is still read. A deleted record keeps its row, with an empty body
//! and no body key: its versions go on from there, and late retries are still known.

use terms::{Collection, RecordKey, RegionId, limits};
use zeroize::Zeroizing;

use crate::store::aead::{
    BodyCipher, KEY_BYTES, NONCE_BYTES, NotOpened, SealKey, TAG_BYTES, binding,
};
use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::keys::{Owner, Tag};

const FORMAT: u8 = 2;
/// The format whose head does not say which record it is.
const FORMAT_UNNAMED: u8 = 1;
/// Bytes before the sealed body.
const FRONT_BYTES: usize = 1 + 8 + 4;

/// A stored record that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stored record is damaged")]
pub(crate) struct Damaged;

impl From<Malformed> for Damaged {
    fn from(_: Malformed) -> Self {
        Self
    }
}

impl From<NotOpened> for Damaged {
    fn from(_: NotOpened) -> Self {
        Self
    }
}

/// Which record, and the texts that bind its row to its place.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) owner: Owner,
    pub(crate) collection: Collection,
    pub(crate) key: RecordKey,
    pub(crate) row: engine::Key,
}

impl Address {
    fn binding(&self, label: &str, region: &RegionId, version: Option<u64>) -> Vec<u8> {
        let parts = [
            region.as_str(),
            self.owner.tenant.as_str(),
            self.owner.subject.expose(),
            self.collection.as_str(),
            self.key.expose(),
        ];
        binding(label, &parts, version)
    }

    /// The statement to which the log's entry commits.
    pub(crate) fn statement(&self, version: u64, digest: [u8; 32]) -> Vec<u8> {
        ledger::statement::Statement {
            tenant: self.owner.tenant.as_str(),
            subject: self.owner.subject.expose(),
            collection: self.collection.as_str(),
            key: self.key.expose(),
            version,
            digest,
        }
        .encode()
    }
}

/// To what a head is bound: the place of its row, which is a keyed hash of the record's names.
fn head_binding(owner: &Owner, row: &[u8], region: &RegionId, version: u64) -> Vec<u8> {
    let mut bound = Writer::with_capacity(192);
    let parts = [region.as_str(), owner.tenant.as_str(), owner.subject.expose()];
    bound.fixed(&binding("head v2", &parts, Some(version))).bytes(row);
    bound.0
}

/// Where an entry stands: the period of the log, and the index in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryAt {
    pub(crate) period: u32,
    pub(crate) index: u64,
}

/// What a request did, kept so that a retry has no second effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recent {
    pub(crate) request_id: [u8; 16],
    pub(crate) fingerprint: Tag,
    pub(crate) minute: u32,
    pub(crate) version: u64,
    pub(crate) entry: EntryAt,
}

/// Everything about a record but its body.
#[derive(Clone)]
pub(crate) struct Head {
    pub(crate) version: u64,
    pub(crate) deleted: bool,
    pub(crate) entry: EntryAt,
    /// The opening of the newest entry: with it, and it lies nowhere else, the commitment opens.
    pub(crate) opening: [u8; 32],
    /// SHA-256 of opening and body.
    pub(crate) digest: [u8; 32],
    /// The key of the body, unless deleted.
    pub(crate) body_key: Zeroizing<[u8; KEY_BYTES]>,
    /// Newest last.
    pub(crate) recent: Vec<Recent>,
}

impl Head {
    /// What is still to be remembered when a write is added at `minute`.
    pub(crate) fn remembered(&self, minute: u32) -> Vec<Recent> {
        let hours = u32::try_from(limits::REQUEST_IDS_KEPT_HOURS).expect("a day or so");
        let oldest = minute.saturating_sub(hours * 60);
        let skip = (self.recent.len() + 1).saturating_sub(limits::REQUEST_IDS_KEPT_MAX);
        self.recent.iter().skip(skip).filter(|recent| recent.minute >= oldest).copied().collect()
    }

    /// What `request_id` did, if that is remembered.
    pub(crate) fn recent(&self, request_id: &[u8; 16]) -> Option<&Recent> {
        self.recent.iter().rev().find(|recent| recent.request_id == *request_id)
    }

    /// The etag: the version, and eight bytes that no other write has.
    pub(crate) fn etag(&self) -> String {
        etag(self.version, &self.digest)
    }

    fn encode(&self, address: &Address) -> Zeroizing<Vec<u8>> {
        let names = address.collection.as_str().len() + address.key.expose().len();
        let mut head = Writer::with_capacity(128 + names + self.recent.len() * 60);
        head.text(address.collection.as_str()).text(address.key.expose());
        head.u8(u8::from(self.deleted)).u32(self.entry.period).u64(self.entry.index);
        head.fixed(&self.opening).fixed(&self.digest).fixed(&*self.body_key);
        head.u32(u32::try_from(self.recent.len()).expect("bounded by REQUEST_IDS_KEPT_MAX"));
        for recent in &self.recent {
            head.fixed(&recent.request_id).fixed(&recent.fingerprint).u32(recent.minute);
            head.u64(recent.version).u32(recent.entry.period).u64(recent.entry.index);
        }
        Zeroizing::new(head.0)
    }

    /// What follows the names.
    fn decode(version: u64, head: &mut Reader<'_>) -> Result<Self, Malformed> {
        let deleted = match head.u8()? {
            0 => false,
            1 => true,
            _ => return Err(Malformed),
        };
        let entry = EntryAt { period: head.u32()?, index: head.u64()? };
        let (opening, digest) = (head.array()?, head.array()?);
        let body_key = Zeroizing::new(head.array()?);
        let count = usize::try_from(head.u32()?).map_err(|_| Malformed)?;
        if count > limits::REQUEST_IDS_KEPT_MAX {
            return Err(Malformed);
        }
        let mut recent = Vec::with_capacity(count);
        for _ in 0..count {
            recent.push(Recent {
                request_id: head.array()?,
                fingerprint: head.array()?,
                minute: head.u32()?,
                version: head.u64()?,
                entry: EntryAt { period: head.u32()?, index: head.u64()? },
            });
        }
        head.end()?;
        Ok(Self { version, deleted, entry, opening, digest, body_key, recent })
    }
}

/// The etag of a version whose content has this digest.
fn etag(version: u64, digest: &[u8; 32]) -> String {
    let [a, b, c, d, e, f, g, h, ..] = digest;
    format!("\"{version}-{a:02x}{b:02x}{c:02x}{d:02x}{e:02x}{f:02x}{g:02x}{h:02x}\"")
}

/// The beginning of a row: front and sealed body. Made in parallel, before the version is known.
pub(crate) struct SealedBody(Vec<u8>);

impl SealedBody {
    pub(crate) fn new(
        address: &Address,
        region: &RegionId,
        cipher: &dyn BodyCipher,
        key: &[u8; KEY_BYTES],
        body: &[u8],
    ) -> Self {
        let mut row = Vec::with_capacity(FRONT_BYTES + body.len() + TAG_BYTES + 256);
        row.extend_from_slice(&[0; FRONT_BYTES]);
        row.extend_from_slice(body);
        cipher.seal(key, &address.binding("body v1", region, None), &mut row, FRONT_BYTES);
        Self(row)
    }

    /// What a deleted record has in place of a body.
    pub(crate) fn none() -> Self {
        Self(vec![0; FRONT_BYTES])
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.0.len()
    }

    /// Completes the row with its sealed head.
    pub(crate) fn finish(
        self,
        address: &Address,
        region: &RegionId,
        head: &Head,
        (key, nonce): (&SealKey, [u8; NONCE_BYTES]),
    ) -> Vec<u8> {
        let mut row = self.0;
        let body_bytes = u32::try_from(row.len() - FRONT_BYTES).expect("bodies are below 4 GiB");
        let mut front = Writer::with_capacity(FRONT_BYTES);
        front.u8(FORMAT).u64(head.version).u32(body_bytes);
        row.get_mut(..FRONT_BYTES).expect("the row begins with it").copy_from_slice(&front.0);
        row.extend_from_slice(&nonce);
        let from = row.len();
        row.extend_from_slice(&head.encode(address));
        let bound = head_binding(&address.owner, &address.row, region, head.version);
        key.seal_tail(nonce, &bound, &mut row, from);
        row
    }
}

/// A row without its body: what a write's conditions need, however large the record is.
pub(crate) fn without_body(row: Vec<u8>) -> Vec<u8> {
    let Ok(stored) = Stored::read(&row) else {
        // Damaged: whoever opens it says so.
        return row;
    };
    let mut short = Writer::with_capacity(FRONT_BYTES + NONCE_BYTES + stored.head.len());
    short.u8(stored.format).u64(stored.version).bytes(&[]).fixed(&stored.nonce).fixed(stored.head);
    short.0
}

/// A row taken apart.
pub(crate) struct Stored<'a> {
    format: u8,
    version: u64,
    body: &'a [u8],
    nonce: [u8; NONCE_BYTES],
    head: &'a [u8],
}

impl<'a> Stored<'a> {
    pub(crate) fn read(row: &'a [u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(row);
        let format = reader.u8()?;
        if !matches!(format, FORMAT | FORMAT_UNNAMED) {
            return Err(Damaged);
        }
        let version = reader.u64()?;
        let body = reader.bytes()?;
        let nonce = reader.array()?;
        Ok(Self { format, version, body, nonce, head: reader.rest() })
    }

    /// Opens the head.
    pub(crate) fn head(
        &self,
        address: &Address,
        region: &RegionId,
        key: &SealKey,
    ) -> Result<Head, Damaged> {
        if self.format == FORMAT_UNNAMED {
            let mut sealed = Zeroizing::new(self.head.to_vec());
            let bound = address.binding("head v1", region, Some(self.version));
            let mut plain = Reader::new(key.open(self.nonce, &bound, &mut sealed)?);
            return Ok(Head::decode(self.version, &mut plain)?);
        }
        let Some((named, head)) = self.named(&address.owner, &address.row, (region, key))? else {
            return Err(Damaged);
        };
        let ours = named.collection == address.collection && named.key == address.key;
        if ours { Ok(head) } else { Err(Damaged) }
    }

    /// Opens the head of a row of which nothing is known but its place and whose it is. `None`: it
    /// is of format 1, which does not say which record it is.
    pub(crate) fn named(
        &self,
        owner: &Owner,
        row: &[u8],
        (region, key): (&RegionId, &SealKey),
    ) -> Result<Option<(Address, Head)>, Damaged> {
        if self.format == FORMAT_UNNAMED {
            return Ok(None);
        }
        let mut sealed = Zeroizing::new(self.head.to_vec());
        let bound = head_binding(owner, row, region, self.version);
        let mut plain = Reader::new(key.open(self.nonce, &bound, &mut sealed)?);
        let collection = Collection::parse(plain.text()?).map_err(|_| Damaged)?;
        let key = RecordKey::parse(plain.text()?).map_err(|_| Damaged)?;
        let head = Head::decode(self.version, &mut plain)?;
        let address = Address { owner: owner.clone(), collection, key, row: row.to_vec() };
        Ok(Some((address, head)))
    }

    /// Opens the body.
    pub(crate) fn body(
        &self,
        address: &Address,
        region: &RegionId,
        cipher: &dyn BodyCipher,
        head: &Head,
    ) -> Result<Vec<u8>, Damaged> {
        let bound = address.binding("body v1", region, None);
        Ok(cipher.open(&head.body_key, &bound, self.body.to_vec())?)
    }
}

#[cfg(test)]
mod tests {
    use terms::{Slot, SubjectId, TenantId};

    use super::*;
    use crate::store::aead::AesGcm;

    fn address(key: &str) -> Address {
        let owner = Owner {
            tenant: TenantId::parse("t").unwrap(),
            subject: SubjectId::parse("s").unwrap(),
            slot: Slot::new(3).unwrap(),
            tag: [1; 16],
        };
        let key = RecordKey::parse(key).unwrap();
        Address { owner, collection: Collection::parse("profiles").unwrap(), key, row: vec![] }
    }

    fn recent(n: u8, minute: u32) -> Recent {
        Recent {
            request_id: [n; 16],
            fingerprint: [n; 16],
            minute,
            version: u64::from(n),
            entry: EntryAt { period: 1, index: u64::from(n) },
        }
    }

    fn head(version: u64) -> Head {
        Head {
            version,
            deleted: false,
            entry: EntryAt { period: 1, index: 77 },
            opening: [2; 32],
            digest: [3; 32],
            body_key: Zeroizing::new([4; 32]),
            recent: vec![recent(1, 10), recent(2, 11)],
        }
    }

    #[test]
    fn a_row_opens_in_its_place_and_whole_only() {
        let (region, key) = (RegionId::parse("ru-msk").unwrap(), SealKey::new(&[9; 32]));
        let body = SealedBody::new(&address("main"), &region, &AesGcm, &[4; 32], b"hello");
        let row = body.finish(&address("main"), &region, &head(7), (&key, [5; 12]));

        let stored = Stored::read(&row).unwrap();
        let opened = stored.head(&address("main"), &region, &key).unwrap();
        assert_eq!((opened.version, opened.recent.len()), (7, 2));
        assert_eq!(stored.body(&address("main"), &region, &AesGcm, &opened).unwrap(), b"hello");

        let short = without_body(row.clone());
        let short = Stored::read(&short).unwrap();
        assert_eq!(short.head(&address("main"), &region, &key).unwrap().version, 7);
        assert!(short.body.is_empty());

        assert!(stored.head(&address("other"), &region, &key).is_err());
        assert!(stored.head(&address("main"), &RegionId::parse("eu").unwrap(), &key).is_err());
        for bit in 0..row.len() * 8 {
            let mut flipped = row.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let read = Stored::read(&flipped).and_then(|stored| {
                let head = stored.head(&address("main"), &region, &key)?;
                stored.body(&address("main"), &region, &AesGcm, &head)
            });
            assert!(read.is_err(), "bit {bit}");
        }
        for length in 0..row.len() {
            let cut = Stored::read(&row[..length])
                .and_then(|stored| stored.head(&address("main"), &region, &key));
            assert!(cut.is_err(), "length {length}");
        }
    }

    #[test]
    fn request_ids_are_remembered_for_a_day_and_64_writes() {
        let mut many = head(1);
        many.recent = (0..65).map(|n| recent(n, 5_000)).collect();
        let kept = many.remembered(5_001);
        assert_eq!((kept.len(), kept[0].request_id), (64, [1; 16]));
        many.recent = vec![recent(1, 100), recent(2, 5_000)];
        assert_eq!(many.remembered(100 + 24 * 60).len(), 2);
        assert_eq!(many.remembered(101 + 24 * 60).len(), 1);
    }
}
