//! Writing files that are never half there: a reader sees the whole content or none of it.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// The mode of a file that only its owner may read.
pub const SECRET: u32 = 0o600;
/// The mode of a file that every user may read.
pub const PUBLIC: u32 = 0o644;

/// Writes a file that must not exist yet, and flushes it and its folder to the disk.
///
/// # Errors
/// As the system reports; [`io::ErrorKind::AlreadyExists`] when the file exists.
pub fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    File::open(folder(path))?.sync_all()
}

/// Replaces a file, or makes it, in one step, and flushes it and its folder to the disk.
///
/// # Errors
/// As the system reports. The file is as it was then.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut fresh = tempfile::Builder::new()
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder(path))?;
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
        replace(&path, b"two", PUBLIC).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    }
}
