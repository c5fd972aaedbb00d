//! The keys of a subject, replaced while it is read and written: its own, and that of each collection.

use std::mem;
use std::sync::Arc;

use engine::Key;
use terms::Entropy;

use crate::Error;
use crate::store::aead::{NONCE_BYTES, SealKey};
use crate::store::codec::Malformed;
use crate::store::keys::{Owner, SubjectKeys};
use crate::store::rotation::{Rotated, Rotating, Rotation};
use crate::store::secret_files::draw;
use crate::store::subject::{KEY, Subject, bound};

impl Subject {
    /// The rotation that goes on.
    pub(crate) fn rotation(&self) -> Option<&Rotation> {
        self.rotating.as_ref().map(|rotating| &rotating.of)
    }

    /// The same subject with new keys, under the current generation. Its records are still sealed under
    /// the old ones.
    pub(crate) fn with_new_keys(
        &self,
        owner: &Owner,
        keys: SubjectKeys<'_>,
        entropy: &dyn Entropy,
        of: Rotation,
    ) -> Result<Self, Error> {
        let mut after = self.rewrapped(owner, keys, entropy)?;
        let key = draw(entropy)?;
        let mut nonce = [0; NONCE_BYTES];
        entropy.fill(&mut nonce).map_err(|_| Error::NoEntropy)?;
        let of_key = bound(KEY, owner, keys.region, after.incarnation);
        let wrapped = keys.keyring.wrap_under(after.generation, &key, &of_key, nonce);
        after.wrapped = wrapped.ok_or(Error::Damaged("subjects"))?;
        after.key = Arc::new(SealKey::new(&key));
        let holder = after.holder(owner, keys);
        let new = after.collection_keys.drawn_again(holder, entropy)?;
        let old = mem::replace(&mut after.collection_keys, new);
        after.rotating = Some(Rotating { of, old });
        Ok(after)
    }

    /// The new key of the record at `row`.
    pub(crate) fn new_key_of(&self, row: &[u8]) -> Result<&SealKey, Malformed> {
        self.collection_keys.of_row(row)
    }

    /// So many heads more are sealed under the new keys, up to that one.
    pub(crate) fn sealed_to(&mut self, head: Key, heads: u64) {
        if let Some(rotating) = &mut self.rotating {
            rotating.of.done_to = head;
            rotating.of.heads += heads;
        }
    }

    /// All are: the old keys are forgotten.
    pub(crate) fn has_rotated(&mut self, rotated: Rotated) {
        self.rotating = None;
        self.rotated = Some(rotated);
    }
}
