//! One collection of a subject is erased: nothing of it is left, the rest is as it was, and what comes
//! later begins with no history.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use engine::Batch;
use ledger::entry::{Entry, Kind};
use ledger::statement::commitment;
use shard::KeyRequest;
use wire::session as proto;
use wire::session::call::Op;

use crate::attributes::list;
use crate::erasure::{as_eraser, erase, fill, held, of_kind, started};
use crate::support::stored::{opened, rows_in};
use crate::support::{Place, Running, Session, put_ru};

fn erase_profiles(n: u64) -> proto::Erase {
    proto::Erase { collection: "profiles".into(), ..erase("anna", n) }
}

fn put_profile(key: &str, n: u64) -> proto::Put {
    proto::Put { findings: Vec::new().into(), ..put_ru("anna", key, b"new", n) }
}

async fn again(place: &Place, shard: Running, session: Session) -> (Running, Session) {
    drop(session);
    shard.stop().await.unwrap();
    let shard = place.open_made(place.settings()).await.unwrap();
    let shard = Running::serve(shard, "ru-msk").await;
    let session = shard.session().await;
    (shard, session)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_collection_leaves_the_rest_and_begins_without_a_history() {
    let (place, _, shard, mut session) = started().await;
    fill(&mut session, "boris", 100).await;
    fill(&mut session, "anna", 1).await;
    let (shard, mut session) = again(&place, shard, session).await;

    let dry = proto::Erase { validate_only: true, ..erase_profiles(20) };
    let dry = as_eraser(&mut session, Op::Erase(dry)).await.unwrap();
    assert_eq!((dry.records, dry.entry.len()), (3, 0));
    let done = as_eraser(&mut session, Op::Erase(erase_profiles(20))).await.unwrap();
    assert_eq!((done.records, done.replayed, done.unfinished), (3, false, false));
    let entry = Entry::decode(&done.entry).unwrap();
    assert_eq!((entry.kind, entry.collection.as_deref()), (Kind::Erase, Some("profiles")));
    assert_eq!((entry.reason(), entry.count()), (Some("the person asked"), Some(3)));
    assert_eq!(
        (entry.deadline(), &*entry.jurisdictions),
        (Some(30_000_000), &["RU".to_owned()][..])
    );
    let opening = done.opening.as_ref().try_into().unwrap();
    assert_eq!(entry.commitment, Some(commitment(&opening, &done.statement)));

    // The same request is known, any other finds nothing, and a late retry of a put is refused.
    let same = as_eraser(&mut session, Op::Erase(erase_profiles(20))).await.unwrap();
    assert_eq!((same.records, same.replayed, same.index), (3, true, done.index));
    assert!(same.entry.is_empty() && same.opening.is_empty());
    let reused = proto::Erase { reason: "another".into(), ..erase_profiles(20) };
    let unknown = proto::Erase { collection: "payments".into(), ..erase("anna", 22) };
    for (op, reason) in [
        (Op::Erase(reused), "REQUEST_ID_REUSED"),
        (Op::Erase(erase_profiles(21)), "RECORD_NOT_FOUND"),
        (Op::Erase(unknown), "RECORD_NOT_FOUND"),
    ] {
        assert_eq!(as_eraser(&mut session, op).await.err().unwrap(), reason);
    }
    let (shard, mut session) = again(&place, shard, session).await;
    let late = put_ru("anna", "c", &vec![7; 100_000], 3);
    assert_eq!(session.put(late).await.err().unwrap(), "COLLECTION_ERASED");
    assert_eq!(session.get("anna", "profiles", "a").await.err().unwrap(), "RECORD_NOT_FOUND");
    assert_eq!(session.get("anna", "messages", "d").await.unwrap().body, "text");
    let listed = session.list(list("mail = \"anna@example.org\"")).await.ok().unwrap();
    let left: Vec<_> = listed.records.iter().map(|record| record.subject.as_str()).collect();
    assert_eq!((left, listed.withheld), (vec!["boris"], 0));
    let told = held(&mut session, "anna").await.unwrap();
    let of: Vec<_> = told.collections.iter().map(|it| it.collection.as_str()).collect();
    assert_eq!(of, ["messages"]);

    // What is written now is the first of its collection.
    let written = session.put(put_profile("a", 30)).await.unwrap();
    let entry = Entry::decode(&written.entry).unwrap();
    assert_eq!((written.version, entry.kind), (1, Kind::Place));
    assert_eq!(session.get("anna", "profiles", "a").await.unwrap().body, "new");
    // It can be erased again, and the retry of the put between is known as well.
    let twice = as_eraser(&mut session, Op::Erase(erase_profiles(31))).await.unwrap();
    assert_eq!((twice.records, twice.replayed), (1, false));
    for n in [3, 30] {
        let late = put_profile("a", n);
        assert_eq!(session.put(late).await.err().unwrap(), "COLLECTION_ERASED");
    }
    // The whole subject takes with it what was noted of them.
    as_eraser(&mut session, Op::Erase(erase("anna", 40))).await.unwrap();
    drop(session);
    shard.stop().await.unwrap();
    let store = place.store();
    for (prefix, rows) in [(0x10, 6), (0x11, 1), (0x15, 0), (0x30, 5), (0x31, 1), (0x32, 0)] {
        assert_eq!(rows_in(&*store, &[prefix]).len(), rows, "{prefix:x}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_an_erased_collection_opens_no_more_wherever_it_was_kept() {
    let (place, _, shard, mut session) = started().await;
    fill(&mut session, "anna", 1).await;
    drop(session);
    shard.stop().await.unwrap();
    let store = place.disk.clone().unwrap();
    let before = rows_in(&store, &[0x10]);
    let shard = place.open_made(place.settings()).await.unwrap();
    let shard = Running::serve(shard, "ru-msk").await;
    let mut session = shard.session().await;
    as_eraser(&mut session, Op::Erase(erase_profiles(20))).await.unwrap();
    session.put(put_profile("a", 30)).await.unwrap();
    drop(session);
    shard.stop().await.unwrap();

    // An attacker puts the old heads back.
    let now = rows_in(&store, &[0x10]);
    let mut put_back = Batch::new();
    let gone = before.into_iter().filter(|(key, _)| now.iter().all(|(there, _)| there != key));
    gone.for_each(|(key, row)| put_back.put(key, row));
    assert!(!put_back.is_empty());
    let engine = opened(&store);
    let head = engine.head().unwrap();
    engine.commit(put_back, head, head.size).unwrap();
    drop(engine);
    let shard = place.open_made(place.settings()).await.unwrap();
    let shard = Running::serve(shard, "ru-msk").await;
    let mut session = shard.session().await;
    for key in ["b", "c"] {
        let read = session.get("anna", "profiles", key).await.err().unwrap();
        assert_eq!(read, "STORED_DATA_DAMAGED");
    }
    assert_eq!(session.get("anna", "profiles", "a").await.unwrap().body, "new");
    assert_eq!(session.get("anna", "messages", "d").await.unwrap().body, "text");
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_of_a_large_collection_is_gone_on_with_and_the_keys_rotate_after_it() {
    const RECORDS: u64 = 5_000;
    let (place, _, shard, mut session) = started().await;
    let other = proto::Put { collection: "messages".into(), ..put_ru("anna", "d", b"text", 1) };
    session.put(other).await.unwrap();
    for of in 0..RECORDS / 250 {
        let puts = (0..250).map(|n| 10 + of * 250 + n);
        let puts: Vec<_> = puts
            .map(|n| session.wrap(Op::Put(put_ru("anna", &format!("k{n}"), b"x", n))))
            .collect();
        let ids: Vec<u64> = puts.iter().map(|call| call.id).collect();
        session.send(puts).await;
        for id in ids {
            assert!(session.answer(id).await.unwrap().is_ok());
        }
    }
    let begun = as_eraser(&mut session, Op::Erase(erase_profiles(6_000))).await.unwrap();
    assert!(begun.unfinished && begun.entry.is_empty() && begun.records < RECORDS);
    // Until it is done, the collection is refused and the rest is served. The shard goes on by itself.
    let read = session.get("anna", "profiles", "k1").await.err().unwrap();
    assert!(["COLLECTION_ERASED", "RECORD_NOT_FOUND"].contains(&&*read), "{read}");
    let late = session.put(put_ru("anna", "k1", b"x", 11)).await.err().unwrap();
    assert_eq!(late, "COLLECTION_ERASED");
    assert_eq!(session.get("anna", "messages", "d").await.unwrap().body, "text");
    let entries = of_kind(&shard, Kind::Erase, 2).await;
    assert!(entries.iter().all(|entry| entry.collection.as_deref() == Some("profiles")));
    assert_eq!(entries.iter().filter_map(Entry::count).sum::<u64>(), RECORDS);
    let last = entries.last().unwrap();
    assert_eq!((last.reason(), last.deadline()), (Some("the person asked"), Some(30_000_000)));
    let same = as_eraser(&mut session, Op::Erase(erase_profiles(6_000))).await.unwrap();
    assert_eq!((same.replayed, same.records), (true, RECORDS));
    // Four bits of the low bytes are those of a UUID's version.
    let written = session.put(put_profile("k1", 1 << 20)).await.unwrap();
    assert_eq!(written.version, 1);

    let ask = async |request| {
        let (settings, id) = (place.settings(), format!("{request:?}"));
        settings.ask_about_keys(id, request, std::time::Duration::from_secs(60)).await
    };
    ask(KeyRequest::Rotate).await.unwrap().unwrap();
    while ask(KeyRequest::Destroy(1)).await.is_err() {}
    let (shard, mut session) = again(&place, shard, session).await;
    assert_eq!(session.get("anna", "profiles", "k1").await.unwrap().body, "new");
    assert_eq!(session.get("anna", "messages", "d").await.unwrap().body, "text");
    drop(session);
    shard.stop().await.unwrap();
    assert_eq!(rows_in(&*place.store(), &[0x32]).len(), 0);
}
