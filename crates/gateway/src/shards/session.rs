//! The session with one shard as callers see it: send a call, and get its answer or exactly what is
//! known of it. Each shard has its own session, with its own connection, queue and budget, so a
//! shard that is down or slow takes nothing from the others.
//!
//! A call is sent once, to this shard. Nothing here retries, or sends to another shard.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwapOption;
use atlas::Epoch;
use bytes::Bytes;
use link::session::{LOCATE_BYTES, LocateKey};
use terms::{
    Detail, Entropy, Reason, RegionId, Rejection, ShardId, Slot, SlotSet, SubjectId, TenantId,
};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OnceCell, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use wire::session as proto;

use crate::auth::caller::Acting;
use crate::limits::ShardPermit;
use crate::shards::in_flight::{CallResult, Effect, InFlightTable};

/// The shard that a session is with, and where it is reached.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ShardTarget {
    pub(crate) region: RegionId,
    pub(crate) shard: ShardId,
    /// The country's code, by the map.
    pub(crate) territory: &'static str,
    /// `http://host:port`, by the region's annex.
    pub(crate) address: String,
    /// The same of its other processes: one of all these answers.
    pub(crate) standbys: Vec<String>,
}

/// One shard, connected or not.
pub(crate) struct Session {
    pub(crate) target: ShardTarget,
    connection: ArcSwapOption<ShardConnection>,
    /// The map that the shard holds, as it last reported.
    map: ArcSwapOption<Epoch>,
    /// The slots that the shard owns, as it last said.
    slots: ArcSwapOption<SlotSet>,
    /// Set when the shard has moved to another address or left: then this session reports nothing.
    retired: AtomicBool,
}

/// One connection to the shard, which has shown itself to be the right one.
pub(crate) struct ShardConnection {
    pub(crate) in_flight: Arc<InFlightTable>,
    pub(crate) queue: mpsc::Sender<proto::Call>,
    /// The origin of the shard's placement log, for receipts.
    pub(crate) origin: Arc<str>,
    /// The key by which the region is asked for subjects, once it was needed.
    pub(crate) locate: OnceCell<LocateKey>,
}

/// One call of a caller for a shard.
pub(crate) struct ShardCall<'a> {
    pub(crate) acting: &'a Acting,
    pub(crate) deadline: Instant,
    pub(crate) effect: Effect,
    /// Bytes of the body, for the session's budget.
    pub(crate) bytes: usize,
    pub(crate) permit: ShardPermit,
    pub(crate) op: proto::call::Op,
}

/// Puts of one caller for a shard, of which all are done or none.
pub(crate) struct ShardPuts<'a> {
    pub(crate) acting: &'a Acting,
    pub(crate) deadline: Instant,
    pub(crate) effect: Effect,
    pub(crate) puts: Vec<ShardPut>,
}

/// One of them.
pub(crate) struct ShardPut {
    pub(crate) put: proto::Put,
    pub(crate) permit: ShardPermit,
}

/// A shard's answer, and the log in which it stands.
pub(crate) struct ShardAnswer {
    pub(crate) outcome: proto::reply::Outcome,
    pub(crate) origin: Arc<str>,
}

/// How one call is sent.
struct Sending {
    deadline: Instant,
    effect: Effect,
    bytes: usize,
    permit: Option<ShardPermit>,
}

impl Session {
    pub(crate) fn new(target: ShardTarget) -> Self {
        Self {
            target,
            connection: ArcSwapOption::empty(),
            map: ArcSwapOption::empty(),
            slots: ArcSwapOption::empty(),
            retired: AtomicBool::new(false),
        }
    }

    /// The shard has moved to another address, or left.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    /// Whether another session, or none, stands for the shard now.
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// The map that the shard holds, as it last reported.
    pub(crate) fn map(&self) -> Option<Epoch> {
        self.map.load().as_deref().copied()
    }

    pub(crate) fn set_map(&self, epoch: Epoch) {
        self.map.store(Some(Arc::new(epoch)));
    }

    /// The slots that the shard owns, as it last said. `None`: it has not.
    pub(crate) fn slots(&self) -> Option<Arc<SlotSet>> {
        self.slots.load_full()
    }

    /// Whether the shard has said that it owns that slot.
    pub(crate) fn owns(&self, slot: Slot) -> bool {
        self.slots.load().as_deref().is_some_and(|slots| slots.contains(slot))
    }

    /// The shard has said which slots it owns. What is no set of slots says nothing.
    pub(crate) fn set_slots(&self, said: &[u8]) {
        self.slots.store(SlotSet::from_bytes(said).map(Arc::new));
    }

    /// Puts a connection into use, in the place of the one before.
    pub(crate) fn use_connection(&self, connection: Arc<ShardConnection>) {
        self.connection.store(Some(connection));
    }

