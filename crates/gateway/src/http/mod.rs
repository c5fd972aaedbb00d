//! What every request passes before it is decoded, as one list with the reasons.

pub(crate) mod admission;
pub(crate) mod connection;
pub(crate) mod refusal_log;
pub(crate) mod request_body;
pub(crate) mod response_body;
pub(crate) mod serve;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::future::{Either, Ready, ready};
use terms::{Reason, Rejection};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::Instrument as _;
use tracing::instrument::Instrumented;

use crate::api::context::{Desk, Entered};
use crate::http::admission::{Admit, Check, Identify, KeepTime, TakeSeat, entered};
use crate::http::connection::Beside;
use crate::http::refusal_log::By;
use crate::map::state::Charts;
use crate::metrics::Method;

type Request = http::Request<Body>;
type Response = http::Response<Body>;

/// The stack, outermost first.
pub(crate) fn layers(
    desk: &Arc<Desk>,
    charts: &Arc<Charts>,
) -> (NameLayer, GateLayer<KeepTime>, GateLayer<TakeSeat>, GateLayer<Identify>, GateLayer<Admit>) {
    let gate = |desk: &Arc<Desk>| Arc::clone(desk);
    (
        // Before all else a call has an id and a span, so that whatever refuses it below can be
        // found in the log; and what tonic itself refuses gets a reason like all the others.
        NameLayer(gate(desk)),
        // The deadline is read before a seat is taken: nobody waits for what comes too late.
        GateLayer { desk: gate(desk), check: KeepTime },
        // Load is shed before any work is done for it, at once and with a delay to retry after:
        // a queue here would only turn load into latency. Health and reflection have places of
        // their own.
        GateLayer { desk: gate(desk), check: TakeSeat(gate(desk)) },
        // Who calls is known before the request is decoded: a message from nobody is not read.
        GateLayer { desk: gate(desk), check: Identify(gate(desk)) },
        // What it may, and its tenant's share, too: who may not call a method, or has no share
        // left, is not read either.
        GateLayer {
            desk: gate(desk),
            check: Admit { charts: Arc::clone(charts), desk: gate(desk) },
        },
    )
}

// === names ===

/// Gives each call its id, and each error of tonic's own its reason.
#[derive(Clone)]
pub(crate) struct NameLayer(Arc<Desk>);

#[derive(Clone)]
pub(crate) struct Named<S> {
    inner: S,
    desk: Arc<Desk>,
}

impl<S> Layer<S> for NameLayer {
    type Service = Named<S>;

    fn layer(&self, inner: S) -> Named<S> {
        Named { inner, desk: Arc::clone(&self.0) }
    }
}

impl<S> Service<Request> for Named<S>
where
    S: Service<Request, Response = Response>,
    S::Future: Unpin,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Reasoned<Instrumented<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let method = Method::of_path(request.uri().path());
        let entered = Entered { id: self.desk.ids.next(), method, at: Instant::now() };
        let beside = request.extensions_mut();
        beside.insert(entered);
        if let Some(Beside { arrived, line }) = beside.remove() {
            beside.insert(arrived);
            beside.insert(line);
        }
        let span = tracing::debug_span!("call", call_id = %entered.id, method = method.as_str());
        let inner = self.inner.call(request).instrument(span);
        Reasoned { inner, entered, desk: Arc::clone(&self.desk) }
    }
}

/// An answer on its way out.
pub(crate) struct Reasoned<F> {
    inner: F,
    entered: Entered,
    desk: Arc<Desk>,
}

impl<F, E> Future for Reasoned<F>
where
    F: Future<Output = Result<Response, E>> + Unpin,
{
    type Output = Result<Response, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut answer = ready!(Pin::new(&mut self.inner).poll(cx));
        if let Ok(response) = &mut answer
            && let Some(fault) = tonics_own(response, self.entered.method)
        {
            *response = self.desk.refuse(&self.entered, &fault, &By::default()).into_http();
        }
        Poll::Ready(answer)
    }
}

/// The reason for an error that tonic made before a service saw the call: the message is too
/// large, cannot be decoded, or is for a method that does not exist. Errors of ours carry
/// details; those of the health and reflection services stay as their protocols want them.
fn tonics_own(response: &Response, method: Method) -> Option<Rejection> {
    const DETAILS: &str = "grpc-status-details-bin";
    let headers = response.headers();
    let code = headers.get(Status::GRPC_STATUS)?;
    if headers.contains_key(DETAILS) {
        return None;
    }
    let code = Code::from_bytes(code.as_bytes());
    if code == Code::Unimplemented {
        return Some(
            Rejection::new(Reason::NotBuilt).problem("there is no such method or encoding"),
        );
    }
    if code == Code::Ok || method == Method::Other {
        return None;
    }
    if matches!(code, Code::OutOfRange | Code::ResourceExhausted) {
        return Some(too_large());
    }
    Some(undecodable())
}

/// A message over what is decoded at all. Only a body can make it so large.
pub(crate) fn too_large() -> Rejection {
    let max = terms::limits::BODY_BYTES_MAX;
    Rejection::new(Reason::BodyTooLarge).field("body").with(terms::Detail::Limit, max)
}

/// Bytes that are no message of this method.
pub(crate) fn undecodable() -> Rejection {
    Rejection::new(Reason::FieldInvalid).problem("the message cannot be decoded")
}

// === gates ===

/// A layer that lets pass what its check lets pass, and answers the rest at once.
#[derive(Clone)]
pub(crate) struct GateLayer<C> {
    desk: Arc<Desk>,
    check: C,
}

#[derive(Clone)]
pub(crate) struct Gate<S, C> {
    inner: S,
    desk: Arc<Desk>,
    check: C,
}

impl<S, C: Check> Layer<S> for GateLayer<C> {
    type Service = Gate<S, C>;

    fn layer(&self, inner: S) -> Gate<S, C> {
        Gate { inner, desk: Arc::clone(&self.desk), check: self.check.clone() }
    }
}

impl<S, C> Service<Request> for Gate<S, C>
where
    S: Service<Request, Response = Response>,
    C: Check,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Either<Ready<Result<Response, S::Error>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        match self.check.check(&mut request) {
            Ok(()) => Either::Right(self.inner.call(request)),
            Err(fault) => {
                let unnamed = || Entered {
                    id: self.desk.ids.next(),
                    method: Method::Other,
                    at: Instant::now(),
                };
                let entered = entered(&request).unwrap_or_else(unnamed);
                let response = self.desk.refuse(&entered, &fault, &By::of(&request)).into_http();
                Either::Left(ready(Ok(response)))
            }
        }
    }
}
