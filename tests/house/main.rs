//! The rules of this repository: who may import whom, how files look, which numbers are taken.

mod bans;
mod docs;
mod imports;
mod proto_numbers;
mod rooms;
mod tidy;
mod walls;

use std::path::{Path, PathBuf};

/// The root of the repository.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The files under `folder`, in order, without what git or cargo keep for themselves.
fn files(folder: &Path) -> Vec<PathBuf> {
    const NOT_OURS: &[&str] = &[".git", "target", "bailiwick-data", "__pycache__"];
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder of the repository can be listed") {
        let entry = entry.expect("a folder of the repository can be listed");
        let kind = entry.file_type().expect("a listed file has a type");
        if kind.is_dir() && !NOT_OURS.iter().any(|name| entry.file_name() == *name) {
            found.extend(files(&entry.path()));
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// `path` as the findings name it: relative to the root.
fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}
