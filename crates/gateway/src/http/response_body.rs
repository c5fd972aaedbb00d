//! An answer from when it is made until the caller has taken it. A caller chooses how much it
//! reads, and when: without this, calls that are done and not read would hold memory and count
//! for nobody.
//!
//! Until its last byte has left the process, an answer holds the call's seat, its tenant's share,
//! and its room among the records on their way out. It is handed to HTTP/2 in parts of
//! [`PART_BYTES_MAX`], and each part says when it is gone. While a part lies there for
//! [`UNREAD_TICKS_MAX`](crate::http::connection::UNREAD_TICKS_MAX) and none goes, the answer is given up: all
//! that it holds is let go, of a stream also what is still worked on, and the call is reset.
//! HTTP/2 keeps one part, and resets the call once the caller takes that; `line` sees to it that
//! these do not add up.

use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::api::context::Seat;
use crate::http::admission::is_check;
use crate::http::connection::{Line, UNREAD_TICKS_MAX};
use crate::limits::{Kept, Share, Slot};

type Request = http::Request<Body>;
type Response = http::Response<Body>;

/// Bytes of an answer that HTTP/2 has at once.
const PART_BYTES_MAX: usize = 32 << 10;
/// Ticks for which the answer to a look at health may lie there: anybody can ask for one.
const CHECK_TICKS_MAX: u32 = 2;

// === the layer ===

/// Lets each call keep what it holds until its answer has gone out.
#[derive(Clone)]
pub(crate) struct DeliveryLayer;

#[derive(Clone)]
pub(crate) struct Delivery<S>(S);

impl<S> Layer<S> for DeliveryLayer {
    type Service = Delivery<S>;

    fn layer(&self, inner: S) -> Delivery<S> {
        Delivery(inner)
    }
}

impl<S> Service<Request> for Delivery<S>
where
    S: Service<Request, Response = Response>,
    S::Future: Unpin,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Delivered<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let beside = request.extensions();
        let holds = Holds {
            _seat: beside.get().cloned(),
            _share: beside.get().cloned(),
            _slot: beside.get().cloned(),
            _kept: None,
        };
        let line = beside.get::<Arc<Line>>().cloned();
        let ticks_max = if is_check(&request) { CHECK_TICKS_MAX } else { UNREAD_TICKS_MAX };
        Delivered { inner: self.0.call(request), holds, line, ticks_max }
    }
}

/// What a call has taken.
#[derive(Default)]
struct Holds {
    _seat: Option<Arc<Seat>>,
    _share: Option<Arc<Share>>,
    _slot: Option<Arc<Slot>>,
    /// What the service put beside the answer.
    _kept: Option<Arc<Kept>>,
}

/// A call whose answer is on its way.
pub(crate) struct Delivered<F> {
    inner: F,
    holds: Holds,
    line: Option<Arc<Line>>,
    ticks_max: u32,
}

impl<F, E> Future for Delivered<F>
where
    F: Future<Output = Result<Response, E>> + Unpin,
{
    type Output = Result<Response, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = match ready!(Pin::new(&mut self.inner).poll(cx)) {
            Ok(response) => response,
            Err(error) => return Poll::Ready(Err(error)),
        };
        let mut holds = std::mem::take(&mut self.holds);
        holds._kept = response.extensions_mut().remove();
        let line = self.line.take().unwrap_or_default();
        let ticks_max = self.ticks_max;
        Poll::Ready(Ok(response.map(|body| Sending::begin(body, holds, line, ticks_max))))
    }
}

// === the answer ===

/// An answer that is being sent. It lives until HTTP/2 has no part of it any more.
pub(crate) struct Sending {
    line: Arc<Line>,
    ticks_max: u32,
    /// Parts that HTTP/2 has.
    parts: AtomicUsize,
    /// When it last had none, or one of them went.
    progress: AtomicU32,
    left: Mutex<Left>,
}

/// What is not sent yet.
struct Left {
    /// None: nothing more is sent.
    body: Option<Body>,
    /// What is left of a message, or of several.
    rest: Bytes,
    /// Whether some of that has gone already.
    split: bool,
    holds: Holds,
    given_up: bool,
}

impl Sending {
    fn begin(body: Body, holds: Holds, line: Arc<Line>, ticks_max: u32) -> Body {
        if http_body::Body::is_end_stream(&body) {
            return body;
        }
        let (rest, split, given_up) = (Bytes::new(), false, false);
        let left = Left { body: Some(body), rest, split, holds, given_up };
        let progress = AtomicU32::new(line.now());
        let sending = Arc::new(Self {
            line,
            ticks_max,
            parts: AtomicUsize::new(0),
            progress,
            left: Mutex::new(left),
        });
        sending.line.watch(&sending);
        Body::new(Outgoing(sending))
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is given up; gives it up when it is time for that.
    pub(crate) fn is_given_up(&self, now: u32) -> bool {
        let mut left = match self.left.try_lock() {
            Ok(left) => left,
            Err(TryLockError::Poisoned(left)) => left.into_inner(),
            // It is being worked on.
            Err(TryLockError::WouldBlock) => return false,
        };
        let waits = now.wrapping_sub(self.progress.load(Ordering::Relaxed));
        if left.given_up || self.parts.load(Ordering::Relaxed) == 0 || waits <= self.ticks_max {
            return left.given_up;
        }
        left.given_up = true;
        let all = (left.body.take(), std::mem::take(&mut left.rest));
        let holds = std::mem::take(&mut left.holds);
        // A stream's end does more than free memory: not under the lock.
        drop(left);
        drop((all, holds));
        tracing::debug!("an answer that is not read is given up");
        true
    }

    /// The next part of what is left. Of a large message it is a copy: a part that shares the
    /// memory of the whole would keep all of it.
    fn part(self: &Arc<Self>, rest: &mut Bytes, split: &mut bool) -> Bytes {
        *split |= rest.len() > PART_BYTES_MAX;
        let bytes = if *split {
            Bytes::copy_from_slice(&rest.split_to(rest.len().min(PART_BYTES_MAX)))
        } else {
            std::mem::take(rest)
        };
        *split &= !rest.is_empty();
        if self.parts.fetch_add(1, Ordering::Relaxed) == 0 {
            self.progress.store(self.line.now(), Ordering::Relaxed);
        }
        Bytes::from_owner(Part { bytes, of: Arc::clone(self) })
    }
}

/// A part of an answer, in the hands of HTTP/2. Dropped, it has gone out or never will.
struct Part {
    bytes: Bytes,
    of: Arc<Sending>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.of.progress.store(self.of.line.now(), Ordering::Relaxed);
        self.of.parts.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body that HTTP/2 reads.
struct Outgoing(Arc<Sending>);

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut left = self.0.left();
        let Left { body, rest, split, given_up, .. } = &mut *left;
        if rest.is_empty() {
            let Some(sent) = body else {
                let unread = || Err(Status::cancelled("the answer was not read in time"));
                return Poll::Ready(given_up.then(unread));
            };
            match ready!(Pin::new(sent).poll_frame(cx)).transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => *rest = data,
                Some(Err(other)) => return Poll::Ready(Some(Ok(other))),
                None => return Poll::Ready(None),
            }
        }
        Poll::Ready(Some(Ok(Frame::data(self.0.part(rest, split)))))
    }

    fn is_end_stream(&self) -> bool {
        let left = self.0.left();
        left.rest.is_empty() && !left.given_up && left.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        let mut left = self.0.left();
        let all = (left.body.take(), std::mem::take(&mut left.rest));
        drop(left);
        // What is held besides is let go with the last part.
        drop(all);
    }
}

#[cfg(test)]
mod tests;
