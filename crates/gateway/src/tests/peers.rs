//! Peers that break the rules of gRPC, or stall: the gateway stays up, reports what happened, and
//! serves all others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, StatusCode};
use link::host::clock::SystemEntropy;
use link::ops::health::Health;
use terms::{Entropy, EntropyFailed, Reason};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tower::{Service as _, ServiceExt as _};
use wire::session as proto;
use wire::v1;

use super::rig::*;
use crate::shards::metrics::SessionEnd;
use crate::{TenantLimit, TenantLimits};

/// A status that tonic cannot decode.
fn malformed() -> Status {
    let mut headers = HeaderMap::new();
    headers.insert("grpc-status-details-bin", HeaderValue::from_static("%%%"));
    Status::with_metadata(Code::Internal, "odd", MetadataMap::from_headers(headers))
}

/// Waits until a session with a shard of that region has ended so often for that cause.
async fn ended(rig: &Rig, region: &str, cause: SessionEnd, times: u64) {
    let region = terms::RegionId::parse(region).unwrap();
    within(async {
        while rig.session_metrics.ends(&region, cause) < times {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_session_that_ends_with_a_malformed_status_is_opened_again() {
    let mut shard = Shard::start(welcome("us-iad", "US")).await;
    // Before the welcome, in the headers; and as the first thing that comes.
    shard.spoil([Some(Spoiled::Headers(malformed())), Some(Spoiled::Trailers(malformed()))]);
    let rig = Rig::start(&[("us-iad", &shard.address)]).await;
    ended(&rig, "us-iad", SessionEnd::Malformed, 2).await;
    let mut client = rig.client().await;
    for round in 3..5 {
        let mut conn = shard.conn().await;
        rig.until_up("us-iad").await;
        let (answer, _) = tokio::join!(client.put(put_from("US")), conn.accept());
        assert!(answer.is_ok());
        // In the middle of a session, with a call in flight.
        let broken = async {
            conn.call().await;
            conn.out.send(Err(malformed())).await.ok();
        };
        let (answer, ()) = tokio::join!(client.put(put_from("US")), broken);
        assert_eq!(reason(&refused(answer)), Reason::WriteOutcomeUnknown);
        ended(&rig, "us-iad", SessionEnd::Malformed, round).await;
    }
    shard.conn().await;
    rig.until_up("us-iad").await;
    until_page(&rig.health, |ready, page| ready && page.contains("region/us-iad: within reach"))
        .await;
}

/// Panics for a while after its first use: that makes the ids of calls, and then the session of each
/// region uses it when its first attempt has failed.
#[derive(Default)]
struct Panics(AtomicUsize);

impl Entropy for Panics {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyFailed> {
        let asked = self.0.fetch_add(1, Ordering::Relaxed);
        assert!(!(1..=400).contains(&asked), "as the test wants it");
        buffer.fill(7);
        Ok(())
    }
}

#[tokio::test]
async fn a_session_that_panics_connects_again() {
    let mut shard = Shard::start(welcome("us-iad", "US")).await;
    // The first attempt fails, and waits as long as the randomness says.
    shard.spoil([Some(Spoiled::Headers(Status::internal("odd"))), None]);
    let entropy = Arc::new(Panics::default());
    let at = [("us-iad", &*shard.address)];
    let rig = Rig::of(gateway_with(&at, settings(), Health::new(), entropy)).await;
    ended(&rig, "us-iad", SessionEnd::Panicked, 1).await;
    let mut conn = shard.conn().await;
    rig.until_up("us-iad").await;
    let mut client = rig.client().await;
    let (answer, _) = tokio::join!(client.put(put_from("US")), conn.accept());
    assert!(answer.is_ok());
}

/// Waits until readiness and its page are as they should be.
pub(super) async fn until_page(health: &Health, yes: impl Fn(bool, &str) -> bool) {
    within(async {
        while !yes(health.is_ready(), &health.ready_page()) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// The calls that the gateways of the next two tests take.
const CALLS_MAX: usize = 64;

/// Sends far more calls than the gateway takes to a shard that answers none of them, and waits until it
/// has refused the others. They go on until the set is dropped.
async fn flood(calls: Vec<impl Future<Output = Status> + Send + 'static>) -> JoinSet<()> {
    let (busy, mut sent) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    for call in calls {
        let busy = Arc::clone(&busy);
        sent.spawn(async move {
            let status = call.await;
            if status.code() == Code::ResourceExhausted {
                assert_eq!(reason(&status), Reason::ShardBusy);
                busy.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    within(async {
        while busy.load(Ordering::Relaxed) < CALLS_MAX {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    sent
}

#[tokio::test]
async fn a_stalled_region_takes_nothing_from_the_others() {
    let (mut still, mut moves) =
        (Shard::start(welcome("us-iad", "US")).await, Shard::start(welcome("kz-ala", "KZ")).await);
    let at = [("us-iad", &*still.address), ("kz-ala", &*moves.address)];
    let rig = Rig::with(&at, CALLS_MAX).await;
    let (mut stalled, mut conn) = (still.conn().await, moves.conn().await);
    rig.until_up("us-iad").await;
    rig.until_up("kz-ala").await;
    let mut calls = Vec::new();
    for _ in 0..CALLS_MAX * 2 {
        let mut client = rig.client().await;
        calls.push(async move { refused(client.put(put_from("US")).await) });
    }
    let _calls = flood(calls).await;
    let mut client = rig.client().await;
    for _ in 0..20 {
        let (answer, _) = tokio::join!(client.put(put_from("KZ")), conn.accept());
        assert!(answer.is_ok(), "{:?}", answer.err());
    }
    // It answers again, and its calls are served.
    let answers = tokio::spawn(async move {
        loop {
            stalled.accept().await;
        }
    });
    let mut client = rig.client().await;
    within(async {
        while client.put(put_from("US")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    answers.abort();
}

#[tokio::test]
async fn questions_for_the_key_of_a_stalled_region_take_nothing_from_the_others() {
    let (mut still, mut moves) =
        (Shard::start(welcome("us-iad", "US")).await, Shard::start(welcome("kz-ala", "KZ")).await);
    let at = [("us-iad", &*still.address), ("kz-ala", &*moves.address)];
    let rig = Rig::with(&at, CALLS_MAX).await;
    let (_stalled, mut conn) = (still.conn().await, moves.conn().await);
    rig.until_up("us-iad").await;
    rig.until_up("kz-ala").await;
    let mut calls = Vec::new();
    for _ in 0..CALLS_MAX * 2 {
        let mut client = v1::transit_client::TransitClient::new(rig.channel().await);
        let asked = v1::GetTransitKeyRequest { region: "us-iad".to_owned() };
        calls.push(async move { refused(client.get_key(asked).await) });
    }
    let _calls = flood(calls).await;
    let mut client = rig.client().await;
    let (answer, _) = tokio::join!(client.put(put_from("KZ")), conn.accept());
    assert!(answer.is_ok(), "{:?}", answer.err());
}

#[tokio::test]
async fn small_puts_on_several_streams_pile_up_nowhere() {
    const STREAMS: usize = 4;
    const PUTS: usize = 10_000;
    let mut shard = Shard::start(welcome("us-iad", "US")).await;
    let plenty = TenantLimit { calls_in_flight: Some(8_192), ..TenantLimit::default() };
    let limits = TenantLimits { usual: plenty, ..TenantLimits::default() };
    let settings = crate::Settings { limits, ..settings() };
    let (at, entropy) = ([("us-iad", &*shard.address)], Arc::new(SystemEntropy));
    let rig = Rig::of(gateway_with(&at, settings, Health::new(), entropy)).await;
    let mut conn = shard.conn().await;
    rig.until_up("us-iad").await;
    let client = rig.client().await;
    let sent = Arc::new(AtomicUsize::new(0));
    let mut streams = Vec::new();
    for stream in 0..STREAMS {
        let (sender, requests) = mpsc::channel(1);
        let sent = Arc::clone(&sent);
        tokio::spawn(async move {
            for n in 0..PUTS {
                let request_id = request_id((stream * PUTS + n) as u128);
                let body = bytes::Bytes::new();
                let put = v1::PutRecordRequest { request_id, body, ..get_like("us-iad") };
                let write = Some(v1::stream_put_request::Write::Put(put));
                let request = v1::StreamPutRequest { write, timeout: None };
                sender.send(request).await.expect("the stream goes on");
                sent.fetch_add(1, Ordering::Relaxed);
                // Each in a frame of its own, as a library may send them.
                tokio::task::yield_now().await;
            }
        });
        let mut client = client.clone();
        let mut call = tonic::Request::new(ReceiverStream::new(requests));
        call.set_timeout(Duration::from_secs(600));
        let answers = client.stream_put(call).await.unwrap();
        streams.push(answers.into_inner());
    }
    // The shard is stalled until nothing more goes out: HTTP/2's windows are full.
    let mut before = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = sent.load(Ordering::Relaxed);
        if now == before {
            break;
        }
        before = now;
    }
    assert!(before < STREAMS * PUTS, "everything was taken off the wire");
    let shard = tokio::spawn(async move {
        loop {
            conn.accept().await;
        }
    });
    // The answers are read late, and then as they come.
    let read = streams.into_iter().enumerate().map(|(stream, mut answers)| async move {
        for n in 0..PUTS {
            let answer = within(answers.message()).await;
            let answer = answer.unwrap_or_else(|status| panic!("{stream}: {n}: {status:?}"));
            // A stalled shard is not sent more: that is an answer as well.
            assert!(answer.unwrap().outcome.is_some());
        }
    });
    futures_util::future::join_all(read).await;
    shard.abort();
}

/// A put into that region that is as small as one can be.
fn get_like(region: &str) -> v1::PutRecordRequest {
    let v1::GetRecordRequest { subject, collection, key, .. } = get_in(region);
    v1::PutRecordRequest { subject, collection, key, ..Default::default() }
}

#[tokio::test]
async fn what_is_no_grpc_is_refused_and_nothing_is_stored() {
    let (rig, _shard, mut conn) = Rig::with_shard("us-iad", "US").await;
    let post = |kind: Option<&'static str>| {
        let request = Request::post("http://localhost/bailiwick.v1.Records/Put");
        match kind {
            Some(kind) => request.header("content-type", kind),
            None => request,
        }
    };
    let body = || {
        use prost::Message as _;
        let message = put_from("US").encode_to_vec();
        let mut bytes = vec![0];
        bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        bytes.extend(message);
        Body::new(http_body_util::Full::new(bytes::Bytes::from(bytes)))
    };
    let mut channel = rig.channel().await;
    let grpc = Some("application/grpc");
    let mut count = 0;
    for (request, want) in [
        (post(Some("text/plain")), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (post(Some("application/grpc-web+proto")), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (post(Some("application/json")), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (post(None), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (post(grpc).header("origin", "https://example.org"), StatusCode::FORBIDDEN),
        (post(grpc).method(http::Method::PUT), StatusCode::METHOD_NOT_ALLOWED),
        (post(grpc).method(http::Method::GET), StatusCode::METHOD_NOT_ALLOWED),
        (post(grpc).method(http::Method::OPTIONS), StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let answer = channel.ready().await.unwrap().call(request.body(body()).unwrap()).await;
        assert_eq!(answer.unwrap().status(), want);
        count += 1;
        assert_eq!(rig.ctx.metrics.not_grpc.get(), count);
    }
    assert!(conn.calls.try_recv().is_err(), "something was sent");
    let taken = AtomicBool::new(false);
    let good = post(Some("application/grpc+proto")).body(body()).unwrap();
    let (answer, _) = tokio::join!(channel.ready().await.unwrap().call(good), async {
        conn.accept().await;
        taken.store(true, Ordering::Relaxed);
    });
    assert!(answer.unwrap().status().is_success() && taken.load(Ordering::Relaxed));
}

#[tokio::test]
async fn a_gateway_without_any_shard_in_reach_is_not_ready() {
    let mut shard = Shard::start(welcome("us-iad", "US")).await;
    let rig = Rig::start(&[("us-iad", &shard.address)]).await;
    let conn = shard.conn().await;
    until_page(&rig.health, |ready, page| {
        ready && page.contains("region/kz-ala: out of reach; missing: s1\n")
    })
    .await;
    shard.stop();
    conn.break_off().await;
    until_page(&rig.health, |ready, page| {
        !ready
            && page.contains("waits: no shard is within reach\n")
            && page.contains("region/us-iad: out of reach; missing: s1\n")
    })
    .await;
}

#[tokio::test]
async fn map_calls_end_at_their_callers_deadline() {
    let mut shard = Shard::start(welcome("us-iad", "US")).await;
    let operator = crate::Caller { roles: vec![ledger::entry::Role::Operator], ..caller() };
    let settings = crate::Settings { callers: crate::Callers::Fixed(operator), ..settings() };
    let (at, entropy) = ([("us-iad", &*shard.address)], Arc::new(SystemEntropy));
    let rig = Rig::of(gateway_with(&at, settings, Health::new(), entropy)).await;
    let mut conn = shard.conn().await;
    rig.until_up("us-iad").await;
    let mut maps = v1::region_maps_client::RegionMapsClient::new(rig.channel().await);
    let mut history = tonic::Request::new(v1::RegionMapHistoryRequest::default());
    history.set_timeout(Duration::from_secs(2));
    let status = refused(maps.history(history).await);
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    let mut get = tonic::Request::new(v1::GetRegionMapRequest::default());
    get.set_timeout(Duration::from_secs(2));
    let status = refused(maps.get(get).await);
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    let call = conn.call().await;
    assert!(matches!(call.op, Some(proto::call::Op::MapHistory(_))));
}
