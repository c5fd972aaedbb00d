//! Proofs against the definition, two other implementations and mutations.

use proptest::prelude::*;

use super::*;
use crate::testing::{Log, at, entry, flips, leaves, mth};

/// PATH of RFC 6962, section 2.1.1, word by word.
fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = at(split(leaves.len() as u64));
    let (mut rest, sibling) = if m < k {
        (path(m, &leaves[..k]), mth(&leaves[k..]))
    } else {
        (path(m - k, &leaves[k..]), mth(&leaves[..k]))
    };
    rest.push(sibling);
    rest
}

/// SUBPROOF of RFC 6962, section 2.1.2, word by word.
fn subproof(m: usize, leaves: &[Hash], b: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if b { Vec::new() } else { vec![mth(leaves)] };
    }
    let k = at(split(leaves.len() as u64));
    let (mut rest, other) = if m <= k {
        (subproof(m, &leaves[..k], b), mth(&leaves[k..]))
    } else {
        (subproof(m - k, &leaves[k..], false), mth(&leaves[..k]))
    };
    rest.push(other);
    rest
}

type CtTree = ct_merkle::mem_backed_tree::MemoryBackedTree<sha2::Sha256, Vec<u8>>;

fn digests(proof: &[Hash]) -> Vec<u8> {
    proof.iter().flat_map(|hash| hash.0).collect()
}

/// Every inclusion proof of every small tree: the definition's, ours and ct-merkle's are one, and
/// ours verifies at its own place only.
#[test]
fn every_inclusion_proof_of_small_trees() {
    let all = leaves(132);
    let mut log = Log::of(&all);
    let mut other = CtTree::new();
    for size in 1..=130_u64 {
        other.push(entry(size - 1).to_vec());
        let tree = &all[..at(size)];
        let root = mth(tree);
        assert_eq!(other.root().as_bytes().as_slice(), root.0);
        for index in 0..size {
            let proof = inclusion(index, size, &mut log).unwrap();
            assert_eq!(proof, path(at(index), tree), "{index} of {size}");
            let theirs = other.prove_inclusion(at(index));
            assert_eq!(theirs.as_bytes(), digests(&proof));
            let leaf = &tree[at(index)];
            assert_eq!(verify_inclusion(index, size, leaf, &proof, &root), Ok(()));
            let near = [index.wrapping_sub(1), index + 1, index ^ 1, index ^ 2, u64::MAX];
            for wrong in near.into_iter().filter(|wrong| *wrong != index) {
                assert!(verify_inclusion(wrong, size, leaf, &proof, &root).is_err());
            }
        }
        assert_eq!(inclusion(size, size, &mut log), Err(ReadError::OutOfRange));
    }
    assert_eq!(verify_inclusion(0, 0, &all[0], &[], &empty_root()), Err(Error::OutOfRange));
}

#[test]
fn every_consistency_proof_of_small_trees() {
    let all = leaves(130);
    let mut log = Log::of(&all);
    let roots: Vec<_> = (0..=all.len()).map(|size| mth(&all[..size])).collect();
    for new in 0..=130_u64 {
        let mut theirs = CtTree::new();
        (0..new).for_each(|i| theirs.push(entry(i).to_vec()));
        let new_root = &roots[at(new)];
        for old in 0..=new {
            let proof = consistency(old, new, &mut log).unwrap();
            let old_root = &roots[at(old)];
            assert_eq!(verify_consistency(old, old_root, new, new_root, &proof), Ok(()));
            if old == 0 || old == new {
                assert!(proof.is_empty());
                continue;
            }
            assert_eq!(proof, subproof(at(old), &all[..at(new)], true));
            let made = theirs.prove_consistency(at(new - old));
            assert_eq!(made.as_bytes(), digests(&proof), "{old} to {new}");
            for wrong in [old - 1, old + 1] {
                assert!(verify_consistency(wrong, old_root, new, new_root, &proof).is_err());
            }
            assert!(verify_consistency(old, new_root, new, new_root, &proof).is_err());
            assert!(verify_consistency(old, old_root, new, old_root, &proof).is_err());
        }
        assert_eq!(consistency(new + 1, new, &mut log), Err(ReadError::OutOfRange));
    }
}

