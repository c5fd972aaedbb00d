//! Bodies under the caller's own keys: a platform encrypts a body before it leaves, and no gateway and
//! no region can read it.
//!
//! ```text
//! "bwk" 01            format
//! u8, bytes           length of the key's id, and the id
//! [32]                salt
//! bytes               AES-256-GCM of the body, and its tag
//! ```
//! The salt is computed from the key, the names, the request's id and the body, and each salt gives a key
//! of its own. So a request that is sent again is the same, bytes and all, and no key encrypts two bodies.

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::NotOpened;
use crate::keyed::{self, KEY_BYTES, TAG_BYTES, derived, parts};

/// The mark and the format.
const FORMAT: &[u8; 4] = b"bwk\x01";
/// Bytes of a salt.
const SALT_BYTES: usize = 32;
/// Bytes by which an encrypted body is longer than the body, at the most.
pub const OVERHEAD_BYTES_MAX: usize = FORMAT.len() + 1 + ID_BYTES_MAX + SALT_BYTES + TAG_BYTES;
/// Bytes of a key's id.
const ID_BYTES_MAX: usize = u8::MAX as usize;

/// A key of the platform.
#[derive(Clone)]
pub struct CallerKey {
    id: String,
    key: Zeroizing<[u8; KEY_BYTES]>,
}

impl std::fmt::Debug for CallerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallerKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The record whose body it is. It has no `Debug`: it names a person's record.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "it names a person's record")]
pub struct CallerRecord<'a> {
    /// The person, by the tenant's own id.
    pub subject: &'a str,
    /// The kind of record.
    pub collection: &'a str,
    /// The record's key within it.
    pub key: &'a str,
}

/// The id of the key that encrypted a body. None: the body is not an encrypted one.
pub fn key_id(sealed: &[u8]) -> Option<&str> {
    split(sealed).map(|(id, ..)| id)
}

/// Id, salt, and the rest.
fn split(sealed: &[u8]) -> Option<(&str, &[u8; SALT_BYTES], &[u8])> {
    let (length, rest) = sealed.strip_prefix(FORMAT)?.split_first()?;
    let (id, rest) = rest.split_at_checked(usize::from(*length))?;
    let (salt, rest) = rest.split_first_chunk()?;
    Some((std::str::from_utf8(id).ok()?, salt, rest))
}

impl CallerKey {
    /// A key of 32 random bytes. The id goes with each body, where anyone may read it: 1 to 255 bytes.
    /// None: it has another length.
    pub fn new(id: &str, key: [u8; KEY_BYTES]) -> Option<Self> {
        let fits = (1..=ID_BYTES_MAX).contains(&id.len());
        fits.then(|| Self { id: id.to_owned(), key: Zeroizing::new(key) })
    }

    /// The id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Encrypts the body that a request brings for a record.
    pub fn seal(&self, record: &CallerRecord<'_>, request_id: &str, body: &[u8]) -> Vec<u8> {
        let CallerRecord { subject, collection, key } = *record;
        let digest: [u8; 32] = Sha256::digest(body).into();
        let of = [subject, collection, key, request_id].map(str::as_bytes);
        let [subject, collection, key, request_id] = of;
        let of = parts("", &[subject, collection, key, request_id, &digest]);
        let salt = derived(&self.key, "bailiwick caller-held salt v1", &of);
        let length = u8::try_from(self.id.len()).expect("checked when it was made");
        let sealed = keyed::seal(&self.message_key(&salt), &self.bound(record), body);
        [FORMAT.as_slice(), &[length], self.id.as_bytes(), &*salt, &sealed].concat()
    }

    /// Decrypts the body of a record.
    ///
    /// # Errors
    /// [`NotOpened`]: it was changed, or is another record's, or of another key.
    pub fn open(&self, record: &CallerRecord<'_>, sealed: &[u8]) -> Result<Vec<u8>, NotOpened> {
        let (id, salt, sealed) = split(sealed).ok_or(NotOpened)?;
        if id != self.id {
            return Err(NotOpened);
        }
        keyed::open(&self.message_key(salt), &self.bound(record), sealed)
    }

    fn message_key(&self, salt: &[u8; SALT_BYTES]) -> Zeroizing<[u8; KEY_BYTES]> {
        derived(&self.key, "bailiwick caller-held key v1", salt)
    }

    fn bound(&self, record: &CallerRecord<'_>) -> Vec<u8> {
        let CallerRecord { subject, collection, key } = *record;
        let all = [subject, collection, key, &self.id].map(str::as_bytes);
        parts("bailiwick caller-held body v1", &all)
    }
}
