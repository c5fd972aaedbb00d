//! The server around the services: limits, load, health, reflection, an orderly end.

use std::sync::Arc;
use std::time::Duration;

use evidence::Sources;
use link::host::clock::{SystemClock, SystemEntropy};
use link::ops::health::Health;
use link::ops::metrics::Registry;
use terms::{Reason, TenantId};
use tonic::Code;
use tonic::body::Body;
use tonic::transport::Channel;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;
use tower::{Layer as _, Service as _, ServiceExt as _};
use wire::v1;
use wire::v1::subjects_client::SubjectsClient;

use super::rig::*;
use crate::{Callers, Error, Gateway, RoutingError, Settings};

#[tokio::test]
async fn a_full_gateway_says_so_at_once_and_stays_healthy() {
    let mut shard = Shard::start(welcome("us-iad", "US")).await;
    let rig = Rig::with(&[("us-iad", &shard.address)], 1).await;
    let mut conn = shard.conn().await;
    rig.until_up("us-iad").await;
    let (mut first, mut second) = (rig.client().await, rig.client().await);
    let crowd = async {
        let call = conn.call().await;
        let status = refused(second.put(put_from("US")).await);
        assert_eq!(reason(&status), Reason::GatewayBusy);
        let details = status.get_error_details();
        assert!(details.retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO);
        assert_eq!(health(&rig, "").await, Ok(ServingStatus::Serving as i32));
        conn.written(call.id).await;
    };
    let (answer, ()) = tokio::join!(first.put(put_from("US")), crowd);
    assert!(answer.is_ok());
    rig.until_idle().await;
    let (answer, _) = tokio::join!(second.put(put_from("US")), conn.accept());
    assert!(answer.is_ok());
}

async fn health(rig: &Rig, service: &str) -> Result<i32, Code> {
    let mut client = HealthClient::new(rig.channel().await);
    let request = HealthCheckRequest { service: service.to_owned() };
    client.check(request).await.map(|r| r.into_inner().status).map_err(|status| status.code())
}

