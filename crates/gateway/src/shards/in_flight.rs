//! The calls in flight on one session, and what is known of each when the session breaks. That
//! depends on one thing: whether the call may have reached the shard.
//!
//! A shard that answers nothing for [`STALL_MAX`] while calls wait is stalled. Further calls to it are
//! refused at once, except for one in [`PROBE_EVERY`]: its answer shows that the shard works again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use terms::limits::{SESSION_BYTES_IN_FLIGHT_MAX, SESSION_IN_FLIGHT_MAX};
use terms::{Detail, Reason, RegionId, Rejection};
use tokio::sync::oneshot;
use tokio::time::Instant;
use wire::session as proto;

use crate::limits::ShardPermit;

/// Time without any answer after which a shard that owes some is stalled.
const STALL_MAX: Duration = Duration::from_secs(5);
/// Time between two calls that are sent to such a shard.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// Bytes that a call takes up in addition to its body, for the count of bytes in flight.
const CALL_BYTES: usize = 512;

/// What a caller gets: the shard's answer, or why there is none.
pub(crate) type CallResult = Result<proto::reply::Outcome, Rejection>;

/// The calls in flight on one connection to one shard. It lives as long as the connection.
pub(crate) struct InFlightTable {
    region: RegionId,
    limits: InFlightLimits,
    calls: Mutex<Calls>,
}

/// How much may be in flight at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InFlightLimits {
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
    /// When a call was last taken although the shard is stalled.
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
    caller: Option<oneshot::Sender<CallResult>>,
    bytes: usize,
    effect: Effect,
    /// Whether it may have reached the shard.
    sent: bool,
    /// Given back when the call is no longer in flight, and not before.
    _permit: Option<ShardPermit>,
}

/// Whether a call can change what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It can: when its answer is lost, its outcome is not known.
    Write,
    /// It cannot: when its answer is lost, nothing has happened.
    Read,
}

impl Effect {
    /// Of a write that is carried out, or only checked.
    pub(crate) const fn of_write(validate_only: bool) -> Self {
        if validate_only { Self::Read } else { Self::Write }
    }
}

impl InFlightLimits {
    pub(crate) const OF_A_SESSION: Self =
        Self { calls_max: SESSION_IN_FLIGHT_MAX, bytes_max: SESSION_BYTES_IN_FLIGHT_MAX };
}

