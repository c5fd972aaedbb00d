//! One call from its arrival to its answer: its id, its caller, its deadline, its seat. The layers
//! of the stack put these beside the request; the services take them from there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use atlas::RegionMap;
use link::ops::metrics::Gauge;
use sha2::{Digest as _, Sha256};
use terms::limits::{DEADLINE_MS_DEFAULT, DEADLINE_MS_MAX};
use terms::{CallId, Entropy, EntropyFailed, Reason, Rejection};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::auth::authenticate::{Identified, Identity};
use crate::auth::caller::Acting;
use crate::http::refusal_log;
use crate::http::refusal_log::{By, Log};
use crate::limits::{Share, Shares, TenantLimits};
use crate::metrics::{Ending, Method, Metrics};

// === ids ===

/// Gives calls their ids. Every error shows one, so two of them may not tell how many calls of
/// others lay between: each is a number hidden by a key that is random for each process.
pub(crate) struct Ids {
    key: [u8; 32],
    next: AtomicU64,
}

impl Ids {
    pub(crate) fn new(entropy: &dyn Entropy) -> Result<Self, EntropyFailed> {
        let mut key = [0; 32];
        entropy.fill(&mut key)?;
        Ok(Self { key, next: AtomicU64::new(1) })
    }

    pub(crate) fn next(&self) -> CallId {
        let number = self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        // Key and number are one block of the hash, and of one length: nothing can be added to
        // them, and half of what comes out is enough to tell all calls apart.
        let digest = Sha256::new().chain_update(self.key).chain_update(number).finalize();
        CallId(digest.iter().take(16).fold(0, |id, byte| id << 8 | u128::from(*byte)))
    }
}

// === seats ===

/// The calls that may be in flight at once.
pub(crate) struct Seats {
    taken: AtomicUsize,
    max: usize,
    gauge: Gauge,
}

/// A place among the calls in flight. Given back when dropped.
pub(crate) struct Seat(Arc<Seats>);

impl Seats {
    pub(crate) const fn new(max: usize, gauge: Gauge) -> Self {
        Self { taken: AtomicUsize::new(0), max, gauge }
    }

    /// A seat, if one is free.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Seat> {
        let free = |taken: usize| (taken < self.max).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok()?;
        self.gauge.inc();
        Some(Seat(Arc::clone(self)))
    }

    /// How many are free.
    pub(crate) fn free(&self) -> usize {
        self.max.saturating_sub(self.taken.load(Ordering::Relaxed))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
        self.0.gauge.dec();
    }
}

// === deadlines ===

/// When a call must be answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    arrived: Instant,
    named: Option<Duration>,
}

/// The longest that a call, or one request of a stream, may take.
const DEADLINE_MAX: Duration = Duration::from_millis(DEADLINE_MS_MAX);

impl Deadline {
    /// From the time that the caller named, if it did.
    pub(crate) const fn new(arrived: Instant, named: Option<Duration>) -> Self {
        Self { arrived, named }
    }

    /// Of the whole call.
    pub(crate) fn of_call(&self) -> Instant {
        self.of_item(self.arrived)
    }

    /// Of one request of a stream, read at `read`: a stream may last as long as its caller has
    /// named, each of its requests as long as a call may, from when it was read.
    pub(crate) fn of_item(&self, read: Instant) -> Instant {
        let Some(named) = self.named else {
            return read + Duration::from_millis(DEADLINE_MS_DEFAULT);
        };
        let most = read + DEADLINE_MAX;
        // A named end that no clock can hold never comes.
        self.arrived.checked_add(named).map_or(most, |end| end.min(most))
    }
}

// === the call ===

/// What is known of a call when it arrives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entered {
    pub(crate) id: CallId,
    pub(crate) method: Method,
    pub(crate) at: Instant,
}

/// Where calls are named, counted and refused.
pub(crate) struct Desk {
    pub(crate) ids: Ids,
    pub(crate) seats: Arc<Seats>,
    pub(crate) shares: ArcSwap<Shares>,
    pub(crate) identity: Identity,
    pub(crate) log: Log,
    pub(crate) metrics: Arc<Metrics>,
}

