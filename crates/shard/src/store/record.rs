//! One record at rest: a head that says everything about it but its body, and the body.
//!
//! The head's row: `01`, version (8 bytes), a nonce (12 bytes), the sealed head with its length,
//! and the sealed body if that has at most [`INLINE_BYTES_MAX`]. A larger body has a row of its own
//! ([`crate::store::keys::body`]): `01`, the sealed body. So whatever needs no body reads none, and
//! a small put is one row.
//!
//! The sealed head: the names of collection and record, incarnation of the subject, where the body
//! is and its bytes, the entry, its opening, the content's digest, the body's key, when the record
//! expires (milliseconds since 1970; 0: never), the attributes ([`crate::store::indexed`]), and the
//! recent requests.
//!
//! A deleted record keeps its head, without body, key or content: its versions go on from there,
//! and late retries are still known.

use terms::{Collection, RecordKey, RegionId, UnixMillis, limits};
use zeroize::Zeroizing;

use crate::store::aead::{
    BodyCipher, KEY_BYTES, NONCE_BYTES, NotOpened, SealKey, TAG_BYTES, binding,
};
use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::indexed::{INDEXED_BYTES_MAX, Indexed};
use crate::store::keys::Owner;
use crate::store::types::{EntryAt, Incarnation, Minute, Recent, Version};

const FORMAT: u8 = 1;
/// Bytes of a sealed body that still lies in the row of its head.
pub(crate) const INLINE_BYTES_MAX: usize = 4 << 10;
/// Bytes of a head's row before the sealed head.
const FRONT_BYTES: usize = 1 + 8 + NONCE_BYTES + 4;
/// Bytes of a head beside its names, its attributes and its recent requests.
const HEAD_FIXED_BYTES: usize = 4 + 4 + 4 + 5 + EntryAt::BYTES + 32 + 32 + KEY_BYTES + 8 + 4;
/// Bytes that the row of a head has at most.
pub(crate) const HEAD_ROW_BYTES_MAX: usize = FRONT_BYTES
    + HEAD_FIXED_BYTES
    + INDEXED_BYTES_MAX
    + limits::NAME_BYTES_MAX
    + limits::RECORD_KEY_BYTES_MAX
    + limits::REQUEST_IDS_KEPT_MAX * Recent::BYTES
    + TAG_BYTES
    + INLINE_BYTES_MAX;
/// The record never expires.
const NEVER: u64 = 0;

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
    /// The key of its head's row.
    pub(crate) row: engine::Key,
}

impl Address {
    /// To what a body is bound. Its version is not known yet when it is sealed; the key that lies
    /// in the head binds it to that.
    fn body_binding(&self, region: &RegionId) -> Vec<u8> {
        let parts = [
            region.as_str(),
            self.owner.tenant.as_str(),
            self.owner.subject.expose(),
            self.collection.as_str(),
            self.key.expose(),
        ];
        binding("record body v1", &parts, None)
    }

    /// The statement to which the log's entry commits.
    pub(crate) fn statement(&self, version: Version, digest: [u8; 32]) -> Vec<u8> {
        ledger::statement::Statement {
            tenant: self.owner.tenant.as_str(),
            subject: self.owner.subject.expose(),
            collection: self.collection.as_str(),
            key: self.key.expose(),
            version: version.0,
            digest,
        }
        .encode()
    }
}

/// To what a head is bound: the place of its row, which is a keyed hash of the record's names.
fn head_binding(owner: &Owner, row: &[u8], region: &RegionId, version: Version) -> Vec<u8> {
    let mut bound = Writer::with_capacity(192);
    let parts = [region.as_str(), owner.tenant.as_str(), owner.subject.expose()];
    bound.fixed(&binding("record head v1", &parts, Some(version.0))).bytes(row);
    bound.0
}

/// Where the body of a version is, and how many bytes it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// There is none: the record is deleted.
    Deleted,
    /// In the row of the head.
    Inline(u32),
    /// In a row of its own.
    Apart(u32),
    /// An attachment, in chunks ([`crate::store::attachment`]).
    Chunked(u32),
}

