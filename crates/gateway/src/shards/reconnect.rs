//! Keeps one session up: dial, read replies, and when it ends, tell everybody who waits and dial
//! again.
//!
//! When either end has a new certificate, the next connection is opened before the old one ends:
//! calls go over the new one from the moment at which it is welcomed, and the old one stays until
//! what it carries is answered. So nobody notices a rotation, as long as the old certificates are
//! trusted until then.

use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use link::host::supervise::supervise;
use link::tls::Peer as Shown;
use terms::jittered;
use tokio::sync::Notify;
use tokio::task::{self, JoinSet};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Streaming;
use wire::session as proto;

use crate::map::state::Charts;
use crate::shards::connect::{Ended, Environment, Met, dial, log_goodbye};
use crate::shards::in_flight::Flight;
use crate::shards::session::{Line, Session};

/// The wait before the first new attempt; each further one waits twice as long.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// The longest wait between two attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Time that is left to answers after a goodbye.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(10);

/// Keeps the session up until the future is dropped, or the shard is looked for elsewhere. What
/// happens to one attempt, a panic included, ends that attempt and nothing else.
pub(crate) async fn keep(session: Arc<Session>, outside: Arc<Environment>) {
    let attempts = || attempts(Arc::clone(&session), Arc::clone(&outside));
    let panicked = || async {
        outside.metrics.session_ended(&session.peer.region, Ended::Panicked);
        report(&session, &outside, false).await;
    };
    supervise("session", attempts, panicked).await;
}

