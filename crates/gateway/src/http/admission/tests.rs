//! Which requests are admitted.

use std::convert::Infallible;

use tokio::time::advance;
use tonic_types::StatusExt as _;
use tower::{Layer as _, Service as _, ServiceExt as _};

use super::*;
use crate::auth::authenticate::{Callers, Known};
use crate::http::CallLayer;
use crate::http::connection::CallerConnection;
use crate::tests::rig;

#[test]
fn timeouts_have_the_form_that_grpc_defines() {
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

/// Callers need a token, and none is valid.
fn context() -> Arc<CallContext> {
    rig::context_with(rig::map(), Callers::Known(Known::default()))
}

/// What the layer passes on of a request on that connection, or why it refuses it.
async fn asked(
    ctx: &Arc<CallContext>,
    connection: &Arc<ClientConnection>,
    path: &str,
) -> Result<Request, Reason> {
    let (passed, mut inside) = tokio::sync::mpsc::channel::<Request>(1);
    let inner = tower::service_fn(move |request: Request| {
        passed.try_send(request).unwrap();
        std::future::ready(Ok::<_, Infallible>(::http::Response::new(Body::empty())))
    });
    let mut service = CallLayer::new(ctx).layer(inner);
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = path.parse().unwrap();
    let header = ::http::HeaderValue::from_static("Bearer x.y.z");
    request.headers_mut().insert(::http::header::AUTHORIZATION, header);
    let connection = Arc::clone(connection);
    request
        .extensions_mut()
        .insert(CallerConnection { arrived: ConnectionInfo::default(), connection });
    let answer = service.ready().await.unwrap().call(request).await.unwrap();
    match tonic::Status::from_header_map(answer.headers()) {
        None => Ok(inside.recv().await.unwrap()),
        Some(status) => {
            Err(Reason::parse(&status.get_details_error_info().unwrap().reason).unwrap())
        }
    }
}

const PUT: &str = "/bailiwick.v1.Records/Put";
const WATCH: &str = "/grpc.health.v1.Health/Watch";

#[tokio::test(start_paused = true)]
async fn a_connection_with_many_false_credentials_is_refused_for_a_moment() {
    let (ctx, connection) = (context(), Arc::new(ClientConnection::default()));
    for round in 0..2 {
        for n in 0..64 {
            let path = if n % 2 == 0 { PUT } else { WATCH };
            let refused = asked(&ctx, &connection, path).await.err();
            assert_eq!(refused, Some(Reason::IdentityInvalid), "{round} {n}");
        }
        assert_eq!(asked(&ctx, &connection, PUT).await.err(), Some(Reason::GatewayBusy));
        let other = asked(&ctx, &Arc::default(), PUT).await.err();
        assert_eq!(other, Some(Reason::IdentityInvalid));
        assert!(asked(&ctx, &connection, HEALTH_CHECK).await.is_ok(), "it needs no identity");
        advance(REST).await;
    }
    assert_eq!(ctx.metrics.in_flight.get(), 0);
}

#[tokio::test]
async fn health_and_reflection_have_a_bound_for_each_connection_and_take_no_permits() {
    const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let (ctx, connection) = (rig::context(), Arc::new(ClientConnection::default()));
    // Every call of the gateway and of the tenant is taken.
    let gateway: Vec<_> = (0..8).map(|_| ctx.limits.enter().unwrap()).collect();
    let tenant = rig::caller().tenant;
    let tenant: Vec<_> = (0..8).map(|_| ctx.limits.admit(&tenant).unwrap()).collect();
    let mut held = Vec::new();
    for n in 0..8 {
        let path = [HEALTH_CHECK, WATCH, REFLECTION][n % 3];
        held.push(asked(&ctx, &connection, path).await.unwrap());
    }
    for path in [HEALTH_CHECK, WATCH, REFLECTION] {
        assert_eq!(asked(&ctx, &connection, path).await.err(), Some(Reason::GatewayBusy));
        assert!(asked(&ctx, &Arc::default(), path).await.is_ok());
    }
    held.pop();
    assert!(asked(&ctx, &connection, HEALTH_CHECK).await.is_ok());
    drop((gateway, tenant));
}
