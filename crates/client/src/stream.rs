//! A stream of puts, patches and deletes: requests in one direction, answers in the other, each on its own.
//!
//! What was sent is kept until it is answered, its body included, since a receipt speaks of it:
//! a caller that bounds what is in flight bounds that, too.
//!
//! No more requests are under way than a gateway works on at once ([`STREAM_IN_FLIGHT_MAX`]). So
//! the gateway reads whatever is sent, and reads it at once: h2 closes a connection on which many
//! small frames lie unread.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prost::Message as _;
use terms::Reason;
use terms::limits::{FRAME_BYTES_MAX, REQUEST_BYTES_MAX, STREAM_IN_FLIGHT_MAX};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Streaming};
use wire::status_check::Checked;
use wire::v1::records_client::RecordsClient;
use wire::v1::stream_put_request::Write;
use wire::v1::stream_put_response::Outcome;

use crate::receipt::{Known, Unproven, Written, check_delete, check_patch, check_put};
use crate::token::Bearer;
use crate::transit_keys::NotSealed;
use crate::{Error, NotFollowed, Refused, api};

/// Why a request was not sent on a stream. The stream itself is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The stream has ended: what it ended with is in the answers.
    #[error("the stream of puts has ended")]
    Ended,
    /// The request has more than [`REQUEST_BYTES_MAX`] bytes: no gateway reads it.
    #[error("the request has more than {REQUEST_BYTES_MAX} bytes, and was not sent")]
    TooLarge,
    /// The client seals or encrypts bodies, and could not do it with this one.
    #[error("{0}")]
    NotSealed(NotSealed),
}

/// The requests of a stream. Dropped, it says that there are no more.
pub struct Puts {
    sender: mpsc::Sender<api::StreamPutRequest>,
    sent: Sent,
    room: Arc<Semaphore>,
    /// None: bodies leave as they are.
    prepares: Option<Arc<dyn Prepares>>,
}

/// The answers of a stream, in the order in which they are durable.
pub struct Answers {
    stream: Streaming<api::StreamPutResponse>,
    sent: Sent,
    room: Arc<Semaphore>,
    tenant: Option<String>,
    first: bool,
    prepares: Option<Arc<dyn Prepares>>,
}

/// What became of one request of a stream.
#[expect(missing_debug_implementations, reason = "it names a person's record")]
pub struct Answer {
    /// Which request of the stream, from 0.
    pub index: u64,
    /// The request's own id.
    pub request_id: String,
    /// What [`crate::Client::put`] would have given, its receipt checked in the same way; but a
    /// stream follows nowhere. A write that a law wants taken by another gateway is
    /// [`Error::NotFollowed`] with [`NotFollowed::Stream`]: [`Refused::region`] and
    /// [`Refused::ingress`] say where it belongs, and [`crate::Client::put_resolved`] brings it
    /// there, if [`crate::Access`] lets it.
    ///
    /// Of a delete or a patch: what [`crate::Client::delete`] or [`crate::Client::patch`] would have
    /// given, with the subject that was sent. A delete has no etag and no ruling.
    pub outcome: Result<Written<api::PutRecordResponse>, Error>,
}

/// What was sent on a stream and is not answered yet.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    next: u64,
    asked: HashMap<u64, (Write, OwnedSemaphorePermit)>,
}

/// What is known of every request of a stream, and how long its opening may take.
pub(crate) struct Opening {
    pub(crate) ahead: usize,
    pub(crate) within: Duration,
    pub(crate) bearer: Option<Bearer>,
    pub(crate) tenant: Option<String>,
    pub(crate) first: bool,
    /// None: bodies leave as they are.
    pub(crate) prepares: Option<Arc<dyn Prepares>>,
}

/// A request as its receipt speaks of it, and as it leaves; or why it does not leave.
pub(crate) type Prepared<'a, M> = Pin<Box<dyn Future<Output = Result<(M, M), Error>> + Send + 'a>>;

/// What seals or encrypts the bodies of a stream.
pub(crate) trait Prepares: Send + Sync {
    fn put(&self, request: api::PutRecordRequest) -> Prepared<'_, api::PutRecordRequest>;
    fn patch(&self, request: api::PatchRecordRequest) -> Prepared<'_, api::PatchRecordRequest>;
    /// Is told of each refusal.
    fn refused(&self, error: &Error);
}

/// The calls of `Records` over a connection.
pub(crate) fn records(connection: Channel) -> RecordsClient<Checked<Channel>> {
    RecordsClient::new(Checked::new(connection))
        .max_decoding_message_size(FRAME_BYTES_MAX)
        .max_encoding_message_size(REQUEST_BYTES_MAX)
}