impl Desk {
    /// Another map is in force: its tenants have their parts of the gateway.
    pub(crate) fn follow(&self, map: &RegionMap, limits: &TenantLimits, in_flight_max: usize) {
        self.metrics.map_epoch(map.epoch().number);
        if !self.shares.load().are_of(map) {
            // Calls in flight count against the accounts that they were taken from.
            self.shares.store(Arc::new(Shares::new(map, limits, in_flight_max)));
        }
    }

    /// Ends a call that is refused: counted, logged or counted as not logged, and made what the
    /// caller reads.
    pub(crate) fn refuse(&self, entered: &Entered, fault: &Rejection, by: &By) -> Status {
        self.refused(entered, fault, by);
        refusal_log::status(fault, entered.id)
    }

    fn refused(&self, entered: &Entered, fault: &Rejection, by: &By) {
        if !self.log.refused(fault, (entered.id, entered.method), by) {
            self.metrics.not_logged(fault.reason);
        }
        self.count(entered, Ending::Refused(fault.reason));
    }

    fn count(&self, entered: &Entered, ending: Ending) {
        self.metrics.answered(entered.method, ending, entered.at.elapsed());
    }
}

/// Who makes one call, or one request of a stream, and its tenant's share for it.
pub(crate) struct Turn {
    pub(crate) acting: Acting,
    pub(crate) share: Arc<Share>,
}

/// A call that a service works on.
pub(crate) struct Asked {
    pub(crate) turn: Turn,
    identified: Identified,
    pub(crate) deadline: Deadline,
    pub(crate) entered: Entered,
    desk: Arc<Desk>,
    open: bool,
    /// Held until the answer, that of a stream until its end.
    _seat: Arc<Seat>,
}

impl Asked {
    /// Takes from a request what the stack has put beside it.
    ///
    /// # Errors
    /// `INTERNAL` when a layer is missing: our mistake, and never a reason to go on.
    pub(crate) fn open<T>(desk: &Arc<Desk>, mut request: Request<T>) -> Result<(Self, T), Status> {
        let beside = request.extensions_mut();
        let Some(entered) = beside.remove::<Entered>() else {
            let at = Instant::now();
            let entered = Entered { id: desk.ids.next(), method: Method::Other, at };
            return Err(desk.refuse(&entered, &Reason::Internal.into(), &By::default()));
        };
        let found = (beside.remove(), beside.remove(), beside.remove());
        let (Some(identified), Some(acting), Some(share)) = found else {
            return Err(desk.refuse(&entered, &Reason::Internal.into(), &By::default()));
        };
        let (Some(deadline), Some(seat)) = (beside.remove::<Deadline>(), beside.remove()) else {
            return Err(desk.refuse(&entered, &Reason::Internal.into(), &By::default()));
        };
        let (turn, desk) = (Turn { acting, share }, Arc::clone(desk));
        let asked = Self { turn, identified, deadline, entered, desk, open: true, _seat: seat };
        Ok((asked, request.into_inner()))
    }

    /// Ends a call with its answer.
    pub(crate) fn answer<T>(mut self, answer: Result<T, Rejection>) -> Result<Response<T>, Status> {
        match answer {
            Ok(answer) => {
                self.done();
                Ok(Response::new(answer))
            }
            Err(fault) => Err(self.refuse(&fault)),
        }
    }

    /// The call is done.
    pub(crate) fn done(&mut self) {
        self.open = false;
        self.desk.count(&self.entered, Ending::Done);
    }

    /// The call is refused.
    pub(crate) fn refuse(&mut self, fault: &Rejection) -> Status {
        self.open = false;
        self.desk.refuse(&self.entered, fault, &By::acting(&self.turn.acting))
    }

