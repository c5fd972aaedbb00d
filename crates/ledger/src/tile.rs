//! Tiles and entry bundles by name (C2SP `tlog-tiles`), and who reads tiles.
//!
//! A tile of level 0 holds 256 leaf hashes; a hash of level *l* is the root of one **full** tile
//! of level *l* - 1. A tile that is not full yet is *partial* and named with its width.

use crate::decimal;
use crate::hash::{HASH_BYTES, Hash};

/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u16 = 256;
/// Bytes of a full tile.
pub const TILE_BYTES: usize = 8192;
/// The highest level that the format can name.
pub const LEVEL_MAX: u8 = 63;

/// The name of one tile.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TileId {
    /// Level, 0 to [`LEVEL_MAX`]; a tree whose size fits 64 bits uses 0 to 7.
    pub level: u8,
    /// Which tile of that level, from 0.
    pub index: u64,
    /// Hashes in it: 1 to 255 if it is partial, [`TILE_WIDTH`] if it is full.
    pub width: u16,
}

impl TileId {
    /// The full tile `index` of `level`.
    pub const fn full(level: u8, index: u64) -> Self {
        Self { level, index, width: TILE_WIDTH }
    }

    /// Whether it is full, and so never changes.
    pub const fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// Bytes that the tile has.
    pub fn bytes(&self) -> usize {
        usize::from(self.width) * HASH_BYTES
    }

    /// The tile `index` of `level` as a log of `size` entries has it; `None` if it has none.
    pub fn of_size(level: u8, index: u64, size: u64) -> Option<Self> {
        let hashes = size.checked_shr(u32::from(level) * 8)?;
        let width = hashes.checked_sub(index.checked_mul(u64::from(TILE_WIDTH))?)?;
        let width = u16::try_from(width.min(u64::from(TILE_WIDTH))).ok()?;
        (width > 0).then_some(Self { level, index, width })
    }

    /// Its path under the log's prefix: `tile/<level>/<index>`, and `.p/<width>` if partial.
    pub fn path(&self) -> String {
        format!("tile/{}/{}", self.level, Position { index: self.index, width: self.width }.path())
    }

    /// The tile of that path. `None` unless [`TileId::path`] gives the very same text.
    pub fn parse_path(path: &str) -> Option<Self> {
        let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let level = u8::try_from(decimal::parse(level)?).ok().filter(|l| *l <= LEVEL_MAX)?;
        let Position { index, width } = Position::parse(rest)?;
        Some(Self { level, index, width })
    }
}

/// The name of one bundle of entries: those whose leaf hashes stand in the level 0 tile of the
/// same index and width.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BundleId {
    /// Which bundle, from 0; its first entry is number 256 times that.
    pub index: u64,
    /// Entries in it: 1 to 255 if it is partial, [`TILE_WIDTH`] if it is full.
    pub width: u16,
}

impl BundleId {
    /// The bundle `index` as a log of `size` entries has it; `None` if it has none.
    pub fn of_size(index: u64, size: u64) -> Option<Self> {
        let TileId { index, width, .. } = TileId::of_size(0, index, size)?;
        Some(Self { index, width })
    }

    /// Its path under the log's prefix: `tile/entries/<index>`, and `.p/<width>` if partial.
    pub fn path(&self) -> String {
        format!("tile/entries/{}", Position { index: self.index, width: self.width }.path())
    }

    /// The bundle of that path. `None` unless [`BundleId::path`] gives the very same text.
    pub fn parse_path(path: &str) -> Option<Self> {
        let Position { index, width } = Position::parse(path.strip_prefix("tile/entries/")?)?;
        Some(Self { index, width })
    }
}

/// The part of the path that both share.
struct Position {
    index: u64,
    width: u16,
}

impl Position {
    /// Groups of three digits, all but the last marked with `x`, then the width.
    fn path(&self) -> String {
        let mut path = format!("{:03}", self.index % 1000);
        let mut rest = self.index / 1000;
        while rest > 0 {
            path = format!("x{:03}/{path}", rest % 1000);
            rest /= 1000;
        }
        if self.width != TILE_WIDTH {
            path.push_str(&format!(".p/{}", self.width));
        }
        path
    }

    fn parse(path: &str) -> Option<Self> {
        let (number, width) = match path.split_once(".p/") {
            None => (path, TILE_WIDTH),
            Some((number, width)) => {
                let width = u16::try_from(decimal::parse(width)?).ok()?;
                (number, Some(width).filter(|w| (1..TILE_WIDTH).contains(w))?)
            }
        };
        let mut index = 0_u64;
        for group in number.split('/') {
            let digits = group.strip_prefix('x').unwrap_or(group);
            let value = digits.parse::<u64>().ok()?;
            index = index.checked_mul(1000)?.checked_add(value)?;
        }
        // Whatever else was wrong (signs, lengths, a missing x, leading groups of zeros) shows
        // here, since every name has one text.
        let position = Self { index, width };
        (position.path() == path).then_some(position)
    }
}

/// Where the hashes of tiles come from: a store, a server, a folder.
///
/// A closure from [`TileId`] to bytes is one too.
pub trait HashReader {
    /// Why a tile cannot be had.
    type Error;