pub(crate) async fn open(
    mut records: RecordsClient<Checked<Channel>>,
    opening: Opening,
) -> Result<(Puts, Answers), Error> {
    let Opening { ahead, within, bearer, tenant, first, prepares } = opening;
    let (sender, receiver) = mpsc::channel(ahead.max(1));
    let mut request = Request::new(ReceiverStream::new(receiver));
    if let Some(bearer) = bearer {
        request.metadata_mut().insert("authorization", bearer);
    }
    let opened = timeout(within, records.stream_put(request));
    let stream = opened.await.map_err(|_| Error::TimedOut)??.into_inner();
    let sent = Sent::default();
    let room = Arc::new(Semaphore::new(STREAM_IN_FLIGHT_MAX));
    let (sends, taken) = (sent.clone(), Arc::clone(&room));
    let puts = Puts { sender, sent: sends, room: taken, prepares: prepares.clone() };
    Ok((puts, Answers { stream, sent, room, tenant, first, prepares }))
}

// === impl Sent ===

impl Sent {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Puts ===

impl Puts {
    /// Sends a request. Waits while there is no room: the gateway reads no faster than it writes,
    /// and [`STREAM_IN_FLIGHT_MAX`] requests at most are sent and have no answer that was taken
    /// from [`Answers`]. So take the answers while you send.
    ///
    /// # Errors
    /// [`NotSent`].
    pub async fn send(&self, request: api::PutRecordRequest) -> Result<(), NotSent> {
        let Some(prepares) = &self.prepares else {
            let essence = Write::Put(essence(&request));
            return self.send_write(Write::Put(request), essence).await;
        };
        let (own, sealed) = prepares.put(request).await.map_err(not_sealed)?;
        self.send_write(Write::Put(sealed), Write::Put(essence(&own))).await
    }

    /// The same for a delete.
    ///
    /// # Errors
    /// [`NotSent`].
    pub async fn send_delete(&self, request: api::DeleteRecordRequest) -> Result<(), NotSent> {
        let write = Write::Delete(request);
        self.send_write(write.clone(), write).await
    }

    /// The same for a patch.
    ///
    /// # Errors
    /// [`NotSent`].
    pub async fn send_patch(&self, request: api::PatchRecordRequest) -> Result<(), NotSent> {
        let Some(prepares) = &self.prepares else {
            let write = Write::Patch(request);
            return self.send_write(write.clone(), write).await;
        };
        let (own, sealed) = prepares.patch(request).await.map_err(not_sealed)?;
        self.send_write(Write::Patch(sealed), Write::Patch(own)).await
    }

    async fn send_write(&self, write: Write, essence: Write) -> Result<(), NotSent> {
        let request = api::StreamPutRequest { write: Some(write), timeout: None };
        if request.encoded_len() > REQUEST_BYTES_MAX {
            return Err(NotSent::TooLarge);
        }
        let in_flight = tokio::select! {
            in_flight = Arc::clone(&self.room).acquire_owned() => in_flight,
            () = self.sender.closed() => return Err(NotSent::Ended),
        };
        let in_flight = in_flight.map_err(|_| NotSent::Ended)?;
        let room = self.sender.reserve().await.map_err(|_| NotSent::Ended)?;
        // Under the lock, so that the numbers are those of the order of sending.
        let mut waiting = self.sent.lock();
        let index = waiting.next;
        waiting.next += 1;
        waiting.asked.insert(index, (essence, in_flight));
        room.send(request);
        Ok(())
    }
}

/// Why a body was not sealed. Whatever kept the region's key from being fetched is one reason here,
/// but for a refusal that stays.
fn not_sealed(error: Error) -> NotSent {
    let why = if let Error::NotSealed(why) = error {
        why
    } else if error.refused().is_some_and(|refused| !refused.retryable) {
        NotSealed::Refused
    } else {
        NotSealed::KeyUnavailable
    };
    NotSent::NotSealed(why)
}

/// The part of a request of which a receipt speaks. The body is shared, not copied.
fn essence(request: &api::PutRecordRequest) -> api::PutRecordRequest {
    api::PutRecordRequest {
        subject: request.subject.clone(),
        collection: request.collection.clone(),
        key: request.key.clone(),
        body: request.body.clone(),
        request_id: request.request_id.clone(),
        if_version: request.if_version,
        validate_only: request.validate_only,
        ..Default::default()
    }
}

impl fmt::Debug for Puts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Puts").finish_non_exhaustive()
    }
}

// === impl Answers ===

