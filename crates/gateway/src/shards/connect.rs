//! Dials one shard: resolve, connect, greet, and check who answers.

use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use link::ops::metrics::Label;
use link::session::{Frames, MESSAGE_BYTES_MAX, PROTOCOL};
use link::spiffe_id::PeerId;
use link::tls::{Peer as Shown, Tls};
use terms::Entropy;
use terms::limits::SESSION_IN_FLIGHT_MAX;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Status, Streaming};
use wire::session as proto;
use wire::session::session_client::SessionClient;
use wire::status_check::{Checked, MalformedStatus};

use crate::api::health::Regions;
use crate::map::state::Charts;
use crate::metrics::Metrics;
use crate::shards::in_flight::{Flight, Limits};
use crate::shards::session::{Peer, Session};

/// Time in which a connection must come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Time from the first byte of a connection to the shard's welcome.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(5);

/// What a dialler needs beside its session.
pub(crate) struct Environment {
    /// What every shard is told; region and shard are filled in.
    pub(crate) gateway: String,
    pub(crate) deployment: String,
    pub(crate) trust_domain: String,
    pub(crate) charts: Arc<Charts>,
    /// TLS towards shards, if there is any.
    pub(crate) tls: Option<Tls>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) regions: Arc<Regions>,
}

/// Why a session ended or did not come about. Shown to operators; it holds nothing that a peer
/// sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub(crate) enum Ended {
    #[error("the annex gives an address that cannot be used")]
    Address,
    #[error("the shard wants TLS, and the configuration has no [tls]")]
    NoTls,
    #[error("the TLS handshake failed, or another than this shard answered it")]
    Handshake,
    #[error("the shard's certificate is trusted no more")]
    Distrusted,
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
    #[error("the peer ended a call with a status that cannot be decoded")]
    Malformed,
    #[error("the session's task panicked, which is a bug")]
    Panicked,
}

impl Ended {
    /// Why a call of the session has failed; `otherwise`, if there is no better word for it.
    pub(crate) fn by(status: &Status, otherwise: Self) -> Self {
        if MalformedStatus::is_cause_of(status) { Self::Malformed } else { otherwise }
    }
}

impl Label for Ended {
    const KEY: &'static str = "cause";

    fn value(&self) -> &str {
        match self {
            Self::Address => "address",
            Self::NoTls => "no_tls",
            Self::Handshake => "handshake",
            Self::Distrusted => "distrusted",
            Self::Unresolved => "unresolved",
            Self::NotLoopback => "not_loopback",
            Self::Unreachable => "unreachable",
            Self::NoWelcome => "no_welcome",
            Self::Refused => "refused",
            Self::WrongPeer => "wrong_peer",
            Self::Goodbye => "goodbye",
            Self::End => "end",
            Self::Broken => "broken",
            Self::Malformed => "malformed_status",
            Self::Panicked => "panicked",
        }
    }
}

/// A connection over which the right shard has welcomed us.
pub(crate) struct Met {
    pub(crate) welcome: proto::Welcome,
    pub(crate) replies: Streaming<proto::ToGateway>,
    /// Who has shown to be at its other end, if it has TLS.
    pub(crate) shown: Option<Arc<Shown>>,
    pub(crate) flight: Arc<Flight>,
    /// What is put here is sent. The connection ends in good order when all of its senders are
    /// gone, everything queued is sent, and the shard has answered.
    pub(crate) queue: mpsc::Sender<proto::Call>,
}

/// Opens one session.
///
/// # Errors
/// [`Ended`], which says why there is none.
pub(crate) async fn dial(session: &Session, outside: &Environment) -> Result<Met, Ended> {
    let greeting = timeout(WELCOME_TIMEOUT, greet(session, outside)).await;
    greeting.map_err(|_| Ended::NoWelcome)?
}

