//! The checker refuses histories of shards that break a promise: some made by hand, and real ones of which
//! one answer was changed.

use super::checker::{Event, check};
use super::model::{Ask, Attributes, Body, Change, Model, Record, Seen, Told, Write};
use super::run;

fn body(n: u64) -> Body {
    Body { n, large: false }
}

fn write(request: u64, change: Change) -> Write {
    Write { request, of: request, dry: false, if_version: None, etag: None, change }
}

fn put(n: u64) -> Ask {
    put_until(n, 0)
}

fn put_until(n: u64, expires: u64) -> Ask {
    let attributes = Attributes::new();
    Ask::Write(write(n, Change::Put { body: body(n), attributes, expires }))
}

fn delete(n: u64) -> Ask {
    Ask::Write(write(n, Change::Delete))
}

fn written(version: u64) -> Option<Told> {
    Some(Told::Written { version, replayed: false })
}

fn replayed(version: u64) -> Option<Told> {
    Some(Told::Written { version, replayed: true })
}

fn seen(version: u64, n: u64) -> Option<Told> {
    let attributes = Attributes::new();
    Some(Told::Seen(Seen { version, body: Some(body(n)), attributes, expires: 0 }))
}

fn in_list(version: u64) -> Option<Told> {
    Some(Told::Seen(Seen { version, body: None, attributes: Attributes::new(), expires: 0 }))
}

fn gone() -> Option<Told> {
    Some(Told::Refused("RECORD_NOT_FOUND".to_owned()))
}

fn refused(reason: &str) -> Option<Told> {
    Some(Told::Refused(reason.to_owned()))
}

/// Calls with the beginning and the end of each.
fn accepts(calls: &[(u64, u64, Ask, Option<Told>)]) -> bool {
    let events = calls.iter().cloned();
    let events = events.map(|(from, until, ask, told)| Event { ask, told, from, until });
    check(Model::default(), &Record::new(100), &events.collect::<Vec<_>>()).is_ok()
}

#[test]
fn a_stale_read_is_refused_and_a_concurrent_one_is_not() {
    let two = [(1, 2, put(1), written(1)), (3, 6, put(2), written(2))];
    let reads = |from, until, told| accepts(&[&two[..], &[(from, until, Ask::Get, told)]].concat());
    assert!(reads(4, 5, seen(1, 1)) && reads(4, 5, seen(2, 2)) && reads(7, 8, seen(2, 2)));
    assert!(!reads(7, 8, seen(1, 1)), "stale");
    assert!(!reads(7, 8, seen(2, 1)), "the body of another version");
    assert!(!reads(7, 8, gone()), "not there");
    // Two that follow each other may not go back, even while the write is under way.
    let back = [(4, 5, Ask::Get, seen(2, 2)), (5, 6, Ask::Get, seen(1, 1))];
    assert!(!accepts(&[&two[..], &back].concat()));
}

#[test]
fn a_lost_write_is_refused_and_an_unknown_one_may_have_happened_or_not() {
    let first = (1, 2, put(1), written(1));
    assert!(!accepts(&[first.clone(), (3, 4, put(2), written(2)), (5, 6, Ask::Get, seen(1, 1))]));
    let unknown = (3, 6, put(2), None);
    for told in [seen(1, 1), seen(2, 2)] {
        assert!(accepts(&[first.clone(), unknown.clone(), (4, 5, Ask::Get, told.clone())]));
        assert!(accepts(&[first.clone(), unknown.clone(), (8, 9, Ask::Get, told)]));
    }
    // It cannot happen after the process that had it has ended.
    let late = [(7, 8, Ask::Get, seen(1, 1)), (9, 10, Ask::Get, seen(2, 2))];
    assert!(!accepts(&[&[first.clone(), unknown.clone()][..], &late].concat()));
    // Nor be taken back.
    let back = [(7, 8, Ask::Get, seen(2, 2)), (9, 10, Ask::Get, seen(1, 1))];
    assert!(!accepts(&[&[first, unknown][..], &back].concat()));
}

#[test]
fn a_retry_that_is_done_twice_is_refused() {
    let first = (1, 2, put(1), written(1));
    assert!(accepts(&[first.clone(), (3, 4, put(1), replayed(1))]));
    assert!(!accepts(&[first.clone(), (3, 4, put(1), written(2))]));
    assert!(!accepts(&[first.clone(), (3, 4, put(1), replayed(2))]));
    // Of two at the same time, one is done.
    let at_once = |a, b| accepts(&[(1, 4, put(1), a), (2, 3, put(1), b)]);
    assert!(at_once(written(1), replayed(1)) && at_once(replayed(1), written(1)));
    assert!(!at_once(written(1), written(2)) && !at_once(replayed(1), replayed(1)));
    // Of an unknown one and its retry as well.
    let retried = |told, last| {
        let asked = [(1, 2, put(1), None), (3, 4, put(1), told), (5, 6, Ask::Get, last)];
        accepts(&asked)
    };
    assert!(retried(written(1), seen(1, 1)) && retried(replayed(1), seen(1, 1)));
    assert!(!retried(written(2), seen(2, 1)));
    // The same id is no other request.
    let Ask::Write(other) = put(2) else { panic!("a put is a write") };
    let reused = Ask::Write(Write { request: 1, ..other });
    let taken = |told| accepts(&[first.clone(), (3, 4, reused.clone(), told)]);
    assert!(taken(refused("REQUEST_ID_REUSED")) && !taken(written(2)) && !taken(replayed(1)));
}

