//! The calls in flight on one session: what each waits for, and what became of it when the
//! session broke. The outcome depends on one thing: whether the call may have reached the shard.
//!
//! A shard that answers nothing for [`STILL_MAX`] while calls wait stands still. Further calls to it
//! are refused at once, but for one in [`PROBE_EVERY`]: its answer shows that the shard goes on.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use terms::limits::{SESSION_BYTES_IN_FLIGHT_MAX, SESSION_IN_FLIGHT_MAX};
use terms::{Detail, Reason, RegionId, Rejection};
use tokio::sync::oneshot;
use tokio::time::Instant;
use wire::session as proto;

use crate::limits::Load;

/// Time without any answer after which a shard that owes some stands still.
const STILL_MAX: Duration = Duration::from_secs(5);
/// Time between two calls that are sent to such a shard.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// Bytes that a call takes up beside its body, for the count of bytes in flight.
const CALL_BYTES: usize = 512;

/// What a caller gets: the shard's answer, or why there is none.
pub(crate) type Answer = Result<proto::reply::Outcome, Rejection>;

/// The calls in flight on one connection to one shard. It lives as long as the connection.
pub(crate) struct Flight {
    region: RegionId,
    limits: Limits,
    calls: Mutex<Calls>,
}

/// How much may be in flight at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) calls_max: usize,
    pub(crate) bytes_max: usize,
}

struct Calls {
    waiting: HashMap<u64, Waiting>,
    bytes: usize,
    /// Ids are never used twice on a connection, so a late reply cannot reach another call.
    next: u64,
    stage: Stage,
    /// When the last answer came, or the first call that waits for one was taken.
    progress: Instant,
    /// When a call was last taken though the shard stands still.
    probe: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// Nothing more is sent; replies still come.
    Draining,
    Closed,
}

struct Waiting {
    /// None: the caller has gone.
    caller: Option<oneshot::Sender<Answer>>,
    bytes: usize,
    effect: Effect,
    /// Whether it may have reached the shard.
    sent: bool,
    /// Given back when the call is out of flight, and not before.
    _load: Option<Load>,
}

/// Whether a call can change what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It can: when its answer is lost, its outcome is not known.
    Write,
    /// It cannot: when its answer is lost, nothing has happened.
    Read,
}

impl Limits {
    pub(crate) const OF_A_SESSION: Self =
        Self { calls_max: SESSION_IN_FLIGHT_MAX, bytes_max: SESSION_BYTES_IN_FLIGHT_MAX };
}

impl Flight {
    pub(crate) fn new(region: RegionId, limits: Limits) -> Self {
        let calls = Calls {
            waiting: HashMap::new(),
            bytes: 0,
            next: 0,
            stage: Stage::Open,
            progress: Instant::now(),
            probe: None,
        };
        Self { region, limits, calls: Mutex::new(calls) }
    }

    // No code that can panic runs under the lock, so a poisoned one holds sound data.
    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a call.
    ///
    /// # Errors
    /// `SHARD_BUSY` when there is none, or the shard stands still; `REGION_UNAVAILABLE` when the
    /// session is ending.
    pub(crate) fn enter(
        &self,
        body: usize,
        effect: Effect,
        load: Option<Load>,
    ) -> Result<(u64, oneshot::Receiver<Answer>), Rejection> {
        let bytes = body.saturating_add(CALL_BYTES);
        let mut calls = self.calls();
        if calls.stage != Stage::Open {
            return Err(self.unavailable());
        }
        let full = calls.waiting.len() >= self.limits.calls_max
            // One call may always go, however small the limit.
            || calls.bytes.saturating_add(bytes) > self.limits.bytes_max && calls.bytes > 0;
        if full || calls.stands_still(Instant::now()) {
            return Err(self.busy());
        }
        let (caller, answer) = oneshot::channel();
        let id = calls.next;
        calls.next += 1;
        calls.bytes += bytes;
        let waiting = Waiting { caller: Some(caller), bytes, effect, sent: false, _load: load };
        calls.waiting.insert(id, waiting);
        Ok((id, answer))
    }

    /// Asked when a call leaves the queue for the wire: whether anybody still wants it. From a yes
    /// on, it may have reached the shard.
    pub(crate) fn depart(&self, id: u64) -> bool {
        let mut calls = self.calls();
        let open = calls.stage == Stage::Open;
        match calls.waiting.get_mut(&id) {
            Some(waiting) if open && waiting.caller.as_ref().is_some_and(|c| !c.is_closed()) => {
                waiting.sent = true;
                true
            }
            _ => {
                calls.remove(id);
                false
            }
        }
    }

    /// A call that could not be queued gives its place back: it will never depart.
    pub(crate) fn withdraw(&self, id: u64) {
        self.calls().remove(id);
    }