    /// The bytes of `tile`: its first [`TileId::width`] hashes.
    ///
    /// A holder of a wider tile of the same level and index cuts it to [`TileId::bytes`]: a
    /// tile only grows. What is returned is trusted no further than its length; a proof made of
    /// wrong bytes does not verify.
    ///
    /// # Errors
    /// When there is no such tile, or it cannot be read.
    fn read_tile(&mut self, tile: TileId) -> Result<Vec<u8>, Self::Error>;
}

impl<F, E> HashReader for F
where
    F: FnMut(TileId) -> Result<Vec<u8>, E> + ?Sized,
{
    type Error = E;

    fn read_tile(&mut self, tile: TileId) -> Result<Vec<u8>, E> {
        self(tile)
    }
}

/// Why hashes could not be had from tiles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError<E> {
    /// The reader failed.
    #[error("a tile cannot be read")]
    Reader(#[source] E),
    /// The tile's bytes are not as many as its width says.
    #[error("{} has {got} bytes instead of {}", .tile.path(), .tile.bytes())]
    Length {
        /// Which.
        tile: TileId,
        /// Bytes that the reader gave.
        got: usize,
    },
    /// The tile's root is not the hash that stands for it one level up: one of the two is damaged.
    #[error("{} does not match the tile above it", .0.path())]
    Mismatch(TileId),
    /// The index or size lies outside the tree, or the leaf hashes given are not as many as the
    /// size leaves over.
    #[error("outside the tree")]
    OutOfRange,
}

/// Reads one tile and cuts it into hashes.
pub(crate) fn read_hashes<R: HashReader + ?Sized>(
    reader: &mut R,
    tile: TileId,
) -> Result<Vec<Hash>, ReadError<R::Error>> {
    let bytes = reader.read_tile(tile).map_err(ReadError::Reader)?;
    match bytes.as_chunks::<HASH_BYTES>() {
        (hashes, []) if bytes.len() == tile.bytes() => {
            Ok(hashes.iter().map(|h| Hash(*h)).collect())
        }
        _ => Err(ReadError::Length { tile, got: bytes.len() }),
    }
}

/// The bytes of a tile with these hashes.
pub(crate) fn tile_bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_specification() {
        for (index, path) in [
            (0, "000"),
            (5, "005"),
            (999, "999"),
            (1000, "x001/000"),
            (1_234_067, "x001/x234/067"),
            (1_000_000, "x001/x000/000"),
            (123_456_789, "x123/x456/789"),
            (u64::MAX, "x018/x446/x744/x073/x709/x551/615"),
        ] {
            let full = TileId::full(3, index);
            assert_eq!(full.path(), format!("tile/3/{path}"));
            assert_eq!(TileId::parse_path(&full.path()), Some(full));
            let partial = TileId { level: 63, index, width: 17 };
            assert_eq!(partial.path(), format!("tile/63/{path}.p/17"));
            assert_eq!(TileId::parse_path(&partial.path()), Some(partial));
            let bundle = BundleId { index, width: 112 };
            assert_eq!(bundle.path(), format!("tile/entries/{path}.p/112"));
            assert_eq!(BundleId::parse_path(&bundle.path()), Some(bundle));
            let bundle = BundleId { index, width: TILE_WIDTH };
            assert_eq!(bundle.path(), format!("tile/entries/{path}"));
            assert_eq!(BundleId::parse_path(&bundle.path()), Some(bundle));
        }
    }

    #[test]
    fn other_paths_are_refused() {
        for bad in [
            "",
            "tile",
            "tile/",
            "tile/0",
            "tile/0/",
            "tile/0/0",
            "tile/0/00",
            "tile/0/0000",
            "tile/0/1000",
            "tile/00/000",
            "tile/64/000",
            "tile/-1/000",
            "tile/+1/000",
            "tile/0/x000/001",
            "tile/0/x000",
            "tile/0/001/000",
            "tile/0/x001/x000",
            "tile/0/x01/000",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/+1",
            "tile/0/000.p/",
            "tile/0/000.p",
            "tile/0/000.p/1/",
            "tile/0/000.p/1.p/1",
            "tile/0/+01",
            "tile/0/000 ",
            " tile/0/000",
            "/tile/0/000",
            "tile/entries/000",
            "tile/0//000",
            "tile/0/x018/x446/x744/x073/x709/x551/616",
            "tile/0/X001/000",
            "tile/data/000",
        ] {
            assert_eq!(TileId::parse_path(bad), None, "{bad}");
        }
        for bad in ["tile/0/000", "tile/entries/0", "tile/entries/000.p/256", "tile/entries/"] {
            assert_eq!(BundleId::parse_path(bad), None, "{bad}");
        }
    }

    #[test]
    fn widths_of_a_log_of_70000() {
        let of = |level, index| TileId::of_size(level, index, 70_000).map(|t| t.width);
        assert_eq!(of(0, 272), Some(256));
        assert_eq!(of(0, 273), Some(112));
        assert_eq!(of(0, 274), None);
        assert_eq!(of(1, 0), Some(256));
        assert_eq!(of(1, 1), Some(17));
        assert_eq!(of(1, 2), None);
        assert_eq!(of(2, 0), Some(1));
        assert_eq!(of(2, 1), None);
        assert_eq!(of(3, 0), None);
        assert_eq!(of(8, 0), None);
        assert_eq!(of(0, u64::MAX), None);
        assert_eq!(TileId::of_size(1, 0, 256).map(|t| t.path()), Some("tile/1/000.p/1".to_owned()));
        assert_eq!(BundleId::of_size(273, 70_000), Some(BundleId { index: 273, width: 112 }));
    }
}
