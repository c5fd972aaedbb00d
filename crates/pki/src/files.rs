//! The files of an authority and of certificates.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use link::host::files::{PUBLIC, SECRET, create, replace};

use crate::Error;

/// An authority's certificate.
pub const AUTHORITY: &str = "authority.pem";
/// An authority's key.
pub const AUTHORITY_KEY: &str = "authority.key";
/// An authority's revocation list.
pub const REVOKED: &str = "revoked.pem";
/// The file that is locked while the list changes. It stays, and is empty.
const LOCK: &str = "revoked.lock";
/// A certificate of a process or a caller.
pub(crate) const CERTIFICATE: &str = "certificate.pem";
/// The key to it.
pub(crate) const KEY: &str = "key.pem";

const FOLDER: u32 = 0o700;
/// Bytes of a file that is read at the most: thousands of certificates.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// A file to be written: its name and its text.
pub(crate) struct Named<'a> {
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
}

/// Writes a key and what belongs to it into a folder, which is made if it is missing. Neither may
/// exist.
pub(crate) fn write_pair(
    folder: &Path,
    key: &Named<'_>,
    public: &Named<'_>,
) -> Result<(PathBuf, PathBuf), Error> {
    let (key_path, path) = (folder.join(key.name), folder.join(public.name));
    for path in [&key_path, &path] {
        if path.symlink_metadata().is_ok() {
            return Err(Error::Exists(path.clone()));
        }
    }
    DirBuilder::new()
        .recursive(true)
        .mode(FOLDER)
        .create(folder)
        .map_err(|error| Error::unwritten(folder, &error))?;
    for (path, text, mode) in [(&key_path, key.text, SECRET), (&path, public.text, PUBLIC)] {
        create(path, text.as_bytes(), mode).map_err(|error| Error::unwritten(path, &error))?;
    }
    Ok((key_path, path))
}

/// An authority's revocation list, locked by this process until this is dropped: no other process
/// changes it between reading and replacing.
pub(crate) struct LockedList {
    path: PathBuf,
    /// The kernel releases it with the file, however the process ends.
    _lock: File,
}

impl LockedList {
    /// Waits until no other process changes the list of that folder.
    pub(crate) fn wait(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(LOCK);
        // Open for writing: network file systems lock no other kind of file.
        let mut open = OpenOptions::new();
        open.write(true).create(true).truncate(false).mode(SECRET);
        let lock = open.open(&path).map_err(|error| Error::unwritten(&path, &error))?;
        lock.lock().map_err(|error| {
            Error::Unavailable(format!("{}: cannot be locked ({error})", path.display()))
        })?;
        Ok(Self { path: folder.join(REVOKED), _lock: lock })
    }

    /// Replaces the list in one step.
    pub(crate) fn replace(&self, text: &str) -> Result<PathBuf, Error> {
        replace(&self.path, text.as_bytes(), PUBLIC)
            .map_err(|error| Error::unwritten(&self.path, &error))?;
        Ok(self.path.clone())
    }
}

/// The content of a file.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>, Error> {
    let unread =
        |error: io::Error| Error::refused(format!("{}: cannot be read ({error})", path.display()));
    let length = fs::metadata(path).map_err(unread)?.len();
    if length > FILE_BYTES_MAX {
        return Err(Error::refused(format!("{}: is longer than 16 MiB", path.display())));
    }
    fs::read(path).map_err(unread)
}
