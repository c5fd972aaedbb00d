//! Maps on their way through a gateway. It takes the newest valid one that its shards hold, and
//! carries it on to those that have not heard: a region that was cut off catches up by itself, from
//! any gateway that reaches it. A map is believed for its signatures; each shard looks at them
//! itself.
//!
//! And the sessions: when map or annexes change, those of new shards are begun, and those of shards
//! that are no more are ended.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use atlas::SignedMap;
use futures_util::future::join_all;
use link::host::supervise::supervise;
use terms::{Reason, Rejection};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use wire::session::{self as proto, call::Op, reply::Outcome};

use crate::shards::connect::Environment;
use crate::shards::reconnect;
use crate::shards::session::Session;

/// Time after which maps are compared again though nobody said anything.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Time in which a shard must answer about maps.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Maps that are carried to one shard before the others are looked at again.
const STEPS_MAX: usize = 64;
/// Time that the calls of a session have to end whose shard is elsewhere now.
const LEAVE_AFTER: Duration = Duration::from_secs(10);

/// Keeps sessions and maps up to date until the future is dropped. Each by itself: a shard that is
/// slow about maps, or sends one that makes us panic, keeps nobody from finding another.
pub(crate) async fn keep(outside: Arc<Environment>) {
    let sessions = || keep_sessions(Arc::clone(&outside));
    let maps = || keep_maps(Arc::clone(&outside));
    let nothing = || std::future::ready(());
    tokio::join!(supervise("sessions", sessions, nothing), supervise("maps", maps, nothing));
}

async fn keep_sessions(outside: Arc<Environment>) {
    let mut changes = outside.charts.changes();
    let mut sessions = Sessions::default();
    loop {
        sessions.follow(&outside).await;
        drop(timeout(LOOK_EVERY, changes.changed()).await);
    }
}

async fn keep_maps(outside: Arc<Environment>) {
    loop {
        if outside.charts.follows() {
            take_newest(&outside).await;
            carry_on(&outside).await;
        }
        // A shard that said something, or only time: the outcome is the same.
        drop(timeout(LOOK_EVERY, outside.charts.stirred()).await);
    }
}

// === sessions ===

/// The sessions that are kept up.
#[derive(Default)]
struct Sessions {
    tasks: JoinSet<()>,
    kept: Vec<(Arc<Session>, AbortHandle)>,
}

impl Sessions {
    /// Begins and ends sessions as the routing of now says.
    async fn follow(&mut self, outside: &Arc<Environment>) {
        let routing = outside.charts.pin();
        for session in routing.sessions() {
            if !self.kept.iter().any(|(kept, _)| Arc::ptr_eq(kept, session)) {
                outside.regions.know(&session.peer.region, &session.peer.shard).await;
                outside.metrics.session_up(&session.peer.region, &session.peer.shard, false);
                let task = reconnect::keep(Arc::clone(session), Arc::clone(outside));
                self.kept.push((Arc::clone(session), self.tasks.spawn(task)));
            }
        }
        let wanted = |kept: &Arc<Session>| routing.sessions().any(|s| Arc::ptr_eq(kept, s));
        let (kept, gone) = std::mem::take(&mut self.kept).into_iter().partition(|(s, _)| wanted(s));
        self.kept = kept;
        for (session, task) in gone {
            let peer = &session.peer;
            session.retire();
            let same = |other: &Session| {
                other.peer.region == peer.region && other.peer.shard == peer.shard
            };
            if !routing.sessions().any(|other| same(other)) {
                outside.regions.forget(&peer.region, &peer.shard).await;
                outside.metrics.session_up(&peer.region, &peer.shard, false);
            }
            // Nothing new goes there; what is on its way has a while.
            self.tasks.spawn(async move {
                sleep(LEAVE_AFTER).await;
                task.abort();
            });
        }
        while self.tasks.try_join_next().is_some() {}
    }
}

// === maps ===

