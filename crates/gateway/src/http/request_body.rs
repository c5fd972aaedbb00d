//! What a call may take before it is understood: time until its message is there, and memory for
//! the part that has come.
//!
//! Nothing below this layer sees a message before its last byte. So without it a caller who sends
//! a byte now and then keeps a seat for ever, and one who sends many large messages but for their
//! last byte keeps as much memory as it likes.
//!
//! **Time.** The body of a call with one message must be there, whole and ended, before the call's
//! deadline, and in [`BODY_TIME_MAX`] whatever deadline was named. On a stream each message has
//! [`BODY_TIME_MAX`] from its first byte on, and a stream on which nothing comes ends after
//! [`IDLE_TIME_MAX`].
//!
//! **Memory.** What has come of messages that are not complete, and of unary calls that are not
//! answered, counts against the tenant's part of the room, and against all of it (`shares`). The
//! first 8 KiB of each call are not counted: while a few hold all of it, small calls go on.
//!
//! A look at health, by anybody, is one message of [`CHECK_BYTES_MAX`], in [`CHECK_TIME_MAX`].

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use terms::{Reason, Rejection};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::api::context::{Deadline, Desk, Entered};
use crate::http::admission::is_check;
use crate::http::refusal_log;
use crate::http::refusal_log::By;
use crate::http::undecodable;
use crate::limits::{Coming, Share, Slot};
use crate::metrics::Method;

type Request = http::Request<Body>;

/// Time in which a message must be there once it has begun: a body of the largest size needs no
/// more than 5 Mbit/s for it.
pub(crate) const BODY_TIME_MAX: Duration = Duration::from_secs(30);
/// Time for which a stream may be open and say nothing.
pub(crate) const IDLE_TIME_MAX: Duration = Duration::from_secs(300);
/// Time in which a look at health must be there: nobody is known to call.
const CHECK_TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes of a look at health, which has the name of a service or region.
pub(crate) const CHECK_BYTES_MAX: usize = 512;
/// Bytes before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

// === the layer ===

/// Puts a watch on each call's body.
#[derive(Clone)]
pub(crate) struct IntakeLayer {
    desk: Arc<Desk>,
    times: Times,
}

/// The times above, which tests shorten.
#[derive(Debug, Clone, Copy)]
struct Times {
    body: Duration,
    idle: Duration,
    check: Duration,
}

impl IntakeLayer {
    /// For all calls of a gateway.
    pub(crate) fn new(desk: &Arc<Desk>) -> Self {
        let (body, idle, check) = (BODY_TIME_MAX, IDLE_TIME_MAX, CHECK_TIME_MAX);
        Self::with(desk, Times { body, idle, check })
    }

    fn with(desk: &Arc<Desk>, times: Times) -> Self {
        Self { desk: Arc::clone(desk), times }
    }
}

#[derive(Clone)]
pub(crate) struct Intake<S> {
    inner: S,
    layer: IntakeLayer,
}

impl<S> Layer<S> for IntakeLayer {
    type Service = Intake<S>;

    fn layer(&self, inner: S) -> Intake<S> {
        Intake { inner, layer: self.clone() }
    }
}

impl<S> Service<Request> for Intake<S>
where
    S: Service<Request>,
    S::Future: Unpin,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Answer<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Answer<S::Future> {
        let IntakeLayer { desk, times } = &self.layer;
        let beside = request.extensions();
        let of_slot = || beside.get::<Arc<Slot>>().and_then(|slot| slot.share());
        let tenant = beside.get::<Arc<Share>>().or_else(of_slot);
        let coming = Arc::new(Coming::new(tenant.cloned()));
        let now = Instant::now();
        let unnamed = || Entered { id: desk.ids.next(), method: Method::Other, at: now };
        let entered = beside.get().copied().unwrap_or_else(unnamed);
        let one = |time: Duration, max: usize| {
            let due = beside.get::<Deadline>().map(Deadline::of_call);
            let most = entered.at + time;
            Parts::One { held: 0, max, due: due.map_or(most, |due| due.min(most)) }
        };
        let parts = match entered.method {
            Method::Other if is_check(&request) => one(times.check, CHECK_BYTES_MAX + PREFIX_BYTES),
            // Health and reflection have streams, too, and no large messages.
            Method::StreamPut | Method::StreamPutItem | Method::Other => Parts::many(*times),
            Method::Put
            | Method::Get
            | Method::Delete
            | Method::Create
            | Method::ResolvePlacement
            | Method::MapGet
            | Method::MapStatus
            | Method::MapHistory
            | Method::MapCheck
            | Method::MapPlan
            | Method::MapApply => one(times.body, usize::MAX),
        };
        let (desk, kept, by) = (Arc::clone(desk), Arc::clone(&coming), By::of(&request));
        let watch = |body| {
            let (timer, over) = (None, false);
            Body::new(Arriving { body, desk, entered, by, coming: kept, parts, timer, over })
        };
        Answer { inner: self.inner.call(request.map(watch)), _coming: coming }
    }
}

