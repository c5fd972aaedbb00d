//! The rest of a request that is refused before all of it was read.
//!
//! HTTP/2 resets such a stream once its answer is sent. gRPC's clients show the answer all the same;
//! curl and browsers, which still send, may lose it. So for them the rest is read and thrown away
//! first, up to [`REST_BYTES_MAX`] and within [`REST_TIME_MAX`]. Nothing of it is kept.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep};
use tonic::Status;
use tonic::body::Body;

type Response = http::Response<Body>;

/// Bytes that are read for it.
const REST_BYTES_MAX: usize = 4 << 20;
/// Time in which they must come.
const REST_TIME_MAX: Duration = Duration::from_secs(2);

/// Where the body of a request is left by those who do not read it to its end.
#[derive(Clone, Default)]
pub(super) struct Unread(Arc<Mutex<Option<Body>>>);

impl Unread {
    fn lock(&self) -> MutexGuard<'_, Option<Body>> {
        // No code that can panic runs under it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same request, whose body comes here when it is dropped before its end.
    pub(super) fn watch(&self, request: http::Request<Body>) -> http::Request<Body> {
        let unread = self.clone();
        request.map(|body| Body::new(Watched { body: Some(body), unread }))
    }

    /// What was left.
    pub(super) fn take(&self) -> Option<Body> {
        self.lock().take()
    }
}

struct Watched {
    /// There until it is dropped.
    body: Option<Body>,
    unread: Unread,
}

impl Drop for Watched {
    fn drop(&mut self) {
        let left = self.body.take().filter(|body| !http_body::Body::is_end_stream(body));
        if left.is_some() {
            *self.unread.lock() = left;
        }
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match &mut self.body {
            Some(body) => http_body::Body::poll_frame(Pin::new(body), cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, http_body::Body::size_hint)
    }
}

/// An answer that waits until the rest of its request has come.
pub(super) struct Draining {
    response: Option<Response>,
    body: Body,
    left: usize,
    timer: Pin<Box<Sleep>>,
}

impl Draining {
    pub(super) fn new(response: Response, body: Body) -> Self {
        let (left, timer) = (REST_BYTES_MAX, Box::pin(sleep(REST_TIME_MAX)));
        Self { response: Some(response), body, left, timer }
    }

    /// The answer, once all has come, or enough.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Response> {
        while !http_body::Body::is_end_stream(&self.body)
            && self.timer.as_mut().poll(cx).is_pending()
        {
            let Some(Ok(frame)) = ready!(http_body::Body::poll_frame(Pin::new(&mut self.body), cx))
            else {
                break;
            };
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            match self.left.checked_sub(bytes) {
                Some(left) => self.left = left,
                None => break,
            }
        }
        Poll::Ready(self.response.take().unwrap_or_default())
    }
}
