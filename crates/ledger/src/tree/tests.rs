//! The tree against published roots, the definition, restarts and damage.

use proptest::prelude::*;

use super::*;
use crate::hash::leaf_hash;
use crate::note::Verifier;
use crate::testing::{Absent, Log, at, leaves, mth, vector_entry};
use crate::tile::TILE_BYTES;
use crate::{Checkpoint, bundle};

fn root(hex: &str) -> Hash {
    Hash(hex::decode(hex).unwrap().try_into().unwrap())
}

#[test]
fn the_well_known_roots() {
    let entries: Vec<Vec<u8>> = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ]
    .map(|digits| hex::decode(digits).unwrap())
    .into();
    let mut edge = Edge::new();
    assert_eq!(
        edge.root(),
        root("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    );
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    for (entry, hex) in entries.iter().zip(roots) {
        edge.append(leaf_hash(entry), &mut Vec::new());
        assert_eq!(edge.root(), root(hex), "{}", edge.size());
    }
}

/// Section 1.7 of the format's notes: roots made by a Python program from the specifications,
/// accepted by five verifiers.
#[test]
fn the_log_of_the_vectors() {
    let roots = [
        (1, "70d5e6bcfd4e6377e181ec9694ea9869ec25b372a00517724e271a505b137a05"),
        (2, "f1d9043be0b0831eba350a98db2197c659a5aac0640aefbebd02308c7c7bb763"),
        (3, "285dcdb78fdb72607bc1db839e8db5f1769c9767caaae4f149ed4c47e8908e78"),
        (255, "def42a27a3e3596a74ba384ee8e0ec2bf77826a1ad9019476fff98c2dc46a44f"),
        (256, "f0465af79a64723d988c8db4dce2c9e2114a60a03e313e39276c305b209b9867"),
        (257, "645c8c2fa4655d1c5d5042ba5f17087eb75c4fca1457809b281c920f476e7216"),
        (1000, "9169a1167a459b2acce3cf393db43d22f6a1d9179ab5d3b71c084e5586eff376"),
        (70_000, "5b72150e379dd5d4845a3b389ecf064f3ae73e1163938589fbf610570041dd59"),
    ];
    assert_eq!(
        vector_entry(0),
        hex::decode(
            "01010003000000110000019e704488000000000000000000\
             583f685f22040cb5c78d9df09c43c6429c9d240bcb2a15dff7af8ebb5653b48e"
        )
        .unwrap()
    );
    let mut log = Log::default();
    for (size, hex) in roots {
        let more: Vec<_> = (log.edge.size()..size).map(|i| leaf_hash(&vector_entry(i))).collect();
        log.extend(&more);
        assert_eq!(log.edge.root(), root(hex), "{size}");
    }
    for (size, hex) in roots {
        assert_eq!(root_at(size, &mut log), Ok(root(hex)), "{size}");
        assert_eq!(audit(size, &mut log), Ok(root(hex)), "{size}");
    }
    let seed =
        hex::decode("e3a34ae1c273a1b6f33f584db619af491fdedbc6194523b793d9384774742391").unwrap();
    let origin = "placement.example/eu-de/2026a";
    let signer = crate::note::Signer::from_seed(origin, &seed.try_into().unwrap()).unwrap();
    let vkey =
        "placement.example/eu-de/2026a+16848219+AYaAq5TinA32oNBHMpQJ22Gp6gK+Ujii20WOAMx7YLCa";
    assert_eq!(signer.vkey(), vkey);
    let head = Checkpoint { origin: origin.into(), size: 70_000, root: log.edge.root() };
    let note = head.sign(&signer).unwrap();
    assert_eq!(
        note,
        "placement.example/eu-de/2026a\n70000\nW3IVDjed1dSEWjs4ns8GTzrnPhFjk4WJ+/YQVwBB3Vk=\n\n\
         — placement.example/eu-de/2026a FoSCGUhJkahfvZSRfNSEKX4lqeH3Izgy7NShW95bn/9kXLEjlaj+CBpZ\
         lKBalQhNNh9NFVq18369+ynJyoQhhXDEfAU=\n"
    );
    assert_eq!(Checkpoint::open(&note, &Verifier::from_vkey(vkey).unwrap()), Ok(head));
    let entries: Vec<_> = (69_888..70_000).map(vector_entry).collect();
    let last = bundle::leaves(&bundle::encode(&entries).unwrap(), 112).unwrap();
    assert_eq!(tile_bytes(&last), log.edge.partial_tiles()[0].1);
}

#[test]
fn the_tiles_of_a_log_of_70000() {
    let log = Log::of(&leaves(70_000));
    let partials: Vec<_> = log.edge.partial_tiles().iter().map(|(id, _)| id.path()).collect();
    assert_eq!(partials, ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]);
    let full = |level| log.tiles.keys().filter(|(l, _)| *l == level).count();
    assert_eq!((full(0), full(1), log.tiles.len()), (273, 1, 274));
    let at_256 = Log::of(&leaves(256)).edge.partial_tiles();
    assert_eq!(at_256.iter().map(|(id, _)| id.path()).collect::<Vec<_>>(), ["tile/1/000.p/1"]);
}

