//! What callers get when shards answer, break off, say goodbye, are wrong or are out of reach.

use std::time::Duration;

use prost::Message as _;
use terms::{Reason, Rejection};
use tokio::time::Instant;
use tonic_types::StatusExt as _;
use wire::session as proto;
use wire::session::call::Op;
use wire::v1;

use super::rig::*;
use crate::api::put::put;

#[tokio::test]
async fn a_put_reaches_its_region_with_all_that_the_shard_needs() {
    let (rig, _shard, mut conn) = Rig::with_shard("kz-ala", "KZ").await;
    assert_eq!((conn.hello.region.as_str(), conn.hello.shard.as_str()), ("kz-ala", "s1"));
    assert_eq!((conn.hello.gateway.as_str(), conn.hello.deployment.as_str()), ("gw-1", "sample"));
    let mut client = rig.client().await;
    let mut request = put_from("KZ");
    request.if_version = Some(0);
    request.findings =
        vec![v1::Finding { kind: v1::EvidenceKind::CollectedIn.into(), country: "KZ".to_owned() }];
    request.evidence.push(evidence(v1::EvidenceKind::Phone, "+77172123456"));
    // What stands at the shard is another ruling than what was just sent gives.
    let standing = v1::Ruling {
        attachments: vec![v1::Attachment { jurisdiction: "RU".to_owned(), ..Default::default() }],
        map_digest: vec![7; 32].into(),
        ..Default::default()
    };
    let call = async {
        let call = conn.call().await;
        let written = proto::Written { ruling: standing.encode_to_vec().into(), ..a_write() };
        conn.reply(call.id, proto::reply::Outcome::Written(written)).await;
        call
    };
    let (answer, call) = tokio::join!(client.put(request), call);

    assert_eq!((call.tenant.as_str(), call.deadline_ms > 5_000), ("sample", true));
    let caller = call.caller.unwrap();
    assert_eq!((caller.name.as_str(), caller.role.as_str()), ("signup", "writer"));
    assert_eq!(caller.territory, "DE");
    let Some(Op::Put(sent)) = call.op else { panic!("not a put") };
    assert_eq!((sent.subject.as_str(), sent.key.as_str()), ("p-1", "main"));
    assert_eq!((sent.collection.as_str(), &sent.body[..]), ("profiles", &b"hello"[..]));
    assert_eq!((sent.if_version, sent.create_subject), (Some(0), true));
    assert_eq!(sent.request_id.len(), 16);
    assert!(!sent.phone_data.is_empty() && sent.ip_data.is_empty());
    let kinds = atlas::Findings::decode(&sent.findings).unwrap().kinds().to_string();
    assert_eq!(kinds, "citizenship, residence, collected_in, phone");

    let answer = answer.unwrap().into_inner();
    let subject = answer.subject.unwrap();
    assert_eq!((subject.id.as_str(), subject.domicile.as_str()), ("p-1", "kz-ala"));
    assert_eq!((answer.version, answer.etag.as_str()), (3, "\"e3\""));
    let receipt = answer.receipt.unwrap();
    assert_eq!((receipt.origin.as_str(), receipt.index), ("sample/kz-ala/s1/1", 41));
    assert_eq!(&receipt.statement[..], b"statement");
    let ruling = answer.ruling.unwrap();
    assert_eq!(ruling.attachments[0].jurisdiction, "RU");
    assert_eq!(ruling.map_digest, vec![7; 32]);
    assert_eq!(ruling.data_versions.len(), 4);
    assert!(ruling.findings.is_empty());
}