    /// Takes a connection out of use; if another is in use already, that one stays.
    pub(crate) fn leave_connection(&self, left: &Weak<ShardConnection>) {
        self.connection.compare_and_swap(left.as_ptr(), None);
    }

    /// Whether that connection is the one in use.
    pub(crate) fn uses(&self, connection: &Weak<ShardConnection>) -> bool {
        let own = self.connection.load();
        own.as_ref().is_some_and(|own| std::ptr::eq(Arc::as_ptr(own), connection.as_ptr()))
    }

    /// Whether there is a connection in use.
    pub(crate) fn is_up(&self) -> bool {
        self.connection.load().is_some()
    }

    /// Sends a call and waits for its answer, at most until its deadline.
    ///
    /// # Errors
    /// The shard's own; `REGION_UNAVAILABLE` and `SHARD_BUSY` when nothing was sent;
    /// `DEADLINE_PASSED` when time ran out and nothing was changed; `WRITE_OUTCOME_UNKNOWN` when a
    /// write was sent and its answer is lost or late.
    pub(crate) fn call(
        &self,
        call: ShardCall<'_>,
        map_epoch: u64,
    ) -> impl Future<Output = Result<ShardAnswer, Rejection>> + use<> {
        let ShardCall { acting, deadline, effect, bytes, permit, op } = call;
        let how = Sending { deadline, effect, bytes, permit: Some(permit) };
        let sent = self.send(how, |id, deadline_ms| proto::Call {
            id,
            deadline_ms,
            tenant: acting.caller.tenant.as_str().to_owned(),
            caller: Some(acting.to_wire()),
            map_epoch,
            op: Some(op),
        });
        // Not an `async fn`: its future would hold the whole call, and be copied with it.
        async move { sent?.answer().await }
    }

    /// Sends puts of which all are done or none, and waits for their answers, in their order, at most
    /// until the deadline.
    ///
    /// # Errors
    /// As [`Session::call`], for all of them.
    pub(crate) async fn put_all(
        &self,
        all: ShardPuts<'_>,
        map_epoch: u64,
    ) -> Result<Vec<ShardAnswer>, Rejection> {
        let ShardPuts { acting, deadline, effect, puts } = all;
        let Some(connection) = self.connection.load_full() else {
            let region = self.target.region.as_str();
            return Err(Rejection::new(Reason::RegionUnavailable).with(Detail::Region, region));
        };
        let deadline_ms = milliseconds_until(deadline)?;
        let table = &connection.in_flight;
        let (puts, permits): (Vec<_>, Vec<_>) =
            puts.into_iter().map(|one| (one.put, Some(one.permit))).unzip();
        let bodies = puts.iter().map(|put| put.body.len());
        let (first, waiting) = table.register_all(bodies.zip(permits), effect)?;
        let entry = |id| Entry { connection: Arc::clone(&connection), id, open: true };
        let entries: Vec<Entry> = (first..).take(waiting.len()).map(entry).collect();
        let message = proto::Call {
            id: first,
            deadline_ms,
            tenant: acting.caller.tenant.as_str().to_owned(),
            caller: Some(acting.to_wire()),
            map_epoch,
            op: Some(proto::call::Op::PutAll(proto::PutAll { puts })),
        };
        if let Err(refused) = connection.queue.try_send(message) {
            entries.iter().for_each(|entry| table.withdraw(entry.id));
            return Err(match refused {
                TrySendError::Full(_) => table.busy(),
                TrySendError::Closed(_) => table.unavailable(),
            });
        }
        let mut answers = Vec::with_capacity(waiting.len());
        let mut refused = None;
        for (answer, entry) in waiting.into_iter().zip(entries) {
            match timeout_at(deadline, answer).await {
                // Of several rejections the first says why; the others say the same.
                Ok(Ok(answer)) => match entry.answered(answer) {
                    Ok(answer) => answers.push(answer),
                    Err(rejection) => refused = refused.or(Some(rejection)),
                },
                Ok(Err(_)) | Err(_) => {
                    let rejection = entry.abandon(effect);
                    refused = refused.or(Some(rejection));
                }
            }
        }
        refused.map_or(Ok(answers), Err)
    }

    /// Sends a call of the gateway itself, about maps, and waits for its answer.
    ///
    /// # Errors
    /// As [`Session::call`].
    pub(crate) async fn call_of_gateway(
        &self,
        op: proto::call::Op,
        deadline: Instant,
    ) -> Result<proto::reply::Outcome, Rejection> {
        self.call_about_region(op, deadline, None).await
    }

