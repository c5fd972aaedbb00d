//! The documents of an issuer's keys.

/// Tries one input. A panic is a finding.
pub fn run(data: &[u8]) {
    let read = gateway::usable_keys(data);
    // A byte order mark before it changes nothing.
    let marked = gateway::usable_keys(&[b"\xef\xbb\xbf", data].concat());
    if !data.starts_with(b"\xef\xbb\xbf") && data.len() + 3 <= 256 << 10 {
        assert_eq!(read, marked);
    }
}
