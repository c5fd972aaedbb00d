//! The engine in memory, and what its disk can be made to do.

use super::*;

const FAULTS: [Fault; 3] = [Fault::Crash, Fault::FlushFails, Fault::ReplyLost];

fn batch(n: u8) -> Batch {
    let mut batch = Batch::new();
    for row in 0..4 {
        batch.put([n, row], [n; 8]);
    }
    batch
}

fn rows(engine: &dyn Engine) -> Vec<(Key, Value)> {
    let limit = ScanLimit { rows: usize::MAX, bytes: usize::MAX };
    engine.scan(&Span::all(), Order::Ascending, limit).unwrap().rows
}

#[test]
fn a_fault_leaves_the_batch_whole_or_absent_and_the_opening_dead() {
    let mut kept = 0;
    for seed in 0..200 {
        for fault in FAULTS {
            let disk = Disk::new(seed);
            let engine = Memory::open(&disk);
            let head = engine.head().unwrap();
            engine.commit(batch(1), head, 1).unwrap();
            disk.fail_next(fault);
            let head = engine.head().unwrap();
            assert!(matches!(engine.commit(batch(2), head, 2), Err(Error::Unknown { .. })));
            assert_eq!(engine.head(), Err(Error::Poisoned));
            assert_eq!(engine.get_many(&[b"a"]), Err(Error::Poisoned));
            let again = Memory::open(&disk);
            let found = rows(&again).len();
            assert!(found == 4 || found == 8, "seed {seed}, {fault:?}");
            assert_eq!(again.head().unwrap().size, found as u64 / 4);
            assert!(fault != Fault::ReplyLost || found == 8);
            kept += usize::from(found == 8 && fault != Fault::ReplyLost);
        }
    }
    assert!((100..300).contains(&kept), "both outcomes happen: {kept} of 400 were kept");
}

#[test]
fn a_full_disk_changes_nothing_and_is_no_poison() {
    let disk = Disk::new(1);
    let engine = Memory::open(&disk);
    let head = engine.head().unwrap();
    disk.fail_next(Fault::Full);
    assert!(matches!(engine.commit(batch(1), head, 1), Err(Error::Full { .. })));
    assert!(rows(&engine).is_empty());
    assert_eq!(engine.commit(batch(1), head, 1), Ok(()));
}

#[test]
fn a_crash_ends_every_opening() {
    let disk = Disk::new(1);
    let engine = Memory::open(&disk);
    let head = engine.head().unwrap();
    engine.commit(batch(1), head, 1).unwrap();
    disk.crash();
    assert_eq!(engine.head(), Err(Error::Poisoned));
    assert_eq!(rows(&Memory::open(&disk)).len(), 4);
}

#[test]
fn a_read_that_fails_is_no_poison() {
    let disk = Disk::new(1);
    let engine = Memory::open(&disk);
    disk.fail_reads(2);
    for _ in 0..2 {
        assert!(matches!(engine.get_many(&[b"a"]), Err(Error::Io { .. })));
    }
    assert_eq!(engine.get_many(&[b"a"]), Ok(vec![None]));
}

#[test]
fn an_opening_that_may_is_opened_again_and_its_head_tells_what_was_done() {
    let mut sizes = [0, 0];
    for seed in 0..50 {
        for fault in FAULTS {
            let disk = Disk::new(seed);
            let engine = Memory::open(&disk);
            disk.fail_next(fault);
            let head = engine.head().unwrap();
            assert!(engine.commit(batch(1), head, 1).is_err());
            assert_eq!(engine.reopen(), Err(Error::Poisoned));
            disk.let_reopen();
            let again = engine.reopen().unwrap();
            assert_eq!((again, again.term), (engine.head().unwrap(), head.term + 1));
            assert_eq!(rows(&engine).len() as u64, again.size * 4);
            sizes[usize::from(again.size == 1)] += 1;
            // A commit of before, should it come late, changes nothing.
            let found = again;
            assert_eq!(engine.commit(batch(2), head, 1), Err(Error::HeadMoved { found }));
            engine.commit(batch(2), again, again.size + 1).unwrap();
            // Another opening has come: this one must not take the store back.
            let other = Memory::open(&disk);
            assert!(matches!(engine.reopen(), Err(Error::HeadMoved { .. })));
            assert!(other.head().is_ok());
        }
    }
    assert!(sizes.iter().all(|count| *count > 20), "both outcomes happen: {sizes:?}");
}

#[test]
fn the_same_seed_gives_the_same_faults() {
    let run = |seed| {
        let disk = Disk::new(seed);
        disk.set_chances(Chances { crash: 100, flush_fails: 100, reply_lost: 100, full: 100 });
        let mut engine = Memory::open(&disk);
        let mut outcomes = Vec::new();
        for n in 0..100 {
            if engine.head().is_err() {
                engine = Memory::open(&disk);
            }
            let head = engine.head().unwrap();
            outcomes.push(engine.commit(batch(n), head, head.size + 1).err());
        }
        (outcomes, disk.head())
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).0, run(8).0);
    let faults = run(7).0.iter().flatten().count();
    assert!((20..60).contains(&faults), "{faults} faults in 100 commits");
}
