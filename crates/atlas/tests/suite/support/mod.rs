//! What the tests of this crate share: the packs, and the files of the golden folder.

#![expect(clippy::panic, reason = "a test that goes astray may panic")]

pub(crate) mod expect;

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use atlas::{StatutePack, packs};

/// The folder of the golden files.
pub(crate) fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// A file, as a text.
pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files of a folder that end in `.toml`, by name.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

/// The built-in packs, and those that are made up for tests.
pub(crate) static PACKS: LazyLock<Vec<Arc<StatutePack>>> = LazyLock::new(|| {
    let made = files(&golden().join("packs")).into_iter().map(|path| {
        let pack = StatutePack::parse(&read(&path));
        Arc::new(pack.unwrap_or_else(|wrong| panic!("{}: {wrong:?}", path.display())))
    });
    packs().iter().cloned().chain(made).collect()
});

/// The text of a map, with the digest of a pack in place of each `@id`.
pub(crate) fn with_digests(text: &str) -> String {
    PACKS.iter().fold(text.to_owned(), |text, pack| {
        let digest = hex::encode(pack.digest());
        text.replace(&format!("\"@{}\"", pack.id()), &format!("\"sha256:{digest}\""))
    })
}
