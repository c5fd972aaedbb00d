//! Writing a file in one step: a reader sees the old content or the new.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

/// What the name of a file ends in until the file is whole. No other file is named so, and a file
/// that was left so is written again.
const UNFINISHED: &str = ".new";

/// Replaces a file, or makes it. `flush`: its content is on the disk when this returns; otherwise
/// the caller flushes the file system.
pub(crate) fn replace(path: &Path, bytes: &[u8], flush: bool) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(UNFINISHED);
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    if flush {
        file.sync_all()?;
    }
    fs::rename(&fresh, path)
}

/// The same. A folder that is missing is made.
pub(crate) fn replace_in_folder(path: &Path, bytes: &[u8], flush: bool) -> io::Result<()> {
    match replace(path, bytes, flush) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            replace(path, bytes, flush)
        }
        done => done,
    }
}
