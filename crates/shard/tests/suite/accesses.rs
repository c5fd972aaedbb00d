//! A person is told who read their records: what the READ entries about that person say.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use ledger::entry::{Entry, Kind};
use wire::session as proto;
use wire::session::call::Op;
use wire::v1::AccessKind;

use crate::attributes::list;
use crate::erasure::{START, as_eraser, erase, held, of_kind, started};
use crate::support::stored::rows_in;
use crate::support::{Session, put_ru};

const MINUTE: u64 = 60_000;

/// What a line says: kind, role, purpose and number.
#[derive(Debug, PartialEq)]
struct Line(i32, String, String, u64);

/// The lines of a person, all of which are about payments.
async fn lines(session: &mut Session, subject: &str) -> Vec<Line> {
    let told = held(session, subject).await.unwrap();
    assert!(told.accesses.iter().all(|it| it.collection == "payments"));
    let lines = told.accesses.into_iter();
    lines.map(|it| Line(it.kind, it.role, it.purpose, it.reads)).collect()
}

fn line(purpose: &str, reads: u64) -> Line {
    Line(AccessKind::Records.into(), "reader".into(), purpose.into(), reads)
}

/// Of pages of the whole collection, on so many days.
fn pages(purpose: &str, days: u64) -> Line {
    Line(AccessKind::Pages.into(), "reader".into(), purpose.into(), days)
}

fn payment(subject: &str, key: &str, n: u64) -> proto::Put {
    proto::Put { collection: "payments".into(), ..put_ru(subject, key, b"x", n) }
}