/// Dials and uses one connection after the other.
async fn attempts(session: Arc<Session>, outside: Arc<Environment>) {
    let peer = &session.peer;
    let mut failures: u32 = 0;
    loop {
        let ended = match dial(&session, &outside).await {
            Ok(met) => {
                failures = 0;
                report(&session, &outside, true).await;
                let ended = stand(&session, &outside, met).await;
                report(&session, &outside, false).await;
                ended
            }
            Err(ended) => {
                failures = failures.saturating_add(1);
                ended
            }
        };
        if session.is_retired() {
            return;
        }
        outside.metrics.session_ended(&peer.region, ended);
        let wait = jittered(backoff(failures), outside.entropy.as_ref());
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

/// Says whether the shard is within reach, unless another session speaks for it by now.
async fn report(session: &Session, outside: &Environment, up: bool) {
    let peer = &session.peer;
    if !session.is_retired() {
        outside.metrics.session_up(&peer.region, &peer.shard, up);
        outside.regions.set(&peer.region, &peer.shard, up).await;
    }
}

/// The longest wait after so many failures in a row.
fn backoff(failures: u32) -> Duration {
    let doubled = 2_u32.checked_pow(failures.min(16)).unwrap_or(u32::MAX);
    BACKOFF_MIN.saturating_mul(doubled).min(BACKOFF_MAX)
}

/// Uses one connection after the other, each until the next is up, and the last until it ends.
async fn stand(session: &Arc<Session>, outside: &Arc<Environment>, met: Met) -> Ended {
    // Those of before end when what they carry is answered; all of them with this future.
    let mut connections = JoinSet::new();
    let mut current = Current::begin(met, session, outside, &mut connections);
    loop {
        let met = {
            let mut next = pin!(current.next(session, outside));
            loop {
                tokio::select! {
                    Some(done) = connections.join_next_with_id() => {
                        let (id, ended) = done.unwrap_or_else(|error| (error.id(), Ended::Broken));
                        if id == current.id {
                            return ended;
                        }
                    }
                    met = &mut next => break met,
                }
            }
        };
        let (region, shard) = (&session.peer.region, &session.peer.shard);
        tracing::info!(%region, %shard, "the session moves to a new connection");
        current = Current::begin(met, session, outside, &mut connections);
    }
}

/// The connection over which calls go.
struct Current {
    id: task::Id,
    shown: Option<Arc<Shown>>,
    /// Told when the shard asks for another.
    asked: Arc<Notify>,
}

impl Current {
    /// Takes a connection into use, in the place of the one before.
    fn begin(
        met: Met,
        session: &Arc<Session>,
        outside: &Arc<Environment>,
        connections: &mut JoinSet<Ended>,
    ) -> Self {
        let Met { welcome, replies, shown, flight, queue } = met;
        let origin = welcome.origin.clone().into();
        let line = Line { flight: Arc::clone(&flight), queue, origin };
        let line = Arc::new(line);
        let asked = Arc::new(Notify::new());
        outside.charts.heard(session, welcome.map_epoch, &welcome.map_digest);
        let up = Up {
            session: Arc::clone(session),
            charts: Arc::clone(&outside.charts),
            line: Arc::downgrade(&line),
            flight,
            asked: Arc::clone(&asked),
        };
        session.use_line(line);
        let (region, shard) = (&session.peer.region, &session.peer.shard);
        tracing::info!(%region, %shard, "session up");
        let (outside, known) = (Arc::clone(outside), shown.clone());
        let connection = connections.spawn(async move {
            let distrusted = async {
                match (&outside.tls, &known) {
                    (Some(tls), Some(shown)) => tls.until_distrusted(shown).await,
                    (None, _) | (_, None) => std::future::pending().await,
                }
            };
            tokio::select! {
                ended = up.read(replies) => ended,
                () = distrusted => Ended::Distrusted,
            }
        });
        Self { id: connection.id(), shown, asked }
    }

    /// The connection for the time after this one, opened once an end has a new certificate.
    async fn next(&self, session: &Session, outside: &Environment) -> Met {
        let renewed = async {
            match (&outside.tls, &self.shown) {
                (Some(tls), Some(shown)) => tls.until_renewed(shown).await,
                (None, _) | (_, None) => std::future::pending().await,
            }
        };
        tokio::select! {
            () = renewed => {}
            () = self.asked.notified() => {}
        }
        let peer = &session.peer;
        let mut failures: u32 = 0;
        loop {
            match dial(session, outside).await {
                Ok(met) => return met,
                Err(cause) => {
                    failures = failures.saturating_add(1);
                    let (region, shard) = (&peer.region, &peer.shard);
                    tracing::warn!(%region, %shard, %cause, "the session cannot move yet");
                    sleep(jittered(backoff(failures), outside.entropy.as_ref())).await;
                }
            }
        }
    }
}

/// A connection in use. However it ends, by an error, a panic or shutdown: nobody uses its line
/// any more, and everybody who waits is told.
struct Up {
    session: Arc<Session>,
    charts: Arc<Charts>,
    /// Held by the session and by calls, so that it is gone when nobody can use it any more.
    line: Weak<Line>,
    flight: Arc<Flight>,
    asked: Arc<Notify>,
}

impl Drop for Up {
    fn drop(&mut self) {
        self.session.leave_line(&self.line);
        self.flight.close();
    }
}

impl Up {
    /// Hands replies to their callers until the connection ends.
    async fn read(&self, mut replies: Streaming<proto::ToGateway>) -> Ended {
        loop {
            match replies.message().await {
                Ok(Some(frame)) => {
                    self.flight.arrive(frame.replies);
                    if frame.dial_again {
                        self.asked.notify_one();
                    }
                    if let Some(map) = frame.map {
                        self.charts.heard(&self.session, map.epoch, &map.digest);
                    }
                    if let Some(goodbye) = frame.goodbye {
                        log_goodbye(&self.session.peer, goodbye);
                        break;
                    }
                }
                Ok(None) => return Ended::End,
                Err(status) => return Ended::by(&status, Ended::Broken),
            }
        }
        // The shard answers what it has taken; nothing new goes to it.
        self.session.leave_line(&self.line);
        self.flight.drain();
        let end = Instant::now() + GOODBYE_TIMEOUT;
        while !self.flight.is_empty() {
            match timeout_at(end, replies.message()).await {
                Ok(Ok(Some(frame))) => self.flight.arrive(frame.replies),
                Ok(Ok(None) | Err(_)) | Err(_) => break,
            }
        }
        Ended::Goodbye
    }
}
