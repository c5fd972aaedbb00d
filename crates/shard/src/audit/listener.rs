//! The auditor's listener: who may look at the log, and how much at once.
//!
//! It has the `Ledger` service and the plain HTTP paths of tlog-tiles. Nothing here waits for the
//! committer, and the committer waits for nothing here.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::uri::Authority;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use ledger::entry::Role;
use link::grpc_status::status;
use link::net::grpc_only;
use link::net::listener::{ConnectionInfo, Entrance};
use link::tls::CallerTls;
use terms::{CallId, Reason, Rejection};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
use tonic::service::Routes;
use wire::v1::ledger_server::LedgerServer;

use crate::Error;
use crate::audit::service::Service;
use crate::audit::tiles_http;
use crate::lifecycle::Life;
use crate::log::view::LogViews;
use crate::node::Node;
use crate::store::principal::Principal;
use crate::write::committer::Queue;

/// Calls and pages in flight.
const CALLS_MAX: usize = 64;
/// Of them, such as one auditor may have: one who takes more keeps no other away.
const CALLS_OF_ONE_MAX: usize = 12;
/// Time until a call must have begun to be answered.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// The same for a walk through the whole store.
const WALK_MAX: Duration = Duration::from_secs(1_800);
/// Of them, such as read the store.
const READING_MAX: usize = 4;
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

/// Who comes to the auditor's listener.
#[derive(Debug, Clone)]
pub enum AuditorEntrance {
    /// Whoever is on this machine.
    Loopback,
    /// Holders of a certificate with one of these URIs.
    Certificates {
        /// Verifies them.
        tls: CallerTls,
        /// The URIs.
        uris: Vec<String>,
    },
}

/// The auditor's listener.
#[derive(Debug)]
pub struct Auditors {
    /// Where it listens.
    pub listener: TcpListener,
    /// Who comes in.
    pub entrance: AuditorEntrance,
}

/// What serves auditors. Clones are the same.
#[derive(Clone)]
pub(crate) struct Desk(Arc<Inner>);

struct Inner {
    node: Arc<Node>,
    chronicles: LogViews,
    queue: Queue,
    entrance: AuditorEntrance,
    calls: Arc<Semaphore>,
    /// Calls in flight of each auditor.
    of_one: Arc<Mutex<HashMap<String, usize>>>,
    reading: Arc<Semaphore>,
    /// One walk through the store at a time.
    walking: Arc<Semaphore>,
    life: watch::Receiver<Life>,
}

/// An auditor who was let in, and the seat that the call has.
#[derive(Clone)]
pub(crate) struct Auditor {
    pub(crate) who: Arc<Principal>,
    pub(crate) call: CallId,
    arrived: Option<ConnectionInfo>,
    _seat: Arc<Seat>,
}

/// A seat among all, and among those of one auditor.
struct Seat {
    _of_all: OwnedSemaphorePermit,
    name: String,
    of_one: Arc<Mutex<HashMap<String, usize>>>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut of_one = self.of_one.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(calls) = of_one.get_mut(&self.name) {
            *calls -= 1;
            if *calls == 0 {
                of_one.remove(&self.name);
            }
        }
    }
}

impl Desk {
    pub(crate) fn new(
        node: Arc<Node>,
        chronicles: LogViews,
        queue: Queue,
        entrance: AuditorEntrance,
        life: watch::Receiver<Life>,
    ) -> Self {
        Self(Arc::new(Inner {
            node,
            chronicles,
            queue,
            entrance,
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
            of_one: Arc::default(),
            reading: Arc::new(Semaphore::new(READING_MAX)),
            walking: Arc::new(Semaphore::new(1)),
            life,
        }))
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.0.node
    }

    pub(crate) fn chronicles(&self) -> &LogViews {
        &self.0.chronicles
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.0.queue
    }

    /// A turn to walk through the store, if nobody else does.
    pub(crate) fn walk(&self) -> Result<OwnedSemaphorePermit, Rejection> {
        let turn = Arc::clone(&self.0.walking).try_acquire_owned();
        turn.map_err(|_| Rejection::new(Reason::ShardBusy))
    }

