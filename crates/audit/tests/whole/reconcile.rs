//! Log against store: counts, and samples both ways.

use audit::reconcile::{Error, Logs, Reconciled, reconcile};
use client::api;
use ledger::Statement;
use ledger::entry::{Detail, Entry, Kind};
use ledger::statement::{commitment, content_digest};
use tempfile::TempDir;

use crate::support::{Log, ORIGIN, place};

const NEXT: &str = "test/ru-msk/a/2";

/// What the store holds for write `n`.
fn held(n: u8) -> ([u8; 32], Vec<u8>) {
    let opening = [n; 32];
    let digest = content_digest(&opening, b"body");
    let (tenant, subject, collection, key) = ("t", "s", "profile", "main");
    let statement = Statement { tenant, subject, collection, key, version: u64::from(n), digest };
    (opening, statement.encode())
}

/// Write `n`, of that kind.
fn write(kind: Kind, n: u8, earlier: Option<u64>) -> Entry {
    let (opening, statement) = held(n);
    let commitment = Some(commitment(&opening, &statement));
    Entry { kind, earlier, commitment, ..place(0, "") }
}

fn opened(origin: &str, index: u64, n: Option<u8>) -> api::OpenedEntry {
    let (opening, statement) = n.map_or_else(Default::default, |n| {
        let (opening, statement) = held(n);
        (opening.to_vec(), statement)
    });
    let origin = origin.to_owned();
    api::OpenedEntry { origin, index, opening: opening.into(), statement: statement.into() }
}

/// Two periods: of the first, one record is left (entry 2); of the second, those of entries 1
/// (replaced by 4) and 2, and none of entry 3.
fn logs() -> (TempDir, Logs) {
    let dir = tempfile::tempdir().expect("a folder");
    let first =
        [write(Kind::Place, 1, None), write(Kind::Place, 2, None), write(Kind::Delete, 3, Some(1))];
    Log::of(ORIGIN, &first).write(&dir.path().join("ru-msk-a-1"));
    let second = [
        write(Kind::Place, 11, None),
        write(Kind::Place, 12, None),
        write(Kind::Place, 13, None),
        write(Kind::Replace, 14, Some(1)),
        write(Kind::Delete, 15, Some(3)),
    ];
    Log::of(NEXT, &second).write(&dir.path().join("ru-msk-a-2"));
    let logs = Logs::of_shard(dir.path(), NEXT).expect("two logs");
    (dir, logs)
}

fn answer() -> api::LedgerReconcile {
    api::LedgerReconcile {
        records: 3,
        size: 6,
        start_size: 6,
        origin: NEXT.to_owned(),
        ..Default::default()
    }
}

fn compare(asked: &[u64], answer: &api::LedgerReconcile) -> Reconciled {
    reconcile(&logs().1, asked, answer).expect("an answer")
}

fn findings(asked: &[u64], answer: &api::LedgerReconcile) -> Vec<String> {
    compare(asked, answer).findings.iter().map(ToString::to_string).collect()
}

#[test]
fn the_count_is_over_all_periods() {
    let done = compare(&[], &answer());
    assert_eq!((done.records, done.expected, done.spread), (3, 3, 0));
    assert!(done.findings.is_empty());
    for records in [2, 4] {
        let text = format!("the store has {records} records; by the log, it must have 3");
        assert_eq!(findings(&[], &api::LedgerReconcile { records, ..answer() }), [text]);
    }
    // While the shard walked, entry 4 replaced a record of before, and 5 deleted one: four were
    // there when it began, and it saw any two to four of them.
    let walked = |records| api::LedgerReconcile { records, start_size: 4, ..answer() };
    for records in 2..=4 {
        let done = compare(&[], &walked(records));
        assert_eq!((done.expected, done.spread, done.findings.len()), (4, 2, 0));
    }
    let text = "the store has 1 records; by the log, it must have 2 to 4";
    assert_eq!(findings(&[], &walked(1)), [text]);
    assert_eq!(findings(&[], &walked(5)).len(), 1);
}

