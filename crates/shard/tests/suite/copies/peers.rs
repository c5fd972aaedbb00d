//! Who may bring copies: a shard of the region that is their home by the mirror's own map, and only where the
//! rules want a copy here.

use atlas::RecordAttributes;
use ledger::entry::Kind;
use ledger::statement::content_digest;
use tokio::time::{sleep, timeout};
use wire::session::session_client::SessionClient;
use wire::session::{self as proto, call::Op, copy_call::Step};

use super::{BOTH, WITHIN, has_version, put, rig, rows, written};
use crate::relocation::rig::entries;
use crate::support::secure_shard::SecureShard;
use crate::support::{Session, findings, open};

const HOME: &str = "spiffe://sample/region/ru-msk/shard/s1";
const THIRD: &str = "spiffe://sample/region/eu-fra/shard/s1";
const GATEWAY: &str = "spiffe://sample/region/ru-msk/gateway/test";

fn text(row: &mut Vec<u8>, bytes: &[u8]) {
    row.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
    row.extend_from_slice(bytes);
}

/// A record with its body, as shards write them for the way.
fn record(body: &[u8], expires: u64) -> Vec<u8> {
    let (opening, mut row) = ([9; 32], Vec::new());
    text(&mut row, b"profiles");
    text(&mut row, b"main");
    row.extend_from_slice(&1_u64.to_be_bytes());
    row.push(0);
    row.extend_from_slice(&0_u32.to_be_bytes());
    row.extend_from_slice(&opening);
    row.extend_from_slice(&content_digest(&opening, body));
    row.extend_from_slice(&expires.to_be_bytes());
    text(&mut row, &RecordAttributes::default().encode());
    row.push(0);
    row.extend_from_slice(&0_u32.to_be_bytes());
    let mut all = Vec::new();
    text(&mut all, &row);
    text(&mut all, body);
    all
}

fn copy(origin: &str, index: u64, evidence: &[(&str, &str)]) -> proto::CopyCall {
    proto::CopyCall {
        subject: "anna".into(),
        collection: "profiles".into(),
        origin: origin.into(),
        index,
        step: Some(Step::Version(proto::CopyVersion {
            findings: findings(evidence).into(),
            record: record(b"body", 0).into(),
            origin: origin.into(),
            index: 3,
            written_minute: 7,
        })),
    }
}

/// The same with a time after the year 9999, which no caller could read: when it was written, and how long
/// it lasts.
fn untimely(copy: &proto::CopyCall) -> [proto::CopyCall; 2] {
    let (mut late, mut lasting) = (copy.clone(), copy.clone());
    if let (Some(Step::Version(late)), Some(Step::Version(lasting))) =
        (&mut late.step, &mut lasting.step)
    {
        late.written_minute = u32::MAX;
        lasting.record = record(b"body", u64::MAX).into();
    }
    [late, lasting]
}

