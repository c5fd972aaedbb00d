//! The one base64 of the log's formats: RFC 4648 section 4, with padding, nothing else accepted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The text of `bytes`.
pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The bytes of `text`, if it is the one text that those bytes have.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_text_of_some_bytes_is_accepted() {
        assert_eq!(encode(b"ab"), "YWI=");
        assert_eq!(decode("YWI="), Some(b"ab".to_vec()));
        // Padding missing, bits beyond the end, another alphabet, space, nothing after padding.
        for bad in ["YWI", "YWJ=", "YW-_", "YWI= ", " YWI=", "YWI==", "YWI=YWI=", "Y\nWI="] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