impl Body {
    fn of(bytes: usize) -> Self {
        let length = u32::try_from(bytes).expect("bodies are below 4 GiB");
        if bytes + TAG_BYTES <= INLINE_BYTES_MAX {
            Self::Inline(length)
        } else {
            Self::Apart(length)
        }
    }

    fn write(self, head: &mut Writer) {
        let (kind, bytes) = match self {
            Self::Deleted => (0, 0),
            Self::Inline(bytes) => (1, bytes),
            Self::Apart(bytes) => (2, bytes),
            Self::Chunked(bytes) => (3, bytes),
        };
        head.u8(kind).u32(bytes);
    }

    fn read(head: &mut Reader<'_>) -> Result<Self, Malformed> {
        match (head.u8()?, head.u32()?) {
            (0, 0) => Ok(Self::Deleted),
            (1, bytes) => Ok(Self::Inline(bytes)),
            (2, bytes) => Ok(Self::Apart(bytes)),
            (3, bytes) => Ok(Self::Chunked(bytes)),
            _ => Err(Malformed),
        }
    }

    /// How many bytes it has, if it is an attachment; 0: it is none.
    pub(crate) fn attachment_bytes(self) -> u64 {
        match self {
            Self::Chunked(bytes) => u64::from(bytes),
            Self::Deleted | Self::Inline(_) | Self::Apart(_) => 0,
        }
    }

    /// How many bytes it has.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Deleted => 0,
            Self::Inline(bytes) | Self::Apart(bytes) | Self::Chunked(bytes) => {
                usize::try_from(bytes).unwrap_or(usize::MAX)
            }
        }
    }
}

/// Everything about a record but its body.
#[derive(Clone)]
pub(crate) struct Head {
    pub(crate) incarnation: Incarnation,
    pub(crate) version: Version,
    pub(crate) body: Body,
    /// Where the newest entry stands.
    pub(crate) entry: EntryAt,
    /// The opening of the newest entry: with it, and it lies nowhere else, the commitment opens.
    pub(crate) opening: [u8; 32],
    /// SHA-256 of opening and body.
    pub(crate) digest: [u8; 32],
    /// The key of the body, unless deleted.
    pub(crate) body_key: Zeroizing<[u8; KEY_BYTES]>,
    /// From then on it is not read any more. None: it does not expire.
    pub(crate) expires: Option<UnixMillis>,
    /// The attributes, and by which rows of indexes it is found.
    pub(crate) indexed: Indexed,
    /// Newest last.
    pub(crate) recent: Vec<Recent>,
}

impl Head {
    pub(crate) fn is_deleted(&self) -> bool {
        self.body == Body::Deleted
    }

    /// Whether its time has come, and its deletion has not been written yet.
    pub(crate) fn has_expired(&self, now: UnixMillis) -> bool {
        !self.is_deleted() && self.expires.is_some_and(|at| at <= now)
    }

    /// As its deletion will leave it.
    pub(crate) fn deleted(self) -> Self {
        let indexed = self.indexed.deleted();
        Self { version: self.version.next(), body: Body::Deleted, indexed, ..self }
    }

    /// What is still to be remembered when a write is added at `minute`.
    pub(crate) fn remembered(&self, minute: Minute) -> Vec<Recent> {
        let hours = u32::try_from(limits::REQUEST_IDS_KEPT_HOURS).expect("a day or so");
        let oldest = minute.minus_hours(hours);
        let skip = (self.recent.len() + 1).saturating_sub(limits::REQUEST_IDS_KEPT_MAX);
        self.recent.iter().skip(skip).filter(|recent| recent.minute >= oldest).copied().collect()
    }

    /// What `request_id` did, if that is remembered.
    pub(crate) fn recent(&self, request_id: &[u8; 16]) -> Option<&Recent> {
        self.recent.iter().rev().find(|recent| recent.request_id == *request_id)
    }

    /// The etag: the version, and eight bytes that no other write has.
    pub(crate) fn etag(&self) -> String {
        let [a, b, c, d, e, f, g, h, ..] = self.digest;
        let version = self.version;
        format!("\"{version}-{a:02x}{b:02x}{c:02x}{d:02x}{e:02x}{f:02x}{g:02x}{h:02x}\"")
    }

