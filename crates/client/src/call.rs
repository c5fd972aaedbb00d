//! One connection to a gateway, its calls, and when a call is made again.

use std::time::Duration;

use prost::Message;
use terms::limits::{FRAME_BYTES_MAX, REQUEST_BYTES_MAX};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use wire::v1::records_client::RecordsClient;
use wire::v1::subjects_client::SubjectsClient;

use crate::receipt::{Unproven, check_create, check_delete, check_put};
use crate::stream::{Answers, Puts};
use crate::{Refused, api};

/// Time in which a connection must come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The wait before the second attempt; each further one waits twice as long.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// The longest wait between two attempts, unless the gateway asks for more.
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// How long to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Time for one call, all attempts and waits included. The gateway is told what is left.
    pub deadline: Duration,
    /// Attempts at the most, the first included; at least one is made.
    pub attempts_max: u32,
}

/// Why a call has no answer. It never holds what was sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The gateway said no.
    #[error("{0}")]
    Refused(Box<Refused>),
    /// The address cannot be used.
    #[error("the gateway's address {0}")]
    Address(&'static str),
    /// Nothing answers at the address.
    #[error("nothing answers at the gateway's address: is it running?")]
    Unreachable(#[source] tonic::transport::Error),
    /// The request has more than [`REQUEST_BYTES_MAX`] bytes: no gateway reads it.
    #[error("the request has more than {REQUEST_BYTES_MAX} bytes, and was not sent")]
    TooLarge,
    /// The connection broke before the answer came.
    #[error(
        "the connection to the gateway broke before it answered; the same request_id settles \
         whether a write happened"
    )]
    Broken,
    /// Time was up before the answer came.
    #[error(
        "the gateway did not answer in time; the same request_id settles whether a write happened"
    )]
    TimedOut,
    /// Somebody answered who is no gateway of ours.
    #[error("the peer is no Bailiwick gateway: it answered {0:?} without a reason of ours")]
    NotBailiwick(Code),
    /// The answer came, and its receipt does not prove it.
    #[error("the write is answered and not proven: {0}")]
    Unproven(#[from] Unproven),
}

impl Error {
    /// The gateway's "no", if it is one.
    pub fn refused(&self) -> Option<&Refused> {
        match self {
            Self::Refused(refused) => Some(refused),
            Self::Address(_)
            | Self::Unreachable(_)
            | Self::TooLarge
            | Self::Broken
            | Self::TimedOut
            | Self::NotBailiwick(_)
            | Self::Unproven(_) => None,
        }
    }

    /// How long to wait before the same request may be sent again. None: not at all.
    fn again_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refused) => {
                refused.retryable.then(|| refused.retry_after.unwrap_or_default())
            }
            // Every write has its request_id, so a second one has no second effect.
            Self::Broken | Self::Unreachable(_) => Some(Duration::ZERO),
            Self::Address(_)
            | Self::TooLarge
            | Self::TimedOut
            | Self::NotBailiwick(_)
            | Self::Unproven(_) => None,
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        if let Some(refused) = Refused::of_status(&status) {
            return Self::Refused(Box::new(refused));
        }
        // Without a reason, it was not the gateway that spoke, but the connection.
        let code = status.code();
        if matches!(code, Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal) {
            Self::Broken
        } else if code == Code::DeadlineExceeded {
            Self::TimedOut
        } else {
            Self::NotBailiwick(code)
        }
    }
}

/// A gateway, as a caller has it. Clones share one connection, which comes back by itself.
#[derive(Debug, Clone)]
pub struct Client {
    records: RecordsClient<Channel>,
    subjects: SubjectsClient<Channel>,
    health: HealthClient<Channel>,
    settings: Settings,
}

impl Client {
    /// Connects to the gateway at `url`, as in `http://127.0.0.1:7400`.
    ///
    /// # Errors
    /// [`Error::Address`] and [`Error::Unreachable`].
    pub async fn connect(url: &str, settings: Settings) -> Result<Self, Error> {
        let channel = endpoint(url)?.connect().await.map_err(Error::Unreachable)?;
        Ok(Self::on(channel, settings))
    }