#[test]
fn roots_are_those_of_the_definition() {
    let all = leaves(66_000);
    let mut log = Log::default();
    for size in 0..=all.len() {
        if size <= 1_100 || (65_530..65_545).contains(&size) || size == all.len() {
            let expected = mth(&all[..size]);
            assert_eq!(log.edge.root(), expected, "{size}");
            assert_eq!(root_of(&all[..size]), expected, "{size}");
            assert_eq!(log.edge.peaks().len(), size.count_ones() as usize);
            assert_eq!(root_at(size as u64, &mut log), Ok(expected), "{size}");
        }
        if size < all.len() {
            log.extend(&all[size..=size]);
        }
    }
    // An older root can be had from the tiles of the larger log.
    for size in [0, 1, 255, 256, 257, 511, 512, 1_000, 65_535, 65_536, 65_537] {
        assert_eq!(root_at(size as u64, &mut log), Ok(mth(&all[..size])), "{size}");
    }
}

/// What each tile must hold, by the definition of `tlog-tiles`.
#[test]
fn tiles_hold_what_the_specification_says() {
    let all = leaves(66_000);
    let mut log = Log::of(&all);
    for level in 0..4_u8 {
        let step = 256_usize.pow(u32::from(level));
        for index in 0.. {
            let Some(tile) = TileId::of_size(level, index, 66_000) else { break };
            let start = usize::try_from(index).unwrap() * 256;
            let hash = |i: usize| mth(&all[(start + i) * step..(start + i + 1) * step]);
            let expected: Vec<_> = (0..usize::from(tile.width)).map(hash).collect();
            assert_eq!(log.read_tile(tile), Ok(tile_bytes(&expected)), "{}", tile.path());
        }
    }
}

fn assert_same(left: &Edge, right: &Edge) {
    assert_eq!(left.size(), right.size());
    assert_eq!(left.peaks(), right.peaks());
    assert_eq!(left.root(), right.root());
    assert_eq!(left.partial_tiles(), right.partial_tiles());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn batches_make_no_difference(sizes in prop::collection::vec(0_usize..900, 0..12)) {
        let total = sizes.iter().sum::<usize>();
        let all = leaves(total as u64);
        let whole = Log::of(&all);
        let mut log = Log::default();
        let mut at = 0;
        for size in sizes {
            // A batch is first tried on a copy that is thrown away.
            let mut trial = log.edge.clone();
            let mut dropped = Vec::new();
            all[at..at + size / 2].iter().for_each(|leaf| trial.append(*leaf, &mut dropped));
            log.extend(&all[at..at + size]);
            at += size;
        }
        assert_same(&log.edge, &whole.edge);
        prop_assert_eq!(log.tiles, whole.tiles);
    }

    #[test]
    fn a_restored_edge_is_the_continued_one(
        size in prop_oneof![0_u64..3_000, 65_000_u64..67_000, Just(256), Just(65_536)],
        more in 0_u64..600,
    ) {
        let all = leaves(size + more);
        let (before, after) = all.split_at(at(size));
        let mut log = Log::of(before);
        let rest = &before[before.len() - before.len() % 256..];
        let tiles = log.tiles.clone();
        let mut stored = |id: TileId| tiles.get(&(id.level, id.index)).cloned().ok_or(Absent);
        let restored = Edge::restore(size, &mut stored, rest).unwrap();
        assert_same(&restored, &log.edge);
        let loaded = Edge::load(size, &mut log.clone()).unwrap();
        assert_same(&loaded, &log.edge);
        let mut continued = Log { edge: restored, tiles: log.tiles.clone() };
        continued.extend(after);
        log.extend(after);
        assert_same(&continued.edge, &log.edge);
        prop_assert_eq!(continued.tiles, log.tiles);
    }
}

