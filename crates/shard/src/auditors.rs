//! The auditor's listener: who may look at the log, and how much at once.
//!
//! It has the `Ledger` service and the plain HTTP paths of tlog-tiles. Nothing here waits for the
//! committer, and the committer waits for nothing here.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use ledger::entry::{Caller, Role};
use link::listener::{Arrived, Entrance};
use link::status::status;
use link::tls::CallerTls;
use terms::{CallId, Fault, Reason};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tonic::service::Routes;
use wire::v1::ledger_server::LedgerServer;

use crate::chronicle::Chronicles;
use crate::committer::{Life, Queue};
use crate::ledger_calls::Service;
use crate::node::Node;
use crate::{Error, log_pages};

/// Calls and pages in flight.
const CALLS_MAX: usize = 64;
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
    pub(crate) node: Arc<Node>,
    chronicles: Chronicles,
    queue: Queue,
    entrance: AuditorEntrance,
    calls: Arc<Semaphore>,
    reading: Arc<Semaphore>,
    /// One walk through the store at a time.
    walking: Arc<Semaphore>,
    life: watch::Receiver<Life>,
}

/// An auditor who was let in, and the seat that the call has.
#[derive(Clone)]
pub(crate) struct Auditor {
    pub(crate) caller: Arc<Caller>,
    pub(crate) call: CallId,
    _seat: Arc<OwnedSemaphorePermit>,
}

impl Desk {
    pub(crate) fn new(
        (node, chronicles, queue): (Arc<Node>, Chronicles, Queue),
        entrance: AuditorEntrance,
        life: watch::Receiver<Life>,
    ) -> Self {
        Self(Arc::new(Inner {
            node,
            chronicles,
            queue,
            entrance,
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
            reading: Arc::new(Semaphore::new(READING_MAX)),
            walking: Arc::new(Semaphore::new(1)),
            life,
        }))
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.0.node
    }

    pub(crate) fn chronicles(&self) -> &Chronicles {
        &self.0.chronicles
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.0.queue
    }

    /// A turn to walk through the store, if nobody else does.
    pub(crate) fn walk(&self) -> Result<OwnedSemaphorePermit, Fault> {
        let turn = Arc::clone(&self.0.walking).try_acquire_owned();
        turn.map_err(|_| Fault::new(Reason::ShardBusy))
    }

    /// Does something that reads the store, on a thread that may block, when its turn has come.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let busy = || Fault::new(Reason::ShardBusy);
        let turn = Arc::clone(&self.0.reading).acquire_owned().await.map_err(|_| busy())?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        done.await.unwrap_or_else(|_| Err(Fault::new(Reason::Internal)))
    }

    /// Done when the shard goes down.
    pub(crate) async fn over(&self) {
        let mut life = self.0.life.clone();
        // Also when the sender is gone.
        drop(life.wait_for(|life| *life != Life::Serving).await);
    }

    /// Who it is, if it is an auditor of this shard, and there is a seat.
    fn let_in(&self, arrived: Option<&Arrived>) -> Result<Auditor, Fault> {
        let name = self.name(arrived)?;
        if let Some(arrived) = arrived {
            arrived.known();
        }
        let node = self.node();
        let seat = Arc::clone(&self.0.calls).try_acquire_owned();
        let seat = seat.map_err(|_| Fault::new(Reason::ShardBusy))?;
        let tag = node.namer.log_tag("caller", &name);
        let caller = Caller { role: Role::Auditor, tag, territory: None };
        let call = CallId(u128::from_be_bytes(node.random()?));
        Ok(Auditor { caller: Arc::new(caller), call, _seat: Arc::new(seat) })
    }

    fn name(&self, arrived: Option<&Arrived>) -> Result<String, Fault> {
        let denied = |problem: &'static str| Fault::new(Reason::NotPermitted).problem(problem);
        match &self.0.entrance {
            AuditorEntrance::Loopback => match arrived {
                Some(arrived) if arrived.plaintext => Ok("an auditor on this machine".to_owned()),
                _ => Err(denied("this listener is for this machine alone")),
            },
            AuditorEntrance::Certificates { tls, uris } => {
                let certificate = arrived.and_then(|arrived| arrived.caller.as_ref());
                let certificate = certificate.ok_or_else(|| Fault::new(Reason::IdentityMissing))?;
                if !tls.trusts(certificate) {
                    return Err(Fault::new(Reason::IdentityInvalid));
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
    let arrived = request.extensions().get::<Arrived>().cloned();
    match desk.let_in(arrived.as_ref()) {
        Ok(auditor) => {
            request.extensions_mut().insert(auditor);
            next.run(request).await
        }
        Err(fault) => {
            let node = desk.node();
            if let Some(unsaid) = node.refusals.line(node.clock.now()) {
                let reason = fault.reason.as_str();
                tracing::warn!(reason, unsaid, "an auditor's call was refused");
            }
            let grpc = request.headers().get(CONTENT_TYPE);
            let grpc = grpc.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
            if grpc {
                status(&fault, CallId(0)).into_http()
            } else {
                log_pages::refused(&fault).into_response()
            }
        }
    }
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
        .fallback(log_pages::page)
        .layer(from_fn_with_state(desk.clone(), gate))
        .layer(axum::Extension(desk.clone()));
    let server = tonic::transport::Server::builder()
        .accept_http1(true)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_max_header_list_size(HEADERS_BYTES_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .add_routes(Routes::from(router))
        .serve_with_incoming_shutdown(link::listener::incoming_by(listener, entrance), {
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
