//! The body of an attachment: chunks, each in a row of its own, and an upload in progress.
//!
//! A chunk's row: `01`, a salt (16 bytes), the sealed chunk. Its key is made of the attachment's key,
//! the salt and its number, so that no chunk is sealed twice under one key; the attachment's key is
//! the body's key in the record's head. The last row, of the number [`WHOLE`], has the hash of the
//! whole in the place of a chunk.
//!
//! The row of an attachment that is gone: `01`, bytes of the whole.
//!
//! An upload's row: `01`, minute of the last change, number of the next chunk, bytes of the whole,
//! tag of the tenant, tag of the attachment, a stand-in with its length, a nonce, and sealed under the
//! subject's key: the names of collection and record, incarnation of the subject, the attachment's
//! key, the hash of the whole, the fingerprint of the request. What is not sealed says how much room
//! the uploads of a tenant take, and which rows to delete when one is abandoned.
//!
//! Where the end of the upload is to create the subject, there is no key of it to seal the row under.
//! Then the row has a stand-in: the row of a subject without findings and rulings, whose key is wrapped
//! by a generation as any subject's is. It is never read as a subject. Otherwise it is empty.

use aws_lc_rs::hmac;
use engine::{Batch, Key, ScanLimit};
use terms::limits;
use terms::{Collection, RecordKey, RegionId};
use zeroize::Zeroizing;

use crate::Error;
use crate::store::aead::{BodyCipher, KEY_BYTES, NONCE_BYTES, SealKey, binding};
pub(crate) use crate::store::chunks::{AttachmentKey, bytes_of, chunks, holding};
use crate::store::codec::{Reader, Writer};
use crate::store::keys::{self, Owner, SubjectKeys};
use crate::store::record::{Address, Damaged};
use crate::store::subject::{Subject, SubjectRow};
use crate::store::types::{AttachmentTag, Fingerprint, Incarnation, Minute, TAG_BYTES, TenantRows};

const FORMAT: u8 = 1;
const SALT_BYTES: usize = 16;
/// The number of the row that has the hash of the whole.
const WHOLE: u32 = u32::MAX;
/// Bytes of an upload's row before its nonce.
const FRONT_BYTES: usize = 1 + 4 + 4 + 4 + TAG_BYTES + TAG_BYTES;

/// Seals and opens the rows of one attachment.
pub(crate) struct Chunks<'a> {
    pub(crate) address: &'a Address,
    pub(crate) region: &'a RegionId,
    pub(crate) cipher: &'a dyn BodyCipher,
    pub(crate) key: &'a AttachmentKey,
    pub(crate) tag: AttachmentTag,
}

impl Chunks<'_> {
    /// The key of a chunk's row.
    pub(crate) fn row(&self, number: u32) -> Key {
        keys::chunk(&self.address.row, self.tag, number)
    }

    /// The key of the row that has the hash of the whole.
    pub(crate) fn whole_row(&self) -> Key {
        self.row(WHOLE)
    }

    pub(crate) fn seal(&self, number: u32, salt: [u8; SALT_BYTES], chunk: &[u8]) -> Vec<u8> {
        let mut row = Vec::with_capacity(1 + SALT_BYTES + chunk.len() + TAG_BYTES);
        row.push(FORMAT);
        row.extend_from_slice(&salt);
        row.extend_from_slice(chunk);
        let key = self.key_of(number, salt);
        self.cipher.seal(&key, &self.binding(number), &mut row, 1 + SALT_BYTES);
        row
    }

    pub(crate) fn open(&self, number: u32, row: &[u8]) -> Result<Vec<u8>, Damaged> {
        let mut reader = Reader::new(row);
        reader.format(FORMAT)?;
        let key = self.key_of(number, reader.array()?);
        Ok(self.cipher.open(&key, &self.binding(number), reader.rest().to_vec())?)
    }

    /// The row with the hash of the whole.
    pub(crate) fn seal_whole(&self, salt: [u8; SALT_BYTES], sha256: &[u8; 32]) -> Vec<u8> {
        self.seal(WHOLE, salt, sha256)
    }

    pub(crate) fn open_whole(&self, row: &[u8]) -> Result<[u8; 32], Damaged> {
        self.open(WHOLE, row)?.try_into().map_err(|_| Damaged)
    }

    fn key_of(&self, number: u32, salt: [u8; SALT_BYTES]) -> Zeroizing<[u8; KEY_BYTES]> {
        let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &**self.key));
        mac.update(b"bailiwick attachment chunk v1");
        mac.update(&number.to_be_bytes());
        mac.update(&salt);
        let tag = mac.sign();
        Zeroizing::new(*tag.as_ref().first_chunk().expect("HMAC-SHA-256 has 32 bytes"))
    }

    fn binding(&self, number: u32) -> Vec<u8> {
        let Address { owner, collection, key, .. } = self.address;
        let parts = [
            self.region.as_str(),
            owner.tenant.as_str(),
            owner.subject.expose(),
            collection.as_str(),
            key.expose(),
        ];
        binding("attachment chunk v1", &parts, Some(u64::from(number)))
    }
}

