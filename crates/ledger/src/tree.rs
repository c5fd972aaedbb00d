//! The growing tree: its right edge, and roots out of tiles.
//!
//! An append hashes about once per entry; nothing older than the unfinished tiles is touched.

use std::fmt;

use crate::hash::{Hash, empty_root, node_hash};
use crate::tile::{HashReader, ReadError, TILE_WIDTH, TileId, read_hashes, tile_bytes};

/// Levels of which a tree with a size of 64 bits can have hashes.
const LEVELS: u8 = 8;
/// Hashes in a full tile, as a count of things in memory.
const WIDTH: usize = TILE_WIDTH as usize;

/// The right edge of a growing log: all that is needed to append and to know the root.
///
/// That is the unfinished tile of every level, and the roots of the complete subtrees that make
/// up the tree (one for each bit of the size). Copying it costs a few kilobytes, so a batch can
/// be tried on a copy that is thrown away if the commit fails.
#[derive(Clone, Default)]
pub struct Edge {
    size: u64,
    /// The hashes of the unfinished tile of each level, lowest level first.
    partials: Vec<Vec<Hash>>,
    /// The roots of the complete subtrees, widest first.
    peaks: Vec<Hash>,
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edge").field("size", &self.size).finish_non_exhaustive()
    }
}

// === impl Edge ===

impl Edge {
    /// The edge of an empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Entries in the log.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the complete subtrees that make up the tree, widest first: one for each bit
    /// that is set in the size.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// The root of the whole tree. Hashes once for each peak but the first.
    pub fn root(&self) -> Hash {
        fold(&self.peaks)
    }

