//! Keeps one session up: connect, read replies, and when the connection ends, answer every waiting
//! call and connect again.
//!
//! When either end has a new certificate, the next connection is opened before the old one ends:
//! calls use the new one as soon as the shard has sent its welcome, and the old one stays until the
//! calls on it are answered. So a rotation fails no call, as long as the old certificates are trusted
//! until then.

use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use link::host::supervise::supervise;
use link::tls::Peer;
use terms::jittered;
use tokio::sync::{Notify, OnceCell};
use tokio::task::{self, JoinSet};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Streaming;
use wire::session as proto;

use crate::shards::connect::{Environment, Opened, connect, log_goodbye};
use crate::shards::in_flight::InFlightTable;
use crate::shards::metrics::SessionEnd;
use crate::shards::session::{Session, ShardConnection};

/// The longest wait before the second attempt; it doubles with each further one.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// The longest wait between two attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Time without an answer after which another process of the shard is looked for.
const SILENT_MAX: Duration = Duration::from_millis(1_500);
/// The least time between two such moves.
const MOVED_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// Time that is left to answers after a goodbye.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(10);

/// Keeps the session up until the future is dropped or the session is retired. Whatever happens in
/// one attempt, a panic included, ends that attempt and nothing else.
pub(crate) async fn keep(session: Arc<Session>, env: Arc<Environment>) {
    let attempts = || attempts(Arc::clone(&session), Arc::clone(&env));
    let panicked = || async {
        env.metrics.ended(&session.target.region, SessionEnd::Panicked);
        report(&session, &env, false).await;
    };
    supervise("session", attempts, panicked).await;
}

/// Opens and uses one connection after the other.
async fn attempts(session: Arc<Session>, env: Arc<Environment>) {
    let target = &session.target;
    let mut failures: u32 = 0;
    loop {
        let end = match connect(&session, &env).await {
            Ok(opened) => {
                failures = 0;
                session.set_slots(&opened.welcome.slots);
                report(&session, &env, true).await;
                let end = use_connections(&session, &env, opened).await;
                report(&session, &env, false).await;
                end
            }
            Err(end) => {
                failures = failures.saturating_add(1);
                end
            }
        };
        if session.is_retired() {
            return;
        }
        env.metrics.ended(&target.region, end);
        let wait = jittered(backoff(failures), env.entropy.as_ref());
        tracing::warn!(
            region = %target.region,
            shard = %target.shard,
            cause = %end,
            wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            "no session with the shard: calls for it are answered REGION_UNAVAILABLE"
        );
        sleep(wait).await;
        env.metrics.reconnects(&target.region);
    }
}

/// Reports whether the shard is within reach, unless the session is retired.
async fn report(session: &Session, env: &Environment, up: bool) {
    let target = &session.target;
    if !session.is_retired() {
        env.metrics.set_up(&target.region, &target.shard, up);
        let slots = session.slots().as_deref().cloned();
        env.regions.set(&target.region, &target.shard, up, slots).await;
    }
}

/// The longest wait after so many failures in a row.
fn backoff(failures: u32) -> Duration {
    let doubled = 2_u32.checked_pow(failures.min(16)).unwrap_or(u32::MAX);
    BACKOFF_MIN.saturating_mul(doubled).min(BACKOFF_MAX)
}

/// Uses one connection after the other, each until the next is up, and the last until it ends.
async fn use_connections(
    session: &Arc<Session>,
    env: &Arc<Environment>,
    opened: Opened,
) -> SessionEnd {
    // Older connections end when their calls are answered; all of them end with this future.
    let mut connections = JoinSet::new();
    let mut current = Current::begin(opened, session, env, &mut connections);
    loop {
        let opened = {
            let mut next = pin!(current.next(session, env));
            loop {
                tokio::select! {
                    Some(done) = connections.join_next_with_id() => {
                        let (id, end) = done.unwrap_or_else(|error| (error.id(), SessionEnd::Broken));
                        if id == current.id {
                            return end;
                        }
                    }
                    opened = &mut next => break opened,
                }
            }
        };
        let (region, shard) = (&session.target.region, &session.target.shard);
        tracing::info!(%region, %shard, "moving the session to a new connection");
        session.set_slots(&opened.welcome.slots);
        report(session, env, true).await;
        current = Current::begin(opened, session, env, &mut connections);
    }
}

/// The connection over which calls go.
struct Current {
    id: task::Id,
    in_flight: Arc<InFlightTable>,
    peer: Option<Arc<Peer>>,
    /// Notified when the shard asks for a new connection.
    asked: Arc<Notify>,
}

