//! The answer to a sealed question: bodies that only the one who asked can read, and seals that show that
//! none is missing.

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::NotOpened;
use crate::keyed::{self, KEY_BYTES, TAG_BYTES, derived, parts};

/// Random bytes in front of a sealed answer.
pub const ANSWER_NONCE_BYTES: usize = 32;
/// Bytes by which a sealed answer is longer than the body. So long is a seal without content.
pub const ANSWER_OVERHEAD_BYTES: usize = ANSWER_NONCE_BYTES + TAG_BYTES;

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
        self.sealed(nonce, &bound(version, etag), body)
    }

    /// Seals a part of an answer that has several. `nonce` must be random.
    pub fn seal_part(
        &self,
        nonce: [u8; ANSWER_NONCE_BYTES],
        part: &AnswerPart<'_>,
        body: &[u8],
    ) -> Vec<u8> {
        self.sealed(nonce, &part.bound(), body)
    }

    fn sealed(&self, nonce: [u8; ANSWER_NONCE_BYTES], bound: &[u8], body: &[u8]) -> Vec<u8> {
        let sealed = keyed::seal(&self.key(&nonce), bound, body);
        [nonce.as_slice(), &sealed].concat()
    }

    /// Opens it.
    ///
    /// # Errors
    /// [`NotOpened`]: the body, the version or the etag is not what the region answered to this question.
    pub fn open(&self, version: i64, etag: &str, sealed: &[u8]) -> Result<Vec<u8>, NotOpened> {
        self.opened(&bound(version, etag), sealed)
    }

    /// Opens a part of an answer.
    ///
    /// # Errors
    /// [`NotOpened`]: it is not what the region answered to this question, in this place.
    pub fn open_part(&self, part: &AnswerPart<'_>, sealed: &[u8]) -> Result<Vec<u8>, NotOpened> {
        self.opened(&part.bound(), sealed)
    }

    fn opened(&self, bound: &[u8], sealed: &[u8]) -> Result<Vec<u8>, NotOpened> {
        let (nonce, sealed) = sealed.split_first_chunk().ok_or(NotOpened)?;
        keyed::open(&self.key(nonce), bound, sealed)
    }

    fn key(&self, nonce: &[u8; ANSWER_NONCE_BYTES]) -> Zeroizing<[u8; KEY_BYTES]> {
        derived(&self.0, "bailiwick sealed answer key v1", nonce)
    }
}

fn bound(version: i64, etag: &str) -> Vec<u8> {
    parts("bailiwick sealed answer v1", &[&version.to_be_bytes(), etag.as_bytes()])
}

/// A part of an answer, and what it is bound to. It has no `Debug`: it names a person's record.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "it names a person's record")]
pub enum AnswerPart<'a> {
    /// The body of a record of a list, a scan or an export. Of an attachment it is empty.
    Record {
        /// The person, by the tenant's own id.
        subject: &'a str,
        /// The kind of record.
        collection: &'a str,
        /// The record's key within it.
        key: &'a str,
        /// The record's version.
        version: i64,
        /// Its etag.
        etag: &'a str,
        /// Bytes of its body, if it is an attachment; 0: it is not.
        attachment_bytes: i64,
    },
    /// The seal of an export's first part. It has no content.
    Collections(
        /// The collections that follow, each with a page at least, in this order.
        &'a [&'a str],
    ),
    /// The seal of a page of an export. It has no content.
    Page {
        /// The collection.
        collection: &'a str,
        /// Where the page begins: empty of the first, then the `next` of the page before.
        from: &'a [u8],
        /// Where the next page begins; empty: it is the collection's last.
        next: &'a [u8],
        /// [`PageDigest::finish`] over its records.
        records: &'a [u8; 32],
    },
}

impl AnswerPart<'_> {
    fn bound(&self) -> Vec<u8> {
        match self {
            Self::Record { subject, collection, key, version, etag, attachment_bytes } => {
                let names = [subject, collection, key, etag].map(|name| name.as_bytes());
                let [subject, collection, key, etag] = names;
                let (version, bytes) = (version.to_be_bytes(), attachment_bytes.to_be_bytes());
                let all = [subject, collection, key, &version, etag, &bytes];
                parts("bailiwick sealed listed v1", &all)
            }
            Self::Collections(names) => {
                let names: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
                parts("bailiwick sealed export v1", &names)
            }
            Self::Page { collection, from, next, records } => {
                let all = [collection.as_bytes(), from, next, records.as_slice()];
                parts("bailiwick sealed page v1", &all)
            }
        }
    }
}

/// The sealed bodies of a page of an export, as SHA-256 over each with its length in front.
#[derive(Debug, Clone, Default)]
pub struct PageDigest(Sha256);

impl PageDigest {
    /// Adds the sealed body of the page's next record.
    pub fn add(&mut self, sealed: &[u8]) {
        self.0.update(parts("", &[sealed]));
    }

    /// The digest.
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}
