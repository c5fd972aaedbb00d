//! Sealing: AES-256-GCM, and the text that binds what is sealed to its place.
//!
//! A record's body is sealed under a key of its own, drawn for this one write, with a zero nonce;
//! that key lies in the record's header, which is sealed under the subject's key with a random
//! nonce. So bodies are sealed in parallel, before the subject's state is known, and the
//! destruction of the subject's key makes all of it unreadable.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;

use crate::store::codec::Writer;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Bytes of a nonce.
pub(crate) const NONCE_BYTES: usize = 12;
/// Bytes by which sealing lengthens what it seals.
pub(crate) const TAG_BYTES: usize = 16;

/// It does not open: other key, other place, or changed bytes. Nothing says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sealed row does not open")]
pub struct NotOpened;

/// An AES-256-GCM key, ready for use. It has no `Debug`.
pub(crate) struct SealKey(LessSafeKey);

impl SealKey {
    pub(crate) fn new(bytes: &[u8; KEY_BYTES]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, bytes).expect("32 bytes are an AES-256 key");
        Self(LessSafeKey::new(key))
    }

    /// The key that another one gives for a purpose.
    pub(crate) fn derived(from: &hmac::Key, purpose: &[u8]) -> Self {
        let tag = hmac::sign(from, purpose);
        Self::new(tag.as_ref().first_chunk().expect("HMAC-SHA-256 has 32 bytes"))
    }

    /// Seals `row[from..]` where it lies and appends the tag.
    pub(crate) fn seal_tail(
        &self,
        nonce: [u8; NONCE_BYTES],
        binding: &[u8],
        row: &mut Vec<u8>,
        from: usize,
    ) {
        let tail = row.get_mut(from..).expect("the tail begins within the row");
        let tag = self
            .0
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(binding),
                tail,
            )
            .expect("a row is far below AES-GCM's limit of 64 GiB");
        row.extend_from_slice(tag.as_ref());
    }

    /// Opens `sealed` where it lies; the plain text is its front.
    pub(crate) fn open<'a>(
        &self,
        nonce: [u8; NONCE_BYTES],
        binding: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], NotOpened> {
        self.0
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(binding), sealed)
            .map_err(|_| NotOpened)
    }
}

/// How the bodies of records are encrypted. [`AesGcm`] is the only implementation in the product;
/// the canary test has one of its own that leaves bodies readable.
pub trait BodyCipher: Send + Sync {
    /// Encrypts `row[from..]`, which is a body, in place and appends what authenticates it.
    /// `binding` says where the body belongs. Each `key` is used for one body.
    fn seal(&self, key: &[u8; KEY_BYTES], binding: &[u8], row: &mut Vec<u8>, from: usize);

    /// The body that [`BodyCipher::seal`] encrypted.
    ///
    /// # Errors
    /// [`NotOpened`]: another key, another place, or changed bytes.
    fn open(
        &self,
        key: &[u8; KEY_BYTES],
        binding: &[u8],
        sealed: Vec<u8>,
    ) -> Result<Vec<u8>, NotOpened>;
}

/// AES-256-GCM. The nonce is zero, since a body's key is used once.
#[derive(Debug, Clone, Copy)]
pub struct AesGcm;

impl BodyCipher for AesGcm {
    fn seal(&self, key: &[u8; KEY_BYTES], binding: &[u8], row: &mut Vec<u8>, from: usize) {
        SealKey::new(key).seal_tail([0; NONCE_BYTES], binding, row, from);
    }

    fn open(
        &self,
        key: &[u8; KEY_BYTES],
        binding: &[u8],
        mut sealed: Vec<u8>,
    ) -> Result<Vec<u8>, NotOpened> {
        let length = SealKey::new(key).open([0; NONCE_BYTES], binding, &mut sealed)?.len();
        sealed.truncate(length);
        Ok(sealed)
    }
}

/// The text that binds a sealed row to its place: a label, then each part with its length, so
/// that no two places have the same text. A row moved elsewhere does not open.
pub(crate) fn binding(label: &str, parts: &[&str], version: Option<u64>) -> Vec<u8> {
    let mut text = Writer::with_capacity(128);
    text.text(label);
    for part in parts {
        text.text(part);
    }
    if let Some(version) = version {
        text.u64(version);
    }
    text.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_opens_in_its_place_only() {
        let key = [7; KEY_BYTES];
        let here = binding("body", &["ru-msk", "t", "s", "c", "k"], None);
        let mut row = b"head".to_vec();
        row.extend_from_slice(b"hello");
        AesGcm.seal(&key, &here, &mut row, 4);
        let sealed = row.split_off(4);
        assert_eq!(sealed.len(), 5 + TAG_BYTES);
        assert_eq!(AesGcm.open(&key, &here, sealed.clone()), Ok(b"hello".to_vec()));

        let there = binding("body", &["eu-fra", "t", "s", "c", "k"], None);
        assert_eq!(AesGcm.open(&key, &there, sealed.clone()), Err(NotOpened));
        assert_eq!(AesGcm.open(&[8; KEY_BYTES], &here, sealed.clone()), Err(NotOpened));
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(AesGcm.open(&key, &here, flipped), Err(NotOpened));
        }
        assert_eq!(AesGcm.open(&key, &here, vec![0; 3]), Err(NotOpened));
    }

    #[test]
    fn no_two_places_share_a_binding() {
        assert_ne!(binding("x", &["a", "bc"], None), binding("x", &["ab", "c"], None));
        assert_ne!(binding("x", &["a"], Some(1)), binding("x", &["a"], Some(2)));
        assert_ne!(binding("x", &["a"], None), binding("xa", &[], None));
    }
}