    /// Sends a question whose answer does not depend on who asks, and waits for its answer. With a
    /// permit it is one of that tenant's calls: a caller's request made the gateway ask.
    ///
    /// # Errors
    /// As [`Session::call`].
    pub(crate) async fn call_about_region(
        &self,
        op: proto::call::Op,
        deadline: Instant,
        permit: Option<ShardPermit>,
    ) -> Result<proto::reply::Outcome, Rejection> {
        // Whether a map was taken is asked again: nothing is lost with an answer.
        let how = Sending { deadline, effect: Effect::Read, bytes: 0, permit };
        let sent = self.send(how, |id, deadline_ms| proto::Call {
            id,
            deadline_ms,
            op: Some(op),
            ..Default::default()
        })?;
        Ok(sent.answer().await?.outcome)
    }

    /// The question for a subject that the shard understands: with its region's key, which it is asked
    /// for once a connection.
    ///
    /// # Errors
    /// As [`Session::call`]; `MAPS_DIFFER` if the shard's map lets no tenant ask.
    pub(crate) async fn question(
        &self,
        tenant: &TenantId,
        subject: &SubjectId,
        entropy: &dyn Entropy,
        deadline: Instant,
    ) -> Result<Bytes, Rejection> {
        let Some(connection) = self.connection.load_full() else {
            return Err(Reason::RegionUnavailable.into());
        };
        let fetch = || async {
            let op = proto::call::Op::LocateKey(proto::LocateKey {});
            let answer = self.call_of_gateway(op, deadline).await?;
            let proto::reply::Outcome::LocateKey(key) = answer else {
                return Err(Rejection::new(Reason::Internal));
            };
            if key.is_empty() {
                return Err(Reason::MapsDiffer.into());
            }
            let key: &[u8; LOCATE_BYTES] = (&*key).try_into().map_err(|_| Reason::Internal)?;
            Ok(LocateKey::new(key))
        };
        let key = connection.locate.get_or_try_init(fetch).await?;
        let question = key.ask(tenant, subject, entropy).map_err(|_| Reason::Internal)?;
        Ok(question.into())
    }

    /// Queues a call for the shard. `message` makes it, of its id and of the milliseconds it has.
    fn send(
        &self,
        how: Sending,
        message: impl FnOnce(u64, u32) -> proto::Call,
    ) -> Result<Sent, Rejection> {
        let Some(connection) = self.connection.load_full() else {
            let region = self.target.region.as_str();
            return Err(Rejection::new(Reason::RegionUnavailable).with(Detail::Region, region));
        };
        let Sending { deadline, effect, bytes, permit } = how;
        let deadline_ms = milliseconds_until(deadline)?;
        let table = &connection.in_flight;
        let (id, answer) = table.register(bytes, effect, permit)?;
        if let Err(refused) = connection.queue.try_send(message(id, deadline_ms)) {
            table.withdraw(id);
            return Err(match refused {
                TrySendError::Full(_) => table.busy(),
                TrySendError::Closed(_) => table.unavailable(),
            });
        }
        let entry = Entry { connection, id, open: true };
        Ok(Sent { entry, answer, deadline, effect })
    }
}

/// A call that is queued, or with the shard.
struct Sent {
    entry: Entry,
    answer: oneshot::Receiver<CallResult>,
    deadline: Instant,
    effect: Effect,
}

impl Sent {
    /// Waits for the answer, at most until the call's deadline.
    async fn answer(self) -> Result<ShardAnswer, Rejection> {
        match timeout_at(self.deadline, self.answer).await {
            Ok(Ok(answer)) => self.entry.answered(answer),
            // The table answers every caller before it forgets it; should it not have, the worse
            // is assumed.
            Ok(Err(_)) | Err(_) => Err(self.entry.abandon(self.effect)),
        }
    }
}

/// The time that is left.
fn milliseconds_until(deadline: Instant) -> Result<u32, Rejection> {
    let left = deadline.saturating_duration_since(Instant::now());
    match u32::try_from(left.as_millis()).unwrap_or(u32::MAX) {
        0 => Err(Reason::DeadlinePassed.into()),
        left => Ok(left),
    }
}

/// A call's entry in the in-flight table. Dropped with the caller's future, it notes that the caller
/// has gone.
struct Entry {
    connection: Arc<ShardConnection>,
    id: u64,
    /// Whether the table still has it.
    open: bool,
}

impl Entry {
    /// The answer has come, and has removed the entry.
    fn answered(mut self, answer: CallResult) -> Result<ShardAnswer, Rejection> {
        self.open = false;
        answer.map(|outcome| ShardAnswer { outcome, origin: Arc::clone(&self.connection.origin) })
    }

    /// The caller waits no longer: what is known of its call.
    fn abandon(mut self, effect: Effect) -> Rejection {
        self.open = false;
        let table = &self.connection.in_flight;
        let sent = table.abandon(self.id);
        match effect {
            Effect::Write if sent => table.unknown(),
            Effect::Write | Effect::Read => Reason::DeadlinePassed.into(),
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.open {
            self.connection.in_flight.abandon(self.id);
        }
    }
}