#[test]
fn the_edge_cases_of_consistency() {
    let (a, b, empty) = (Hash([1; 32]), Hash([2; 32]), empty_root());
    assert_eq!(verify_consistency(0, &empty, 0, &empty, &[]), Ok(()));
    assert_eq!(verify_consistency(0, &empty, 5, &a, &[]), Ok(()));
    assert_eq!(verify_consistency(5, &a, 5, &a, &[]), Ok(()));
    assert_eq!(verify_consistency(0, &a, 5, &b, &[]), Err(Error::Root));
    assert_eq!(verify_consistency(0, &a, 0, &a, &[]), Err(Error::Root));
    assert_eq!(verify_consistency(0, &empty, 0, &a, &[]), Err(Error::Root));
    assert_eq!(verify_consistency(5, &a, 5, &b, &[]), Err(Error::Root));
    assert_eq!(verify_consistency(5, &a, 5, &a, &[b]), Err(Error::Length));
    assert_eq!(verify_consistency(0, &empty, 5, &a, &[b]), Err(Error::Length));
    assert_eq!(verify_consistency(4, &a, 5, &b, &[]), Err(Error::Length));
    assert_eq!(verify_consistency(3, &a, 5, &b, &[]), Err(Error::Length));
    assert_eq!(verify_consistency(6, &a, 5, &b, &[]), Err(Error::OutOfRange));
    // Sizes at the end of the numbers do not overflow.
    let long = [a; 64];
    assert!(verify_consistency(u64::MAX - 1, &a, u64::MAX, &b, &long).is_err());
    assert!(verify_consistency(1 << 63, &a, u64::MAX, &b, &long).is_err());
    assert!(verify_inclusion(u64::MAX - 1, u64::MAX, &a, &long, &b).is_err());
}

/// One bit flipped, one hash missing, one too many, two exchanged.
fn mutations(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let bytes = digests(proof);
    let hashes = |bytes: Vec<u8>| bytes.as_chunks().0.iter().copied().map(Hash).collect();
    let mut all: Vec<Vec<Hash>> = flips(&bytes).map(hashes).collect();
    for i in 0..proof.len() {
        let mut missing = proof.to_vec();
        let hash = missing.remove(i);
        all.push(missing);
        let mut doubled = proof.to_vec();
        doubled.insert(i, hash);
        all.push(doubled);
        if i > 0 {
            let mut exchanged = proof.to_vec();
            exchanged.swap(i - 1, i);
            all.push(exchanged);
        }
    }
    all.push([proof, &[Hash([0; 32])]].concat());
    all
}

#[test]
fn every_mutation_is_rejected() {
    let all = leaves(70_000);
    let mut log = Log::of(&all);
    for (index, size) in [(0, 2), (4, 5), (5, 7), (63, 100), (69_999, 70_000), (256, 70_000)] {
        let root = mth(&all[..at(size)]);
        let leaf = &all[at(index)];
        let proof = inclusion(index, size, &mut log).unwrap();
        assert_eq!(verify_inclusion(index, size, leaf, &proof, &root), Ok(()));
        for wrong in mutations(&proof) {
            assert!(verify_inclusion(index, size, leaf, &wrong, &root).is_err());
        }
        for leaf in flips(&leaf.0) {
            let leaf = Hash(leaf.try_into().unwrap());
            assert_eq!(verify_inclusion(index, size, &leaf, &proof, &root), Err(Error::Root));
        }
    }
    for (old, new) in [(1, 2), (3, 7), (4, 7), (6, 8), (65_536, 70_000), (65_537, 70_000)] {
        let (old_root, new_root) = (mth(&all[..at(old)]), mth(&all[..at(new)]));
        let proof = consistency(old, new, &mut log).unwrap();
        assert_eq!(verify_consistency(old, &old_root, new, &new_root, &proof), Ok(()));
        for wrong in mutations(&proof) {
            assert!(verify_consistency(old, &old_root, new, &new_root, &wrong).is_err());
        }
    }
}

/// Our tiles as a store for another implementation, which authenticates what it reads.
struct Tiles<'a>(&'a std::cell::RefCell<Log>);

