//! Writing a log into a folder. The order keeps the older state whole until the newer one is:
//! full tiles and bundles first, then the partial ones of the new size, everything flushed, then
//! `checkpoint`, and only then are older partial ones removed.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use ledger::tile::{BundleId, LEVEL_MAX, TILE_WIDTH, TileId};

use super::{CHECKPOINT, Error, Folder, VKEY};
use crate::file::replace_in_folder;

/// Bytes that a mirror leaves free on its disk.
const FREE_BYTES_MIN: u64 = 64 << 20;

// === impl Folder ===

impl Folder {
    /// Makes the folder.
    pub(crate) fn create(&self) -> Result<(), Error> {
        fs::create_dir_all(&self.path).map_err(unwritten("the folder"))
    }

    /// Keeps the log's key.
    pub(crate) fn put_key(&self, vkey: &str) -> Result<(), Error> {
        self.replace(VKEY, format!("{vkey}\n").as_bytes())
    }

    /// Writes a tile.
    pub(crate) fn put_tile(&self, tile: TileId, bytes: &[u8]) -> Result<(), Error> {
        self.put(&tile.path(), bytes, false)
    }

    /// Writes a bundle.
    pub(crate) fn put_bundle(&self, bundle: BundleId, bytes: &[u8]) -> Result<(), Error> {
        self.put(&bundle.path(), bytes, false)
    }

    /// Whether the disk has room for more.
    pub(crate) fn has_room(&self) -> Result<(), Error> {
        // If the system does not report it, a write will fail.
        let Ok(disk) = rustix::fs::statvfs(&self.path) else { return Ok(()) };
        if disk.f_bavail.saturating_mul(disk.f_frsize) < FREE_BYTES_MIN {
            return Err(Error::Full(FREE_BYTES_MIN >> 20));
        }
        Ok(())
    }

    /// Makes the note the newest one, after everything that was written before is on the disk.
    pub(crate) fn put_note(&self, note: &str) -> Result<(), Error> {
        let folder = File::open(&self.path).map_err(unwritten(CHECKPOINT))?;
        // One flush of the file system instead of one for each of thousands of files.
        rustix::fs::syncfs(&folder).map_err(|error| unwritten(CHECKPOINT)(error.into()))?;
        self.replace(CHECKPOINT, note.as_bytes())
    }

    /// Removes the partial tiles and bundles that the log had at `before` entries and has no more.
    pub(crate) fn drop_partials(&self, before: u64, now: u64) -> Result<(), Error> {
        for level in 0..=LEVEL_MAX {
            let Some(index) = last_index(level, before) else { break };
            let (old, new) =
                (TileId::of_size(level, index, before), TileId::of_size(level, index, now));
            let Some(old) = old.filter(|old| !old.is_full() && Some(*old) != new) else { continue };
            self.remove_partial(&old.path())?;
            if level == 0 {
                let bundle = BundleId { index: old.index, width: old.width };
                self.remove_partial(&bundle.path())?;
            }
        }
        Ok(())
    }

    /// Removes the full tiles and bundles that a log of `until` entries has beyond those of one of
    /// `size`: they were not verified.
    pub(crate) fn drop_beyond(&self, size: u64, until: u64) -> Result<(), Error> {
        let width = u64::from(TILE_WIDTH);
        for level in 0..=LEVEL_MAX {
            let hashes = |size: u64| size.checked_shr(u32::from(level) * 8).unwrap_or(0);
            if hashes(until) == 0 {
                break;
            }
            for index in hashes(size) / width..=hashes(until) / width {
                self.remove(&TileId::full(level, index).path())?;
                if level == 0 {
                    self.remove(&BundleId { index, width: TILE_WIDTH }.path())?;
                }
            }
        }
        Ok(())
    }

    fn remove_partial(&self, path: &str) -> Result<(), Error> {
        self.remove(path)?;
        // Its folder `<n>.p`, if nothing is left in it.
        if let Some(folder) = Path::new(path).parent() {
            drop(fs::remove_dir(self.path.join(folder)));
        }
        Ok(())
    }

    pub(super) fn remove(&self, path: &str) -> Result<(), Error> {
        match fs::remove_file(self.path.join(path)) {
            Err(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Err(unwritten(path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Writes a small file that must be on the disk before anything else is done.
    pub(super) fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        self.put(path, bytes, true)?;
        let folder = File::open(&self.path).map_err(unwritten(path))?;
        folder.sync_all().map_err(unwritten(path))
    }

    fn put(&self, path: &str, bytes: &[u8], flush: bool) -> Result<(), Error> {
        replace_in_folder(&self.path.join(path), bytes, flush).map_err(unwritten(path))
    }
}

fn unwritten(path: &str) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |error| Error::Write { path, error }
}

/// The last tile of a level in a log of `size` entries, unless the level has none.
fn last_index(level: u8, size: u64) -> Option<u64> {
    let hashes = size.checked_shr(u32::from(level) * 8)?;
    Some(hashes.checked_sub(1)? / u64::from(TILE_WIDTH))
}