/// Notes that an attachment of so many bytes is gone. Its key is gone with this commit; its chunks
/// are deleted later, a few in each commit: some engines read what they delete.
pub(crate) fn discard(batch: &mut Batch, head: &[u8], tag: AttachmentTag, bytes: u32) {
    let mut row = Writer::with_capacity(8);
    row.u8(FORMAT).u32(bytes);
    batch.put(keys::gone(head, tag), row.0);
}

/// The rows of an attachment that is gone.
pub(crate) fn gone_rows(key: &[u8], row: &[u8]) -> Result<Vec<Key>, Damaged> {
    let (head, tag) = keys::gone_attachment(key).ok_or(Damaged)?;
    let mut reader = Reader::new(row);
    reader.format(FORMAT)?;
    let numbers = (0..chunks(reader.u32()?)).chain([WHOLE]);
    reader.end()?;
    Ok(numbers.map(|number| keys::chunk(&head, tag, number)).collect())
}

// === uploads ===

/// What a scan of all uploads in progress takes: there are no more, and their rows are not larger.
pub(crate) const ALL_UPLOADS: ScanLimit =
    ScanLimit { rows: limits::UPLOADS_MAX, bytes: limits::UPLOADS_MAX * UPLOAD_ROW_BYTES_MAX };
/// Bytes of an upload's row with its key, at most: the longest names, and a stand-in with its own.
const UPLOAD_ROW_BYTES_MAX: usize = 8 << 10;

/// What can be read of an upload without any key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UploadFront {
    pub(crate) minute: Minute,
    /// The chunk that comes next: those before it are stored.
    pub(crate) next: u32,
    /// Bytes of the whole.
    pub(crate) bytes: u32,
    pub(crate) tenant: TenantRows,
    pub(crate) tag: AttachmentTag,
}

impl UploadFront {
    pub(crate) fn read(row: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(row);
        reader.format(FORMAT)?;
        let (minute, next, bytes) = (Minute(reader.u32()?), reader.u32()?, reader.u32()?);
        let (tenant, tag) = (TenantRows(reader.array()?), AttachmentTag(reader.array()?));
        Ok(Self { minute, next, bytes, tenant, tag })
    }

    fn write(&self) -> Writer {
        let mut row = Writer::with_capacity(512);
        row.u8(FORMAT).u32(self.minute.0).u32(self.next).u32(self.bytes);
        row.fixed(&self.tenant.0).fixed(&self.tag.0);
        row
    }

    /// The same upload, with this at its front.
    pub(crate) fn onto(&self, row: &[u8]) -> Result<Vec<u8>, Damaged> {
        let mut new = self.write();
        new.fixed(row.get(FRONT_BYTES..).ok_or(Damaged)?);
        Ok(new.0)
    }

    /// Whether all chunks are stored.
    pub(crate) fn is_whole(&self) -> bool {
        self.next == chunks(self.bytes)
    }
}

/// The stand-in of an upload, by its row alone. `None`: it has none.
pub(crate) fn stand_in(row: &[u8]) -> Result<Option<&[u8]>, Damaged> {
    let stand_in = Reader::new(row.get(FRONT_BYTES..).ok_or(Damaged)?).bytes()?;
    Ok(Some(stand_in).filter(|stand_in| !stand_in.is_empty()))
}

/// The generation of the region's key that wraps the stand-in of an upload. `None`: it has none.
pub(crate) fn generation_of(row: &[u8]) -> Result<Option<u32>, Error> {
    match stand_in(row).map_err(|_| Error::Damaged("uploads"))? {
        Some(stand_in) => Subject::generation_of(stand_in),
        None => Ok(None),
    }
}

/// Discards an upload in progress whose stand-in none of these generations wraps: no caller could go on
/// with it, and no sweep discard it. `key`: of a row. False: it is none.
pub(crate) fn discard_lost(batch: &mut Batch, key: &[u8], row: &[u8], held: &[u32]) -> bool {
    let generation = match key.first() {
        Some(0x13) => generation_of(row).ok().flatten(),
        _ => None,
    };
    if generation.is_none_or(|generation| held.contains(&generation)) {
        return false;
    }
    let (Ok(front), Some(head)) = (UploadFront::read(row), keys::uploaded_record(key)) else {
        return false;
    };
    discard(batch, &head, front.tag, front.bytes);
    true
}

/// The same upload, with another row of its stand-in, which has the same key.
pub(crate) fn with_stand_in(row: &[u8], stand_in: &[u8]) -> Result<Vec<u8>, Damaged> {
    let (front, rest) = row.split_at_checked(FRONT_BYTES).ok_or(Damaged)?;
    let mut rest = Reader::new(rest);
    rest.bytes()?;
    let mut new = Writer::with_capacity(row.len() + stand_in.len());
    new.fixed(front).bytes(stand_in).fixed(rest.rest());
    Ok(new.0)
}

/// An upload in progress, opened.
pub(crate) struct Upload {
    pub(crate) front: UploadFront,
    /// The row of its stand-in. Empty: the subject was stored when it began.
    pub(crate) stand_in: Vec<u8>,
    pub(crate) incarnation: Incarnation,
    pub(crate) key: AttachmentKey,
    pub(crate) sha256: [u8; 32],
    pub(crate) fingerprint: Fingerprint,
}

