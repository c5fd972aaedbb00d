//! Checks the status that ends an answer, before tonic reads it.
//!
//! tonic 0.14 panics when `grpc-status-details-bin` is not base64, in the headers of an answer or
//! in its trailers. Both come from the peer. So every client of ours sends its calls through
//! [`Checked`], which makes an error of such an answer. The rest of what a peer may send there
//! (`grpc-status`, `grpc-message`, `grpc-encoding`, other `-bin` metadata) tonic answers with an
//! error by itself, or decodes only when it is asked to.
//!
//! This file is written by hand. It knows no message.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::codegen::{BoxFuture, Bytes, Service, StdError};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

/// The header that tonic decodes without asking whether it can be.
const DETAILS: &str = "grpc-status-details-bin";

/// Says that the status of an answer cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedStatus;

impl fmt::Display for MalformedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the peer's grpc-status-details-bin is not base64")
    }
}

impl std::error::Error for MalformedStatus {}

impl MalformedStatus {
    /// Whether this is why a call has failed.
    pub fn is_cause_of(status: &Status) -> bool {
        let mut next = std::error::Error::source(status);
        while let Some(cause) = next {
            if cause.is::<Self>() {
                return true;
            }
            next = cause.source();
        }
        false
    }
}

/// Whether tonic can decode these headers or trailers.
#[expect(clippy::disallowed_methods, reason = "no reason can be read from such a status")]
fn check(headers: &HeaderMap) -> Result<(), Status> {
    let Some(value) = headers.get(DETAILS) else { return Ok(()) };
    // Decoded by the decoder that would panic: what it takes here it takes there.
    let mut one = HeaderMap::with_capacity(1);
    one.insert(DETAILS, value.clone());
    let map = MetadataMap::from_headers(one);
    if map.get_bin(DETAILS).is_some_and(|value| value.to_bytes().is_ok()) {
        return Ok(());
    }
    let mut status = Status::new(Code::Unknown, MalformedStatus.to_string());
    status.set_source(Arc::new(MalformedStatus));
    Err(status)
}

/// A connection of a client, with a check on every answer.
#[derive(Debug, Clone)]
pub struct Checked<S>(S);

impl<S> Checked<S> {
    /// Checks the answers that come over `connection`.
    pub const fn new(connection: S) -> Self {
        Self(connection)
    }
}

impl<S> Service<Request<Body>> for Checked<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Error: Into<StdError>,
    S::Future: Send + 'static,
{
    type Response = Response<CheckedBody>;
    type Error = StdError;
    type Future = BoxFuture<Self::Response, StdError>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        self.0.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async move {
            let answer = answer.await.map_err(Into::into)?;
            check(answer.headers())?;
            Ok(answer.map(CheckedBody))
        })
    }
}

/// The body of an answer, with a check on its trailers.
#[derive(Debug)]
pub struct CheckedBody(Body);

impl http_body::Body for CheckedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.0).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
            && let Err(malformed) = check(trailers)
        {
            return Poll::Ready(Some(Err(malformed)));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
