//! The names of our own processes, and certificates: one as DER, and a bundle in PEM.

use link::spiffe_id::PeerId;
use link::tls::fuzzing;

/// Tries one input. A panic is a finding.
pub fn run(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        if let Some(id) = PeerId::parse(text) {
            assert!(id.to_string() == text, "a name has one form");
        }
    }
    fuzzing::certificate(data);
    fuzzing::bundle(data);
}
