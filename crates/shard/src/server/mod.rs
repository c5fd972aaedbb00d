//! A shard's listeners, and how it ends.

mod arrival_calls;
mod copy_calls;
pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod handshake;
mod list_calls;
pub(crate) mod map_calls;
mod move_calls;
mod peer_calls;
pub(crate) mod proof_waiter;
mod put_all;
pub(crate) mod ruling_message;
pub(crate) mod session;
mod slot_calls;
mod upload_calls;
mod write_calls;

use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use link::net::coalesce::Coalesced;
use link::net::listener::Entrance;
use link::ops::health::Health;
use link::spiffe_id::PeerKind;
use link::tls::Tls;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;
use wire::session::session_server::SessionServer;

use crate::audit::access::AuditContext;
use crate::audit::listener;
use crate::audit::listener::Auditors;
use crate::backup;
use crate::lifecycle::{Life, advance};
use crate::log::view::{Cosigned, LogViews};
use crate::log::witness;
use crate::node::Node;
use crate::read::reader::Reader;
use crate::relocate::drive::Driver;
use crate::reply::answer_room::Stalls;
use crate::server::list_calls::ListCalls;
use crate::server::map_calls::MapCalls;
use crate::server::proof_waiter::ProofWaiter;
use crate::server::session::Sessions;
use crate::settings::{LogSettings, Settings};
use crate::write::command::Errand;
use crate::write::committer::Queue;
use crate::write::{
    abandoned, expiry, feed_sweep, gone_chunks, index_walk, noted_erasures, rewrap,
};
use crate::{Error, Shard};

/// How long sessions may take to end once the shard goes down.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// Time between two looks at whether the log's period is at its end.
const PERIOD_LOOK: Duration = Duration::from_secs(1);
/// The same, while there is no room to end it.
const ROOM_LOOK: Duration = Duration::from_secs(60);

impl Shard {
    /// Serves sessions until `shutdown` is done, then drains: what is queued is committed and
    /// answered, the last checkpoint is signed. With `tls`, sessions are taken from our own
    /// gateways alone; without, from this machine alone. Auditors have a listener of their own.
    ///
    /// # Errors
    /// [`Error::Listener`] when it is without TLS and not on loopback, [`Error::Certificate`] when
    /// the certificate names another shard; both before anything is served.
    /// [`Error::Poisoned`] after a failed flush: the process must end with exit code 75 and be
    /// started again. [`Error::Server`] when a listener fails.
    pub async fn serve(
        self,
        listener: TcpListener,
        tls: Option<Tls>,
        auditors: Option<Auditors>,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), Error> {
        may_serve(&self.node, &listener, tls.as_ref())?;
        auditors.as_ref().map_or(Ok(()), listener::may_serve)?;
        let Self {
            node, queue, counts, life, committer, beat, stop_beat, settings, health, ..
        } = self;
        let (chronicles, peers) = (self.chronicles, self.peers);
        let driver = Driver {
            node: Arc::clone(&node),
            queue: queue.clone(),
            views: chronicles.clone(),
            tls: tls.clone(),
            peers,
        };
        let entrance = tls.clone().map_or(Entrance::Plaintext, Entrance::Members);
        let reader = Reader { node: Arc::clone(&node), queue: queue.clone(), counts };
        let map_calls = MapCalls::new(reader.clone(), settings.signers.clone());
        let prover = ProofWaiter::start(chronicles.clone());
        let stalls = Stalls::new(health.clone(), &node);
        let (list_calls, life_of) = (ListCalls::new(), life.subscribe());
        let sessions =
            Sessions { tls, reader, map_calls, list_calls, prover, life: life_of, stalls };
        let (mut ended, builder) = (life.subscribe(), tonic::transport::Server::builder());
        let mut server = link::session::server(builder, node.metrics.not_grpc.clone());
        let served = server.add_service(service(sessions)).serve_with_incoming_shutdown(
            link::net::listener::incoming_by(listener, entrance)
                .map(|connection| connection.map(Coalesced::new)),
            async move {
                // Also when the sender is gone: then no caller is left to serve.
                let _gone = ended.wait_for(|life| *life != Life::Serving).await;
            },
        );
        let origin = Arc::clone(&node.growing().name.origin);
        tracing::info!(origin = &*origin, engine = node.engine.kind(), "the shard serves");
        health.set_ready(true);
        let (log, cosigned) = (&settings.log, self.cosigned);
        let mut beside = beside(&node, &chronicles, &queue, auditors, &life, log, cosigned);
        tend(&mut beside, &node, &queue, &settings);
        driver.tend_slots(&mut beside, self.others, settings.clone());
        driver.tend_copies(&mut beside);
        beside.spawn(driver.run());
        let served = tokio::select! {
            served = served => served,
            () = drain(shutdown, &life, &health) => Ok(()),
        };
        health.set_ready(false);
        // Sessions that are still there are left. Everything queued is committed and answered.
        advance(&life, Life::Ended);
        if *life.borrow() == Life::Poisoned {
            health.set_dead();
            return Err(Error::Poisoned);
        }
        queue.end().await;
        let joined = joined(committer, stop_beat, beat).await;
        if !joined || *life.borrow() == Life::Poisoned {
            health.set_dead();
            return Err(Error::Poisoned);
        }
        beside.shutdown().await;
        served.map_err(Error::Server)
    }
}

