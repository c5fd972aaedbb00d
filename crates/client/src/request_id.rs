//! Ids of requests: random for a new request, or derived from what is written, so that the same
//! write has the same id even in another run.

use sha2::{Digest, Sha256};
use terms::{Entropy, EntropyFailed, RequestId};

/// A new random id.
///
/// # Errors
/// [`EntropyFailed`], when there is no randomness.
pub fn new_request_id(entropy: &dyn Entropy) -> Result<RequestId, EntropyFailed> {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes)?;
    Ok(RequestId::from_bytes(bytes))
}

/// The id that follows from a content: the first 16 bytes of SHA-256 over the label, its length in
/// front (four bytes, big endian), and the content, with the fixed bits of a version 4 UUID. The
/// label says what the ids are for, so that two purposes never share one.
pub fn derived_request_id(label: &'static str, content: &[u8]) -> RequestId {
    let length = u32::try_from(label.len()).expect("labels are short");
    let digest: [u8; 32] = Sha256::new()
        .chain_update(length.to_be_bytes())
        .chain_update(label.as_bytes())
        .chain_update(content)
        .finalize()
        .into();
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest).for_each(|(byte, of)| *byte = of);
    RequestId::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derived_id_never_changes() {
        // Computed by another program (Python's hashlib and uuid) from the sentence above.
        let id = derived_request_id("bailiwick import v1", b"{}");
        assert_eq!(id.to_string(), "c8d21969-cf66-49a6-ae5f-cd7d1c2718f5");
        assert_ne!(id, derived_request_id("bailiwick import v2", b"{}"));
        assert_ne!(id, derived_request_id("bailiwick import v1", b"{ }"));
        assert_ne!(derived_request_id("a", b"bc"), derived_request_id("ab", b"c"));
    }
}
