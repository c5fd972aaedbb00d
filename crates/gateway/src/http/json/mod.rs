//! Unary calls as JSON, in the form of the Connect protocol: `POST /bailiwick.v1.Records/Put` with
//! `application/json`.
//!
//! A request has passed everything that a gRPC call passes (see `http`) when its JSON becomes the
//! message that a service reads: the services and their codec see gRPC alone.

mod codec;
mod error;
mod once;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::future::Either;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, TE};
use http::{Uri, Version};
use http_body_util::{BodyExt as _, Full};
use link::net::grpc_only::answer as plain_answer;
use terms::limits::REQUEST_BYTES_MAX;
use terms::{Reason, Rejection};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::api::context::{CallContext, CallInfo};
use crate::api::refusal::{LoggedCaller, too_large};
use crate::method::Method;

pub(crate) use error::answer as error_answer;

type Request = http::Request<Body>;
type Response = http::Response<Body>;

/// Bytes before a message of gRPC.
const PREFIX_BYTES: usize = 5;
/// Bytes of a request: a message of the largest size, whose body takes a third more in base64.
const JSON_BYTES_MAX: usize = REQUEST_BYTES_MAX / 3 * 4;
/// Bytes of JSON above which it is read and written on a thread that may take its time.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// Marks a request as JSON, in its extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Json;

/// Turns the JSON of marked requests into messages, and the messages of their answers into JSON.
#[derive(Clone)]
pub(crate) struct JsonLayer {
    ctx: Arc<CallContext>,
}

impl JsonLayer {
    pub(crate) fn new(ctx: &Arc<CallContext>) -> Self {
        Self { ctx: Arc::clone(ctx) }
    }
}

impl<S> Layer<S> for JsonLayer {
    type Service = JsonService<S>;

    fn layer(&self, inner: S) -> JsonService<S> {
        JsonService { inner, ctx: Arc::clone(&self.ctx) }
    }
}

/// See [`JsonLayer`].
#[derive(Clone)]
pub(crate) struct JsonService<S> {
    inner: S,
    ctx: Arc<CallContext>,
}

type Boxed<E> = Pin<Box<dyn Future<Output = Result<Response, E>> + Send>>;

impl<S> Service<Request> for JsonService<S>
where
    S: Service<Request, Response = Response> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Either<S::Future, Boxed<S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if request.extensions().get::<Json>().is_none() {
            return Either::Left(self.inner.call(request));
        }
        // The clone is what is left for the next call; the one that is ready takes this one.
        let next = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, next);
        let ctx = Arc::clone(&self.ctx);
        Either::Right(Box::pin(translate(ctx, ready, request)))
    }
}

/// One call, from its JSON to the JSON of its answer. An error is an answer of gRPC without a
/// message: the layer above turns all of these into JSON, its own among them.
async fn translate<S>(
    ctx: Arc<CallContext>,
    mut inner: S,
    request: Request,
) -> Result<Response, S::Error>
where
    S: Service<Request, Response = Response>,
{
    let info = request.extensions().get::<CallInfo>().copied();
    let info = info.unwrap_or_else(|| ctx.begin(Method::Other));
    let caller = LoggedCaller::of(&request);
    let refuse = |rejection: Rejection| ctx.refuse(&info, &rejection, &caller).into_http();
    let Some(method) = codec::unary_method(request.uri().path()) else {
        let problem = "there is no such method for JSON: those that are streams need gRPC";
        return Ok(refuse(Rejection::new(Reason::NotBuilt).problem(problem)));
    };
    let (mut parts, body) = request.into_parts();
    let json = match collect(body, JSON_BYTES_MAX).await {
        Ok(json) => json,
        Err(Unread::TooLarge) => return Ok(refuse(too_large())),
        // It has its reason, and is in the log.
        Err(Unread::Ended(status)) => return Ok(status.into_http()),
    };
    let input = method.input();
    let message = unhurried(json.len(), move || codec::message(input, &json)).await;
    let message = match message {
        Ok(message) => message,
        Err(rejection) => return Ok(refuse(rejection)),
    };
    parts.version = Version::HTTP_2;
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    parts.headers.insert(TE, HeaderValue::from_static("trailers"));
    parts.uri = Uri::try_from(parts.uri.path()).unwrap_or_default();
    let request = Request::from_parts(parts, Body::new(Full::new(framed(&message))));
    drop(message);
    let response = inner.call(request).await?;
    if response.headers().contains_key(Status::GRPC_STATUS) {
        return Ok(response);
    }
    let message = match answered(response.into_body()).await {
        Ok(message) => message,
        Err(status) => return Ok(status.into_http()),
    };
    let output = method.output();
    let json = unhurried(message.len(), move || codec::json(output, &message)).await;
    Ok(json.map_or_else(refuse, json_answer))
}

/// Does work of a length that the caller chooses where it holds up no other call.
async fn unhurried<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> Result<T, Rejection> + Send + 'static,
) -> Result<T, Rejection> {
    if bytes <= INLINE_BYTES_MAX {
        return work();
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(Reason::Internal.into()))
}

/// A message as gRPC sends it, uncompressed. It is below 4 GiB by the limit of what is read.
fn framed(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    bytes.extend_from_slice(&[0]);
    bytes.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(message);
    bytes.freeze()
}

/// Why a body could not be read.
enum Unread {
    TooLarge,
    Ended(Status),
}

async fn collect(mut body: Body, bytes_max: usize) -> Result<Bytes, Unread> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(Unread::Ended)?.into_data() {
            if whole.len() + data.len() > bytes_max {
                return Err(Unread::TooLarge);
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole.freeze())
}

/// The one message of an answer.
async fn answered(body: Body) -> Result<Bytes, Status> {
    let collected = body.collect().await?;
    let status = collected.trailers().and_then(Status::from_header_map);
    if let Some(status) = status.filter(|status| status.code() != Code::Ok) {
        return Err(status);
    }
    let mut bytes = collected.to_bytes();
    if bytes.len() < PREFIX_BYTES {
        return Err(Status::internal("an answer without a message"));
    }
    Ok(bytes.split_off(PREFIX_BYTES))
}

fn json_answer(json: Vec<u8>) -> Response {
    let mut response: Response = plain_answer(http::StatusCode::OK);
    *response.body_mut() = Body::new(Full::new(Bytes::from(json)));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
