//! A stream of puts: requests in one direction, answers in the other, each on its own.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;
use wire::v1::records_client::RecordsClient;
use wire::v1::stream_put_response::Outcome;

use crate::{Error, Refused, api};

/// The stream has ended: what it ended with is in the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream of puts has ended")]
pub struct StreamClosed;

/// The requests of a stream. Dropped, it says that there are no more.
#[derive(Debug)]
pub struct Puts(mpsc::Sender<api::PutRecordRequest>);

/// The answers of a stream, in the order in which they are durable.
#[derive(Debug)]
pub struct Answers(Streaming<api::StreamPutResponse>);

/// What became of one request of a stream.
#[expect(missing_debug_implementations, reason = "it names a person's record")]
pub struct Answer {
    /// Which request of the stream, from 0.
    pub index: u64,
    /// The request's own id.
    pub request_id: String,
    /// What a single put would have answered.
    pub outcome: Result<api::PutRecordResponse, Box<Refused>>,
}

pub(crate) async fn open(
    mut records: RecordsClient<Channel>,
    ahead: usize,
    within: Duration,
) -> Result<(Puts, Answers), Error> {
    let (sender, receiver) = mpsc::channel(ahead.max(1));
    let opened = timeout(within, records.stream_put(ReceiverStream::new(receiver)));
    let answers = opened.await.map_err(|_| Error::TimedOut)??;
    Ok((Puts(sender), Answers(answers.into_inner())))
}

impl Puts {
    /// Sends a request. Waits while there is no room: the gateway reads no faster than it writes.
    ///
    /// # Errors
    /// [`StreamClosed`]; the request may have been sent or not.
    pub async fn send(&self, request: api::PutRecordRequest) -> Result<(), StreamClosed> {
        self.0.send(request).await.map_err(|_| StreamClosed)
    }
}

impl Answers {
    /// The next answer. None when every request is answered and none will come.
    ///
    /// # Errors
    /// [`Error`], when the stream breaks: what is not answered yet may have been done or not.
    pub async fn next(&mut self) -> Result<Option<Answer>, Error> {
        let Some(message) = self.0.message().await? else { return Ok(None) };
        let api::StreamPutResponse { index, request_id, outcome } = message;
        let outcome = match outcome {
            Some(Outcome::Done(done)) => Ok(done),
            Some(Outcome::Error(status)) => Err(Box::new(
                Refused::of_item(&status)
                    .ok_or(Error::NotBailiwick(tonic::Code::from(status.code)))?,
            )),
            None => return Err(Error::NotBailiwick(tonic::Code::Ok)),
        };
        Ok(Some(Answer { index, request_id, outcome }))
    }
}
