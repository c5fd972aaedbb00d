//! `StreamPut`: many writes on one call, each answered as soon as it is done.
//!
//! Flow control: while enough is in flight nothing is read from the caller, so HTTP/2's windows stop
//! it from sending more. No queue grows.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use terms::limits::{BODY_BYTES_MAX, STREAM_IN_FLIGHT_MAX};
use terms::{Reason, Rejection};
use tokio::time::Instant;
use tokio_stream::Stream;
use tokio_stream::wrappers::WatchStream;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use wire::v1;
use wire::v1::stream_put_request::Write;
use wire::v1::stream_put_response::Outcome;

use crate::api::context::{Admitted, Call, CallContext};
use crate::api::delete::delete;
use crate::api::patch::patch;
use crate::api::put::put;
use crate::api::refusal::{too_large, undecodable};
use crate::method::Method;

/// Bytes of bodies in flight on one stream at which nothing more is read from it. The last body that
/// was read may exceed it. One stream fits into the bytes of a tenant.
const STREAM_BYTES_IN_FLIGHT_MAX: usize = BODY_BYTES_MAX;

/// The answers to a stream of writes.
pub(crate) fn writes(
    ctx: Arc<CallContext>,
    call: Call,
    requests: impl Stream<Item = Result<v1::StreamPutRequest, Status>> + Send + Unpin + 'static,
) -> impl Stream<Item = Result<v1::StreamPutResponse, Status>> + Send + 'static {
    let stopping = WatchStream::new(ctx.stopping.clone());
    let deadline = call.deadline;
    let work = move |call: &Call, index: u64, request: v1::StreamPutRequest| {
        let (ctx, item) = (Arc::clone(&ctx), call.item(Method::StreamPutItem));
        let bytes = body_bytes(&request);
        let admitted = call.admit_item(bytes);
        async move {
            let v1::StreamPutRequest { write, timeout } = request;
            let request_id = write.as_ref().map_or_else(String::new, request_id);
            let own = own_time(timeout.as_ref());
            let done = match (admitted, own) {
                (Ok(admitted), Ok(own)) => {
                    let deadline = deadline.of_item(item.read_at(), own);
                    carry_out(&ctx, &admitted, deadline, write).await
                }
                (Err(rejection), _) | (_, Err(rejection)) => Err(rejection),
            };
            let outcome = done.unwrap_or_else(|rejection| Outcome::Error(item.refuse(&rejection)));
            if !matches!(outcome, Outcome::Error(_)) {
                item.done();
            }
            (bytes, v1::StreamPutResponse { index, request_id, outcome: Some(outcome) })
        }
    };
    Writes {
        requests: Some(requests),
        work,
        running: FuturesUnordered::new(),
        bytes: 0,
        next: 0,
        stopping,
        ending: None,
        call,
    }
}

async fn carry_out(
    ctx: &CallContext,
    admitted: &Admitted,
    deadline: Instant,
    write: Option<Write>,
) -> Result<Outcome, Rejection> {
    match write {
        Some(Write::Put(request)) => put(ctx, admitted, deadline, request).await.map(Outcome::Done),
        Some(Write::Delete(request)) => {
            delete(ctx, admitted, deadline, request).await.map(Outcome::Deleted)
        }
        Some(Write::Patch(request)) => {
            patch(ctx, admitted, deadline, request).await.map(Outcome::Patched)
        }
        None => Err(Rejection::new(Reason::FieldMissing).field("write")),
    }
}

fn body_bytes(request: &v1::StreamPutRequest) -> usize {
    match &request.write {
        Some(Write::Put(put)) => put.body.len(),
        Some(Write::Patch(patch)) => patch.body.as_ref().map_or(0, Bytes::len),
        Some(Write::Delete(_)) | None => 0,
    }
}

fn request_id(write: &Write) -> String {
    match write {
        Write::Put(put) => put.request_id.clone(),
        Write::Delete(delete) => delete.request_id.clone(),
        Write::Patch(patch) => patch.request_id.clone(),
    }
}

