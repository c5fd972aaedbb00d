//! Secrets: drawn, written as hexadecimal digits, and kept in files that their owner alone may read.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use link::host::file_watch;
use terms::Entropy;
use zeroize::Zeroizing;

use crate::Error;
use crate::store::aead::KEY_BYTES;

/// Thirty-two random bytes.
pub(crate) fn draw(entropy: &dyn Entropy) -> Result<Zeroizing<[u8; KEY_BYTES]>, Error> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    entropy.fill(&mut *key).map_err(|_| Error::NoEntropy)?;
    Ok(key)
}

/// Writes a new secret file, mode 0600, durable together with its name in the folder.
pub(crate) fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    crate::store::directories::make(folder)?;
    if path.exists() {
        return Err(io(ErrorKind::AlreadyExists.into()));
    }
    // Under its own name only once it is whole and durable.
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    // One that was left over may be open elsewhere, or be another's.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&new).map_err(io)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io)?;
    fs::rename(&new, path).map_err(io)?;
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)
}

/// Reads a secret file, and refuses one that others may read or that is another user's: the file that
/// was opened, and not what has its name by now.
pub(crate) fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let refused = |why| Error::Keys { path: path.to_owned(), why };
    let (file, about) = match file_watch::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(refused("it is missing: put it back from its copy"));
        }
        opened => opened.map_err(|source| Error::Io { path: path.to_owned(), source })?,
    };
    if let Some(why) = file_watch::exposed(&about) {
        return Err(refused(why));
    }
    let bytes = file_watch::content(file);
    bytes.map(Zeroizing::new).map_err(|source| Error::Io { path: path.to_owned(), source })
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    hex::encode(bytes)
}

pub(crate) fn from_hex(text: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    hex::decode_to_slice(text, &mut *key).ok()?;
    Some(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    #[test]
    fn what_is_left_over_is_not_written_into() {
        let folder = tempfile::tempdir().unwrap();
        let (path, left) = (folder.path().join("key"), folder.path().join("key.new"));
        fs::write(&left, "old").unwrap();
        fs::set_permissions(&left, fs::Permissions::from_mode(0o644)).unwrap();
        let before = fs::File::open(&left).unwrap();
        write_secret(&path, b"secret").unwrap();
        let about = fs::metadata(&path).unwrap();
        assert_eq!(about.mode() & 0o777, 0o600);
        assert_ne!(about.ino(), before.metadata().unwrap().ino());
        assert_eq!(read_secret(&path).unwrap().as_slice(), b"secret");
    }

    #[test]
    fn what_is_no_file_is_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read_secret(folder.path()), Err(Error::Io { .. })));
        let missing = read_secret(&folder.path().join("missing")).err().unwrap();
        assert!(missing.to_string().contains("it is missing"), "{missing}");
    }
}
