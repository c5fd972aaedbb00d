//! Subjects as a whole: erased, blocked, shown. After an erasure nothing of a subject is left but a
//! tombstone and entries that nothing opens, and no late retry brings it back.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use engine::Disk;
use ledger::entry::{Entry, Kind, Role};
use ledger::statement::commitment;
use wire::session as proto;
use wire::session::call::Op;
use wire::session::reply::Outcome;
use wire::v1::{self as api, SubjectState};

use crate::attributes::{self, list, put_with, text};
use crate::support::auditor::{auditor, entries};
use crate::support::stored::rows_in;
use crate::support::{Place, Running, Session, SetClock, put_ru, request_id};

pub(crate) const START: u64 = 1_780_000_000_000;
const MINUTE: u64 = 60_000;

/// A shard in memory whose clock the test sets, and whose profiles have indexes.
pub(crate) async fn started() -> (Place, Arc<SetClock>, Running, Session) {
    let mut place = attributes::place();
    let clock = Arc::new(SetClock(AtomicU64::new(START)));
    place.clock = clock.clone();
    place.disk = Some(Disk::new(1));
    let shard = place.start().await;
    let session = shard.session().await;
    (place, clock, shard, session)
}

pub(crate) fn erase(subject: &str, n: u64) -> proto::Erase {
    proto::Erase {
        subject: subject.into(),
        request_id: request_id(n).into(),
        reason: "the person asked".into(),
        deadline_minute: 30_000_000,
        ..Default::default()
    }
}

fn block(subject: &str, until_ms: u64, then_erase: bool) -> proto::Block {
    proto::Block {
        subject: subject.into(),
        until_minute: u32::try_from(until_ms / MINUTE).unwrap(),
        then_erase,
        reason: "a court orders it".into(),
        ..Default::default()
    }
}

/// What is answered to an eraser.
pub(crate) async fn as_eraser(session: &mut Session, op: Op) -> Result<proto::Written, String> {
    session.role = Some("eraser");
    let answer = session.call(op).await;
    session.role = None;
    match answer {
        Ok(Outcome::Written(written)) => Ok(written),
        Ok(_) => panic!("it is answered with what was written"),
        Err(fault) => Err(fault.reason),
    }
}

pub(crate) async fn held(
    session: &mut Session,
    subject: &str,
) -> Result<proto::HeldPerson, String> {
    let person = proto::Person { subject: subject.into(), ..Default::default() };
    session.role = Some("reader");
    let answer = session.call(Op::Person(person)).await;
    session.role = None;
    match answer {
        Ok(Outcome::Held(held)) => Ok(held),
        Ok(_) => panic!("it is answered with what is held"),
        Err(fault) => Err(fault.reason),
    }
}

/// Puts records of many shapes, and says how many.
pub(crate) async fn fill(session: &mut Session, subject: &str, first: u64) -> u64 {
    let age = atlas::AttributeValue::Integer(40);
    let mail = text("anna@example.org");
    let puts = [
        put_with(subject, "a", first, &[("age", age), ("mail", mail)]),
        proto::Put { expire_ms: START + 3_600_000, ..put_ru(subject, "b", b"small", first + 1) },
        put_ru(subject, "c", &vec![7; 100_000], first + 2),
        proto::Put { collection: "messages".into(), ..put_ru(subject, "d", b"text", first + 3) },
    ];
    let count = u64::try_from(puts.len()).unwrap();
    for put in puts {
        session.put(put).await.unwrap();
    }
    count
}

async fn all_entries(shard: &Running) -> Vec<Entry> {
    let mut auditor = auditor(shard).await;
    let all = entries(&mut auditor, api::LedgerEntriesRequest::default()).await;
    all.iter().map(|(_, entry)| Entry::decode(entry).unwrap()).collect()
}