impl Current {
    /// Takes a connection into use, in the place of the one before.
    fn begin(
        opened: Opened,
        session: &Arc<Session>,
        env: &Arc<Environment>,
        connections: &mut JoinSet<SessionEnd>,
    ) -> Self {
        let Opened { welcome, replies, peer, in_flight, queue } = opened;
        let origin = welcome.origin.clone().into();
        let (table, locate) = (Arc::clone(&in_flight), OnceCell::new());
        let connection = Arc::new(ShardConnection { in_flight: table, queue, origin, locate });
        let asked = Arc::new(Notify::new());
        env.maps.shard_holds(session, welcome.map_epoch, &welcome.map_digest);
        let reader = ReplyReader {
            session: Arc::clone(session),
            env: Arc::clone(env),
            connection: Arc::downgrade(&connection),
            in_flight: Arc::clone(&in_flight),
            asked: Arc::clone(&asked),
        };
        session.use_connection(connection);
        let (region, shard) = (&session.target.region, &session.target.shard);
        tracing::info!(%region, %shard, "session up");
        let (env, known) = (Arc::clone(env), peer.clone());
        let task = connections.spawn(async move {
            let distrusted = async {
                match (&env.tls, &known) {
                    (Some(tls), Some(peer)) => tls.until_distrusted(peer).await,
                    (None, _) | (_, None) => std::future::pending().await,
                }
            };
            tokio::select! {
                end = reader.read(replies) => end,
                () = distrusted => SessionEnd::Distrusted,
            }
        });
        Self { id: task.id(), in_flight, peer, asked }
    }

    /// The next connection, opened once either end has a new certificate; or, of a shard with several
    /// processes, once this one is silent: another may have taken over.
    async fn next(&self, session: &Session, env: &Environment) -> Opened {
        let renewed = async {
            match (&env.tls, &self.peer) {
                (Some(tls), Some(peer)) => tls.until_renewed(peer).await,
                (None, _) | (_, None) => std::future::pending().await,
            }
        };
        let target = &session.target;
        let stopped = async {
            if target.standbys.is_empty() {
                std::future::pending::<()>().await;
            }
            // A move is no cure for a shard that is only slow: not more often than this.
            sleep(MOVED_AGAIN_AFTER).await;
            while self.in_flight.owed_for() < SILENT_MAX {
                sleep(SILENT_MAX / 4).await;
            }
        };
        tokio::select! {
            () = renewed => {}
            () = self.asked.notified() => {}
            () = stopped => {}
        }
        let mut failures: u32 = 0;
        loop {
            match connect(session, env).await {
                Ok(opened) => return opened,
                Err(cause) => {
                    failures = failures.saturating_add(1);
                    let (region, shard) = (&target.region, &target.shard);
                    tracing::warn!(%region, %shard, %cause, "the session cannot move yet");
                    sleep(jittered(backoff(failures), env.entropy.as_ref())).await;
                }
            }
        }
    }
}

/// Reads the replies of one connection. However it ends, by an error, a panic or shutdown: the
/// connection is taken out of use, and every waiting call is answered.
struct ReplyReader {
    session: Arc<Session>,
    env: Arc<Environment>,
    /// The session and its calls hold it, so that it is gone when none of them can use it.
    connection: Weak<ShardConnection>,
    in_flight: Arc<InFlightTable>,
    asked: Arc<Notify>,
}

impl Drop for ReplyReader {
    fn drop(&mut self) {
        self.session.leave_connection(&self.connection);
        self.in_flight.close();
    }
}

impl ReplyReader {
    /// Hands replies to their callers until the connection ends.
    async fn read(&self, mut replies: Streaming<proto::ToGateway>) -> SessionEnd {
        loop {
            match replies.message().await {
                Ok(Some(frame)) => {
                    self.in_flight.complete(frame.replies);
                    if frame.dial_again {
                        self.asked.notify_one();
                    }
                    if let Some(map) = frame.map {
                        self.env.maps.shard_holds(&self.session, map.epoch, &map.digest);
                    }
                    // What comes late on a connection that was left is older than the next welcome.
                    if !frame.slots.is_empty() && self.session.uses(&self.connection) {
                        self.session.set_slots(&frame.slots);
                        report(&self.session, &self.env, true).await;
                    }
                    if let Some(goodbye) = frame.goodbye {
                        log_goodbye(&self.session.target, goodbye);
                        break;
                    }
                }
                Ok(None) => return SessionEnd::End,
                Err(status) => return SessionEnd::by(&status, SessionEnd::Broken),
            }
        }
        // The shard answers what it has taken; nothing new goes to it.
        self.session.leave_connection(&self.connection);
        self.in_flight.drain();
        let end = Instant::now() + GOODBYE_TIMEOUT;
        while !self.in_flight.is_empty() {
            match timeout_at(end, replies.message()).await {
                Ok(Ok(Some(frame))) => self.in_flight.complete(frame.replies),
                Ok(Ok(None) | Err(_)) | Err(_) => break,
            }
        }
        SessionEnd::Goodbye
    }
}