/// A page of the payments of a person, or of all.
fn page_of(subject: &str, purpose: &str) -> proto::List {
    proto::List {
        collection: "payments".into(),
        subject: subject.into(),
        purpose: purpose.into(),
        ..list("")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logged_reads_of_a_person_are_told_by_role_and_purpose() {
    let (place, clock, shard, mut session) = started().await;
    for (subject, first) in [("anna", 1), ("boris", 10)] {
        for (n, key) in (first..).zip(["a", "b"]) {
            session.put(payment(subject, key, n)).await.unwrap();
        }
        session.put(put_ru(subject, "a", b"x", first + 5)).await.unwrap();
    }
    for key in ["a", "b", "a"] {
        session.get("anna", "payments", key).await.unwrap();
    }
    // Counted reads are not told by person.
    session.get("anna", "profiles", "a").await.unwrap();
    session.list(page_of("anna", "care")).await.ok().unwrap();
    assert_eq!(lines(&mut session, "anna").await, [line("a test", 3), line("care", 1)]);
    assert_eq!(lines(&mut session, "boris").await, []);
    session.list(page_of("", "a census")).await.ok().unwrap();
    let of_anna = [line("a test", 3), line("care", 1), pages("a census", 1)];
    assert_eq!(lines(&mut session, "anna").await, of_anna);
    assert_eq!(lines(&mut session, "boris").await, [pages("a census", 1)]);
    clock.set(&place, START + 5 * MINUTE);
    session.get("anna", "payments", "a").await.unwrap();
    let told = held(&mut session, "anna").await.unwrap();
    let first = told.accesses.first().unwrap();
    let minute = |ms: u64| u32::try_from(ms / MINUTE).unwrap();
    // The caller is where its gateway is.
    assert_eq!((first.reads, first.territory.as_str()), (4, "RU"));
    assert_eq!(first.first_minute, minute(START));
    assert_eq!(first.last_minute, minute(START + 5 * MINUTE));
    // An entry for each, of which the page of the whole collection has one; and by the same tag.
    let read: Vec<Entry> = of_kind(&shard, Kind::Read, 6).await;
    assert_eq!(read.len(), 6);
    let tag = read.first().unwrap().caller.as_ref().unwrap().tag;
    assert_eq!(first.caller_tag, tag.as_slice());

    // They are kept, and go with what they are about.
    drop(session);
    shard.stop().await.unwrap();
    let shard = place.open_made(place.settings()).await.unwrap();
    let shard = crate::support::Running::serve(shard, "ru-msk").await;
    let mut session = shard.session().await;
    session.get("boris", "payments", "a").await.unwrap();
    let of_anna = [line("a test", 4), line("care", 1), pages("a census", 1)];
    assert_eq!(lines(&mut session, "anna").await, of_anna);
    let of_payments = proto::Erase { collection: "payments".into(), ..erase("anna", 30) };
    as_eraser(&mut session, Op::Erase(of_payments)).await.unwrap();
    assert_eq!(lines(&mut session, "anna").await, []);
    let told = held(&mut session, "anna").await.unwrap();
    let erased = told.erased.first().unwrap();
    assert_eq!(erased.collection, "payments");
    assert!(erased.minute >= minute(START + 5 * MINUTE));
    as_eraser(&mut session, Op::Erase(erase("boris", 31))).await.unwrap();
    drop(session);
    shard.stop().await.unwrap();
    assert_eq!(rows_in(&*place.store(), &[0x16]).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_in_a_page_of_a_collection_is_told_once_a_day_and_no_one_else_is() {
    const DAY: u64 = 24 * 60 * MINUTE;
    // More people than are told in one commit, and one who has no payments.
    const PEOPLE: u64 = 300;
    let (place, clock, shard, mut session) = started().await;
    let name = |n: u64| format!("p{n:03}");
    for n in 0..PEOPLE {
        session.put(payment(&name(n), "a", n + 1)).await.unwrap();
    }
    session.put(put_ru("other", "a", b"x", 1_000)).await.unwrap();
    let scan = proto::List { scan: true, page_size: 200, ..page_of("", "an index") };
    let first = session.list(scan.clone()).await.ok().unwrap();
    assert_eq!(first.records.len(), 200);
    let given: Vec<&str> = first.records.iter().map(|record| &*record.subject).collect();
    let untold = (0..PEOPLE).map(name).find(|name| !given.contains(&&**name)).unwrap();
    assert_eq!(lines(&mut session, given[0]).await, [pages("an index", 1)]);
    assert_eq!(lines(&mut session, &untold).await, []);
    // The rest of a scan is counted in the log, and told all the same.
    let rest = proto::List { cursor: first.next, ..scan.clone() };
    assert_eq!(session.list(rest.clone()).await.ok().unwrap().records.len(), 100);
    assert_eq!(of_kind(&shard, Kind::Read, 1).await.len(), 1);
    // Again on the same day: nothing is written for it.
    clock.set(&place, START + MINUTE);
    session.list(scan.clone()).await.ok().unwrap();
    session.list(rest).await.ok().unwrap();
    let told = held(&mut session, given[0]).await.unwrap();
    let [line] = &told.accesses[..] else { panic!("one line") };
    assert_eq!((line.reads, line.last_minute), (1, line.first_minute));
    // Another purpose is another line; so is another day, of a number.
    session.list(page_of("", "a census")).await.ok().unwrap();
    clock.set(&place, START + DAY);
    session.list(scan).await.ok().unwrap();
    let of_first = [pages("an index", 2), pages("a census", 1)];
    assert_eq!(lines(&mut session, &first.records[0].subject).await, of_first);
    assert_eq!(lines(&mut session, &untold).await, [pages("an index", 1), pages("a census", 1)]);
    assert_eq!(lines(&mut session, "other").await, []);
    // Without a purpose no page is given.
    let fault = session.list(page_of("", "")).await.err().unwrap();
    assert_eq!((&*fault.reason, &*fault.field), ("FIELD_MISSING", "purpose"));
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_of_a_logged_collection_states_why_and_its_entry_says_it() {
    let (_place, _, shard, mut session) = started().await;
    session.put(payment("anna", "a", 1)).await.unwrap();
    for (key, purpose) in [("a", ""), ("a", " "), ("none", "")] {
        let (subject, collection) = ("anna".into(), "payments".into());
        let (key, purpose) = (key.into(), purpose.into());
        let get = proto::Get { subject, collection, key, purpose, ..Default::default() };
        // The same whether there is such a record or not.
        let fault = session.call(Op::Get(get)).await.err().unwrap();
        assert_eq!((&*fault.reason, &*fault.field), ("FIELD_MISSING", "purpose"));
    }
    session.get("anna", "payments", "a").await.unwrap();
    let read = of_kind(&shard, Kind::Read, 1).await;
    let [read] = &read[..] else { panic!("one read is answered") };
    assert_eq!(read.reason(), Some("a test"));
    assert!(read.earlier.is_some());
    drop(session);
    shard.stop().await.unwrap();
}