impl InFlightTable {
    pub(crate) fn new(region: RegionId, limits: InFlightLimits) -> Self {
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

    /// Registers a call.
    ///
    /// # Errors
    /// `SHARD_BUSY` when there is no room, or the shard is stalled; `REGION_UNAVAILABLE` when the
    /// session is ending.
    pub(crate) fn register(
        &self,
        body: usize,
        effect: Effect,
        permit: Option<ShardPermit>,
    ) -> Result<(u64, oneshot::Receiver<CallResult>), Rejection> {
        let bytes = body.saturating_add(CALL_BYTES);
        let mut calls = self.calls();
        if calls.stage != Stage::Open {
            return Err(self.unavailable());
        }
        let full = calls.waiting.len() >= self.limits.calls_max
            // One call may always go, however small the limit.
            || calls.bytes.saturating_add(bytes) > self.limits.bytes_max && calls.bytes > 0;
        if full || calls.is_stalled(Instant::now()) {
            return Err(self.busy());
        }
        let (caller, answer) = oneshot::channel();
        let id = calls.next;
        calls.next += 1;
        calls.bytes += bytes;
        let waiting = Waiting { caller: Some(caller), bytes, effect, sent: false, _permit: permit };
        calls.waiting.insert(id, waiting);
        Ok((id, answer))
    }

    /// Registers puts of which all are sent or none: their ids follow one another.
    ///
    /// # Errors
    /// As [`InFlightTable::register`].
    pub(crate) fn register_all(
        &self,
        puts: impl Iterator<Item = (usize, Option<ShardPermit>)>,
        effect: Effect,
    ) -> Result<(u64, Vec<oneshot::Receiver<CallResult>>), Rejection> {
        let waiting: Vec<_> = puts
            .map(|(body, permit)| {
                let (caller, answer) = oneshot::channel();
                let bytes = body.saturating_add(CALL_BYTES);
                let caller = Some(caller);
                (Waiting { caller, bytes, effect, sent: false, _permit: permit }, answer)
            })
            .collect();
        let bytes: usize = waiting.iter().map(|(waiting, _)| waiting.bytes).sum();
        let mut calls = self.calls();
        if calls.stage != Stage::Open {
            return Err(self.unavailable());
        }
        let full = calls.waiting.len() + waiting.len() > self.limits.calls_max
            || calls.bytes.saturating_add(bytes) > self.limits.bytes_max;
        if full || calls.is_stalled(Instant::now()) {
            return Err(self.busy());
        }
        let first = calls.next;
        let mut answers = Vec::with_capacity(waiting.len());
        for (waiting, answer) in waiting {
            let id = calls.next;
            calls.next += 1;
            calls.bytes += waiting.bytes;
            calls.waiting.insert(id, waiting);
            answers.push(answer);
        }
        Ok((first, answers))
    }

    /// Marks as sent a message that has the calls from that id on, all of them or none.
    pub(crate) fn sent_all(&self, first: u64, calls: u64) -> bool {
        let ids = first..first.saturating_add(calls);
        let mut table = self.calls();
        let waits = |waiting: &Waiting| waiting.caller.as_ref().is_some_and(|c| !c.is_closed());
        let all = table.stage == Stage::Open
            && ids.clone().all(|id| table.waiting.get(&id).is_some_and(waits));
        for id in ids {
            match table.waiting.get_mut(&id) {
                Some(waiting) if all => waiting.sent = true,
                // One whose caller has gone is not sent, and so none of them is.
                _ => drop(table.remove(id)),
            }
        }
        all
    }

    /// Marks a call as sent when it leaves the queue, unless its caller has gone; gives whether to
    /// send it. From then on it may have reached the shard.
    pub(crate) fn sent(&self, id: u64) -> bool {
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

    /// Removes a call that could not be queued: it will never be sent.
    pub(crate) fn withdraw(&self, id: u64) {
        self.calls().remove(id);
    }

    /// Hands replies to their callers.
    pub(crate) fn complete(&self, replies: Vec<proto::Reply>) {
        let mut ready = Vec::with_capacity(replies.len());
        let mut calls = self.calls();
        if !replies.is_empty() {
            (calls.progress, calls.probe) = (Instant::now(), None);
        }
        for reply in replies {
            // A reply without a call: its caller has gone, or the shard counts wrongly.
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

    /// The caller has gone. Gives whether its call may have reached the shard. A call that may
    /// have stays in the table until the shard answers: it is still the shard's work.
    pub(crate) fn abandon(&self, id: u64) -> bool {
        let mut calls = self.calls();
        match calls.waiting.get_mut(&id) {
            Some(waiting) => {
                waiting.caller = None;
                waiting.sent
            }
            None => false,
        }
    }

    /// Sends nothing more: calls that still wait in the queue are answered at once that they were
    /// not sent.
    pub(crate) fn drain(&self) {
        let mut calls = self.calls();
        if calls.stage == Stage::Open {
            calls.stage = Stage::Draining;
        }
        let queued: Vec<u64> =
            calls.waiting.iter().filter(|(_, w)| !w.sent).map(|(id, _)| *id).collect();
        let lost: Vec<Waiting> = queued.into_iter().filter_map(|id| calls.remove(id)).collect();
        drop(calls);
        self.report(lost);
    }

    /// For how long the shard has owed answers and given none.
    pub(crate) fn owed_for(&self) -> Duration {
        let calls = self.calls();
        if calls.waiting.is_empty() { Duration::ZERO } else { calls.progress.elapsed() }
    }

    /// Whether no call waits for an answer.
    pub(crate) fn is_empty(&self) -> bool {
        self.calls().waiting.is_empty()
    }

    /// The connection is gone: every caller gets what is known of its call.
    pub(crate) fn close(&self) {
        let mut calls = self.calls();
        calls.stage = Stage::Closed;
        calls.bytes = 0;
        let lost: Vec<Waiting> = calls.waiting.drain().map(|(_, waiting)| waiting).collect();
        drop(calls);
        self.report(lost);
    }

    fn report(&self, lost: Vec<Waiting>) {
        for waiting in lost {
            let Some(caller) = waiting.caller else { continue };
            let rejection = match (waiting.effect, waiting.sent) {
                (Effect::Write, true) => self.unknown(),
                (Effect::Write, false) | (Effect::Read, _) => self.unavailable(),
            };
            caller.send(Err(rejection)).ok();
        }
    }

    fn rejection(&self, reason: Reason) -> Rejection {
        Rejection::new(reason).with(Detail::Region, self.region.as_str())
    }

    /// That nothing was sent, and nothing stored.
    pub(crate) fn unavailable(&self) -> Rejection {
        self.rejection(Reason::RegionUnavailable)
    }

    /// That a write may or may not have happened.
    pub(crate) fn unknown(&self) -> Rejection {
        self.rejection(Reason::WriteOutcomeUnknown)
    }

    /// That too much is in flight already.
    pub(crate) fn busy(&self) -> Rejection {
        self.rejection(Reason::ShardBusy)
    }
}

impl Calls {
    /// Whether no call may be added now, because the shard owes answers and gives none.
    fn is_stalled(&mut self, now: Instant) -> bool {
        if self.waiting.is_empty() {
            self.progress = now;
        }
        if now.duration_since(self.progress) < STALL_MAX {
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
mod tests;
