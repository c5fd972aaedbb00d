//! A stream of puts: requests in one direction, answers in the other, each on its own.

use std::time::Duration;

use prost::Message as _;
use terms::limits::REQUEST_BYTES_MAX;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Streaming};
use wire::v1::records_client::RecordsClient;
use wire::v1::stream_put_response::Outcome;

use crate::token::Bearer;
use crate::{Error, Refused, api};

/// Why a request was not sent on a stream. The stream itself is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The stream has ended: what it ended with is in the answers.
    #[error("the stream of puts has ended")]
    Ended,
    /// The request has more than [`REQUEST_BYTES_MAX`] bytes: no gateway reads it.
    #[error("the request has more than {REQUEST_BYTES_MAX} bytes, and was not sent")]
    TooLarge,
}

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
    bearer: Option<Bearer>,
) -> Result<(Puts, Answers), Error> {
    let (sender, receiver) = mpsc::channel(ahead.max(1));
    let mut request = Request::new(ReceiverStream::new(receiver));
    if let Some(bearer) = bearer {
        request.metadata_mut().insert("authorization", bearer);
    }
    let opened = timeout(within, records.stream_put(request));
    let answers = opened.await.map_err(|_| Error::TimedOut)??;
    Ok((Puts(sender), Answers(answers.into_inner())))
}

impl Puts {
    /// Sends a request. Waits while there is no room: the gateway reads no faster than it writes.
    ///
    /// # Errors
    /// [`NotSent`].
    pub async fn send(&self, request: api::PutRecordRequest) -> Result<(), NotSent> {
        if request.encoded_len() > REQUEST_BYTES_MAX {
            return Err(NotSent::TooLarge);
        }
        self.0.send(request).await.map_err(|_| NotSent::Ended)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, Settings};

    #[tokio::test]
    async fn a_request_that_no_gateway_reads_is_not_sent() {
        let (sender, mut receiver) = mpsc::channel(2);
        let puts = Puts(sender);
        let of =
            |bytes| api::PutRecordRequest { body: vec![0; bytes].into(), ..Default::default() };
        // Beside its body, a request needs bytes for itself.
        let large = of(REQUEST_BYTES_MAX);
        let settings = Settings { deadline: Duration::from_secs(5), attempts_max: 2 };
        let client = Client::lazy("http://127.0.0.1:1", settings).unwrap();
        assert!(matches!(client.put(&large).await, Err(Error::TooLarge)));
        assert_eq!(puts.send(large).await, Err(NotSent::TooLarge));
        // The stream goes on until nobody takes more.
        assert_eq!(puts.send(of(REQUEST_BYTES_MAX - 16)).await, Ok(()));
        assert_eq!(receiver.recv().await.map(|r| r.body.len()), Some(REQUEST_BYTES_MAX - 16));
        drop(receiver);
        assert_eq!(puts.send(of(1)).await, Err(NotSent::Ended));
    }
}