    /// Hands replies to their callers.
    pub(crate) fn arrive(&self, replies: Vec<proto::Reply>) {
        let mut ready = Vec::with_capacity(replies.len());
        let mut calls = self.calls();
        if !replies.is_empty() {
            (calls.progress, calls.probe) = (Instant::now(), None);
        }
        for reply in replies {
            // A reply to nobody: its caller has gone, or the shard counts wrongly.
            let Some(waiting) = calls.remove(reply.id) else { continue };
            ready.extend(waiting.caller.map(|caller| (caller, reply.outcome)));
        }
        // Callers are woken without the lock.
        drop(calls);
        for (caller, outcome) in ready {
            let answer = match outcome {
                Some(proto::reply::Outcome::Fault(fault)) => Err(link::session::from_wire(fault)),
                Some(outcome) => Ok(outcome),
                None => Err(Rejection::new(Reason::Internal)),
            };
            // The caller may have gone in this moment.
            caller.send(answer).ok();
        }
    }

    /// The caller has gone. Says whether its call may have reached the shard. A call that may
    /// have keeps its place until the shard answers: it is still the shard's work.
    pub(crate) fn leave(&self, id: u64) -> bool {
        let mut calls = self.calls();
        match calls.waiting.get_mut(&id) {
            Some(waiting) => {
                waiting.caller = None;
                waiting.sent
            }
            None => false,
        }
    }

    /// Sends nothing more: what still queues is told at once that it was not sent.
    pub(crate) fn drain(&self) {
        let mut calls = self.calls();
        if calls.stage == Stage::Open {
            calls.stage = Stage::Draining;
        }
        let queued: Vec<u64> =
            calls.waiting.iter().filter(|(_, w)| !w.sent).map(|(id, _)| *id).collect();
        let lost: Vec<Waiting> = queued.into_iter().filter_map(|id| calls.remove(id)).collect();
        drop(calls);
        self.tell(lost);
    }

    /// Whether no answer is awaited.
    pub(crate) fn is_empty(&self) -> bool {
        self.calls().waiting.is_empty()
    }

    /// The connection is gone: every caller is told what is known of its call.
    pub(crate) fn close(&self) {
        let mut calls = self.calls();
        calls.stage = Stage::Closed;
        calls.bytes = 0;
        let lost: Vec<Waiting> = calls.waiting.drain().map(|(_, waiting)| waiting).collect();
        drop(calls);
        self.tell(lost);
    }

    fn tell(&self, lost: Vec<Waiting>) {
        for waiting in lost {
            let Some(caller) = waiting.caller else { continue };
            let fault = match (waiting.effect, waiting.sent) {
                (Effect::Write, true) => self.unknown(),
                (Effect::Write, false) | (Effect::Read, _) => self.unavailable(),
            };
            caller.send(Err(fault)).ok();
        }
    }

    fn fault(&self, reason: Reason) -> Rejection {
        Rejection::new(reason).with(Detail::Region, self.region.as_str())
    }

    /// That nothing was sent, and nothing stored.
    pub(crate) fn unavailable(&self) -> Rejection {
        self.fault(Reason::RegionUnavailable)
    }

    /// That a write may or may not have happened.
    pub(crate) fn unknown(&self) -> Rejection {
        self.fault(Reason::WriteOutcomeUnknown)
    }

    /// That too much is in flight already.
    pub(crate) fn busy(&self) -> Rejection {
        self.fault(Reason::ShardBusy)
    }
}

impl Calls {
    /// Whether a call must not be added now, since the shard owes answers and gives none.
    fn stands_still(&mut self, now: Instant) -> bool {
        if self.waiting.is_empty() {
            self.progress = now;
        }
        if now.duration_since(self.progress) < STILL_MAX {
            return false;
        }
        if self.probe.is_some_and(|probe| now.duration_since(probe) < PROBE_EVERY) {
            return true;
        }
        self.probe = Some(now);
        false
    }

