//! A log that is whole verifies, and whatever is changed in it is found where it was changed.

use std::path::Path;

use crate::support::{Dice, Log, MAP, MINUTE, ORIGIN, files, place, taken};
use audit::rules::Broken;
use audit::{Against, Finding, Folder, verify};
use ledger::entry::{Entry, Kind, MapRef};
use ledger::tile::{BundleId, TileId};

fn check(folder: &Folder) -> Result<audit::Verified, Finding> {
    verify(folder, Against::default(), &mut |_, _| {})
}

#[test]
fn logs_of_every_shape_verify() {
    for size in [0, 1, 255, 256, 257, 1000, 65_536, 70_000] {
        let dir = tempfile::tempdir().expect("a folder");
        let log = Log::new(ORIGIN, size, "a");
        let folder = log.write(dir.path());
        let verified = check(&folder).unwrap_or_else(|finding| panic!("{size}: {finding}"));
        assert_eq!(verified.checkpoint, log.checkpoint(size));
        assert_eq!(verified.counts.values().sum::<u64>(), size);
        assert_eq!(verified.counts.get(&Kind::Place).copied().unwrap_or(0), size.saturating_sub(2));
        assert_eq!(verified.minutes.is_some(), size > 0);
        assert!(!verified.key_by_policy && !verified.sealed);
        let read = folder.entries(size, 0, u64::MAX).map(|entry| entry.expect("an entry").1);
        assert_eq!(read.collect::<Vec<_>>(), log.entries, "{size}");
    }
}

#[test]
fn the_folder_holds_what_the_format_names() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = Log::new(ORIGIN, 70_000, "a");
    log.write(dir.path());
    let mut wanted = vec!["checkpoint".to_owned(), "vkey".to_owned()];
    for level in 0..3 {
        let tiles = (0..).map_while(|index| TileId::of_size(level, index, 70_000));
        wanted.extend(tiles.map(|tile| tile.path()));
    }
    let bundles = (0..).map_while(|index| BundleId::of_size(index, 70_000));
    wanted.extend(bundles.map(|bundle| bundle.path()));
    wanted.sort();
    assert_eq!(files(dir.path()), wanted);
}

/// Flips one bit of a file, and gives back what was there.
fn flip(path: &Path, bit: u64) -> Vec<u8> {
    let before = std::fs::read(path).expect("a file");
    let mut bytes = before.clone();
    let bit = usize::try_from(bit).expect("a place") % (bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
    std::fs::write(path, bytes).expect("room");
    before
}

/// Flips `flips` bits, one after the other, in files drawn from `log`'s folder.
fn every_flip_is_found(size: u64, flips: u64, seed: u64) {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = Log::new(ORIGIN, size, "a").write(dir.path());
    let all = files(dir.path());
    // Each kind of file is drawn as often as any other, however many of it there are.
    let kinds = ["checkpoint", "vkey", "tile/entries/", "tile/0/", "tile/1/", "tile/2/"];
    let mut dice = Dice(seed);
    for turn in 0..flips {
        let kind = kinds[usize::try_from(turn).expect("a turn") % kinds.len()];
        let of_kind: Vec<&String> = all.iter().filter(|file| file.starts_with(kind)).collect();
        if of_kind.is_empty() {
            continue;
        }
        let count = u64::try_from(of_kind.len()).expect("a count");
        let file = of_kind[usize::try_from(dice.below(count)).expect("a place")];
        let path = dir.path().join(file);
        let before = flip(&path, dice.next());
        let found = check(&folder).expect_err("a flipped bit");
        assert_eq!(found.file(), file, "{found}");
        assert!(found.to_string().starts_with(file.as_str()), "{found}");
        std::fs::write(&path, before).expect("room");
    }
    check(&folder).expect("what it was before");
}

#[test]
fn every_flipped_bit_is_found_where_it_is() {
    every_flip_is_found(1000, 470, 1);
    every_flip_is_found(70_000, 30, 2);
}

#[test]
fn what_is_missing_or_cut_is_found_where_it_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = Log::new(ORIGIN, 1000, "a").write(dir.path());
    for file in files(dir.path()) {
        let path = dir.path().join(&file);
        let bytes = std::fs::read(&path).expect("a file");
        let mut damaged = vec![bytes[..bytes.len() - 1].to_vec(), Vec::new()];
        damaged.push([bytes.as_slice(), b"x"].concat());
        for other in damaged {
            std::fs::write(&path, &other).expect("room");
            // A key's file may end its line or not: that is the one end that means nothing.
            if file != "vkey" || other.len() + 1 != bytes.len() {
                assert_eq!(check(&folder).expect_err("a damaged file").file(), file);
            }
        }
        std::fs::remove_file(&path).expect("a file");
        let found = check(&folder).expect_err("a missing file");
        assert_eq!(found.to_string(), format!("{file} is missing"));
        std::fs::write(&path, &bytes).expect("room");
    }
    check(&folder).expect("what it was before");
}

