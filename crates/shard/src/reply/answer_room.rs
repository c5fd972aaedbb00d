//! Room for the answers of one session that wait for their gateway to take them, and the watch over
//! a gateway that takes none.
//!
//! An answer carries its part of the room with it, and the room comes back when the answer leaves
//! or is dropped. The size of an answer is computed once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use link::ops::health::Health;
use link::ops::log_throttle::LogThrottle;
use link::ops::metrics::Gauge;
use terms::{Clock, limits};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{MissedTickBehavior, interval};

use crate::node::Node;

/// Kibibytes of the room for lists: permits are kibibytes. The largest page is below it.
const LISTS_KIB: usize = 24 << 10;
const _: () = assert!(limits::LIST_PAGE_BYTES_MAX + limits::BODY_BYTES_MAX < LISTS_KIB << 10);
/// Kibibytes of the room for all other answers.
pub(crate) const OTHERS_KIB: usize = (limits::SESSION_ANSWER_BYTES_MAX >> 10) - LISTS_KIB;
/// Time without a frame taken, while answers hold room, after which a session is said to stall.
const STALLED_AFTER: Duration = Duration::from_secs(10);
/// Time between two looks at it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The room of one session. Clones share it. Lists have a part of their own: they hold it while they
/// wait for their turn, and no read of a record waits for them.
#[derive(Clone)]
pub(crate) struct AnswerRoom {
    lists: Arc<Semaphore>,
    others: Arc<Semaphore>,
}

impl AnswerRoom {
    pub(crate) fn new() -> Self {
        let room = |kib| Arc::new(Semaphore::new(kib));
        Self { lists: room(LISTS_KIB), others: room(OTHERS_KIB) }
    }

    /// Waits for room for so many bytes, or for all of it if they are more. `None`: the session has
    /// ended.
    pub(crate) async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let permits = permits(bytes, OTHERS_KIB);
        Arc::clone(&self.others).acquire_many_owned(permits).await.ok()
    }

    /// The same for a list, a count, or a question about a subject.
    pub(crate) async fn take_for_list(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.lists).acquire_many_owned(permits(bytes, LISTS_KIB)).await.ok()
    }

    /// The session has ended: no caller waits any more.
    pub(crate) fn close(&self) {
        self.lists.close();
        self.others.close();
    }

    fn is_taken(&self) -> bool {
        self.lists.available_permits() < LISTS_KIB || self.others.available_permits() < OTHERS_KIB
    }

    /// Watches until it is dropped: reports when the gateway has taken no frame for a while though
    /// answers hold room, and when it takes frames again.
    pub(crate) async fn watch(&self, taken: &AtomicU64, stalls: &Stalls) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut idle, mut stalled) = (Idle::default(), None);
        loop {
            looks.tick().await;
            if !idle.look(taken.load(Ordering::Relaxed), self.is_taken()) {
                stalled = None;
            } else if stalled.is_none() {
                stalled = Some(stalls.begin());
            }
        }
    }
}

/// How long a gateway has taken no frame.
#[derive(Default)]
struct Idle {
    taken: u64,
    time: Duration,
}

impl Idle {
    /// Whether that is too long, by the frames that are taken so far, and whether answers hold room.
    fn look(&mut self, taken: u64, waiting: bool) -> bool {
        if taken != self.taken || !waiting {
            *self = Self { taken, time: Duration::ZERO };
            return false;
        }
        self.time += LOOK_EVERY;
        self.time > STALLED_AFTER
    }
}

/// Permits for so many bytes of a room of `all`.
fn permits(bytes: usize, all: usize) -> u32 {
    u32::try_from((bytes >> 10).saturating_add(1).min(all)).unwrap_or(u32::MAX)
}

/// Cuts the room for so many bytes off a larger one. What is lacking is not waited for.
pub(crate) fn split(room: &mut OwnedSemaphorePermit, bytes: usize) -> Option<OwnedSemaphorePermit> {
    let wanted = usize::try_from(permits(bytes, OTHERS_KIB)).unwrap_or(usize::MAX);
    room.split(wanted.min(room.num_permits()))
}

/// How many sessions of a shard stall, for its operators.
#[derive(Clone)]
pub(crate) struct Stalls {
    health: Health,
    sessions: Gauge,
    lines: Arc<LogThrottle>,
    clock: Arc<dyn Clock>,
}

impl Stalls {
    pub(crate) fn new(health: Health, node: &Node) -> Self {
        Self::with(health, node.metrics.sessions_stalled.clone(), node.clock.unguarded())
    }

    fn with(health: Health, sessions: Gauge, clock: Arc<dyn Clock>) -> Self {
        Self { health, sessions, lines: Arc::default(), clock }
    }

    fn begin(&self) -> Stalled<'_> {
        self.sessions.inc();
        self.say();
        if let Some(unsaid) = self.lines.allow(self.clock.now()) {
            tracing::warn!(
                seconds = STALLED_AFTER.as_secs(),
                unsaid,
                "a gateway takes no frames of its session, and answers wait: look at the gateway, \
                 and at the network between"
            );
        }
        Stalled(self)
    }

    fn say(&self) {
        self.health.set_fact("sessions_stalled", self.sessions.get().to_string());
    }
}

/// One session that stalls, until it is dropped.
struct Stalled<'a>(&'a Stalls);

impl Drop for Stalled<'_> {
    fn drop(&mut self) {
        self.0.sessions.dec();
        self.0.say();
    }
}

#[cfg(test)]
mod tests {
    use link::host::clock::SystemClock;

    use super::*;

    #[tokio::test]
    async fn what_is_cut_off_and_given_back_adds_up_for_every_size() {
        let room = AnswerRoom::new();
        for bytes in (0..=64 << 10).chain([1 << 20, 16 << 20, 1 << 40]) {
            let mut whole = room.take(bytes).await.unwrap();
            let one = split(&mut whole, bytes / 3);
            let more = split(&mut whole, bytes);
            drop(whole);
            drop((one, more));
            assert!(!room.is_taken(), "{bytes}");
        }
    }

    #[test]
    fn only_a_gateway_that_takes_nothing_stalls() {
        let mut idle = Idle::default();
        // An idle session holds no room.
        assert!((0..60).all(|_| !idle.look(0, false)));
        // A slow gateway takes a frame now and then.
        for taken in 1..7 {
            assert!((0..9).all(|_| !idle.look(taken, true)));
        }
        assert!((0..11).all(|_| !idle.look(7, true)));
        assert!(idle.look(7, true) && idle.look(7, true));
        assert!(!idle.look(8, true));
        assert!((0..10).all(|_| !idle.look(8, true)));
        assert!(idle.look(8, true));
        assert!(!idle.look(8, false));
    }

    #[test]
    fn a_session_that_stalls_is_shown_until_it_ends() {
        let (health, sessions) = (Health::new(), Gauge::default());
        let stalls = Stalls::with(health, sessions.clone(), Arc::new(SystemClock));
        let (one, other) = (stalls.begin(), stalls.begin());
        assert_eq!(sessions.get(), 2);
        drop(one);
        assert_eq!(sessions.get(), 1);
        drop(other);
        assert_eq!(sessions.get(), 0);
    }
}
