//! Searches whole folders for bytes: what lies where.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Calls `each` with every file below a folder.
pub(crate) fn files(folder: &Path, each: &mut dyn FnMut(&Path, &[u8])) {
    for entry in fs::read_dir(folder).expect("a folder can be read") {
        let path = entry.expect("an entry can be read").path();
        if path.is_dir() {
            files(&path, each);
        } else {
            each(&path, &fs::read(&path).expect("a file can be read"));
        }
    }
}

/// The ids of persons of the evidence set that stand anywhere below a folder: `p-` and five
/// digits and no more, as every body of the set has one. (A shard keeps its map's packs, and an
/// address in one of them has a longer number.)
pub(crate) fn ids(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    files(folder, &mut |_, bytes| {
        for (at, window) in bytes.windows(7).enumerate() {
            let longer = bytes.get(at + 7).is_some_and(u8::is_ascii_digit);
            if let [b'p', b'-', digits @ ..] = window
                && digits.iter().all(u8::is_ascii_digit)
                && !longer
            {
                found.insert(String::from_utf8_lossy(window).into_owned());
            }
        }
    });
    found
}

/// Copies a folder as it is.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("it can be copied");
        }
    }
}
