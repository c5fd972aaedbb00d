//! What a call may take before its message is complete: time, and memory for the part that has come.
//!
//! Nothing below this layer sees a message before its last byte. So without these bounds a caller that
//! sends a byte now and then would keep a permit for ever, and one that sends many large messages
//! without their last byte would take any amount of memory.
//!
//! **Time.** The body of a call with one message must have come, and have ended, before the call's
//! deadline, and within [`BODY_TIME_MAX`] whatever deadline was named. On a stream each message has
//! [`BODY_TIME_MAX`] from its first byte on, and a stream on which nothing comes ends after
//! [`IDLE_TIME_MAX`].
//!
//! **Memory.** What has come of messages that are not complete, and of unary calls that are not
//! answered, counts against the bytes of the tenant and of the gateway (see `limits`). The first 8 KiB
//! of each call are not counted.
//!
//! A health check, which needs no identity, is one message of [`CHECK_BYTES_MAX`], within
//! [`CHECK_TIME_MAX`].

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

use crate::api::context::{CallContext, CallInfo, Deadline};
use crate::api::refusal::{self, LoggedCaller, undecodable};
use crate::http::admission::is_health_check;
use crate::limits::{FREE_BYTES, TenantPermit};
use crate::method::Method;

type Request = http::Request<Body>;

/// Time in which a message must be complete once it has begun: a body of the largest size needs no
/// more than 5 Mbit/s for it.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);
/// Time for which nothing may come on a stream.
const IDLE_TIME_MAX: Duration = Duration::from_secs(300);
/// Time in which a health check must be complete: its caller is not known.
const CHECK_TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes of a health check, which has the name of a service or region.
pub(crate) const CHECK_BYTES_MAX: usize = 512;
/// Bytes before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// The times above, which tests shorten.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    body: Duration,
    idle: Duration,
    check: Duration,
}

impl Times {
    pub(crate) const DEFAULT: Self =
        Self { body: BODY_TIME_MAX, idle: IDLE_TIME_MAX, check: CHECK_TIME_MAX };
}

/// The same request, with a body that is bounded.
pub(crate) fn bounded(
    request: Request,
    ctx: &Arc<CallContext>,
    info: CallInfo,
    times: Times,
) -> Request {
    let extensions = request.extensions();
    let one = |time: Duration, max: usize| {
        let due = info.started + time;
        let named = extensions.get::<Deadline>().map(Deadline::of_call);
        Messages::One { held: 0, max, due: named.map_or(due, |named| named.min(due)) }
    };
    let messages = match info.method {
        Method::Other if is_health_check(&request) => {
            one(times.check, CHECK_BYTES_MAX + PREFIX_BYTES)
        }
        // The watching of health and reflection are streams without large messages.
        Method::StreamPut | Method::StreamPutItem | Method::Upload | Method::Other => {
            Messages::many(times)
        }
        Method::Put
        | Method::Get
        | Method::List
        | Method::Count
        | Method::Watch
        | Method::Scan
        | Method::Delete
        | Method::Touch
        | Method::Patch
        | Method::BatchGet
        | Method::BatchPut
        | Method::BatchDelete
        | Method::BatchItem
        | Method::Download
        | Method::Stat
        | Method::Create
        | Method::ResolvePlacement
        | Method::SubjectGet
        | Method::SubjectLocate
        | Method::SubjectReassess
        | Method::SubjectRelocate
        | Method::SubjectAdjudicate
        | Method::SubjectConfirmAdjudication
        | Method::OperationGet
        | Method::OperationList
        | Method::OperationCancel
        | Method::SubjectExport
        | Method::SubjectErase
        | Method::SubjectRotateKey
        | Method::SubjectBlock
        | Method::SubjectUnblock
        | Method::MapGet
        | Method::MapStatus
        | Method::MapHistory
        | Method::MapCheck
        | Method::MapPlan
        | Method::MapApply
        | Method::TransitGetKey => one(times.body, usize::MAX),
    };
    let permit = extensions.get().cloned();
    let (ctx, caller) = (Arc::clone(ctx), LoggedCaller::of(&request));
    request.map(|body| {
        let (timer, over) = (None, false);
        Body::new(RequestBody { body, ctx, info, caller, permit, messages, timer, over })
    })
}

/// What has come of a call's messages.
enum Messages {
    /// One message and no more.
    One { held: usize, max: usize, due: Instant },
    /// Messages one after another.
    Many(MessageStream),
}

/// Where the bytes of a stream are within its messages.
struct MessageStream {
    times: Times,
    /// What has come of the next prefix: how many bytes, and the length so far.
    prefix: (usize, usize),
    /// Bytes that the message still lacks, once its prefix is there.
    lacks: usize,
    /// Bytes of the message that is not complete.
    held: usize,
    /// By when it must be complete, or, between messages, by when one must begin. None: nothing
    /// waits yet.
    due: Option<Instant>,
}

impl Messages {
    const fn many(times: Times) -> Self {
        Self::Many(MessageStream { times, prefix: (0, 0), lacks: 0, held: 0, due: None })
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

    /// By when more must come, for a reader that waits from now on.
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

impl MessageStream {
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

/// A body that is being received.
struct RequestBody {
    body: Body,
    ctx: Arc<CallContext>,
    info: CallInfo,
    caller: LoggedCaller,
    /// None: health and reflection, which hold nothing large.
    permit: Option<Arc<TenantPermit>>,
    messages: Messages,
    /// Made when there is something to wait for.
    timer: Option<Pin<Box<Sleep>>>,
    over: bool,
}

impl RequestBody {
    /// Counts the bytes of a frame.
    fn take(&mut self, data: &[u8]) -> Result<(), Rejection> {
        let held = self.messages.take(data).ok_or_else(undecodable)?;
        match &self.permit {
            Some(permit) => permit.hold(held),
            None if held > FREE_BYTES => Err(Reason::GatewayBusy.into()),
            None => Ok(()),
        }
    }

    /// Ends the call. The reader of a stream counts and logs its end.
    fn end(&mut self, rejection: &Rejection) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.over = true;
        let status = match self.messages {
            Messages::One { .. } => self.ctx.refuse(&self.info, rejection, &self.caller),
            Messages::Many(_) => refusal::status(rejection, self.info.id),
        };
        Poll::Ready(Some(Err(status)))
    }
}

impl http_body::Body for RequestBody {
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
                && let Err(rejection) = this.take(data)
            {
                return this.end(&rejection);
            }
            return Poll::Ready(next);
        }
        let due = this.messages.due();
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
