//! The keys with which an issuer signs tokens, as its JWKS document gives them.
//!
//! Only public keys of three kinds are taken: RSA for RS256, P-256 for ES256 and Ed25519 for EdDSA.
//! Each is bound to its one algorithm here, so a token's header can choose a key, and never how the
//! key is used.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use sha2::{Digest as _, Sha256};
use terms::pem::BYTE_ORDER_MARK;

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
    /// Distinguishes it from another of the same id.
    pub(crate) mark: [u8; 32],
}

/// The keys of one document, by their ids and algorithms: an issuer may give one id to a key of
/// each algorithm (RFC 7517, section 4.5). There may be none: then every token is refused.
pub(crate) struct KeySet {
    keys: HashMap<(String, Algorithm), Key>,
    left_out: Vec<&'static str>,
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

/// How many keys of a JWKS document can verify tokens, and why each other key cannot: for checks of
/// a configuration.
///
/// # Errors
/// [`JwksRefused`].
pub fn usable_keys(document: &[u8]) -> Result<(usize, Vec<&'static str>), JwksRefused> {
    KeySet::parse(document).map(|keys| (keys.len(), keys.left_out))
}

impl KeySet {
    /// No key: no token is valid.
    pub(crate) fn empty() -> Self {
        Self { keys: HashMap::new(), left_out: Vec::new() }
    }

    /// The keys of a document (RFC 7517). Keys of other kinds or uses, shared secrets among them,
    /// are left out, and so are keys of one algorithm that share an id: which of them is meant is not
    /// known. One unusable key never makes the document refused: the rest of it counts, above all
    /// which keys it no longer has. A byte order mark at its start is skipped (RFC 8259, section
    /// 8.1).
    ///
    /// # Errors
    /// [`JwksRefused`].
    pub(crate) fn parse(document: &[u8]) -> Result<Self, JwksRefused> {
        if document.len() > DOCUMENT_BYTES_MAX {
            return Err(JwksRefused::TooLarge);
        }
        let document = document.strip_prefix(BYTE_ORDER_MARK).unwrap_or(document);
        let document: serde_json::Value =
            serde_json::from_slice(document).map_err(|_| JwksRefused::Malformed)?;
        let listed = document.get("keys").and_then(serde_json::Value::as_array);
        let listed = listed.ok_or(JwksRefused::Malformed)?;
        if listed.len() > KEYS_MAX {
            return Err(JwksRefused::TooLarge);
        }
        let mut keys = HashMap::<(String, Algorithm), Option<Key>>::new();
        let mut left_out = Vec::new();
        for one in listed {
            let (kid, key) = match usable(one) {
                Ok(usable) => usable,
                Err(why) => {
                    left_out.push(why);
                    continue;
                }
            };
            match keys.entry((kid, key.algorithm)) {
                Entry::Vacant(free) => {
                    free.insert(Some(key));
                }
                Entry::Occupied(mut taken) => {
                    let same = |other: &Key| other.mark == key.mark;
                    if taken.get().as_ref().is_some_and(same) {
                        left_out.push("it is there twice");
                    } else {
                        // The first of them is left out as well.
                        let first = taken.insert(None).map(|_| AMBIGUOUS);
                        left_out.extend(first.into_iter().chain([AMBIGUOUS]));
                    }
                }
            }
        }
        let keys = keys.into_iter().filter_map(|(kid, key)| Some((kid, key?)));
        Ok(Self { left_out, keys: keys.collect() })
    }

    /// The key of that id for that algorithm.
    ///
    /// # Errors
    /// Whether there is a key of that id at all.
    pub(crate) fn get(&self, kid: &str, algorithm: Algorithm) -> Result<&Key, bool> {
        let key = self.keys.get(&(kid.to_owned(), algorithm));
        key.ok_or_else(|| self.keys.keys().any(|(own, _)| own == kid))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// How many more the document had.
    pub(crate) const fn left_out(&self) -> usize {
        self.left_out.len()
    }

    /// Whether it has the same keys under the same ids.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self
                .keys
                .iter()
                .all(|(id, key)| other.keys.get(id).is_some_and(|o| o.mark == key.mark))
    }
}

const AMBIGUOUS: &str = "several keys of one algorithm have its `kid`: which is meant?";

/// A key that can be used, with its id, or why it cannot be used.
fn usable(one: &serde_json::Value) -> Result<(String, Key), &'static str> {
    // Anyone who can read the document could sign with a private key in it.
    if one.get("d").is_some() {
        tracing::warn!("the JWKS document has a private key, which is not used");
        return Err("it is a private key: anyone who can read the document could sign with it");
    }
    let jwk: Jwk = serde_json::from_value(one.clone())
        .map_err(|_| "it is no JWK, or of a kind or use that is not known")?;
    let common = &jwk.common;
    let kid = common.key_id.as_deref().unwrap_or_default();
    if kid.is_empty() || kid.len() > KID_BYTES_MAX {
        return Err("its `kid` is missing, or over 256 bytes");
    }
    if common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
        return Err("its `use` is not `sig`");
    }
    if common.key_operations.as_ref().is_some_and(|all| !all.contains(&KeyOperations::Verify)) {
        return Err("its `key_ops` do not have `verify`");
    }
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(key) if RSA_BYTES.contains(&(key.n.len() * 3 / 4)) => {
            (Algorithm::RS256, KeyAlgorithm::RS256)
        }
        AlgorithmParameters::RSA(_) => return Err("it is RSA of other than 2,048 to 8,192 bits"),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        AlgorithmParameters::OctetKey(_) => return Err("it is a shared secret"),
        AlgorithmParameters::EllipticCurve(_)
        | AlgorithmParameters::OctetKeyPair(_)
        | AlgorithmParameters::Other(_)
        | _ => return Err("it is neither RSA nor of the curves P-256 and Ed25519"),
    };
    if common.key_algorithm.is_some_and(|algorithm| algorithm != named) {
        return Err("its `alg` is none of RS256, ES256 and EdDSA, or not its kind's");
    }
    let verifying = DecodingKey::from_jwk(&jwk).map_err(|_| "its key is damaged")?;
    let bytes = serde_json::to_vec(one).map_err(|_| "it is no JWK")?;
    let mark = Sha256::digest(bytes).into();
    Ok((kid.to_owned(), Key { algorithm, verifying, mark }))
}
