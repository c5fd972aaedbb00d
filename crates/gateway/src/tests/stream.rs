//! `StreamPut` over loopback: flow control, bad items, cut streams.

use std::collections::BTreeSet;
use std::time::Duration;

use terms::Reason;
use terms::limits::STREAM_IN_FLIGHT_MAX;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use wire::v1;
use wire::v1::stream_put_request::Write;
use wire::v1::stream_put_response::Outcome;

use super::rig::*;

/// Time in which more would have come, if anything were to come.
const QUIET: Duration = Duration::from_millis(150);

fn numbered(n: u128) -> v1::PutRecordRequest {
    v1::PutRecordRequest { request_id: request_id(n), ..put_from("US") }
}

fn item(put: v1::PutRecordRequest) -> v1::StreamPutRequest {
    v1::StreamPutRequest { write: Some(Write::Put(put)), timeout: None }
}

/// So many calls, after which it is quiet.
async fn flood(conn: &mut Conn, count: usize) -> Vec<u64> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(conn.call().await.id);
    }
    let more = tokio::time::timeout(QUIET, conn.calls.recv()).await;
    assert!(more.is_err(), "more than {count} calls");
    ids
}

#[tokio::test]
async fn nothing_more_is_read_while_enough_is_in_flight() {
    let (rig, _shard, mut conn) = Rig::with_shard("us-iad", "US").await;
    let mut client = rig.client().await;
    let (sender, requests) = mpsc::channel(1);
    let total = STREAM_IN_FLIGHT_MAX * 3;
    let feeder = tokio::spawn(async move {
        for n in 0..total {
            // Large enough that what is not read does not fit into HTTP/2's windows.
            let body = vec![0; 2048].into();
            let request = v1::PutRecordRequest { body, ..numbered(n as u128) };
            let timeout = Some(prost_types::Duration { seconds: 600, nanos: 0 });
            let request = v1::StreamPutRequest { timeout, ..item(request) };
            sender.send(request).await.unwrap();
        }
    });
    let answers = client.stream_put(ReceiverStream::new(requests)).await.unwrap();
    let mut answers = answers.into_inner();

    let ids = flood(&mut conn, STREAM_IN_FLIGHT_MAX).await;
    assert!(!feeder.is_finished(), "the gateway took everything off the wire");
    // Each answer lets one more in.
    for id in &ids[..10] {
        conn.written(*id).await;
    }
    flood(&mut conn, 10).await;

    for id in &ids[10..] {
        conn.written(*id).await;
    }
    let mut seen = BTreeSet::new();
    let rest = tokio::spawn(async move {
        loop {
            conn.accept().await;
        }
    });
    // What came with the second flood is never answered: it is what is left at the end.
    while seen.len() < total - 10 {
        let answer = within(answers.message()).await.unwrap().unwrap();
        let Some(Outcome::Done(done)) = answer.outcome else { panic!("not done") };
        assert_eq!(done.version, 3);
        assert_eq!(answer.request_id, request_id(u128::from(answer.index)));
        assert!(seen.insert(answer.index), "answered twice");
    }
    rest.abort();
    drop(answers);
    rig.until_idle().await;
}

#[tokio::test]
async fn a_bad_request_is_answered_and_the_stream_goes_on() {
    let (rig, _shard, mut conn) = Rig::with_shard("us-iad", "US").await;
    let mut client = rig.client().await;
    let mut requests: Vec<_> = (0..6).map(numbered).collect();
    requests[1].subject = None;
    requests[2].evidence = vec![evidence(v1::EvidenceKind::Residence, "kz")];
    requests[3].request_id = "not-a-uuid".to_owned();
    requests[4] = put_from("KZ");
    let answers =
        client.stream_put(tokio_stream::iter(requests.into_iter().map(item))).await.unwrap();
    let mut answers = answers.into_inner();
    conn.accept().await;
    conn.accept().await;
    let mut reasons = vec![None; 6];
    while let Some(answer) = within(answers.message()).await.unwrap() {
        let index = usize::try_from(answer.index).unwrap();
        reasons[index] = Some(match answer.outcome.unwrap() {
            Outcome::Done(_) | Outcome::Deleted(_) | Outcome::Patched(_) => "OK".to_owned(),
            Outcome::Error(error) => item_reason(&error),
        });
        assert_eq!(answer.request_id.as_str() == "not-a-uuid", index == 3);
    }
    let want =
        ["OK", "FIELD_MISSING", "EVIDENCE_MALFORMED", "FIELD_INVALID", "REGION_UNAVAILABLE", "OK"];
    assert_eq!(reasons.into_iter().flatten().collect::<Vec<_>>(), want);
    rig.until_idle().await;
}

