//! Names that a part of a map uses and another part must declare, and digests.

use terms::{Collection, RegionId};

use crate::law::vocabulary::Exempt;
use crate::toml::{At, Section};

/// Names that must be of something that the map has.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) regions: Vec<At<RegionId>>,
    pub(super) collections: Vec<At<Collection>>,
    pub(super) exempts: Vec<At<Exempt>>,
}

impl Names {
    /// The collections that are listed, by name, each once. None: the key is left out, or says `*`.
    pub(super) fn collections(&mut self, section: &Section<'_>) -> Option<Vec<Collection>> {
        let texts = section.texts("collections")?;
        if let [only] = texts.as_slice()
            && only.it == "*"
        {
            return None;
        }
        let listed = section.list("collections", |text| Collection::parse(text).ok());
        let mut collections: Vec<Collection> = listed.iter().map(|name| name.it.clone()).collect();
        collections.sort();
        collections.dedup();
        self.collections.extend(listed);
        Some(collections)
    }
}

/// A digest as maps write it: `sha256:` and 64 hexadecimal digits.
pub(crate) fn digest_text(digest: &[u8; 32]) -> String {
    digest.iter().fold(String::from("sha256:"), |text, byte| format!("{text}{byte:02x}"))
}

/// The digest that `sha256:` and 64 lower-case hexadecimal digits write.
pub(super) fn digest(text: &str) -> Option<[u8; 32]> {
    let (pairs, left) = text.strip_prefix("sha256:")?.as_bytes().as_chunks::<2>();
    if !left.is_empty() || pairs.len() != 32 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        if pair.iter().any(|c| !matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}
