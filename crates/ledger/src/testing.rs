//! What the tests of several modules share: a log in memory, the definition of the tree written
//! out naively, and the log of the published vectors.

use std::collections::HashMap;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::hash::{Hash, empty_root, leaf_hash, node_hash};
use crate::note::Signer;
use crate::tile::{HashReader, TileId};
use crate::tree::Edge;

/// A log in memory: full tiles as they were finished, and the edge.
#[derive(Default, Clone)]
pub(crate) struct Log {
    pub(crate) edge: Edge,
    pub(crate) tiles: HashMap<(u8, u64), Vec<u8>>,
}

/// The tile is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such tile")]
pub(crate) struct Absent;

impl Log {
    pub(crate) fn of(leaves: &[Hash]) -> Self {
        let mut log = Self::default();
        log.extend(leaves);
        log
    }

    pub(crate) fn extend(&mut self, leaves: &[Hash]) {
        let mut finished = Vec::new();
        for leaf in leaves {
            self.edge.append(*leaf, &mut finished);
        }
        for (tile, bytes) in finished {
            assert!(tile.is_full());
            let before = self.tiles.insert((tile.level, tile.index), bytes);
            assert_eq!(before, None, "a tile is finished once");
        }
    }
}

impl HashReader for Log {
    type Error = Absent;

    fn read_tile(&mut self, tile: TileId) -> Result<Vec<u8>, Absent> {
        if let Some(bytes) = self.edge.read(tile) {
            return Ok(bytes);
        }
        let full = self.tiles.get(&(tile.level, tile.index)).ok_or(Absent)?;
        Ok(full[..tile.bytes()].to_vec())
    }
}

/// MTH of RFC 6962, section 2.1, word by word.
pub(crate) fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let mut k = 1;
            while k * 2 < leaves.len() {
                k *= 2;
            }
            node_hash(&mth(&leaves[..k]), &mth(&leaves[k..]))
        }
    }
}

/// The entries' hashes of some log.
pub(crate) fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|i| leaf_hash(&entry(i))).collect()
}

/// The bytes of entry `i` of some log.
pub(crate) fn entry(i: u64) -> [u8; 8] {
    i.to_be_bytes()
}

/// A key for tests.
pub(crate) fn signer(name: &str) -> Signer {
    let seed = Sha256::digest(name.as_bytes()).into();
    Signer::from_seed(name, &seed).unwrap()
}

/// Entry `i` of the log in section 1.7 of the format's notes (an older layout: any bytes do).
pub(crate) fn vector_entry(i: u64) -> Vec<u8> {
    let opening = Sha256::digest(format!("opening {i}"));
    let mac = Hmac::<Sha256>::new_from_slice(b"placement-log commitment v1").unwrap();
    let mac = mac.chain_update(opening).chain_update(format!("tenant-7\0record-{i}"));
    let mut entry = vec![1, 1, 0, 3, 0, 0, 0, 17];
    entry.extend_from_slice(&(1_780_000_000_000 + i).to_be_bytes());
    entry.extend_from_slice(&0_u64.to_be_bytes());
    entry.extend_from_slice(&mac.finalize().into_bytes());
    entry
}

/// Every text that differs from `bytes` in one bit.
pub(crate) fn flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len() * 8).map(move |bit| {
        let mut other = bytes.to_vec();
        other[bit / 8] ^= 1 << (bit % 8);
        other
    })
}

/// A size or an index of the log as one of something in memory.
pub(crate) fn at(n: u64) -> usize {
    usize::try_from(n).unwrap()
}