    /// The same without a connection yet: the first call makes it. Needs a running runtime.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub fn lazy(url: &str, settings: Settings) -> Result<Self, Error> {
        Ok(Self::on(endpoint(url)?.connect_lazy(), settings))
    }

    fn on(channel: Channel, settings: Settings) -> Self {
        let records = RecordsClient::new(channel.clone())
            .max_decoding_message_size(FRAME_BYTES_MAX)
            .max_encoding_message_size(REQUEST_BYTES_MAX);
        let subjects = SubjectsClient::new(channel.clone());
        Self { records, subjects, health: HealthClient::new(channel), settings }
    }

    /// Puts a record, and checks the receipt against the request.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn put(
        &self,
        request: &api::PutRecordRequest,
    ) -> Result<api::PutRecordResponse, Error> {
        let answer = self
            .attempts(request, |request| {
                let mut records = self.records.clone();
                async move { records.put(request).await }
            })
            .await?;
        check_put(request, &answer)?;
        Ok(answer)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(&self, request: &api::GetRecordRequest) -> Result<api::Record, Error> {
        self.attempts(request, |request| {
            let mut records = self.records.clone();
            async move { records.get(request).await }
        })
        .await
    }

    /// Deletes a record, and checks the receipt.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn delete(
        &self,
        request: &api::DeleteRecordRequest,
    ) -> Result<api::DeleteRecordResponse, Error> {
        let answer = self
            .attempts(request, |request| {
                let mut records = self.records.clone();
                async move { records.delete(request).await }
            })
            .await?;
        check_delete(request, &answer)?;
        Ok(answer)
    }

    /// Creates a subject, and checks the receipt.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn create_subject(
        &self,
        request: &api::CreateSubjectRequest,
    ) -> Result<api::CreateSubjectResponse, Error> {
        let answer = self
            .attempts(request, |request| {
                let mut subjects = self.subjects.clone();
                async move { subjects.create(request).await }
            })
            .await?;
        check_create(request, &answer)?;
        Ok(answer)
    }

    /// Asks where a record would go, and why. Nothing is stored.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn resolve(
        &self,
        request: &api::ResolvePlacementRequest,
    ) -> Result<api::Ruling, Error> {
        self.attempts(request, |request| {
            let mut subjects = self.subjects.clone();
            async move { subjects.resolve_placement(request).await }
        })
        .await
    }

    /// Whether a service of the gateway serves, by its name in `grpc.health.v1`: `` for the
    /// gateway as a whole, `region/<name>` for a region's shards. A name that it does not know
    /// does not serve. Asked once.
    ///
    /// # Errors
    /// [`Error`], when nobody answers.
    pub async fn serving(&self, service: &str) -> Result<bool, Error> {
        let request = HealthCheckRequest { service: service.to_owned() };
        let check = self.health.clone().check(timed(request, self.settings.deadline)).await;
        match check {
            Ok(answer) => Ok(answer.into_inner().status() == ServingStatus::Serving),
            Err(status) if status.code() == Code::NotFound => Ok(false),
            Err(status) => Err(status.into()),
        }
    }

    /// Opens a stream of puts with room for `ahead` requests that the gateway has not taken yet.
    /// Nothing is sent again here, and no receipt is checked: whoever holds the requests does
    /// both, with [`check_put`].
    ///
    /// # Errors
    /// [`Error`].
    pub async fn stream_put(&self, ahead: usize) -> Result<(Puts, Answers), Error> {
        crate::stream::open(self.records.clone(), ahead, self.settings.deadline).await
    }

    /// Makes a call until it is answered, as often and as long as the settings allow.
    async fn attempts<M, A, F>(
        &self,
        message: &M,
        mut call: impl FnMut(Request<M>) -> F,
    ) -> Result<A, Error>
    where
        M: Message + Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        // A stream that breaks while it sends does not say why: so this is asked before.
        if message.encoded_len() > REQUEST_BYTES_MAX {
            return Err(Error::TooLarge);
        }
        let until = Instant::now() + self.settings.deadline;
        let mut backoff = BACKOFF_MIN;
        let mut left = self.settings.attempts_max;
        loop {
            let time = until.saturating_duration_since(Instant::now());
            let error = match timeout_at(until, call(timed(message.clone(), time))).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => Error::from(status),
                Err(_) => return Err(Error::TimedOut),
            };
            left = left.saturating_sub(1);
            let Some(asked) = error.again_after() else { return Err(error) };
            let wait = asked.max(backoff);
            if left == 0 || Instant::now() + wait >= until {
                return Err(error);
            }
            sleep(wait).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }
}

fn timed<T>(message: T, left: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(left);
    request
}

fn endpoint(url: &str) -> Result<Endpoint, Error> {
    if url.starts_with("https://") {
        return Err(Error::Address("asks for TLS, which is not built: use http:// on loopback"));
    }
    if !url.starts_with("http://") {
        return Err(Error::Address("is not of the form http://host:port"));
    }
    let endpoint = Endpoint::from_shared(url.to_owned())
        .map_err(|_| Error::Address("is not of the form http://host:port"))?;
    Ok(endpoint.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true))
}
