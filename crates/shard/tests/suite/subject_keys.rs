//! The keys of one subject are replaced on demand, while it is read and written, across crashes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use engine::{Disk, Fault};
use ledger::entry::{Entry, Kind, Role};
use shard::Error;
use wire::session as proto;
use wire::session::call::Op;
use wire::session::reply::Outcome;

use crate::attributes::list;
use crate::erasure::{as_eraser, erase, fill, held, of_kind, started};
use crate::support::stored::rows_in;
use crate::support::{Place, Running, Session, put_ru, request_id};

/// More records than one commit encrypts again.
const MANY: u64 = 4_500;
/// As many as one commit encrypts again.
const AT_ONCE: usize = 4_096;
/// Records whose heads, with bodies of that many bytes, are more than one commit writes.
const LARGE: u64 = 1_200;
const LARGE_BODY: [u8; 4_000] = [7; 4_000];

fn rotate(subject: &str, n: u64) -> proto::RotateKey {
    proto::RotateKey {
        subject: subject.into(),
        request_id: request_id(n).into(),
        reason: "a key may have leaked".into(),
        ..Default::default()
    }
}

/// Rotates until all steps are done, once no other rotation goes on.
async fn rotated(session: &mut Session, of: proto::RotateKey) -> Result<proto::Written, String> {
    loop {
        match as_eraser(session, Op::RotateKey(of.clone())).await {
            Ok(written) if written.unfinished => {}
            Err(reason) if reason == "SHARD_BUSY" => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            answer => return answer,
        }
    }
}

/// Entries of the log that say of a subject's keys that they are new, once there is one. The first of
/// all is of the region's key, and counts nothing.
async fn rotations(shard: &Running) -> usize {
    let all = of_kind(shard, Kind::Key, 2).await;
    all.iter().filter(|entry| entry.count().is_some()).count()
}

/// Puts a hundred records a commit.
async fn put_many(session: &mut Session, subject: &str, many: u64, body: &[u8]) {
    for from in (0..many).step_by(100) {
        let put = |n| put_ru(subject, &format!("k{n:05}"), body, 1 + n);
        let puts: Vec<_> = (from..from + 100).map(put).collect();
        let call = session.wrap(Op::PutAll(proto::PutAll { puts }));
        let id = call.id;
        session.send(vec![call]).await;
        for n in 0..100 {
            assert!(session.answer(id + n).await.unwrap().is_ok());
        }
    }
}