impl Answers {
    /// The next answer. None when every request is answered and none will come.
    ///
    /// # Errors
    /// [`Error`], when the stream breaks: what is not answered yet may have been done or not.
    pub async fn next(&mut self) -> Result<Option<Answer>, Error> {
        let Some(message) = self.stream.message().await? else { return Ok(None) };
        let api::StreamPutResponse { index, request_id, outcome } = message;
        let asked = self.sent.lock().asked.remove(&index);
        let (asked, _in_flight) = asked.ok_or(Unproven::NotAsked)?;
        let own_id = match &asked {
            Write::Put(put) => &put.request_id,
            Write::Delete(delete) => &delete.request_id,
            Write::Patch(patch) => &patch.request_id,
        };
        let outcome = match (outcome, &asked) {
            _ if request_id != *own_id => Err(Unproven::OtherWrite.into()),
            (Some(Outcome::Done(answer)), Write::Put(put)) => self.put(put, answer),
            (Some(Outcome::Deleted(answer)), Write::Delete(delete)) => self.delete(delete, answer),
            (Some(Outcome::Patched(answer)), Write::Patch(patch)) => self.patch(patch, answer),
            (Some(Outcome::Done(_) | Outcome::Deleted(_) | Outcome::Patched(_)), _) => {
                Err(Unproven::OtherKind.into())
            }
            (Some(Outcome::Error(status)), _) => {
                let refused = Refused::of_item(&status);
                let code = tonic::Code::from(status.code);
                let error = refused_alone(Box::new(refused.ok_or(Error::NotBailiwick(code))?));
                if let Some(prepares) = &self.prepares {
                    prepares.refused(&error);
                }
                Err(error)
            }
            (None, _) => return Err(Error::NotBailiwick(tonic::Code::Ok)),
        };
        Ok(Some(Answer { index, request_id, outcome }))
    }

    fn put(
        &self,
        asked: &api::PutRecordRequest,
        answer: api::PutRecordResponse,
    ) -> Result<Written<api::PutRecordResponse>, Error> {
        let proof = check_put(asked, &answer, self.known())?;
        Ok(Written { answer, proof })
    }

    fn delete(
        &self,
        asked: &api::DeleteRecordRequest,
        answer: api::DeleteRecordResponse,
    ) -> Result<Written<api::PutRecordResponse>, Error> {
        let proof = check_delete(asked, &answer, self.known())?;
        let api::DeleteRecordResponse { version, replayed, receipt, .. } = answer;
        let subject = asked.subject.clone();
        let answer =
            api::PutRecordResponse { subject, version, replayed, receipt, ..Default::default() };
        Ok(Written { answer, proof })
    }

    fn patch(
        &self,
        asked: &api::PatchRecordRequest,
        answer: api::PatchRecordResponse,
    ) -> Result<Written<api::PutRecordResponse>, Error> {
        let proof = check_patch(asked, &answer, self.known())?;
        let api::PatchRecordResponse { version, etag, replayed, receipt, ruling } = answer;
        let subject = asked.subject.clone();
        let unreachable = Vec::new();
        let answer = api::PutRecordResponse {
            subject,
            version,
            etag,
            replayed,
            receipt,
            ruling,
            unreachable,
        };
        Ok(Written { answer, proof })
    }

    fn known(&self) -> Known<'_> {
        Known { tenant: self.tenant.as_deref(), first: self.first }
    }
}

/// A stream, or a batch, has one gateway: what belongs to another one is told apart from every other
/// "no".
pub(crate) fn refused_alone(refused: Box<Refused>) -> Error {
    if refused.known() == Some(Reason::WrongIngress) {
        Error::NotFollowed { why: NotFollowed::Stream, refused }
    } else {
        Error::Refused(refused)
    }
}

impl Drop for Answers {
    /// Answers are no longer taken: a sender that waits for room gets an error.
    fn drop(&mut self) {
        self.room.close();
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, Settings};

    #[tokio::test]
    async fn a_request_that_no_gateway_reads_is_not_sent() {
        let (sender, mut receiver) = mpsc::channel(2);
        let room = Arc::new(Semaphore::new(STREAM_IN_FLIGHT_MAX));
        let puts = Puts { sender, sent: Sent::default(), room, prepares: None };
        let of =
            |bytes| api::PutRecordRequest { body: vec![0; bytes].into(), ..Default::default() };
        // Beside its body, a request needs bytes for itself.
        let large = of(REQUEST_BYTES_MAX);
        let deadline = Duration::from_secs(5);
        let settings = Settings { deadline, attempts_max: 2, ..Settings::DEFAULT };
        let client = Client::lazy("http://127.0.0.1:1", settings).unwrap();
        assert!(matches!(client.put(&large).await, Err(Error::TooLarge)));
        assert_eq!(puts.send(large).await, Err(NotSent::TooLarge));
        // The stream goes on until its receiver is gone.
        assert_eq!(puts.send(of(REQUEST_BYTES_MAX - 16)).await, Ok(()));
        let sent = receiver.recv().await.and_then(|request| request.write);
        assert!(matches!(sent, Some(Write::Put(put)) if put.body.len() == REQUEST_BYTES_MAX - 16));
        drop(receiver);
        assert_eq!(puts.send(of(1)).await, Err(NotSent::Ended));
    }
}
