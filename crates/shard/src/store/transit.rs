//! The region's transit keys: what callers seal bodies to, so that no gateway can read them.
//!
//! All keys are derived from the region's index key, so all shards of a region have the same, and a start
//! needs nothing but the keyring. A key is sealed to for a period of thirty days, and opens for the period
//! after it, too: so a caller that has fetched a key may use it for thirty days at least. The identity key
//! signs all of them, and stays.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::hmac;
use ledger::note::Signer;
use sealed::{AnswerSecret, Binding, Call, RegionKey, identity_name};
use terms::{Reason, RegionId, Rejection, TenantId, UnixMillis};
use zeroize::Zeroizing;

use crate::store::aead::KEY_BYTES;
use crate::store::keyring::Keyring;
use crate::store::record::Address;

/// Seconds in which a key is the one to seal to. It opens for as long again.
const PERIOD_SECONDS: u64 = 30 * 86_400;

/// The transit keys of a region.
pub(crate) struct TransitKeys {
    deployment: String,
    region: RegionId,
    identity: Signer,
    /// What the key pairs are derived from.
    pairs: hmac::Key,
    /// Those that are in use, by period.
    known: Mutex<BTreeMap<u64, Arc<RegionKey>>>,
    /// The note of the period that was asked for last: it is signed once.
    note: Mutex<Option<(u64, Arc<str>)>>,
}

impl TransitKeys {
    /// Those of the region whose keyring it is. None: the names of deployment and region cannot name a key.
    pub(crate) fn new(deployment: &str, region: &RegionId, keyring: &dyn Keyring) -> Option<Self> {
        let name = identity_name(deployment, region.as_str());
        let identity = secret(&keyring.derive("transit identity"), b"bailiwick identity v1");
        Some(Self {
            identity: Signer::from_seed(&name, &identity).ok()?,
            pairs: keyring.derive("transit keys"),
            deployment: deployment.to_owned(),
            region: region.clone(),
            known: Mutex::default(),
            note: Mutex::default(),
        })
    }

    /// The public key that signs transit keys, for callers to know by another way.
    pub(crate) fn identity(&self) -> String {
        self.identity.vkey()
    }

    /// The key to seal to now, as it is published. None: it cannot be signed.
    pub(crate) fn published(&self, now: UnixMillis) -> Option<Arc<str>> {
        let period = period_of(now);
        let mut last = self.note.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, note)) = &*last
            && *of == period
        {
            return Some(Arc::clone(note));
        }
        let from = period.checked_mul(PERIOD_SECONDS)?;
        let key = self.key(period);
        let note = key.publish(&self.deployment, &self.identity, from, from + PERIOD_SECONDS);
        let note: Arc<str> = note.ok()?.into();
        *last = Some((period, Arc::clone(&note)));
        Some(note)
    }

    /// Whether a key of that id opens now.
    ///
    /// # Errors
    /// `TRANSIT_KEY_UNKNOWN`.
    pub(crate) fn admit(&self, id: &str, now: UnixMillis) -> Result<(), Rejection> {
        self.find(id, now).map(drop)
    }

    /// Opens what was sealed to the key of that id, for one request.
    ///
    /// # Errors
    /// `TRANSIT_KEY_UNKNOWN`, `TRANSIT_SEAL_INVALID`.
    pub(crate) fn open(
        &self,
        id: &str,
        now: UnixMillis,
        binding: &Binding<'_>,
        sealed: &[u8],
        field: &'static str,
    ) -> Result<(Vec<u8>, AnswerSecret), Rejection> {
        let opened = self.find(id, now)?.open(binding, sealed);
        let opened = opened.map_err(|_| Rejection::new(Reason::TransitSealInvalid).field(field))?;
        Ok((opened.body, opened.answer))
    }

    fn find(&self, id: &str, now: UnixMillis) -> Result<Arc<RegionKey>, Rejection> {
        let period = period_of(now);
        // The next one, too: another shard's clock may be ahead.
        let near = period.saturating_sub(1)..=period.saturating_add(1);
        let mut near = near.map(|period| self.key(period));
        near.find(|key| key.public().id() == id)
            .ok_or_else(|| Rejection::new(Reason::TransitKeyUnknown).field("sealed_key"))
    }

    /// The key pair of a period.
    fn key(&self, period: u64) -> Arc<RegionKey> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let keep = period.saturating_sub(2)..=period.saturating_add(2);
        known.retain(|of, _| keep.contains(of));
        let made = || {
            let secret = secret(&self.pairs, &period.to_be_bytes());
            Arc::new(RegionKey::derive(self.region.as_str(), &secret))
        };
        Arc::clone(known.entry(period).or_insert_with(made))
    }
}

