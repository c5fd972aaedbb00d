//! A region's public key as it is published: a signed note (C2SP `signed-note`) of six lines.
//!
//! ```text
//! bailiwick transit key v1
//! <deployment>/<region>
//! <the key's id>
//! <the public key, 64 hexadecimal digits>
//! <seal to it from: seconds since 1970>
//! <seal to it until, without: seconds since 1970>
//! ```
//! It is signed by the region's identity key, whose name is [`identity_name`]. That key is the same for
//! all shards of a region, for as long as the region has its keyring.

use hpke::{Deserializable as _, Serializable as _};
use ledger::note::{self, Signer, Verifier};

use crate::region::{RegionKey, TransitKey};

/// Bytes of such a note at the most.
pub const KEY_NOTE_BYTES_MAX: usize = 4_096;
/// The first line.
const MAGIC: &str = "bailiwick transit key v1";
/// Seconds by which the clocks of caller and shard may differ.
const SKEW_SECONDS: u64 = 86_400;

/// The name of the key that signs a region's transit keys.
pub fn identity_name(deployment: &str, region: &str) -> String {
    format!("{deployment}/{region}/transit")
}

/// Why a note is not believed. It never holds what was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteInvalid {
    /// It is not a note of that form.
    #[error("the transit key is not of the form of a published key")]
    Malformed,
    /// Its signature is not one of the region's identity key that the caller knows.
    #[error("the transit key is not signed by the region's identity key")]
    Unsigned,
    /// It is about another region.
    #[error("the transit key is another region's")]
    OtherRegion,
    /// It is not in use yet, or not any more.
    #[error("the transit key is out of its time: compare the clocks of caller and shard")]
    OutOfTime,
}

/// A region's public key, and until when to seal to it.
#[derive(Debug, Clone)]
pub struct PublishedKey {
    /// The key.
    pub key: TransitKey,
    /// Seconds since 1970.
    pub until: u64,
}

impl PublishedKey {
    /// Whether to seal to it at `now` (seconds since 1970), by a clock that may be a day ahead of the
    /// shard's. The region opens what is sealed to it for far longer than that.
    pub fn is_current(&self, now: u64) -> bool {
        now < self.until.saturating_add(SKEW_SECONDS)
    }
}

impl RegionKey {
    /// The note that publishes this key, to be sealed to in that time (seconds since 1970).
    ///
    /// # Errors
    /// [`note::Error`].
    pub fn publish(
        &self,
        deployment: &str,
        signer: &Signer,
        from: u64,
        until: u64,
    ) -> Result<String, note::Error> {
        let TransitKey { region, id, public } = self.public();
        let public = hex::encode(public.to_bytes());
        let text = format!("{MAGIC}\n{deployment}/{region}\n{id}\n{public}\n{from}\n{until}\n");
        note::sign(&text, &[signer])
    }
}

impl TransitKey {
    /// The key of a note that the region's identity key has signed. `now`: seconds since 1970.
    ///
    /// # Errors
    /// [`NoteInvalid`].
    pub fn verify(
        note: &str,
        identity: &Verifier,
        region: &str,
        now: u64,
    ) -> Result<PublishedKey, NoteInvalid> {
        if note.len() > KEY_NOTE_BYTES_MAX {
            return Err(NoteInvalid::Malformed);
        }
        let opened = note::open(note, std::slice::from_ref(identity));
        let opened = opened.map_err(|why| match why {
            note::Error::Unverified | note::Error::BadSignature => NoteInvalid::Unsigned,
            note::Error::KeyName
            | note::Error::VerifierKey
            | note::Error::KeyType
            | note::Error::Text
            | note::Error::Malformed => NoteInvalid::Malformed,
        })?;
        let text = opened.text.strip_suffix('\n').ok_or(NoteInvalid::Malformed)?;
        let lines: Vec<&str> = text.split('\n').collect();
        let [MAGIC, of, id, public, from, until] = *lines else {
            return Err(NoteInvalid::Malformed);
        };
        let (deployment, named) = of.split_once('/').ok_or(NoteInvalid::Malformed)?;
        if named != region || identity.name() != identity_name(deployment, region) {
            return Err(NoteInvalid::OtherRegion);
        }
        let public = hex::decode(public).map_err(|_| NoteInvalid::Malformed)?;
        let public = <hpke::kem::X25519HkdfSha256 as hpke::Kem>::PublicKey::from_bytes(&public);
        let key = TransitKey::new(region, public.map_err(|_| NoteInvalid::Malformed)?);
        let seconds = |text: &str| text.parse::<u64>().map_err(|_| NoteInvalid::Malformed);
        let (from, until) = (seconds(from)?, seconds(until)?);
        if key.id != id {
            return Err(NoteInvalid::Malformed);
        }
        let published = PublishedKey { key, until };
        if now.saturating_add(SKEW_SECONDS) < from || !published.is_current(now) {
            return Err(NoteInvalid::OutOfTime);
        }
        Ok(published)
    }
}