#[test]
fn a_condition_that_did_not_hold_is_refused() {
    let insisting = |n, if_version| {
        let Ask::Write(put) = put(n) else { panic!("a put is a write") };
        Ask::Write(Write { if_version: Some(if_version), ..put })
    };
    let first = (1, 2, put(1), written(1));
    assert!(accepts(&[first.clone(), (3, 4, insisting(2, 1), written(2))]));
    assert!(!accepts(&[first.clone(), (3, 4, insisting(2, 7), written(2))]));
    assert!(!accepts(&[first.clone(), (3, 4, insisting(2, 1), refused("VERSION_MISMATCH"))]));
    // Two that insist on the same version: both cannot be done.
    let both =
        |a, b| accepts(&[first.clone(), (3, 6, insisting(2, 1), a), (4, 5, insisting(3, 1), b)]);
    assert!(both(written(2), refused("VERSION_MISMATCH")));
    assert!(both(refused("VERSION_MISMATCH"), written(2)));
    assert!(!both(written(2), written(3)) && !both(written(2), written(2)));
    assert!(!both(refused("VERSION_MISMATCH"), refused("VERSION_MISMATCH")));
}

#[test]
fn versions_go_on_through_deletion_and_expiry() {
    let begun = [(1, 2, put(1), written(1)), (3, 4, delete(2), written(2))];
    let then = |version| accepts(&[&begun[..], &[(5, 6, put(3), written(version))]].concat());
    assert!(then(3) && !then(1) && !then(2));
    let tick = |now| (3, 4, Ask::Tick(now), Some(Told::Done));
    let after = |now, told: Option<Told>, version| {
        let begun = [(1, 2, put_until(1, 200), written(1)), tick(now)];
        let then = [(5, 6, Ask::Get, told), (7, 8, put(2), written(version))];
        accepts(&[&begun[..], &then].concat())
    };
    let there = Some(Told::Seen(Seen {
        version: 1,
        body: Some(body(1)),
        attributes: Attributes::new(),
        expires: 200,
    }));
    assert!(after(199, there.clone(), 2) && after(200, gone(), 3));
    assert!(!after(200, there, 2), "it is read after its time");
    assert!(!after(199, gone(), 2), "it is gone before its time");
    assert!(!after(200, gone(), 2), "its expiry is no version");
}

#[test]
fn a_list_that_misses_a_record_or_shows_one_that_is_gone_is_refused() {
    let first = (1, 2, put(1), written(1));
    let lists = |told| accepts(&[first.clone(), (3, 4, Ask::List(0), told)]);
    assert!(lists(in_list(1)) && !lists(Some(Told::Absent)) && !lists(in_list(2)));
    let gone = [first.clone(), (3, 4, delete(2), written(2))];
    let after = |told| accepts(&[&gone[..], &[(5, 6, Ask::List(0), told)]].concat());
    assert!(after(Some(Told::Absent)) && !after(in_list(1)));
    // It has no age: it passes no filter of ages.
    let older = |told| accepts(&[first.clone(), (3, 4, Ask::List(1), told)]);
    assert!(older(Some(Told::Absent)) && !older(in_list(1)));
}

/// The same answer, but another version.
fn altered(told: &Told) -> Option<Told> {
    match told {
        Told::Written { version, replayed } => {
            Some(Told::Written { version: version + 1, replayed: *replayed })
        }
        Told::Seen(seen) => Some(Told::Seen(Seen { version: seen.version + 1, ..seen.clone() })),
        Told::Refused(_) | Told::Absent | Told::Done => None,
    }
}

/// Histories without failures: with an unknown outcome another version can be the right one. So it can, now
/// and then, for a read or a dry run during another write.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_history_of_which_one_answer_was_changed_is_refused() {
    let (mut changed, mut possible) = (0, 0);
    let accepts = |history: &[Event]| check(Model::default(), &run::begin(), history).is_ok();
    for history in run::run(4).await.histories.into_iter().chain(run::run(8).await.histories) {
        assert!(accepts(&history));
        for (n, event) in history.iter().enumerate() {
            let Some(told) = event.told.as_ref().and_then(altered) else { continue };
            let mut lied = history.clone();
            lied[n].told = Some(told);
            changed += 1;
            let is_write = matches!(&event.ask, Ask::Write(write) if !write.dry);
            let accepted = accepts(&lied);
            assert!(!(is_write && accepted), "{event:?} is taken with another version");
            possible += usize::from(accepted);
            // And one write less; of a deletion an expiry may take the place.
            lied.remove(n);
            let done = matches!(event.told, Some(Told::Written { replayed: false, .. }));
            let deletes = matches!(&event.ask, Ask::Write(Write { change: Change::Delete, .. }));
            assert!(deletes || !(is_write && done && accepts(&lied)), "{event:?} is not missed");
        }
    }
    assert!(changed > 200 && possible * 20 < changed, "{possible} of {changed} are possible");
}
