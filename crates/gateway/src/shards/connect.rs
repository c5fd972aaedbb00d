//! Opens a session with one shard: resolve, connect, say hello, and check who answers.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use link::session::{Dialled, Frames, MESSAGE_BYTES_MAX, PROTOCOL, dial};
use link::spiffe_id::PeerId;
use link::tls::{Peer, Tls};
use terms::limits::SESSION_IN_FLIGHT_MAX;
use terms::{Entropy, jittered};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tonic::{Status, Streaming};
use wire::session as proto;
use wire::session::session_client::SessionClient;
use wire::status_check::Checked;

use crate::shards::in_flight::{InFlightLimits, InFlightTable};
use crate::shards::map_versions::MapVersions;
use crate::shards::metrics::{SessionEnd, SessionMetrics};
use crate::shards::region_health::RegionHealth;
use crate::shards::session::{Session, ShardTarget};

/// Time from the first byte of a connection to the shard's welcome.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest wait between two attempts at one of several addresses.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// What all sessions of a gateway share.
pub(crate) struct Environment {
    /// The gateway's name, which shards log.
    pub(crate) gateway: String,
    pub(crate) deployment: String,
    pub(crate) trust_domain: String,
    pub(crate) maps: Arc<MapVersions>,
    /// TLS towards shards, if there is any.
    pub(crate) tls: Option<Tls>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) metrics: Arc<SessionMetrics>,
    pub(crate) regions: Arc<RegionHealth>,
}

/// A connection over which the right shard has sent its welcome.
pub(crate) struct Opened {
    pub(crate) welcome: proto::Welcome,
    pub(crate) replies: Streaming<proto::ToGateway>,
    pub(crate) peer: Option<Arc<Peer>>,
    pub(crate) in_flight: Arc<InFlightTable>,
    /// What is put here is sent. The connection ends in good order when all of its senders are
    /// gone, everything queued is sent, and the shard has answered.
    pub(crate) queue: mpsc::Sender<proto::Call>,
}

/// Opens one session. Of a shard with several processes the one that writes sends a welcome: the
/// others do not listen, or have been stopped and say nothing. All are tried at once.
///
/// # Errors
/// [`SessionEnd`], which says why there is none.
pub(crate) async fn connect(session: &Session, env: &Environment) -> Result<Opened, SessionEnd> {
    let ShardTarget { address, standbys, .. } = &session.target;
    if standbys.is_empty() {
        return connect_to(address, session, env).await;
    }
    let addresses = std::iter::once(address).chain(standbys);
    let mut attempts: FuturesUnordered<_> =
        addresses.map(|address| Box::pin(until_opened(address, session, env))).collect();
    let opened = timeout(WELCOME_TIMEOUT, attempts.next()).await;
    opened.ok().flatten().ok_or(SessionEnd::Unreachable)
}

/// Tries one of several addresses again and again.
async fn until_opened(address: &str, session: &Session, env: &Environment) -> Opened {
    loop {
        match connect_to(address, session, env).await {
            Ok(opened) => return opened,
            Err(_) => sleep(jittered(AGAIN_AFTER, env.entropy.as_ref())).await,
        }
    }
}

async fn connect_to(
    address: &str,
    session: &Session,
    env: &Environment,
) -> Result<Opened, SessionEnd> {
    let handshake = timeout(WELCOME_TIMEOUT, handshake(address, session, env)).await;
    handshake.map_err(|_| SessionEnd::NoWelcome)?
}

/// Connects to the one shard that has a certificate of this region and this name.
async fn open_channel(
    address: &str,
    target: &ShardTarget,
    env: &Environment,
) -> Result<Dialled, SessionEnd> {
    let ShardTarget { region, shard, .. } = target;
    let name = format!("spiffe://{}/region/{region}/shard/{shard}", env.trust_domain);
    let wanted = PeerId::parse(&name).ok_or(SessionEnd::Address)?;
    Ok(dial(address, &wanted, env.tls.as_ref()).await?)
}

/// Connects, says hello, and checks that the right shard answers.
async fn handshake(
    address: &str,
    session: &Session,
    env: &Environment,
) -> Result<Opened, SessionEnd> {
    let target = &session.target;
    let Dialled { channel, peer } = open_channel(address, target, env).await?;
    let limits = InFlightLimits::OF_A_SESSION;
    let in_flight = Arc::new(InFlightTable::new(target.region.clone(), limits));
    let (queue, receiver) = mpsc::channel(SESSION_IN_FLIGHT_MAX);
    let epoch = env.maps.own();
    let hello = proto::Hello {
        protocol: PROTOCOL,
        deployment: env.deployment.clone(),
        region: target.region.as_str().to_owned(),
        shard: target.shard.as_str().to_owned(),
        gateway: env.gateway.clone(),
        map_epoch: epoch.number,
        map_digest: epoch.digest.to_vec().into(),
        ..Default::default()
    };
    let first = proto::ToShard { hello: Some(hello), calls: Vec::new() };
    let table = Arc::clone(&in_flight);
    let keep = move |call: &proto::Call| match &call.op {
        Some(proto::call::Op::PutAll(all)) => table.sent_all(call.id, all.puts.len() as u64),
        _ => table.sent(call.id),
    };
    let frames = Frames::filtered(first, receiver, keep);
    let mut client = SessionClient::new(Checked::new(channel))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let refused = |status: Status| SessionEnd::by(&status, SessionEnd::Refused);
    let mut replies = client.open(frames).await.map_err(refused)?.into_inner();
    let frame = replies.message().await.map_err(refused)?.ok_or(SessionEnd::Refused)?;
    if let Some(goodbye) = frame.goodbye {
        // In a fork it says which map it holds: an operator must name both.
        if let Some(map) = frame.map {
            env.maps.shard_holds(session, map.epoch, &map.digest);
        }
        log_goodbye(target, goodbye);
        return Err(SessionEnd::Refused);
    }
    let welcome = frame.welcome.ok_or(SessionEnd::Refused)?;
    let right = welcome.region == target.region.as_str()
        && welcome.shard == target.shard.as_str()
        && welcome.territory == target.territory;
    if !right {
        tracing::error!(
            region = %target.region,
            shard = %target.shard,
            "another region, shard or territory answers at this address: not using it"
        );
        return Err(SessionEnd::WrongPeer);
    }
    Ok(Opened { welcome, replies, peer, in_flight, queue })
}

/// Logs why a shard takes nothing more.
pub(crate) fn log_goodbye(target: &ShardTarget, goodbye: proto::Fault) {
    let reason = link::session::from_wire(goodbye).reason;
    tracing::warn!(region = %target.region, shard = %target.shard, %reason, "goodbye");
}
