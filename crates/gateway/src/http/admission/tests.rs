//! Whether the gates close.

use std::convert::Infallible;

use arc_swap::ArcSwap;
use link::host::clock::{SystemClock, SystemEntropy};
use link::ops::metrics::Registry;
use tonic_types::StatusExt as _;
use tower::{Layer as _, Service as _, ServiceExt as _};

use super::*;
use crate::api::context::{Ids, Seats};
use crate::auth::authenticate::{Callers, Identity, Known};
use crate::http::connection::Beside;
use crate::http::refusal_log;
use crate::limits::{Shares, TenantLimits};
use crate::metrics::Metrics;
use crate::tests::rig;

#[test]
fn timeouts_are_of_grpcs_form() {
    for (text, want) in [
        ("5S", Some(Duration::from_secs(5))),
        ("0n", Some(Duration::ZERO)),
        ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
        ("250m", Some(Duration::from_millis(250))),
        ("7u", Some(Duration::from_micros(7))),
        ("2M", Some(Duration::from_secs(120))),
        ("", None),
        ("S", None),
        ("5", None),
        ("5s", None),
        ("-5S", None),
        ("123456789S", None),
        ("5 S", None),
    ] {
        assert_eq!(grpc_timeout(text.as_bytes()), want, "{text}");
    }
}

/// Callers are known by a token, and none is good.
fn desk() -> Arc<Desk> {
    let metrics = Arc::new(Metrics::new(&mut Registry::default()));
    let seats = Arc::new(Seats::new(8, metrics.in_flight().clone()));
    let ids = Ids::new(&SystemEntropy).unwrap();
    let shares = ArcSwap::from_pointee(Shares::new(&rig::map(), &TenantLimits::default(), 8));
    let identity = Identity::new(Callers::Known(Known::default()), None, Arc::new(SystemClock));
    let log = refusal_log::Log::new(Arc::new(SystemClock));
    Arc::new(Desk { ids, seats, shares, identity, log, metrics })
}

/// What the stack says of a request on that connection, and what it put beside it.
async fn asked(desk: &Arc<Desk>, line: &Arc<Line>, path: &str) -> Result<Request, Reason> {
    let (passed, mut inside) = tokio::sync::mpsc::channel::<Request>(1);
    let inner = tower::service_fn(move |request: Request| {
        passed.try_send(request).unwrap();
        std::future::ready(Ok::<_, Infallible>(::http::Response::new(Body::empty())))
    });
    let mut stack = crate::http::layers(desk, &rig::charts()).layer(inner);
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = path.parse().unwrap();
    let header = ::http::HeaderValue::from_static("Bearer x.y.z");
    request.headers_mut().insert(::http::header::AUTHORIZATION, header);
    request.extensions_mut().insert(Beside { arrived: Default::default(), line: line.clone() });
    let answer = stack.ready().await.unwrap().call(request).await.unwrap();
    match tonic::Status::from_header_map(answer.headers()) {
        None => Ok(inside.recv().await.unwrap()),
        Some(status) => {
            Err(Reason::parse(&status.get_details_error_info().unwrap().reason).unwrap())
        }
    }
}

const PUT: &str = "/bailiwick.v1.Records/Put";
const WATCH: &str = "/grpc.health.v1.Health/Watch";

#[tokio::test]
async fn a_connection_that_shows_false_proofs_is_not_listened_to_for_a_moment() {
    let (desk, line) = (desk(), Arc::new(Line::default()));
    let other = Arc::new(Line::default());
    for round in 0..2 {
        for n in 0..64 {
            let path = if n % 2 == 0 { PUT } else { WATCH };
            let refused = asked(&desk, &line, path).await.err();
            assert_eq!(refused, Some(Reason::IdentityInvalid), "{round} {n}");
        }
        assert_eq!(asked(&desk, &line, PUT).await.err(), Some(Reason::GatewayBusy));
        assert_eq!(asked(&desk, &other, PUT).await.err(), Some(Reason::IdentityInvalid));
        assert!(asked(&desk, &line, CHECK).await.is_ok(), "health is not asked who it is");
        line.tick();
    }
    assert_eq!(desk.seats.free(), 8);
}

#[tokio::test]
async fn a_connection_has_few_looks_at_health_under_way() {
    let (desk, line) = (desk(), Arc::new(Line::default()));
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(asked(&desk, &line, CHECK).await.unwrap());
    }
    assert_eq!(asked(&desk, &line, CHECK).await.err(), Some(Reason::GatewayBusy));
    assert!(asked(&desk, &Arc::default(), CHECK).await.is_ok());
    held.pop();
    assert!(asked(&desk, &line, CHECK).await.is_ok());
    assert_eq!(desk.seats.free(), 8, "health takes no seat");
}