/// A call under way, which holds its room for messages until it is answered. What a stream's
/// messages take once they are complete is counted where they are worked on.
pub(crate) struct Answer<F> {
    inner: F,
    _coming: Arc<Coming>,
}

impl<F: Future + Unpin> Future for Answer<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

// === the body ===

/// What has come of a call's messages.
enum Parts {
    /// One message and no more.
    One { held: usize, max: usize, due: Instant },
    /// Messages one after another.
    Many(Messages),
}

/// Where the bytes of a stream are within its messages.
struct Messages {
    times: Times,
    /// What has come of the next prefix: how many bytes, and the length so far.
    prefix: (usize, usize),
    /// Bytes that the message still lacks, once its prefix is there.
    lacks: usize,
    /// Bytes of the message that is not complete.
    held: usize,
    /// By when it must be, or, between messages, by when one must begin. None: not waited yet.
    due: Option<Instant>,
}

impl Parts {
    const fn many(times: Times) -> Self {
        Self::Many(Messages { times, prefix: (0, 0), lacks: 0, held: 0, due: None })
    }

    /// Takes note of bytes; gives how many are held now. None: more than a message may have.
    fn take(&mut self, data: &[u8]) -> Option<usize> {
        match self {
            Self::One { held, max, .. } => {
                *held = held.saturating_add(data.len());
                (*held <= *max).then_some(*held)
            }
            Self::Many(messages) => Some(messages.take(data)),
        }
    }

    /// By when something more must come, for one who waits from now on.
    fn due(&mut self) -> Instant {
        match self {
            Self::One { due, .. } => *due,
            Self::Many(messages) => {
                let Times { body, idle, .. } = messages.times;
                let time = if messages.held > 0 { body } else { idle };
                *messages.due.get_or_insert_with(|| Instant::now() + time)
            }
        }
    }
}

impl Messages {
    fn take(&mut self, mut data: &[u8]) -> usize {
        while let Some((first, rest)) = data.split_first() {
            if self.held == 0 {
                self.due = None;
            }
            let (seen, length) = self.prefix;
            if seen < PREFIX_BYTES {
                // The first byte is a flag; four of length follow, the highest first.
                let length = if seen == 0 { 0 } else { length << 8 | usize::from(*first) };
                self.prefix = (seen + 1, length);
                self.lacks = length;
                self.held += 1;
                data = rest;
            } else {
                let part = data.len().min(self.lacks);
                self.lacks -= part;
                self.held = self.held.saturating_add(part);
                data = data.get(part..).unwrap_or_default();
            }
            if self.prefix.0 == PREFIX_BYTES && self.lacks == 0 {
                *self = Self { times: self.times, prefix: (0, 0), lacks: 0, held: 0, due: None };
            }
        }
        self.held
    }
}

/// A body on its way in.
struct Arriving {
    body: Body,
    desk: Arc<Desk>,
    entered: Entered,
    by: By,
    coming: Arc<Coming>,
    parts: Parts,
    /// Made when there is something to wait for.
    timer: Option<Pin<Box<Sleep>>>,
    over: bool,
}

impl Arriving {
    /// Ends the call. A stream's end is counted and logged by who reads the stream.
    fn end(&mut self, fault: &Rejection) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.over = true;
        let status = match self.parts {
            Parts::One { .. } => self.desk.refuse(&self.entered, fault, &self.by),
            Parts::Many(_) => refusal_log::status(fault, self.entered.id),
        };
        Poll::Ready(Some(Err(status)))
    }
}

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(next) = Pin::new(&mut this.body).poll_frame(cx) {
            if let Some(Ok(frame)) = &next
                && let Some(data) = frame.data_ref()
            {
                let Some(held) = this.parts.take(data) else { return this.end(&undecodable()) };
                if let Err(fault) = this.coming.hold(held) {
                    return this.end(&fault);
                }
            }
            return Poll::Ready(next);
        }
        let due = this.parts.due();
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() != due {
            timer.as_mut().reset(due);
        }
        ready!(timer.as_mut().poll(cx));
        this.end(&Reason::DeadlinePassed.into())
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