/// What a sealed body for a record is bound to, without request and conditions.
pub(crate) fn binding(call: Call, address: &Address) -> Binding<'_> {
    Binding {
        call,
        tenant: address.owner.tenant.as_str(),
        subject: address.owner.subject.expose(),
        collection: address.collection.as_str(),
        key: address.key.expose(),
        request_id: &[],
        if_version: None,
        etag: "",
        asks: &[],
    }
}

/// What the question of an export is bound to. `asks`: its purpose.
pub(crate) fn of_export<'a>(
    tenant: &'a TenantId,
    subject: &'a str,
    asks: &'a [&'a str],
) -> Binding<'a> {
    Binding {
        call: Call::Export,
        tenant: tenant.as_str(),
        subject,
        collection: "",
        key: "",
        request_id: &[],
        if_version: None,
        etag: "",
        asks,
    }
}

fn period_of(now: UnixMillis) -> u64 {
    now.0 / 1_000 / PERIOD_SECONDS
}

fn secret(key: &hmac::Key, of: &[u8]) -> Zeroizing<[u8; KEY_BYTES]> {
    let tag = hmac::sign(key, of);
    Zeroizing::new(*tag.as_ref().first_chunk().expect("HMAC-SHA-256 has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use ledger::note::Verifier;
    use link::host::clock::SystemEntropy;
    use sealed::TransitKey;

    use super::*;
    use crate::store::keyring::FileKeyring;

    const PERIOD: u64 = PERIOD_SECONDS * 1_000;
    const BINDING: Binding<'_> = Binding {
        call: Call::Put,
        tenant: "sample",
        subject: "anna",
        collection: "profiles",
        key: "main",
        request_id: &[1; 16],
        if_version: None,
        etag: "",
        asks: &[],
    };

    fn keys(folder: &std::path::Path, region: &str) -> TransitKeys {
        let region = RegionId::parse(region).unwrap();
        let ring = FileKeyring::open(folder, &region, None)
            .or_else(|_| FileKeyring::create(folder, &region, None, &SystemEntropy));
        TransitKeys::new("sample", &region, &ring.unwrap()).unwrap()
    }

    #[test]
    fn a_key_opens_for_thirty_days_after_it_was_the_one_to_seal_to() {
        let folder = tempfile::tempdir().unwrap();
        let keys = keys(folder.path(), "ru-msk");
        let at = UnixMillis(700 * PERIOD + 5);
        let identity = Verifier::from_vkey(&keys.identity()).unwrap();
        let note = keys.published(at).unwrap();
        let found = TransitKey::verify(&note, &identity, "ru-msk", at.0 / 1_000).unwrap();
        assert_eq!(found.until, 701 * PERIOD_SECONDS);
        let (sealed, _) = found.key.seal(&BINDING, b"hello").unwrap();
        let open = |now| {
            let opened = keys.open(found.key.id(), UnixMillis(now), &BINDING, &sealed, "body");
            opened.map(|(body, _)| body).map_err(|no| no.reason)
        };
        for now in [700 * PERIOD, 701 * PERIOD, 702 * PERIOD - 1, 699 * PERIOD] {
            assert_eq!(open(now).as_deref(), Ok(&b"hello"[..]));
        }
        for now in [702 * PERIOD, 699 * PERIOD - 1, 0] {
            assert_eq!(open(now), Err(Reason::TransitKeyUnknown));
        }
        // It is signed once.
        assert!(Arc::ptr_eq(&note, &keys.published(UnixMillis(701 * PERIOD - 1)).unwrap()));
        let later = keys.published(UnixMillis(701 * PERIOD)).unwrap();
        let later = TransitKey::verify(&later, &identity, "ru-msk", 701 * PERIOD_SECONDS).unwrap();
        assert_ne!(later.key.id(), found.key.id());
        // Another record's request.
        let other = Binding { subject: "boris", ..BINDING };
        let opened = keys.open(found.key.id(), at, &other, &sealed, "body");
        assert_eq!(opened.err().map(|no| no.reason), Some(Reason::TransitSealInvalid));
    }

    #[test]
    fn all_shards_of_a_region_have_the_same_keys_and_no_other_region_has_them() {
        let folder = tempfile::tempdir().unwrap();
        let one = keys(folder.path(), "ru-msk");
        let same = keys(folder.path(), "ru-msk");
        let other = keys(folder.path(), "eu-fra");
        let at = UnixMillis(700 * PERIOD);
        assert_eq!(one.published(at), same.published(at));
        assert_eq!(one.identity(), same.identity());
        assert_ne!(one.identity(), other.identity());
        assert!(one.identity().starts_with("sample/ru-msk/transit+"));
        assert!(one.admit(other.key(700).public().id(), at).is_err());
        assert!(one.admit(same.key(700).public().id(), at).is_ok());
    }
}
