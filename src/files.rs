//! Files that operators name. They are read within limits, and written in one step.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use link::host::file_watch::read_secret_text;
use link::host::files::{NewFile, SECRET, replace};
use zeroize::Zeroizing;

use crate::error::{Exit, Failure};

/// The mode of a file that is no secret, less what the umask takes away.
const OPEN: u32 = 0o666;

/// The text of a file.
pub(crate) fn text(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path)
        .map_err(|error| refused(path, format!("cannot be read ({error}); name a readable file")))
}

/// The text of a file of at most `max` bytes.
pub(crate) fn text_within(path: &Path, max: usize) -> Result<String, Failure> {
    String::from_utf8(bytes_within(path, max)?).map_err(|_| refused(path, "is not UTF-8"))
}

/// The bytes of a file of at most `max`.
pub(crate) fn bytes_within(path: &Path, max: usize) -> Result<Vec<u8>, Failure> {
    let unread = |error| refused(path, format!("cannot be read ({error})"));
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unread)?;
    file.take(limit).read_to_end(&mut bytes).map_err(unread)?;
    if bytes.len() > max {
        Err(refused(path, format!("has more than {max} bytes")))
    } else {
        Ok(bytes)
    }
}

/// The text of a file that only its owner may read.
pub(crate) fn secret(path: &Path) -> Result<Zeroizing<String>, Failure> {
    read_secret_text(path).map_err(|error| refused(path, format!("cannot be read ({error})")))
}

/// Writes a file, or replaces it.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    replace(path, text.as_bytes(), OPEN).map_err(|error| unwritten(path, &error))
}

/// Writes a new file that only its owner may read.
pub(crate) fn write_secret(path: &Path, text: &str) -> Result<(), Failure> {
    fill(prepare_secret(path)?, text)
}

/// Prepares a new file that only its owner may read, before what it is to hold is done: a place that
/// cannot be written is refused while nothing has happened yet.
pub(crate) fn prepare_secret(path: &Path) -> Result<NewFile, Failure> {
    NewFile::prepare(path, SECRET).map_err(|error| not_made(path, &error))
}

/// Writes a file that was prepared.
pub(crate) fn fill(file: NewFile, text: &str) -> Result<(), Failure> {
    let path = file.path().to_owned();
    file.fill(text.as_bytes()).map_err(|error| not_made(&path, &error))
}

fn not_made(path: &Path, error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::AlreadyExists { exists(path) } else { unwritten(path, error) }
}

/// Makes a folder, unless it is there.
pub(crate) fn make_folder(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(|error| unwritten(path, &error))
}

/// Refuses to overwrite: any of these files may be a draft.
pub(crate) fn require_absent(paths: &[&PathBuf]) -> Result<(), Failure> {
    paths.iter().find(|path| path.exists()).map_or(Ok(()), |path| Err(exists(path)))
}

fn exists(path: &Path) -> Failure {
    let text = format!("{}: exists and is not overwritten; name another file", path.display());
    Failure::said(Exit::Failed, text)
}

fn refused(path: &Path, what: impl Display) -> Failure {
    Failure::said(Exit::Config, format!("{}: {what}", path.display()))
}

/// A file could not be written.
pub(crate) fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::said(Exit::Unavailable, format!("{}: cannot be written ({error})", path.display()))
}