#[tokio::test]
async fn a_stream_cut_in_the_middle_leaves_nothing_behind() {
    let (rig, _shard, mut conn) = Rig::with_shard("us-iad", "US").await;
    for _ in 0..3 {
        let mut client = rig.client().await;
        let (sender, requests) = mpsc::channel(8);
        for n in 0..8 {
            sender.send(item(numbered(n))).await.unwrap();
        }
        let answers = client.stream_put(ReceiverStream::new(requests)).await.unwrap();
        let mut calls = Vec::new();
        for _ in 0..8 {
            calls.push(conn.call().await.id);
        }
        drop(answers);
        drop((client, sender));
        rig.until_idle().await;
        // The shard has them, and ends them; no caller waits for the answers.
        for id in calls {
            conn.written(id).await;
        }
    }
    let mut client = rig.client().await;
    let (answer, _) = tokio::join!(client.put(put_from("US")), conn.accept());
    assert!(answer.is_ok());
}

#[tokio::test]
async fn shutdown_ends_a_stream_after_its_last_answer() {
    let (mut rig, _shard, mut conn) = Rig::with_shard("us-iad", "US").await;
    let mut client = rig.client().await;
    let (sender, requests) = mpsc::channel(8);
    sender.send(item(numbered(1))).await.unwrap();
    let answers = client.stream_put(ReceiverStream::new(requests)).await.unwrap();
    let mut answers = answers.into_inner();
    let call = conn.call().await;
    rig.shut_down();
    within(async {
        while rig.health.is_ready() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    conn.written(call.id).await;
    let answer = within(answers.message()).await.unwrap().unwrap();
    assert!(matches!(answer.outcome, Some(Outcome::Done(_))));
    let end = within(answers.message()).await.map(|_| ());
    assert_eq!(reason(&refused(end)), Reason::ShuttingDown);
    drop((sender, client));
    within(&mut rig.served).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stream_takes_deletes_patches_and_a_time_for_each_write() {
    let (rig, _shard, mut conn) = Rig::with_shard("us-iad", "US").await;
    let mut client = rig.client().await;
    let reference = get_in("us-iad");
    let delete = Write::Delete(v1::DeleteRecordRequest {
        subject: reference.subject,
        collection: reference.collection,
        key: reference.key,
        request_id: request_id(1),
        ..Default::default()
    });
    let patch = Write::Patch(v1::PatchRecordRequest {
        subject: get_in("us-iad").subject,
        collection: "profiles".to_owned(),
        key: "main".to_owned(),
        request_id: request_id(9),
        body: Some(b"new".as_slice().into()),
        ..Default::default()
    });
    let time = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
    let put = |n| Some(Write::Put(numbered(n)));
    let requests = [
        v1::StreamPutRequest { write: Some(delete), timeout: time(600, 0) },
        v1::StreamPutRequest { write: put(2), timeout: time(2, 0) },
        v1::StreamPutRequest { write: put(3), timeout: time(-1, 0) },
        v1::StreamPutRequest { write: None, timeout: None },
        v1::StreamPutRequest { write: put(4), timeout: time(0, 0) },
        v1::StreamPutRequest { write: Some(patch), timeout: None },
    ];
    let answers = client.stream_put(tokio_stream::iter(requests)).await.unwrap();
    let mut answers = answers.into_inner();
    let call = conn.accept().await;
    assert!(matches!(call.op, Some(wire::session::call::Op::Delete(_))));
    assert!(call.deadline_ms > 590_000, "{}", call.deadline_ms);
    // The shard never answers this one.
    let call = conn.call().await;
    assert!(call.deadline_ms <= 2_000, "{}", call.deadline_ms);
    let call = conn.accept().await;
    let sent = |op| matches!(op, wire::session::call::Op::Patch(patch) if patch.body.is_some());
    assert!(call.op.is_some_and(sent));
    let mut found = vec![String::new(); 6];
    while let Some(answer) = within(answers.message()).await.unwrap() {
        let index = usize::try_from(answer.index).unwrap();
        found[index] = match answer.outcome.unwrap() {
            Outcome::Done(_) => "put".to_owned(),
            Outcome::Deleted(done) => format!("deleted {}", done.version),
            Outcome::Patched(done) => format!("patched {} {}", done.version, done.etag),
            Outcome::Error(error) => item_reason(&error),
        };
    }
    let want = [
        "deleted 3",
        "WRITE_OUTCOME_UNKNOWN",
        "FIELD_INVALID",
        "FIELD_MISSING",
        "DEADLINE_PASSED",
        "patched 3 \"e3\"",
    ];
    assert_eq!(found, want);
    rig.until_idle().await;
}
