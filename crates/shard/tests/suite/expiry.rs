//! Records that expire: not read a moment after, deleted soon, with an EXPIRE entry each; and no row of
//! the index is left behind.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use atlas::AttributeValue;
use engine::Disk;
use ledger::entry::{Entry, Kind, Role};
use wire::session as proto;
use wire::v1 as api;

use crate::attributes;
use crate::support::auditor::{auditor, entries, fill};
use crate::support::stored::rows_in;
use crate::support::{MAP, Place, Running, Session, SetClock, put_ru, request_id};

const START: u64 = 1_780_000_000_000;
/// Within the hour by which a clock may jump ahead.
pub(crate) const LATER: u64 = START + 60_123;

/// A shard whose clock the test sets.
async fn started() -> (Place, Arc<SetClock>, Running, Session) {
    started_with(MAP.to_owned()).await
}

/// The same under that map.
pub(crate) async fn started_with(map: String) -> (Place, Arc<SetClock>, Running, Session) {
    started_on(map, Some(Disk::new(1))).await
}

/// The same on that disk in memory, or on files.
pub(crate) async fn started_on(
    map: String,
    disk: Option<Disk>,
) -> (Place, Arc<SetClock>, Running, Session) {
    let mut place = Place::new("ru-msk");
    place.map = map;
    let clock = Arc::new(SetClock(AtomicU64::new(START)));
    place.clock = clock.clone();
    place.disk = disk;
    let shard = place.start().await;
    let session = shard.session().await;
    (place, clock, shard, session)
}

fn put(subject: &str, body: &[u8], n: u64, expire_ms: u64) -> proto::Put {
    proto::Put { expire_ms, ..put_ru(subject, "main", body, n) }
}

fn touch(subject: &str, n: u64, expire_ms: u64) -> proto::Touch {
    proto::Touch {
        subject: subject.into(),
        collection: "profiles".into(),
        key: "main".into(),
        request_id: request_id(n).into(),
        expire_ms,
        ..Default::default()
    }
}

