//! AES-256-GCM under keys that encrypt one message each, and texts put together without ambiguity.

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::NotOpened;

/// Bytes of a key, and of all that is derived here.
pub(crate) const KEY_BYTES: usize = 32;
/// Bytes of a tag.
pub(crate) const TAG_BYTES: usize = 16;

/// A label, then each part with its length in front (32 bits, big endian).
pub(crate) fn parts(label: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut all = label.as_bytes().to_vec();
    for part in parts {
        let length = u32::try_from(part.len()).expect("names are short, and bodies below 4 GiB");
        all.extend_from_slice(&length.to_be_bytes());
        all.extend_from_slice(part);
    }
    all
}

/// HMAC-SHA256 over the label and what follows it. No label begins with another.
pub(crate) fn derived(
    key: &[u8; KEY_BYTES],
    label: &str,
    rest: &[u8],
) -> Zeroizing<[u8; KEY_BYTES]> {
    let mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key).expect("of any length");
    let mac = mac.chain_update(label).chain_update(rest);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// Encrypts the one message of a key: so its nonce is zeros.
pub(crate) fn seal(key: &[u8; KEY_BYTES], bound: &[u8], message: &[u8]) -> Vec<u8> {
    let payload = Payload { msg: message, aad: bound };
    let cipher = Aes256Gcm::new_from_slice(key).expect("32 bytes");
    cipher.encrypt(&Default::default(), payload).expect("far below 64 GiB")
}

/// Decrypts it.
pub(crate) fn open(
    key: &[u8; KEY_BYTES],
    bound: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, NotOpened> {
    let payload = Payload { msg: sealed, aad: bound };
    let cipher = Aes256Gcm::new_from_slice(key).expect("32 bytes");
    cipher.decrypt(&Default::default(), payload).map_err(|_| NotOpened)
}