/// Waits for so many entries of a kind.
pub(crate) async fn of_kind(shard: &Running, kind: Kind, count: usize) -> Vec<Entry> {
    loop {
        let all = all_entries(shard).await.into_iter();
        let found: Vec<_> = all.filter(|entry| entry.kind == kind).collect();
        if found.len() >= count {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_subject_leaves_a_tombstone_and_does_not_come_back() {
    let (place, _, shard, mut session) = started().await;
    fill(&mut session, "boris", 100).await;
    let records = fill(&mut session, "anna", 1).await;
    let deleted = proto::Delete {
        subject: "anna".into(),
        collection: "profiles".into(),
        key: "b".into(),
        request_id: request_id(9).into(),
        ..Default::default()
    };
    session.delete(deleted).await.unwrap();

    let dry = proto::Erase { validate_only: true, ..erase("anna", 20) };
    let dry = as_eraser(&mut session, Op::Erase(dry)).await.unwrap();
    assert_eq!((dry.records, dry.entry.len()), (records - 1, 0));
    let writer = session.call(Op::Erase(erase("anna", 20))).await.err().unwrap();
    assert_eq!(writer.reason, "NOT_PERMITTED");

    let done = as_eraser(&mut session, Op::Erase(erase("anna", 20))).await.unwrap();
    assert_eq!((done.records, done.replayed, done.unfinished), (records - 1, false, false));
    let entry = Entry::decode(&done.entry).unwrap();
    assert_eq!((entry.kind, entry.reason()), (Kind::Erase, Some("the person asked")));
    assert_eq!((entry.deadline(), entry.collection.as_ref()), (Some(30_000_000), None));
    let opening = done.opening.as_ref().try_into().unwrap();
    assert_eq!(entry.commitment, Some(commitment(&opening, &done.statement)));

    // The same request again is known, and its opening no longer exists; any other is refused.
    let again = as_eraser(&mut session, Op::Erase(erase("anna", 20))).await.unwrap();
    assert_eq!((again.records, again.replayed, again.index), (records - 1, true, done.index));
    assert_eq!((again.entry.len(), again.opening.len()), (0, 0));
    let reused = proto::Erase { reason: "another".into(), ..erase("anna", 20) };
    for (op, reason) in [
        (Op::Erase(reused), "REQUEST_ID_REUSED"),
        (Op::Erase(erase("anna", 21)), "SUBJECT_ERASED"),
        (Op::Block(block("anna", START + 9 * MINUTE, false)), "SUBJECT_ERASED"),
        (Op::Erase(erase("nobody", 22)), "SUBJECT_UNKNOWN"),
    ] {
        assert_eq!(as_eraser(&mut session, op).await.err().unwrap(), reason);
    }
    // A late retry of the first put, and a new one.
    for n in [4, 30] {
        let put = proto::Put { collection: "messages".into(), ..put_ru("anna", "d", b"text", n) };
        assert_eq!(session.put(put).await.err().unwrap(), "SUBJECT_ERASED");
    }
    assert_eq!(session.get("anna", "profiles", "a").await.err().unwrap(), "SUBJECT_ERASED");
    let listed = session.list(list("mail = \"anna@example.org\"")).await.ok().unwrap();
    let left: Vec<_> = listed.records.iter().map(|record| record.subject.as_str()).collect();
    assert_eq!((left, listed.withheld), (vec!["boris"], 0));
    let tombstone = held(&mut session, "anna").await.unwrap();
    assert_eq!(tombstone.state, i32::from(SubjectState::Erased));
    assert!(tombstone.findings.is_empty() && tombstone.collections.is_empty());

    let erased: Vec<_> = of_kind(&shard, Kind::Erase, 3).await;
    let counts: Vec<_> =
        erased.iter().map(|entry| (entry.collection.as_deref(), entry.count())).collect();
    let wanted = [(Some("messages"), Some(1)), (Some("profiles"), Some(2)), (None, None)];
    assert_eq!(counts, wanted);
    assert!(erased.iter().take(2).all(|entry| entry.jurisdictions == ["RU"]));
    assert!(erased.iter().all(|entry| entry.caller.as_ref().unwrap().role == Role::Eraser));

    drop(session);
    shard.stop().await.unwrap();
    // What is left of two people who had the same rows: those of one, and a tombstone.
    let store = place.store();
    for (prefix, rows) in [(0x10, 6), (0x11, 1), (0x20, 0), (0x30, 5), (0x31, 1), (0x32, 0)] {
        assert_eq!(rows_in(&*store, &[prefix]).len(), rows, "{prefix:x}");
    }
    let shard = place.open_made(place.settings()).await.unwrap();
    let shard = Running::serve(shard, "ru-msk").await;
    let mut session = shard.session().await;
    assert_eq!(session.get("anna", "profiles", "a").await.err().unwrap(), "SUBJECT_ERASED");
    assert!(session.get("boris", "profiles", "a").await.is_ok());
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_of_more_than_one_commit_takes_is_gone_on_with() {
    const RECORDS: u64 = 5_000;
    let (place, _, shard, mut session) = started().await;
    for of in 0..RECORDS / 250 {
        let puts = (0..250).map(|n| of * 250 + n);
        let puts: Vec<_> = puts
            .map(|n| session.wrap(Op::Put(put_ru("anna", &format!("k{n}"), b"x", n))))
            .collect();
        let ids: Vec<u64> = puts.iter().map(|call| call.id).collect();
        session.send(puts).await;
        for id in ids {
            assert!(session.answer(id).await.unwrap().is_ok());
        }
    }
    let begun = as_eraser(&mut session, Op::Erase(erase("anna", RECORDS + 1))).await.unwrap();
    assert!(begun.unfinished && begun.entry.is_empty());
    assert!(begun.records > 0 && begun.records < RECORDS, "{}", begun.records);
    // From now on it is as erased for all, whatever else is asked.
    assert_eq!(session.get("anna", "profiles", "k1").await.err().unwrap(), "SUBJECT_ERASED");
    let other = as_eraser(&mut session, Op::Erase(erase("anna", RECORDS + 2))).await;
    assert_eq!(other.err().unwrap(), "SUBJECT_ERASED");
    // The caller does not ask again: the shard does.
    let entries = of_kind(&shard, Kind::Erase, 3).await;
    let counted: u64 = entries.iter().filter_map(Entry::count).sum();
    assert_eq!(counted, RECORDS);
    let last = entries.last().unwrap();
    assert_eq!((last.reason(), last.deadline()), (Some("the person asked"), Some(30_000_000)));
    assert_eq!(last.caller.as_ref().unwrap().role, Role::Shard);
    let again = as_eraser(&mut session, Op::Erase(erase("anna", RECORDS + 1))).await.unwrap();
    assert_eq!((again.replayed, again.records), (true, RECORDS));
    drop(session);
    shard.stop().await.unwrap();
    let store = place.store();
    for (prefix, rows) in [(0x10, 1), (0x30, 0), (0x32, 0)] {
        assert_eq!(rows_in(&*store, &[prefix]).len(), rows, "{prefix:x}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_subject_is_neither_read_written_nor_erased_until_the_block_ends() {
    let (place, clock, shard, mut session) = started().await;
    fill(&mut session, "anna", 1).await;
    let until = START + 5 * MINUTE;
    for (until_ms, reason) in
        [(START - MINUTE, "FIELD_INVALID"), (u64::from(u32::MAX) * MINUTE, "FIELD_INVALID")]
    {
        let refused = as_eraser(&mut session, Op::Block(block("anna", until_ms, false))).await;
        assert_eq!(refused.err().unwrap(), reason);
    }
    let done = as_eraser(&mut session, Op::Block(block("anna", until, false))).await.unwrap();
    let entry = Entry::decode(&done.entry).unwrap();
    assert_eq!((entry.kind, entry.reason()), (Kind::Block, Some("a court orders it")));
    assert_eq!(entry.deadline(), Some(u32::try_from(until / MINUTE).unwrap()));
    let again = as_eraser(&mut session, Op::Block(block("anna", until, false))).await.unwrap();
    assert!(again.replayed && again.entry.is_empty());
    assert_eq!(session.get("anna", "profiles", "a").await.err().unwrap(), "SUBJECT_BLOCKED");
    let put = put_ru("anna", "e", b"x", 40);
    assert_eq!(session.put(put.clone()).await.err().unwrap(), "SUBJECT_BLOCKED");
    let refused = as_eraser(&mut session, Op::Erase(erase("anna", 41))).await;
    assert_eq!(refused.err().unwrap(), "SUBJECT_BLOCKED");
    let shown = held(&mut session, "anna").await.unwrap();
    assert_eq!(shown.state, i32::from(SubjectState::Blocked));
    assert!(shown.findings.is_empty() && shown.collections.is_empty());
    assert_eq!(u64::from(shown.until_minute), until / MINUTE);

    // Lifted, and blocked again; then it ends by itself.
    let lift = proto::Block { until_minute: 0, ..block("anna", 0, false) };
    let lifted = as_eraser(&mut session, Op::Block(lift)).await.unwrap();
    assert_eq!(Entry::decode(&lifted.entry).unwrap().kind, Kind::Unblock);
    session.put(put).await.unwrap();
    as_eraser(&mut session, Op::Block(block("anna", until, false))).await.unwrap();
    clock.set(&place, until);
    assert!(session.get("anna", "profiles", "a").await.is_ok());
    let ended = of_kind(&shard, Kind::Unblock, 2).await;
    assert_eq!(ended.last().unwrap().caller.as_ref().unwrap().role, Role::Shard);
    assert_eq!(held(&mut session, "anna").await.unwrap().state, i32::from(SubjectState::Live));

    // Blocked in order to be erased then.
    let later = until + 3 * MINUTE;
    as_eraser(&mut session, Op::Block(block("anna", later, true))).await.unwrap();
    clock.set(&place, later);
    of_kind(&shard, Kind::Erase, 3).await;
    assert_eq!(session.get("anna", "profiles", "a").await.err().unwrap(), "SUBJECT_ERASED");
    drop(session);
    shard.stop().await.unwrap();
    assert_eq!(rows_in(&*place.store(), &[0x32]).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_of_a_subject_is_told_with_an_entry_for_each_answer() {
    let (_place, clock, shard, mut session) = started().await;
    fill(&mut session, "anna", 1).await;
    assert_eq!(held(&mut session, "nobody").await.err().unwrap(), "SUBJECT_UNKNOWN");
    let told = held(&mut session, "anna").await.unwrap();
    assert_eq!(told.state, i32::from(SubjectState::Live));
    assert_eq!(u64::from(told.created_minute), START / MINUTE);
    assert_eq!(told.key_generation, 1);
    let of = |name: &str| told.collections.iter().find(|it| it.collection == name).unwrap();
    let (profiles, messages) = (of("profiles"), of("messages"));
    assert_eq!((profiles.records, profiles.bytes), (3, 4 + 5 + 100_000));
    assert_eq!((messages.records, messages.bytes), (1, 4));
    assert_eq!((profiles.expire_ms, messages.expire_ms), (START + 3_600_000, 0));
    assert!(!profiles.ruling.is_empty());
    let person = proto::Person {
        subject: "anna".into(),
        export: true,
        purpose: "the person asked".into(),
        ..Default::default()
    };
    session.role = Some("reader");
    let export = session.call(Op::Person(person.clone())).await;
    assert!(matches!(export, Ok(Outcome::Held(held)) if held == told));
    session.role = Some("writer");
    let refused = session.call(Op::Person(person.clone())).await.err().unwrap();
    assert_eq!(refused.reason, "NOT_PERMITTED");
    // Abroad, a law of the place bars it, whether there is such a subject or not.
    session.role = Some("reader");
    session.territory = Some("US");
    for subject in ["anna", "nobody"] {
        let person = proto::Person { subject: subject.into(), ..person.clone() };
        let refused = session.call(Op::Person(person)).await.err().unwrap();
        assert_eq!(refused.reason, "EXPORT_WITHHELD");
    }
    session.territory = None;
    clock.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let exported = of_kind(&shard, Kind::Export, 1).await;
    let [entry] = &exported[..] else { panic!("one export, one entry") };
    assert_eq!((entry.reason(), entry.count()), (Some("the person asked"), Some(4)));
    let questions = of_kind(&shard, Kind::Count, 1).await;
    assert_eq!(questions.iter().filter(|entry| entry.is_question()).count(), 1);
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_tells_by_when_laws_want_it_and_its_entry_says_so() {
    const DAY: u64 = 24 * 60 * MINUTE;
    let (_place, _, shard, mut session) = started().await;
    fill(&mut session, "anna", 1).await;
    fill(&mut session, "boris", 100).await;
    let of = |subject: &str, ground: api::ErasureGround, arose_ms: u64, n| proto::Erase {
        deadline_minute: 0,
        ground: ground.into(),
        arose_ms,
        ..erase(subject, n)
    };
    // Thirty days after the day in Kaliningrad, until that day ends in Kamchatka.
    let day = (START + 2 * 60 * MINUTE) / DAY;
    let due = (day + 31) * DAY - 12 * 60 * MINUTE;
    let withdrawn = api::ErasureGround::ConsentWithdrawn;
    let told = held(&mut session, "anna").await.unwrap();
    for collection in &told.collections {
        let terms = collection.erasure_terms.iter();
        let own = terms.filter(|term| term.ground == i32::from(withdrawn));
        let own: Vec<_> = own.map(|term| (&*term.statute, term.due_ms, &*term.verified)).collect();
        assert_eq!(own, [("ru-152fz", due, "weak")]);
    }
    // Without a ground, all terms are told, and none is in the log.
    let dry =
        proto::Erase { validate_only: true, ..of("anna", api::ErasureGround::Unspecified, 0, 10) };
    let all = as_eraser(&mut session, Op::Erase(dry)).await.unwrap().erasure_terms;
    assert!(all.len() > 1 && all.iter().all(|term| !term.citation.is_empty()));
    let late = of("anna", withdrawn, START + DAY, 11);
    assert_eq!(as_eraser(&mut session, Op::Erase(late)).await.err().unwrap(), "FIELD_INVALID");
    // It arose three days ago.
    let done = as_eraser(&mut session, Op::Erase(of("anna", withdrawn, START - 3 * DAY, 12)));
    let done = done.await.unwrap();
    let [term] = &done.erasure_terms[..] else { panic!("one law has one term of that ground") };
    assert_eq!((&*term.statute, term.due_ms), ("ru-152fz", due - 3 * DAY));
    assert_eq!(
        Entry::decode(&done.entry).unwrap().deadline().map(u64::from),
        Some(term.due_ms / MINUTE)
    );
    // What the caller states goes before; of one collection it is the same.
    let stated = proto::Erase { deadline_minute: 30_000_000, ..of("boris", withdrawn, 0, 13) };
    let messages = proto::Erase { collection: "messages".into(), ..stated.clone() };
    for (erase, n) in [(messages, 13_u64), (stated, 14)] {
        let erase = proto::Erase { request_id: request_id(n).into(), ..erase };
        let done = as_eraser(&mut session, Op::Erase(erase)).await.unwrap();
        assert_eq!(done.erasure_terms.len(), 1);
        assert_eq!(Entry::decode(&done.entry).unwrap().deadline(), Some(30_000_000));
    }
    let again = as_eraser(&mut session, Op::Erase(of("anna", withdrawn, START - 3 * DAY, 12)));
    let again = again.await.unwrap();
    assert!(again.replayed && again.erasure_terms.is_empty());
    drop(session);
    shard.stop().await.unwrap();
}
