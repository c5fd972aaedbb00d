//! A caller's client: its calls, and when and where a call is made again.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use terms::Reason;
use terms::limits::REQUEST_BYTES_MAX;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::gateway::{Gateway, Gateways};
use crate::receipt::{check_create, check_delete, check_put};
use crate::stream::{Answers, Puts};
use crate::token::Bearer;
use crate::{Access, Error, api};

/// Time in which a connection must come about.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The wait before the second attempt; each further one waits twice as long.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// The longest wait between two attempts, unless the gateway asks for more.
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// How long to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Time for one call, all attempts and waits included. The gateway is told what is left.
    pub deadline: Duration,
    /// Attempts at the most, the first included; at least one is made. Going to the gateway that
    /// a refusal names, once, is not counted.
    pub attempts_max: u32,
}

/// A gateway, as a caller has it. Clones share their connections, which come back by themselves.
#[derive(Debug, Clone)]
pub struct Client {
    gateways: Arc<Gateways>,
    settings: Settings,
}

/// Where a call goes first, until when, and whether it may go on to another gateway.
struct Route {
    gateway: Gateway,
    until: Instant,
    /// Whether the gateway that a refusal names may be asked, too.
    follow: bool,
    /// Whether this is the gateway that was named for the call already.
    named: bool,
}

impl Client {
    /// Connects to the gateway at `url`, as in `http://127.0.0.1:7400`, as a caller without
    /// certificate and token.
    ///
    /// # Errors
    /// [`Error::Address`], [`Error::Tls`], [`Error::Handshake`] and [`Error::Unreachable`].
    pub async fn connect(url: &str, settings: Settings) -> Result<Self, Error> {
        Self::connect_with(url, settings, Access::default()).await
    }

    /// The same as the caller whom `access` describes.
    ///
    /// # Errors
    /// The same.
    pub async fn connect_with(
        url: &str,
        settings: Settings,
        access: Access,
    ) -> Result<Self, Error> {
        Ok(Self { gateways: Arc::new(Gateways::connect(url, access).await?), settings })
    }

    /// The same without a connection yet: the first call makes it. Needs a running runtime.
    ///
    /// # Errors
    /// [`Error::Address`] and [`Error::Tls`].
    pub fn lazy(url: &str, settings: Settings) -> Result<Self, Error> {
        Self::lazy_with(url, settings, Access::default())
    }

    /// The same as the caller whom `access` describes.
    ///
    /// # Errors
    /// The same.
    pub fn lazy_with(url: &str, settings: Settings, access: Access) -> Result<Self, Error> {
        Ok(Self { gateways: Arc::new(Gateways::lazy(url, access)?), settings })
    }