#[test]
fn restoring_fails_on_anything_of_the_wrong_length() {
    let all = leaves(66_000);
    let log = Log::of(&all);
    let rest = &all[all.len() - all.len() % 256..];
    let restore = |size: u64, rest: &[Hash], log: &Log| {
        let mut log = log.clone();
        Edge::restore(size, &mut log, rest).map(|edge| edge.root())
    };
    assert_eq!(restore(66_000, rest, &log), Ok(log.edge.root()));
    assert_eq!(restore(66_000, &rest[1..], &log), Err(ReadError::OutOfRange));
    assert_eq!(restore(66_000, &all[..256], &log), Err(ReadError::OutOfRange));
    assert_eq!(restore(0, rest, &log), Err(ReadError::OutOfRange));
    let mut lost = log.clone();
    lost.tiles.remove(&(0, 256));
    assert_eq!(restore(66_000, rest, &lost), Err(ReadError::Reader(Absent)));
    for length in [0, 1, TILE_BYTES - 32, TILE_BYTES - 1, TILE_BYTES + 1, TILE_BYTES + 32] {
        for tile in [TileId::full(0, 256), TileId::full(1, 0)] {
            let mut read = |id: TileId| {
                let bytes = log.tiles.get(&(id.level, id.index)).cloned().ok_or(Absent)?;
                Ok::<_, Absent>(if id == tile { vec![0; length] } else { bytes })
            };
            let wrong = Edge::restore(66_000, &mut read, rest).map(|edge| edge.root());
            assert_eq!(wrong, Err(ReadError::Length { tile, got: length }));
        }
    }
    let mut short = |id: TileId| Ok::<_, Absent>(vec![0; id.bytes() - 1]);
    assert!(matches!(Edge::load(66_000, &mut short), Err(ReadError::Length { .. })));
    assert!(matches!(root_at(66_000, &mut short), Err(ReadError::Length { .. })));
    assert!(matches!(audit(66_000, &mut short), Err(ReadError::Length { .. })));
}

#[test]
fn the_edge_gives_only_its_own_tiles() {
    let log = Log::of(&leaves(70_000));
    for (tile, bytes) in log.edge.partial_tiles() {
        assert_eq!(log.edge.read(tile), Some(bytes.clone()));
        let first = TileId { width: 1, ..tile };
        assert_eq!(log.edge.read(first), Some(bytes[..32].to_vec()));
        assert_eq!(log.edge.read(TileId { width: tile.width + 1, ..tile }), None);
        assert_eq!(log.edge.read(TileId { width: 0, ..tile }), None);
        assert_eq!(log.edge.read(TileId { index: tile.index + 1, ..first }), None);
    }
    assert_eq!(log.edge.read(TileId::full(0, 0)), None);
    assert_eq!(log.edge.read(TileId { level: 3, index: 0, width: 1 }), None);
    assert_eq!(log.edge.read(TileId { level: 60, index: 0, width: 1 }), None);
    assert_eq!(Edge::new().read(TileId { level: 0, index: 0, width: 1 }), None);
}

/// The right edge alone does not show that a tile within was changed; the audit does.
#[test]
fn the_audit_finds_a_flipped_bit_in_any_tile() {
    let log = Log::of(&leaves(66_000));
    let signed = log.edge.root();
    let ids: Vec<_> = log.tiles.keys().copied().filter(|id| id.1 % 50 == 0).collect();
    assert!(ids.len() > 4 && ids.contains(&(1, 0)));
    for id in ids {
        let mut wrong = log.clone();
        wrong.tiles.get_mut(&id).unwrap()[4_000] ^= 1;
        // The tile itself, or the one below it that no longer matches it.
        let below = id.0.saturating_sub(1);
        match audit(66_000, &mut wrong) {
            Err(ReadError::Mismatch(tile)) => assert!([id.0, below].contains(&tile.level)),
            other => panic!("{id:?}: {other:?}"),
        }
    }
    let mut hidden = log.clone();
    hidden.tiles.get_mut(&(0, 50)).unwrap()[4_000] ^= 1;
    assert_eq!(root_at(66_000, &mut hidden), Ok(signed), "so a root alone is no audit");
    let mut edge = log;
    edge.edge.partials[0][3].0[0] ^= 1;
    assert_ne!(audit(66_000, &mut edge), Ok(signed));
}

#[test]
fn the_edge_of_a_huge_log_works() {
    // No log will have 2^40 entries in a test; its edge can be loaded from made-up tiles.
    let size = (1_u64 << 40) - 1;
    let mut made_up = |id: TileId| Ok::<_, Absent>(vec![id.level; id.bytes()]);
    let mut edge = Edge::load(size, &mut made_up).unwrap();
    assert_eq!(edge.peaks().len(), 40);
    let mut finished = Vec::new();
    edge.append(Hash([0; 32]), &mut finished);
    let names: Vec<_> = finished.iter().map(|(id, _)| (id.level, id.index)).collect();
    let last = |level: u32| (1_u64 << (32 - 8 * level)) - 1;
    assert_eq!(names, [(0, last(0)), (1, last(1)), (2, last(2)), (3, last(3)), (4, 0)]);
    assert_eq!(edge.peaks().len(), 1);
    assert_eq!(edge.partial_tiles().len(), 1);
    assert_eq!(edge.partial_tiles()[0].0, TileId { level: 5, index: 0, width: 1 });
    assert!(finished.iter().all(|(_, bytes)| bytes.len() == TILE_BYTES));
}

#[test]
fn debug_is_short() {
    assert_eq!(format!("{:?}", Log::of(&leaves(300)).edge), "Edge { size: 300, .. }");
}