/// Takes the newest valid map that any shard holds, one after the other.
async fn take_newest(outside: &Environment) {
    for _ in 0..STEPS_MAX {
        let routing = outside.charts.pin();
        let own = routing.map().epoch();
        let newer = routing.sessions().filter(|session| {
            session.is_up() && session.map().is_some_and(|epoch| epoch.number > own.number)
        });
        let newer: Vec<Arc<Session>> = newer.map(Arc::clone).collect();
        let mut taken = false;
        for session in newer {
            match take_from(outside, &session, own.number).await {
                Ok(()) => {
                    taken = true;
                    break;
                }
                Err(fault) => refused(&session, &fault, "a map that a shard holds is not taken"),
            }
        }
        if !taken {
            return;
        }
    }
}

async fn take_from(outside: &Environment, session: &Session, own: u64) -> Result<(), Rejection> {
    let signed = fetch(session, proto::MapFetch { epoch: own, after: true }).await?;
    let sealed = outside.charts.open(&signed)?;
    let routing = outside.charts.pin();
    let vouched = |epoch| {
        let up = || routing.sessions().filter(|session| session.is_up());
        let regions = |of: &dyn Fn(&Session) -> bool| {
            let names = up().filter(|session| of(session)).map(|session| &session.peer.region);
            names.collect::<BTreeSet<_>>().len()
        };
        let hold = regions(&|session| session.map() == Some(epoch));
        hold > 1 || (hold == 1 && regions(&|_| true) == 1)
    };
    outside.charts.take(&sealed, vouched).map(|_| ())
}

/// Carries maps to the shards that hold older ones than others do.
async fn carry_on(outside: &Environment) {
    let routing = outside.charts.pin();
    let up: Vec<&Arc<Session>> = routing.sessions().filter(|session| session.is_up()).collect();
    let number = |session: &Session| session.map().map_or(0, |epoch| epoch.number);
    let Some(newest) = up.iter().map(|session| number(session)).max() else { return };
    let behind = up.iter().filter(|session| {
        let held = number(session);
        held > 0 && held < newest
    });
    let carried = behind.map(|session| async {
        for _ in 0..STEPS_MAX {
            let held = number(session);
            let mut donors = up.iter().filter(|donor| number(donor) > held);
            let mut last = None;
            let mut done = false;
            for donor in donors.by_ref() {
                match carry(donor, session, held).await {
                    Ok(epoch) if epoch.epoch <= held => {
                        // It gave what the other holds already.
                        last = Some(Rejection::new(Reason::MapGap));
                    }
                    Ok(epoch) => {
                        outside.charts.heard(session, epoch.epoch, &epoch.digest);
                        done = true;
                        break;
                    }
                    Err(fault) => last = Some(fault),
                }
            }
            if let Some(fault) = last.filter(|_| !done) {
                refused(session, &fault, "a shard does not take the next map");
            }
            if !done {
                return;
            }
        }
    });
    join_all(carried).await;
}

/// Carries the next map from one shard to another.
async fn carry(donor: &Session, to: &Session, held: u64) -> Result<proto::MapRef, Rejection> {
    let signed = fetch(donor, proto::MapFetch { epoch: held, after: true }).await?;
    offer(to, &signed).await
}

/// Gives a shard a map.
pub(crate) async fn offer(to: &Session, signed: &SignedMap) -> Result<proto::MapRef, Rejection> {
    let SignedMap { text, note, packs } = signed.clone();
    let map = Some(proto::SignedMap { text, note, packs });
    let op = Op::MapOffer(proto::MapOffer { map });
    let told = to.of_gateway(op, Instant::now() + ANSWER_MAX).await?;
    let Outcome::Taken(taken) = told else { return Err(Reason::Internal.into()) };
    Ok(taken)
}

/// Asks a shard for a map.
pub(crate) async fn fetch(from: &Session, fetch: proto::MapFetch) -> Result<SignedMap, Rejection> {
    let told = from.of_gateway(Op::MapFetch(fetch), Instant::now() + ANSWER_MAX).await?;
    let Outcome::Map(map) = told else { return Err(Reason::Internal.into()) };
    let proto::SignedMap { text, note, packs } = map;
    // None: it began with a later one, or does not keep what it should.
    if text.is_empty() { Err(Reason::MapGap.into()) } else { Ok(SignedMap { text, note, packs }) }
}

fn refused(session: &Session, fault: &Rejection, what: &'static str) {
    let (region, shard) = (&session.peer.region, &session.peer.shard);
    tracing::warn!(%region, %shard, reason = %fault.reason, problem = %fault, "{what}");
}
