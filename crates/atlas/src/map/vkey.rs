//! Verifier keys of C2SP `signed-note`, as a map writes those of a region's operators.
//!
//! Only the form is judged here: whether a signature is by such a key is for `ledger`, which this
//! crate does not know.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

/// The type byte of an Ed25519 key.
const ED25519: u8 = 0x01;
/// Bytes of a name at the most.
const NAME_BYTES_MAX: usize = 255;

/// The key, if its three parts belong together: a typing error is found here, and
/// not when the first signature is refused.
pub(super) fn parse(text: &str) -> Option<String> {
    let mut parts = text.splitn(3, '+');
    let (name, id, key) = (parts.next()?, parts.next()?, parts.next()?);
    let strange = |c: char| c.is_whitespace() || c.is_control();
    if !(1..=NAME_BYTES_MAX).contains(&name.len()) || name.contains(strange) {
        return None;
    }
    let bytes = STANDARD.decode(key).ok().filter(|bytes| bytes.len() == 33)?;
    let hash = Sha256::new().chain_update(name).chain_update(b"\n").chain_update(&bytes);
    let own = hex::encode(hash.finalize());
    (bytes.first() == Some(&ED25519) && id == own.get(..8)?).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::parse;

    /// Of the vectors that were made from the specification alone.
    const GOOD: &str =
        "placement.example/eu-de/2026a+16848219+AYaAq5TinA32oNBHMpQJ22Gp6gK+Ujii20WOAMx7YLCa";

    #[test]
    fn every_letter_counts() {
        assert_eq!(parse(GOOD), Some(GOOD.to_owned()));
        for at in 0..GOOD.len() {
            let mut other = GOOD.to_owned();
            let letter = if &GOOD[at..=at] == "x" { "y" } else { "x" };
            other.replace_range(at..=at, letter);
            assert_eq!(parse(&other), None, "{other}");
        }
        for bad in ["", "+", "a+16848219", " +16848219+AYaA", "a b+16848219+AYaAq5TinA32"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
