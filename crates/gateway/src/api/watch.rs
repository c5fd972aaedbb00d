//! `Watch`: what changes in a region, by asking its shards again and again for what is new in their
//! feeds. A shard answers at once, so that a watcher takes nothing of it while nothing changes; and
//! the gateway asks again only when the caller has taken what was told.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::future::join_all;
use futures_util::stream::unfold;
use terms::limits::{LIST_PAGE_BYTES_MAX, LIST_PAGE_DEFAULT};
use terms::{Reason, Rejection};
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep_until};
use tonic::Status;
use wire::session::{self as proto, call::Op};
use wire::v1;

use crate::api::context::{Call, CallContext};
use crate::api::list::{Asked, send, shards, to_api};
use crate::api::list_request::Choice;
use crate::api::page_token::{self, Place, ShardPlace};

/// Time between two questions while nothing changes, at first; then twice as much, up to the longest.
const IDLE_MIN: Duration = Duration::from_millis(50);
/// The longest such time.
const IDLE_MAX: Duration = Duration::from_secs(1);
/// Time between two answers, if nothing changes.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Time for one question to a shard.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// One watch.
struct Watch {
    ctx: Arc<CallContext>,
    call: Call,
    choice: Choice,
    /// None: it begins.
    places: Option<Vec<ShardPlace>>,
    /// When the shards are asked next.
    next: Instant,
    idle: Duration,
    /// When an answer is due, changes or not.
    due: Instant,
    /// When the caller's deadline is.
    ends: Option<Instant>,
    stopping: Receiver<bool>,
}

/// What the shards have answered.
struct Told {
    response: v1::WatchRecordsResponse,
    /// There is more just now.
    more: bool,
}

/// The changes that a caller asks for, as they come.
pub(crate) fn changes(
    ctx: Arc<CallContext>,
    mut call: Call,
    request: v1::WatchRecordsRequest,
) -> Result<impl Stream<Item = Result<v1::WatchRecordsResponse, Status>> + Send + 'static, Status> {
    let caller = Arc::clone(&call.admitted.acting.caller);
    let read = ctx.pin().reader(&caller).watch(request);
    let (choice, places) = read.map_err(|rejection| call.refuse(&rejection))?;
    let now = Instant::now();
    let (ends, stopping) = (call.deadline.of_stream(), ctx.stopping.clone());
    let watch =
        Watch { ctx, call, choice, places, next: now, idle: IDLE_MIN, due: now, ends, stopping };
    Ok(unfold(Some(watch), |watch| async move {
        let mut watch = watch?;
        match watch.answer().await {
            Ok(response) => Some((Ok(response), Some(watch))),
            Err(rejection) => Some((Err(watch.call.refuse(&rejection)), None)),
        }
    }))
}

impl Watch {
    /// The next answer: with changes, or because one is due.
    async fn answer(&mut self) -> Result<v1::WatchRecordsResponse, Rejection> {
        loop {
            self.wait().await?;
            let Told { response, more } = self.ask().await?;
            let now = Instant::now();
            let told = !response.changes.is_empty() || response.withheld > 0;
            self.idle = if told { IDLE_MIN } else { (self.idle * 2).min(IDLE_MAX) };
            self.next = if more { now } else { now + self.idle };
            if told || now >= self.due {
                self.due = now + HEARTBEAT;
                return Ok(response);
            }
        }
    }

    /// Waits until the shards are to be asked.
    async fn wait(&mut self) -> Result<(), Rejection> {
        let ends = self.ends;
        let over = async {
            match ends {
                Some(ends) => sleep_until(ends).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = over => return Err(Reason::DeadlinePassed.into()),
            _stops = self.stopping.wait_for(|stops| *stops) => {
                return Err(Reason::ShuttingDown.into());
            }
            () = sleep_until(self.next) => {}
        }
        self.call.still_identified()
    }

    /// Asks all shards for what is new since the last time.
    async fn ask(&mut self) -> Result<Told, Rejection> {
        let (call, choice) = (&self.call, &self.choice);
        let caller = &*call.admitted.acting.caller;
        let pinned = self.ctx.pin();
        let asked = shards(&pinned, caller, choice, None)?;
        if asked.iter().any(|shard| shard.route.is_none()) {
            return Err(Reason::RegionUnavailable.into());
        }
        let asked = match &self.places {
            None => asked,
            // A shard that an annex has added has changes of which the cursor knows nothing.
            Some(places) if places.len() != asked.len() => return Err(other_shards()),
            Some(places) => {
                shards(&pinned, caller, choice, Some(places)).map_err(|_| other_shards())?
            }
        };
        let bytes = u32::try_from(LIST_PAGE_BYTES_MAX / asked.len().max(1)).unwrap_or(u32::MAX);
        let until = Instant::now() + ANSWER_MAX;
        let until = self.ends.map_or(until, |ends| ends.min(until));
        let answers = asked.into_iter().map(|Asked { region, shard, route, place }| {
            let cursor = match place {
                Place::From(cursor) => cursor,
                Place::Lost => Bytes::new(),
            };
            let op = Op::List(proto::List {
                view: v1::RecordView::Attributes.into(),
                page_size: u32::try_from(LIST_PAGE_DEFAULT).unwrap_or(u32::MAX),
                bytes_max: bytes,
                cursor,
                changes: true,
                ..choice.to_wire(None)
            });
            async move {
                let (Some(route), Some(shard)) = (route, shard) else {
                    return Err(Rejection::from(Reason::RegionUnavailable));
                };
                let listed = send(call, route, until, op).await.map_err(of_cursor)?;
                Ok((region, shard, listed))
            }
        });
        let (mut response, mut more) = (v1::WatchRecordsResponse::default(), false);
        let (mut places, mut bytes) = (Vec::new(), 0);
        for answer in join_all(answers).await {
            let (region, shard, listed) = answer?;
            more |= listed.more;
            response.withheld += i64::try_from(listed.withheld).unwrap_or(i64::MAX);
            for mut record in listed.records {
                bytes += record.attributes.len() + record.subject.len() + record.key.len();
                let kind = std::mem::take(&mut record.change);
                let record = Some(to_api(choice, region.clone(), record)?);
                response.changes.push(v1::RecordChange { kind, record });
            }
            places.push(ShardPlace { region, shard, place: Place::From(listed.next) });
        }
        response.cursor = page_token::encode(&places, &choice.regions);
        // Held until the next answer is made.
        call.admitted.permit.hold(bytes)?;
        self.places = Some(places);
        Ok(Told { response, more })
    }
}

/// The region has other shards than when the cursor was made.
fn other_shards() -> Rejection {
    Rejection::new(Reason::CursorExpired).field("cursor")
}

/// A place that is refused is the cursor's.
fn of_cursor(fault: Rejection) -> Rejection {
    if fault.reason == Reason::PageTokenInvalid { fault.field("cursor") } else { fault }
}
