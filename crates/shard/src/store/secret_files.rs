//! Secrets: drawn, written as hexadecimal digits, and kept in files that their owner alone may read.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

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
        return Err(io(std::io::ErrorKind::AlreadyExists.into()));
    }
    // Under its own name only once it is whole and durable.
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut options = fs::OpenOptions::new();
    let mut file =
        options.write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(io)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io)?;
    fs::rename(&new, path).map_err(io)?;
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)
}

/// Reads a secret file, and refuses one that others may read.
pub(crate) fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let mode = match fs::metadata(path) {
        Ok(metadata) => metadata.permissions().mode(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let why = "it is missing: put it back from its copy";
            return Err(Error::Keys { path: path.to_owned(), why });
        }
        Err(error) => return Err(io(error)),
    };
    if mode & 0o077 != 0 {
        return Err(Error::Keys {
            path: path.to_owned(),
            why: "others than its owner may read it: chmod 600",
        });
    }
    Ok(Zeroizing::new(fs::read(path).map_err(io)?))
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    hex::encode(bytes)
}

pub(crate) fn from_hex(text: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    hex::decode_to_slice(text, &mut *key).ok()?;
    Some(key)
}
