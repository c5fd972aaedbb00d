//! The context of all calls, and one call from its arrival to its answer. The layer in `http` puts
//! what it finds out about a call into the request's extensions; the services take it from there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use terms::limits::{DEADLINE_MS_DEFAULT, DEADLINE_MS_MAX};
use terms::{CallId, Clock, Entropy, EntropyFailed, Reason, RegionId, Rejection};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::{Request, Response, Status};
use tonic_types::pb;
use wire::session::call::Op;

use crate::api::pinned_map::PinnedMap;
use crate::api::refusal::{self, LoggedCaller, RefusalLog};
use crate::auth::authenticate::{Identified, Identity};
use crate::auth::caller::Acting;
use crate::limits::{Limits, TenantPermit};
use crate::map::state::MapState;
use crate::method::Method;
use crate::metrics::{Ending, Metrics};
use crate::shards::in_flight::Effect;
use crate::shards::session::ShardCall;

// === the context ===

/// What all calls share. Nothing in it grows with the number of people or records.
pub(crate) struct CallContext {
    pub(crate) ids: CallIds,
    pub(crate) limits: Arc<Limits>,
    pub(crate) identity: Identity,
    pub(crate) map: Arc<MapState>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) log: RefusalLog,
    pub(crate) metrics: Arc<Metrics>,
    /// True once the gateway is shutting down.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl CallContext {
    /// The map for one call, from its first check to its answer.
    pub(crate) fn pin(&self) -> PinnedMap {
        PinnedMap::new(&self.map, self.clock.now())
    }

    /// A call of that method begins.
    pub(crate) fn begin(&self, method: Method) -> CallInfo {
        CallInfo { id: self.ids.next(), method, started: Instant::now() }
    }

    /// Ends a call that is refused: counts and logs it, and makes what the caller reads.
    pub(crate) fn refuse(
        &self,
        info: &CallInfo,
        rejection: &Rejection,
        caller: &LoggedCaller,
    ) -> Status {
        self.note_refusal(info, rejection, caller);
        refusal::status(rejection, info.id)
    }

    fn note_refusal(&self, info: &CallInfo, rejection: &Rejection, caller: &LoggedCaller) {
        if !self.log.refused(rejection, info.id, info.method, caller) {
            self.metrics.not_logged(rejection.reason);
        }
        self.count(info, Ending::Refused(rejection.reason));
    }

    fn count(&self, info: &CallInfo, ending: Ending) {
        self.metrics.answered(info.method, ending, info.started.elapsed());
    }
}

/// Gives calls their ids. Every error shows one, and two of them must not tell how many calls of
/// other tenants lay between. So each is a number hashed with a key that is random for each process.
pub(crate) struct CallIds {
    key: [u8; 32],
    next: AtomicU64,
}

impl CallIds {
    pub(crate) fn new(entropy: &dyn Entropy) -> Result<Self, EntropyFailed> {
        let mut key = [0; 32];
        entropy.fill(&mut key)?;
        Ok(Self { key, next: AtomicU64::new(1) })
    }

    fn next(&self) -> CallId {
        let number = self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        // Key and number are one block of the hash, and of one length: nothing can be appended to
        // them, and half of the digest is enough to tell all calls apart.
        let digest = Sha256::new().chain_update(self.key).chain_update(number).finalize();
        CallId(digest.iter().take(16).fold(0, |id, byte| id << 8 | u128::from(*byte)))
    }
}

// === what is known of a call ===

/// What is known of a call when it arrives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallInfo {
    pub(crate) id: CallId,
    pub(crate) method: Method,
    pub(crate) started: Instant,
}

/// When a call must be answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    started: Instant,
    named: Option<Duration>,
}

/// The longest that a call, or one request of a stream, may take.
const DEADLINE_MAX: Duration = Duration::from_millis(DEADLINE_MS_MAX);

impl Deadline {
    /// From the time that the caller named, if it did.
    pub(crate) const fn new(started: Instant, named: Option<Duration>) -> Self {
        Self { started, named }
    }

    /// Of the whole call.
    pub(crate) fn of_call(&self) -> Instant {
        self.of_item(self.started, None)
    }

    /// When the caller's stream ends. None: when the caller ends it.
    pub(crate) fn of_stream(&self) -> Option<Instant> {
        self.named.and_then(|named| self.started.checked_add(named))
    }

    /// Of one request of a stream, read at `read`, for which its caller named `own` time. A stream
    /// may last as long as its caller has named; each of its requests may take as long as a call,
    /// from when it was read.
    pub(crate) fn of_item(&self, read: Instant, own: Option<Duration>) -> Instant {
        let usual = self.named.is_none().then_some(Duration::from_millis(DEADLINE_MS_DEFAULT));
        let most = own.or(usual).unwrap_or(DEADLINE_MAX).min(DEADLINE_MAX);
        // A named end that no clock can hold never comes.
        let end = self.named.and_then(|named| self.started.checked_add(named));
        end.map_or(read + most, |end| end.min(read + most))
    }
}

/// A caller that may make a call, or one request of a stream, and its tenant's permit for it.
pub(crate) struct Admitted {
    pub(crate) acting: Acting,
    pub(crate) permit: Arc<TenantPermit>,
}

impl Admitted {
    /// Its call to a shard of that region; `bytes` are those of the body.
    ///
    /// # Errors
    /// `SHARD_BUSY`.
    pub(crate) fn shard_call(
        &self,
        region: &RegionId,
        deadline: Instant,
        effect: Effect,
        bytes: usize,
        op: Op,
    ) -> Result<ShardCall<'_>, Rejection> {
        let permit = self.permit.to_region(region)?;
        Ok(ShardCall { acting: &self.acting, deadline, effect, bytes, permit, op })
    }
}