#[test]
fn what_a_write_of_another_period_takes_away_is_counted() {
    let dir = tempfile::tempdir().expect("a folder");
    Log::of(ORIGIN, &[write(Kind::Place, 1, None)]).write(&dir.path().join("ru-msk-a-1"));
    let mut delete = write(Kind::Delete, 2, None);
    delete.details.insert(0, Detail::Peer { origin: ORIGIN.to_owned(), index: 1 });
    let mut erase = Entry::new(Kind::Erase, 29_000_000);
    erase.details.push(Detail::Count(2));
    let entries = [write(Kind::Place, 3, None), write(Kind::Place, 4, None), delete, erase];
    Log::of(NEXT, &entries).write(&dir.path().join("ru-msk-a-2"));
    let logs = Logs::of_shard(dir.path(), NEXT).expect("two logs");
    let of = |start_size| api::LedgerReconcile {
        records: 0,
        size: 5,
        start_size,
        origin: NEXT.to_owned(),
        opened: vec![opened(NEXT, 1, None)],
        rows: vec![opened(ORIGIN, 1, Some(1))],
    };
    let done = reconcile(&logs, &[1], &of(5)).expect("an answer");
    assert_eq!((done.expected, done.spread, done.perhaps_erased), (0, 0, 1));
    let text = "a record names test/ru-msk/a/1 entry 1, and entry 3 of test/ru-msk/a/2 says DELETE \
                of it";
    assert_eq!(done.findings.len(), 1);
    assert_eq!(done.findings[0].to_string(), text);
    let done = reconcile(&logs, &[1], &of(3)).expect("an answer");
    assert_eq!((done.expected, done.spread, done.findings.len()), (3, 3, 0));
}

#[test]
fn a_sample_is_of_entries_that_nothing_supersedes() {
    let (_dir, logs) = logs();
    assert_eq!(logs.growing(), (NEXT, 6));
    assert_eq!(logs.draw(100, 1).expect("entries"), [2, 4]);
    assert_eq!(logs.draw(1, 1).expect("an entry").len(), 1);
    assert_eq!(logs.draw(1, 5).expect("an entry"), logs.draw(1, 5).expect("an entry"));
}

#[test]
fn an_entry_must_be_opened_or_something_says_why_not() {
    let of = |opened: Vec<api::OpenedEntry>| api::LedgerReconcile { opened, ..answer() };
    let good = of(vec![opened(NEXT, 2, Some(12)), opened(NEXT, 4, Some(14))]);
    let done = compare(&[2, 4], &good);
    assert_eq!((done.opened, done.findings.len()), (2, 0));
    // Superseded meanwhile.
    let done = compare(&[1, 3], &of(vec![opened(NEXT, 1, None), opened(NEXT, 3, None)]));
    assert_eq!((done.superseded, done.findings.len()), (2, 0));
    let said = findings(&[2], &of(vec![opened(NEXT, 2, None)]));
    assert!(said[0].starts_with("test/ru-msk/a/2 entry 2 has no opening any more"), "{said:?}");
    let said = findings(&[2], &of(vec![opened(NEXT, 2, Some(13))]));
    let text = "test/ru-msk/a/2 entry 2 was opened, and the entry commits to another statement";
    assert_eq!(said, [text]);
    let said = findings(&[2], &of(vec![opened(NEXT, 4, Some(14))]));
    assert_eq!(said, ["test/ru-msk/a/2 entry 2 was asked for, and another one was answered"]);
    assert_eq!(findings(&[2], &of(Vec::new())).len(), 1);
}

#[test]
fn a_record_must_be_the_entry_that_it_names() {
    let of = |rows: Vec<api::OpenedEntry>| api::LedgerReconcile { rows, ..answer() };
    let good = of(vec![opened(ORIGIN, 2, Some(2)), opened(NEXT, 4, Some(14))]);
    let done = compare(&[], &good);
    assert_eq!((done.rows, done.findings.len()), (2, 0));
    for (row, what) in [
        (opened(NEXT, 2, Some(13)), "the entry commits to another statement"),
        (opened(NEXT, 1, Some(11)), "and entry 4 of test/ru-msk/a/2 says REPLACE of it"),
        (opened(NEXT, 5, Some(15)), "which is DELETE and no write of a record"),
        (opened(NEXT, 6, Some(1)), "which that log does not have"),
        (opened("test/ru-msk/a/9", 1, Some(1)), "a log that is not mirrored"),
    ] {
        let text = format!("a record names {} entry {}, {what}", row.origin, row.index);
        assert_eq!(findings(&[], &of(vec![row])), [text]);
    }
}

#[test]
fn an_answer_beyond_the_mirror_is_not_judged() {
    let behind = reconcile(&logs().1, &[], &api::LedgerReconcile { size: 7, ..answer() });
    assert!(matches!(behind, Err(Error::Behind { size: 7, .. })));
    let other = api::LedgerReconcile { origin: "test/ru-msk/a/3".to_owned(), ..answer() };
    assert!(matches!(reconcile(&logs().1, &[], &other), Err(Error::Behind { .. })));
    let backwards = api::LedgerReconcile { size: 5, ..answer() };
    assert!(matches!(reconcile(&logs().1, &[], &backwards), Err(Error::Answer(_))));
}