    /// Puts a record, and checks the receipt against the request. The body goes to this client's
    /// gateway; if a law wants it taken by another one and [`Access`] lets it go there, it is sent
    /// there, too, under the same `request_id`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn put(
        &self,
        request: &api::PutRecordRequest,
    ) -> Result<api::PutRecordResponse, Error> {
        self.put_on(request, self.write()).await
    }

    /// The same, but nothing of the body leaves before it is known where it may go: asks for the
    /// placement first, and sends the body to the gateway that the answer names, if it must be
    /// another one than this client's. Without evidence and findings there is nothing to ask by:
    /// then the body goes to the gateway that [`Access`] lists for the domicile, if it lists one.
    ///
    /// # Errors
    /// [`Error`]; a placement that is refused is [`Error::Refused`].
    pub async fn put_resolved(
        &self,
        request: &api::PutRecordRequest,
    ) -> Result<api::PutRecordResponse, Error> {
        check_size(request)?;
        let mut route = self.write();
        let named = if request.evidence.is_empty() && request.findings.is_empty() {
            let domicile = request.subject.as_ref().map_or("", |s| s.domicile.as_str());
            self.gateways.listed(domicile)?
        } else {
            let question = api::ResolvePlacementRequest {
                collection: request.collection.clone(),
                evidence: request.evidence.clone(),
                findings: request.findings.clone(),
            };
            let ruling = self.resolve_until(&question, route.until).await?;
            self.gateways.placed(&ruling)?
        };
        if let Some(gateway) = named {
            route = Route { gateway, named: true, ..route };
        }
        self.put_on(request, route).await
    }

    async fn put_on(
        &self,
        request: &api::PutRecordRequest,
        route: Route,
    ) -> Result<api::PutRecordResponse, Error> {
        let put = |mut to: Gateway, request| async move { to.records.put(request).await };
        let answer = self.attempts(request, route, put).await?;
        check_put(request, &answer)?;
        Ok(answer)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(&self, request: &api::GetRecordRequest) -> Result<api::Record, Error> {
        let get = |mut to: Gateway, request| async move { to.records.get(request).await };
        self.attempts(request, self.question(), get).await
    }

    /// Deletes a record, and checks the receipt.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn delete(
        &self,
        request: &api::DeleteRecordRequest,
    ) -> Result<api::DeleteRecordResponse, Error> {
        let delete = |mut to: Gateway, request| async move { to.records.delete(request).await };
        let answer = self.attempts(request, self.write(), delete).await?;
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
        let create = |mut to: Gateway, request| async move { to.subjects.create(request).await };
        let answer = self.attempts(request, self.write(), create).await?;
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
        self.resolve_until(request, Instant::now() + self.settings.deadline).await
    }

    async fn resolve_until(
        &self,
        request: &api::ResolvePlacementRequest,
        until: Instant,
    ) -> Result<api::Ruling, Error> {
        let resolve =
            |mut to: Gateway, request| async move { to.subjects.resolve_placement(request).await };
        self.attempts(request, Route { until, ..self.question() }, resolve).await
    }

    /// Whether a service of the gateway serves, by its name in `grpc.health.v1`: `` for the
    /// gateway as a whole, `region/<name>` for a region's shards. A name that it does not know
    /// does not serve. Asked once.
    ///
    /// # Errors
    /// [`Error`], when nobody answers.
    pub async fn serving(&self, service: &str) -> Result<bool, Error> {
        let request = HealthCheckRequest { service: service.to_owned() };
        let bearer = self.gateways.token().current().await?;
        let request = request_of(request, self.settings.deadline, bearer.as_ref());
        match self.gateways.own().health.check(request).await {
            Ok(answer) => Ok(answer.into_inner().status() == ServingStatus::Serving),
            Err(status) if status.code() == Code::NotFound => Ok(false),
            Err(status) => Err(status.into()),
        }
    }

    /// Opens a stream of puts with room for `ahead` requests that the gateway has not taken yet.
    /// Nothing is sent again here, to this gateway or another, and no receipt is checked: whoever
    /// holds the requests does that, with [`check_put`] and [`Client::put_resolved`].
    ///
    /// # Errors
    /// [`Error`].
    pub async fn stream_put(&self, ahead: usize) -> Result<(Puts, Answers), Error> {
        let bearer = self.gateways.token().current().await?;
        let records = self.gateways.own().records;
        crate::stream::open(records, ahead, self.settings.deadline, bearer).await
    }

    /// The way of a write: the first gateway may name another one.
    fn write(&self) -> Route {
        Route { follow: true, ..self.question() }
    }

    /// The way of a question, which has one gateway.
    fn question(&self) -> Route {
        let until = Instant::now() + self.settings.deadline;
        Route { gateway: self.gateways.own(), until, follow: false, named: false }
    }

    /// Makes a call until it is answered, as often and as long as the settings allow.
    async fn attempts<M, A, F>(
        &self,
        message: &M,
        mut route: Route,
        mut call: impl FnMut(Gateway, Request<M>) -> F,
    ) -> Result<A, Error>
    where
        M: Message + Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        check_size(message)?;
        let mut backoff = BACKOFF_MIN;
        let mut left = self.settings.attempts_max;
        let token = self.gateways.token();
        let mut bearer = token.current().await?;
        let mut renewed = false;
        loop {
            let time = route.until.saturating_duration_since(Instant::now());
            // What is sent again is this message, whatever has happened to it before.
            let request = request_of(message.clone(), time, bearer.as_ref());
            let answer = timeout_at(route.until, call(route.gateway.clone(), request)).await;
            let error = match answer {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => Error::from(status),
                Err(_) => return Err(Error::TimedOut),
            };
            match error.refused().and_then(|refused| refused.known()) {
                // Nothing was stored: the other gateway is the first that may.
                Some(Reason::WrongIngress) if route.follow => {
                    self.follow(&mut route, error)?;
                    continue;
                }
                // The token ran out on its way, and there is a new one: once.
                Some(Reason::IdentityInvalid) if !renewed => {
                    renewed = true;
                    if let Some(other) = token.other_than(bearer.as_ref()).await {
                        bearer = Some(other);
                        continue;
                    }
                }
                _ => {}
            }
            left = left.saturating_sub(1);
            let Some(asked) = error.again_after() else { return Err(error) };
            let wait = asked.max(backoff);
            if left == 0 || Instant::now() + wait >= route.until {
                return Err(error);
            }
            sleep(wait).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
            bearer = token.current().await?;
        }
    }

    /// Turns a call to the gateway that a refusal names, if it may go there.
    fn follow(&self, route: &mut Route, error: Error) -> Result<(), Error> {
        let Error::Refused(refused) = error else { return Err(error) };
        route.gateway = self.gateways.named(&route.gateway, route.named, refused)?;
        route.named = true;
        Ok(())
    }
}

/// A stream that breaks while it sends does not say why: so this is asked before.
fn check_size(message: &impl Message) -> Result<(), Error> {
    if message.encoded_len() > REQUEST_BYTES_MAX { Err(Error::TooLarge) } else { Ok(()) }
}

fn request_of<T>(message: T, left: Duration, bearer: Option<&Bearer>) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(left);
    if let Some(bearer) = bearer {
        request.metadata_mut().insert("authorization", bearer.clone());
    }
    request
}