// === a call ===

/// A call that a service works on.
pub(crate) struct Call {
    pub(crate) admitted: Admitted,
    identified: Identified,
    pub(crate) deadline: Deadline,
    info: CallInfo,
    ctx: Arc<CallContext>,
    open: bool,
}

impl Call {
    /// Takes from a request what the layer has put into its extensions.
    ///
    /// # Errors
    /// `INTERNAL` when something is missing: our mistake, and never a reason to go on.
    pub(crate) fn open<T>(
        ctx: &Arc<CallContext>,
        mut request: Request<T>,
    ) -> Result<(Self, T), Status> {
        let extensions = request.extensions_mut();
        let info = extensions.remove().unwrap_or_else(|| ctx.begin(Method::Other));
        let (acting, permit) = (extensions.remove(), extensions.remove());
        let (identified, deadline) = (extensions.remove(), extensions.remove());
        let (Some(acting), Some(permit), Some(identified), Some(deadline)) =
            (acting, permit, identified, deadline)
        else {
            return Err(ctx.refuse(&info, &Reason::Internal.into(), &LoggedCaller::default()));
        };
        let (admitted, ctx) = (Admitted { acting, permit }, Arc::clone(ctx));
        let call = Self { admitted, identified, deadline, info, ctx, open: true };
        Ok((call, request.into_inner()))
    }

    /// Ends a call with its answer.
    pub(crate) fn answer<T>(mut self, answer: Result<T, Rejection>) -> Result<Response<T>, Status> {
        match answer {
            Ok(answer) => {
                self.done();
                Ok(Response::new(answer))
            }
            Err(rejection) => Err(self.refuse(&rejection)),
        }
    }

    /// The call is done.
    pub(crate) fn done(&mut self) {
        self.open = false;
        self.ctx.count(&self.info, Ending::Done);
    }

    /// The call is refused.
    pub(crate) fn refuse(&mut self, rejection: &Rejection) -> Status {
        self.open = false;
        self.ctx.refuse(&self.info, rejection, &LoggedCaller::acting(&self.admitted.acting))
    }

    /// Admits one request of this stream or batch, whose body has so many bytes: it counts as a call of its
    /// own.
    ///
    /// # Errors
    /// `TENANT_BUSY`, `GATEWAY_BUSY`.
    pub(crate) fn admit_item(&self, bytes: usize) -> Result<Admitted, Rejection> {
        let permit = self.admitted.permit.another()?;
        permit.hold(bytes)?;
        Ok(Admitted { acting: self.admitted.acting.clone(), permit })
    }

    /// Checks that the caller's credentials are still valid.
    ///
    /// # Errors
    /// `IDENTITY_INVALID`, or `KEYS_UNAVAILABLE`.
    pub(crate) fn still_identified(&self) -> Result<(), Rejection> {
        self.ctx.identity.still(&self.identified)
    }

    /// A request of this stream or batch, as a call with an id of its own.
    pub(crate) fn item(&self, method: Method) -> Item {
        let info = self.ctx.begin(method);
        let acting = self.admitted.acting.clone();
        Item { info, acting, ctx: Arc::clone(&self.ctx) }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.open {
            self.ctx.count(&self.info, Ending::CallerGone);
        }
    }
}

/// One request of a stream or a batch.
pub(crate) struct Item {
    info: CallInfo,
    acting: Acting,
    ctx: Arc<CallContext>,
}

impl Item {
    /// When it was read.
    pub(crate) const fn read_at(&self) -> Instant {
        self.info.started
    }

    /// The request is done.
    pub(crate) fn done(&self) {
        self.ctx.count(&self.info, Ending::Done);
    }

    /// The request is refused, and its stream or batch goes on.
    pub(crate) fn refuse(&self, rejection: &Rejection) -> pb::Status {
        self.ctx.note_refusal(&self.info, rejection, &LoggedCaller::acting(&self.acting));
        refusal::status_message(rejection, self.info.id)
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
        assert_eq!(half_an_hour.of_item(start + 12 * MINUTE, None), start + 22 * MINUTE);
        assert_eq!(half_an_hour.of_item(start + 25 * MINUTE, None), start + 30 * MINUTE);
        let late = start + 31 * MINUTE;
        assert!(half_an_hour.of_item(late, None) < late, "the time of the stream itself is over");
        let usual = Duration::from_millis(DEADLINE_MS_DEFAULT);
        assert_eq!(deadline(None).of_item(late, None), late + usual);
        assert_eq!(deadline(Some(Duration::MAX)).of_item(late, None), late + 10 * MINUTE);
        assert_eq!(deadline(Some(MINUTE)).of_item(start, None), start + MINUTE);
        // A time of its own counts from when it was read, within that of the stream and the longest.
        for named in [None, Some(30 * MINUTE)] {
            assert_eq!(deadline(named).of_item(start, Some(MINUTE)), start + MINUTE);
            assert_eq!(deadline(named).of_item(start, Some(20 * MINUTE)), start + 10 * MINUTE);
        }
        let close = deadline(Some(MINUTE)).of_item(start + MINUTE / 2, Some(MINUTE));
        assert_eq!(close, start + MINUTE);
        assert_eq!(deadline(None).of_item(start, Some(Duration::MAX)), start + 10 * MINUTE);
    }

    #[test]
    fn ids_do_not_tell_how_many_calls_lie_between() {
        const CALLS: usize = 1_000;
        let ids = CallIds::new(&Always(7)).unwrap();
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
        let others = CallIds::new(&Always(8)).unwrap();
        assert!((0..CALLS).all(|_| !given.contains(&others.next().0)));
    }
}
