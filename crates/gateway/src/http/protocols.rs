//! Which protocols the port of callers speaks: gRPC always, JSON over HTTP and gRPC-Web if they are
//! configured; and which pages in a browser may use it.
//!
//! This is the outermost layer. It says what a request is, refuses what is not taken, and translates
//! gRPC-Web. Everything else is done for all protocols by the layers below: there is one way in.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::future::{Either, Ready, ready};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use http::{StatusCode, Version};
use link::net::grpc_only;
use link::ops::metrics::Counter;
use tonic::Status;
use tonic::body::Body;
use tonic_web::{GrpcWebLayer, GrpcWebService, ResponseFuture};
use tower::{Layer, Service};

use crate::http::json::Json;
use crate::http::unread::{Draining, Unread};

type Request = http::Request<Body>;
type Response = http::Response<Body>;

/// The content types of gRPC-Web.
const GRPC_WEB: [&str; 4] = [
    "application/grpc-web",
    "application/grpc-web+proto",
    "application/grpc-web-text",
    "application/grpc-web-text+proto",
];
/// The content type of JSON; parameters may follow.
const JSON: &str = "application/json";
/// What a page may send along.
const CORS_HEADERS: &str = "authorization, connect-protocol-version, connect-timeout-ms, \
                            content-type, grpc-timeout, x-grpc-web, x-user-agent";
/// What a page may read of an answer.
const CORS_EXPOSED: &str = "grpc-message, grpc-status, grpc-status-details-bin, retry-after";
/// Seconds for which a browser remembers the answer to a preflight.
const CORS_SECONDS: &str = "600";
/// Bytes of the headers of one call.
pub(super) const HEADERS_BYTES_MAX: u32 = 16 << 10;
/// Bytes that stand around each header of HTTP/1.
const HEADER_BYTES: usize = 4;

/// What the port speaks beside gRPC. Nothing, unless it is configured.
#[derive(Debug, Clone, Default)]
pub struct HttpApis {
    /// Unary calls as JSON, in the form of the Connect protocol.
    pub json: bool,
    /// gRPC-Web, for clients in browsers.
    pub grpc_web: bool,
    /// The origins whose pages may call, as a browser states them.
    pub cors_origins: Vec<String>,
}

impl HttpApis {
    /// Whether anything but gRPC is spoken, and so HTTP/1.1 too.
    pub const fn any(&self) -> bool {
        self.json || self.grpc_web
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        self.cors_origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
    }

    /// What a request is, and the origin of the page that sent it.
    fn classify(&self, request: &Request) -> Result<(Protocol, Option<HeaderValue>), StatusCode> {
        let (headers, method) = (request.headers(), request.method());
        if !self.any() {
            let refused = grpc_only::refusal(method, headers);
            return refused.map_or(Ok((Protocol::Grpc, None)), Err);
        }
        let first_version = request.version() < Version::HTTP_2;
        if first_version && header_bytes(headers) > HEADERS_BYTES_MAX as usize {
            return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        }
        let origin = single(headers, &ORIGIN).map_err(|Twice| StatusCode::FORBIDDEN)?;
        if origin.is_some_and(|origin| !self.allows(origin)) {
            return Err(StatusCode::FORBIDDEN);
        }
        let preflight = method == http::Method::OPTIONS
            && origin.is_some()
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if preflight {
            return Ok((Protocol::Preflight, origin.cloned()));
        }
        if method != http::Method::POST {
            return Err(StatusCode::METHOD_NOT_ALLOWED);
        }
        let unsupported = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        let kind = single(headers, &CONTENT_TYPE).map_err(|Twice| unsupported)?;
        let kind = kind.and_then(|kind| kind.to_str().ok()).ok_or(unsupported)?;
        let protocol = if self.grpc_web && GRPC_WEB.contains(&kind) {
            Protocol::GrpcWeb
        } else if self.json && is_json(kind) && is_plain(headers) {
            Protocol::Json
        } else {
            // No page speaks gRPC, and HTTP/1.1 cannot carry its trailers.
            if origin.is_some() || first_version {
                return Err(unsupported);
            }
            if let Some(status) = grpc_only::refusal(method, headers) {
                return Err(status);
            }
            Protocol::Grpc
        };
        Ok((protocol, origin.cloned()))
    }
}

/// A header is there more than once.
struct Twice;

fn single<'a>(
    headers: &'a HeaderMap,
    name: &http::HeaderName,
) -> Result<Option<&'a HeaderValue>, Twice> {
    let mut all = headers.get_all(name).iter();
    let first = all.next();
    if all.next().is_some() { Err(Twice) } else { Ok(first) }
}

fn is_json(kind: &str) -> bool {
    let essence = kind.split(';').next().unwrap_or_default().trim_end();
    essence.eq_ignore_ascii_case(JSON)
}

/// Whether a body is as it stands, without compression.
fn is_plain(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().all(|coding| coding == "identity")
}

