//! Files of authorities and certificates. Existing files are never overwritten, except an
//! authority's own revocation list; only the owner can read keys.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::commands::pki::wrong;
use crate::commands::{Exit, Failure};

/// An authority's certificate.
pub(super) const AUTHORITY: &str = "authority.pem";
/// An authority's key.
pub(super) const AUTHORITY_KEY: &str = "authority.key";
/// An authority's revocation list.
pub(super) const REVOKED: &str = "revoked.pem";
/// Held by whoever changes that list. It stays, and nothing is in it.
const LOCK: &str = "revoked.lock";
/// A process's or a caller's certificate.
pub(super) const CERTIFICATE: &str = "certificate.pem";
/// The key to it.
pub(super) const KEY: &str = "key.pem";

const SECRET: u32 = 0o600;
const PUBLIC: u32 = 0o644;
const FOLDER: u32 = 0o700;
/// Bytes of a file that is read at the most: thousands of certificates.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Writes a pair of a key and what goes with it into a folder, which is made if need be. Neither
/// may be there already.
pub(super) fn write_pair(
    folder: &Path,
    (key_name, key): (&str, &str),
    (name, text): (&str, &str),
) -> Result<(PathBuf, PathBuf), Failure> {
    let (key_path, path) = (folder.join(key_name), folder.join(name));
    for path in [&key_path, &path] {
        if path.symlink_metadata().is_ok() {
            return Err(there_already(path));
        }
    }
    DirBuilder::new()
        .recursive(true)
        .mode(FOLDER)
        .create(folder)
        .map_err(|error| unwritten(folder, &error))?;
    write_new(&key_path, key, SECRET)?;
    write_new(&path, text, PUBLIC)?;
    sync_folder(folder)?;
    Ok((key_path, path))
}

/// An authority's revocation list, held by one command until this is dropped: whoever reads it to
/// write it anew is alone in between, so that nobody's revocation is lost.
pub(super) struct HeldList {
    folder: PathBuf,
    /// The kernel gives it up with the file, however the process ends.
    _lock: File,
}

impl HeldList {
    /// Waits until nobody else changes the list of that folder.
    pub(super) fn wait(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(LOCK);
        // Open for writing: over a network no other kind of file takes such a lock.
        let mut open = OpenOptions::new();
        open.write(true).create(true).truncate(false).mode(SECRET);
        let lock = open.open(&path).map_err(|error| unwritten(&path, &error))?;
        lock.lock().map_err(|error| {
            let text = format!("{}: cannot be locked ({error})", path.display());
            Failure::said(Exit::Unavailable, text)
        })?;
        Ok(Self { folder: folder.to_path_buf(), _lock: lock })
    }

    /// Puts a list in the place of the one before: whoever reads it sees one or the other. `mark`
    /// names the file in between, as no other is named.
    pub(super) fn replace(&self, text: &str, mark: &str) -> Result<PathBuf, Failure> {
        let path = self.folder.join(REVOKED);
        let fresh = self.folder.join(format!("{REVOKED}.{mark}.new"));
        let placed = write_new(&fresh, text, PUBLIC)
            .and_then(|()| fs::rename(&fresh, &path).map_err(|error| unwritten(&path, &error)));
        if placed.is_err() {
            // It was never in use.
            fs::remove_file(&fresh).ok();
        }
        placed?;
        sync_folder(&self.folder)?;
        Ok(path)
    }
}

/// The content of a file.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let unread = |error: io::Error| wrong(format!("{}: cannot be read ({error})", path.display()));
    let length = fs::metadata(path).map_err(unread)?.len();
    if length > FILE_BYTES_MAX {
        return Err(wrong(format!("{}: is longer than 16 MiB", path.display())));
    }
    fs::read(path).map_err(unread)
}

/// Writes a new file that only its owner may read.
pub(crate) fn write_secret(path: &Path, text: &str) -> Result<(), Failure> {
    write_new(path, text, SECRET)?;
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => sync_folder(folder),
        None => sync_folder(Path::new(".")),
    }
}

/// The text of a key's file, if it is its owner's alone.
pub(crate) fn secret(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let unread = |why: String| wrong(format!("{}: cannot be read ({why})", path.display()));
    let bytes =
        link::host::file_watch::read_secret(path).map_err(|error| unread(error.to_string()))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| unread("it is not text".to_owned()))?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let open = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = open.map_err(|error| {
        let taken = error.kind() == io::ErrorKind::AlreadyExists;
        if taken { there_already(path) } else { unwritten(path, &error) }
    })?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| unwritten(path, &error))
}

/// A name in a folder lasts once the folder is on the disk, too.
fn sync_folder(folder: &Path) -> Result<(), Failure> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| unwritten(folder, &error))
}

fn there_already(path: &Path) -> Failure {
    let text = format!("{}: exists and is not overwritten; name another folder", path.display());
    Failure::said(Exit::Failed, text)
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::said(Exit::Unavailable, format!("{}: cannot be written ({error})", path.display()))
}