    /// The turn of one request of this stream: it counts as a call of its own.
    ///
    /// # Errors
    /// `TENANT_BUSY`.
    pub(crate) fn next_turn(&self) -> Result<Turn, Rejection> {
        let share = self.turn.share.another()?;
        Ok(Turn { acting: self.turn.acting.clone(), share })
    }

    /// Whether what has shown who calls is still good.
    ///
    /// # Errors
    /// `IDENTITY_INVALID`, or `KEYS_UNAVAILABLE`.
    pub(crate) fn still_identified(&self) -> Result<(), Rejection> {
        self.desk.identity.still(&self.identified)
    }

    /// A request of this stream, as a call of its own id.
    pub(crate) fn item(&self) -> Item {
        let id = self.desk.ids.next();
        let entered = Entered { id, method: Method::StreamPutItem, at: Instant::now() };
        Item { entered, acting: self.turn.acting.clone(), desk: Arc::clone(&self.desk) }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if self.open {
            self.desk.count(&self.entered, Ending::CallerGone);
        }
    }
}

/// One request of a stream.
pub(crate) struct Item {
    pub(crate) entered: Entered,
    acting: Acting,
    desk: Arc<Desk>,
}

impl Item {
    /// The request is done.
    pub(crate) fn done(&self) {
        self.desk.count(&self.entered, Ending::Done);
    }

    /// The request is refused, and the stream goes on.
    pub(crate) fn refuse(&self, fault: &Rejection) -> tonic_types::pb::Status {
        self.desk.refused(&self.entered, fault, &By::acting(&self.acting));
        refusal_log::status_message(fault, self.entered.id)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// The same bytes every time.
    struct Always(u8);

    impl Entropy for Always {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyFailed> {
            buffer.fill(self.0);
            Ok(())
        }
    }

    #[test]
    fn a_request_of_a_stream_has_its_time_from_when_it_was_read() {
        const MINUTE: Duration = Duration::from_secs(60);
        let start = Instant::now();
        let deadline = |named| Deadline::new(start, named);
        let half_an_hour = deadline(Some(30 * MINUTE));
        assert_eq!(half_an_hour.of_call(), start + 10 * MINUTE);
        assert_eq!(half_an_hour.of_item(start + 12 * MINUTE), start + 22 * MINUTE);
        assert_eq!(half_an_hour.of_item(start + 25 * MINUTE), start + 30 * MINUTE);
        let late = start + 31 * MINUTE;
        assert!(half_an_hour.of_item(late) < late, "the stream's own time is over");
        let usual = Duration::from_millis(DEADLINE_MS_DEFAULT);
        assert_eq!(deadline(None).of_item(late), late + usual);
        assert_eq!(deadline(Some(Duration::MAX)).of_item(late), late + 10 * MINUTE);
        assert_eq!(deadline(Some(MINUTE)).of_item(start), start + MINUTE);
    }

    #[test]
    fn ids_say_nothing_of_one_another() {
        const CALLS: usize = 1_000;
        let ids = Ids::new(&Always(7)).unwrap();
        let given: Vec<u128> = (0..CALLS).map(|_| ids.next().0).collect();
        // Neither half is the same twice: there is no prefix, and no number that only grows.
        let halves = [64, 0].map(|shift| {
            let half = |id: &u128| u64::try_from(id >> shift & u128::from(u64::MAX)).unwrap();
            given.iter().map(half).collect::<Vec<u64>>()
        });
        for half in &halves {
            assert_eq!(half.iter().collect::<HashSet<_>>().len(), CALLS);
            let steps: HashSet<u64> = half.windows(2).map(|w| w[1].wrapping_sub(w[0])).collect();
            assert_eq!(steps.len(), CALLS - 1, "two steps are alike");
            let up = half.windows(2).filter(|pair| pair[0] < pair[1]).count();
            assert!((CALLS * 2 / 5..CALLS * 3 / 5).contains(&up), "{up} of them grow");
        }
        // Another process has other ids.
        let others = Ids::new(&Always(8)).unwrap();
        assert!((0..CALLS).all(|_| !given.contains(&others.next().0)));
    }
}