#[test]
fn findings_say_what_and_where() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = Log::new(ORIGIN, 70_000, "a").write(dir.path());
    for (file, bit, expect) in [
        ("tile/entries/100", 99, "tile/entries/100 entry 25600 does not match its level 0 tile"),
        ("tile/0/100", 0, "tile/0/100 does not match the tile above it"),
        ("tile/1/000", 0, "tile/1/000 does not match the tile above it"),
        ("tile/2/000.p/1", 0, "tile/2/000.p/1 does not match the checkpoint of 70000 entries"),
        (
            "tile/0/273.p/112",
            256,
            "tile/0/273.p/112 does not match the checkpoint: it has another hash for entry 69889",
        ),
    ] {
        let before = flip(&dir.path().join(file), bit);
        assert_eq!(check(&folder).expect_err("a flipped bit").to_string(), expect);
        std::fs::write(dir.path().join(file), before).expect("room");
    }
    // Both a bundle and its tile are another log's: then the tile above tells.
    let other = tempfile::tempdir().expect("a folder");
    Log::new(ORIGIN, 70_000, "b").write(other.path());
    for file in ["tile/entries/100", "tile/0/100"] {
        std::fs::copy(other.path().join(file), dir.path().join(file)).expect("room");
    }
    let found = check(&folder).expect_err("another log's files").to_string();
    assert_eq!(found, "tile/0/100 does not match the tile above it");
    // All of it, but for the checkpoint.
    let foreign = std::fs::read(dir.path().join("checkpoint")).expect("a file");
    std::fs::write(other.path().join("checkpoint"), foreign).expect("room");
    let found = check(&Folder::at(other.path())).expect_err("another root").to_string();
    assert_eq!(found, "checkpoint: its root is not the one that the entries hash to");
}

/// Signed as they are after GENESIS and MAP, and not what a log may hold.
fn breaks(entries: &[Entry], at: u64, broken: &Broken) {
    let dir = tempfile::tempdir().expect("a folder");
    let log = Log::of(ORIGIN, &[&[taken()], entries].concat());
    let verified = check(&log.write(dir.path())).expect("it is as it was signed");
    let found = &verified.broken[0];
    let file = format!("tile/entries/000.p/{}", log.size());
    assert_eq!(found.to_string(), format!("{file} entry {at} {broken}"));
}

#[test]
fn a_rule_that_signed_entries_break_is_found() {
    let early = Entry { minute: 5, ..taken() };
    breaks(&[early], 2, &Broken::ClockBack { now: 5, before: MINUTE });
    let naming = Entry { earlier: Some(9), ..place(2, "a") };
    breaks(&[place(1, "a"), naming], 3, &Broken::Earlier(9));
    let seal = Entry::new(Kind::Seal, MINUTE);
    breaks(&[place(1, "a"), seal, place(2, "a")], 4, &Broken::AfterSeal);
    breaks(&[crate::support::genesis("x")], 2, &Broken::Genesis);
    let named = MapRef { epoch: 2, digest: [7; 32] };
    let under = Entry { map: Some(named), ..place(1, "a") };
    breaks(&[under], 2, &Broken::OtherMap { named, in_force: Some(MAP) });
    // No entry at all.
    let dir = tempfile::tempdir().expect("a folder");
    let mut log = Log::new(ORIGIN, 3, "a");
    log.entries[2] = b"no entry".to_vec();
    let verified = check(&log.write(dir.path())).expect("it is as it was signed");
    assert_eq!((verified.broken.len(), verified.broken_more), (1, 0));
    assert_eq!(
        verified.broken[0].to_string(),
        "tile/entries/000.p/3 entry 2 is not accepted: unknown format of an entry"
    );
}

#[test]
fn every_broken_rule_is_counted() {
    let dir = tempfile::tempdir().expect("a folder");
    let bad: Vec<Entry> = (0..130).map(|_| crate::support::genesis("x")).collect();
    let verified = check(&Log::of(ORIGIN, &bad).write(dir.path())).expect("as it was signed");
    assert_eq!((verified.broken.len(), verified.broken_more), (100, 30));
}
