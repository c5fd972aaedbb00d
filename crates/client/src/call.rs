//! A caller's client: its calls, and when and where a call is made again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use terms::limits::REQUEST_BYTES_MAX;
use terms::{Entropy, EntropyFailed, Reason, jittered};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Request, Response};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::gateway::{Gateway, Gateways};
use crate::own_keys::OwnKeys;
use crate::receipt::{Known, Written, check_create};
use crate::stream::{Answers, Opening, Prepares, Puts};
use crate::token::Bearer;
use crate::transit_keys::Sealing;
use crate::{Access, Error, api};

/// The longest wait before the second attempt; each further one may wait twice as long. The wait
/// itself is drawn between half of that and all of it, and added to what the gateway asks for.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// The longest wait between two attempts, unless the gateway asks for more.
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Lanes to each gateway: on few cores, more are not faster.
const LANES: usize = 2;

/// The longest deadline that is kept: what is longer may be more than a clock can hold.
const DEADLINE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How long to try, and by what way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Time for one call, all attempts and waits included, and a day at the most. The gateway gets
    /// what is left as its deadline.
    pub deadline: Duration,
    /// Attempts at the most, the first included; at least one is made. Going to the gateway that
    /// a refusal names, once, is not counted.
    pub attempts_max: u32,
    /// Streams at the most to each gateway, each on a connection of its own, on which puts travel
    /// that are made at the same time. Each put has its own outcome, deadline and attempts, as if it
    /// were a call. A put that is alone, or larger than 64 KiB, goes as a call. 0: all do.
    pub lanes: usize,
}

impl Settings {
    /// Ten seconds, five attempts, two lanes.
    pub const DEFAULT: Self =
        Self { deadline: Duration::from_secs(10), attempts_max: 5, lanes: LANES };
}

impl Default for Settings {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A gateway, as a caller has it. Clones share their connections, which come back by themselves.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) gateways: Arc<Gateways>,
    settings: Settings,
    /// Whether every request id was drawn just now.
    drawn: bool,
    /// Draws the waits between two attempts.
    entropy: Chance,
    /// None: bodies leave as they are.
    pub(crate) sealing: Option<Arc<Sealing>>,
    /// None: bodies are not encrypted.
    pub(crate) own_keys: Option<OwnKeys>,
}

/// Where randomness comes from.
#[derive(Clone)]
struct Chance(Arc<dyn Entropy>);

impl fmt::Debug for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chance")
    }
}

/// That of the operating system.
pub(crate) struct System;

impl Entropy for System {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyFailed> {
        getrandom::fill(buffer).map_err(|_| EntropyFailed)
    }
}

/// Where a call goes first, until when, and whether it may go on to another gateway.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) gateway: Gateway,
    pub(crate) until: Instant,
    /// Whether the gateway that a refusal names may be asked, too.
    pub(crate) follow: bool,
    /// Whether this is the gateway that was named for the call already.
    pub(crate) named: bool,
}

/// The waits between the attempts of one call.
pub(crate) struct Pause<'a> {
    longest: Duration,
    entropy: &'a dyn Entropy,
}

