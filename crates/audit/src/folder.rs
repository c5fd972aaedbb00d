//! A log in a folder, under the names of C2SP `tlog-tiles`, so that any tool for such logs reads
//! it as it is: `checkpoint`, `tile/<level>/<n>` and `tile/entries/<n>`, with `.p/<width>` for what
//! is not full. Beside them `vkey`, the log's key, on one line.

mod entries;
mod growth;
mod memory;
mod write;

use std::fs::{File, TryLockError};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use ledger::note::{self, NOTE_BYTES_MAX, Verifier};
use ledger::tile::{BundleId, HashReader, TILE_BYTES, TILE_WIDTH, TileId};
use ledger::{Checkpoint, checkpoint};

use crate::origin::Origin;

pub use entries::Entries;
pub use growth::Growth;
pub use memory::{CONFLICTS, FINDINGS, ON_TRUST, PENDING, Standing, StandingKind};

/// The file of the newest signed note.
pub const CHECKPOINT: &str = "checkpoint";
/// The file of the log's key.
pub const VKEY: &str = "vkey";
/// Bytes of the file `vkey` at the most.
const VKEY_BYTES_MAX: usize = 1024;
/// Bytes of a bundle at the most: 256 entries, each with its length.
pub const BUNDLE_BYTES_MAX: usize = TILE_WIDTH as usize * (2 + 65_535);

