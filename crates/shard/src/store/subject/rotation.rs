//! The keys of a subject, replaced while it is read and written: its own, and that of each collection.
//!
//! The heads of records are sealed again in the order of their rows, some in each commit, and the row of
//! the subject says up to which head that is done. So a head's place says which key opens it, whatever
//! else is written meanwhile, and a crash between two commits leaves nothing to find out. The old keys
//! of collections are kept, wrapped, until the last head.

use std::mem;
use std::sync::Arc;

use engine::Key;
use terms::Entropy;

use super::{KEY, Subject, bound};
use crate::Error;
use crate::store::aead::{NONCE_BYTES, SealKey};
use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::collection_key::{CollectionKeys, Holder, WrappedKey};
use crate::store::keys::{Owner, SubjectKeys};
use crate::store::secret_files::draw;
use crate::store::types::{Fingerprint, Minute, Recent};

/// A rotation that goes on, so that whatever happens it is gone on with.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Rotation {
    pub(crate) request_id: [u8; 16],
    pub(crate) fingerprint: Fingerprint,
    pub(crate) began: Minute,
    pub(crate) reason: String,
    /// Heads that are sealed again.
    pub(crate) heads: u64,
    /// The last of them; empty: there is none yet.
    pub(crate) done_to: Key,
}

impl Rotation {
    fn write(&self, state: &mut Writer) {
        state.fixed(&self.request_id).fixed(&self.fingerprint.0);
        state.u32(self.began.0).text(&self.reason).u64(self.heads).bytes(&self.done_to);
    }

    fn read(state: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            request_id: state.array()?,
            fingerprint: Fingerprint(state.array()?),
            began: Minute(state.u32()?),
            reason: state.text()?.to_owned(),
            heads: state.u64()?,
            done_to: state.bytes()?.to_vec(),
        })
    }

    /// Whether the record at that row is sealed under the new key.
    fn has_passed(&self, row: &[u8]) -> bool {
        row <= self.done_to.as_slice()
    }
}

/// A rotation, and the old keys.
#[derive(Clone)]
pub(super) struct Rotating {
    of: Rotation,
    pub(super) old: CollectionKeys,
}

/// The same as it is stored.
pub(super) struct Written {
    of: Rotation,
    old: Vec<WrappedKey>,
}

impl Written {
    pub(super) fn read(state: &mut Reader<'_>) -> Result<Self, Malformed> {
        let of = Rotation::read(state)?;
        let old = (0..state.u32()?).map(|_| WrappedKey::read(state)).collect::<Result<_, _>>()?;
        Ok(Self { of, old })
    }

    /// Opens the old keys.
    pub(super) fn open(self, holder: Holder<'_>) -> Result<Rotating, Error> {
        Ok(Rotating { of: self.of, old: CollectionKeys::open(&self.old, holder)? })
    }
}

impl Rotating {
    pub(super) fn write(&self, state: &mut Writer) {
        self.of.write(state);
        let old = self.old.stored();
        state.u32(u32::try_from(old.len()).expect("one for each ruling at the most"));
        old.for_each(|key| key.write(state));
    }

    /// The same, its keys wrapped by another generation.
    pub(super) fn rewrapped(
        &self,
        old: Holder<'_>,
        new: Holder<'_>,
        entropy: &dyn Entropy,
    ) -> Result<Self, Error> {
        let stored = CollectionKeys::rewrapped(self.old.stored(), old, new, entropy)?;
        Ok(Self { of: self.of.clone(), old: CollectionKeys::open(&stored, new)? })
    }

    /// The old key of the record at `row`, if it is still sealed under it. A collection that came
    /// meanwhile has none.
    pub(super) fn key_of(&self, row: &[u8]) -> Option<&SealKey> {
        if self.of.has_passed(row) { None } else { self.old.of_row(row).ok() }
    }
}

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
    pub(crate) fn has_rotated(&mut self, by: Recent) {
        self.rotating = None;
        self.rotated = Some(by);
    }
}