    /// Bytes of its plain form.
    fn bytes(&self, address: &Address) -> usize {
        let names = address.collection.as_str().len() + address.key.expose().len();
        HEAD_FIXED_BYTES + names + self.indexed.bytes() + self.recent.len() * Recent::BYTES
    }

    fn encode(&self, address: &Address, head: &mut Writer) {
        head.text(address.collection.as_str()).text(address.key.expose()).u32(self.incarnation.0);
        self.body.write(head);
        self.entry.write(head);
        head.fixed(&self.opening).fixed(&self.digest).fixed(&*self.body_key);
        head.u64(self.expires.map_or(NEVER, |at| at.0));
        self.indexed.write(head);
        head.u32(u32::try_from(self.recent.len()).expect("bounded by REQUEST_IDS_KEPT_MAX"));
        for recent in &self.recent {
            recent.write(head);
        }
    }

    /// What follows the names.
    fn decode(version: Version, head: &mut Reader<'_>) -> Result<Self, Malformed> {
        let incarnation = Incarnation(head.u32()?);
        let (body, entry) = (Body::read(head)?, EntryAt::read(head)?);
        let (opening, digest) = (head.array()?, head.array()?);
        let body_key = Zeroizing::new(head.array()?);
        let expires = Some(head.u64()?).filter(|at| *at != NEVER).map(UnixMillis);
        let indexed = Indexed::read(head)?;
        let count = usize::try_from(head.u32()?).map_err(|_| Malformed)?;
        if count > limits::REQUEST_IDS_KEPT_MAX {
            return Err(Malformed);
        }
        let recent = (0..count).map(|_| Recent::read(head)).collect::<Result<_, _>>()?;
        head.end()?;
        Ok(Self {
            incarnation,
            version,
            body,
            entry,
            opening,
            digest,
            body_key,
            expires,
            indexed,
            recent,
        })
    }
}

/// A sealed body. It is made in parallel, before the version is known.
pub(crate) struct SealedBody {
    body: Body,
    /// The body's own row: its format version, and the sealed body. Empty: there is no body.
    row: Vec<u8>,
}

impl SealedBody {
    pub(crate) fn new(
        address: &Address,
        region: &RegionId,
        cipher: &dyn BodyCipher,
        key: &[u8; KEY_BYTES],
        body: &[u8],
    ) -> Self {
        let mut row = Vec::with_capacity(1 + body.len() + TAG_BYTES);
        row.push(FORMAT);
        row.extend_from_slice(body);
        cipher.seal(key, &address.body_binding(region), &mut row, 1);
        Self { body: Body::of(body.len()), row }
    }

    /// What a deleted record has in place of a body.
    pub(crate) const fn none() -> Self {
        Self { body: Body::Deleted, row: Vec::new() }
    }

    /// An attachment of so many bytes, whose chunks are stored.
    pub(crate) const fn chunked(bytes: u32) -> Self {
        Self { body: Body::Chunked(bytes), row: Vec::new() }
    }

    /// The body of a stored record, whose own row, if it has one, stays as it is.
    fn kept(body: Body, inline: &[u8]) -> Self {
        let mut row = Vec::with_capacity(1 + inline.len());
        if matches!(body, Body::Inline(_)) {
            row.push(FORMAT);
            row.extend_from_slice(inline);
        }
        Self { body, row }
    }

    /// Whether its own row stays as it is.
    pub(crate) const fn is_kept(&self) -> bool {
        matches!(self.body, Body::Apart(_)) && self.row.is_empty()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.row.len()
    }

    /// Where it will lie.
    pub(crate) const fn body(&self) -> Body {
        self.body
    }

