//! Keeps maps and sessions up to date.
//!
//! Maps: the gateway takes the newest valid map that its shards hold, and passes it on to the shards
//! that hold older ones. So a region that was cut off catches up by itself, from any gateway that
//! reaches it. A map is trusted for its signatures; each shard checks them itself.
//!
//! Sessions: when map or annexes change, sessions with new shards begin, and those with removed
//! shards end.

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

use crate::map::state::MapState;
use crate::shards::connect::Environment;
use crate::shards::reconnect;
use crate::shards::session::Session;

/// Time after which maps and sessions are compared again without any news.
const COMPARE_EVERY: Duration = Duration::from_secs(1);
/// Time in which a shard must answer about maps.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Maps that are passed to one shard before all of them are compared again.
const STEPS_MAX: usize = 64;
/// Time that the calls of a retired session have to end.
const RETIRED_TIME_MAX: Duration = Duration::from_secs(10);

/// Keeps sessions and maps up to date until the future is dropped, each on its own: a shard that is
/// slow about maps, or sends one that causes a panic, does not disturb the sessions.
pub(crate) async fn run(map: Arc<MapState>, env: Arc<Environment>) {
    let sessions = || sync_sessions(Arc::clone(&map), Arc::clone(&env));
    let maps = || sync_maps(Arc::clone(&map));
    let nothing = || std::future::ready(());
    tokio::join!(supervise("sessions", sessions, nothing), supervise("maps", maps, nothing));
}

async fn sync_sessions(map: Arc<MapState>, env: Arc<Environment>) {
    let mut changes = map.changes();
    let mut sessions = Sessions::default();
    loop {
        sessions.update(&map, &env).await;
        drop(timeout(COMPARE_EVERY, changes.changed()).await);
    }
}

