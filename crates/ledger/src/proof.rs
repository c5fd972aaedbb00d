//! Proofs: making them from tiles, checking them by RFC 9162, sections 2.1.3.2 and 2.1.4.2.
//!
//! The checks here take roots as they come. Take them only from checkpoints that you opened with
//! the log's key, or computed yourself: a proof against an unsigned root proves nothing.

use crate::hash::{Hash, empty_root, node_hash};
use crate::tile::{HashReader, ReadError};
use crate::tree::Nodes;

/// Hashes in a proof at the most.
pub const PROOF_HASHES_MAX: usize = 64;

/// Why a proof does not prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The entry is not among those of the tree, or the old tree is larger than the new.
    #[error("outside the tree")]
    OutOfRange,
    /// More or fewer hashes than the sizes ask for.
    #[error("the proof has not as many hashes as it should")]
    Length,
    /// The hashes lead to another root.
    #[error("the proof leads to another root")]
    Root,
}

/// The largest power of two below `n`, for `n` of 2 or more.
fn split(n: u64) -> u64 {
    1 << n.saturating_sub(1).checked_ilog2().unwrap_or(0)
}

/// The proof that entry `index` is in the tree of the first `size` entries: the sibling of its
/// leaf first.
///
/// # Errors
/// [`ReadError`]: the index is outside the tree, a tile cannot be read or has the wrong length.
pub fn inclusion<R: HashReader + ?Sized>(
    index: u64,
    size: u64,
    reader: &mut R,
) -> Result<Vec<Hash>, ReadError<R::Error>> {
    if index >= size {
        return Err(ReadError::OutOfRange);
    }
    let mut siblings = Vec::new();
    let (mut from, mut to) = (0, size);
    while to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            siblings.push((middle, to));
            to = middle;
        } else {
            siblings.push((from, middle));
            from = middle;
        }
    }
    let mut nodes = Nodes::new(size, reader);
    siblings.into_iter().rev().map(|(from, to)| nodes.range(from, to)).collect()
}

/// The proof that the tree of the first `new` entries begins with that of the first `old`. Empty
/// if `old` is 0 or `new`.
///
/// # Errors
/// [`ReadError`]: `old` is more than `new`, a tile cannot be read or has the wrong length.
pub fn consistency<R: HashReader + ?Sized>(
    old: u64,
    new: u64,
    reader: &mut R,
) -> Result<Vec<Hash>, ReadError<R::Error>> {
    if old > new {
        return Err(ReadError::OutOfRange);
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let mut parts = Vec::new();
    let (mut from, mut to) = (0, new);
    while to != old {
        let middle = from + split(to - from);
        if old <= middle {
            parts.push((middle, to));
            to = middle;
        } else {
            parts.push((from, middle));
            from = middle;
        }
    }
    // Where the old tree is a subtree by itself, the verifier knows its root.
    if from > 0 {
        parts.push((from, to));
    }
    let mut nodes = Nodes::new(new, reader);
    parts.into_iter().rev().map(|(from, to)| nodes.range(from, to)).collect()
}

/// Checks that the entry with hash `leaf` is number `index` of the tree of `size` and `root`.
///
/// # Errors
/// [`Error`], if it is not shown.
pub fn verify_inclusion(
    index: u64,
    size: u64,
    leaf: &Hash,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), Error> {
    if index >= size {
        return Err(Error::OutOfRange);
    }
    let mut way = Way { node: index, last: size - 1 };
    let mut hash = *leaf;
    for sibling in proof {
        hash = match way.up()? {
            Side::Left => node_hash(sibling, &hash),
            Side::Right => node_hash(&hash, sibling),
        };
    }
    if way.last != 0 {
        return Err(Error::Length);
    }
    if hash == *root { Ok(()) } else { Err(Error::Root) }
}

/// Checks that the tree of `new_size` and `new_root` begins with that of `old_size` and
/// `old_root`. Size 0 has the fixed root of the empty tree and an empty proof; equal sizes have
/// an empty proof and equal roots.
///
/// # Errors
/// [`Error`], if it is not shown.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), Error> {
    if old_size > new_size {
        return Err(Error::OutOfRange);
    }
    if old_size == 0 || old_size == new_size {
        let empty_is_empty = (old_size > 0 || *old_root == empty_root())
            && (new_size > 0 || *new_root == empty_root());
        let same = old_size == 0 || old_root == new_root;
        return match proof {
            [] if empty_is_empty && same => Ok(()),
            [] => Err(Error::Root),
            _ => Err(Error::Length),
        };
    }
    // An old tree that is a complete subtree is not repeated in the proof.
    let (first, rest) = if old_size.is_power_of_two() {
        (old_root, proof)
    } else {
        proof.split_first().ok_or(Error::Length)?
    };
    let mut way = Way { node: old_size - 1, last: new_size - 1 };
    way.skip(way.node.trailing_ones());
    let (mut old, mut new) = (*first, *first);
    for hash in rest {
        match way.up()? {
            Side::Left => {
                old = node_hash(hash, &old);
                new = node_hash(hash, &new);
            }
            Side::Right => new = node_hash(&new, hash),
        }
    }
    if way.last != 0 {
        return Err(Error::Length);
    }
    if old == *old_root && new == *new_root { Ok(()) } else { Err(Error::Root) }
}

/// On which side of a node its sibling stands.
enum Side {
    Left,
    Right,
}

/// The way from a node up to the root: `fn` and `sn` of RFC 9162.
struct Way {
    node: u64,
    last: u64,
}

impl Way {
    /// One hash of the proof upwards.
    fn up(&mut self) -> Result<Side, Error> {
        if self.last == 0 {
            return Err(Error::Length);
        }
        let right_child = self.node & 1 == 1;
        if right_child || self.node == self.last {
            if !right_child {
                // The last node of its level has no sibling until it is a right child.
                self.skip(self.node.trailing_zeros());
            }
            self.skip(1);
            Ok(Side::Left)
        } else {
            self.skip(1);
            Ok(Side::Right)
        }
    }

    /// Up by `levels`, without a hash.
    fn skip(&mut self, levels: u32) {
        self.node = self.node.checked_shr(levels).unwrap_or(0);
        self.last = self.last.checked_shr(levels).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests;
