//! Copies of records in a mirror's region, over real sessions between two shards: with crashes of either
//! at every commit, a link that is cut, erasures, blocks, and maps that allow no copy any more.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod changed;
mod key_rotation;
mod maps;
mod moved;
mod peers;
mod restored;

use std::sync::Arc;
use std::time::Duration;

use engine::Fault;
use ledger::entry::{Entry, Kind};
use link::host::clock::SystemClock;
use sealed::{Binding, Call};
use terms::Clock as _;
use tokio::time::{sleep, timeout};
use wire::session::{self as proto, call::Op, reply::Outcome};
use wire::v1::OperationState;

use crate::relocation::rig::{Rig, entries, passes};
use crate::sealed::{believed, binding};
use crate::support::{Place, findings, put_ru, stored};

const REGIONS: [&str; 2] = ["ru-msk", "kz-ala"];
/// A Russian who lives in Kazakhstan: the record lies in ru-msk, and its copy in kz-ala.
const BOTH: &[(&str, &str)] = &[("citizenship", "RU"), ("residence", "KZ")];
/// Time in which whatever is waited for must come about.
const WITHIN: Duration = Duration::from_secs(120);

async fn rig(seed: u64) -> Rig {
    Rig::between(REGIONS, seed, |_| {}).await
}

fn put(rig: &Rig, subject: &str, key: &str, body: &[u8]) -> Op {
    Op::Put(proto::Put {
        findings: findings(BOTH).into(),
        request_id: rig.id().into(),
        ..put_ru(subject, key, body, 0)
    })
}

async fn written(rig: &Rig, op: Op) -> proto::Written {
    match rig.told(0, op).await {
        Ok(Outcome::Written(written)) => written,
        Ok(_) => panic!("a write is answered with what was written"),
        Err(fault) => panic!("{} {}", fault.reason, fault.problem),
    }
}

fn get(subject: &str, key: &str, copy_of: &str) -> Op {
    Op::Get(proto::Get {
        subject: subject.into(),
        collection: "profiles".into(),
        key: key.into(),
        copy_of: copy_of.into(),
        ..Default::default()
    })
}

async fn found(rig: &Rig, at: usize, subject: &str, key: &str) -> Result<proto::Found, String> {
    let copy_of = if at == 1 { REGIONS[0] } else { "" };
    match rig.told(at, get(subject, key, copy_of)).await {
        Ok(Outcome::Found(found)) => Ok(found),
        Ok(_) => panic!("a get is answered with what was found"),
        Err(fault) => Err(fault.reason),
    }
}