impl Pause<'_> {
    /// The next wait.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = jittered(self.longest, self.entropy);
        self.longest = (self.longest * 2).min(BACKOFF_MAX);
        wait
    }
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

    /// The same, as the caller that `access` describes.
    ///
    /// # Errors
    /// The same.
    pub async fn connect_with(
        url: &str,
        settings: Settings,
        access: Access,
    ) -> Result<Self, Error> {
        Ok(Self::of(Gateways::connect(url, access, settings.lanes).await?, settings))
    }

    /// The same without a connection yet: the first call makes it. Needs a running runtime.
    ///
    /// # Errors
    /// [`Error::Address`] and [`Error::Tls`].
    pub fn lazy(url: &str, settings: Settings) -> Result<Self, Error> {
        Self::lazy_with(url, settings, Access::default())
    }

    /// The same, as the caller that `access` describes.
    ///
    /// # Errors
    /// The same.
    pub fn lazy_with(url: &str, settings: Settings, access: Access) -> Result<Self, Error> {
        Ok(Self::of(Gateways::lazy(url, access, settings.lanes)?, settings))
    }

    fn of(gateways: Gateways, settings: Settings) -> Self {
        let entropy = Chance(Arc::new(System));
        let (sealing, own_keys) = (None, None);
        Self { gateways: Arc::new(gateways), settings, drawn: false, entropy, sealing, own_keys }
    }

    /// The same client, with its waits between two attempts drawn from `entropy` instead of the
    /// operating system's randomness.
    #[must_use]
    pub fn with_entropy(&self, entropy: Arc<dyn Entropy>) -> Self {
        Self { entropy: Chance(entropy), ..self.clone() }
    }

    /// The same client for writes that were never sent before, under ids drawn just now
    /// ([`crate::new_request_id`]). They cannot have been done, so an answer that states so is
    /// [`crate::Unproven::Replayed`], unless an earlier attempt of the same call may have had an
    /// effect. Not for ids that are derived, or kept for a retry.
    #[must_use]
    pub fn first_time(&self) -> Self {
        Self { drawn: true, ..self.clone() }
    }

    /// What time it is at this client's gateway by its own clock, in seconds since 1970, if it says
    /// so.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn peer_time(&self) -> Result<Option<u64>, Error> {
        let mut health = self.gateways.own().health;
        let mut request = Request::new(HealthCheckRequest::default());
        request.set_timeout(self.settings.deadline);
        Ok(crate::clock::of_answer(health.check(request).await?.metadata()))
    }

    /// Creates a subject, and checks the answer and its receipt.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn create_subject(
        &self,
        request: &api::CreateSubjectRequest,
    ) -> Result<Written<api::CreateSubjectResponse>, Error> {
        let create = |mut to: Gateway, request| async move { to.subjects.create(request).await };
        let (answer, once) = self.attempts(request, self.write(), create).await?;
        let proof = check_create(request, &answer, self.known(once))?;
        Ok(Written { answer, proof })
    }

    /// Asks where a record would go, and why. Nothing is stored.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn resolve(
        &self,
        request: &api::ResolvePlacementRequest,
    ) -> Result<api::Ruling, Error> {
        self.resolve_until(request, self.question().until).await
    }

    pub(crate) async fn resolve_until(
        &self,
        request: &api::ResolvePlacementRequest,
        until: Instant,
    ) -> Result<api::Ruling, Error> {
        let resolve =
            |mut to: Gateway, request| async move { to.subjects.resolve_placement(request).await };
        let route = Route { until, ..self.question() };
        self.attempts(request, route, resolve).await.map(|(ruling, _)| ruling)
    }

    /// Whether a service of the gateway serves, by its name in `grpc.health.v1`: `` for the
    /// gateway as a whole, `region/<name>` for a region's shards. A name that it does not know
    /// does not serve. Asked once.
    ///
    /// # Errors
    /// [`Error`], when there is no answer.
    pub async fn serving(&self, service: &str) -> Result<bool, Error> {
        let request = HealthCheckRequest { service: service.to_owned() };
        let bearer = self.gateways.token().current().await?;
        let request = request_of(request, self.deadline(), bearer.as_ref());
        match self.gateways.own().health.check(request).await {
            Ok(answer) => Ok(answer.into_inner().status() == ServingStatus::Serving),
            Err(status) if status.code() == Code::NotFound => Ok(false),
            Err(status) => Err(status.into()),
        }
    }

    /// Opens a stream of puts with room for `ahead` requests that the gateway has not taken yet.
    /// Every answer is checked as [`Client::put`] checks its own. A stream goes to this client's
    /// gateway and to no other: no placement is asked for before, no `WRONG_INGRESS` is followed
    /// ([`crate::Answer::outcome`]), and nothing is sent again. The caller does
    /// that. Where a law minds by which gateway a body comes in, ask [`Client::resolve`] first, or
    /// send it by [`Client::put_resolved`].
    ///
    /// # Errors
    /// [`Error`].
    pub async fn stream_put(&self, ahead: usize) -> Result<(Puts, Answers), Error> {
        let opening = Opening {
            ahead,
            within: self.deadline(),
            bearer: self.gateways.token().current().await?,
            tenant: self.gateways.tenant().map(str::to_owned),
            first: self.drawn,
            prepares: self.prepares(),
        };
        crate::stream::open(self.gateways.own().records, opening).await
    }

    /// What prepares the requests of a stream, if they do not leave as they are.
    fn prepares(&self) -> Option<Arc<dyn Prepares>> {
        let plain = self.sealing.is_none() && self.own_keys.is_none();
        (!plain).then(|| Arc::new(self.clone()) as Arc<dyn Prepares>)
    }

    /// The waits between two attempts.
    pub(crate) fn pause(&self) -> Pause<'_> {
        Pause { longest: BACKOFF_MIN, entropy: self.entropy.0.as_ref() }
    }

    pub(crate) const fn attempts_max(&self) -> u32 {
        self.settings.attempts_max
    }

    /// What is known of a write whose attempts before the last had no effect, or may have had one.
    pub(crate) fn known(&self, once: bool) -> Known<'_> {
        Known { tenant: self.gateways.tenant(), first: self.drawn && once }
    }

    /// The token that goes with a call.
    pub(crate) async fn bearer(&self) -> Result<Option<Bearer>, Error> {
        Ok(self.gateways.token().current().await?)
    }

    /// This client's gateway.
    pub(crate) fn gateway(&self) -> Gateway {
        self.gateways.own()
    }

    /// Puts the token of now on a request.
    pub(crate) async fn authorize<T>(&self, request: &mut Request<T>) -> Result<(), Error> {
        if let Some(bearer) = self.gateways.token().current().await? {
            request.metadata_mut().insert("authorization", bearer);
        }
        Ok(())
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.settings.deadline.min(DEADLINE_MAX)
    }

    /// The client's own gateway.
    pub(crate) fn own(&self) -> Gateway {
        self.gateways.own()
    }

    /// The way of a write: the first gateway may name another one.
    pub(crate) fn write(&self) -> Route {
        Route { follow: true, ..self.question() }
    }

    /// The way of a question, which has one gateway.
    pub(crate) fn question(&self) -> Route {
        let until = Instant::now() + self.deadline();
        Route { gateway: self.gateways.own(), until, follow: false, named: false }
    }

    /// Makes a call until it is answered, as often and as long as the settings allow. Says with
    /// the answer whether no attempt before it may have had an effect.
    pub(crate) async fn attempts<M, A, E, F>(
        &self,
        message: &M,
        mut route: Route,
        mut call: impl FnMut(Gateway, Request<M>) -> F,
    ) -> Result<(A, bool), Error>
    where
        M: Message + Clone,
        F: Future<Output = Result<Response<A>, E>>,
        Error: From<E>,
    {
        check_size(message)?;
        let mut pause = self.pause();
        let mut left = self.settings.attempts_max;
        let token = self.gateways.token();
        let mut bearer = token.current().await?;
        let (mut renewed, mut once) = (false, true);
        loop {
            let time = route.until.saturating_duration_since(Instant::now());
            // What is sent again is this message, whatever has happened to it before.
            let request = request_of(message.clone(), time, bearer.as_ref());
            let answer = timeout_at(route.until, call(route.gateway.clone(), request)).await;
            let error = match answer {
                Ok(Ok(answer)) => return Ok((answer.into_inner(), once)),
                Ok(Err(error)) => Error::from(error),
                Err(_) => return Err(Error::TimedOut),
            };
            if error.refused().is_none() {
                // A connection that its runtime has dropped fails each call at once. A caller that
                // calls again in a loop would never let go, and the runtime could not end.
                yield_now().await;
            }
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
            // Whatever broke when the time was up broke because of that.
            if error.refused().is_none() && Instant::now() >= route.until {
                return Err(Error::TimedOut);
            }
            let Some(asked) = error.again_after() else { return Err(error) };
            if left == 0 {
                return Err(error);
            }
            let wait = asked + pause.next();
            if wait >= route.until.saturating_duration_since(Instant::now()) {
                return Err(error);
            }
            sleep(wait).await;
            once = false;
            bearer = token.current().await?;
        }
    }

    /// Turns a call to the gateway that a refusal names, if it may go there.
    pub(crate) fn follow(&self, route: &mut Route, error: Error) -> Result<(), Error> {
        let Error::Refused(refused) = error else { return Err(error) };
        route.gateway = self.gateways.named(&route.gateway, route.named, refused)?;
        route.named = true;
        Ok(())
    }
}

/// A stream that breaks while it sends does not say why: so this is asked before.
pub(crate) fn check_size(message: &impl Message) -> Result<(), Error> {
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
