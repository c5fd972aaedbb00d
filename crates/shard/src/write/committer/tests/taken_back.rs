//! A command that fails has added nothing, whatever it had done before it failed; and what an erasure
//! notes of requests costs later writes nothing.

use super::*;

#[test]
fn an_erasure_that_meets_a_damaged_record_leaves_all_of_them() {
    for collection in [None, Some("profiles")] {
        let mut stage = Stage::new(&Disk::new(1));
        let node = Arc::clone(&stage.committer.node);
        for (n, key) in [(1, "a"), (2, "b"), (3, "c")] {
            let put = stage.put_at(record(&node, "profiles", key), n, findings(0), b"body");
            assert_eq!(stage.does(Action::Put(Box::new(put))), "written");
        }
        // The last of its rows: what comes before it is taken first.
        let before = rows_of(&node, 0x10);
        let (last, _) = before.last().expect("a head").clone();
        let (mut batch, head) = (Batch::new(), node.engine.head().expect("a head"));
        batch.put(last, vec![1, 2, 3]);
        node.engine.commit(batch, head, head.size).expect("a commit");
        assert_eq!(stage.does(erase(&node, collection, 200)), "STORED_DATA_DAMAGED");
        let keys = |rows: Vec<(engine::Key, engine::Value)>| {
            rows.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        assert_eq!(keys(rows_of(&node, 0x10)), keys(before), "{collection:?}");
        assert_eq!((node.metrics.entries.get(), node.engine.head().expect("a head")), (3, head));
        assert!(rows_of(&node, 0x15).is_empty());
    }
}

#[test]
fn entries_that_are_taken_back_leave_the_log_as_if_they_had_never_been() {
    let stage = Stage::new(&Disk::new(1));
    let Committer { node, log, rules, .. } = &stage.committer;
    let growing = node.growing();
    let entries = || {
        let map = rules.map_ref();
        GroupEntries::new(node, &growing, map, Minute(1), Draft::new(log))
    };
    let (mut with, mut without) = (entries(), entries());
    let asker = asker(Role::Writer, Some(here()));
    let add = |of: &mut GroupEntries<'_>, collection: &str| {
        let entry = of.entry(ledger::entry::Kind::Read, &asker, collection);
        of.append(&entry).expect("room");
    };
    for n in 0..5 {
        add(&mut with, "profiles");
        add(&mut without, "profiles");
        let mark = with.mark();
        // More than a tile, so that one is finished and taken back.
        for _ in 0..300 * n {
            add(&mut with, "messages");
        }
        with.back_to(mark).expect("sound");
    }
    let end = |entries: GroupEntries<'_>| {
        let mut batch = Batch::new();
        let (edge, size) = entries.into_draft().finish(&mut batch, UnixMillis(9));
        (edge.root(), edge.peaks().to_vec(), size, batch.len(), batch.bytes())
    };
    assert_eq!(end(with), end(without));
}

#[test]
fn a_put_after_an_erasure_reads_one_row_of_what_that_noted() {
    let disk = Disk::new(1);
    let mut stage = Stage::new(&disk);
    let node = Arc::clone(&stage.committer.node);
    let at = |n: u8| record(&node, "profiles", &format!("k{n}"));
    for n in 1..=150 {
        let put = stage.put_at(at(n), n, findings(0), b"body");
        assert_eq!(stage.does(Action::Put(Box::new(put))), "written");
    }
    assert_eq!(stage.does(erase(&node, Some("profiles"), 200)), "written");
    assert_eq!(rows_of(&node, 0x15).len(), 150);
    let put =
        |stage: &Stage, n: u8| Action::Put(Box::new(stage.put_at(at(n), n, findings(0), b"b")));
    let (late, new) = (put(&stage, 77), put(&stage, 201));
    let before = disk.rows_read();
    assert_eq!(stage.does(late), "COLLECTION_ERASED");
    assert_eq!(stage.does(new), "written");
    let read = disk.rows_read() - before;
    assert!(read <= 8, "{read} rows were read for two puts");
    // All of it goes with the subject.
    assert_eq!(stage.does(erase(&node, None, 202)), "written");
    assert!(rows_of(&node, 0x15).is_empty());
}

/// What an erasure answers: how many records, and whether there is more to do.
fn erases(stage: &mut Stage, collection: Option<&str>, n: u8, dry: bool) -> (u64, bool) {
    let Action::Erase(mut of) = erase(&stage.committer.node, collection, n) else {
        panic!("an erasure")
    };
    of.validate_only = dry;
    let mut ops = VecDeque::from([stage.op(0, Action::Erase(of))]);
    stage.committer.commit(&mut ops, false).expect("a commit");
    let answer = stage.answers.recv().expect("an answer").1;
    let Outcome::Written(written) = &answer else { panic!("{}", said(&answer)) };
    (written.records, written.unfinished)
}

#[test]
fn no_commit_takes_more_than_a_part_of_a_large_erasure() {
    const AT_ONCE: u64 = 4_096;
    const RECORDS: u64 = AT_ONCE + 100;
    let mut stage = Stage::new(&Disk::new(1));
    let node = Arc::clone(&stage.committer.node);
    for first in (0..RECORDS).step_by(64) {
        let put = |n: u64| {
            let at = record(&node, "profiles", &format!("k{n}"));
            let mut put = stage.put_at(at, 1, findings(0), b"body");
            put.request.id[..8].copy_from_slice(&n.to_be_bytes());
            stage.op(1, Action::Put(Box::new(put)))
        };
        let mut ops: VecDeque<_> = (first..RECORDS.min(first + 64)).map(put).collect();
        stage.committer.commit(&mut ops, false).expect("a commit");
        assert!(ops.is_empty());
    }
    let written = stage.answers.try_iter().filter(|(_, done)| said(done) == "written").count();
    assert_eq!(u64::try_from(written), Ok(RECORDS));
    // A dry run counts as far as one commit would go.
    assert_eq!(erases(&mut stage, None, 200, true), (AT_ONCE, false));
    assert_eq!(erases(&mut stage, Some("profiles"), 200, false), (AT_ONCE, true));
    assert_eq!(erases(&mut stage, Some("profiles"), 200, false), (RECORDS, false));
    assert_eq!(rows_of(&node, 0x15).len(), usize::try_from(RECORDS).expect("small"));
    // What was noted of requests is taken in parts, too, and meanwhile the subject is refused.
    assert_eq!(erases(&mut stage, None, 201, false), (0, true));
    let put = stage.a_put("anna", 202, findings(0), b"body");
    assert_eq!(stage.does(Action::Put(Box::new(put))), "SUBJECT_ERASED");
    assert_eq!(erases(&mut stage, None, 201, false), (0, false));
    assert!(rows_of(&node, 0x15).is_empty());
}
