//! Batches over loopback: each item for itself, in order, within the limits.

use std::time::Duration;

use link::ops::health::Health;
use terms::Reason;
use terms::limits::{BATCH_ITEMS_MAX, BODY_BYTES_MAX};
use tonic_types::StatusExt as _;
use wire::session as proto;
use wire::session::call::Op;
use wire::session::reply::Outcome as Reply;
use wire::v1;
use wire::v1::batch_get_result::Outcome as Got;
use wire::v1::batch_put_result::Outcome as PutEnd;
use wire::v1::records_client::RecordsClient;

use super::rig::*;

fn gets(count: usize) -> v1::BatchGetRecordsRequest {
    let get = |n| v1::GetRecordRequest { key: format!("k{n}"), ..get_in("us-iad") };
    v1::BatchGetRecordsRequest { requests: (0..count).map(get).collect() }
}

/// Answers reads with a body of so many bytes that begins with the key, the last that comes first.
async fn serve(mut conn: Conn, bytes: usize) {
    let mut calls = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_millis(30), conn.calls.recv()).await {
            Ok(Some(call)) => calls.push(call),
            Ok(None) => return,
            Err(_) => {
                while let Some(call) = calls.pop() {
                    let Some(Op::Get(get)) = call.op else { panic!("not a get") };
                    let mut body = get.key.into_bytes();
                    body.resize(bytes.max(body.len()), b'.');
                    let (version, etag) = (1, "\"e\"".to_owned());
                    let found =
                        proto::Found { version, etag, body: body.into(), ..Default::default() };
                    conn.reply(call.id, Reply::Found(found)).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn results_stand_in_the_order_of_requests_and_regions_fail_alone() {
    let (rig, _shard, conn) = Rig::with_shard("us-iad", "US").await;
    let mut client = rig.client().await;
    let served = tokio::spawn(serve(conn, 0));
    let mut request = gets(BATCH_ITEMS_MAX);
    request.requests[3] = get_in("kz-ala");
    request.requests[5].subject = None;
    request.requests[7] = get_in("");
    request.requests[9].collection = "nothing-of-the-map".to_owned();
    let results = client.batch_get(request).await.unwrap().into_inner().results;
    assert_eq!(results.len(), BATCH_ITEMS_MAX);
    for (n, result) in results.into_iter().enumerate() {
        let found = match result.outcome.unwrap() {
            Got::Record(record) => {
                assert_eq!(record.key.as_bytes(), &record.body[..]);
                record.key
            }
            Got::Error(status) => item_reason(&status),
        };
        let expected = match n {
            3 => "REGION_UNAVAILABLE".to_owned(),
            5 => "FIELD_MISSING".to_owned(),
            7 => "DOMICILE_REQUIRED".to_owned(),
            9 => "COLLECTION_UNKNOWN".to_owned(),
            n => format!("k{n}"),
        };
        assert_eq!(found, expected);
    }
    served.abort();
    drop(client);
    rig.until_idle().await;
    assert_eq!(rig.ctx.limits.bytes_taken(), 0);
}

#[tokio::test]
async fn a_batch_over_its_limits_is_refused_as_a_whole_and_an_answer_has_room_for_so_much() {
    let (rig, _shard, conn) = Rig::with_shard("us-iad", "US").await;
    let mut client = RecordsClient::new(rig.channel().await)
        .max_decoding_message_size(terms::limits::FRAME_BYTES_MAX);
    for (count, expected) in [
        (0, Reason::FieldMissing),
        (BATCH_ITEMS_MAX + 1, Reason::TooManyItems),
        (4_000, Reason::TooManyItems),
        (10_000, Reason::FieldInvalid),
    ] {
        assert_eq!(reason(&refused(client.batch_get(gets(count)).await)), expected, "{count}");
        let requests = vec![put_from("US"); count];
        let put = client.batch_put(v1::BatchPutRecordsRequest { requests, atomic: false }).await;
        assert_eq!(reason(&refused(put)), expected, "{count}");
        let requests = vec![v1::DeleteRecordRequest::default(); count];
        let delete = client.batch_delete(v1::BatchDeleteRecordsRequest { requests }).await;
        assert_eq!(reason(&refused(delete)), expected, "{count}");
    }
    let served = tokio::spawn(serve(conn, BODY_BYTES_MAX / 10));
    let results = client.batch_get(gets(25)).await.unwrap().into_inner().results;
    let found = results.iter().filter(|one| matches!(one.outcome, Some(Got::Record(_)))).count();
    assert_eq!(found, 10);
    for result in results {
        if let Some(Got::Error(status)) = result.outcome {
            assert_eq!(item_reason(&status), "BATCH_FULL");
        }
    }
    served.abort();
    drop(client);
    rig.until_idle().await;
    assert_eq!(rig.ctx.limits.bytes_taken(), 0);
}

#[tokio::test]
async fn a_batch_takes_no_more_of_its_tenants_calls_than_are_free() {
    let mut shard = Shard::start(welcome("us-iad", "US")).await;
    let mut settings = settings();
    settings.limits.usual.calls_in_flight = Some(9);
    let at = [("us-iad", shard.address.as_str())];
    let entropy = std::sync::Arc::new(link::host::clock::SystemEntropy);
    let rig = Rig::of(gateway_with(&at, settings, Health::new(), entropy)).await;
    let mut conn = shard.conn().await;
    rig.until_up("us-iad").await;
    let mut client = rig.client().await;
    let put = |n| v1::PutRecordRequest { request_id: request_id(n), ..put_from("US") };
    let requests = (1..=20).map(put).collect();
    let batch = client.batch_put(v1::BatchPutRecordsRequest { requests, atomic: false });
    let answer = async {
        for count in [7, 7, 6] {
            // One of the nine is the batch itself, and one is for other regions.
            let mut ids = Vec::new();
            for _ in 0..count {
                ids.push(conn.call().await.id);
            }
            let more = tokio::time::timeout(Duration::from_millis(50), conn.calls.recv()).await;
            assert!(more.is_err(), "more than seven at once");
            for id in ids {
                conn.written(id).await;
            }
        }
    };
    let (batch, ()) = tokio::join!(batch, answer);
    let results = batch.unwrap().into_inner().results;
    assert_eq!(results.len(), 20);
    for result in results {
        match result.outcome.unwrap() {
            PutEnd::Done(done) => assert_eq!(done.version, 3),
            PutEnd::Error(status) => panic!("{}", item_reason(&status)),
        }
    }
    rig.until_idle().await;
}

fn atomic(requests: Vec<v1::PutRecordRequest>) -> v1::BatchPutRecordsRequest {
    v1::BatchPutRecordsRequest { requests, atomic: true }
}

/// Puts of different records of one subject.
fn puts(count: u8) -> Vec<v1::PutRecordRequest> {
    let put = |n: u8| v1::PutRecordRequest {
        key: format!("k{n}"),
        request_id: request_id(n.into()),
        ..put_from("US")
    };
    (1..=count).map(put).collect()
}

#[tokio::test]
async fn an_atomic_batch_is_one_call_to_one_shard_and_ends_as_one() {
    let (rig, _shard, mut conn) = Rig::with_shard("us-iad", "US").await;
    let mut client = rig.client().await;
    let batch = client.batch_put(atomic(puts(100)));
    let serve = async {
        let call = conn.call().await;
        let Some(Op::PutAll(all)) = call.op else { panic!("another call") };
        assert_eq!(all.puts.len(), 100);
        // In any order.
        for n in (0..100).rev() {
            let reply = proto::Written { version: 1 + i64::try_from(n).unwrap(), ..a_write() };
            conn.reply(call.id + n, Reply::Written(reply)).await;
        }
    };
    let (batch, ()) = tokio::join!(batch, serve);
    for (n, result) in batch.unwrap().into_inner().results.into_iter().enumerate() {
        let Some(PutEnd::Done(done)) = result.outcome else { panic!("it is done") };
        assert_eq!(done.version, 1 + i64::try_from(n).unwrap());
        assert!(done.receipt.is_some());
    }

    // The shard refuses one: that is why none is done.
    let batch = client.batch_put(atomic(puts(3)));
    let serve = async {
        let call = conn.call().await;
        for n in 0..3 {
            let fault = terms::Rejection::new(Reason::VersionMismatch).field("requests[1].etag");
            conn.reply(call.id + n, Reply::Fault(link::session::to_wire(&fault))).await;
        }
    };
    let (batch, ()) = tokio::join!(batch, serve);
    let status = refused(batch);
    assert_eq!(reason(&status), Reason::VersionMismatch);
    let details = status.get_error_details();
    assert_eq!(details.bad_request().unwrap().field_violations[0].field, "requests[1].etag");

    // Another call goes on with ids of its own.
    let (one, call) = tokio::join!(client.put(put_from("US")), conn.accept());
    assert!(one.is_ok() && call.id == 103);
    rig.until_idle().await;
    assert_eq!(rig.ctx.limits.bytes_taken(), 0);
}

#[tokio::test]
async fn an_atomic_batch_that_cannot_be_one_commit_reaches_no_shard() {
    let (rig, _shard, mut conn) = Rig::with_shard("us-iad", "US").await;
    let mut client = rig.client().await;
    let change = |n: usize, change: fn(&mut v1::PutRecordRequest)| {
        let mut all = puts(5);
        change(&mut all[n]);
        all
    };
    let cases: [(Vec<v1::PutRecordRequest>, Reason, &str); 8] = [
        (Vec::new(), Reason::FieldMissing, "requests"),
        (vec![put_from("US"); 101], Reason::TooManyItems, "requests"),
        (
            change(1, |put| put.subject.as_mut().unwrap().id = "p-2".to_owned()),
            Reason::FieldInvalid,
            "requests[1].subject",
        ),
        (change(4, |put| put.key = "k1".to_owned()), Reason::FieldInvalid, "requests[4].key"),
        (
            change(2, |put| put.validate_only = true),
            Reason::FieldInvalid,
            "requests[2].validate_only",
        ),
        (change(3, |put| put.request_id.clear()), Reason::FieldMissing, "requests[3].request_id"),
        (
            change(4, |put| put.collection = "nothing-of-the-map".to_owned()),
            Reason::CollectionUnknown,
            "requests[4].collection",
        ),
        (
            change(2, |put| put.subject.as_mut().unwrap().domicile = "ru-msk".to_owned()),
            Reason::FieldInvalid,
            "requests[2].subject",
        ),
    ];
    for (requests, expected, field) in cases {
        let status = refused(client.batch_put(atomic(requests)).await);
        assert_eq!(reason(&status), expected, "{field}: {status:?}");
        let details = status.get_error_details();
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, field);
    }
    let none = tokio::time::timeout(Duration::from_millis(100), conn.calls.recv()).await;
    assert!(none.is_err(), "something reached the shard");
}

#[tokio::test]
async fn a_session_that_breaks_leaves_an_atomic_batch_as_open_as_one_write() {
    let (rig, _shard, mut conn) = Rig::with_shard("us-iad", "US").await;
    let mut client = rig.client().await;
    let batch = client.batch_put(atomic(puts(10)));
    let serve = async {
        let call = conn.call().await;
        conn.written(call.id).await;
        conn.break_off().await;
    };
    let (batch, ()) = tokio::join!(batch, serve);
    assert_eq!(reason(&refused(batch)), Reason::WriteOutcomeUnknown);
    rig.until_idle().await;
}