    /// Does something that reads the store, on a thread that may block, when its turn has come.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Rejection> + Send + 'static,
    ) -> Result<T, Rejection> {
        let busy = || Rejection::new(Reason::ShardBusy);
        let turn = Arc::clone(&self.0.reading).acquire_owned().await.map_err(|_| busy())?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        done.await.unwrap_or_else(|_| Err(Rejection::new(Reason::Internal)))
    }

    /// Done when the shard goes down.
    pub(crate) async fn over(&self) {
        let mut life = self.0.life.clone();
        // Also when the sender is gone.
        drop(life.wait_for(|life| *life != Life::Serving).await);
    }

    /// Who it is, if it is an auditor of this shard, and there is a seat.
    fn let_in(&self, arrived: Option<&ConnectionInfo>) -> Result<Auditor, Rejection> {
        let name = self.name(arrived)?;
        if let Some(arrived) = arrived {
            arrived.authenticated();
        }
        let node = self.node();
        let who = Principal::new(&node.growing.load(), None, &name, Role::Auditor, None);
        let call = CallId(u128::from_be_bytes(node.random()?));
        let (arrived, seat) = (arrived.cloned(), Arc::new(self.seat(name)?));
        Ok(Auditor { who: Arc::new(who), call, arrived, _seat: seat })
    }

    fn seat(&self, name: String) -> Result<Seat, Rejection> {
        let busy = || Rejection::new(Reason::ShardBusy);
        let of_all = Arc::clone(&self.0.calls).try_acquire_owned().map_err(|_| busy())?;
        let of_one = Arc::clone(&self.0.of_one);
        let mut calls = of_one.lock().unwrap_or_else(PoisonError::into_inner);
        let own = calls.entry(name.clone()).or_default();
        if *own >= CALLS_OF_ONE_MAX {
            return Err(busy());
        }
        *own += 1;
        drop(calls);
        Ok(Seat { _of_all: of_all, name, of_one })
    }

    /// Whether an auditor whose call goes on would be let in now. Asked before anything more is
    /// given: a certificate may have been revoked, or have ended.
    ///
    /// # Errors
    /// As for a call.
    pub(crate) fn still(&self, auditor: &Auditor) -> Result<(), Rejection> {
        self.name(auditor.arrived.as_ref()).map(drop)
    }

    fn name(&self, arrived: Option<&ConnectionInfo>) -> Result<String, Rejection> {
        let denied = |problem: &'static str| Rejection::new(Reason::NotPermitted).problem(problem);
        match &self.0.entrance {
            AuditorEntrance::Loopback => match arrived {
                Some(arrived) if arrived.plaintext => Ok("an auditor on this machine".to_owned()),
                _ => Err(denied("this listener is for this machine alone")),
            },
            AuditorEntrance::Certificates { tls, uris } => {
                let certificate = arrived.and_then(|arrived| arrived.caller.as_ref());
                let certificate =
                    certificate.ok_or_else(|| Rejection::new(Reason::IdentityMissing))?;
                if !tls.trusts(certificate) {
                    return Err(Rejection::new(Reason::IdentityInvalid));
                }
                let known = certificate.uris.iter().find(|uri| uris.contains(uri));
                let problem = "the certificate is not of an auditor whom this shard knows";
                known.cloned().ok_or_else(|| denied(problem))
            }
        }
    }
}

/// Lets auditors in and nobody else, before anything of a request is read.
async fn gate(State(desk): State<Desk>, mut request: Request, next: Next) -> Response {
    if request.uri().path().starts_with(LEDGER)
        && let Some(status) = grpc_only::refusal(request.method(), request.headers())
    {
        desk.node().metrics.not_grpc.inc();
        return grpc_only::answer(status);
    }
    let arrived = request.extensions().get::<ConnectionInfo>().cloned();
    let local = matches!(desk.0.entrance, AuditorEntrance::Loopback);
    let let_in = if local && !is_local(&request) {
        Err(Rejection::new(Reason::NotPermitted).problem("the request is meant for another host"))
    } else {
        desk.let_in(arrived.as_ref())
    };
    match let_in {
        Ok(auditor) => {
            request.extensions_mut().insert(auditor);
            let walks = request.uri().path().ends_with("/Reconcile");
            let most = if walks { WALK_MAX } else { ANSWER_MAX };
            let busy = |_| tiles_http::refused(&Rejection::new(Reason::ShardBusy)).into_response();
            timeout(most, next.run(request)).await.unwrap_or_else(busy)
        }
        Err(fault) => {
            let node = desk.node();
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

/// Whether a request names this machine: a page in somebody's browser that was led here by a name
/// of its own does not.
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
pub(crate) async fn serve(desk: Desk, listener: TcpListener) -> Result<(), Error> {
    let entrance = match &desk.0.entrance {
        AuditorEntrance::Loopback => Entrance::Plaintext,
        AuditorEntrance::Certificates { tls, .. } => Entrance::Callers(tls.clone()),
    };
    let service = LedgerServer::new(Service(desk.clone()))
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .max_encoding_message_size(ANSWER_BYTES_MAX);
    let router: Router = Routes::new(service)
        .prepare()
        .into_axum_router()
        .fallback(tiles_http::page)
        .layer(from_fn_with_state(desk.clone(), gate))
        .layer(axum::Extension(desk.clone()));
    let server = tonic::transport::Server::builder()
        .accept_http1(true)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_max_header_list_size(HEADERS_BYTES_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .add_routes(Routes::from(router))
        .serve_with_incoming_shutdown(link::net::listener::incoming_by(listener, entrance), {
            let desk = desk.clone();
            async move { desk.over().await }
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