/// The entries of a kind, once there are so many.
pub(crate) async fn of_kind(shard: &Running, kind: Kind, count: usize) -> Vec<Entry> {
    let mut auditor = auditor(shard).await;
    loop {
        let all = entries(&mut auditor, api::LedgerEntriesRequest::default()).await;
        let all = all.iter().map(|(_, entry)| Entry::decode(entry).unwrap());
        let found: Vec<_> = all.filter(|entry| entry.kind == kind).collect();
        if found.len() >= count {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Stops the shard, and counts the rows of its records that expire.
async fn index_rows(place: &Place, shard: Running, session: Session) -> usize {
    drop(session);
    shard.stop().await.unwrap();
    rows_in(&*place.store(), &[0x31]).len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_not_read_a_moment_after_its_time() {
    let (place, clock, shard, mut session) = started().await;
    for (n, body) in [(1, vec![b'x'; 10]), (2, vec![b'x'; 100_000])] {
        session.put(put(&format!("p{n}"), &body, n, LATER)).await.unwrap();
        let found = session.get(&format!("p{n}"), "profiles", "main").await.unwrap();
        assert_eq!((found.expire_ms, found.body.len()), (LATER, body.len()));
    }
    session.put(put("keeps", b"x", 3, 0)).await.unwrap();
    clock.set(&place, LATER - 1);
    assert!(session.get("p1", "profiles", "main").await.is_ok());
    clock.set(&place, LATER);
    for subject in ["p1", "p2"] {
        let gone = session.get(subject, "profiles", "main").await.err().unwrap();
        assert_eq!(gone, "RECORD_NOT_FOUND");
    }
    assert_eq!(session.get("keeps", "profiles", "main").await.unwrap().expire_ms, 0);
    let expired = of_kind(&shard, Kind::Expire, 2).await;
    assert!(expired.iter().all(|entry| {
        let by = entry.caller.as_ref().unwrap().role;
        by == Role::Shard && entry.earlier.is_some() && entry.tenant_tag.is_some()
    }));
    // A retry of the put is known; a new write finds no record, and goes on from its version.
    let again = session.put(put("p1", &[b'x'; 10], 1, LATER)).await.unwrap();
    assert_eq!((again.replayed, again.version), (true, 1));
    let new = proto::Put { if_version: Some(0), ..put("p1", b"new", 10, 0) };
    assert_eq!(session.put(new).await.unwrap().version, 3);
    assert_eq!(of_kind(&shard, Kind::Place, 4).await.len(), 4);
    assert_eq!(index_rows(&place, shard, session).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_writes_first_after_its_time_writes_a_record_that_is_not_there() {
    let (place, clock, shard, mut session) = started().await;
    for n in 0..50 {
        let at = LATER + n * 1_000;
        session.put(put("anna", b"old", 2 * n, at)).await.unwrap();
        clock.set(&place, at);
        let refused = proto::Put { if_version: Some(1), ..put("anna", b"new", 1_000 + n, 0) };
        assert_eq!(session.put(refused).await.err().unwrap(), "VERSION_MISMATCH");
        let new = proto::Put { if_version: Some(0), ..put("anna", b"new", 2 * n + 1, 0) };
        // Its own write, the expiry, the new one; then the next round replaces it.
        assert_eq!(session.put(new).await.unwrap().version, i64::try_from(3 * n + 3).unwrap());
    }
    assert_eq!(of_kind(&shard, Kind::Expire, 50).await.len(), 50);
    assert_eq!(index_rows(&place, shard, session).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_touch_sets_the_time_and_keeps_the_content() {
    let (place, clock, shard, mut session) = started().await;
    for (n, body) in [(1, vec![b'x'; 10]), (2, vec![b'x'; 100_000])] {
        let subject = format!("p{n}");
        session.put(put(&subject, &body, n, 0)).await.unwrap();
        let written = session.touch(touch(&subject, 10 + n, LATER)).await.unwrap();
        assert_eq!((written.version, written.replayed), (2, false));
        let again = session.touch(touch(&subject, 10 + n, LATER)).await.unwrap();
        assert_eq!((again.version, again.replayed, again.entry), (2, true, written.entry.clone()));
        let other = session.touch(touch(&subject, 10 + n, LATER + 1)).await.err().unwrap();
        assert_eq!(other, "REQUEST_ID_REUSED");
        let found = session.get(&subject, "profiles", "main").await.unwrap();
        assert_eq!((found.expire_ms, found.version, &*found.body), (LATER, 2, body.as_slice()));
        assert_eq!(found.etag, written.etag);
        // The receipt commits to the same content.
        let receipt = ledger::Receipt {
            origin: "sample/ru-msk/s1/1".into(),
            index: written.index,
            entry: written.entry.to_vec(),
            opening: written.opening.as_ref().try_into().unwrap(),
            statement: written.statement.to_vec(),
        };
        assert_eq!(receipt.check(Some(&body)).unwrap().kind, Kind::Replace);
        let stale = proto::Touch { if_version: Some(1), ..touch(&subject, 20 + n, 0) };
        assert_eq!(session.touch(stale).await.err().unwrap(), "VERSION_MISMATCH");
    }
    // Many in one frame: each sees what the one before has left.
    let mut calls = Vec::new();
    for n in 0..20 {
        let op = if n % 2 == 0 {
            proto::call::Op::Touch(touch("p1", 100 + n, LATER + n))
        } else {
            proto::call::Op::Put(put("p1", &n.to_be_bytes(), 100 + n, LATER + n))
        };
        calls.push(session.wrap(op));
    }
    let ids: Vec<u64> = calls.iter().map(|call| call.id).collect();
    session.send(calls).await;
    for id in ids {
        assert!(session.answer(id).await.unwrap().is_ok());
    }
    let found = session.get("p1", "profiles", "main").await.unwrap();
    assert_eq!((found.version, &*found.body), (22, 19_u64.to_be_bytes().as_slice()));
    session.touch(touch("p1", 200, 0)).await.unwrap();
    clock.set(&place, LATER + 100);
    assert_eq!(session.get("p1", "profiles", "main").await.unwrap().version, 23);
    assert_eq!(session.get("p2", "profiles", "main").await.err().unwrap(), "RECORD_NOT_FOUND");
    let past = session.touch(touch("p1", 201, LATER + 100)).await.err().unwrap();
    assert_eq!(past, "FIELD_INVALID");
    let past = session.put(put("p1", b"x", 202, LATER)).await.err().unwrap();
    assert_eq!(past, "FIELD_INVALID");
    let gone = session.touch(touch("p2", 203, LATER + 1_000)).await.err().unwrap();
    assert_eq!(gone, "RECORD_NOT_FOUND");
    let none = session.touch(touch("nobody", 204, LATER + 1_000)).await.err().unwrap();
    assert_eq!(none, "SUBJECT_UNKNOWN");
    of_kind(&shard, Kind::Expire, 1).await;
    assert_eq!(index_rows(&place, shard, session).await, 0);
}

/// The sample map, in which a profile lives for two hours at most.
fn short_lived(map: &str) -> String {
    map.replacen("reads = \"counted\"\n", "reads = \"counted\"\nlife_max = \"2h\"\n", 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_record_lives_longer_than_the_map_allows() {
    const LIFE: u64 = 2 * 3_600_000;
    let (place, clock, shard, mut session) = started_with(short_lived(MAP)).await;
    let expires = async |session: &mut Session, key: &str| {
        session.get("anna", "profiles", key).await.unwrap().expire_ms
    };
    let put = |key: &str, n, expire_ms| proto::Put { expire_ms, ..put_ru("anna", key, b"x", n) };
    session.put(put("main", 1, 0)).await.unwrap();
    assert_eq!(expires(&mut session, "main").await, START + LIFE);
    session.put(put("soon", 2, LATER)).await.unwrap();
    assert_eq!(expires(&mut session, "soon").await, LATER);
    session.put(put("last", 3, START + LIFE)).await.unwrap();
    let dry = proto::Put { validate_only: true, ..put("late", 4, START + LIFE + 1) };
    for late in [put("late", 4, START + LIFE + 1), dry] {
        let late = session.call(proto::call::Op::Put(late)).await.err().unwrap();
        assert_eq!((&*late.reason, &*late.field), ("EXPIRY_TOO_LATE", "expire_time"));
        assert_eq!(late.details["limit"], "2h");
    }
    // A retry is the same put, whatever time it is by now; a touch gives a whole life again.
    clock.set(&place, START + 60_000);
    assert!(session.put(put("main", 1, 0)).await.unwrap().replayed);
    assert_eq!(expires(&mut session, "main").await, START + LIFE);
    session.touch(touch("anna", 5, 0)).await.unwrap();
    assert_eq!(expires(&mut session, "main").await, START + 60_000 + LIFE);
    let late = session.touch(touch("anna", 6, START + 60_001 + LIFE)).await.err().unwrap();
    assert_eq!(late, "EXPIRY_TOO_LATE");
    // Another collection has no such limit.
    let other = proto::Put { collection: "messages".into(), ..put("main", 7, 0) };
    session.put(other).await.unwrap();
    assert_eq!(session.get("anna", "messages", "main").await.unwrap().expire_ms, 0);
    // A patch keeps the time.
    let set = attributes::attributes(&[]);
    let patch = proto::Patch {
        body: Some(b"y".as_slice().into()),
        ..attributes::patch("anna", "soon", 8, &set, &[])
    };
    session.patch(patch).await.unwrap();
    assert_eq!(expires(&mut session, "soon").await, LATER);
    clock.set(&place, START + LIFE);
    assert_eq!(session.get("anna", "profiles", "last").await.err().unwrap(), "RECORD_NOT_FOUND");
    of_kind(&shard, Kind::Expire, 2).await;
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_before_the_map_had_a_longest_life_gets_one_when_it_is_patched() {
    let (mut place, clock, shard, mut session) = started().await;
    session.put(put("anna", b"x", 1, 0)).await.unwrap();
    session.put(put("late", b"x", 2, START + 9 * 3_600_000)).await.unwrap();
    drop(session);
    shard.stop().await.unwrap();
    let digest: String =
        place.map().epoch().digest.iter().map(|byte| format!("{byte:02x}")).collect();
    place.map = short_lived(MAP).replacen(
        "version = 1\n",
        &format!("version = 2\npredecessor = \"sha256:{digest}\"\n"),
        1,
    );
    let shard = place.start().await;
    let mut session = shard.session().await;
    clock.set(&place, START + 1_000);
    for (n, subject) in [(11, "anna"), (12, "late")] {
        let found = session.get(subject, "profiles", "main").await.unwrap();
        assert_ne!(found.expire_ms, START + 1_000 + 2 * 3_600_000);
        let set = attributes::attributes(&[]);
        let patch = attributes::patch(subject, "main", n, &set, &[]);
        let patch = proto::Patch { body: Some(b"y".as_slice().into()), ..patch };
        session.patch(patch).await.unwrap();
        let found = session.get(subject, "profiles", "main").await.unwrap();
        assert_eq!(found.expire_ms, START + 1_000 + 2 * 3_600_000);
    }
    assert_eq!(index_rows(&place, shard, session).await, 2);
}

/// The keys that a list gives, and what a count of the same counts.
async fn listed(session: &mut Session, asked: proto::List) -> (Vec<String>, u64) {
    let count = proto::List { count: true, ..asked.clone() };
    let page = session.list(asked).await.map_err(|fault| fault.problem).unwrap();
    let counted = session.list(count).await.map_err(|fault| fault.problem).unwrap();
    let mut keys: Vec<String> = page.records.into_iter().map(|record| record.key).collect();
    keys.sort();
    (keys, counted.count)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_with_attributes_is_in_no_list_and_no_index_after_its_time() {
    let (place, clock, shard, mut session) = started_with(attributes::map()).await;
    let age = |n| [("age", AttributeValue::Integer(n))];
    for (n, key, expire_ms) in [(1, "ends", LATER), (2, "touched", 0), (3, "stays", 0)] {
        let put = attributes::put_with("anna", key, n, &age(7));
        session.put(proto::Put { expire_ms, ..put }).await.unwrap();
    }
    // A touch keeps the attributes, and by what the record is found.
    let touched = proto::Touch { key: "touched".into(), ..touch("anna", 4, LATER) };
    session.touch(touched).await.unwrap();
    let found = session.get("anna", "profiles", "touched").await.unwrap();
    assert_eq!(
        (found.version, found.attributes),
        (2, attributes::attributes(&age(7)).encode().into())
    );
    let page = session.list(attributes::list("age = 7")).await.ok().unwrap();
    let expire = page.records.iter().filter(|record| record.expire_ms == LATER).count();
    assert_eq!((page.records.len(), expire), (3, 2));
    let questions = || {
        let of_one = proto::List { subject: "anna".into(), ..attributes::list("") };
        let sorted = proto::List { order_by: "key".into(), ..attributes::list("") };
        let ordered = proto::List { order_by: "age".into(), ..attributes::list("") };
        let plain = ["", "age = 7", "age > 1"].map(attributes::list);
        plain.into_iter().chain([of_one, sorted, ordered])
    };
    for question in questions() {
        let all = ["ends", "stays", "touched"].map(str::to_owned).to_vec();
        assert_eq!(listed(&mut session, question).await, (all, 3));
    }
    clock.set(&place, LATER);
    // Before they are deleted, most likely, and after.
    for question in questions() {
        assert_eq!(listed(&mut session, question).await, (vec!["stays".to_owned()], 1));
    }
    of_kind(&shard, Kind::Expire, 2).await;
    for question in questions() {
        assert_eq!(listed(&mut session, question).await, (vec!["stays".to_owned()], 1));
    }
    // A write that comes before the sweeper removes the rows too.
    let put = attributes::put_with("anna", "ends", 5, &age(8));
    session.put(proto::Put { expire_ms: LATER + 1, ..put }).await.unwrap();
    clock.set(&place, LATER + 1);
    let put = attributes::put_with("anna", "ends", 6, &age(9));
    assert_eq!(session.put(put).await.unwrap().version, 5);
    assert_eq!(
        listed(&mut session, attributes::list("age >= 8")).await,
        (vec!["ends".to_owned()], 1)
    );
    assert_eq!(index_rows(&place, shard, session).await, 0);
    // Of two records, each in the list and in one index.
    assert_eq!(rows_in(&*place.store(), &[0x30]).len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_that_expire_at_once_are_swept_among_the_writes_of_others() {
    let (place, clock, shard, mut session) = started().await;
    for n in 0..1_000 {
        let expire_ms = if n % 100 == 0 { LATER + 3_600_000 } else { LATER };
        session.put(put(&format!("p{n}"), b"x", n, expire_ms)).await.unwrap();
    }
    clock.set(&place, LATER);
    fill(&mut session, 2_000, 100).await;
    assert_eq!(of_kind(&shard, Kind::Expire, 990).await.len(), 990);
    let mut auditor = auditor(&shard).await;
    let told = auditor.reconcile(api::LedgerReconcileRequest::default()).await.unwrap();
    assert_eq!(told.into_inner().records, 110);
    // Those whose time has not come are left.
    assert_eq!(index_rows(&place, shard, session).await, 10);
    // And it goes on after a restart.
    clock.set(&place, LATER + 3_600_000);
    let shard = place.start().await;
    assert_eq!(of_kind(&shard, Kind::Expire, 1_000).await.len(), 1_000);
    let session = shard.session().await;
    assert_eq!(index_rows(&place, shard, session).await, 0);
}