fn header_bytes(headers: &HeaderMap) -> usize {
    let bytes = |(name, value): (&http::HeaderName, &HeaderValue)| {
        name.as_str().len() + value.len() + HEADER_BYTES
    };
    headers.iter().map(bytes).sum()
}

/// What a request is.
#[derive(Debug, PartialEq, Eq)]
enum Protocol {
    Grpc,
    GrpcWeb,
    Json,
    /// A browser asks whether a page may call.
    Preflight,
}

/// See the module.
#[derive(Clone)]
pub(crate) struct ProtocolLayer {
    apis: HttpApis,
    refused: Counter,
}

impl ProtocolLayer {
    /// Counts what it refuses.
    pub(crate) const fn new(apis: HttpApis, refused: Counter) -> Self {
        Self { apis, refused }
    }
}

impl<S: Clone> Layer<S> for ProtocolLayer {
    type Service = Protocols<S>;

    fn layer(&self, inner: S) -> Protocols<S> {
        let web = GrpcWebLayer::new().layer(inner.clone());
        Protocols { layer: self.clone(), inner, web }
    }
}

/// See [`ProtocolLayer`].
#[derive(Clone)]
pub(crate) struct Protocols<S> {
    layer: ProtocolLayer,
    inner: S,
    web: GrpcWebService<S>,
}

impl<S> Service<Request> for Protocols<S>
where
    S: Service<Request, Response = Response>,
    S::Future: Unpin,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Either<Ready<Result<Response, S::Error>>, Finishing<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        ready!(self.inner.poll_ready(cx))?;
        Service::<Request>::poll_ready(&mut self.web, cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let (protocol, origin) = match self.layer.apis.classify(&request) {
            Ok(known) => known,
            Err(status) => {
                self.layer.refused.inc();
                let answer: Response = grpc_only::answer(status);
                if !self.layer.apis.any() || request.version() < Version::HTTP_2 {
                    return Either::Left(ready(Ok(answer)));
                }
                return Either::Right(Finishing::refused(answer, request.into_body()));
            }
        };
        let first_version = request.version() < Version::HTTP_2;
        let watched = !first_version && matches!(protocol, Protocol::Json | Protocol::GrpcWeb);
        let unread = watched.then(Unread::default);
        if let Some(unread) = &unread {
            request = unread.watch(request);
        }
        let inner = match protocol {
            Protocol::Preflight => {
                return Either::Left(ready(Ok(preflight_answer(origin))));
            }
            Protocol::GrpcWeb => Either::Right(self.web.call(request)),
            Protocol::Json => {
                request.extensions_mut().insert(Json);
                Either::Left(self.inner.call(request))
            }
            Protocol::Grpc => Either::Left(self.inner.call(request)),
        };
        Either::Right(Finishing {
            inner: Some(inner),
            origin,
            first_version,
            unread,
            draining: None,
        })
    }
}

/// A call whose answer is being made.
pub(crate) struct Finishing<F> {
    /// None: it is refused already.
    inner: Option<Either<F, ResponseFuture<F>>>,
    origin: Option<HeaderValue>,
    first_version: bool,
    unread: Option<Unread>,
    draining: Option<Draining>,
}

impl<F> Finishing<F> {
    /// The answer to a request that is refused with its body unread.
    fn refused(answer: Response, body: Body) -> Self {
        let draining = Some(Draining::new(answer, body));
        Self { inner: None, origin: None, first_version: false, unread: None, draining }
    }

    /// What every answer gets.
    fn finish(&mut self, response: &mut Response) {
        // HTTP/1.1 lets an unknown caller begin with another header of any length.
        if self.first_version && is_unauthenticated(response) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(origin) = self.origin.take() {
            allow_origin(response.headers_mut(), origin);
            let exposed = HeaderValue::from_static(CORS_EXPOSED);
            response.headers_mut().insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
    }
}

impl<F, E> Future for Finishing<F>
where
    F: Future<Output = Result<Response, E>> + Unpin,
{
    type Output = Result<Response, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(inner) = &mut self.inner {
            let mut response = match ready!(Pin::new(inner).poll(cx)) {
                Ok(response) => response,
                Err(error) => return Poll::Ready(Err(error)),
            };
            self.inner = None;
            self.finish(&mut response);
            match self.unread.as_ref().and_then(Unread::take) {
                None => return Poll::Ready(Ok(response)),
                Some(body) => self.draining = Some(Draining::new(response, body)),
            }
        }
        match &mut self.draining {
            Some(draining) => draining.poll(cx).map(Ok),
            None => Poll::Pending,
        }
    }
}

fn is_unauthenticated(response: &Response) -> bool {
    let code = response.headers().get(Status::GRPC_STATUS);
    let code = code.map(|code| tonic::Code::from_bytes(code.as_bytes()));
    response.status() == StatusCode::UNAUTHORIZED || code == Some(tonic::Code::Unauthenticated)
}

fn allow_origin(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(VARY, HeaderValue::from_static("origin"));
}

