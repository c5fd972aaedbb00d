//! Log against store: counts, and samples both ways.

use audit::reconcile::{Error, Logs, Question, Reconciled, reconcile};
use client::api;
use ledger::Statement;
use ledger::entry::{Detail, Entry, Kind};
use ledger::statement::{commitment, content_digest};
use tempfile::TempDir;

use crate::support::{Log, MINUTE, ORIGIN, call, copy_drop, copy_in, place};

const NEXT: &str = "test/ru-msk/a/2";

/// What the store holds for write `n`.
fn held(n: u8) -> ([u8; 32], Vec<u8>) {
    let opening = [n; 32];
    let digest = content_digest(&opening, b"body");
    let subject = format!("s{n}");
    let (tenant, subject, collection, key) = ("t", subject.as_str(), "profile", "main");
    let statement = Statement { tenant, subject, collection, key, version: u64::from(n), digest };
    (opening, statement.encode())
}

/// Write `n`, of that kind.
fn write(kind: Kind, n: u8, earlier: Option<u64>) -> Entry {
    let (opening, statement) = held(n);
    let commitment = Some(commitment(&opening, &statement));
    let ruled = if kind == Kind::Delete { call(kind, MINUTE) } else { place(0, "") };
    Entry { kind, earlier, commitment, ..ruled }
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
    Log::of(ORIGIN, &first).write(&dir.path().join("ru-msk.a.1"));
    let second = [
        write(Kind::Place, 11, None),
        write(Kind::Place, 12, None),
        write(Kind::Place, 13, None),
        write(Kind::Replace, 14, Some(1)),
        write(Kind::Delete, 15, Some(3)),
    ];
    Log::of(NEXT, &second).write(&dir.path().join("ru-msk.a.2"));
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

/// The question for those entries, and for as many records as the answer names.
fn question(asked: &[u64], answer: &api::LedgerReconcile) -> Question {
    Question {
        origin: NEXT.to_owned(),
        size: 3,
        indexes: asked.to_vec(),
        rows: u32::try_from(answer.rows.len()).expect("a few"),
        seed: 1,
    }
}

fn compare(asked: &[u64], answer: &api::LedgerReconcile) -> Reconciled {
    reconcile(&logs().1, &question(asked, answer), answer).expect("an answer")
}

fn findings(asked: &[u64], answer: &api::LedgerReconcile) -> Vec<String> {
    compare(asked, answer).findings.iter().map(ToString::to_string).collect()
}

#[test]
fn the_count_is_over_all_periods() {
    let done = compare(&[], &answer());
    assert_eq!((done.records, done.expected, done.spread), (3, 3, 0));
    assert!(done.findings.is_empty());
    assert_eq!(done.verdict(), "agree, with 1 entries of sealed periods not sampled");
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
    Log::of(ORIGIN, &[write(Kind::Place, 1, None)]).write(&dir.path().join("ru-msk.a.1"));
    let mut delete = write(Kind::Delete, 2, None);
    delete.details.insert(0, Detail::Peer { origin: ORIGIN.to_owned(), index: 1 });
    let mut erase = Entry::new(Kind::Erase, 29_000_000);
    erase.tenant_tag = Some([3; 16]);
    erase.details.push(Detail::Count(2));
    let entries = [write(Kind::Place, 3, None), write(Kind::Place, 4, None), delete, erase];
    Log::of(NEXT, &entries).write(&dir.path().join("ru-msk.a.2"));
    let logs = Logs::of_shard(dir.path(), NEXT).expect("two logs");
    let of = |start_size, records| api::LedgerReconcile {
        records,
        size: 5,
        start_size,
        origin: NEXT.to_owned(),
        opened: vec![opened(NEXT, 1, None)],
        rows: vec![opened(ORIGIN, 1, Some(1))],
        copies: None,
    };
    let ask = |answer: &api::LedgerReconcile| reconcile(&logs, &question(&[1], answer), answer);
    let done = ask(&of(5, 1)).expect("an answer");
    assert_eq!((done.expected, done.spread, done.perhaps_erased), (0, 0, 1));
    assert_eq!(done.findings[0].to_string(), "the store has 1 records; by the log, it must have 0");
    let text = "a record names test/ru-msk/a/1 entry 1, and entry 3 of test/ru-msk/a/2 says DELETE \
                of it";
    assert_eq!(done.findings.len(), 2);
    assert_eq!(done.findings[1].to_string(), text);
    // While the shard walked: it may have seen the record before it was deleted.
    let done = ask(&of(3, 1)).expect("an answer");
    assert_eq!((done.expected, done.spread, done.findings.len()), (3, 3, 0));
    assert_eq!((done.rows, done.rows_superseded), (1, 1));
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
    for good in [opened(ORIGIN, 2, Some(2)), opened(NEXT, 4, Some(14))] {
        let done = compare(&[], &of(vec![good]));
        assert_eq!((done.rows, done.findings.len()), (1, 0));
    }
    for (row, what) in [
        (opened(NEXT, 2, Some(13)), "the entry commits to another statement"),
        (opened(NEXT, 1, Some(11)), "and entry 4 of test/ru-msk/a/2 says REPLACE of it"),
        (opened(NEXT, 5, Some(15)), "which is DELETE and no write of a record"),
        (opened(NEXT, 6, Some(1)), "which that log does not have"),
        (opened("test/\u{1b}/a/9", 1, Some(1)), "a log that is not mirrored"),
    ] {
        let origin = row.origin.replace('\u{1b}', "\\u001b");
        let text = format!("a record names {origin} entry {}, {what}", row.index);
        assert_eq!(findings(&[], &of(vec![row])), [text]);
    }
}

#[test]
fn an_answer_beyond_the_mirror_is_not_judged() {
    let ask = |answer: &api::LedgerReconcile| reconcile(&logs().1, &question(&[], answer), answer);
    let behind = ask(&api::LedgerReconcile { size: 7, ..answer() });
    assert!(matches!(behind, Err(Error::Behind { size: 7, .. })));
    let backwards = api::LedgerReconcile { size: 5, ..answer() };
    assert!(matches!(ask(&backwards), Err(Error::Answer(_))));
}

#[test]
fn a_shard_does_not_choose_what_it_is_compared_with() {
    let ask = |answer: &api::LedgerReconcile| reconcile(&logs().1, &question(&[], answer), answer);
    // Nothing is expected of a log that had nothing when the count began.
    let empty = api::LedgerReconcile { records: 0, start_size: 0, ..answer() };
    assert!(matches!(ask(&empty), Err(Error::Older { start: 0, known: 3, .. })));
    let of = |origin: &str| api::LedgerReconcile { origin: origin.to_owned(), ..answer() };
    for origin in [ORIGIN, "", "test/ru-msk/b/2", "test/ru-msk/b/3"] {
        assert!(matches!(ask(&of(origin)), Err(Error::OtherLog(_))), "{origin}");
    }
    assert!(matches!(ask(&of("test/ru-msk/a/3")), Err(Error::NewPeriod(_))));
}

#[test]
fn records_must_be_as_many_as_were_asked_for_and_each_another_one() {
    let (good, other) = (opened(ORIGIN, 2, Some(2)), opened(NEXT, 4, Some(14)));
    let of = |rows: Vec<api::OpenedEntry>, wanted| {
        let answer = api::LedgerReconcile { rows, ..answer() };
        let question = Question { rows: wanted, ..question(&[], &answer) };
        reconcile(&logs().1, &question, &answer)
    };
    let said = |rows, wanted| -> Vec<String> {
        let done = of(rows, wanted).expect("an answer");
        done.findings.iter().map(ToString::to_string).collect()
    };
    let few = |got, wanted| {
        vec![format!(
            "the shard has named {got} records; of those that it counts, it must name {wanted}"
        )]
    };
    assert_eq!(said(Vec::new(), 2), few(0, 2));
    assert_eq!(said(vec![good.clone(), other.clone()], 100), few(2, 3));
    assert!(matches!(of(vec![good.clone(), other], 1), Err(Error::Answer(_))));
    let twice = said(vec![good.clone(), good], 2);
    assert_eq!(twice.len(), 1);
    assert!(twice[0].ends_with("another one of those that are named is the same record"));
    let more = api::LedgerReconcile { opened: vec![opened(NEXT, 2, Some(12)); 2], ..answer() };
    let more = reconcile(&logs().1, &question(&[2], &more), &more);
    assert!(matches!(more, Err(Error::Answer(_))));
}

/// What is wrong with a log of those entries.
fn of_log(entries: &[Entry], asked: &[u64], records: u64) -> (Reconciled, Vec<String>) {
    let dir = tempfile::tempdir().expect("a folder");
    let log = Log::of(NEXT, entries);
    log.write(&dir.path().join("ru-msk.a.2"));
    let logs = Logs::of_shard(dir.path(), NEXT).expect("a log");
    let size = log.size();
    let opened = asked.iter().map(|index| opened(NEXT, *index, None)).collect();
    let answer =
        api::LedgerReconcile { records, size, start_size: size, opened, rows: vec![], ..answer() };
    let done = reconcile(&logs, &question(asked, &answer), &answer).expect("an answer");
    let said = done.findings.iter().map(ToString::to_string).collect();
    (done, said)
}

#[test]
fn a_delete_that_takes_nothing_away_is_a_finding() {
    let (one, two) = (write(Kind::Place, 1, None), write(Kind::Place, 2, None));
    let nothing = "of something that is no write, or was taken away before";
    for (delete, what) in [
        (write(Kind::Delete, 3, None), "and names no write whose record it takes away"),
        (write(Kind::Expire, 3, Some(0)), nothing),
        (write(Kind::MoveOut, 3, Some(9)), nothing),
        (write(Kind::Replace, 3, Some(3)), nothing),
    ] {
        let kind = delete.kind;
        let records = if kind == Kind::Replace { 2 } else { 1 };
        let (_, said) = of_log(&[one.clone(), two.clone(), delete], &[], records);
        assert_eq!(said, [format!("test/ru-msk/a/2 entry 3 is {kind} {what}")]);
    }
    let delete = write(Kind::Delete, 3, Some(1));
    let (_, said) = of_log(&[one, two, delete.clone(), delete], &[], 0);
    assert_eq!(said, [format!("test/ru-msk/a/2 entry 4 is DELETE {nothing}")]);
}

#[test]
fn a_slot_that_goes_takes_what_is_said_before_it() {
    let placed = [write(Kind::Place, 1, None), write(Kind::Place, 2, None)];
    let mut records = call(Kind::MoveOut, MINUTE);
    records.details = vec![Detail::Count(2)];
    let of_slot = Entry { tenant_tag: None, collection: None, ..call(Kind::MoveOut, MINUTE) };
    let (done, said) = of_log(&[&placed[..], &[records, of_slot.clone()]].concat(), &[], 0);
    assert_eq!((done.expected, said.len()), (0, 0), "{said:?}");
    // One that counts records says whose they are.
    let counted = Entry { details: vec![Detail::Count(2)], ..of_slot };
    let (_, said) = of_log(&[&placed[..], &[counted]].concat(), &[], 0);
    assert_eq!(said, [format!("{NEXT} entry 3 is MOVE_OUT and does not say of which tenant")]);
}

#[test]
fn copies_are_counted_apart_from_records() {
    let home = "test/kz-ala/a/1";
    let came = |index, replaces| copy_in(MINUTE, (home, index), replaces);
    let gone = |one, count| copy_drop(MINUTE, one, count);
    let log = [write(Kind::Place, 1, None), came(5, None), came(6, Some(2)), came(7, None)];
    let after = |more: &[Entry]| [&log[..], more].concat();
    let (done, said) = of_log(&log, &[], 1);
    assert_eq!((done.expected, done.copies, said.len()), (1, 2, 0), "{said:?}");
    let (done, said) = of_log(&after(&[gone(Some(3), None)]), &[], 1);
    assert_eq!((done.copies, said.len()), (1, 0), "{said:?}");
    let (done, said) = of_log(&after(&[gone(None, Some(2))]), &[], 1);
    assert_eq!((done.copies, said.len()), (0, 0), "{said:?}");
    let (_, said) = of_log(&after(&[gone(Some(2), None)]), &[], 1);
    let text = "entry 5 is COPY_DROP of a copy that never came, or was removed before";
    assert_eq!(said, [format!("{NEXT} {text}")]);
    let (_, said) = of_log(&after(&[gone(None, Some(3))]), &[], 1);
    assert_eq!(said, ["by the log, more copies were removed than ever came"]);
}

#[test]
fn the_store_has_the_copies_of_the_log() {
    let dir = tempfile::tempdir().expect("a folder");
    let came = |index| copy_in(MINUTE, ("test/kz-ala/a/1", index), None);
    let log = [came(5), came(6), came(7), copy_drop(MINUTE, None, Some(2)), came(8)];
    Log::of(NEXT, &log).write(&dir.path().join("ru-msk.a.2"));
    let logs = Logs::of_shard(dir.path(), NEXT).expect("a log");
    let ask = |start_size, copies| {
        let answer = api::LedgerReconcile { records: 0, size: 6, start_size, copies, ..answer() };
        let question = Question { size: start_size, ..question(&[], &answer) };
        let done = reconcile(&logs, &question, &answer).expect("an answer");
        (done.copies, done.findings.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(ask(6, Some(2)), (2, vec![]));
    // A shard of before does not count them.
    assert_eq!(ask(6, None), (2, vec![]));
    for held in [1, 3] {
        let text = format!("the store has {held} copies; by the log, it must have 2 to 2");
        assert_eq!(ask(6, Some(held)), (2, vec![text]));
    }
    // While the shard walked, two went and one came.
    for held in 1..=4 {
        assert_eq!(ask(4, Some(held)), (3, vec![]));
    }
    assert_eq!((ask(4, Some(0)).1.len(), ask(4, Some(5)).1.len()), (1, 1));
}

#[test]
fn a_copy_of_an_earlier_period_goes_in_a_later_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let came = copy_in(MINUTE, ("test/kz-ala/a/1", 5), None);
    Log::of(ORIGIN, &[came]).write(&dir.path().join("ru-msk.a.1"));
    let mut gone = copy_drop(MINUTE, None, None);
    gone.say(Detail::Peer { origin: ORIGIN.to_owned(), index: 1 });
    Log::of(NEXT, &[gone.clone(), gone]).write(&dir.path().join("ru-msk.a.2"));
    let logs = Logs::of_shard(dir.path(), NEXT).expect("two logs");
    let ask = |size| {
        let answer = api::LedgerReconcile { records: 0, size, start_size: size, ..answer() };
        let question = Question { size, ..question(&[], &answer) };
        reconcile(&logs, &question, &answer).expect("an answer")
    };
    let done = ask(2);
    assert_eq!((done.copies, done.findings.len()), (0, 0), "{:?}", done.findings);
    // It goes once.
    assert_eq!(ask(3).findings.len(), 2);
}

#[test]
fn an_erasure_excuses_its_tenant_s_entries_up_to_its_count() {
    let erase = |tenant: Option<u8>, count| {
        let mut entry = Entry::new(Kind::Erase, 29_000_000);
        entry.tenant_tag = tenant.map(|tag| [tag; 16]);
        entry.details.push(Detail::Count(count));
        entry
    };
    let writes = |erase| {
        let mut entries: Vec<Entry> = (1..4).map(|n| write(Kind::Place, n, None)).collect();
        entries.insert(2, erase);
        entries
    };
    let (done, said) = of_log(&writes(erase(Some(3), 1)), &[1, 2], 2);
    assert_eq!((done.perhaps_erased, said.len()), (1, 1), "{said:?}");
    assert!(said[0].starts_with("test/ru-msk/a/2 entry 1 has no opening"), "{said:?}");
    let (done, said) = of_log(&writes(erase(Some(3), 2)), &[1, 2], 1);
    assert_eq!((done.perhaps_erased, said.len()), (2, 0), "{said:?}");
    // Not what comes after it, not another tenant's, and nobody's if it does not say whose.
    assert_eq!(of_log(&writes(erase(Some(3), 1)), &[4], 2).1.len(), 1);
    assert_eq!(of_log(&writes(erase(Some(4), 1)), &[1], 2).1.len(), 1);
    let (_, said) = of_log(&writes(erase(None, 1)), &[1], 2);
    assert_eq!(said[0], "test/ru-msk/a/2 entry 3 is ERASE and does not say of which tenant");
    assert_eq!(said.len(), 2);
}

#[test]
fn what_comes_after_the_answer_excuses_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let entries = [write(Kind::Place, 1, None), write(Kind::Delete, 2, Some(1))];
    Log::of(NEXT, &entries).write(&dir.path().join("ru-msk.a.2"));
    let logs = Logs::of_shard(dir.path(), NEXT).expect("a log");
    let opened = vec![opened(NEXT, 1, None)];
    let answer = api::LedgerReconcile { records: 1, size: 2, start_size: 2, opened, ..answer() };
    let asked = Question { size: 2, ..question(&[1], &answer) };
    let done = reconcile(&logs, &asked, &answer).expect("an answer");
    assert_eq!((done.superseded, done.findings.len()), (0, 1));
}

#[test]
fn an_entry_that_is_none_keeps_nobody_from_comparing() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut log = Log::of(NEXT, &[write(Kind::Place, 1, None), write(Kind::Place, 2, None)]);
    log.entries.push(b"no entry".to_vec());
    log.write(&dir.path().join("ru-msk.a.2"));
    let logs = Logs::of_shard(dir.path(), NEXT).expect("a log");
    assert_eq!(logs.draw(9, 1).expect("entries"), [1, 2]);
    let answer = api::LedgerReconcile { records: 2, size: 4, start_size: 4, ..answer() };
    let done = reconcile(&logs, &question(&[], &answer), &answer).expect("an answer");
    assert_eq!((done.expected, done.findings.len()), (2, 1));
    let text = "test/ru-msk/a/2 entry 3 is not accepted: unknown format of an entry";
    assert_eq!(done.findings[0].to_string(), text);
}

#[test]
fn each_log_has_a_draw_of_its_own() {
    let (_dir, logs) = logs();
    let question = Question::draw(&logs, 2, 7).expect("a question");
    assert_eq!((question.origin.as_str(), question.size, question.rows), (NEXT, 6, 2));
    assert_eq!(question, Question::draw(&logs, 2, 7).expect("a question"));
    assert_ne!(question.seed, 7);
    assert_eq!(question.message().indexes, [2, 4]);
}
