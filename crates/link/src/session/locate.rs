//! The question by which a region is asked for a subject, which does not tell the subject's id.
//!
//! The shards of a region derive one *locate key* from the region's index key, and give it to
//! gateways. With it a gateway hashes tenant and id. The question is that hash, with the subject's
//! slot, encrypted under the same key with a random nonce and bound to the tenant. So on the way
//! there are random bytes, and two questions about one subject have nothing in common. The shard finds
//! the subject's row by the hash. One that has no such subject cannot turn it into the id: it can only
//! try ids, as any holder of the region's keys can.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use terms::{Entropy, EntropyFailed, Slot, SubjectId, TenantId};

/// Bytes of a locate key, and of a hash under it.
pub const LOCATE_BYTES: usize = 32;
/// Bytes of a slot's number.
const SLOT_BYTES: usize = 2;

/// A region's locate key, ready for use. It has no `Debug`.
#[expect(missing_debug_implementations, reason = "it is a key")]
pub struct LocateKey {
    hashes: hmac::Key,
    questions: LessSafeKey,
}

/// What a question asks for: where the row of the subject lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// The subject's slot.
    pub slot: Slot,
    /// Tenant and id under the region's locate key.
    pub hash: [u8; LOCATE_BYTES],
}

impl LocateKey {
    /// Makes it of its bytes: one key for hashes, and one for questions.
    pub fn new(bytes: &[u8; LOCATE_BYTES]) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, bytes);
        let [hashes, questions] =
            [&b"hashes"[..], b"questions"].map(|purpose| hmac::sign(&root, purpose));
        let questions = UnboundKey::new(&AES_256_GCM, questions.as_ref());
        Self {
            hashes: hmac::Key::new(hmac::HMAC_SHA256, hashes.as_ref()),
            questions: LessSafeKey::new(questions.expect("32 bytes are an AES-256 key")),
        }
    }

    /// The hash of a subject, by which its shard finds its row.
    pub fn hash(&self, tenant: &TenantId, subject: &SubjectId) -> [u8; LOCATE_BYTES] {
        let mut text = Vec::with_capacity(128);
        for part in [tenant.as_str(), subject.expose()] {
            let length = u32::try_from(part.len()).expect("ids are short");
            text.extend_from_slice(&length.to_be_bytes());
            text.extend_from_slice(part.as_bytes());
        }
        let tag = hmac::sign(&self.hashes, &text);
        *tag.as_ref().first_chunk().expect("HMAC-SHA-256 has 32 bytes")
    }

    /// The question for a subject.
    ///
    /// # Errors
    /// Without randomness there is none.
    pub fn ask(
        &self,
        tenant: &TenantId,
        subject: &SubjectId,
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, EntropyFailed> {
        let mut nonce = [0; NONCE_LEN];
        entropy.fill(&mut nonce)?;
        let mut sealed = Slot::of(tenant, subject).number().to_be_bytes().to_vec();
        sealed.extend_from_slice(&self.hash(tenant, subject));
        let place = Aad::from(tenant.as_str().as_bytes());
        let nonce_of = Nonce::assume_unique_for_key(nonce);
        self.questions
            .seal_in_place_append_tag(nonce_of, place, &mut sealed)
            .expect("a question is short");
        Ok([&nonce[..], &sealed].concat())
    }

    /// Reads a question about a subject of that tenant. None: it was made under another key, for
    /// another tenant, or by no gateway.
    pub fn read(&self, tenant: &TenantId, question: &[u8]) -> Option<Question> {
        let (nonce, sealed) = question.split_first_chunk::<NONCE_LEN>()?;
        let (nonce, mut sealed) = (Nonce::assume_unique_for_key(*nonce), sealed.to_vec());
        let place = Aad::from(tenant.as_str().as_bytes());
        let plain = self.questions.open_in_place(nonce, place, &mut sealed).ok()?;
        let (slot, hash) = plain.split_first_chunk::<SLOT_BYTES>()?;
        Some(Question {
            slot: Slot::new(u16::from_be_bytes(*slot))?,
            hash: <[u8; LOCATE_BYTES]>::try_from(hash).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::host::clock::SystemEntropy;

    fn ids(tenant: &str, subject: &str) -> (TenantId, SubjectId) {
        (TenantId::parse(tenant).unwrap(), SubjectId::parse(subject).unwrap())
    }

    #[test]
    fn a_question_is_read_under_its_key_and_for_its_tenant_alone() {
        let (tenant, subject) = ids("sample", "p-00001");
        let key = LocateKey::new(&[7; LOCATE_BYTES]);
        let question = key.ask(&tenant, &subject, &SystemEntropy).unwrap();
        let read = key.read(&tenant, &question).unwrap();
        assert_eq!(read.hash, key.hash(&tenant, &subject));
        assert_eq!(read.slot, Slot::of(&tenant, &subject));
        assert_eq!(LocateKey::new(&[8; LOCATE_BYTES]).read(&tenant, &question), None);
        assert_eq!(key.read(&ids("other", "p-00001").0, &question), None);
        for bit in 0..question.len() * 8 {
            let mut flipped = question.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.read(&tenant, &flipped), None);
        }
        for length in 0..question.len() {
            assert_eq!(key.read(&tenant, &question[..length]), None);
        }
    }

    #[test]
    fn two_questions_about_one_subject_have_nothing_in_common() {
        let (tenant, subject) = ids("sample", "p-00001");
        let key = LocateKey::new(&[7; LOCATE_BYTES]);
        let mut seen = HashSet::new();
        for _ in 0..64 {
            let question = key.ask(&tenant, &subject, &SystemEntropy).unwrap();
            // Nonce, slot and hash, tag: the same length whatever the id.
            assert_eq!(question.len(), 12 + 34 + 16);
            for part in question.chunks_exact(8) {
                assert!(seen.insert(part.to_vec()), "eight bytes are there twice");
            }
        }
    }

    #[test]
    fn no_two_subjects_share_a_hash() {
        let key = LocateKey::new(&[7; LOCATE_BYTES]);
        let hash = |(tenant, subject)| key.hash(&tenant, &subject);
        assert_ne!(hash(ids("a", "bc")), hash(ids("ab", "c")));
        assert_ne!(hash(ids("a", "b")), hash(ids("a", "c")));
    }
}