fn preflight_answer(origin: Option<HeaderValue>) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(CORS_HEADERS));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(CORS_SECONDS));
    if let Some(origin) = origin {
        allow_origin(headers, origin);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "https://app.example";

    fn all() -> HttpApis {
        HttpApis { json: true, grpc_web: true, cors_origins: vec![PAGE.to_owned()] }
    }

    fn classify(
        apis: &HttpApis,
        method: &str,
        version: Version,
        headers: &[(&str, &str)],
    ) -> Result<Protocol, u16> {
        let request = http::Request::builder().method(method).version(version);
        let request = headers.iter().fold(request, |request, (k, v)| request.header(*k, *v));
        let known = apis.classify(&request.body(Body::empty()).unwrap());
        known.map(|(protocol, _)| protocol).map_err(|status| status.as_u16())
    }

    #[test]
    fn a_protocol_is_spoken_only_if_it_is_configured() {
        let off = HttpApis::default();
        let json = HttpApis { json: true, ..HttpApis::default() };
        let web = HttpApis { grpc_web: true, ..HttpApis::default() };
        let kinds = ["application/grpc", "application/json", "application/grpc-web+proto"];
        let of = |apis, version| {
            kinds.map(|kind| classify(apis, "POST", version, &[("content-type", kind)]))
        };
        use Protocol::{Grpc, GrpcWeb, Json};
        assert_eq!(of(&off, Version::HTTP_2), [Ok(Grpc), Err(415), Err(415)]);
        assert_eq!(of(&json, Version::HTTP_2), [Ok(Grpc), Ok(Json), Err(415)]);
        assert_eq!(of(&web, Version::HTTP_2), [Ok(Grpc), Err(415), Ok(GrpcWeb)]);
        // gRPC itself needs HTTP/2.
        assert_eq!(of(&all(), Version::HTTP_11), [Err(415), Ok(Json), Ok(GrpcWeb)]);
    }

    #[test]
    fn only_pages_of_a_named_origin_may_call() {
        let json = ("content-type", "application/json");
        let asks = ("access-control-request-method", "POST");
        let of = |apis: &HttpApis, method, headers: &[(&str, &str)]| {
            classify(apis, method, Version::HTTP_11, headers)
        };
        let closed = HttpApis { cors_origins: Vec::new(), ..all() };
        for origin in [PAGE, "null", "https://app.example.evil", "https://APP.example", ""] {
            assert_eq!(of(&closed, "POST", &[json, ("origin", origin)]), Err(403), "{origin}");
            assert_eq!(of(&closed, "OPTIONS", &[asks, ("origin", origin)]), Err(403), "{origin}");
            if origin != PAGE {
                assert_eq!(of(&all(), "POST", &[json, ("origin", origin)]), Err(403), "{origin}");
            }
        }
        assert_eq!(of(&all(), "POST", &[json, ("origin", PAGE)]), Ok(Protocol::Json));
        assert_eq!(of(&all(), "OPTIONS", &[asks, ("origin", PAGE)]), Ok(Protocol::Preflight));
        assert_eq!(of(&all(), "POST", &[json, ("origin", PAGE), ("origin", PAGE)]), Err(403));
        // No page speaks gRPC, and what asks nothing is no preflight.
        let grpc = ("content-type", "application/grpc");
        let page = [grpc, ("origin", PAGE)];
        assert_eq!(classify(&all(), "POST", Version::HTTP_2, &page), Err(415));
        assert_eq!(of(&all(), "OPTIONS", &[("origin", PAGE)]), Err(405));
        assert_eq!(of(&all(), "OPTIONS", &[asks]), Err(405));
    }

    #[test]
    fn what_is_none_of_them_is_refused() {
        let of =
            |method, headers: &[(&str, &str)]| classify(&all(), method, Version::HTTP_11, headers);
        let kind = |kind| of("POST", &[("content-type", kind)]);
        assert_eq!(kind("application/json; charset=utf-8"), Ok(Protocol::Json));
        assert_eq!(kind("Application/JSON"), Ok(Protocol::Json));
        for other in
            ["", "text/plain", "application/jsonx", "application/connect+json", "text/json"]
        {
            assert_eq!(kind(other), Err(415), "{other}");
        }
        let json = ("content-type", "application/json");
        assert_eq!(of("POST", &[]), Err(415));
        assert_eq!(of("POST", &[json, json]), Err(415));
        assert_eq!(of("POST", &[json, ("content-encoding", "gzip")]), Err(415));
        assert_eq!(of("POST", &[json, ("content-encoding", "identity")]), Ok(Protocol::Json));
        for method in ["GET", "PUT", "HEAD", "DELETE"] {
            assert_eq!(of(method, &[json]), Err(405));
        }
        let long = "x".repeat(HEADERS_BYTES_MAX as usize);
        assert_eq!(of("POST", &[json, ("x-long", &long)]), Err(431));
    }
}
