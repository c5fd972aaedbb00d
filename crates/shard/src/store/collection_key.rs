//! The keys under which a subject's records are sealed: one for each collection, wrapped by a
//! generation of the region's key as the subject's own key is, and never derived from it. The
//! erasure of a collection also erases its key. Once that generation is destroyed too, no key opens
//! what copies of the disk still hold of the collection, even if the subject still exists.
//!
//! A key goes by the tag that the rows of its collection's records carry: a row says by itself which
//! key opens it. (The tag is short. Two collections of one tag share a key.)

use std::sync::Arc;

use terms::{Collection, Entropy};

use crate::Error;
use crate::store::aead::{NONCE_BYTES, SealKey, binding};
use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::keyring::WRAPPED_BYTES;
use crate::store::keys::{COLLECTION_TAG_BYTES, Owner, SubjectKeys, collection_of};
use crate::store::secret_files::draw;
use crate::store::types::Incarnation;

type Tag = [u8; COLLECTION_TAG_BYTES];
const DAMAGED: Error = Error::Damaged("subjects");
const LABEL: &str = "collection key v1";

/// A key as it is stored.
#[derive(Clone, Copy)]
pub(super) struct WrappedKey {
    tag: Tag,
    wrapped: [u8; WRAPPED_BYTES],
}

impl WrappedKey {
    pub(super) fn write(&self, row: &mut Writer) {
        row.fixed(&self.tag).fixed(&self.wrapped);
    }

    pub(super) fn read(row: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { tag: row.array()?, wrapped: row.array()? })
    }
}

/// Whose keys they are, and what wraps them.
#[derive(Clone, Copy)]
pub(super) struct Holder<'a> {
    pub(super) owner: &'a Owner,
    pub(super) incarnation: Incarnation,
    pub(super) generation: u32,
    pub(super) keys: SubjectKeys<'a>,
}

impl Holder<'_> {
    /// What binds a key to its place.
    fn bound(&self, tag: Tag) -> Vec<u8> {
        let (owner, region) = (self.owner, self.keys.region);
        let parts = [region.as_str(), owner.tenant.as_str(), owner.subject.expose()];
        let mut bound = binding(LABEL, &parts, Some(self.incarnation.0.into()));
        bound.extend_from_slice(&tag);
        bound
    }

    fn wrap(&self, tag: Tag, key: &[u8; 32], entropy: &dyn Entropy) -> Result<WrappedKey, Error> {
        let mut nonce = [0; NONCE_BYTES];
        entropy.fill(&mut nonce).map_err(|_| Error::NoEntropy)?;
        let (keyring, bound) = (self.keys.keyring, self.bound(tag));
        let wrapped = keyring.wrap_under(self.generation, key, &bound, nonce).ok_or(DAMAGED)?;
        Ok(WrappedKey { tag, wrapped })
    }
}

/// The keys of one subject's collections, open in memory. They have no `Debug`.
#[derive(Clone, Default)]
pub(super) struct CollectionKeys(Vec<(WrappedKey, Arc<SealKey>)>);

impl CollectionKeys {
    /// Opens what is stored.
    pub(super) fn open(stored: &[WrappedKey], holder: Holder<'_>) -> Result<Self, Error> {
        let open = |key: &WrappedKey| {
            let (keyring, bound) = (holder.keys.keyring, holder.bound(key.tag));
            let plain = keyring.unwrap(holder.generation, &key.wrapped, &bound).ok_or(DAMAGED)?;
            Ok((*key, Arc::new(SealKey::new(&plain))))
        };
        stored.iter().map(open).collect::<Result<_, Error>>().map(Self)
    }

    /// The same keys, wrapped by another generation.
    pub(super) fn rewrapped(
        stored: impl Iterator<Item = WrappedKey>,
        old: Holder<'_>,
        new: Holder<'_>,
        entropy: &dyn Entropy,
    ) -> Result<Vec<WrappedKey>, Error> {
        let again = |key: WrappedKey| {
            let (keyring, bound) = (old.keys.keyring, old.bound(key.tag));
            let plain = keyring.unwrap(old.generation, &key.wrapped, &bound).ok_or(DAMAGED)?;
            new.wrap(key.tag, &plain, entropy)
        };
        stored.map(again).collect()
    }

    /// Draws a key for a collection that has none.
    pub(super) fn add(
        &mut self,
        collection: &Collection,
        holder: Holder<'_>,
        entropy: &dyn Entropy,
    ) -> Result<(), Error> {
        let tag = holder.keys.layout.collection_tag(collection);
        if self.0.iter().all(|(key, _)| key.tag != tag) {
            let plain = draw(entropy)?;
            let wrapped = holder.wrap(tag, &plain, entropy)?;
            self.0.push((wrapped, Arc::new(SealKey::new(&plain))));
        }
        Ok(())
    }

    /// A new key for each of them.
    pub(super) fn drawn_again(
        &self,
        holder: Holder<'_>,
        entropy: &dyn Entropy,
    ) -> Result<Self, Error> {
        let again = |(old, _): &(WrappedKey, Arc<SealKey>)| {
            let plain = draw(entropy)?;
            Ok((holder.wrap(old.tag, &plain, entropy)?, Arc::new(SealKey::new(&plain))))
        };
        self.0.iter().map(again).collect::<Result<_, Error>>().map(Self)
    }

    /// Forgets the keys of all but these collections.
    pub(super) fn keep(&mut self, tags: &[Tag]) {
        self.0.retain(|(key, _)| tags.contains(&key.tag));
    }

    /// The key of the record at `row`, the key of a head or of a row that lies as heads do.
    pub(super) fn of_row(&self, row: &[u8]) -> Result<&SealKey, Malformed> {
        let tag = collection_of(row).ok_or(Malformed)?;
        let mut own = self.0.iter().filter(|(key, _)| key.tag == tag);
        own.next().map(|(_, key)| &**key).ok_or(Malformed)
    }

    pub(super) fn stored(&self) -> impl ExactSizeIterator<Item = WrappedKey> {
        self.0.iter().map(|(key, _)| *key)
    }
}