/// Waits until the copy is what that says.
async fn until(
    rig: &Rig,
    subject: &str,
    key: &str,
    is: impl Fn(&Result<proto::Found, String>) -> bool,
) {
    let asked = async {
        while !is(&found(rig, 1, subject, key).await) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(WITHIN, asked).await.expect("the copy comes about in time");
}

async fn has_version(rig: &Rig, subject: &str, key: &str, version: i64) {
    until(rig, subject, key, |found| found.as_ref().is_ok_and(|it| it.version == version)).await;
}

async fn is_gone(rig: &Rig, subject: &str, key: &str) {
    until(rig, subject, key, Result::is_err).await;
}

fn delete(rig: &Rig, subject: &str, key: &str) -> Op {
    Op::Delete(proto::Delete {
        subject: subject.into(),
        collection: "profiles".into(),
        key: key.into(),
        request_id: rig.id().into(),
        ..Default::default()
    })
}

fn erase(rig: &Rig, subject: &str, collection: &str) -> Op {
    Op::Erase(proto::Erase {
        subject: subject.into(),
        collection: collection.into(),
        request_id: rig.id().into(),
        reason: "asked for".into(),
        ..Default::default()
    })
}

/// Sends an erasure until it is done, as gateways do.
async fn erased(rig: &Rig, op: Op) {
    let asked = async {
        loop {
            match rig.call_as(0, op.clone(), None, Some("eraser")).await {
                Some(Ok(Outcome::Written(done))) if !done.unfinished => return,
                Some(Err(fault)) => assert!(passes(&fault.reason), "{}", fault.reason),
                _ => {}
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(WITHIN, asked).await.expect("the erasure ends in time");
}

fn rows(place: &Place, prefix: u8) -> usize {
    stored::rows_in(&*place.store(), &[prefix]).len()
}

/// Whether both logs tell one story: each copy that was taken was sent before, and both entries name the one
/// that placed the version and commit to the same. How many there were of each.
fn agree(places: &[Arc<Place>]) -> (usize, usize) {
    let (home, mirror) = (entries(&places[0]), entries(&places[1]));
    let of = |all: &[Entry], kind| -> Vec<Entry> {
        all.iter().filter(|entry| entry.kind == kind).cloned().collect()
    };
    let (out, into) = (of(&home, Kind::CopyOut), of(&mirror, Kind::CopyIn));
    for entry in home.iter().chain(&mirror) {
        assert_eq!(entry.check_copy(), Ok(()), "{entry}");
    }
    for entry in &into {
        let (origin, index) = entry.peer().unwrap();
        assert_eq!(origin, "sample/ru-msk/s1/1");
        let placed = &home[usize::try_from(index).unwrap()];
        assert!(matches!(placed.kind, Kind::Place | Kind::Replace));
        assert!(placed.commitment.is_some() && placed.commitment == entry.commitment);
        let sent = out.iter().find(|sent| sent.earlier == Some(index)).unwrap();
        assert_eq!((sent.commitment, sent.region()), (entry.commitment, Some("kz-ala")));
        assert_eq!((sent.clauses.clone(), entry.region()), (entry.clauses.clone(), Some("ru-msk")));
        assert_eq!(entry.clauses, ["ru-kz"], "by the clause under which it may go there");
        assert!(entry.references().is_some());
    }
    (out.len(), into.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_placement_with_mirrors_leaves_one_copy_due_for_each() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let mut session = shard.session().await;
    let put = |n, body: &[u8]| proto::Put {
        findings: findings(BOTH).into(),
        ..put_ru("anna", "main", body, n)
    };
    session.put(put(1, b"one")).await.unwrap();
    session.put(put(2, b"two")).await.unwrap();
    session.put(put_ru("bert", "main", b"x", 3)).await.unwrap();
    drop(session);
    shard.stop().await.unwrap();
    let due = place.rows(&[0x20]);
    assert_eq!(due.len(), 1);
    let (key, row) = &due[0];
    assert_eq!(&key[1..11], b"\0\0\0\x06kz-ala");
    assert_eq!(u64::from_be_bytes(row[1..9].try_into().unwrap()), 2, "the newest version is due");
    // The mirror is not reached: nothing is written down of what has not left.
    let all = stored::entries_in(&*place.store(), 1);
    let sent = all.iter().filter(|entry| Entry::decode(entry).unwrap().kind == Kind::CopyOut);
    assert_eq!(sent.count(), 0);
    assert_eq!(rows(&place, 0x38), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_there_at_rest_and_is_taken_for_no_record() {
    let rig = rig(1).await;
    // Some lie in rows of their own.
    for (key, bytes) in [("small", 20), ("large", 40_000), ("huge", 900_000)] {
        written(&rig, put(&rig, "anna", key, &vec![7; bytes])).await;
    }
    written(&rig, Op::Put(put_ru("bert", "main", b"at home only", 900))).await;
    for (key, bytes) in [("small", 20), ("large", 40_000), ("huge", 900_000)] {
        has_version(&rig, "anna", key, 1).await;
        let (here, there) = (found(&rig, 0, "anna", key).await, found(&rig, 1, "anna", key).await);
        let (here, mut there) = (here.unwrap(), there.unwrap());
        let copy = there.copy.take().expect("it is marked as a copy");
        assert_eq!(copy.home, "ru-msk");
        assert!(copy.written_minute > 0 && copy.taken_minute >= copy.written_minute);
        assert!(
            here == there && there.body.len() == bytes,
            "{key}: etag, version and body are one"
        );
    }
    assert_eq!(found(&rig, 1, "bert", "main").await.err().unwrap(), "SUBJECT_UNKNOWN");
    // By the ways of records it is not there: it is neither read, listed nor written.
    let read = rig.told(1, get("anna", "small", "")).await.err().unwrap();
    assert_eq!(read.reason, "SUBJECT_UNKNOWN");
    let wrong = rig.told(1, get("anna", "small", "eu-fra")).await.err().unwrap();
    assert_eq!(wrong.reason, "SUBJECT_UNKNOWN");
    let list = proto::List {
        collection: "profiles".into(),
        page_size: 100,
        bytes_max: 1 << 20,
        ..Default::default()
    };
    let Ok(Outcome::Listed(listed)) = rig.told(1, Op::List(list)).await else { panic!("a page") };
    assert_eq!(listed.records.len(), 0);
    assert!(rig.told(1, delete(&rig, "anna", "small")).await.is_err());
    let (places, _) = rig.stop().await;
    assert_eq!(agree(&places), (3, 3));
    let own = [0x10, 0x11, 0x20, 0x30, 0x31, 0x38];
    for prefix in own {
        assert_eq!(rows(&places[1], prefix), 0, "{prefix:02x}");
    }
    assert_eq!((rows(&places[1], 0x60), rows(&places[1], 0x61)), (1, 3));
    assert_eq!(rows(&places[0], 0x38), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_question_is_for_the_copy_of_its_own_home() {
    let rig = rig(9).await;
    written(&rig, put(&rig, "anna", "main", b"hello")).await;
    has_version(&rig, "anna", "main", 1).await;
    let asked = rig.told(1, Op::TransitKey(proto::TransitKeyAsked {})).await;
    let Ok(Outcome::TransitKey(note)) = asked else { panic!("a key") };
    let to = believed(&rig.regions[1].place, &note);
    let ask = |homes: &[&str], copy_of: &str| {
        let of = Binding { asks: homes, ..binding(Call::Get, "anna", "main") };
        let (question, secret) = to.seal(&of, &[]).unwrap();
        let Op::Get(get) = get("anna", "main", copy_of) else { panic!("a get") };
        let (sealed_key, sealed_question) = (to.id().to_owned(), question.into());
        (Op::Get(proto::Get { sealed_key, sealed_question, ..get }), secret)
    };
    let (op, secret) = ask(&["ru-msk"], "ru-msk");
    let Ok(Outcome::Found(found)) = rig.told(1, op).await else { panic!("a copy") };
    assert!(found.sealed);
    assert_eq!(secret.open(found.version, &found.etag, &found.body).unwrap(), b"hello");
    // Whatever the call says that brings it, it is for that copy.
    for (homes, copy_of) in [
        (&[][..], "ru-msk"),
        (&["eu-fra"][..], "ru-msk"),
        (&["ru-msk"][..], "eu-fra"),
        (&["ru-msk"][..], ""),
    ] {
        let refused = rig.told(1, ask(homes, copy_of).0).await.err().unwrap();
        assert_eq!(refused.reason, "TRANSIT_SEAL_INVALID");
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_is_cut_off_slows_no_write_and_catches_up() {
    let rig = rig(2).await;
    written(&rig, put(&rig, "anna", "k0", b"first")).await;
    has_version(&rig, "anna", "k0", 1).await;
    rig.hold_after(1, 0);
    for n in 0..200 {
        written(&rig, put(&rig, "anna", &format!("k{}", n % 20), b"while it is cut off")).await;
    }
    written(&rig, delete(&rig, "anna", "k1")).await;
    rig.hold_after(1, u64::MAX);
    for n in 2..20 {
        has_version(&rig, "anna", &format!("k{n}"), 10).await;
    }
    has_version(&rig, "anna", "k0", 11).await;
    is_gone(&rig, "anna", "k1").await;
    let (places, _) = rig.stop().await;
    let (_, taken) = agree(&places);
    assert!(taken <= 60, "only the newest versions travel: {taken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_or_expires_goes_there_too() {
    let rig = rig(3).await;
    for key in ["gone", "soon", "stays"] {
        written(&rig, put(&rig, "anna", key, &[7; 20_000])).await;
        has_version(&rig, "anna", key, 1).await;
    }
    written(&rig, delete(&rig, "anna", "gone")).await;
    is_gone(&rig, "anna", "gone").await;
    let expire_ms = SystemClock.now().0 + 8_000;
    let Op::Put(soon) = put(&rig, "anna", "soon", b"soon") else { panic!("a put") };
    written(&rig, Op::Put(proto::Put { expire_ms, ..soon })).await;
    is_gone(&rig, "anna", "soon").await;
    // It comes back under the next version.
    written(&rig, put(&rig, "anna", "gone", b"again")).await;
    has_version(&rig, "anna", "gone", 3).await;
    assert!(found(&rig, 1, "anna", "stays").await.is_ok());
    let (places, _) = rig.stop().await;
    agree(&places);
    let drops: Vec<Entry> =
        entries(&places[1]).into_iter().filter(|entry| entry.kind == Kind::CopyDrop).collect();
    assert!(drops.iter().any(|entry| entry.reason() == Some("deleted")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_ends_when_the_mirror_has_erased_its_copies() {
    for collection in ["", "profiles"] {
        let rig = rig(4).await;
        for n in 0..5 {
            written(&rig, put(&rig, "anna", &format!("k{n}"), &[7; 20_000])).await;
            has_version(&rig, "anna", &format!("k{n}"), 1).await;
        }
        rig.hold_after(1, 0);
        let op = erase(&rig, "anna", collection);
        for _ in 0..20 {
            match rig.call_as(0, op.clone(), None, Some("eraser")).await {
                Some(Ok(Outcome::Written(done))) => assert!(done.unfinished, "copies are left"),
                Some(Err(fault)) => assert_ne!(fault.reason, "SUBJECT_UNKNOWN"),
                _ => {}
            }
        }
        rig.hold_after(1, u64::MAX);
        erased(&rig, op).await;
        assert_eq!(found(&rig, 1, "anna", "k0").await.err().unwrap(), "SUBJECT_UNKNOWN");
        let (places, _) = rig.stop().await;
        agree(&places);
        let (home, mirror) = (entries(&places[0]), entries(&places[1]));
        let drop = mirror.iter().find(|entry| entry.kind == Kind::CopyDrop).unwrap();
        assert_eq!((drop.count(), drop.reason()), (Some(5), Some("erased")));
        assert!(home.iter().any(|entry| entry.kind == Kind::Erase));
        for prefix in [0x61, 0x62] {
            assert_eq!(rows(&places[1], prefix), 0, "{prefix:02x}");
        }
        for prefix in [0x20, 0x38, 0x39] {
            assert_eq!(rows(&places[0], prefix), 0, "{prefix:02x}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_keeps_copies_from_being_read() {
    let rig = rig(5).await;
    written(&rig, put(&rig, "anna", "k", b"body")).await;
    has_version(&rig, "anna", "k", 1).await;
    let block = |until_minute| {
        Op::Block(proto::Block {
            subject: "anna".into(),
            until_minute,
            reason: "a dispute".into(),
            ..Default::default()
        })
    };
    let blocked = rig.call_as(0, block(60_000_000), None, Some("eraser")).await.unwrap();
    assert!(blocked.is_ok());
    until(&rig, "anna", "k", |found| found.as_ref().is_err_and(|why| why == "SUBJECT_BLOCKED"))
        .await;
    assert!(rig.call_as(0, block(0), None, Some("eraser")).await.unwrap().is_ok());
    has_version(&rig, "anna", "k", 1).await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_that_moves_leaves_no_copy_of_its_old_home() {
    let rig = rig(7).await;
    written(&rig, put(&rig, "anna", "k", &[7; 9_000])).await;
    has_version(&rig, "anna", "k", 1).await;
    let kazakh = findings(&[("citizenship", "KZ"), ("residence", "KZ")]);
    let order = proto::Relocate {
        subject: "anna".into(),
        region: REGIONS[1].into(),
        request_id: rig.id().into(),
        reason: "the person is a citizen there now".into(),
        findings: kazakh.into(),
        ..Default::default()
    };
    written(&rig, Op::Relocate(order)).await;
    rig.until("anna", &[OperationState::Done]).await;
    is_gone(&rig, "anna", "k").await;
    let there = rig.told(1, get("anna", "k", "")).await;
    assert!(
        matches!(there, Ok(Outcome::Found(found)) if found.version == 1 && found.copy.is_none())
    );
    let (places, _) = rig.stop().await;
    agree(&places);
    assert_eq!((rows(&places[1], 0x61), rows(&places[1], 0x62)), (0, 0));
    let mirror = entries(&places[1]);
    let drop = mirror.iter().find(|entry| entry.kind == Kind::CopyDrop).unwrap();
    assert_eq!((drop.count(), drop.reason()), (Some(1), Some("moved")));
    // They went before the person was given away: an erasure at the new home knows nothing of them.
    let place = |is: &dyn Fn(&Entry) -> bool| mirror.iter().position(is).unwrap();
    let adopted = |entry: &Entry| entry.kind == Kind::MoveIn && entry.peer().is_some();
    assert!(place(&|entry| entry.kind == Kind::CopyDrop) < place(&adopted));
    assert_eq!(rows(&places[0], 0x38), 0);
}

/// A crash of either shard at each of its commits, of each kind.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_every_step_of_either_side_is_gone_on_from() {
    let mut crashed = 0;
    for side in 0..2 {
        for fault in [Fault::Crash, Fault::ReplyLost] {
            for step in 0..5 {
                let rig = rig(10 + step).await;
                written(&rig, put(&rig, "anna", "before", b"body")).await;
                has_version(&rig, "anna", "before", 1).await;
                rig.regions[side].disk.fail_after(usize::try_from(step).unwrap(), fault);
                for key in ["before", "after"] {
                    written(&rig, put(&rig, "anna", key, &[7; 9_000])).await;
                }
                has_version(&rig, "anna", "before", 2).await;
                has_version(&rig, "anna", "after", 1).await;
                written(&rig, delete(&rig, "anna", "before")).await;
                is_gone(&rig, "anna", "before").await;
                erased(&rig, erase(&rig, "anna", "")).await;
                let (places, starts) = rig.stop().await;
                crashed += u32::from(starts > 2);
                agree(&places);
                for prefix in [0x61, 0x62] {
                    assert_eq!(rows(&places[1], prefix), 0, "{prefix:02x}");
                }
                assert_eq!(rows(&places[0], 0x38), 0);
            }
        }
    }
    assert!(crashed >= 12, "{crashed}");
}