#[tokio::test]
async fn gets_and_deletes_go_to_the_domicile() {
    let (rig, _shard, mut conn) = Rig::with_shard("us-iad", "US").await;
    let mut client = rig.client().await;
    let found = async {
        let call = conn.call().await;
        assert!(matches!(call.op, Some(Op::Get(_))));
        let (etag, body, expire_ms) = ("e".to_owned(), "b".into(), 1_500);
        let found = proto::Found { version: 9, etag, body, expire_ms, ..Default::default() };
        conn.reply(call.id, proto::reply::Outcome::Found(found)).await;
    };
    let (answer, ()) = tokio::join!(client.get(get_in("us-iad")), found);
    let record = answer.unwrap().into_inner();
    assert_eq!((record.version, &record.body[..], record.key.as_str()), (9, &b"b"[..], "main"));
    assert_eq!(record.expire_time.unwrap().to_string(), "1970-01-01T00:00:01.500Z");

    let delete = |validate_only| v1::DeleteRecordRequest {
        subject: get_in("us-iad").subject,
        collection: "profiles".to_owned(),
        key: "main".to_owned(),
        request_id: request_id(7),
        etag: "\"e3\"".to_owned(),
        validate_only,
        ..Default::default()
    };
    let (answer, call) = tokio::join!(client.delete(delete(false)), conn.accept());
    assert!(matches!(call.op, Some(Op::Delete(delete)) if delete.etag == "\"e3\""));
    assert_eq!(answer.unwrap().into_inner().receipt.unwrap().index, 41);
    let (answer, _) = tokio::join!(client.delete(delete(true)), conn.accept());
    assert!(answer.unwrap().into_inner().receipt.is_none());
}

#[tokio::test]
async fn a_time_of_expiry_reaches_the_shard_in_milliseconds() {
    let (rig, _shard, mut conn) = Rig::with_shard("us-iad", "US").await;
    let mut client = rig.client().await;
    let at = |seconds, nanos| Some(prost_types::Timestamp { seconds, nanos });
    let touch = |expire_time| v1::TouchRecordRequest {
        subject: get_in("us-iad").subject,
        collection: "profiles".to_owned(),
        key: "main".to_owned(),
        request_id: request_id(7),
        if_version: Some(3),
        expire_time,
        ..Default::default()
    };
    for (time, expected) in [(at(1_800_000_000, 1_999_999), 1_800_000_000_001), (None, 0)] {
        let (answer, call) = tokio::join!(client.touch(touch(time)), conn.accept());
        let Some(Op::Touch(sent)) = call.op else { panic!("it is no touch") };
        assert_eq!((sent.expire_ms, sent.if_version), (expected, Some(3)));
        assert_eq!(answer.unwrap().into_inner().receipt.unwrap().index, 41);
        let put = v1::PutRecordRequest { expire_time: time, ..put_from("US") };
        let (answer, call) = tokio::join!(client.put(put), conn.accept());
        assert!(answer.is_ok());
        assert!(matches!(call.op, Some(Op::Put(put)) if put.expire_ms == expected));
    }
    for bad in [at(-1, 0), at(0, 0), at(1, -1), at(1, 1_000_000_000), at(253_402_300_800, 0)] {
        let refusals = [
            refused(client.touch(touch(bad)).await),
            refused(client.put(v1::PutRecordRequest { expire_time: bad, ..put_from("US") }).await),
        ];
        for status in refusals {
            assert_eq!(reason(&status), Reason::FieldInvalid);
            let details = status.get_error_details();
            assert_eq!(details.bad_request().unwrap().field_violations[0].field, "expire_time");
        }
    }
}

#[tokio::test]
async fn a_fault_of_the_shard_is_passed_on() {
    let (rig, _shard, mut conn) = Rig::with_shard("us-iad", "US").await;
    let mut client = rig.client().await;
    let refusal = async {
        let call = conn.call().await;
        let rejection = Rejection::new(Reason::VersionMismatch).with(terms::Detail::Version, 4);
        let rejection = link::session::to_wire(&rejection.field("if_version"));
        conn.reply(call.id, proto::reply::Outcome::Fault(rejection)).await;
    };
    let (answer, ()) = tokio::join!(client.put(put_from("US")), refusal);
    let status = refused(answer);
    assert_eq!((reason(&status), status.code()), (Reason::VersionMismatch, tonic::Code::Aborted));
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().metadata["version"], "4");
    assert_eq!(details.bad_request().unwrap().field_violations[0].field, "if_version");
    // A reply of another kind than the call's is a mistake, never taken for a success.
    let wrong = async {
        let call = conn.call().await;
        conn.written(call.id).await;
    };
    let (answer, ()) = tokio::join!(client.get(get_in("us-iad")), wrong);
    assert_eq!(reason(&refused(answer)), Reason::Internal);
}