    /// The rows of the record, with this body under that head.
    pub(crate) fn into_rows(
        self,
        address: &Address,
        region: &RegionId,
        head: &Head,
        key: &SealKey,
        nonce: [u8; NONCE_BYTES],
    ) -> Rows {
        let plain = head.bytes(address);
        let inline = match self.body {
            Body::Inline(_) => self.row.get(1..).unwrap_or_default(),
            Body::Deleted | Body::Apart(_) | Body::Chunked(_) => &[],
        };
        // All of its bytes at once: what is sealed in place leaves no plain copy behind.
        let mut row = Writer::with_capacity(FRONT_BYTES + plain + TAG_BYTES + inline.len());
        let length = u32::try_from(plain + TAG_BYTES).expect("a head is small");
        row.u8(FORMAT).u64(head.version.0).fixed(&nonce).u32(length);
        head.encode(address, &mut row);
        let mut row = row.0;
        debug_assert_eq!(row.len(), FRONT_BYTES + plain, "the head has the bytes that it says");
        let bound = head_binding(&address.owner, &address.row, region, head.version);
        key.seal_tail(nonce, &bound, &mut row, FRONT_BYTES);
        row.extend_from_slice(inline);
        let apart = matches!(self.body, Body::Apart(_)) && !self.row.is_empty();
        let body = apart.then_some(self.row);
        Rows { head: row, body }
    }
}

/// The rows of one record.
pub(crate) struct Rows {
    pub(crate) head: Vec<u8>,
    /// None: the head's row has the body, there is none, or its row stays as it is.
    pub(crate) body: Option<Vec<u8>>,
}

/// The row of a head, taken apart.
pub(crate) struct Stored<'a> {
    version: Version,
    nonce: [u8; NONCE_BYTES],
    head: &'a [u8],
    inline: &'a [u8],
}

impl<'a> Stored<'a> {
    pub(crate) fn read(row: &'a [u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(row);
        reader.format(FORMAT)?;
        let (version, nonce) = (Version(reader.u64()?), reader.array()?);
        let head = reader.bytes()?;
        Ok(Self { version, nonce, head, inline: reader.rest() })
    }

    /// Opens the head.
    pub(crate) fn head(
        &self,
        address: &Address,
        region: &RegionId,
        key: &SealKey,
    ) -> Result<Head, Damaged> {
        let (named, head) = self.named(&address.owner, &address.row, region, key)?;
        let ours = named.collection == address.collection && named.key == address.key;
        if ours { Ok(head) } else { Err(Damaged) }
    }

    /// Opens the head of a row of which nothing is known but its place and whose it is.
    pub(crate) fn named(
        &self,
        owner: &Owner,
        row: &[u8],
        region: &RegionId,
        key: &SealKey,
    ) -> Result<(Address, Head), Damaged> {
        let mut sealed = Zeroizing::new(self.head.to_vec());
        let bound = head_binding(owner, row, region, self.version);
        let mut plain = Reader::new(key.open(self.nonce, &bound, &mut sealed)?);
        let collection = Collection::parse(plain.text()?).map_err(|_| Damaged)?;
        let key = RecordKey::parse(plain.text()?).map_err(|_| Damaged)?;
        let head = Head::decode(self.version, &mut plain)?;
        let address = Address { owner: owner.clone(), collection, key, row: row.to_vec() };
        Ok((address, head))
    }

    /// The sealed body of that head, for the next version of the same content.
    pub(crate) fn sealed_body(&self, head: &Head) -> SealedBody {
        SealedBody::kept(head.body, self.inline)
    }

    /// Opens the body of that head. `apart`: the body's own row, where it has one.
    pub(crate) fn body(
        &self,
        address: &Address,
        region: &RegionId,
        cipher: &dyn BodyCipher,
        head: &Head,
        apart: Option<Vec<u8>>,
    ) -> Result<Vec<u8>, Damaged> {
        let (bytes, sealed) = match (head.body, apart) {
            (Body::Inline(bytes), None) => (bytes, self.inline.to_vec()),
            (Body::Apart(bytes), Some(mut row)) if row.first() == Some(&FORMAT) => {
                row.remove(0);
                (bytes, row)
            }
            _ => return Err(Damaged),
        };
        let body = cipher.open(&head.body_key, &address.body_binding(region), sealed)?;
        if u32::try_from(body.len()) == Ok(bytes) { Ok(body) } else { Err(Damaged) }
    }
}

#[cfg(test)]
mod tests;
