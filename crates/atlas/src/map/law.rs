//! What statutes and clauses have in common: packs, digests, lists of collections.

use std::collections::BTreeMap;

use terms::Collection;

use crate::law::pack::NAME;
use crate::map::reader::Names;
use crate::toml::file::one_of;
use crate::toml::reader::{At, File, Section};
use crate::{StatuteId, StatutePack};

/// What a digest is, in messages.
pub(super) const DIGEST: &str = "sha256: and 64 hexadecimal digits";

/// The packs that a map can name.
#[derive(Debug)]
pub(crate) struct Packs(BTreeMap<StatuteId, Vec<&'static StatutePack>>);

impl Packs {
    pub(crate) fn new(packs: impl IntoIterator<Item = &'static StatutePack>) -> Self {
        let mut all = BTreeMap::<_, Vec<_>>::new();
        for pack in packs {
            all.entry(pack.id().clone()).or_default().push(pack);
        }
        Self(all)
    }

    /// The pack of that id, and of that digest if there is one; else the first of that id.
    fn of(
        packs: &[&'static StatutePack],
        digest: Option<[u8; 32]>,
    ) -> Option<&'static StatutePack> {
        let same = packs.iter().find(|pack| Some(*pack.digest()) == digest);
        same.or_else(|| packs.first()).copied()
    }

    /// The pack of that id. Of several, the one with that digest.
    pub(super) fn find(
        &self,
        id: &StatuteId,
        digest: Option<[u8; 32]>,
    ) -> Option<&'static StatutePack> {
        self.0.get(id).and_then(|packs| Self::of(packs, digest))
    }

    /// An offer to use one of them.
    pub(super) fn ids(&self) -> String {
        one_of(self.0.keys())
    }
}

/// The collections that are listed, by name, each once. None: the key is left out, or it says `*`.
pub(super) fn collections(
    file: &File<'_>,
    section: &Section<'_>,
    names: &mut Names,
) -> Option<Vec<Collection>> {
    let texts = section.texts("collections")?;
    if let [only] = texts.as_slice()
        && only.it == "*"
    {
        return None;
    }
    if texts.is_empty() {
        let cure = "list collections, or write \"*\"";
        file.wrong(section.at, "VALUE_INVALID", "the list of collections is empty", cure);
    }
    let parse = |text| file.parsed(text, "NAME_INVALID", NAME, |t| Collection::parse(t).ok());
    let listed: Vec<At<Collection>> = texts.into_iter().filter_map(parse).collect();
    let mut collections: Vec<Collection> = listed.iter().map(|name| name.it.clone()).collect();
    collections.sort();
    collections.dedup();
    names.collections.extend(listed);
    Some(collections)
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
