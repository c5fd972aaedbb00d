//! Writing files that are never half there: a reader sees the whole content or none of it.

use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// The mode of a file that only its owner may read.
pub const SECRET: u32 = 0o600;
/// The mode of a file that every user may read.
pub const PUBLIC: u32 = 0o644;

/// Writes a file that must not exist yet, and flushes it and its folder to the disk.
///
/// # Errors
/// As the system reports; [`io::ErrorKind::AlreadyExists`] when the file exists.
pub fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    NewFile::prepare(path, mode)?.fill(bytes)
}

/// A file that does not exist yet, and whose content is not known yet: for the outcome of what cannot be
/// done twice. Until it is filled, a hidden file next to its place stands for it, which goes when this is
/// dropped.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    fresh: NamedTempFile,
}

impl NewFile {
    /// Sees that the file does not exist, and that its folder takes one.
    ///
    /// # Errors
    /// As the system reports; [`io::ErrorKind::AlreadyExists`] when the file exists.
    pub fn prepare(path: &Path, mode: u32) -> io::Result<Self> {
        match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
        }
        Ok(Self { path: path.to_owned(), fresh: fresh(path, mode)? })
    }

    /// Writes the whole content, and flushes the file and its folder to the disk.
    ///
    /// # Errors
    /// As the system reports; [`io::ErrorKind::AlreadyExists`] when another one has made the file since.
    /// There is no file then that was not there before.
    pub fn fill(self, bytes: &[u8]) -> io::Result<()> {
        let Self { path, mut fresh } = self;
        fresh.write_all(bytes)?;
        fresh.as_file().sync_all()?;
        fresh.persist_noclobber(&path)?;
        File::open(folder(&path))?.sync_all()
    }

    /// Where it will lie.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A hidden file in the folder of another one.
fn fresh(path: &Path, mode: u32) -> io::Result<NamedTempFile> {
    let permissions = Permissions::from_mode(mode);
    tempfile::Builder::new().permissions(permissions).tempfile_in(folder(path))
}

/// Replaces a file, or makes it, in one step, and flushes it and its folder to the disk.
///
/// # Errors
/// As the system reports. The file is as it was then.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut fresh = fresh(path, mode)?;
    fresh.write_all(bytes)?;
    fresh.as_file().sync_all()?;
    fresh.persist(path)?;
    File::open(folder(path))?.sync_all()
}

/// Makes a pipe of that name, which its owner alone may use.
///
/// # Errors
/// As the system reports.
pub fn make_pipe(path: &Path) -> io::Result<()> {
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    Ok(rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0)?)
}

/// The folder in which a file lies.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_made_once_and_replaced_in_one_step() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        create(&path, b"one", SECRET).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, SECRET);
        let again = create(&path, b"two", SECRET).map_err(|error| error.kind());
        assert_eq!(again, Err(io::ErrorKind::AlreadyExists));
        // Of one that is never filled, nothing is left.
        drop(NewFile::prepare(&dir.path().join("other"), SECRET).unwrap());
        let missing = NewFile::prepare(&dir.path().join("no/folder"), SECRET);
        assert_eq!(missing.map_err(|error| error.kind()).err(), Some(io::ErrorKind::NotFound));
        replace(&path, b"two", PUBLIC).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    }
}
