//! The auditors' listener. It has the `Ledger` service and the plain HTTP paths of
//! tlog-tiles. Nothing here waits for the committer, and the committer waits for nothing here.

use std::net::IpAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::uri::Authority;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use link::grpc_status::status;
use link::net::grpc_only;
use link::net::listener::{ConnectionInfo, Entrance};
use terms::{CallId, Reason, Rejection};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tonic::service::Routes;
use wire::v1::ledger_server::LedgerServer;

use crate::Error;
use crate::audit::access::{AuditContext, AuditorEntrance};
use crate::audit::service::Service;
use crate::audit::tiles_http;

/// Time until a call must have begun to be answered.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// The same for a walk through the whole store.
const WALK_MAX: Duration = Duration::from_secs(1_800);
/// Bytes of a request: numbers and names.
const REQUEST_BYTES_MAX: usize = 64 << 10;
/// Bytes of one answer.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// Calls in flight on one connection.
const STREAMS_MAX: u32 = 64;
/// Bytes of the headers of one call.
const HEADERS_BYTES_MAX: u32 = 16 << 10;
/// Time without a byte after which a connection is asked whether it is still there.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(20);

/// What the path of every call begins with. All other paths are pages.
const LEDGER: &str = "/bailiwick.v1.Ledger/";

/// The auditor's listener.
#[derive(Debug)]
pub struct Auditors {
    /// Where it listens.
    pub listener: TcpListener,
    /// Who comes in.
    pub entrance: AuditorEntrance,
}

/// Admits auditors only, before anything of a request is read.
async fn gate(State(context): State<AuditContext>, mut request: Request, next: Next) -> Response {
    if request.uri().path().starts_with(LEDGER)
        && let Some(status) = grpc_only::refusal(request.method(), request.headers())
    {
        context.node().metrics.not_grpc.inc();
        return grpc_only::answer(status);
    }
    let arrived = request.extensions().get::<ConnectionInfo>().cloned();
    let local = matches!(context.entrance(), AuditorEntrance::Loopback);
    let admitted = if local && !is_local(&request) {
        Err(Rejection::new(Reason::NotPermitted).problem("the request is meant for another host"))
    } else {
        context.admit(arrived.as_ref())
    };
    match admitted {
        Ok(auditor) => {
            request.extensions_mut().insert(auditor);
            let walks = request.uri().path().ends_with("/Reconcile");
            let most = if walks { WALK_MAX } else { ANSWER_MAX };
            let busy = |_| tiles_http::refused(&Rejection::new(Reason::ShardBusy)).into_response();
            timeout(most, next.run(request)).await.unwrap_or_else(busy)
        }
        Err(fault) => {
            let node = context.node();
            if let Some(unsaid) = node.refusals.allow(node.clock.now()) {
                let reason = fault.reason.as_str();
                tracing::warn!(reason, unsaid, "an auditor's call was refused");
            }
            let grpc = request.headers().get(CONTENT_TYPE);
            let grpc = grpc.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
            if grpc {
                status(&fault, CallId(0)).into_http()
            } else {
                tiles_http::refused(&fault).into_response()
            }
        }
    }
}

/// Whether a request names this machine: a page in a browser that was led here by a name of its
/// own does not.
fn is_local(request: &Request) -> bool {
    let header = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let Some(host) = request.uri().authority().map(Authority::as_str).or(header) else {
        return false;
    };
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { host }
    });
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Serves auditors until the shard goes down.
///
/// # Errors
/// [`Error::Listener`] without TLS and not on loopback; [`Error::Server`] when the listener fails.
pub(crate) async fn serve(context: AuditContext, listener: TcpListener) -> Result<(), Error> {
    let entrance = match context.entrance() {
        AuditorEntrance::Loopback => Entrance::Plaintext,
        AuditorEntrance::Certificates { tls, .. } => Entrance::Callers(tls.clone()),
    };
    let service = LedgerServer::new(Service(context.clone()))
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .max_encoding_message_size(ANSWER_BYTES_MAX);
    let router: Router = Routes::new(service)
        .prepare()
        .into_axum_router()
        .fallback(tiles_http::page)
        .layer(from_fn_with_state(context.clone(), gate))
        .layer(axum::Extension(context.clone()));
    let server = tonic::transport::Server::builder()
        .accept_http1(true)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_max_header_list_size(HEADERS_BYTES_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .add_routes(Routes::from(router))
        .serve_with_incoming_shutdown(link::net::listener::incoming_by(listener, entrance), {
            let context = context.clone();
            async move { context.over().await }
        });
    server.await.map_err(Error::Server)
}

/// Whether auditors may be served there: without TLS on loopback only.
///
/// # Errors
/// [`Error::Listener`].
pub(crate) fn may_serve(auditors: &Auditors) -> Result<(), Error> {
    let address = auditors.listener.local_addr().map_err(|_| Error::Listener)?;
    match auditors.entrance {
        AuditorEntrance::Loopback if !address.ip().is_loopback() => Err(Error::Listener),
        AuditorEntrance::Loopback | AuditorEntrance::Certificates { .. } => Ok(()),
    }
}
