//! The check of an upload before it becomes a record: all that is stored of it is read again, a part
//! at a time, and hashed. What is known of a check so far is kept in memory alone.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use engine::Key;
use ledger::statement::ContentDigest;
use terms::limits;

use crate::store::types::AttachmentTag;

/// How far the check of one upload is.
#[derive(Clone)]
pub(crate) struct UploadCheck {
    tag: AttachmentTag,
    /// The chunk that comes next.
    pub(crate) next: u32,
    pub(crate) opening: [u8; 32],
    whole: Context,
    content: ContentDigest,
}

/// What a check has found.
pub(crate) struct Checked {
    pub(crate) opening: [u8; 32],
    /// SHA-256 of the whole.
    pub(crate) sha256: [u8; 32],
    /// SHA-256 of opening and whole.
    pub(crate) digest: [u8; 32],
}

impl UploadCheck {
    /// A check that begins; `opening` is random.
    pub(crate) fn new(tag: AttachmentTag, opening: [u8; 32]) -> Self {
        let (whole, content) = (Context::new(&SHA256), ContentDigest::new(&opening));
        Self { tag, next: 0, opening, whole, content }
    }

    /// Takes the next chunk.
    pub(crate) fn add(&mut self, chunk: &[u8]) {
        self.whole.update(chunk);
        self.content.update(chunk);
        self.next += 1;
    }

    pub(crate) fn end(self) -> Checked {
        let Self { opening, whole, content, .. } = self;
        let sha256 = whole.finish();
        let sha256 = *sha256.as_ref().first_chunk().expect("SHA-256 has 32 bytes");
        Checked { opening, sha256, digest: content.end() }
    }
}

/// The checks that have begun, by the keys of their uploads.
#[derive(Default)]
pub(crate) struct UploadChecks(Mutex<HashMap<Key, UploadCheck>>);

impl UploadChecks {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, UploadCheck>> {
        // No code that can panic runs under it, so a poisoned one holds sound data.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is known of an upload. None: nothing, or of another one of that name.
    pub(crate) fn take(&self, upload: &[u8], tag: AttachmentTag) -> Option<UploadCheck> {
        self.lock().remove(upload).filter(|check| check.tag == tag)
    }

    /// Keeps it for the next part.
    pub(crate) fn keep(&self, upload: Key, check: UploadCheck) {
        let mut checks = self.lock();
        if checks.len() >= limits::UPLOADS_MAX {
            // Those that were left alone go too: they begin again.
            checks.clear();
        }
        checks.insert(upload, check);
    }
}
