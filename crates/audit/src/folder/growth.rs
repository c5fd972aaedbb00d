//! A log that grows in a folder.

use ledger::bundle;
use ledger::hash::{HASH_BYTES, Hash, leaf_hash};
use ledger::tile::{BundleId, ReadError, TILE_WIDTH, TileId};
use ledger::{Checkpoint, Edge};

use super::{CHECKPOINT, Error, Folder};

/// The log in a folder, while entries are added to it. Full tiles and bundles are written as they
/// come; they mean nothing until [`Growth::finish`] makes a checkpoint over them the newest one.
#[derive(Debug)]
pub struct Growth<'f> {
    folder: &'f Folder,
    /// Entries under the checkpoint that is in the folder.
    before: u64,
    edge: Edge,
    /// The bundle that is not full yet.
    bundle: Vec<u8>,
    finished: Vec<(TileId, Vec<u8>)>,
}

// === impl Growth ===

impl<'f> Growth<'f> {
    /// Begins a log in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn begin(folder: &'f Folder) -> Result<Self, Error> {
        folder.create()?;
        Ok(Self::of(folder, Edge::new(), Vec::new()))
    }

    /// Goes on after a checkpoint that is in the folder, and that was opened with the log's key.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Root`] if the right edge of the log is not what was signed.
    pub fn resume(folder: &'f Folder, at: &Checkpoint) -> Result<Self, Error> {
        let edge = Edge::load(at.size, &mut folder.tiles(at.size)).map_err(unreadable)?;
        if edge.root() != at.root {
            return Err(Error::Root);
        }
        let width = u64::from(TILE_WIDTH);
        let bundle = match BundleId::of_size(at.size / width, at.size) {
            Some(id) => {
                let bytes = folder.bundle(id)?;
                let leaves = leaves(&bytes, id)?;
                let tile = TileId { level: 0, index: id.index, width: id.width };
                if edge.read(tile) != Some(leaves) {
                    return Err(Error::Unlike(id.path()));
                }
                bytes
            }
            None => Vec::new(),
        };
        Ok(Self::of(folder, edge, bundle))
    }

    const fn of(folder: &'f Folder, edge: Edge, bundle: Vec<u8>) -> Self {
        Self { folder, before: edge.size(), edge, bundle, finished: Vec::new() }
    }

    /// Entries, those that were added included.
    pub const fn size(&self) -> u64 {
        self.edge.size()
    }

    /// The root over them.
    pub fn root(&self) -> Hash {
        self.edge.root()
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// [`Error`]; nothing can be added then.
    pub fn push(&mut self, entry: &[u8]) -> Result<(), Error> {
        let index = self.size() / u64::from(TILE_WIDTH);
        let id = BundleId { index, width: TILE_WIDTH };
        bundle::append(&mut self.bundle, entry)
            .map_err(|error| Error::Bundle { path: id.path(), error })?;
        self.edge.append(leaf_hash(entry), &mut self.finished);
        if self.size().is_multiple_of(u64::from(TILE_WIDTH)) {
            self.folder.put_bundle(id, &self.bundle)?;
            self.bundle.clear();
        }
        for (tile, bytes) in self.finished.drain(..) {
            self.folder.put_tile(tile, &bytes)?;
        }
        Ok(())
    }

    /// The entries that an earlier attempt has left in the bundle that comes next, if it is full
    /// and begins with what is signed. They are good for nothing but to be added, and to be seen
    /// to hash to a signed root. None: there are none, or not within the first `until` entries.
    pub fn left_over(&self, until: u64) -> Option<Vec<Vec<u8>>> {
        let width = u64::from(TILE_WIDTH);
        let index = self.size() / width;
        if (index + 1).checked_mul(width)? > until {
            return None;
        }
        let id = BundleId { index, width: TILE_WIDTH };
        let bytes = self.folder.bundle(id).ok()?;
        let rest = bytes.strip_prefix(self.bundle.as_slice())?;
        let left = TILE_WIDTH - u16::try_from(self.size() % width).ok()?;
        let entries = bundle::decode(rest, left).ok()?;
        Some(entries.into_iter().map(<[u8]>::to_vec).collect())
    }

    /// Makes `note` the newest checkpoint of the log. The caller has checked that it is signed, and
    /// that its size and root are [`Growth::size`] and [`Growth::root`].
    ///
    /// # Errors
    /// [`Error::Write`]; the older checkpoint stays then, with all that it needs.
    pub fn finish(self, note: &str) -> Result<(), Error> {
        let size = self.size();
        for (tile, bytes) in self.edge.partial_tiles() {
            self.folder.put_tile(tile, &bytes)?;
        }
        if let Some(id) = BundleId::of_size(size / u64::from(TILE_WIDTH), size) {
            self.folder.put_bundle(id, &self.bundle)?;
        }
        self.folder.put_note(note)?;
        self.folder.drop_partials(self.before, size)
    }

    /// Removes what was added.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn undo(self) -> Result<(), Error> {
        self.folder.drop_beyond(self.before, self.size())
    }
}

/// The bytes of the tile that belongs to a bundle.
fn leaves(bundle: &[u8], id: BundleId) -> Result<Vec<u8>, Error> {
    let leaves = bundle::leaves(bundle, id.width)
        .map_err(|error| Error::Bundle { path: id.path(), error })?;
    let mut bytes = Vec::with_capacity(leaves.len() * HASH_BYTES);
    leaves.iter().for_each(|leaf| bytes.extend_from_slice(&leaf.0));
    Ok(bytes)
}

fn unreadable(error: ReadError<Error>) -> Error {
    match error {
        ReadError::Reader(error) => error,
        ReadError::Length { tile, got } => {
            Error::Length { path: tile.path(), got, wanted: tile.bytes() }
        }
        ReadError::Mismatch(tile) => Error::Unlike(tile.path()),
        ReadError::OutOfRange => Error::Missing(CHECKPOINT.to_owned()),
    }
}
