//! Deadlines of map calls, against shards that never answer. The caller is made by hand: the client
//! of tonic would give up by itself.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use ledger::note::{self, Signer};
use ledger::{Signers, entry::Role};
use link::host::clock::SystemEntropy;
use link::ops::health::Health;
use prost::Message;
use terms::Reason;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tonic::{Code, Status};
use wire::v1;

use super::rig::*;
use crate::{Caller, Callers, Settings};

/// The deadline that the caller names.
const NAMED: Duration = Duration::from_millis(300);
/// Far beyond it, and below what a call without a deadline may take.
const LATE: Duration = Duration::from_secs(9);

/// Calls a method, names the deadline, and waits for whatever the gateway says.
async fn call(rig: &Rig, method: &str, message: &impl Message) -> Status {
    let stream = TcpStream::connect(rig.addr).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("http://localhost/bailiwick.v1.RegionMaps/{method}"))
        .header("content-type", "application/grpc")
        .header("grpc-timeout", format!("{}m", NAMED.as_millis()))
        .body(())
        .unwrap();
    let (answer, mut body) = sender.ready().await.unwrap().send_request(request, false).unwrap();
    let message = message.encode_to_vec();
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    bytes.extend(message);
    body.send_data(Bytes::from(bytes), true).unwrap();
    let (head, mut body) = answer.await.unwrap().into_parts();
    if let Some(status) = Status::from_header_map(&head.headers) {
        return status;
    }
    while let Some(data) = body.data().await {
        body.flow_control().release_capacity(data.unwrap().len()).unwrap();
    }
    let trailers = body.trailers().await.unwrap().unwrap();
    Status::from_header_map(&trailers).unwrap()
}

/// The map in force, signed by two.
fn signed() -> (Signers, Option<v1::SignedRegionMap>) {
    let signer = |name, seed| Signer::from_seed(name, &[seed; 32]).unwrap();
    let (anna, boris) = (signer("anna", 1), signer("boris", 2));
    let keys = [anna.vkey(), boris.vkey()];
    let signers = Signers::parse(keys.iter().map(String::as_str)).unwrap();
    let note = note::sign(&atlas::statement(&map()), &[&anna, &boris]).unwrap();
    let map = v1::SignedRegionMap { text: MAP.to_owned(), note, packs: Vec::new() };
    (signers, Some(map))
}

#[tokio::test]
async fn map_calls_end_at_their_callers_deadline() {
    let (signers, map) = signed();
    let shard = Shard::start(welcome("us-iad", "US")).await;
    let operator = Caller { roles: vec![Role::Operator], ..caller() };
    let settings =
        Settings { callers: Callers::Fixed(operator), signers: Some(signers), ..settings() };
    let at = [("us-iad", &*shard.address)];
    let rig =
        Rig::of(gateway_with(&at, settings, Health::new(), std::sync::Arc::new(SystemEntropy)))
            .await;
    rig.until_up("us-iad").await;
    // Every map that may be read at once is being read.
    let readers = rig.ctx.map.reading.available_permits();
    let reading = rig.ctx.map.reading.acquire_many(readers.try_into().unwrap()).await;
    let check = v1::CheckRegionMapRequest { map: map.clone(), ..Default::default() };
    ends(&call_in_time(&rig, "Check", &check).await);
    drop(reading);

    ends(&call_in_time(&rig, "Get", &v1::GetRegionMapRequest { epoch: 0 }).await);
    let apply =
        v1::ApplyRegionMapRequest { map: map.clone(), expect_epoch: 1, ..Default::default() };
    ends(&call_in_time(&rig, "Apply", &apply).await);
    ends(&call_in_time(&rig, "History", &v1::RegionMapHistoryRequest::default()).await);
    // A plan may say by then that no shard was counted.
    let plan = v1::PlanRegionMapRequest { map, ..Default::default() };
    let planned = call_in_time(&rig, "Plan", &plan).await;
    assert!(matches!(planned.code(), Code::Ok | Code::DeadlineExceeded), "{planned:?}");
    rig.until_idle().await;
}

/// Asserts that the gateway has answered by itself that the time is over.
#[track_caller]
fn ends(status: &Status) {
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert_eq!(reason(status), Reason::DeadlinePassed);
}

async fn call_in_time(rig: &Rig, method: &str, message: &impl Message) -> Status {
    let started = Instant::now();
    let status = within(call(rig, method, message)).await;
    let took = started.elapsed();
    assert!(took < LATE, "{method} took {took:?}");
    assert!(took >= NAMED, "{method} took {took:?}: {status:?}");
    status
}
