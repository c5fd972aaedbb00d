//! Refuses every request that is no gRPC call, before anything is done for it.
//!
//! tonic serves a request of any method and any content type. A page in a browser can send some
//! of these to a listener on its user's machine or network, with that user's certificate:
//! a `POST` of `text/plain` needs no leave of the server. What gRPC sends, no page can.

use std::future::{Ready, ready};
use std::task::{Context, Poll};

use axum::http::header::{ALLOW, CONTENT_TYPE, HeaderValue, ORIGIN};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use futures_util::future::Either;
use tower::{Layer, Service};

use crate::ops::metrics::Counter;

/// The content type of gRPC; a suffix or parameters may follow.
const GRPC: &[u8] = b"application/grpc";

/// Why a request is no gRPC call: the status that answers it. None: it may be one.
pub fn refusal(method: &Method, headers: &HeaderMap) -> Option<StatusCode> {
    // Browsers alone say where a request comes from, and none speaks gRPC.
    if headers.contains_key(ORIGIN) {
        return Some(StatusCode::FORBIDDEN);
    }
    if method != Method::POST {
        return Some(StatusCode::METHOD_NOT_ALLOWED);
    }
    let mut kinds = headers.get_all(CONTENT_TYPE).iter();
    let grpc = kinds.next().is_some_and(is_grpc) && kinds.next().is_none();
    if grpc { None } else { Some(StatusCode::UNSUPPORTED_MEDIA_TYPE) }
}

fn is_grpc(kind: &HeaderValue) -> bool {
    let kind = kind.as_bytes();
    let begins = kind.get(..GRPC.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(GRPC));
    // `application/grpc-web` is another protocol.
    begins && matches!(kind.get(GRPC.len()), None | Some(b'+' | b';'))
}

/// The answer to such a request.
pub fn answer<B: Default>(status: StatusCode) -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = status;
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

/// Lets gRPC calls pass, and answers and counts all else.
#[derive(Debug, Clone)]
pub struct GrpcOnlyLayer {
    refused: Counter,
}

impl GrpcOnlyLayer {
    /// Counts what it refuses.
    pub const fn counting(refused: Counter) -> Self {
        Self { refused }
    }
}

impl<S> Layer<S> for GrpcOnlyLayer {
    type Service = GrpcOnly<S>;

    fn layer(&self, inner: S) -> GrpcOnly<S> {
        GrpcOnly { inner, refused: self.refused.clone() }
    }
}

/// See [`GrpcOnlyLayer`].
#[derive(Debug, Clone)]
pub struct GrpcOnly<S> {
    inner: S,
    refused: Counter,
}

impl<S, A, B> Service<Request<A>> for GrpcOnly<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    B: Default,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<B>, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        match refusal(request.method(), request.headers()) {
            None => Either::Left(self.inner.call(request)),
            Some(status) => {
                self.refused.inc();
                Either::Right(ready(Ok(answer(status))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: Method, headers: &[(&str, &'static str)]) -> Option<u16> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = axum::http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_static(value));
        }
        refusal(&method, &map).map(|status| status.as_u16())
    }

    #[test]
    fn only_what_grpc_sends_passes() {
        let kind = |kind| of(Method::POST, &[("content-type", kind)]);
        for grpc in [
            "application/grpc",
            "application/grpc+proto",
            "Application/gRPC",
            "application/grpc;x=y",
        ] {
            assert_eq!(kind(grpc), None, "{grpc}");
        }
        for other in [
            "",
            "text/plain",
            "application/json",
            "application/grpc-web",
            "application/grpc-web+proto",
            "application/grpcx",
            "application/x-www-form-urlencoded",
            "text/plain; application/grpc",
        ] {
            assert_eq!(kind(other), Some(415), "{other}");
        }
        assert_eq!(of(Method::POST, &[]), Some(415));
        let twice = [("content-type", "application/grpc"), ("content-type", "text/plain")];
        assert_eq!(of(Method::POST, &twice), Some(415));
        for method in [Method::GET, Method::PUT, Method::OPTIONS, Method::HEAD, Method::CONNECT] {
            assert_eq!(of(method, &[("content-type", "application/grpc")]), Some(405));
        }
        let page = [("content-type", "application/grpc"), ("origin", "https://example.org")];
        assert_eq!(of(Method::POST, &page), Some(403));
        assert_eq!(of(Method::POST, &[("origin", "null")]), Some(403));
    }
}