#[tokio::test]
async fn a_write_that_was_sent_and_not_answered_is_not_known() {
    let (rig, mut shard, mut conn) = Rig::with_shard("us-iad", "US").await;
    let (mut writer, mut reader) = (rig.client().await, rig.client().await);
    let broken = async {
        conn.call().await;
        conn.call().await;
        conn.break_off().await;
    };
    let (write, read, ()) =
        tokio::join!(writer.put(put_from("US")), reader.get(get_in("us-iad")), broken);
    assert_eq!(reason(&refused(write)), Reason::WriteOutcomeUnknown);
    assert_eq!(reason(&refused(read)), Reason::RegionUnavailable);

    // The gateway comes back by itself, and the retry carries the same id.
    let mut conn = shard.conn().await;
    rig.until_up("us-iad").await;
    let (answer, call) = tokio::join!(writer.put(put_from("US")), conn.accept());
    assert!(answer.is_ok());
    let Some(Op::Put(sent)) = call.op else { panic!("not a put") };
    let id = terms::RequestId::parse(&request_id(1)).unwrap();
    assert_eq!(&sent.request_id[..], id.bytes());
}

#[tokio::test]
async fn a_region_that_is_away_concerns_only_its_own_people() {
    let (rig, _shard, mut conn) = Rig::with_shard("us-iad", "US").await;
    let mut client = rig.client().await;
    for country in ["RU", "KZ", "DE"] {
        // It has ten minutes, and does not wait.
        let mut request = tonic::Request::new(put_from(country));
        request.set_timeout(Duration::from_secs(600));
        let status = refused(within(client.put(request)).await);
        assert_eq!(reason(&status), Reason::RegionUnavailable);
        let details = status.get_error_details();
        assert!(details.retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO);
    }
    let (answer, _) = tokio::join!(client.put(put_from("US")), conn.accept());
    assert!(answer.is_ok());
    assert!(conn.calls.try_recv().is_err(), "another region's record came here");
}

#[tokio::test]
async fn another_region_at_the_address_is_never_used() {
    for welcome in [
        welcome("ru-msk", "KZ"),
        welcome("kz-ala", "RU"),
        proto::Welcome { shard: "s2".to_owned(), ..welcome("kz-ala", "KZ") },
    ] {
        let mut shard = Shard::start(welcome).await;
        let rig = Rig::start(&[("kz-ala", &shard.address)]).await;
        let mut client = rig.client().await;
        // The gateway connects again and again, and never uses it.
        for _ in 0..2 {
            let mut conn = shard.conn().await;
            let status = refused(client.put(put_from("KZ")).await);
            assert_eq!(reason(&status), Reason::RegionUnavailable);
            assert!(within(conn.calls.recv()).await.is_none(), "a call came");
        }
    }
}

#[tokio::test]
async fn after_a_goodbye_what_is_in_flight_is_answered() {
    let (rig, mut shard, mut conn) = Rig::with_shard("us-iad", "US").await;
    let (mut first, mut second) = (rig.client().await, rig.client().await);
    let end = async {
        let call = conn.call().await;
        conn.goodbye().await;
        rig.until("us-iad", false).await;
        let late = refused(second.put(put_from("US")).await);
        assert_eq!(reason(&late), Reason::RegionUnavailable);
        conn.written(call.id).await;
        assert!(conn.calls.try_recv().is_err());
    };
    let (answer, ()) = tokio::join!(first.put(put_from("US")), end);
    assert!(answer.is_ok());
    let mut conn = shard.conn().await;
    rig.until_up("us-iad").await;
    let (answer, _) = tokio::join!(first.put(put_from("US")), conn.accept());
    assert!(answer.is_ok());
}

