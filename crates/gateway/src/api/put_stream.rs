//! `StreamPut`: many puts on one call, each answered on its own as it is done.
//!
//! The flow control is here: while enough is in flight, nothing is read from the caller, whose
//! sending then stops by HTTP/2's own windows. No queue grows.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use terms::limits::STREAM_IN_FLIGHT_MAX;
use terms::{Reason, Rejection};
use tokio_stream::Stream;
use tokio_stream::wrappers::WatchStream;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use wire::v1;

use crate::Shared;
use crate::api::context::Asked;
use crate::api::put::put;
use crate::http::{too_large, undecodable};

/// Bytes of bodies in flight on one stream before nothing more is read from it. One more body may
/// be read when it is reached.
const STREAM_BYTES_IN_FLIGHT_MAX: usize = 32 << 20;

/// The answers to a stream of puts.
pub(crate) fn puts(
    shared: Arc<Shared>,
    asked: Asked,
    requests: impl Stream<Item = Result<v1::PutRecordRequest, Status>> + Send + Unpin + 'static,
) -> impl Stream<Item = Result<v1::StreamPutResponse, Status>> + Send + 'static {
    let stopping = WatchStream::new(shared.stopping.clone());
    let deadline = asked.deadline;
    let work = move |asked: &Asked, index: u64, mut request: v1::PutRecordRequest| {
        let (shared, item, turn) = (Arc::clone(&shared), asked.item(), asked.next_turn());
        async move {
            let bytes = request.body.len();
            let deadline = deadline.of_item(item.entered.at);
            let request_id = std::mem::take(&mut request.request_id);
            request.request_id.clone_from(&request_id);
            let done = match turn {
                Ok(turn) => put(&shared, &turn, deadline, request).await,
                Err(fault) => Err(fault),
            };
            let outcome = match done {
                Ok(done) => {
                    item.done();
                    v1::stream_put_response::Outcome::Done(done)
                }
                Err(fault) => v1::stream_put_response::Outcome::Error(item.refuse(&fault)),
            };
            (bytes, v1::StreamPutResponse { index, request_id, outcome: Some(outcome) })
        }
    };
    Puts {
        requests: Some(requests),
        work,
        running: FuturesUnordered::new(),
        bytes: 0,
        next: 0,
        stopping,
        ending: None,
        asked,
    }
}

struct Puts<S, W, F> {
    /// None: nothing more will be read.
    requests: Option<S>,
    work: W,
    running: FuturesUnordered<F>,
    /// Bytes of the bodies in `running`.
    bytes: usize,
    /// The next request's place in the stream.
    next: u64,
    stopping: WatchStream<bool>,
    /// With what the stream ends once all that was read is answered. None: well.
    ending: Option<Rejection>,
    asked: Asked,
}

impl<S, W, F> Puts<S, W, F>
where
    S: Stream<Item = Result<v1::PutRecordRequest, Status>> + Unpin,
    W: FnMut(&Asked, u64, v1::PutRecordRequest) -> F,
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
                    // Who calls was shown when the stream began; it must still hold.
                    if let Err(fault) = self.asked.still_identified() {
                        return self.end(Some(fault));
                    }
                    self.bytes += request.body.len();
                    let future = (self.work)(&self.asked, self.next, request);
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

impl<S, W, F> Stream for Puts<S, W, F>
where
    S: Stream<Item = Result<v1::PutRecordRequest, Status>> + Unpin,
    W: FnMut(&Asked, u64, v1::PutRecordRequest) -> F + Unpin,
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
                Some(fault) => Poll::Ready(Some(Err(this.asked.refuse(&fault)))),
                None => {
                    this.asked.done();
                    Poll::Ready(None)
                }
            },
            // Reading wakes us, or, when nothing more fits, an answer.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

/// Why a stream could not be read on: what the intake says, which has a reason, or what tonic
/// does. After that, its frames cannot be told apart any more.
fn unreadable(status: &Status) -> Rejection {
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
