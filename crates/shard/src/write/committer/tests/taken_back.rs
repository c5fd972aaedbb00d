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
