//! The maps of the check, each as atlas reads it and as the naive rules do.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use atlas::{RegionMap, StatutePack};

use crate::exhaustive::text::{self, Text};

/// One map, twice.
pub(crate) struct Maps {
    pub(crate) name: &'static str,
    pub(crate) atlas: RegionMap,
    pub(crate) text: Text,
}

/// A path from this crate's folder.
fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn file(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files of all packs: those that we ship, those of the golden files, and this test's own.
static FILES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut files = Vec::new();
    for folder in ["statutes", "tests/golden/packs", "tests/exhaustive/packs"] {
        for entry in std::fs::read_dir(at(folder)).expect("a folder") {
            files.push(file(&entry.expect("an entry").path()));
        }
    }
    files
});

/// The packs of these files, as atlas reads them.
static PACKS: LazyLock<Vec<Arc<StatutePack>>> = LazyLock::new(|| {
    let parse =
        |file: &String| StatutePack::parse(file).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    FILES.iter().map(|file| Arc::new(parse(file))).collect()
});

/// The text of a map, with the digest of a pack in place of each `@id`.
fn with_digests(text: &str) -> String {
    PACKS.iter().fold(text.to_owned(), |text, pack| {
        let digest = hex::encode(pack.digest());
        text.replace(&format!("\"@{}\"", pack.id()), &format!("\"sha256:{digest}\""))
    })
}

/// The text of the map of that name.
pub(crate) fn written(name: &str) -> String {
    let path = match name {
        // The sample of the evidence set, whose last home takes every other country.
        "sample" => at("../../tests/evidence/map.toml"),
        "apart" | "harsh" | "settings" => at("tests/exhaustive").join(name).with_extension("toml"),
        _ => at("tests/golden/maps").join(name).with_extension("toml"),
    };
    with_digests(&file(&path))
}

/// The map of that name.
pub(crate) fn maps(name: &'static str) -> Maps {
    let map = written(name);
    let atlas = RegionMap::parse_carrying(&map, &PACKS);
    let atlas = atlas.unwrap_or_else(|wrong| panic!("{name}: {wrong:#?}"));
    Maps { name, atlas, text: text::read(&map, &FILES) }
}
