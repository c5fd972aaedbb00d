//! The documents of an issuer's keys.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let read = gateway::usable_keys(data);
    // A byte order mark before it changes nothing.
    let marked = gateway::usable_keys(&[b"\xef\xbb\xbf", data].concat());
    if !data.starts_with(b"\xef\xbb\xbf") && data.len() + 3 <= 256 << 10 {
        assert_eq!(read, marked);
    }
});
