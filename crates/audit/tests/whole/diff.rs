//! Two mirrors of one log.

use audit::diff::{Diff, diff};

use crate::support::{Log, ORIGIN};

fn compare(a: &Log, b: &Log) -> Result<Diff, audit::Finding> {
    let (first, second) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a"));
    diff(&a.write(first.path()), &b.write(second.path()))
}

/// Both begin with `same` entries, and have others after that.
fn parted(same: u64, size: u64) -> Log {
    let mut log = Log::new(ORIGIN, size, "b");
    let a = Log::new(ORIGIN, same, "a");
    log.entries[..a.entries.len()].clone_from_slice(&a.entries);
    log
}

#[test]
fn one_that_goes_further_is_no_split_view() {
    let (short, long) = (Log::new(ORIGIN, 300, "a"), Log::new(ORIGIN, 1000, "a"));
    assert_eq!(compare(&long, &long), Ok(Diff::Same(long.checkpoint(1000))));
    let further = |second_is_longer| Diff::Extends { second_is_longer, from: 300, to: 1000 };
    assert_eq!(compare(&short, &long), Ok(further(true)));
    assert_eq!(compare(&long, &short), Ok(further(false)));
    let empty = Log::new(ORIGIN, 0, "a");
    let further = Diff::Extends { second_is_longer: true, from: 0, to: 300 };
    assert_eq!(compare(&empty, &short), Ok(further));
}

#[test]
fn a_split_view_is_shown_with_its_first_entry_and_both_notes() {
    let log = Log::new(ORIGIN, 1000, "a");
    // Every log begins with GENESIS and MAP.
    for same in [2, 255, 256, 257, 700, 999] {
        for size in [1000, 1500] {
            let other = parted(same, size);
            let Ok(Diff::SplitView(split)) = compare(&log, &other) else {
                panic!("{same} {size}: no split view")
            };
            assert_eq!(split.first, Some(same), "{size}");
            assert_eq!(split.notes, [log.note(1000), other.note(size)]);
        }
    }
}

#[test]
fn two_logs_are_not_compared() {
    let other = Log::new("test/ru-msk/b/1", 10, "a");
    let error = compare(&Log::new(ORIGIN, 10, "a"), &other).expect_err("two logs");
    assert!(error.to_string().starts_with("they are of two logs: test/ru-msk/a/1 "), "{error}");
}