async fn said(session: &mut Session, copy: proto::CopyCall) -> String {
    match session.call(Op::Copy(copy)).await {
        Ok(proto::reply::Outcome::Copied(copied)) => copied.state().as_str_name().to_owned(),
        Ok(_) => panic!("a step about copies is answered with what has become of it"),
        Err(fault) => fault.reason,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_taken_from_its_home_alone_and_where_the_rules_want_one() {
    const OWN: &str = "sample/ru-msk/s1/1";
    let of = SecureShard::start("kz-ala").await;
    let mut home = of.session(HOME, of.hello("ru-msk", "s1")).await.unwrap();
    let mut third = of.session(THIRD, of.hello("eu-fra", "s1")).await.unwrap();
    // Another region than that of the findings, whatever log it names.
    let theirs = copy("sample/eu-fra/s1/1", 5, BOTH);
    assert_eq!(said(&mut third, theirs).await, "PLACEMENT_NOT_ADMITTED");
    assert_eq!(said(&mut third, copy(OWN, 5, BOTH)).await, "FIELD_INVALID");
    // The rules want no copy of these people here, and not of this collection.
    let russian: &[(&str, &str)] = &[("citizenship", "RU"), ("residence", "RU")];
    let kazakh: &[(&str, &str)] = &[("citizenship", "KZ"), ("residence", "KZ")];
    for evidence in [russian, kazakh] {
        assert_eq!(said(&mut home, copy(OWN, 5, evidence)).await, "PLACEMENT_NOT_ADMITTED");
    }
    let mut other = copy(OWN, 5, BOTH);
    other.collection = "messages".into();
    assert_eq!(said(&mut home, other).await, "FIELD_INVALID");
    for origin in ["", "sample/ru-msk/s2/1", "sample/ru-msk/s1/x", "other/ru-msk/s1/1"] {
        assert_eq!(said(&mut home, copy(origin, 5, BOTH)).await, "FIELD_INVALID", "{origin}");
    }
    for hostile in [Vec::new(), vec![0; 3], vec![0xff; 4096]] {
        let mut bad = copy(OWN, 5, BOTH);
        if let Some(Step::Version(version)) = &mut bad.step {
            version.record = hostile.into();
        }
        assert_eq!(said(&mut home, bad).await, "FIELD_INVALID");
    }
    let mut changed = copy(OWN, 5, BOTH);
    if let Some(Step::Version(version)) = &mut changed.step {
        let mut record = version.record.to_vec();
        *record.last_mut().unwrap() ^= 1;
        version.record = record.into();
    }
    assert_eq!(said(&mut home, changed).await, "FIELD_INVALID", "it is not what it commits to");
    for untimely in untimely(&copy(OWN, 5, BOTH)) {
        assert_eq!(said(&mut home, untimely).await, "FIELD_INVALID");
    }
    // A gateway brings none.
    let mut gateway = of.session(GATEWAY, of.shard.hello()).await.unwrap();
    assert_eq!(said(&mut gateway, copy(OWN, 5, BOTH)).await, "NOT_PERMITTED");
    // The home's own, once and again; what is older comes too late.
    assert_eq!(said(&mut home, copy(OWN, 5, BOTH)).await, "STATE_DONE");
    assert_eq!(said(&mut home, copy(OWN, 5, BOTH)).await, "STATE_DONE");
    assert_eq!(said(&mut home, copy(OWN, 4, BOTH)).await, "STATE_STALE");
    // The third region changes nothing of it: it has copies of its own there, or none.
    let dropped = |origin: &str, index, why: &str| proto::CopyCall {
        step: Some(Step::Drop(why.into())),
        ..copy(origin, index, BOTH)
    };
    assert_eq!(said(&mut third, dropped("sample/eu-fra/s1/1", 90, "erased")).await, "STATE_NONE");
    assert_eq!(said(&mut home, dropped(OWN, 9, "because")).await, "FIELD_INVALID");
    assert_eq!(said(&mut home, dropped(OWN, 9, "erased")).await, "STATE_DONE");
    assert_eq!(said(&mut home, copy(OWN, 5, BOTH)).await, "STATE_STALE", "it was dropped since");
    assert_eq!(said(&mut home, copy(OWN, 10, BOTH)).await, "STATE_DONE", "it was sent since");
    // What was said of the person since stands, whatever a copy brings that was sent before; and what was said
    // before a copy was made comes too late.
    let said_of = |index, blocked, evidence: &[(&str, &str)]| proto::CopyCall {
        step: Some(Step::State(proto::CopyState { findings: findings(evidence).into(), blocked })),
        ..copy(OWN, index, BOTH)
    };
    assert_eq!(said(&mut home, said_of(9, true, BOTH)).await, "STATE_STALE");
    assert_eq!(said(&mut home, said_of(12, false, russian)).await, "STATE_DONE");
    assert_eq!(said(&mut home, copy(OWN, 11, BOTH)).await, "PLACEMENT_NOT_ADMITTED");
    assert_eq!(said(&mut home, said_of(13, false, BOTH)).await, "STATE_DONE");
    assert_eq!(said(&mut home, copy(OWN, 11, BOTH)).await, "STATE_DONE");
    // Which copies there are is told to the shard that is their home, and to no other.
    let held = |after: &[u8]| Op::HeldCopies(proto::HeldCopies { after: after.to_vec().into() });
    for (session, expected) in [(&mut home, 1), (&mut third, 0)] {
        let Ok(proto::reply::Outcome::CopiesHeld(held)) = session.call(held(b"")).await else {
            panic!("it is told")
        };
        assert_eq!((held.all.len(), held.after.len()), (expected, 0));
    }
    assert_eq!(home.call(held(b"\x10")).await.err().unwrap().reason, "FIELD_INVALID");
    assert_eq!(gateway.call(held(b"")).await.err().unwrap().reason, "NOT_PERMITTED");
    drop((home, third, gateway));
    timeout(WITHIN, of.shard.stop()).await.unwrap().unwrap();
    assert_eq!((rows(&of.place, 0x10), rows(&of.place, 0x61)), (0, 1));
}

/// One who has the key of the home's shard can tell a mirror of the end of all logs. The home then tries
/// again and again to send what it has, and its log does not grow by that.
#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_knows_something_newer_makes_no_entries_at_the_home() {
    const BODY: u64 = 20_000;
    let rig = rig(23).await;
    written(&rig, put(&rig, "anna", "main", b"first")).await;
    has_version(&rig, "anna", "main", 1).await;
    let client = SessionClient::connect(rig.port(1)).await.unwrap();
    let (mut thief, _) = open(client, rig.hello_of_shard()).await.expect("an answer");
    assert_eq!(said(&mut thief, copy("sample/ru-msk/s1/1", u64::MAX, BOTH)).await, "STATE_DONE");
    let before = rig.carried(1);
    written(&rig, put(&rig, "anna", "main", &vec![7; usize::try_from(BODY).unwrap()])).await;
    let sent_often = async {
        while rig.carried(1) < before + 5 * BODY {
            sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    timeout(WITHIN, sent_often).await.expect("it is tried again");
    drop(thief);
    let (places, _) = rig.stop().await;
    let sent = entries(&places[0]).iter().filter(|entry| entry.kind == Kind::CopyOut).count();
    assert_eq!(sent, 2, "one for each version");
}