    /// Appends one entry's leaf hash, and adds every tile that became full to `finished`, lowest
    /// level first, with its [`crate::tile::TILE_BYTES`] bytes.
    pub fn append(&mut self, leaf: Hash, finished: &mut Vec<(TileId, Vec<u8>)>) {
        // What is complete after this entry: the leaf, and one subtree more for each one bit at
        // the size's end. Every eighth height is a hash of the next level's tile.
        let mut hash = leaf;
        let merges = self.size.trailing_ones();
        for height in 0..=merges {
            if height > 0 {
                let left = self.peaks.pop().expect("a peak for each bit of the size");
                hash = node_hash(&left, &hash);
            }
            if height.is_multiple_of(8)
                && let Ok(level) = u8::try_from(height / 8)
            {
                self.push(level, hash, finished);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// Adds a hash to the unfinished tile of `level`; `self.size` is still the size before.
    fn push(&mut self, level: u8, hash: Hash, finished: &mut Vec<(TileId, Vec<u8>)>) {
        if self.partials.len() <= usize::from(level) {
            self.partials.resize_with(usize::from(level) + 1, Vec::new);
        }
        let Some(hashes) = self.partials.get_mut(usize::from(level)) else { return };
        hashes.push(hash);
        if hashes.len() == WIDTH {
            let index = self.size.checked_shr((u32::from(level) + 1) * 8).unwrap_or(0);
            finished.push((TileId::full(level, index), tile_bytes(hashes)));
            hashes.clear();
        }
    }

    /// The unfinished tiles, lowest level first; levels whose tile is empty are left out. With
    /// the full tiles that were finished before, they are the whole tree.
    pub fn partial_tiles(&self) -> Vec<(TileId, Vec<u8>)> {
        let named = (0..LEVELS).zip(&self.partials);
        named
            .filter_map(|(level, h)| Some((partial_id(level, self.size)?, tile_bytes(h))))
            .collect()
    }

    /// The bytes of `tile` if the edge has them: it is an unfinished tile, or the beginning of
    /// one. For readers that look here first and then among the stored full tiles.
    pub fn read(&self, tile: TileId) -> Option<Vec<u8>> {
        let id = partial_id(tile.level, self.size)?;
        let hashes = self.partials.get(usize::from(tile.level))?;
        let wanted = hashes.get(..usize::from(tile.width))?;
        (id.index == tile.index && !wanted.is_empty()).then(|| tile_bytes(wanted))
    }

    /// The edge of a log of `size` entries, from stored **full** tiles and the leaf hashes of its
    /// last `size % 256` entries. Reads at most 255 tiles a level.
    ///
    /// It trusts what it reads: compare the root with a signed checkpoint.
    ///
    /// # Errors
    /// [`ReadError`]: a tile cannot be read or has the wrong length, or `leaves` has.
    pub fn restore<R: HashReader + ?Sized>(
        size: u64,
        reader: &mut R,
        leaves: &[Hash],
    ) -> Result<Self, ReadError<R::Error>> {
        let unfinished = partial_id(0, size).map_or(0, |tile| usize::from(tile.width));
        if leaves.len() != unfinished {
            return Err(ReadError::OutOfRange);
        }
        let mut partials = vec![leaves.to_vec()];
        for level in 1..levels(size) {
            let mut hashes = Vec::new();
            if let Some(tile) = partial_id(level, size) {
                let start = tile.index * u64::from(TILE_WIDTH);
                for below in start..start + u64::from(tile.width) {
                    hashes.push(root_of(&read_hashes(reader, TileId::full(level - 1, below))?));
                }
            }
            partials.push(hashes);
        }
        Ok(Self::of_partials(size, partials))
    }

    /// The edge of a log of `size` entries, from its unfinished tiles as
    /// [`Edge::partial_tiles`] gave them. Reads one tile a level at most.
    ///
    /// It trusts what it reads: compare the root with a signed checkpoint.
    ///
    /// # Errors
    /// [`ReadError`]: a tile cannot be read or has the wrong length.
    pub fn load<R: HashReader + ?Sized>(
        size: u64,
        reader: &mut R,
    ) -> Result<Self, ReadError<R::Error>> {
        let mut partials = Vec::new();
        for level in 0..levels(size) {
            partials.push(match partial_id(level, size) {
                Some(tile) => read_hashes(reader, tile)?,
                None => Vec::new(),
            });
        }
        Ok(Self::of_partials(size, partials))
    }

    fn of_partials(size: u64, partials: Vec<Vec<Hash>>) -> Self {
        let mut peaks = Vec::new();
        for hashes in partials.iter().rev() {
            let mut rest = hashes.as_slice();
            while let Some(bit) = rest.len().checked_ilog2() {
                let (subtree, right) = rest.split_at(1 << bit);
                peaks.push(root_of(subtree));
                rest = right;
            }
        }
        Self { size, partials, peaks }
    }
}

/// Levels of which a log of `size` entries has hashes.
fn levels(size: u64) -> u8 {
    (0..LEVELS).take_while(|level| size >> (u32::from(*level) * 8) > 0).fold(0, |n, _| n + 1)
}

/// The unfinished tile of `level` in a log of `size` entries, unless it is empty.
fn partial_id(level: u8, size: u64) -> Option<TileId> {
    let index = size.checked_shr(u32::from(level) * 8)? / u64::from(TILE_WIDTH);
    TileId::of_size(level, index, size)
}

/// The root of neighbouring complete subtrees, widest first.
fn fold(peaks: &[Hash]) -> Hash {
    let root = peaks.iter().copied().rev().reduce(|right, left| node_hash(&left, &right));
    root.unwrap_or_else(empty_root)
}

/// The root over these hashes: neighbours are paired level by level, and one that is left over
/// goes up as it is, which is the same tree as RFC 6962's.
pub fn root_of(hashes: &[Hash]) -> Hash {
    let mut level = hashes.to_vec();
    while level.len() > 1 {
        let (pairs, rest) = level.as_chunks::<2>();
        level = pairs
            .iter()
            .map(|[left, right]| node_hash(left, right))
            .chain(rest.iter().copied())
            .collect();
    }
    level.first().copied().unwrap_or_else(empty_root)
}

/// The root that a log had when it held `size` entries, from the tiles of that size (or wider
/// ones, cut: see [`HashReader::read_tile`]). Reads one tile a level at most.
///
/// It reads the right edge only: that it is right says nothing about the tiles within; for those
/// there is [`audit`].
///
/// # Errors
/// [`ReadError`]: a tile cannot be read or has the wrong length.
pub fn root_at<R: HashReader + ?Sized>(
    size: u64,
    reader: &mut R,
) -> Result<Hash, ReadError<R::Error>> {
    Nodes::new(size, reader).range(0, size)
}

/// The root of a log of `size` entries, after every one of its tiles was read, and the root of
/// each full one compared with the hash that stands for it one level up.
///
/// If the result is the root of a checkpoint that was opened, every tile is as it was signed.
///
/// # Errors
/// [`ReadError`]: a tile cannot be read, has the wrong length, or does not match.
pub fn audit<R: HashReader + ?Sized>(
    size: u64,
    reader: &mut R,
) -> Result<Hash, ReadError<R::Error>> {
    for level in 0..levels(size) {
        let mut above: Option<(TileId, Vec<Hash>)> = None;
        for index in 0.. {
            let Some(tile) = TileId::of_size(level, index, size) else { break };
            let root = root_of(&read_hashes(reader, tile)?);
            if !tile.is_full() {
                break;
            }
            let parent = TileId::of_size(level + 1, index / u64::from(TILE_WIDTH), size)
                .ok_or(ReadError::OutOfRange)?;
            if above.as_ref().is_none_or(|(id, _)| *id != parent) {
                above = Some((parent, read_hashes(reader, parent)?));
            }
            let mut stands = above.iter().flat_map(|(_, hashes)| hashes);
            let place = usize::try_from(index % u64::from(TILE_WIDTH)).unwrap_or(usize::MAX);
            if stands.nth(place) != Some(&root) {
                return Err(ReadError::Mismatch(tile));
            }
        }
    }
    root_at(size, reader)
}

/// The nodes of a tree of some size, read from its tiles.
pub(crate) struct Nodes<'r, R: ?Sized> {
    size: u64,
    reader: &'r mut R,
    /// The tile read last: neighbours in a proof mostly lie in one.
    last: Option<(TileId, Vec<Hash>)>,
}

// === impl Nodes ===

impl<'r, R: HashReader + ?Sized> Nodes<'r, R> {
    pub(crate) const fn new(size: u64, reader: &'r mut R) -> Self {
        Self { size, reader, last: None }
    }

    /// The root over the entries from `from` up to, without, `to`. The caller only asks for
    /// ranges that are subtrees of RFC 6962's tree.
    pub(crate) fn range(&mut self, from: u64, to: u64) -> Result<Hash, ReadError<R::Error>> {
        let mut peaks = Vec::new();
        let mut at = from;
        while let Some(height) = to.saturating_sub(at).checked_ilog2() {
            peaks.push(self.node(height, at)?);
            at += 1 << height;
        }
        Ok(fold(&peaks))
    }

    /// The root of the complete subtree of 2^`height` entries that begins with entry `from`.
    fn node(&mut self, height: u32, from: u64) -> Result<Hash, ReadError<R::Error>> {
        let level = u8::try_from(height / 8).map_err(|_| ReadError::OutOfRange)?;
        let first = from >> (u32::from(level) * 8);
        let tile = TileId::of_size(level, first / u64::from(TILE_WIDTH), self.size)
            .ok_or(ReadError::OutOfRange)?;
        let hashes = match self.last.take() {
            Some((id, hashes)) if id == tile => hashes,
            _ => read_hashes(self.reader, tile)?,
        };
        let start = usize::try_from(first % u64::from(TILE_WIDTH)).unwrap_or(usize::MAX);
        let wanted = start.checked_add(1 << (height % 8)).and_then(|end| hashes.get(start..end));
        let root = wanted.map(root_of).ok_or(ReadError::OutOfRange)?;
        self.last = Some((tile, hashes));
        Ok(root)
    }
}

#[cfg(test)]
mod tests;