/// The time that the caller named for one write.
fn own_time(timeout: Option<&prost_types::Duration>) -> Result<Option<Duration>, Rejection> {
    let Some(timeout) = timeout else { return Ok(None) };
    match Duration::try_from(*timeout) {
        Ok(time) => Ok(Some(time)),
        Err(_) => {
            let rejection = Rejection::new(Reason::FieldInvalid).field("timeout");
            Err(rejection.problem("is below 0, or no duration"))
        }
    }
}

struct Writes<S, W, F> {
    /// None: nothing more will be read.
    requests: Option<S>,
    work: W,
    running: FuturesUnordered<F>,
    /// Bytes of the bodies in `running`.
    bytes: usize,
    /// The next request's place in the stream.
    next: u64,
    stopping: WatchStream<bool>,
    /// Why the stream ends once everything that was read is answered. None: the caller ended it.
    ending: Option<Rejection>,
    call: Call,
}

impl<S, W, F> Writes<S, W, F>
where
    S: Stream<Item = Result<v1::StreamPutRequest, Status>> + Unpin,
    W: FnMut(&Call, u64, v1::StreamPutRequest) -> F,
    F: Future<Output = (usize, v1::StreamPutResponse)>,
{
    fn has_room(&self) -> bool {
        self.running.len() < STREAM_IN_FLIGHT_MAX && self.bytes < STREAM_BYTES_IN_FLIGHT_MAX
    }

    /// Reads while there is something to read, and room for it.
    fn read(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(stop)) = self.stopping.poll_next_unpin(cx) {
            if stop && self.requests.is_some() {
                self.end(Some(Reason::ShuttingDown.into()));
            }
        }
        while self.has_room()
            && let Some(requests) = &mut self.requests
        {
            match requests.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(request))) => {
                    // The caller was identified when the stream began; its credentials must still be
                    // valid.
                    if let Err(rejection) = self.call.still_identified() {
                        return self.end(Some(rejection));
                    }
                    self.bytes += body_bytes(&request);
                    let future = (self.work)(&self.call, self.next, request);
                    self.running.push(future);
                    self.next += 1;
                }
                Poll::Ready(Some(Err(status))) => self.end(Some(unreadable(&status))),
                Poll::Ready(None) => self.end(None),
                Poll::Pending => return,
            }
        }
    }

    /// Reads nothing more. What was read is still answered.
    fn end(&mut self, ending: Option<Rejection>) {
        self.requests = None;
        self.ending = ending;
    }
}

impl<S, W, F> Stream for Writes<S, W, F>
where
    S: Stream<Item = Result<v1::StreamPutRequest, Status>> + Unpin,
    W: FnMut(&Call, u64, v1::StreamPutRequest) -> F + Unpin,
    F: Future<Output = (usize, v1::StreamPutResponse)>,
{
    type Item = Result<v1::StreamPutResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        this.read(cx);
        match this.running.poll_next_unpin(cx) {
            Poll::Ready(Some((bytes, response))) => {
                this.bytes -= bytes;
                Poll::Ready(Some(Ok(response)))
            }
            Poll::Ready(None) if this.requests.is_none() => match this.ending.take() {
                Some(rejection) => Poll::Ready(Some(Err(this.call.refuse(&rejection)))),
                None => {
                    this.call.done();
                    Poll::Ready(None)
                }
            },
            // A request wakes this task, or, when no more are read, an answer.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

/// Why a stream cannot be read on: a status of `http::request_body`, which has a reason, or one of
/// tonic's.
pub(super) fn unreadable(status: &Status) -> Rejection {
    if let Some(info) = status.get_details_error_info()
        && let Some(reason) = Reason::parse(&info.reason)
    {
        return Rejection::new(reason);
    }
    if matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted) {
        too_large()
    } else {
        undecodable()
    }
}