impl Upload {
    /// Its row, of which `row` is the key. `subject`: the key of the subject for the record, or of the
    /// stand-in.
    pub(crate) fn seal(
        &self,
        address: &Address,
        row: &[u8],
        region: &RegionId,
        subject: &SealKey,
        nonce: [u8; NONCE_BYTES],
    ) -> Vec<u8> {
        let mut sealed = self.front.write();
        sealed.bytes(&self.stand_in).fixed(&nonce);
        let from = sealed.0.len();
        sealed.text(address.collection.as_str()).text(address.key.expose());
        sealed.u32(self.incarnation.0).fixed(&*self.key).fixed(&self.sha256);
        sealed.fixed(&self.fingerprint.0);
        let bound = upload_binding(&address.owner, row, region);
        subject.seal_tail(nonce, &bound, &mut sealed.0, from);
        sealed.0
    }

    /// Opens a row, and says of which record it is. `at`: the key of the row; `head`: that of the
    /// record's head; `subject`: what is stored of the owner. `None`: there is no key for it any more.
    pub(crate) fn open(
        row: &[u8],
        at: &[u8],
        head: &[u8],
        owner: &Owner,
        keys: SubjectKeys<'_>,
        subject: Option<&Subject>,
    ) -> Result<Option<(Address, Self)>, Damaged> {
        let front = UploadFront::read(row)?;
        let mut reader = Reader::new(row.get(FRONT_BYTES..).ok_or(Damaged)?);
        let stand_in = reader.bytes()?.to_vec();
        let own = if stand_in.is_empty() {
            None
        } else {
            match Subject::open(&stand_in, owner, keys) {
                Ok(SubjectRow::Kept(own)) => Some(own),
                Ok(SubjectRow::Erased(_)) | Err(_) => return Err(Damaged),
            }
        };
        let key = match (&own, subject) {
            (Some(own), _) => Some(own.key()),
            (None, Some(subject)) => subject.key_of(head).ok(),
            (None, None) => None,
        };
        let Some(key_of_row) = key else { return Ok(None) };
        let nonce = reader.array()?;
        let mut sealed = Zeroizing::new(reader.rest().to_vec());
        let bound = upload_binding(owner, at, keys.region);
        let mut plain = Reader::new(key_of_row.open(nonce, &bound, &mut sealed)?);
        let collection = Collection::parse(plain.text()?).map_err(|_| Damaged)?;
        let key = RecordKey::parse(plain.text()?).map_err(|_| Damaged)?;
        let upload = Self {
            front,
            stand_in,
            incarnation: Incarnation(plain.u32()?),
            key: Zeroizing::new(plain.array()?),
            sha256: plain.array()?,
            fingerprint: Fingerprint(plain.array()?),
        };
        plain.end()?;
        let address = Address { owner: owner.clone(), collection, key, row: head.to_vec() };
        Ok(Some((address, upload)))
    }

    /// Whether it is sealed by the key of its stand-in, and not by that of what is stored of its subject.
    pub(crate) fn has_own_key(&self) -> bool {
        !self.stand_in.is_empty()
    }

    /// Whether it was begun for what is stored of its subject now. One with a stand-in was begun while
    /// none was stored. Another write may have created the subject since; an erasure of the subject
    /// would have removed the upload.
    pub(crate) fn is_of(&self, subject: Option<&Subject>) -> bool {
        !self.stand_in.is_empty()
            || subject.is_some_and(|subject| subject.incarnation == self.incarnation)
    }
}

/// To what an upload is bound: the place of its row.
fn upload_binding(owner: &Owner, row: &[u8], region: &RegionId) -> Vec<u8> {
    let parts = [region.as_str(), owner.tenant.as_str(), owner.subject.expose()];
    let mut bound = Writer::with_capacity(192);
    bound.fixed(&binding("attachment upload v1", &parts, None)).bytes(row);
    bound.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u32 = 1 << 20;

    #[test]
    fn a_body_has_full_chunks_and_a_last_one() {
        for (bytes, count, last) in
            [(1, 1, 1), (MIB - 1, 1, MIB - 1), (MIB, 1, MIB), (MIB + 1, 2, 1), (3 * MIB, 3, MIB)]
        {
            assert_eq!(chunks(bytes), count, "{bytes}");
            assert_eq!(bytes_of(bytes, count - 1), last, "{bytes}");
            assert_eq!(bytes_of(bytes, count), 0, "{bytes}");
        }
        assert_eq!(bytes_of(1 << 30, 1_023), MIB);
    }

    #[test]
    fn a_part_lies_in_the_chunks_that_hold_its_bytes() {
        assert_eq!(holding(&(0..1)), 0..1);
        assert_eq!(holding(&(MIB - 1..MIB)), 0..1);
        assert_eq!(holding(&(MIB - 1..MIB + 1)), 0..2);
        assert_eq!(holding(&(MIB..3 * MIB)), 1..3);
        assert!(holding(&(5..5)).is_empty());
    }
}
