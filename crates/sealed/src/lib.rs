//! Bodies that a gateway carries and cannot read as they pass: the one format of them, for both ends.
//!
//! **To a region.** A caller seals a body to the public key of the record's region with HPKE (RFC 9180:
//! base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM). It is bound to the region, the key,
//! and the names of the record and of the request ([`Binding`]), so it opens in no other place. A read
//! sends a sealed question without a body; the answer is encrypted under a secret that both ends export
//! from the question ([`AnswerSecret`]), so a gateway can neither read nor make one. In an answer of many
//! records each body is bound to its record ([`AnswerPart`]). The pages of an export are a chain of seals from
//! the list of its collections to the end of the last one, so a gateway can leave nothing out.
//!
//! **Whose key it is.** A region publishes its key as a signed note ([`TransitKey::verify`]). The caller
//! knows the key that signs it ([`identity_name`]) by another way than through a gateway.
//!
//! **Under the caller's own keys** ([`CallerKey`]): the platform encrypts a body before anything else, and
//! no region can read it.
//!
//! Test vectors by another program: `tests/vectors.json`.

mod answer;
mod binding;
mod caller;
mod keyed;
mod published;
mod region;

pub use answer::{ANSWER_NONCE_BYTES, ANSWER_OVERHEAD_BYTES, AnswerPart, AnswerSecret, PageDigest};
pub use binding::{Binding, Call};
pub use caller::{
    CallerKey, CallerRecord, OVERHEAD_BYTES_MAX as CALLER_OVERHEAD_BYTES_MAX, key_id,
};
pub use published::{KEY_NOTE_BYTES_MAX, NoteInvalid, PublishedKey, identity_name};
pub use region::{Opened, RegionKey, SEALED_OVERHEAD_BYTES, TransitKey};

/// A body that does not open: it was changed, or sealed to another key, for another record, or for
/// another request. It says no more, and holds nothing of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed body does not open: it was changed, or is of another key, record or request")]
pub struct NotOpened;
