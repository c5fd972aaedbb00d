//! Signers of the tokens of tests: keys of each kind, and the claims of a valid token.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test names what it is about")]

use std::sync::Mutex;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData as _};
use serde_json::{Value, json};
use terms::{Clock, UnixMillis};

/// The present time of a test, in seconds since 1970.
pub(crate) const NOW: u64 = 1_800_000_000;
const B64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A clock that stands where it is set, in milliseconds.
pub(crate) struct At(pub(crate) Mutex<u64>);

impl Clock for At {
    fn now(&self) -> UnixMillis {
        UnixMillis(*self.0.lock().unwrap())
    }
}

pub(crate) fn base64url(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let wide =
            chunk.iter().chain(&[0, 0]).take(3).fold(0_usize, |n, c| n << 8 | usize::from(*c));
        for place in 0..=chunk.len() {
            text.push(char::from(B64[wide >> (18 - 6 * place) & 63]));
        }
    }
    text
}

/// One key of an issuer.
pub(crate) struct Signer {
    pub(crate) algorithm: Algorithm,
    pub(crate) key: EncodingKey,
    pub(crate) jwk: Value,
    pub(crate) kid: &'static str,
}

/// The numbers of an RSA public key in DER: SEQUENCE, INTEGER n, INTEGER e.
fn rsa_numbers(der: &[u8]) -> (&[u8], &[u8]) {
    assert_eq!(&der[..4], [0x30, 0x82, 1, 10], "a key of 2048 bits");
    assert_eq!(&der[4..9], [2, 0x82, 1, 1, 0]);
    (&der[9..265], &der[267..])
}

impl Signer {
    pub(crate) fn new(algorithm: Algorithm, kid: &'static str) -> Self {
        let kind = match algorithm {
            Algorithm::RS256 => &PKCS_RSA_SHA256,
            Algorithm::ES256 => &PKCS_ECDSA_P256_SHA256,
            _ => &PKCS_ED25519,
        };
        let pair = KeyPair::generate_for(kind).unwrap();
        let (pem, raw) = (pair.serialize_pem(), pair.der_bytes().to_vec());
        let (key, jwk) = match algorithm {
            Algorithm::RS256 => {
                let (n, e) = rsa_numbers(&raw);
                let jwk = json!({ "kty": "RSA", "n": base64url(n), "e": base64url(e) });
                (EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap(), jwk)
            }
            Algorithm::ES256 => {
                let (x, y) = raw[1..].split_at(32);
                let (x, y) = (base64url(x), base64url(y));
                let jwk = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y });
                (EncodingKey::from_ec_pem(pem.as_bytes()).unwrap(), jwk)
            }
            _ => {
                let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(&raw) });
                (EncodingKey::from_ed_pem(pem.as_bytes()).unwrap(), jwk)
            }
        };
        let mut signer = Self { algorithm, key, jwk, kid };
        signer.jwk["kid"] = json!(kid);
        signer
    }

    pub(crate) fn header(&self) -> Header {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.kid.to_owned());
        header
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        encode(&self.header(), claims, &self.key).unwrap()
    }
}

pub(crate) fn document(signers: &[&Signer]) -> Vec<u8> {
    let keys: Vec<&Value> = signers.iter().map(|signer| &signer.jwk).collect();
    json!({ "keys": keys }).to_string().into_bytes()
}

pub(crate) fn claims() -> Value {
    json!({
        "iss": "https://issuer.example", "aud": "bailiwick", "sub": "signup",
        "exp": NOW + 300, "nbf": NOW - 5, "tenant": "sample", "roles": ["writer", "king"],
        "territory": "DE", "collections": ["profiles"], "regions": ["*"], "email": "a@b.example",
    })
}

pub(crate) fn with(change: &Value) -> Value {
    let mut claims = claims();
    for (key, value) in change.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(key)),
            value => claims[key] = value.clone(),
        }
    }
    claims
}
