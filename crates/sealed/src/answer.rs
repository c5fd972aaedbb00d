//! The answer to a sealed question: a body that only the one who asked can read.

use zeroize::Zeroizing;

use crate::NotOpened;
use crate::keyed::{self, KEY_BYTES, derived, parts};

/// Random bytes in front of a sealed answer.
pub const ANSWER_NONCE_BYTES: usize = 32;

/// What both ends of a question export from it. Only they have it: a body that it opens comes from the
/// region, and answers this question.
#[derive(Clone)]
pub struct AnswerSecret(pub(crate) Zeroizing<[u8; KEY_BYTES]>);

impl std::fmt::Debug for AnswerSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AnswerSecret")
    }
}

impl AnswerSecret {
    /// Seals the body of a record of that version and etag. `nonce` must be random: a gateway may send
    /// the same question twice.
    pub fn seal(
        &self,
        nonce: [u8; ANSWER_NONCE_BYTES],
        version: i64,
        etag: &str,
        body: &[u8],
    ) -> Vec<u8> {
        let sealed = keyed::seal(&self.key(&nonce), &bound(version, etag), body);
        [nonce.as_slice(), &sealed].concat()
    }

    /// Opens it.
    ///
    /// # Errors
    /// [`NotOpened`]: the body, the version or the etag is not what the region answered to this question.
    pub fn open(&self, version: i64, etag: &str, sealed: &[u8]) -> Result<Vec<u8>, NotOpened> {
        let (nonce, sealed) = sealed.split_first_chunk().ok_or(NotOpened)?;
        keyed::open(&self.key(nonce), &bound(version, etag), sealed)
    }

    fn key(&self, nonce: &[u8; ANSWER_NONCE_BYTES]) -> Zeroizing<[u8; KEY_BYTES]> {
        derived(&self.0, "bailiwick sealed answer key v1", nonce)
    }
}

fn bound(version: i64, etag: &str) -> Vec<u8> {
    parts("bailiwick sealed answer v1", &[&version.to_be_bytes(), etag.as_bytes()])
}
