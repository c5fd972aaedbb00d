//! What an entry commits to: which record, in which version, with which content.
//!
//! The entry holds only `HMAC-SHA256("bailiwick placement v1", opening || statement)`. Opening
//! and statement are in the record's sealed row and in receipts given out; once they are
//! destroyed, the record behind the entry cannot be found, and every proof still verifies.
//!
//! Layout, all numbers big endian:
//! ```text
//! u8   format, 1
//! u32  length, bytes   tenant
//! u32  length, bytes   subject
//! u32  length, bytes   collection
//! u32  length, bytes   key
//! u64  version
//! [32] SHA-256(opening || body)
//! ```
//! The four texts are UTF-8. Test vectors by another program: `tests/golden/statements.txt`.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::bytes::Reader;

/// The key of the commitment: a label, so that these hashes can mean nothing else.
const COMMITMENT_KEY: &[u8] = b"bailiwick placement v1";
/// The format of the layout above.
const FORMAT: u8 = 1;

/// Why bytes are no statement. It never holds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A format that this version does not know.
    #[error("unknown format of a statement")]
    Format,
    /// Too short, too long, or text that is not UTF-8.
    #[error("malformed statement")]
    Malformed,
}

/// Which record, in which version, with which content. All of it may be personal data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Statement<'a> {
    /// The platform.
    pub tenant: &'a str,
    /// The person, by the tenant's own id.
    pub subject: &'a str,
    /// The kind of record.
    pub collection: &'a str,
    /// The record's key within it.
    pub key: &'a str,
    /// The version that the entry made.
    pub version: u64,
    /// [`content_digest`] of what the caller sent.
    pub digest: [u8; 32],
}

impl fmt::Debug for Statement<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statement").finish_non_exhaustive()
    }
}

// === impl Statement ===

impl<'a> Statement<'a> {
    /// Its bytes.
    ///
    /// # Panics
    /// If a text has 4 GiB or more, which the limits of the API rule out.
    pub fn encode(&self) -> Vec<u8> {
        let texts = [self.tenant, self.subject, self.collection, self.key];
        let mut bytes = Vec::with_capacity(57 + texts.iter().map(|t| t.len()).sum::<usize>());
        bytes.push(FORMAT);
        for text in texts {
            let length = u32::try_from(text.len()).expect("texts are bounded where they enter");
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.extend_from_slice(&self.version.to_be_bytes());
        bytes.extend_from_slice(&self.digest);
        bytes
    }

    /// The statement of these bytes.
    ///
    /// # Errors
    /// [`Error`], unless [`Statement::encode`] gives the very same bytes.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        if reader.u8().ok_or(Error::Malformed)? != FORMAT {
            return Err(Error::Format);
        }
        let mut text = || {
            let length = usize::try_from(reader.u32()?).ok()?;
            str::from_utf8(reader.take(length)?).ok()
        };
        let texts = (text(), text(), text(), text());
        let (Some(tenant), Some(subject), Some(collection), Some(key)) = texts else {
            return Err(Error::Malformed);
        };
        let version = reader.u64().ok_or(Error::Malformed)?;
        let digest = reader.array().ok_or(Error::Malformed)?;
        if !reader.is_empty() {
            return Err(Error::Malformed);
        }
        Ok(Self { tenant, subject, collection, key, version, digest })
    }
}

/// SHA-256 over the opening and the body as the caller sent it. The opening keeps anyone from
/// guessing a short body by its hash.
pub fn content_digest(opening: &[u8; 32], body: &[u8]) -> [u8; 32] {
    Sha256::new_with_prefix(opening).chain_update(body).finalize().into()
}

/// [`content_digest`] of a body that comes in parts.
#[derive(Clone, Debug)]
pub struct ContentDigest(Sha256);

impl ContentDigest {
    /// Of a body that begins.
    pub fn new(opening: &[u8; 32]) -> Self {
        Self(Sha256::new_with_prefix(opening))
    }

    /// Takes the next part.
    pub fn update(&mut self, part: &[u8]) {
        self.0.update(part);
    }

    /// The digest.
    pub fn end(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// What the entry holds for a statement: HMAC-SHA256 under the label
/// `bailiwick placement v1`, over the opening and the statement's bytes.
pub fn commitment(opening: &[u8; 32], statement: &[u8]) -> [u8; 32] {
    let mac =
        Hmac::<Sha256>::new_from_slice(COMMITMENT_KEY).expect("HMAC takes a key of any length");
    mac.chain_update(opening).chain_update(statement).finalize().into_bytes().into()
}

#[cfg(test)]
mod tests;