/// A connection to the shard, and who has shown to be at its other end, if it has TLS.
async fn connect(
    peer: &Peer,
    outside: &Environment,
) -> Result<(Channel, Option<Arc<Shown>>), Ended> {
    let uri: Uri = peer.address.parse().map_err(|_| Ended::Address)?;
    let tls = match uri.scheme_str() {
        Some("https") => Some(outside.tls.as_ref().ok_or(Ended::NoTls)?),
        // A process that has TLS has no use for a session without: an annex must not take it away.
        Some("http") if outside.tls.is_some() => return Err(Ended::NoTls),
        Some("http") => None,
        Some(_) | None => return Err(Ended::Address),
    };
    let (Some(host), Some(port)) = (uri.host(), uri.port_u16()) else {
        return Err(Ended::Address);
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    // Resolved anew each time: an address may change while we are away.
    let found = tokio::net::lookup_host((host, port)).await.map_err(|_| Ended::Unresolved)?;
    let mut ended = Ended::Unresolved;
    for addr in found {
        let done = match tls {
            Some(tls) => secured(addr, peer, tls, outside).await,
            None => plain(addr).await,
        };
        match done {
            Ok(met) => return Ok(met),
            Err(why) => ended = why,
        }
    }
    Err(ended)
}

async fn plain(addr: SocketAddr) -> Result<(Channel, Option<Arc<Shown>>), Ended> {
    if !addr.ip().is_loopback() {
        return Err(Ended::NotLoopback);
    }
    let connecting = endpoint(addr)?;
    Ok((connecting.connect().await.map_err(|_| Ended::Unreachable)?, None))
}

/// Connects to the one shard that has a certificate of this region and this name.
async fn secured(
    addr: SocketAddr,
    peer: &Peer,
    tls: &Tls,
    outside: &Environment,
) -> Result<(Channel, Option<Arc<Shown>>), Ended> {
    let name =
        format!("spiffe://{}/region/{}/shard/{}", outside.trust_domain, peer.region, peer.shard);
    let wanted = PeerId::parse(&name).ok_or(Ended::Address)?;
    let connecting = timeout(CONNECT_TIMEOUT, TcpStream::connect(addr)).await;
    let stream = connecting.map_err(|_| Ended::Unreachable)?.map_err(|_| Ended::Unreachable)?;
    stream.set_nodelay(true).map_err(|_| Ended::Unreachable)?;
    let (stream, shown) = tls.connect(stream, &wanted).await.map_err(|_| Ended::Handshake)?;
    // The one connection whose other end was verified. There is no second: a channel that wants
    // to connect again has ended.
    let once = Arc::new(Mutex::new(Some(TokioIo::new(stream))));
    let connector = tower::service_fn(move |_: Uri| {
        let stream = once.lock().unwrap_or_else(PoisonError::into_inner).take();
        ready(stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)))
    });
    let connecting = endpoint(addr)?.connect_with_connector(connector).await;
    Ok((connecting.map_err(|_| Ended::Unreachable)?, Some(shown)))
}

fn endpoint(addr: SocketAddr) -> Result<Endpoint, Ended> {
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).map_err(|_| Ended::Address)?;
    Ok(link::session::endpoint(endpoint))
}

/// Connects, says hello, and checks that the right shard answers.
async fn greet(session: &Session, outside: &Environment) -> Result<Met, Ended> {
    let peer = &session.peer;
    let (channel, shown) = connect(peer, outside).await?;
    let flight = Arc::new(Flight::new(peer.region.clone(), Limits::OF_A_SESSION));
    let (queue, receiver) = mpsc::channel(SESSION_IN_FLIGHT_MAX);
    let epoch = outside.charts.pin().map().epoch();
    let hello = proto::Hello {
        protocol: PROTOCOL,
        deployment: outside.deployment.clone(),
        region: peer.region.as_str().to_owned(),
        shard: peer.shard.as_str().to_owned(),
        gateway: outside.gateway.clone(),
        map_epoch: epoch.number,
        map_digest: epoch.digest.to_vec().into(),
    };
    let first = proto::ToShard { hello: Some(hello), calls: Vec::new() };
    let departing = Arc::clone(&flight);
    let frames =
        Frames::filtered(first, receiver, move |call: &proto::Call| departing.depart(call.id));
    let mut client = SessionClient::new(Checked::new(channel))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let refused = |status: Status| Ended::by(&status, Ended::Refused);
    let mut replies = client.open(frames).await.map_err(refused)?.into_inner();
    let frame = replies.message().await.map_err(refused)?.ok_or(Ended::Refused)?;
    if let Some(goodbye) = frame.goodbye {
        // In a fork it says which map it holds: an operator must name both.
        if let Some(map) = frame.map {
            outside.charts.heard(session, map.epoch, &map.digest);
        }
        log_goodbye(peer, goodbye);
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
    Ok(Met { welcome, replies, shown, flight, queue })
}

/// Notes what a shard gives as the reason for taking nothing more.
pub(crate) fn log_goodbye(peer: &Peer, goodbye: proto::Fault) {
    let fault = link::session::from_wire(goodbye);
    tracing::warn!(region = %peer.region, shard = %peer.shard, reason = %fault.reason, "goodbye");
}
