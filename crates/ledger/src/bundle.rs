//! Bundles: the entries of one level 0 tile, one after the other (C2SP `tlog-tiles`).
//!
//! Each is its length as two bytes, big endian, and its bytes. No header, no count, no padding:
//! so a log's entries are simply its bundles, one after the other.

use crate::bytes::Reader;
use crate::hash::{Hash, leaf_hash};
use crate::tile::TILE_WIDTH;

/// Why bytes are no bundle, or an entry has no place in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An entry of more than 65,535 bytes.
    #[error("an entry is longer than 65535 bytes")]
    TooLong,
    /// The bytes end within an entry.
    #[error("the bundle ends within an entry")]
    Truncated,
    /// More or fewer entries than the bundle's name says.
    #[error("the bundle has not {0} entries")]
    Width(u16),
}

/// Adds one entry.
///
/// # Errors
/// [`Error::TooLong`]; nothing is written then.
pub fn append(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), Error> {
    let length = u16::try_from(entry.len()).map_err(|_| Error::TooLong)?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// The bundle of these entries.
///
/// # Errors
/// [`Error::TooLong`]; [`Error::Width`] if they are none or more than [`TILE_WIDTH`].
pub fn encode<T: AsRef<[u8]>>(entries: &[T]) -> Result<Vec<u8>, Error> {
    if entries.is_empty() || entries.len() > usize::from(TILE_WIDTH) {
        return Err(Error::Width(TILE_WIDTH));
    }
    let mut bundle = Vec::with_capacity(entries.iter().map(|e| 2 + e.as_ref().len()).sum());
    for entry in entries {
        append(&mut bundle, entry.as_ref())?;
    }
    Ok(bundle)
}

/// The entries of a bundle, which must be exactly `width` and nothing besides.
///
/// # Errors
/// [`Error::Truncated`], [`Error::Width`].
pub fn decode(bundle: &[u8], width: u16) -> Result<Vec<&[u8]>, Error> {
    let mut reader = Reader::new(bundle);
    let mut entries = Vec::with_capacity(usize::from(width.min(TILE_WIDTH)));
    while !reader.is_empty() {
        if entries.len() >= usize::from(width.min(TILE_WIDTH)) {
            return Err(Error::Width(width));
        }
        let length = reader.u16().ok_or(Error::Truncated)?;
        entries.push(reader.take(usize::from(length)).ok_or(Error::Truncated)?);
    }
    if entries.is_empty() || entries.len() != usize::from(width) {
        return Err(Error::Width(width));
    }
    Ok(entries)
}

/// The leaf hashes of a bundle of `width` entries: what the level 0 tile of its index must hold.
///
/// # Errors
/// As [`decode`].
pub fn leaves(bundle: &[u8], width: u16) -> Result<Vec<Hash>, Error> {
    Ok(decode(bundle, width)?.into_iter().map(leaf_hash).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_lengths_and_entries() {
        let bundle = encode(&[&b"ab"[..], b"", b"c"]).unwrap();
        assert_eq!(bundle, b"\0\x02ab\0\0\0\x01c");
        assert_eq!(decode(&bundle, 3).unwrap(), [&b"ab"[..], b"", b"c"]);
        assert_eq!(leaves(&bundle, 3).unwrap()[1], leaf_hash(b""));
    }

    #[test]
    fn every_other_length_is_refused() {
        let bundle = encode(&[&b"ab"[..], b"", b"c"]).unwrap();
        for width in [0, 1, 2, 4, 256, 257] {
            assert_eq!(decode(&bundle, width), Err(Error::Width(width)));
        }
        for end in 0..bundle.len() {
            assert!(decode(&bundle[..end], 3).is_err(), "{end}");
        }
        assert_eq!(decode(b"", 0), Err(Error::Width(0)));
        assert_eq!(append(&mut Vec::new(), &[0; 65_536]), Err(Error::TooLong));
        let most = vec![7; 65_535];
        assert_eq!(decode(&encode(&[&most]).unwrap(), 1).unwrap(), [&most[..]]);
        assert_eq!(encode::<&[u8]>(&[]), Err(Error::Width(256)));
        assert!(encode(&vec![b"x"; 257]).is_err());
        assert_eq!(decode(&b"\0\x01x".repeat(257), 257), Err(Error::Width(257)));
    }
}
