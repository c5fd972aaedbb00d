//! What happens to each request before a service sees it, and to each answer after.
//!
//! From the outside in: [`protocols`] says what a request is, [`CallLayer`] does what every call needs,
//! [`json`] translates the calls that are JSON, [`direct`] finds the service.

pub(crate) mod admission;
pub(crate) mod connection;
mod direct;
mod json;
pub(crate) mod protocols;
mod request_body;
mod response_body;
pub(crate) mod server;
mod unread;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::future::{Either, Ready, ready};
use terms::{Reason, Rejection};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::Instrument as _;
use tracing::instrument::Instrumented;

use crate::api::context::{CallContext, CallInfo};
use crate::api::refusal::{LoggedCaller, too_large, undecodable};
use crate::http::connection::CallerConnection;
use crate::http::json::Json;
use crate::http::request_body::Times;
use crate::http::response_body::Held;
use crate::method::Method;

type Request = http::Request<Body>;
type Response = http::Response<Body>;

/// The layer around all services. For each call, in this order:
/// 1. It gets an id and a span, so that the log has whatever refuses it.
/// 2. It is admitted or refused, before its message is read: see [`admission::admit`].
/// 3. Its body is bounded in time and bytes: see [`request_body`].
/// 4. An error that tonic made gets a reason like all others.
/// 5. The refusal of a call in JSON becomes JSON.
/// 6. Its permits are held until the answer has left the process: see [`response_body`].
#[derive(Clone)]
pub(crate) struct CallLayer {
    ctx: Arc<CallContext>,
    times: Times,
}

impl CallLayer {
    pub(crate) fn new(ctx: &Arc<CallContext>) -> Self {
        Self { ctx: Arc::clone(ctx), times: Times::DEFAULT }
    }
}

#[derive(Clone)]
pub(crate) struct CallService<S> {
    inner: S,
    layer: CallLayer,
}

impl<S> Layer<S> for CallLayer {
    type Service = CallService<S>;

    fn layer(&self, inner: S) -> CallService<S> {
        CallService { inner, layer: self.clone() }
    }
}

impl<S> Service<Request> for CallService<S>
where
    S: Service<Request, Response = Response>,
    S::Future: Unpin,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Either<Ready<Result<Response, S::Error>>, Answering<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let CallLayer { ctx, times } = &self.layer;
        let info = ctx.begin(Method::of_path(request.uri().path()));
        let json = request.extensions().get().copied();
        let extensions = request.extensions_mut();
        extensions.insert(info);
        if let Some(CallerConnection { arrived, connection }) = extensions.remove() {
            extensions.insert(arrived);
            extensions.insert(connection);
        }
        if let Err(rejection) = admission::admit(ctx, info, &mut request) {
            let status = ctx.refuse(&info, &rejection, &LoggedCaller::of(&request));
            return Either::Left(ready(Ok(refused(&status, json))));
        }
        let held = Held::of(&request);
        let request = request_body::bounded(request, ctx, info, *times);
        let span = tracing::debug_span!("call", call_id = %info.id, method = info.method.as_str());
        let inner = self.inner.call(request).instrument(span);
        Either::Right(Answering { inner, info, ctx: Arc::clone(ctx), held: Some(held), json })
    }
}

/// A call whose answer is being made.
pub(crate) struct Answering<F> {
    inner: Instrumented<F>,
    info: CallInfo,
    ctx: Arc<CallContext>,
    held: Option<Held>,
    json: Option<Json>,
}

/// The answer to a refused call, in the protocol of its request.
fn refused(status: &Status, json: Option<Json>) -> Response {
    match json {
        Some(Json) => json::error_answer(status),
        None => status.clone().into_http(),
    }
}

impl<F, E> Future for Answering<F>
where
    F: Future<Output = Result<Response, E>> + Unpin,
{
    type Output = Result<Response, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = match ready!(Pin::new(&mut self.inner).poll(cx)) {
            Ok(response) => response,
            Err(error) => return Poll::Ready(Err(error)),
        };
        if let Some(rejection) = rejection_of_tonic(&response, self.info.method) {
            let status = self.ctx.refuse(&self.info, &rejection, &LoggedCaller::default());
            response = status.into_http();
        }
        if self.json.is_some()
            && let Some(status) = Status::from_header_map(response.headers())
        {
            response = refused(&status, self.json);
        }
        let held = self.held.take().unwrap_or_default();
        Poll::Ready(Ok(response.map(|body| response_body::holding(body, held))))
    }
}

/// The reason for an error that tonic made before a service saw the call: the message is too
/// large, cannot be decoded, or is for a method that does not exist. Errors of ours carry
/// details; those of the health and reflection services stay as their protocols define them.
fn rejection_of_tonic(response: &Response, method: Method) -> Option<Rejection> {
    const DETAILS: &str = "grpc-status-details-bin";
    let headers = response.headers();
    let code = headers.get(Status::GRPC_STATUS)?;
    if headers.contains_key(DETAILS) {
        return None;
    }
    let code = Code::from_bytes(code.as_bytes());
    if code == Code::Unimplemented {
        let rejection = Rejection::new(Reason::NotBuilt);
        Some(rejection.problem("there is no such method or encoding"))
    } else if code == Code::Ok || method == Method::Other {
        None
    } else if matches!(code, Code::OutOfRange | Code::ResourceExhausted) {
        Some(too_large())
    } else {
        Some(undecodable())
    }
}