#[tokio::test]
async fn health_speaks_of_services_and_regions() {
    let (rig, shard, conn) = Rig::with_shard("us-iad", "US").await;
    let (yes, no) = (Ok(ServingStatus::Serving as i32), Ok(ServingStatus::NotServing as i32));
    assert_eq!(health(&rig, "").await, yes);
    for name in ["Records", "Attachments", "Subjects", "Operations", "RegionMaps", "Transit"] {
        assert_eq!(health(&rig, &format!("bailiwick.v1.{name}")).await, yes, "{name}");
    }
    assert_eq!(health(&rig, "region/kz-ala").await, no);
    assert_eq!(health(&rig, "region/nowhere").await, Err(Code::NotFound));
    within(async {
        while health(&rig, "region/us-iad").await != yes {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    shard.stop();
    conn.break_off().await;
    within(async {
        while health(&rig, "region/us-iad").await != no {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // That was the last region within reach: nothing is left to serve.
    assert_eq!(health(&rig, "").await, no);
    assert_eq!(health(&rig, "bailiwick.v1.RegionMaps").await, no);
    assert!(!rig.health.is_ready());
}

#[tokio::test]
async fn what_tonic_refuses_has_a_reason_too() {
    let rig = Rig::start(&[]).await;
    let mut client = rig.client().await.max_encoding_message_size(usize::MAX);
    for bytes in [(1 << 20) + 1, (16 << 20) + 1, 18 << 20] {
        let mut request = put_from("US");
        request.body = vec![0; bytes].into();
        let status = refused(client.put(request).await);
        assert_eq!(reason(&status), Reason::BodyTooLarge, "{bytes}");
        assert!(status.get_error_details().error_info().unwrap().metadata.contains_key("limit"));
    }
    let mut raw = tonic::client::Grpc::new(rig.channel().await);
    raw.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<v1::GetRecordRequest, v1::Record>::default();
    let path = ::http::uri::PathAndQuery::from_static("/bailiwick.v1.Records/Nothing");
    let request = tonic::Request::new(get_in("us-iad"));
    let answer = raw.unary(request, path, codec).await;
    assert_eq!(reason(&refused(answer)), Reason::NotBuilt);
    // Bytes that are no PutRecordRequest: a field of another wire type.
    raw.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<tonic_types::pb::RetryInfo, v1::Record>::default();
    let path = ::http::uri::PathAndQuery::from_static("/bailiwick.v1.Records/Get");
    let delay = Some(prost_types_duration(7));
    let request = tonic::Request::new(tonic_types::pb::RetryInfo { retry_delay: delay });
    let answer = raw.unary(request, path, codec).await;
    assert_eq!(reason(&refused(answer)), Reason::FieldInvalid);
}

fn prost_types_duration(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

#[tokio::test]
async fn reflection_lists_the_public_services_in_both_versions() {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1alpha as old;

    let rig = Rig::start(&[]).await;
    let mut client = ServerReflectionClient::new(rig.channel().await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = client.server_reflection_info(tokio_stream::iter([request])).await.unwrap();
    let answer = within(answers.into_inner().message()).await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("no list")
    };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    for name in ["bailiwick.v1.Records", "bailiwick.v1.Subjects", "grpc.health.v1.Health"] {
        assert!(names.iter().any(|n| n == name), "{names:?}");
    }
    assert!(!names.iter().any(|n| n.contains("internal")), "{names:?}");

    let mut client =
        old::server_reflection_client::ServerReflectionClient::new(rig.channel().await);
    let request = |symbol: &str| old::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            old::server_reflection_request::MessageRequest::FileContainingSymbol(symbol.to_owned()),
        ),
    };
    let details =
        ["ErrorInfo", "RetryInfo", "BadRequest", "Status"].map(|of| format!("google.rpc.{of}"));
    let names = details.iter().map(String::as_str).chain(["bailiwick.v1.Records"]);
    let requests: Vec<_> = names.map(request).collect();
    let answers =
        client.server_reflection_info(tokio_stream::iter(requests.clone())).await.unwrap();
    let mut answers = answers.into_inner();
    use old::server_reflection_response::MessageResponse::FileDescriptorResponse;
    for asked in requests {
        let answer = within(answers.message()).await.unwrap().unwrap();
        let found = matches!(answer.message_response, Some(FileDescriptorResponse(_)));
        assert!(found, "{:?}", asked.message_request);
    }
}

#[tokio::test]
async fn what_is_in_flight_ends_before_the_gateway_does() {
    let (mut rig, _shard, mut conn) = Rig::with_shard("us-iad", "US").await;
    let mut client = rig.client().await;
    let answer = tokio::spawn(async move { client.put(put_from("US")).await });
    let call = conn.call().await;
    assert!(rig.health.is_ready());
    rig.shut_down();
    within(async {
        while rig.health.is_ready() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    assert!(!rig.served.is_finished());
    conn.written(call.id).await;
    assert!(within(answer).await.unwrap().is_ok());
    within(&mut rig.served).await.unwrap().unwrap();
    assert!(Channel::from_shared(format!("http://{}", rig.addr)).unwrap().connect().await.is_err());
}

#[tokio::test]
async fn a_deadline_that_has_passed_is_answered_before_anything_is_done() {
    let gateway = gateway(&[], 8, Health::new());
    let inner = tower::service_fn(|_: ::http::Request<Body>| {
        std::future::ready(Ok::<_, std::convert::Infallible>(::http::Response::new(Body::empty())))
    });
    let mut stack = crate::http::CallLayer::new(&gateway.ctx).layer(inner);
    for (timeout, want) in [
        ("0n", Some(Reason::DeadlinePassed)),
        ("0S", Some(Reason::DeadlinePassed)),
        ("tomorrow", Some(Reason::FieldInvalid)),
        ("600S", None),
    ] {
        let request = ::http::Request::post("/bailiwick.v1.Records/Put")
            .header("grpc-timeout", timeout)
            .body(Body::empty())
            .unwrap();
        let response = stack.ready().await.unwrap().call(request).await.unwrap();
        let status = tonic::Status::from_header_map(response.headers());
        assert_eq!(status.as_ref().map(reason), want, "{timeout}");
    }
    assert_eq!(gateway.ctx.metrics.in_flight.get(), 0);
}

#[tokio::test]
async fn placements_are_resolved_without_a_shard() {
    let rig = Rig::start(&[]).await;
    let mut client = SubjectsClient::new(rig.channel().await);
    let ask = |country: &str| v1::ResolvePlacementRequest {
        collection: "profiles".to_owned(),
        evidence: put_from(country).evidence,
        findings: Vec::new(),
    };
    let ruling = client.resolve_placement(ask("RU")).await.unwrap().into_inner();
    let Some(v1::ruling::Outcome::Placement(placement)) = ruling.outcome else { panic!("refused") };
    assert_eq!(placement.region, "ru-msk");
    assert_eq!(ruling.findings.len(), 2);
    let nothing = v1::ResolvePlacementRequest { evidence: Vec::new(), ..ask("RU") };
    let ruling = client.resolve_placement(nothing).await.unwrap().into_inner();
    let Some(v1::ruling::Outcome::Refusal(refusal)) = ruling.outcome else { panic!("placed") };
    assert_eq!(refusal.reason, "JURISDICTION_UNDETERMINED");
}

#[tokio::test]
async fn no_subject_is_created_from_nothing() {
    let (rig, _shard, mut conn) = Rig::with_shard("us-iad", "US").await;
    let mut client = SubjectsClient::new(rig.channel().await);
    for domicile in ["", "us-iad"] {
        let request = v1::CreateSubjectRequest {
            subject: Some(v1::SubjectRef { id: "p-1".to_owned(), domicile: domicile.to_owned() }),
            collection: "profiles".to_owned(),
            request_id: request_id(1),
            ..Default::default()
        };
        let status = refused(client.create(request).await);
        assert_eq!(reason(&status), Reason::JurisdictionUndetermined);
        assert_eq!(status.code(), Code::FailedPrecondition);
    }
    assert!(conn.calls.try_recv().is_err(), "something was sent");
}

#[test]
fn a_gateway_that_does_not_fit_its_map_does_not_start() {
    let map = map();
    let all: Vec<_> =
        map.regions().iter().map(|r| annex(&map, r.name().as_str(), UNUSED_ADDRESS)).collect();
    let other = MAP.replace("kz-ala", "kz-ast");
    let other = annex(&atlas::RegionMap::parse(&other).unwrap(), "kz-ast", UNUSED_ADDRESS);
    let open = |annexes: Vec<atlas::Annex>, tenant: &str, in_flight_max| {
        let tenant = TenantId::parse(tenant).unwrap();
        let callers = Callers::Fixed(crate::Caller { tenant, ..caller() });
        let settings = Settings { callers, in_flight_max, ..settings() };
        let sources = Sources::new(None).unwrap();
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let (mut registry, health) = (Registry::new(), Health::new());
        Gateway::new(
            settings,
            Arc::clone(&map),
            annexes,
            sources,
            clock,
            entropy,
            &mut registry,
            health,
        )
        .map(|_| ())
    };
    assert!(open(all.clone(), "sample", 1).is_ok());
    assert!(matches!(
        open(all[1..].to_vec(), "sample", 1),
        Err(Error::Routing(RoutingError::RegionWithoutAnnex(_)))
    ));
    let twice = [all.clone(), all[..1].to_vec()].concat();
    assert!(matches!(open(twice, "sample", 1), Err(Error::Routing(RoutingError::AnnexTwice(_)))));
    let strange = [all.clone(), vec![other]].concat();
    assert!(matches!(
        open(strange, "sample", 1),
        Err(Error::Routing(RoutingError::AnnexOfNoRegion(_)))
    ));
    assert!(matches!(open(all.clone(), "stranger", 1), Err(Error::TenantUnknown)));
    assert!(matches!(open(all.clone(), "sample", 0), Err(Error::InFlightMax)));
    assert!(matches!(open(all, "sample", usize::MAX), Err(Error::InFlightMax)));
}