#[tokio::test]
async fn a_session_moves_when_the_shard_asks_and_no_call_notices() {
    let (rig, mut shard, mut old) = Rig::with_shard("us-iad", "US").await;
    let (mut first, mut second) = (rig.client().await, rig.client().await);
    let moves = async {
        let call = old.call().await;
        old.dial_again().await;
        let mut new = shard.conn().await;
        // The old connection ends for good, and with nothing sent, while this call is in flight.
        let write = async {
            loop {
                let mut request = put_from("US");
                request.key = "later".to_owned();
                let (answer, over_new) = tokio::join!(second.put(request), async {
                    tokio::select! {
                        call = new.call() => { new.written(call.id).await; true }
                        call = old.call() => { old.written(call.id).await; false }
                    }
                });
                assert!(answer.is_ok());
                if over_new {
                    return;
                }
            }
        };
        within(write).await;
        old.written(call.id).await;
        new
    };
    let (answer, mut new) = tokio::join!(first.put(put_from("US")), moves);
    assert!(answer.is_ok());
    // Nothing holds the old one any more: the gateway ends it, and the new one stays.
    assert!(within(old.calls.recv()).await.is_none());
    old.break_off().await;
    let (answer, _) = tokio::join!(first.put(put_from("US")), new.accept());
    assert!(answer.is_ok());
    // And it moves as often as it is asked to.
    new.dial_again().await;
    let mut next = shard.conn().await;
    assert!(within(new.calls.recv()).await.is_none());
    let (answer, _) = tokio::join!(first.put(put_from("US")), next.accept());
    assert!(answer.is_ok());
}

#[tokio::test]
async fn a_deadline_is_kept_and_says_what_is_known() {
    let (rig, _shard, mut conn) = Rig::with_shard("us-iad", "US").await;
    let soon = || Instant::now() + Duration::from_secs(2);
    let before = Instant::now();
    let admitted = admitted(&rig.ctx, caller());
    let write = put(&rig.ctx, &admitted, soon(), put_from("US"));
    let (write, call) = tokio::join!(write, conn.call());
    assert_eq!(write.err().map(|f| f.reason), Some(Reason::WriteOutcomeUnknown));
    assert!((1..=2_000).contains(&call.deadline_ms), "{}", call.deadline_ms);
    assert!(before.elapsed() >= Duration::from_secs(2));

    let mut check = put_from("US");
    check.validate_only = true;
    let (check, _) = tokio::join!(put(&rig.ctx, &admitted, soon(), check), conn.call());
    assert_eq!(check.err().map(|f| f.reason), Some(Reason::DeadlinePassed));

    let passed = put(&rig.ctx, &admitted, Instant::now(), put_from("US")).await;
    assert_eq!(passed.err().map(|f| f.reason), Some(Reason::DeadlinePassed));
    assert!(conn.calls.try_recv().is_err(), "a call came after its deadline");
    // A late reply reaches no caller, and does no harm.
    conn.written(call.id).await;
    let far = Instant::now() + Duration::from_secs(60);
    let (next, _) = tokio::join!(put(&rig.ctx, &admitted, far, put_from("US")), conn.accept());
    assert!(next.is_ok());
}

#[tokio::test]
async fn an_address_that_does_not_resolve_is_a_region_that_is_away() {
    let mut shard = Shard::start(welcome("us-iad", "US")).await;
    let rig = Rig::start(&[
        ("us-iad", &shard.address),
        ("kz-ala", "http://shard.invalid:7411"),
        ("ru-msk", "https://127.0.0.1:7411"),
    ])
    .await;
    let mut conn = shard.conn().await;
    rig.until_up("us-iad").await;
    let mut client = rig.client().await;
    for country in ["KZ", "RU"] {
        assert_eq!(
            reason(&refused(client.put(put_from(country)).await)),
            Reason::RegionUnavailable
        );
    }
    let (answer, _) = tokio::join!(client.put(put_from("US")), conn.accept());
    assert!(answer.is_ok());
}