/// Why a folder cannot be read or written. Files are named as they are below the folder.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that belongs to the log is not there.
    #[error("{0} is missing")]
    Missing(String),
    /// The system does not give it.
    #[error("{path} cannot be read")]
    Read {
        /// Which file.
        path: String,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// The system does not take it.
    #[error("{path} cannot be written")]
    Write {
        /// Which file.
        path: String,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// The disk is nearly full.
    #[error("less than {0} MiB are free on its disk")]
    Full(u64),
    /// It is longer than such a file can be.
    #[error("{path} has more than {max} bytes")]
    TooLong {
        /// Which file.
        path: String,
        /// Bytes that it may have.
        max: usize,
    },
    /// It is no text.
    #[error("{0} is not UTF-8")]
    Text(String),
    /// The key cannot be read.
    #[error("vkey: {0}")]
    Key(#[source] note::Error),
    /// The key has not signed the checkpoint.
    #[error("checkpoint: {0}")]
    Checkpoint(#[source] checkpoint::Error),
    /// The bytes of a bundle are none.
    #[error("{path}: {error}")]
    Bundle {
        /// Which file.
        path: String,
        /// What is wrong.
        error: ledger::bundle::Error,
    },
    /// The tiles of the right edge lead to another root than the one that is signed.
    #[error("checkpoint: the tiles lead to another root; verify the folder, or mirror it anew")]
    Root,
    /// A bundle does not hash to its tile.
    #[error("{0} does not match its tile; verify the folder, or mirror it anew")]
    Unlike(String),
    /// Another process writes to it, or reads it as a whole, for longer than is waited for.
    #[error("the folder is in use by another process")]
    Busy,
    /// A tile has not as many bytes as its name says.
    #[error("{path} has {got} bytes instead of {wanted}")]
    Length {
        /// Which file.
        path: String,
        /// Bytes that it has.
        got: usize,
        /// Bytes that it must have.
        wanted: usize,
    },
}

/// A folder that is locked until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct FolderLock(
    #[expect(dead_code, reason = "the lock lasts as long as the file is open")] File,
);

/// A log in a folder. This is a path only: no file is open, and nothing is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    path: PathBuf,
}

// === impl Folder ===

impl Folder {
    /// The log at that place. Nothing is looked at yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The folder of the log `origin` below `place`: `<region>.<shard>.<period>`. No two logs of a
    /// deployment share a folder, since names hold no dot. None: `origin` is not of our form.
    pub fn of_log(place: &Path, origin: &str) -> Option<Self> {
        let Origin { region, shard, period, .. } = Origin::parse(origin)?;
        Some(Self::at(place.join(format!("{region}.{shard}.{period}"))))
    }

    /// The place.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Locks the log against writers while it is read as a whole. It waits until a writer is done;
    /// on a file system without locks it does nothing.
    pub fn hold(&self) -> Option<FolderLock> {
        let folder = File::open(&self.path).ok()?;
        folder.lock_shared().ok()?;
        Some(FolderLock(folder))
    }

    /// Locks the log for a writer. None: another process has locked it.
    pub(crate) fn try_lock(&self) -> Result<Option<FolderLock>, Error> {
        let lost = |error| Error::Read { path: "the folder".to_owned(), error };
        let folder = File::open(&self.path).map_err(lost)?;
        match folder.try_lock() {
            Ok(()) => Ok(Some(FolderLock(folder))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(lost(error)),
        }
    }

    /// Whether there is the folder of a log: it has a key or a checkpoint.
    pub fn is_log(&self) -> bool {
        self.path.join(CHECKPOINT).is_file() || self.path.join(VKEY).is_file()
    }

    /// The logs below a folder, by name; the folder itself if it is one.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn logs(path: &Path) -> Result<Vec<Self>, Error> {
        let own = Self::at(path);
        if own.is_log() {
            return Ok(vec![own]);
        }
        let unread = |error| Error::Read { path: path.display().to_string(), error };
        let mut found = Vec::new();
        for child in std::fs::read_dir(path).map_err(unread)? {
            let folder = Self::at(child.map_err(unread)?.path());
            if folder.is_log() {
                found.push(folder);
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// The log's key, as it is kept.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Missing`] if there is none.
    pub fn key(&self) -> Result<Verifier, Error> {
        let text = self.text(VKEY, VKEY_BYTES_MAX)?;
        Verifier::from_vkey(text.strip_suffix('\n').unwrap_or(&text)).map_err(Error::Key)
    }

    /// The newest signed note, as the log gave it. It is not verified yet.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Missing`] if there is none.
    pub fn note(&self) -> Result<String, Error> {
        self.text(CHECKPOINT, NOTE_BYTES_MAX)
    }

    /// What the newest signed note says, if `key` has signed it.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Missing`] if there is none.
    pub fn checkpoint(&self, key: &Verifier) -> Result<Checkpoint, Error> {
        Checkpoint::open(&self.note()?, key).map_err(Error::Checkpoint)
    }

    /// The bytes of the tile of exactly this name.
    ///
    /// # Errors
    /// [`Error`], also if it has the wrong length.
    pub fn tile(&self, tile: TileId) -> Result<Vec<u8>, Error> {
        let path = tile.path();
        let bytes = self.bytes(&path, TILE_BYTES)?;
        if bytes.len() == tile.bytes() {
            return Ok(bytes);
        }
        Err(Error::Length { path, got: bytes.len(), wanted: tile.bytes() })
    }

    /// The bytes of the bundle of exactly this name, as they are.
    ///
    /// # Errors
    /// [`Error`].
    pub fn bundle(&self, bundle: BundleId) -> Result<Vec<u8>, Error> {
        self.bytes(&bundle.path(), BUNDLE_BYTES_MAX)
    }

    /// The entries `from` up to, without, `until` of the log of `size` entries that is in the
    /// folder, in order: their bytes, as they are.
    pub fn entries(&self, size: u64, from: u64, until: u64) -> Entries<'_> {
        Entries::new(self, size, from, until)
    }

    /// Reads tiles of the log of `size` entries that is in the folder, and beginnings of them.
    pub fn tiles(&self, size: u64) -> Tiles<'_> {
        Tiles { folder: self, size }
    }

    fn text(&self, path: &str, max: usize) -> Result<String, Error> {
        let bytes = self.bytes(path, max)?;
        String::from_utf8(bytes).map_err(|_| Error::Text(path.to_owned()))
    }

    fn bytes(&self, path: &str, max: usize) -> Result<Vec<u8>, Error> {
        let unread = |error: io::Error| {
            // A tile `005.p/17` below a file, say: it is not there either.
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
                Error::Missing(path.to_owned())
            } else {
                Error::Read { path: path.to_owned(), error }
            }
        };
        let file = File::open(self.path.join(path)).map_err(unread)?;
        let length = file.metadata().map_err(unread)?.len();
        let limit = u64::try_from(max).unwrap_or(u64::MAX);
        let mut bytes = Vec::with_capacity(usize::try_from(length.min(limit)).unwrap_or(0) + 1);
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(unread)?;
        if bytes.len() > max {
            return Err(Error::TooLong { path: path.to_owned(), max });
        }
        Ok(bytes)
    }
}

/// The tiles of a folder's log, for proofs and roots.
#[derive(Debug)]
pub struct Tiles<'f> {
    folder: &'f Folder,
    size: u64,
}

impl HashReader for Tiles<'_> {
    type Error = Error;

    fn read_tile(&mut self, tile: TileId) -> Result<Vec<u8>, Error> {
        let widest = TileId::of_size(tile.level, tile.index, self.size).unwrap_or(tile);
        let mut bytes = self.folder.tile(widest)?;
        bytes.truncate(tile.bytes());
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_logs_have_one_folder() {
        let name = |origin| Folder::of_log(Path::new(""), origin).map(|f| f.path().to_owned());
        assert_eq!(name("d/a-b/c/1"), Some("a-b.c.1".into()));
        assert_ne!(name("d/a-b/c/1"), name("d/a/b-c/1"));
        assert_eq!(name("d/../b/1"), None);
    }
}
