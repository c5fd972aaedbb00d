//! One lane: a stream of puts, and who waits for which answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use terms::Reason;
use terms::limits::STREAM_IN_FLIGHT_MAX;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tonic::Streaming;
use wire::v1::stream_put_request::Write;
use wire::v1::stream_put_response::Outcome;

use crate::token::Bearer;
use crate::{Error, Refused, api};

/// Puts on one lane: as many as a gateway works on at once.
pub(super) const CALLS_MAX: usize = STREAM_IN_FLIGHT_MAX;
/// Bytes of the puts on one lane: half of what a gateway works on at once.
const BYTES_MAX: usize = 8 << 20;
/// How long a lane stays open with nothing on it.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// How often a lane is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A stream of puts. A caller waits for the answer to each.
pub(super) struct Lane {
    /// The token that it was opened with.
    bearer: Option<Bearer>,
    /// When another should take its place.
    old_at: Instant,
    calls: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    state: Mutex<State>,
}

struct State {
    /// None: it takes no more puts.
    sender: Option<mpsc::Sender<api::StreamPutRequest>>,
    /// The next put's place in the stream. No place is used twice, so a late answer cannot reach
    /// another put.
    next: u64,
    /// What was sent and is not answered, whether its caller still waits or not.
    waiting: HashMap<u64, Waiting>,
    /// When the last put came.
    last: Instant,
}

struct Waiting {
    request_id: String,
    answer: oneshot::Sender<Result<Outcome, Lost>>,
    /// Given back when the put is answered, and not before: the gateway still works on it.
    _room: Room,
}

struct Room {
    _call: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

/// Why a put has no answer of its own.
#[derive(Clone)]
pub(crate) enum Lost {
    /// It may have been done or not.
    Unknown,
    /// The gateway ended the stream before it read the put. It answers all that it has read first.
    NotRead(Box<Refused>),
}

/// Room on a lane for one put.
pub(crate) struct Place {
    lane: Arc<Lane>,
    room: Room,
}

/// A put that is on a lane.
pub(crate) struct Sent {
    lane: Arc<Lane>,
    answer: oneshot::Receiver<Result<Outcome, Lost>>,
    until: Instant,
    answered: bool,
}

impl Lane {
    /// A lane on a stream that is open.
    pub(super) fn start(
        bearer: Option<Bearer>,
        old_at: Instant,
        sender: mpsc::Sender<api::StreamPutRequest>,
        answers: Streaming<api::StreamPutResponse>,
    ) -> Arc<Self> {
        let (sender, last) = (Some(sender), Instant::now());
        let lane = Arc::new(Self {
            bearer,
            old_at,
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
            bytes: Arc::new(Semaphore::new(BYTES_MAX)),
            state: Mutex::new(State { sender, next: 0, waiting: HashMap::new(), last }),
        });
        let end = End(Arc::clone(&lane), Lost::Unknown);
        tokio::spawn(end.after(answers));
        lane
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it takes puts with that token.
    pub(super) fn carries(&self, bearer: Option<&Bearer>) -> bool {
        self.bearer.as_ref() == bearer && !self.calls.is_closed()
    }

    pub(super) fn is_old(&self, now: Instant) -> bool {
        now >= self.old_at
    }

    /// Puts that it has room for.
    pub(super) fn free(&self) -> usize {
        self.calls.available_permits()
    }

    /// Waits for room. None: the lane takes no more.
    pub(super) async fn place(self: Arc<Self>, bytes: usize) -> Option<Place> {
        let call = Arc::clone(&self.calls).acquire_owned().await.ok()?;
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(u32::try_from(bytes).ok()?);
        let room = Room { _call: call, _bytes: bytes.await.ok()? };
        Some(Place { lane: self, room })
    }

    /// Takes no more puts. Those on it are still answered.
    pub(super) fn retire(&self) {
        self.close(&mut self.state());
    }

    fn close(&self, state: &mut State) {
        state.sender = None;
        self.calls.close();
        self.bytes.close();
    }

    /// Hands an answer to the put that it is for.
    ///
    /// # Errors
    /// It is for none, or says nothing: then no answer of this stream can be believed.
    fn answered(&self, answer: api::StreamPutResponse) -> Result<(), Unmatched> {
        let api::StreamPutResponse { index, request_id, outcome } = answer;
        let mut state = self.state();
        let waiting = state.waiting.get(&index).ok_or(Unmatched)?;
        let outcome = outcome.filter(|_| waiting.request_id == request_id).ok_or(Unmatched)?;
        let waiting = state.waiting.remove(&index).ok_or(Unmatched)?;
        drop(state);
        // The caller may have gone: then the answer is dropped.
        waiting.answer.send(Ok(outcome)).ok();
        Ok(())
    }

    /// Whether the lane can end: it takes no more puts, and every put on it is answered. One
    /// that was idle for long takes no more.
    fn is_done(&self) -> bool {
        let mut state = self.state();
        if state.waiting.is_empty() && state.last.elapsed() >= IDLE_MAX {
            self.close(&mut state);
        }
        let gone = |waiting: &Waiting| waiting.answer.is_closed();
        state.sender.is_none() && state.waiting.values().all(gone)
    }
}

/// An answer that is to no put of the stream.
struct Unmatched;

/// What a lane ends with, however it ends: also when its task is dropped with its runtime.
struct End(Arc<Lane>, Lost);

impl End {
    /// Takes answers until the stream ends.
    async fn after(mut self, mut answers: Streaming<api::StreamPutResponse>) {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                answer = answers.message() => match answer {
                    Ok(Some(answer)) => {
                        if self.0.answered(answer).is_err() {
                            return;
                        }
                    }
                    Ok(None) => return,
                    Err(status) => {
                        self.1 = Lost::of(status.into());
                        return;
                    }
                },
                _ = look.tick() => if self.0.is_done() {
                    return;
                },
            }
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let Self(lane, lost) = self;
        lane.retire();
        let waiting = std::mem::take(&mut lane.state().waiting);
        for waiting in waiting.into_values() {
            waiting.answer.send(Err(lost.clone())).ok();
        }
    }
}

impl Lost {
    /// What the end of a stream says of the puts that are not answered. A refusal counts if it is
    /// about the caller or the gateway; of another, it is not known whose put it is about.
    fn of(error: Error) -> Self {
        if let Error::Refused(refused) = error
            && (refused.retryable || refused.known() == Some(Reason::IdentityInvalid))
        {
            return Self::NotRead(refused);
        }
        Self::Unknown
    }
}

impl From<Lost> for Error {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::NotRead(refused) => Self::Refused(refused),
            Lost::Unknown => Self::Refused(Box::new(Refused::unknown_outcome())),
        }
    }
}

