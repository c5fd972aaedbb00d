//! What a subject's row keeps while its keys are replaced: how far that is, and the old keys.
//!
//! The heads of records are sealed again in the order of their rows, some in each commit, and the row of
//! the subject says up to which head that is done. So a head's place says which key opens it, whatever
//! else is written meanwhile, and a crash between two commits leaves nothing to find out. The old keys
//! of collections are kept, wrapped, until the last head.

use engine::Key;
use terms::Entropy;

use crate::Error;
use crate::store::aead::SealKey;
use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::collection_key::{CollectionKeys, Holder, WrappedKey};
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

/// The last rotation that is done, so that a retry gets its receipt.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rotated {
    /// Its request, and its KEY entry.
    pub(crate) by: Recent,
    /// Of that entry.
    pub(crate) opening: [u8; 32],
    /// Heads that were sealed again.
    pub(crate) heads: u64,
}

impl Rotated {
    /// All but its request.
    pub(super) fn write(&self, state: &mut Writer) {
        state.fixed(&self.opening).u64(self.heads);
    }

    /// `by` stands before it in the row.
    pub(super) fn read(state: &mut Reader<'_>, by: Recent) -> Result<Self, Malformed> {
        Ok(Self { by, opening: state.array()?, heads: state.u64()? })
    }
}

/// A rotation, and the old keys.
#[derive(Clone)]
pub(super) struct Rotating {
    pub(super) of: Rotation,
    pub(super) old: CollectionKeys,
}

/// The same as it is stored.
pub(super) struct StoredRotation {
    of: Rotation,
    old: Vec<WrappedKey>,
}

impl StoredRotation {
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