/// Waits for the end of the shard, and then as long as sessions may take to end.
async fn drain(
    shutdown: impl Future<Output = ()> + Send,
    life: &watch::Sender<Life>,
    health: &Health,
) {
    let mut watched = life.subscribe();
    tokio::select! {
        () = shutdown => advance(life, Life::Draining),
        _poisoned = watched.wait_for(|life| *life == Life::Poisoned) => {}
    }
    health.set_ready(false);
    if *life.borrow() == Life::Poisoned {
        return;
    }
    health.set_fact("shutdown", "what is in flight is answered, then the process ends");
    tokio::time::sleep(DRAIN_MAX).await;
    tracing::warn!("sessions have not ended in time: they are left");
}

/// Waits for the threads: the committer first, so that the beat signs what it has done last.
async fn joined(
    committer: JoinHandle<()>,
    stop_beat: mpsc::Sender<()>,
    beat: JoinHandle<()>,
) -> bool {
    let ended = tokio::task::spawn_blocking(move || {
        let committed = committer.join();
        drop(stop_beat);
        committed.and_then(|()| beat.join())
    });
    ended.await.is_ok_and(|joined| joined.is_ok())
}

/// The service of sessions, with bounds of its messages.
fn service(sessions: Sessions) -> SessionServer<Sessions> {
    SessionServer::new(sessions)
        .max_decoding_message_size(link::session::MESSAGE_BYTES_MAX)
        .max_encoding_message_size(link::session::MESSAGE_BYTES_MAX)
}

/// Starts what builds indexes, notes erasures again, serves auditors, and submits checkpoints to
/// witnesses.
fn beside(
    node: &Arc<Node>,
    chronicles: &LogViews,
    queue: &Queue,
    auditors: Option<Auditors>,
    life: &watch::Sender<Life>,
    log: &LogSettings,
    cosigned: watch::Sender<Cosigned>,
) -> JoinSet<()> {
    let mut beside = JoinSet::new();
    beside.spawn(index_walk::tend(Arc::clone(node), queue.clone()));
    beside.spawn(noted_erasures::tend(Arc::clone(node), queue.clone()));
    if !log.witnesses.is_empty() {
        let (node, witnesses) = (Arc::clone(node), log.witnesses.clone());
        let chronicles = chronicles.clone();
        beside.spawn(witness::keep(node, chronicles, witnesses, log.witness_every, cosigned));
    }
    if let Some(Auditors { listener, entrance }) = auditors {
        let (node, queue) = (Arc::clone(node), queue.clone());
        let context =
            AuditContext::new(node, chronicles.clone(), queue, entrance, life.subscribe());
        beside.spawn(async move {
            if let Err(error) = listener::serve(context, listener).await {
                tracing::error!(%error, "the auditors' listener has failed");
            }
        });
    }
    beside
}

/// Starts what a shard does by itself.
fn tend(beside: &mut JoinSet<()>, node: &Arc<Node>, queue: &Queue, settings: &Settings) {
    beside.spawn(expiry::sweep(Arc::clone(node), queue.clone()));
    beside.spawn(feed_sweep::sweep(Arc::clone(node), queue.clone()));
    beside.spawn(rewrap::tend(Arc::clone(node), queue.clone(), settings.clone()));
    beside.spawn(abandoned::sweep(Arc::clone(node), queue.clone()));
    beside.spawn(gone_chunks::sweep(Arc::clone(node), queue.clone()));
    beside.spawn(backup::serve::tend(Arc::clone(node), queue.clone(), settings.clone()));
    beside.spawn(end_periods(Arc::clone(node), queue.clone(), settings.clone()));
}

/// Has each period of the log ended when it is due, or an operator asks for it. Never done.
async fn end_periods(node: Arc<Node>, queue: Queue, settings: Settings) {
    loop {
        tokio::time::sleep(PERIOD_LOOK).await;
        let log = node.growing();
        let due = settings.log.period_max.reached(log.began.0, log.size(), node.now());
        if !due && !settings.rotation_requested(&log.name.origin) {
            continue;
        }
        let (sender, ended) = oneshot::channel();
        queue.submit_errand(Errand::Rotate(sender));
        // Without an answer, the queue was full, or the shard goes down.
        if let Ok(Err(error)) = ended.await {
            tracing::error!(%error, "the period of the log is due and cannot end");
            tokio::time::sleep(ROOM_LOOK).await;
        }
    }
}

/// Whether sessions may be taken there: without TLS on loopback only, and with TLS as the shard that
/// the certificate names.
fn may_serve(node: &Node, listener: &TcpListener, tls: Option<&Tls>) -> Result<(), Error> {
    let Some(tls) = tls else {
        let address = listener.local_addr().map_err(|_| Error::Listener)?;
        return if address.ip().is_loopback() { Ok(()) } else { Err(Error::Listener) };
    };
    let own = tls.own();
    let ours = own.kind() == PeerKind::Shard
        && *own.region() == node.region
        && own.name() == node.shard.as_str()
        && own.trust_domain() == node.map().trust_domain();
    if ours { Ok(()) } else { Err(Error::Certificate { found: own.to_string() }) }
}
