//! The session with one shard as callers see it: send a call, get its answer, or be told exactly
//! what is known of it. Each shard has its own: its own connection, queue and budget, so a shard
//! that is down or slow takes nothing from the others.
//!
//! A call is sent once, to this shard. There is no retry here, and no way to another shard.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwapOption;
use atlas::Epoch;
use terms::{Detail, Reason, RegionId, Rejection, ShardId};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, timeout_at};
use wire::session as proto;

use crate::auth::caller::Acting;
use crate::limits::Load;
use crate::shards::in_flight::{Effect, Flight};

/// Who a shard must show itself to be, and where it is looked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) region: RegionId,
    pub(crate) shard: ShardId,
    /// The country's code, by the map.
    pub(crate) territory: &'static str,
    /// `http://host:port`, by the region's annex.
    pub(crate) address: String,
}

/// One shard, connected or not.
pub(crate) struct Session {
    pub(crate) peer: Peer,
    line: ArcSwapOption<Line>,
    /// The map that the shard holds, as it last said.
    map: ArcSwapOption<Epoch>,
    /// Set when the shard is looked for elsewhere, or no more: then this one reports nothing.
    retired: AtomicBool,
}

/// One connection to the shard, which has shown itself to be the right one.
pub(crate) struct Line {
    pub(crate) flight: Arc<Flight>,
    pub(crate) queue: mpsc::Sender<proto::Call>,
    /// The origin of the shard's placement log, for receipts.
    pub(crate) origin: Arc<str>,
}

/// One call for a shard.
pub(crate) struct Ask<'a> {
    pub(crate) acting: &'a Acting,
    pub(crate) deadline: Instant,
    pub(crate) effect: Effect,
    /// Bytes of the body, for the session's budget.
    pub(crate) body: usize,
    /// What its tenant has in flight by it.
    pub(crate) load: Load,
    pub(crate) op: proto::call::Op,
}

/// A shard's answer, and the log in which it stands.
pub(crate) struct Answered {
    pub(crate) outcome: proto::reply::Outcome,
    pub(crate) origin: Arc<str>,
}

impl Session {
    pub(crate) fn new(peer: Peer) -> Self {
        Self {
            peer,
            line: ArcSwapOption::empty(),
            map: ArcSwapOption::empty(),
            retired: AtomicBool::new(false),
        }
    }

    /// The shard is looked for elsewhere, or no more.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    /// Whether it speaks for its shard no more.
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// The map that the shard holds, as it last said.
    pub(crate) fn map(&self) -> Option<Epoch> {
        self.map.load().as_deref().copied()
    }

    /// The shard has said which map it holds.
    pub(crate) fn heard_map(&self, epoch: Epoch) {
        self.map.store(Some(Arc::new(epoch)));
    }

    /// Puts a connection into use, in the place of the one before.
    pub(crate) fn use_line(&self, line: Arc<Line>) {
        self.line.store(Some(line));
    }

    /// Takes a connection out of use; if another is in use already, it stays.
    pub(crate) fn leave_line(&self, left: &Weak<Line>) {
        self.line.compare_and_swap(left.as_ptr(), None);
    }

    /// Whether there is a connection in use.
    pub(crate) fn is_up(&self) -> bool {
        self.line.load().is_some()
    }

    /// Sends a call and waits for its answer, at most until its deadline.
    ///
    /// # Errors
    /// The shard's own; `REGION_UNAVAILABLE` and `SHARD_BUSY` when nothing was sent;
    /// `DEADLINE_PASSED` when time ran out and nothing was changed; `WRITE_OUTCOME_UNKNOWN` when a
    /// write was sent and its answer is lost or late.
    pub(crate) async fn call(&self, ask: Ask<'_>, map_epoch: u64) -> Result<Answered, Rejection> {
        let Ask { acting, deadline, effect, body, load, op } = ask;
        let call = proto::Call {
            tenant: acting.caller.tenant.as_str().to_owned(),
            caller: Some(acting.to_wire()),
            map_epoch,
            op: Some(op),
            ..Default::default()
        };
        self.send(call, (deadline, effect, body), Some(load)).await
    }

    /// Sends a call of the gateway itself, about maps, and waits for its answer.
    ///
    /// # Errors
    /// As [`Session::call`].
    pub(crate) async fn of_gateway(
        &self,
        op: proto::call::Op,
        deadline: Instant,
    ) -> Result<proto::reply::Outcome, Rejection> {
        let call = proto::Call { op: Some(op), ..Default::default() };
        // Whether a map was taken is asked again: nothing is lost with an answer.
        let answered = self.send(call, (deadline, Effect::Read, 0), None).await?;
        Ok(answered.outcome)
    }

    async fn send(
        &self,
        call: proto::Call,
        (deadline, effect, body): (Instant, Effect, usize),
        load: Option<Load>,
    ) -> Result<Answered, Rejection> {
        let Some(line) = self.line.load_full() else {
            let region = self.peer.region.as_str();
            return Err(Rejection::new(Reason::RegionUnavailable).with(Detail::Region, region));
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let deadline_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
        if deadline_ms == 0 {
            return Err(Reason::DeadlinePassed.into());
        }
        let (id, answer) = line.flight.enter(body, effect, load)?;
        let place = Place { flight: &line.flight, id };
        let call = proto::Call { id, deadline_ms, ..call };
        if let Err(refused) = line.queue.try_send(call) {
            line.flight.withdraw(id);
            return Err(match refused {
                TrySendError::Full(_) => line.flight.busy(),
                TrySendError::Closed(_) => line.flight.unavailable(),
            });
        }
        match timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => {
                // The place was given back with the answer.
                std::mem::forget(place);
                answer.map(|outcome| Answered { outcome, origin: Arc::clone(&line.origin) })
            }
            // The flight tells everybody before it forgets them; should it not have, the worse
            // is assumed.
            Ok(Err(_)) => Err(place.given_up(effect)),
            Err(_) => Err(place.given_up(effect)),
        }
    }
}

/// A call's place in flight. Dropped with the caller's future, it says that the caller has gone.
struct Place<'a> {
    flight: &'a Flight,
    id: u64,
}

impl Place<'_> {
    /// The caller waits no longer: what is known of its call.
    fn given_up(self, effect: Effect) -> Rejection {
        let sent = self.flight.leave(self.id);
        match effect {
            Effect::Write if sent => self.flight.unknown(),
            Effect::Write | Effect::Read => Reason::DeadlinePassed.into(),
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.flight.leave(self.id);
    }
}
