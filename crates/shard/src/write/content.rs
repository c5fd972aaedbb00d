//! What a write brings: the encrypted body, and random values.

use ledger::statement::content_digest;
use zeroize::Zeroizing;

use crate::store::aead::{KEY_BYTES, NONCE_BYTES};
use crate::store::record::SealedBody;

/// The encrypted body and the random values drawn for this write.
pub(crate) struct Content {
    pub(crate) opening: [u8; 32],
    pub(crate) digest: [u8; 32],
    pub(crate) body_key: Zeroizing<[u8; KEY_BYTES]>,
    pub(crate) nonce: [u8; NONCE_BYTES],
    pub(crate) sealed: SealedBody,
}

impl Content {
    /// What a deletion has in place of content.
    pub(crate) fn none(opening: [u8; 32], nonce: [u8; NONCE_BYTES]) -> Self {
        Self {
            opening,
            digest: content_digest(&opening, &[]),
            body_key: Zeroizing::new([0; KEY_BYTES]),
            nonce,
            sealed: SealedBody::none(),
        }
    }
}
