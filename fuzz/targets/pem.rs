//! PEM files: what is found in one must be all that it holds, and the same when it is written anew.

use terms::pem::{blocks, certificates, encode, private_key, revocation_lists};

/// Tries one input. A panic is a finding.
pub fn run(data: &[u8]) {
    drop(private_key(data));
    drop(revocation_lists(data));
    drop(certificates(data));
    let Ok(found) = blocks(data) else { return };
    // No beginning is passed over.
    let begin = b"-----BEGIN";
    let begins = data.windows(begin.len()).filter(|window| window == begin).count();
    assert_eq!(found.len(), begins, "a block was passed over");
    let written: String = found.iter().map(|block| (*encode(&block.label, &block.der)).clone()).collect();
    let again = blocks(written.as_bytes()).unwrap_or_default();
    assert_eq!(again.len(), found.len(), "what is written is read");
    for (one, other) in found.iter().zip(&again) {
        assert!(one.label == other.label && *one.der == *other.der, "a block has changed");
    }
}