impl tlog_tiles::TileReader for Tiles<'_> {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let ours = |tile: &tlog_tiles::Tile| crate::TileId {
            level: tile.level(),
            index: tile.level_index(),
            width: u16::try_from(tile.width()).unwrap(),
        };
        let mut log = self.0.borrow_mut();
        let read = tiles.iter().map(|tile| {
            // The published crate puts the tile's height into the path; the rest is the same.
            assert_eq!(ours(tile).path().replacen("tile/", "tile/8/", 1), tile.path());
            log.read_tile(ours(tile)).unwrap()
        });
        Ok(read.collect())
    }

    fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
}

#[test]
fn another_implementation_reads_our_tiles_and_makes_the_same_proofs() {
    let all = leaves(70_000);
    let log = std::cell::RefCell::new(Log::of(&all));
    let theirs = |proof: &[tlog_tiles::Hash]| proof.iter().map(|h| Hash(h.0)).collect::<Vec<_>>();
    for size in [1, 2, 255, 256, 257, 1_000, 65_535, 65_536, 65_537, 70_000] {
        let root = tlog_tiles::Hash(mth(&all[..at(size)]).0);
        let tiles = Tiles(&log);
        let reader = tlog_tiles::TileHashReader::new(size, root, &tiles);
        for index in [0, 1, 42, 255, 256, 65_535, size - 1] {
            if index >= size {
                continue;
            }
            let made = tlog_tiles::prove_record(size, index, &reader).unwrap();
            let ours = inclusion(index, size, &mut *log.borrow_mut()).unwrap();
            assert_eq!(theirs(&made), ours, "{index} of {size}");
            let leaf = tlog_tiles::Hash(all[at(index)].0);
            tlog_tiles::check_record(&made, size, root, index, leaf).unwrap();
        }
        for old in [1, 2, 3, 255, 256, 257, 1_000, 65_535, 65_536, size] {
            if old > size {
                continue;
            }
            let made = tlog_tiles::prove_tree(size, old, &reader).unwrap();
            let ours = consistency(old, size, &mut *log.borrow_mut()).unwrap();
            assert_eq!(theirs(&made), ours, "{old} to {size}");
        }
    }
}

#[test]
fn ct_merkle_verifies_proofs_of_a_large_tree() {
    let all = leaves(70_000);
    let mut log = Log::of(&all);
    let root =
        |size: u64| ct_merkle::RootHash::<sha2::Sha256>::new(mth(&all[..at(size)]).0.into(), size);
    for size in [65_536, 65_537, 70_000] {
        for index in (0..size).step_by(7_919) {
            let proof = digests(&inclusion(index, size, &mut log).unwrap());
            let proof = ct_merkle::InclusionProof::from_bytes(proof);
            root(size).verify_inclusion(&entry(index).to_vec(), index, &proof).unwrap();
        }
        for old in (1..size).step_by(7_919) {
            let proof = digests(&consistency(old, size, &mut log).unwrap());
            let proof = ct_merkle::ConsistencyProof::try_from_bytes(proof).unwrap();
            root(size).verify_consistency(&root(old), &proof).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Roots of the larger tree come from its own tiles; `tree::tests` compares those with the
    /// definition.
    #[test]
    fn sampled_proofs_of_large_trees(a in 0_u64..70_000, b in 0_u64..70_000) {
        thread_local! {
            static LOG: std::cell::RefCell<Log> = std::cell::RefCell::new(Log::of(&leaves(70_000)));
        }
        let (old, new) = (a.min(b), a.max(b) + 1);
        LOG.with_borrow_mut(|log| {
            let root = |size, log: &mut Log| crate::tree::root_at(size, log).unwrap();
            let (old_root, new_root) = (root(old, log), root(new, log));
            let leaf = crate::hash::leaf_hash(&entry(old));
            let proof = inclusion(old, new, log).unwrap();
            assert_eq!(verify_inclusion(old, new, &leaf, &proof, &new_root), Ok(()));
            let proof = consistency(old, new, log).unwrap();
            assert_eq!(verify_consistency(old, &old_root, new, &new_root, &proof), Ok(()));
        });
    }
}
