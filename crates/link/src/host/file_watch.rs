//! Files that may change while a process runs: certificates, revocation lists, keys of issuers.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::sleep;
use zeroize::Zeroizing;

/// Time between two looks.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Bytes of one such file.
pub const FILE_BYTES_MAX: u64 = 4 << 20;

/// Files whose content is looked at again and again. The content is compared and not the times:
/// a file that is replaced by renaming, by a link, or within one second is seen as well.
#[derive(Debug)]
pub struct Watched {
    paths: Vec<PathBuf>,
    /// Digests: one of the files may be a key, which has no business in memory for long.
    seen: Vec<Option<[u8; 32]>>,
}

impl Watched {
    /// Watches these files, from what is in them now.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        let seen = paths.iter().map(|path| digest(path)).collect();
        Self { paths, seen }
    }

    /// Whether any of them has other content than at the last look.
    pub fn changed(&mut self) -> bool {
        let mut changed = false;
        for (path, seen) in self.paths.iter().zip(&mut self.seen) {
            let now = digest(path);
            if now != *seen {
                *seen = now;
                changed = true;
            }
        }
        changed
    }

    /// Done when any of them has changed.
    pub async fn wait(&mut self) {
        loop {
            sleep(LOOK_EVERY).await;
            if self.changed() {
                return;
            }
        }
    }
}

fn digest(path: &Path) -> Option<[u8; 32]> {
    let bytes = Zeroizing::new(read(path).ok()?);
    Some(Sha256::digest(&*bytes).into())
}

/// The whole of a file. A link is followed: what it leads to is opened once, and read.
///
/// # Errors
/// What the operating system says; a file of more than [`FILE_BYTES_MAX`] bytes, or what is no
/// file, is refused.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    content(open(path)?.0)
}

/// The whole of a file with a secret in it.
///
/// # Errors
/// As [`read`], and as [`exposed`] says.
pub fn read_secret(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let (file, about) = open(path)?;
    if let Some(why) = exposed(&about) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    content(file).map(Zeroizing::new)
}

/// The text of a file with a secret in it.
///
/// # Errors
/// As [`read_secret`]; a file that is not UTF-8 is refused.
pub fn read_secret_text(path: &Path) -> io::Result<Zeroizing<String>> {
    let bytes = read_secret(path)?;
    let text = str::from_utf8(&bytes).map_err(|_| io::Error::other("it is not text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Who else than this process's user may read or replace a file with a secret in it, if
/// any user may. A group may read what belongs to the superuser: so orchestrators and packages give a key
/// to a service that cannot own it. PostgreSQL has the same rule.
pub fn exposed(about: &Metadata) -> Option<&'static str> {
    exposed_to(about.mode(), about.uid(), rustix::process::geteuid().as_raw())
}

const fn exposed_to(mode: u32, owner: u32, own: u32) -> Option<&'static str> {
    const SUPERUSER: u32 = 0;
    if owner != own && owner != SUPERUSER {
        return Some("it belongs to another user, who may read and replace it: chown it");
    }
    let allowed = if owner == own { 0o700 } else { 0o740 };
    if mode & 0o777 & !allowed != 0 {
        return Some("others than its owner may read it: chmod 600, and make a new key");
    }
    None
}

/// Opens what should be a file. Without waiting: the other end of a pipe might never come.
///
/// # Errors
/// As [`read`].
pub fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    if about.len() > FILE_BYTES_MAX {
        return Err(io::Error::other("the file is too large"));
    }
    Ok((file, about))
}

/// The whole of a file that was opened.
///
/// # Errors
/// What the operating system says.
pub fn content(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_its_owners_or_the_superusers_for_a_group() {
        let (own, root, other) = (1000, 0, 1001);
        for mode in [0o600, 0o400, 0o700] {
            assert_eq!(exposed_to(mode, own, own), None, "{mode:o}");
            assert!(exposed_to(mode, other, own).is_some_and(|why| why.contains("another user")));
        }
        for mode in [0o640, 0o604, 0o620, 0o644, 0o601] {
            assert!(exposed_to(mode, own, own).is_some(), "{mode:o}");
            assert!(exposed_to(mode, root, root).is_some(), "{mode:o}");
        }
        assert_eq!(exposed_to(0o440, root, own), None);
        assert_eq!(exposed_to(0o640, root, own), None);
        for mode in [0o644, 0o660, 0o604] {
            assert!(exposed_to(mode, root, own).is_some(), "{mode:o}");
        }
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let (at, kind) = (rustix::fs::CWD, rustix::fs::FileType::Fifo);
        rustix::fs::mknodat(at, &pipe, kind, rustix::fs::Mode::RUSR, 0).unwrap();
        for path in [pipe.as_path(), folder.path()] {
            assert!(read(path).is_err(), "{}", path.display());
        }
    }

    #[test]
    fn a_change_of_content_is_seen_once() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        std::fs::write(&one, "a").unwrap();
        let mut watched = Watched::new(vec![one.clone(), two.clone()]);
        assert!(!watched.changed());
        std::fs::write(&one, "b").unwrap();
        assert!(watched.changed() && !watched.changed());
        std::fs::write(&two, "new").unwrap();
        assert!(watched.changed() && !watched.changed());
        std::fs::remove_file(&one).unwrap();
        assert!(watched.changed() && !watched.changed());
    }
}
