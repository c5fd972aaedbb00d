//! Keeps one session up: resolve, connect, greet, check who answers, read replies; and when it
//! ends, tell everybody who waits and dial again.

use std::sync::Arc;
use std::time::Duration;

use link::session::{Frames, MESSAGE_BYTES_MAX, PROTOCOL};
use terms::Entropy;
use terms::limits::SESSION_IN_FLIGHT_MAX;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint, Uri};
use wire::session as proto;
use wire::session::session_client::SessionClient;

use crate::flight::{Flight, Limits};
use crate::health::Regions;
use crate::metrics::Metrics;
use crate::session::{Line, Session};

/// The wait before the first new attempt; each further one waits twice as long.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// The longest wait between two attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Time from the first byte of a connection to the shard's welcome.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(5);
/// Time that is left to answers after a goodbye.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a dialler needs beside its session.
pub(crate) struct Outside {
    /// What every shard is told; region and shard are filled in.
    pub(crate) gateway: String,
    pub(crate) deployment: String,
    pub(crate) epoch: atlas::Epoch,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) regions: Arc<Regions>,
}

/// Why a session ended or did not come about. Shown to operators; it holds nothing that a peer
/// sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Ended {
    #[error("the annex gives an address that cannot be used")]
    Address,
    #[error("TLS between gateway and shard is not built: use an http address on loopback")]
    TlsNotBuilt,
    #[error("the address does not resolve")]
    Unresolved,
    #[error("plaintext to an address that is not loopback")]
    NotLoopback,
    #[error("nothing answers at the address")]
    Unreachable,
    #[error("the shard did not welcome us in time")]
    NoWelcome,
    #[error("the shard refused the session")]
    Refused,
    #[error("the peer is another region, shard or territory than the annex and the map say")]
    WrongPeer,
    #[error("the shard said goodbye")]
    Goodbye,
    #[error("the shard ended the session")]
    End,
    #[error("the connection broke")]
    Broken,
}

/// Keeps the session up until the future is dropped.
pub(crate) async fn keep(session: Arc<Session>, outside: Arc<Outside>) {
    let peer = &session.peer;
    let mut failures: u32 = 0;
    loop {
        let (ended, was_up) = once(&session, &outside).await;
        outside.regions.set(&peer.region, &peer.shard, false).await;
        failures = if was_up { 0 } else { failures.saturating_add(1) };
        let wait = backoff(failures, outside.entropy.as_ref());
        tracing::warn!(
            region = %peer.region,
            shard = %peer.shard,
            cause = %ended,
            wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            "no session with the shard: its people are answered REGION_UNAVAILABLE"
        );
        sleep(wait).await;
        outside.metrics.redialled(&peer.region);
    }
}

/// Between half of the wait and all of it, so that gateways do not come back all at once.
fn backoff(failures: u32, entropy: &dyn Entropy) -> Duration {
    let doubled = 2_u32.checked_pow(failures.min(16)).unwrap_or(u32::MAX);
    let wait = BACKOFF_MIN.saturating_mul(doubled).min(BACKOFF_MAX);
    let mut byte = [u8::MAX];
    // Without randomness: all of it.
    let share = match entropy.fill(&mut byte) {
        Ok(()) => u32::from(byte[0]),
        Err(terms::EntropyFailed) => u32::from(u8::MAX),
    };
    wait / 2 + wait / 2 * share / u32::from(u8::MAX)
}

/// One session from dialling to its end; and whether it was ever up.
async fn once(session: &Session, outside: &Outside) -> (Ended, bool) {
    let peer = &session.peer;
    let flight = Arc::new(Flight::new(peer.region.clone(), Limits::OF_A_SESSION));
    let (queue, receiver) = mpsc::channel(SESSION_IN_FLIGHT_MAX);
    let greeting = timeout(WELCOME_TIMEOUT, greet(session, outside, receiver, &flight));
    let (welcome, replies) = match greeting.await {
        Ok(Ok(met)) => met,
        Ok(Err(ended)) => return (ended, false),
        Err(_) => return (Ended::NoWelcome, false),
    };
    if welcome.map_epoch != outside.epoch.number || *welcome.map_digest != outside.epoch.digest {
        tracing::warn!(
            region = %peer.region,
            shard = %peer.shard,
            "gateway and shard hold different maps: the shard rules by its own"
        );
    }
    let line = Line { flight: Arc::clone(&flight), queue, origin: welcome.origin.into() };
    let up = Up { session, outside, flight };
    session.use_line(Some(Arc::new(line)));
    outside.metrics.session_up(&peer.region, &peer.shard, true);
    outside.regions.set(&peer.region, &peer.shard, true).await;
    tracing::info!(region = %peer.region, shard = %peer.shard, "session up");
    (read(&up, replies).await, true)
}