async fn sync_maps(map: Arc<MapState>) {
    loop {
        if map.takes_maps() {
            take_newest(&map).await;
            pass_on(&map).await;
        }
        // News from a shard, or only time: the outcome is the same.
        drop(timeout(COMPARE_EVERY, map.versions.notified()).await);
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
    /// Begins and ends sessions as the present routing says.
    async fn update(&mut self, map: &MapState, env: &Arc<Environment>) {
        let routing = map.pin();
        for session in routing.sessions() {
            let target = &session.target;
            let new = !self.kept.iter().any(|(kept, _)| Arc::ptr_eq(kept, session));
            let wished = routing.wished(target);
            if new {
                env.regions.add(&target.region, &target.shard, wished).await;
                env.metrics.set_up(&target.region, &target.shard, false);
                let task = reconnect::keep(Arc::clone(session), Arc::clone(env));
                self.kept.push((Arc::clone(session), self.tasks.spawn(task)));
            } else {
                env.regions.wish(&target.region, &target.shard, wished).await;
            }
        }
        let wanted = |kept: &Arc<Session>| routing.sessions().any(|s| Arc::ptr_eq(kept, s));
        let (kept, gone) = std::mem::take(&mut self.kept).into_iter().partition(|(s, _)| wanted(s));
        self.kept = kept;
        for (session, task) in gone {
            let target = &session.target;
            session.retire();
            let same = |other: &Session| {
                other.target.region == target.region && other.target.shard == target.shard
            };
            if !routing.sessions().any(|other| same(other)) {
                env.regions.remove(&target.region, &target.shard).await;
                env.metrics.set_up(&target.region, &target.shard, false);
            }
            // It gets no new calls; those in flight have a while to end.
            self.tasks.spawn(async move {
                sleep(RETIRED_TIME_MAX).await;
                task.abort();
            });
        }
        env.regions.lack_annexes(routing.without_annex().cloned().collect()).await;
        while self.tasks.try_join_next().is_some() {}
    }
}

// === maps ===

/// Takes the newest valid map that any shard holds, one after the other.
async fn take_newest(map: &MapState) {
    for _ in 0..STEPS_MAX {
        let routing = map.pin();
        let own = routing.map().epoch();
        let newer = routing.sessions().filter(|session| {
            session.is_up() && session.map().is_some_and(|epoch| epoch.number > own.number)
        });
        let newer: Vec<Arc<Session>> = newer.map(Arc::clone).collect();
        let mut taken = false;
        for session in newer {
            match take_from(map, &session, own.number).await {
                Ok(()) => {
                    taken = true;
                    break;
                }
                Err(rejection) => {
                    refused(&session, &rejection, "not taking a map that a shard holds")
                }
            }
        }
        if !taken {
            return;
        }
    }
}

async fn take_from(map: &MapState, session: &Session, own: u64) -> Result<(), Rejection> {
    let signed = fetch(session, proto::MapFetch { epoch: own, after: true }).await?;
    let verified = map.open(&signed)?;
    let routing = map.pin();
    let vouched = |epoch| {
        let up = || routing.sessions().filter(|session| session.is_up());
        let regions = |of: &dyn Fn(&Session) -> bool| {
            let names = up().filter(|session| of(session)).map(|session| &session.target.region);
            names.collect::<BTreeSet<_>>().len()
        };
        let hold = regions(&|session| session.map() == Some(epoch));
        hold > 1 || (hold == 1 && regions(&|_| true) == 1)
    };
    map.take(&verified, vouched).map(|_| ())
}

/// Passes maps to the shards that hold older ones than others do.
async fn pass_on(map: &MapState) {
    let routing = map.pin();
    let up: Vec<&Arc<Session>> = routing.sessions().filter(|session| session.is_up()).collect();
    let number = |session: &Session| session.map().map_or(0, |epoch| epoch.number);
    let Some(newest) = up.iter().map(|session| number(session)).max() else { return };
    let behind = up.iter().filter(|session| {
        let held = number(session);
        held > 0 && held < newest
    });
    let passed = behind.map(|session| async {
        for _ in 0..STEPS_MAX {
            let held = number(session);
            let mut donors = up.iter().filter(|donor| number(donor) > held);
            let mut last = None;
            let mut done = false;
            for donor in donors.by_ref() {
                match pass(donor, session, held).await {
                    Ok(epoch) if epoch.epoch <= held => {
                        // It gave what the shard holds already.
                        last = Some(Rejection::new(Reason::MapGap));
                    }
                    Ok(epoch) => {
                        map.versions.shard_holds(session, epoch.epoch, &epoch.digest);
                        done = true;
                        break;
                    }
                    Err(rejection) => last = Some(rejection),
                }
            }
            if let Some(rejection) = last.filter(|_| !done) {
                refused(session, &rejection, "a shard does not take the next map");
            }
            if !done {
                return;
            }
        }
    });
    join_all(passed).await;
}

/// Passes the next map from one shard to another.
async fn pass(donor: &Session, to: &Session, held: u64) -> Result<proto::MapRef, Rejection> {
    let signed = fetch(donor, proto::MapFetch { epoch: held, after: true }).await?;
    offer(to, &signed).await
}

/// Offers a map to a shard.
pub(crate) async fn offer(to: &Session, signed: &SignedMap) -> Result<proto::MapRef, Rejection> {
    let SignedMap { text, note, packs } = signed.clone();
    let map = Some(proto::SignedMap { text, note, packs });
    let op = Op::MapOffer(proto::MapOffer { map });
    let outcome = to.call_of_gateway(op, Instant::now() + ANSWER_MAX).await?;
    let Outcome::Taken(taken) = outcome else { return Err(Reason::Internal.into()) };
    Ok(taken)
}

/// Asks a shard for a map.
pub(crate) async fn fetch(from: &Session, fetch: proto::MapFetch) -> Result<SignedMap, Rejection> {
    let deadline = Instant::now() + ANSWER_MAX;
    let outcome = from.call_of_gateway(Op::MapFetch(fetch), deadline).await?;
    let Outcome::Map(map) = outcome else { return Err(Reason::Internal.into()) };
    let proto::SignedMap { text, note, packs } = map;
    // Empty: its first map was a later one, or it has lost one.
    if text.is_empty() { Err(Reason::MapGap.into()) } else { Ok(SignedMap { text, note, packs }) }
}

fn refused(session: &Session, rejection: &Rejection, what: &'static str) {
    let (region, shard) = (&session.target.region, &session.target.shard);
    tracing::warn!(%region, %shard, reason = %rejection.reason, problem = %rejection, "{what}");
}
