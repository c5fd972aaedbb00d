//! The keys with which an issuer signs tokens, as its JWKS document gives them.
//!
//! Only public keys of three kinds are taken: RSA for RS256, P-256 for ES256 and Ed25519 for
//! EdDSA. Each is bound to its one algorithm here, so that what a token's header says can choose
//! a key, and never how it is used.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use sha2::{Digest as _, Sha256};

/// Bytes of a JWKS document.
pub(crate) const DOCUMENT_BYTES_MAX: usize = 256 << 10;
/// Keys of one document.
const KEYS_MAX: usize = 64;
/// Bytes of a key's id.
const KID_BYTES_MAX: usize = 256;
/// Bytes of an RSA key's modulus: 2,048 to 8,192 bits.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// A key that may verify tokens.
pub(crate) struct Key {
    pub(crate) algorithm: Algorithm,
    pub(crate) verifying: DecodingKey,
    /// Tells it from another of the same id.
    pub(crate) mark: [u8; 32],
}

/// The keys of one document, by their ids. There may be none: then no token is good.
pub(crate) struct KeySet {
    keys: HashMap<String, Key>,
    left_out: usize,
}

/// Why a document is not taken. Nothing of its content is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwksRefused {
    /// Over 256 KiB, or over 64 keys.
    #[error("the JWKS document is over 256 KiB, or has more than 64 keys")]
    TooLarge,
    /// Not an object with a list `keys`.
    #[error("the JWKS document is not a JSON object with a list `keys`")]
    Malformed,
}

/// How many keys of a JWKS document can verify tokens, for whoever looks at a configuration.
///
/// # Errors
/// [`JwksRefused`].
pub fn usable_keys(document: &[u8]) -> Result<usize, JwksRefused> {
    KeySet::parse(document).map(|keys| keys.len())
}

impl KeySet {
    /// No key: no token is valid.
    pub(crate) fn empty() -> Self {
        Self { keys: HashMap::new(), left_out: 0 }
    }

    /// The keys of a document (RFC 7517). Keys of other kinds or uses, shared secrets among them,
    /// are left out, and so are all those of an id that several have: which is meant could not be
    /// told. A document is never refused for the sake of one key: what else it says, above all
    /// which keys it has no longer, holds.
    ///
    /// # Errors
    /// [`JwksRefused`].
    pub(crate) fn parse(document: &[u8]) -> Result<Self, JwksRefused> {
        if document.len() > DOCUMENT_BYTES_MAX {
            return Err(JwksRefused::TooLarge);
        }
        let document: serde_json::Value =
            serde_json::from_slice(document).map_err(|_| JwksRefused::Malformed)?;
        let listed = document.get("keys").and_then(serde_json::Value::as_array);
        let listed = listed.ok_or(JwksRefused::Malformed)?;
        if listed.len() > KEYS_MAX {
            return Err(JwksRefused::TooLarge);
        }
        let mut keys = HashMap::<String, Option<Key>>::new();
        for (kid, key) in listed.iter().filter_map(usable) {
            match keys.entry(kid) {
                Entry::Vacant(free) => {
                    free.insert(Some(key));
                }
                Entry::Occupied(mut taken) => {
                    if taken.get().as_ref().is_none_or(|other| other.mark != key.mark) {
                        taken.insert(None);
                    }
                }
            }
        }
        let keys = keys.into_iter().filter_map(|(kid, key)| Some((kid, key?)));
        let keys: HashMap<String, Key> = keys.collect();
        Ok(Self { left_out: listed.len() - keys.len(), keys })
    }

    /// The key of that id.
    pub(crate) fn get(&self, kid: &str) -> Option<&Key> {
        self.keys.get(kid)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// How many more the document had.
    pub(crate) const fn left_out(&self) -> usize {
        self.left_out
    }

    /// Whether it has the same keys under the same ids.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.keys.iter().all(|(kid, key)| other.get(kid).is_some_and(|o| o.mark == key.mark))
    }
}

/// A key that can be used, with its id.
fn usable(one: &serde_json::Value) -> Option<(String, Key)> {
    // A private key does not belong into this document: whoever reads it could sign.
    if one.get("d").is_some() {
        tracing::warn!("a private key lies in the JWKS document: it is not used");
        return None;
    }
    let jwk: Jwk = serde_json::from_value(one.clone()).ok()?;
    let common = &jwk.common;
    let kid = common.key_id.as_deref()?;
    if kid.is_empty() || kid.len() > KID_BYTES_MAX {
        return None;
    }
    if common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
        return None;
    }
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(key) => {
            let bytes = key.n.len() * 3 / 4;
            RSA_BYTES.contains(&bytes).then_some((Algorithm::RS256, KeyAlgorithm::RS256))?
        }
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        AlgorithmParameters::EllipticCurve(_)
        | AlgorithmParameters::OctetKey(_)
        | AlgorithmParameters::OctetKeyPair(_)
        | AlgorithmParameters::Other(_)
        | _ => return None,
    };
    if common.key_algorithm.is_some_and(|algorithm| algorithm != named) {
        return None;
    }
    let verifying = DecodingKey::from_jwk(&jwk).ok()?;
    let mark = Sha256::digest(serde_json::to_vec(one).ok()?).into();
    Some((kid.to_owned(), Key { algorithm, verifying, mark }))
}