/// The keys of a subject's profiles, as a list gives them.
async fn listed(session: &mut Session, subject: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut asked = proto::List { subject: subject.into(), ..list("") };
    loop {
        let page = session.list(asked.clone()).await.map_err(|fault| fault.reason).unwrap();
        keys.extend(page.records.into_iter().map(|record| record.key));
        if page.next.is_empty() {
            return keys;
        }
        asked.cursor = page.next;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_keys_leave_every_record_as_it_was_and_their_entry_is_in_the_log() {
    let (place, _, shard, mut session) = started().await;
    let records = fill(&mut session, "anna", 1).await;
    fill(&mut session, "boris", 100).await;
    let deleted = proto::Delete {
        subject: "anna".into(),
        collection: "messages".into(),
        key: "d".into(),
        request_id: request_id(50).into(),
        ..Default::default()
    };
    session.delete(deleted).await.unwrap();
    let payment = proto::Put { collection: "payments".into(), ..put_ru("anna", "p", b"1", 51) };
    session.put(payment).await.unwrap();
    session.get("anna", "payments", "p").await.unwrap();
    let of = [("profiles", "a"), ("profiles", "b"), ("profiles", "c"), ("payments", "p")];
    let mut before = Vec::new();
    for (collection, key) in of {
        before.push(session.get("anna", collection, key).await.unwrap());
    }
    let told = held(&mut session, "anna").await.unwrap();
    assert_eq!(told.key_rotated_minute, 0);
    let dry = proto::RotateKey { validate_only: true, ..rotate("anna", 60) };
    assert_eq!(as_eraser(&mut session, Op::RotateKey(dry)).await.unwrap().records, records);
    let done = rotated(&mut session, rotate("anna", 60)).await.unwrap();
    // The one that was deleted is among them: its head is kept.
    assert_eq!((done.records, done.replayed), (records + 1, false));
    let entry = Entry::decode(&done.entry).unwrap();
    assert_eq!((entry.kind, entry.count()), (Kind::Key, Some(records + 1)));
    assert_eq!(entry.reason(), Some("a key may have leaked"));
    assert_eq!(entry.caller.as_ref().map(|caller| caller.role), Some(Role::Eraser));
    let opening: [u8; 32] = done.opening.to_vec().try_into().unwrap();
    let committed = ledger::statement::commitment(&opening, &done.statement);
    assert_eq!(entry.commitment, Some(committed));
    for ((collection, key), before) in of.iter().zip(&before) {
        assert!(session.get("anna", collection, key).await.unwrap() == *before, "{key}");
    }
    let after = held(&mut session, "anna").await.unwrap();
    assert!(after.key_rotated_minute > 0);
    // Who read them is still told.
    let reads = |told: &proto::HeldPerson| told.accesses.iter().map(|it| it.reads).sum::<u64>();
    assert_eq!((reads(&told), reads(&after)), (2, 3));
    // What was deleted goes on with its version.
    let again = proto::Put { collection: "messages".into(), ..put_ru("anna", "d", b"2", 61) };
    assert_eq!(session.put(again).await.unwrap().version, 3);
    // A retry, another request under its id, and those for whom there is none.
    let again = rotated(&mut session, rotate("anna", 60)).await.unwrap();
    assert!(again.replayed && again.records == done.records && again.entry == done.entry);
    assert!(again.opening == done.opening && again.statement == done.statement);
    let other = proto::RotateKey { reason: "other".into(), ..rotate("anna", 60) };
    assert_eq!(rotated(&mut session, other).await.err().unwrap(), "REQUEST_ID_REUSED");
    assert_eq!(rotated(&mut session, rotate("nobody", 62)).await.err().unwrap(), "SUBJECT_UNKNOWN");
    let as_writer = session.call(Op::RotateKey(rotate("anna", 63))).await.err().unwrap();
    assert_eq!(as_writer.reason, "NOT_PERMITTED");
    as_eraser(&mut session, Op::Erase(erase("boris", 64))).await.unwrap();
    assert_eq!(rotated(&mut session, rotate("boris", 65)).await.err().unwrap(), "SUBJECT_ERASED");
    assert_eq!(rotations(&shard).await, 1);
    drop(session);
    shard.stop().await.unwrap();
    let shard = place.open_made(place.settings()).await.unwrap();
    let shard = Running::serve(shard, "ru-msk").await;
    let mut session = shard.session().await;
    assert_eq!(session.get("anna", "profiles", "c").await.unwrap().body.len(), 100_000);
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_of_many_records_goes_on_after_a_crash_and_lets_reads_and_writes_go_on() {
    let (place, _, shard, mut session) = started().await;
    put_many(&mut session, "anna", MANY, b"x").await;
    let first = as_eraser(&mut session, Op::RotateKey(rotate("anna", 10_000))).await.unwrap();
    assert!(first.unfinished && first.entry.is_empty());
    // It is over after the first step, and another process goes on by itself.
    drop(session);
    shard.stop().await.unwrap();
    let rows = rows_in(&*place.store(), &[0x10]);
    let shard = place.open_made(place.settings()).await.unwrap();
    let shard = Running::serve(shard, "ru-msk").await;
    let mut session = shard.session().await;
    // Reads and writes of what is done, and of what is not, whichever that is by now.
    for (n, key) in (20_000..).zip(["k00000", "k04499", "new"]) {
        session.put(put_ru("anna", key, b"y", n)).await.unwrap();
        assert_eq!(session.get("anna", "profiles", key).await.unwrap().body, "y");
    }
    assert_eq!(listed(&mut session, "anna").await.len(), usize::try_from(MANY).unwrap() + 1);
    // One that was ordered by another caller is the next.
    rotated(&mut session, rotate("anna", 10_001)).await.unwrap();
    assert!(rotations(&shard).await > 0);
    assert_eq!(listed(&mut session, "anna").await.len(), usize::try_from(MANY).unwrap() + 1);
    let told = held(&mut session, "anna").await.unwrap();
    assert!(told.key_rotated_minute > 0);
    drop(session);
    shard.stop().await.unwrap();
    // What the first step had not reached is not as it was.
    let after = rows_in(&*place.store(), &[0x10]);
    assert_eq!(after.len(), rows.len() + 1);
    let same = rows.iter().filter(|row| after.binary_search(row).is_ok()).count();
    assert!(same <= AT_ONCE, "{same}");
    assert!(rows_in(&*place.store(), &[0x32]).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn erasure_and_rotation_of_one_subject_leave_nothing_whichever_comes_first() {
    let (place, _, shard, mut session) = started().await;
    put_many(&mut session, "anna", MANY, b"x").await;
    let first = as_eraser(&mut session, Op::RotateKey(rotate("anna", 10_000))).await.unwrap();
    assert!(first.unfinished);
    let all = proto::Erase { collection: "profiles".into(), ..erase("anna", 10_001) };
    while as_eraser(&mut session, Op::Erase(all.clone())).await.unwrap().unfinished {}
    // Four bits of the low bytes are those of a UUID's version.
    session.put(put_ru("anna", "k", b"again", 1 << 20)).await.unwrap();
    assert_eq!(session.get("anna", "profiles", "k").await.unwrap().body, "again");
    assert_eq!(listed(&mut session, "anna").await, ["k"]);
    while as_eraser(&mut session, Op::Erase(erase("anna", 10_003))).await.unwrap().unfinished {}
    drop(session);
    shard.stop().await.unwrap();
    // The tombstone alone, and nothing that is due.
    assert_eq!(rows_in(&*place.store(), &[0x10]).len(), 1);
    assert!(rows_in(&*place.store(), &[0x32]).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_commit_of_a_rotation_leaves_every_record_readable() {
    let mut crashed = 0;
    for fault in [Fault::Crash, Fault::FlushFails, Fault::ReplyLost] {
        for commit in 0..3 {
            crashed += u32::from(crashes_at(commit, fault).await);
        }
    }
    // Of two commits, each was met by each fault.
    assert!(crashed >= 6, "{crashed}");
}

/// Rotates the keys of a subject on a disk that fails at that commit. Whether it did.
async fn crashes_at(commit: usize, fault: Fault) -> bool {
    let (mut place, disk) = (Place::new("ru-msk"), Disk::new(7));
    place.disk = Some(disk.clone());
    place.init_as(&place.settings()).unwrap();
    let shard = place.start().await;
    let mut session = shard.session().await;
    put_many(&mut session, "anna", LARGE, &LARGE_BODY).await;
    disk.fail_after(commit, fault);
    let failed = !goes_through(&mut session).await;
    drop(session);
    if !failed {
        shard.stop().await.ok();
        return false;
    }
    assert!(matches!(shard.wait().await, Err(Error::Poisoned)), "{fault:?} at {commit}");
    let shard = place.start().await;
    let mut session = shard.session().await;
    for key in ["k00000", "k00600", "k01199"] {
        let found = session.get("anna", "profiles", key).await.unwrap();
        assert!(found.body == LARGE_BODY[..], "{key} after {fault:?} at {commit}");
    }
    assert_eq!(listed(&mut session, "anna").await.len(), usize::try_from(LARGE).unwrap());
    rotated(&mut session, rotate("anna", 9_001)).await.unwrap();
    assert_eq!(listed(&mut session, "anna").await.len(), usize::try_from(LARGE).unwrap());
    assert!(rotations(&shard).await > 0);
    drop(session);
    shard.stop().await.unwrap();
    true
}

/// Rotates until all is done. False: a step was not, or its outcome is not known.
async fn goes_through(session: &mut Session) -> bool {
    loop {
        session.role = Some("eraser");
        let call = session.wrap(Op::RotateKey(rotate("anna", 9_000)));
        session.role = None;
        let id = call.id;
        session.calls.send(proto::ToShard { hello: None, calls: vec![call] }).await.ok();
        let answer = tokio::time::timeout(Duration::from_secs(20), session.answer(id)).await;
        match answer.expect("an answer in time, or an end") {
            Some(Ok(Outcome::Written(written))) if written.unfinished => {}
            Some(Ok(_)) => return true,
            Some(Err(_)) | None => return false,
        }
    }
}