// === impl Place ===

impl Place {
    /// Sends a put, which must be answered by `until`. Gives it back if the lane takes no more.
    pub(crate) fn send(
        self,
        put: api::PutRecordRequest,
        until: Instant,
    ) -> Result<Sent, Box<api::PutRecordRequest>> {
        let Self { lane, room } = self;
        let now = Instant::now();
        let mut guard = lane.state();
        let state = &mut *guard;
        let Some(Ok(slot)) = state.sender.as_ref().map(mpsc::Sender::try_reserve) else {
            drop(guard);
            return Err(Box::new(put));
        };
        let (caller, answer) = oneshot::channel();
        let waiting = Waiting { request_id: put.request_id.clone(), answer: caller, _room: room };
        // Under the lock, so that places are those of the order of sending.
        slot.send(api::StreamPutRequest {
            write: Some(Write::Put(put)),
            timeout: prost_types::Duration::try_from(until.saturating_duration_since(now)).ok(),
        });
        state.waiting.insert(state.next, waiting);
        state.next += 1;
        state.last = now;
        drop(guard);
        Ok(Sent { lane, answer, until, answered: false })
    }
}

// === impl Sent ===

impl Sent {
    /// Waits for the answer.
    pub(crate) async fn answer(mut self) -> Result<Outcome, Lost> {
        let answer = (&mut self.answer).await;
        self.answered = true;
        // The lane answers every put before it forgets it; should it not have, the worse is assumed.
        answer.unwrap_or(Err(Lost::Unknown))
    }
}

impl Drop for Sent {
    /// A gateway answers each put in its time. A lane on which one was not answered may be stuck.
    fn drop(&mut self) {
        if !self.answered && Instant::now() >= self.until {
            self.lane.retire();
        }
    }
}