/// A session in use. However this ends, by an error, a panic or shutdown: nobody uses the line any
/// more, and everybody who waits is told.
struct Up<'a> {
    session: &'a Session,
    outside: &'a Outside,
    flight: Arc<Flight>,
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        let peer = &self.session.peer;
        self.session.use_line(None);
        self.flight.close();
        self.outside.metrics.session_up(&peer.region, &peer.shard, false);
    }
}

async fn connect(address: &str) -> Result<Channel, Ended> {
    let uri: Uri = address.parse().map_err(|_| Ended::Address)?;
    if uri.scheme_str() != Some("http") {
        return Err(Ended::TlsNotBuilt);
    }
    let (Some(host), Some(port)) = (uri.host(), uri.port_u16()) else {
        return Err(Ended::Address);
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    // Resolved anew each time: an address may change while we are away.
    let found = tokio::net::lookup_host((host, port)).await.map_err(|_| Ended::Unresolved)?;
    let mut ended = Ended::Unresolved;
    for addr in found {
        if !addr.ip().is_loopback() {
            ended = Ended::NotLoopback;
            continue;
        }
        let endpoint =
            Endpoint::from_shared(format!("http://{addr}")).map_err(|_| Ended::Address)?;
        match link::session::endpoint(endpoint).connect().await {
            Ok(channel) => return Ok(channel),
            Err(_) => ended = Ended::Unreachable,
        }
    }
    Err(ended)
}

/// Connects, says hello, and checks that the right shard answers.
async fn greet(
    session: &Session,
    outside: &Outside,
    receiver: mpsc::Receiver<proto::Call>,
    flight: &Arc<Flight>,
) -> Result<(proto::Welcome, Streaming<proto::ToGateway>), Ended> {
    let peer = &session.peer;
    let channel = connect(&peer.address).await?;
    let hello = proto::Hello {
        protocol: PROTOCOL,
        deployment: outside.deployment.clone(),
        region: peer.region.as_str().to_owned(),
        shard: peer.shard.as_str().to_owned(),
        gateway: outside.gateway.clone(),
        map_epoch: outside.epoch.number,
        map_digest: outside.epoch.digest.to_vec().into(),
    };
    let first = proto::ToShard { hello: Some(hello), calls: Vec::new() };
    let departing = Arc::clone(flight);
    let frames =
        Frames::filtered(first, receiver, move |call: &proto::Call| departing.depart(call.id));
    let mut client = SessionClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let mut replies = client.open(frames).await.map_err(|_| Ended::Refused)?.into_inner();
    let frame = replies.message().await.map_err(|_| Ended::Refused)?.ok_or(Ended::Refused)?;
    if let Some(goodbye) = frame.goodbye {
        log_goodbye(session, goodbye);
        return Err(Ended::Refused);
    }
    let welcome = frame.welcome.ok_or(Ended::Refused)?;
    let right = welcome.region == peer.region.as_str()
        && welcome.shard == peer.shard.as_str()
        && welcome.territory == peer.territory;
    if !right {
        tracing::error!(
            region = %peer.region,
            shard = %peer.shard,
            "another region, shard or territory answers at this address: it is not used"
        );
        return Err(Ended::WrongPeer);
    }
    Ok((welcome, replies))
}

/// Hands replies to their callers until the session ends.
async fn read(up: &Up<'_>, mut replies: Streaming<proto::ToGateway>) -> Ended {
    loop {
        match replies.message().await {
            Ok(Some(frame)) => {
                up.flight.arrive(frame.replies);
                if let Some(goodbye) = frame.goodbye {
                    log_goodbye(up.session, goodbye);
                    break;
                }
            }
            Ok(None) => return Ended::End,
            Err(_) => return Ended::Broken,
        }
    }
    // The shard answers what it has taken; nothing new goes to it.
    up.session.use_line(None);
    up.flight.drain();
    let end = Instant::now() + GOODBYE_TIMEOUT;
    while !up.flight.is_empty() {
        match timeout_at(end, replies.message()).await {
            Ok(Ok(Some(frame))) => up.flight.arrive(frame.replies),
            Ok(Ok(None) | Err(_)) | Err(_) => break,
        }
    }
    Ended::Goodbye
}

fn log_goodbye(session: &Session, goodbye: proto::Fault) {
    let fault = link::session::from_wire(goodbye);
    let peer = &session.peer;
    tracing::warn!(region = %peer.region, shard = %peer.shard, reason = %fault.reason, "goodbye");
}
