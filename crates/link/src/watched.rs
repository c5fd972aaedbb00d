//! Files that may change while a process runs: certificates, revocation lists, keys of issuers.

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

/// The whole of a file.
///
/// # Errors
/// What the operating system says; a file of more than [`FILE_BYTES_MAX`] bytes is refused.
pub fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    if std::fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(std::io::Error::other("the file is too large"));
    }
    std::fs::read(path)
}

#[cfg(test)]
mod tests {
    use super::*;

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
