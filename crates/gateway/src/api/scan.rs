//! `Scan`: all records of a collection in one region, one shard after the other, page after page. The
//! gateway asks for a page when the caller has taken the one before.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use terms::limits::{LIST_PAGE_BYTES_MAX, LIST_PAGE_MAX};
use terms::{Reason, Rejection, ShardId};
use tokio::time::Instant;
use tonic::Status;
use wire::session::{self as proto, call::Op};
use wire::v1;

use crate::api::context::{Call, CallContext};
use crate::api::list::{Asked, send, shards, to_api};
use crate::api::list_request::{Choice, Questions};

/// Time for one page of a shard.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// One scan.
struct Scan {
    ctx: Arc<CallContext>,
    call: Call,
    choice: Choice,
    view: v1::RecordView,
    /// What bodies are answered sealed to; empty: they are plain, or there are none.
    questions: Questions,
    /// Shards that are not done, and where the first of them goes on.
    left: VecDeque<ShardId>,
    cursor: Bytes,
    /// When the caller's deadline is.
    ends: Option<Instant>,
}

/// The records that a caller asks for, as they come.
pub(crate) fn records(
    ctx: Arc<CallContext>,
    mut call: Call,
    request: v1::ScanRecordsRequest,
) -> Result<impl Stream<Item = Result<v1::ScanRecordsResponse, Status>> + Send + 'static, Status> {
    let caller = Arc::clone(&call.admitted.acting.caller);
    let pinned = ctx.pin();
    let read = pinned.reader(&caller).scan(request);
    let begun = read.and_then(|(choice, view, questions)| {
        let asked = shards(&pinned, &caller, &choice, None)?;
        let left: Option<VecDeque<_>> = asked.into_iter().map(|asked| asked.shard).collect();
        Ok((choice, view, questions, left.ok_or(Reason::RegionUnavailable)?))
    });
    let (choice, view, questions, left) = begun.map_err(|rejection| call.refuse(&rejection))?;
    let (ends, cursor) = (call.deadline.of_stream(), Bytes::new());
    let scan = Scan { ctx, call, choice, view, questions, left, cursor, ends };
    Ok(unfold(Some(scan), |scan| async move {
        let mut scan = scan?;
        match scan.page().await {
            Ok(Some(page)) => Some((Ok(page), Some(scan))),
            Ok(None) => {
                scan.call.done();
                None
            }
            Err(rejection) => Some((Err(scan.call.refuse(&rejection)), None)),
        }
    }))
}

impl Scan {
    /// The next page. None: there is no other.
    async fn page(&mut self) -> Result<Option<v1::ScanRecordsResponse>, Rejection> {
        let Some(shard) = self.left.front() else { return Ok(None) };
        self.call.still_identified()?;
        if *self.ctx.stopping.borrow() {
            return Err(Reason::ShuttingDown.into());
        }
        if self.ends.is_some_and(|ends| Instant::now() >= ends) {
            return Err(Reason::DeadlinePassed.into());
        }
        let (call, choice) = (&self.call, &self.choice);
        call.admitted.permit.has_room()?;
        let pinned = self.ctx.pin();
        let asked = shards(&pinned, &call.admitted.acting.caller, choice, None)?;
        let asked = asked.into_iter().find(|asked| asked.shard.as_ref() == Some(shard));
        // A shard that an annex has taken away, or a region without an annex.
        let Some(Asked { region, route: Some(route), .. }) = asked else {
            return Err(Reason::RegionUnavailable.into());
        };
        let op = Op::List(proto::List {
            view: self.view.into(),
            page_size: u32::try_from(LIST_PAGE_MAX).unwrap_or(u32::MAX),
            bytes_max: u32::try_from(LIST_PAGE_BYTES_MAX).unwrap_or(u32::MAX),
            cursor: self.cursor.clone(),
            scan: true,
            ..choice.to_wire(self.questions.get(&region))
        });
        let until = Instant::now() + ANSWER_MAX;
        let until = self.ends.map_or(until, |ends| ends.min(until));
        let listed = send(call, route, until, op).await?;
        let withheld = i64::try_from(listed.withheld).unwrap_or(i64::MAX);
        let mut page = v1::ScanRecordsResponse { withheld, ..Default::default() };
        let mut bytes = 0;
        for record in listed.records {
            bytes += record.body.len() + record.attributes.len() + record.subject.len();
            page.records.push(to_api(choice, region.clone(), record)?);
        }
        // Held until the next page is made.
        call.admitted.permit.hold(bytes)?;
        self.cursor = listed.next;
        if self.cursor.is_empty() {
            self.left.pop_front();
        }
        Ok(Some(page))
    }
}