    fn remove(&mut self, id: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&id)?;
        self.bytes -= waiting.bytes;
        Some(waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(calls_max: usize, bytes_max: usize) -> Flight {
        Flight::new(RegionId::parse("kz-ala").unwrap(), Limits { calls_max, bytes_max })
    }

    fn reason(answer: &mut oneshot::Receiver<Answer>) -> Reason {
        answer.try_recv().unwrap().err().unwrap().reason
    }

    fn found(id: u64) -> proto::Reply {
        let found = proto::Found { version: 7, ..Default::default() };
        proto::Reply { id, outcome: Some(proto::reply::Outcome::Found(found)) }
    }

    #[test]
    fn what_is_known_when_a_session_breaks() {
        let flight = flight(10, 1 << 20);
        let mut answers = Vec::new();
        for (effect, sent, want) in [
            (Effect::Write, true, Reason::WriteOutcomeUnknown),
            (Effect::Write, false, Reason::RegionUnavailable),
            (Effect::Read, true, Reason::RegionUnavailable),
            (Effect::Read, false, Reason::RegionUnavailable),
        ] {
            let (id, answer) = flight.enter(1, effect, None).unwrap();
            assert!(!sent || flight.depart(id));
            answers.push((answer, want));
        }
        flight.close();
        for (answer, want) in &mut answers {
            assert_eq!(reason(answer), *want);
        }
        assert!(flight.is_empty());
        assert_eq!(
            flight.enter(1, Effect::Read, None).err().map(|f| f.reason),
            Some(Reason::RegionUnavailable)
        );
    }

    #[test]
    fn calls_and_bytes_are_bounded_and_come_free() {
        let by_calls = flight(2, 1 << 20);
        let (first, _answer) = by_calls.enter(1, Effect::Write, None).unwrap();
        let (_, _other) = by_calls.enter(1, Effect::Write, None).unwrap();
        assert_eq!(
            by_calls.enter(1, Effect::Read, None).err().map(|f| f.reason),
            Some(Reason::ShardBusy)
        );
        by_calls.arrive(vec![found(first)]);
        assert!(by_calls.enter(1, Effect::Read, None).is_ok());

        let by_bytes = flight(10, 10_000);
        let (big, _answer) = by_bytes.enter(20_000, Effect::Write, None).unwrap();
        assert_eq!(
            by_bytes.enter(1, Effect::Write, None).err().map(|f| f.reason),
            Some(Reason::ShardBusy)
        );
        by_bytes.arrive(vec![found(big)]);
        assert!(by_bytes.enter(1, Effect::Write, None).is_ok());
        assert_eq!(by_bytes.calls().bytes, 1 + CALL_BYTES);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shard_that_answers_nothing_gets_a_call_now_and_then() {
        let flight = flight(100, 1 << 20);
        let enter = || flight.enter(1, Effect::Write, None).map_err(|fault| fault.reason);
        let (first, _answer) = enter().unwrap();
        assert!(flight.depart(first));
        tokio::time::advance(STILL_MAX).await;
        let probe = enter().unwrap();
        assert_eq!(enter().err(), Some(Reason::ShardBusy));
        tokio::time::advance(PROBE_EVERY).await;
        assert!(enter().is_ok(), "the next probe");
        assert_eq!(enter().err(), Some(Reason::ShardBusy));
        // One answer, and it goes on.
        flight.arrive(vec![found(probe.0)]);
        assert!(enter().is_ok() && enter().is_ok());
        // A shard that owes nothing may be silent for as long as it likes.
        let idle = self::flight(100, 1 << 20);
        tokio::time::advance(STILL_MAX * 10).await;
        for _ in 0..3 {
            assert!(idle.enter(1, Effect::Write, None).is_ok());
        }
    }

    #[test]
    fn a_call_that_could_not_be_queued_leaves_nothing_behind() {
        let flight = flight(1, 1 << 20);
        let (id, _answer) = flight.enter(1, Effect::Write, None).unwrap();
        flight.withdraw(id);
        assert!(flight.is_empty() && !flight.leave(id));
        assert!(flight.enter(1, Effect::Write, None).is_ok());
    }

    #[test]
    fn a_call_whose_caller_has_gone_is_not_sent() {
        let flight = flight(1, 1 << 20);
        let (id, answer) = flight.enter(1, Effect::Write, None).unwrap();
        drop(answer);
        assert!(!flight.leave(id));
        assert!(!flight.depart(id));
        assert!(flight.is_empty());
        assert_eq!(flight.calls().bytes, 0);
    }

    #[test]
    fn a_call_that_was_sent_keeps_its_place_until_it_is_answered() {
        let flight = flight(1, 1 << 20);
        let (id, answer) = flight.enter(1, Effect::Write, None).unwrap();
        assert!(flight.depart(id));
        drop(answer);
        assert!(flight.leave(id));
        assert_eq!(
            flight.enter(1, Effect::Write, None).err().map(|f| f.reason),
            Some(Reason::ShardBusy)
        );
        flight.arrive(vec![found(id), found(id), found(99)]);
        assert!(flight.enter(1, Effect::Write, None).is_ok());
    }

    #[test]
    fn draining_answers_what_was_sent_and_sends_nothing_more() {
        let flight = flight(10, 1 << 20);
        let (sent, mut sent_answer) = flight.enter(1, Effect::Write, None).unwrap();
        assert!(flight.depart(sent));
        let (queued, mut queued_answer) = flight.enter(1, Effect::Write, None).unwrap();
        flight.drain();
        assert_eq!(reason(&mut queued_answer), Reason::RegionUnavailable);
        assert!(!flight.depart(queued));
        assert_eq!(
            flight.enter(1, Effect::Read, None).err().map(|f| f.reason),
            Some(Reason::RegionUnavailable)
        );
        flight.arrive(vec![found(sent)]);
        assert!(sent_answer.try_recv().unwrap().is_ok());
        assert!(flight.is_empty());
    }
}
