//! `BatchGet`, `BatchPut`, `BatchDelete`: many requests in one call, each answered for itself. What one
//! item meets (a region out of reach, a limit) touches no other.
//!
//! An item counts as a call of its tenant while it is worked on, and no more than [`AT_ONCE`] items of
//! a batch are worked on at the same time.

use std::collections::HashSet;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use prost::Message as _;
use terms::limits::{BATCH_ITEMS_MAX, BODY_BYTES_MAX, FRAME_BYTES_MAX};
use terms::{Detail, Reason, Rejection};
use tonic_types::pb;
use wire::v1;

use crate::api::context::{Admitted, Call, CallContext};
use crate::api::delete::delete;
use crate::api::get::get;
use crate::api::put::put;
use crate::method::Method;

/// Items of one batch that are worked on at the same time.
const AT_ONCE: usize = 128;
/// Bytes of the records in one answer, names and attributes included. The largest record fits.
const RECORDS_BYTES_MAX: usize = BODY_BYTES_MAX + (512 << 10);
const _: () = assert!(RECORDS_BYTES_MAX + (256 << 10) < FRAME_BYTES_MAX);

/// Regions that the puts of one answer name as unreachable. If there are more, each is named once: so the
/// answer stays within what callers decode.
const UNREACHABLE_MAX: usize = 65_536;

/// Reads many records.
pub(crate) async fn get_all(
    ctx: &CallContext,
    call: &Call,
    request: v1::BatchGetRecordsRequest,
) -> Result<v1::BatchGetRecordsResponse, Rejection> {
    use v1::{BatchGetResult as Item, batch_get_result::Outcome};
    let deadline = call.deadline.of_call();
    let one =
        |admitted: Admitted, request| async move { get(ctx, &admitted, deadline, request).await };
    let mut bytes = 0_usize;
    let keep = |found: &v1::Record| {
        let sum = bytes.saturating_add(found.encoded_len());
        if sum > RECORDS_BYTES_MAX {
            return Err(Rejection::new(Reason::BatchFull).with(Detail::Limit, RECORDS_BYTES_MAX));
        }
        // Held until the answer has left the process.
        call.admitted.permit.hold(sum)?;
        bytes = sum;
        Ok(())
    };
    let results = each(call, request.requests, one, keep).await?;
    let item = |outcome: Result<_, _>| Item {
        outcome: Some(outcome.map_or_else(Outcome::Error, Outcome::Record)),
    };
    Ok(v1::BatchGetRecordsResponse { results: results.into_iter().map(item).collect() })
}

/// Puts many records.
pub(crate) async fn put_all(
    ctx: &CallContext,
    call: &Call,
    request: v1::BatchPutRecordsRequest,
) -> Result<v1::BatchPutRecordsResponse, Rejection> {
    use v1::{BatchPutResult as Item, batch_put_result::Outcome};
    let deadline = call.deadline.of_call();
    let one =
        |admitted: Admitted, request| async move { put(ctx, &admitted, deadline, request).await };
    let mut results = each(call, request.requests, one, |_| Ok(())).await?;
    name_once(&mut results, UNREACHABLE_MAX);
    let item = |outcome: Result<_, _>| Item {
        outcome: Some(outcome.map_or_else(Outcome::Error, Outcome::Done)),
    };
    Ok(v1::BatchPutRecordsResponse { results: results.into_iter().map(item).collect() })
}

/// Names each unreachable region with the first put that it is about, if all puts name more than so many.
fn name_once(results: &mut [Result<v1::PutRecordResponse, pb::Status>], most: usize) {
    let named: usize = results.iter().flatten().map(|done| done.unreachable.len()).sum();
    if named <= most {
        return;
    }
    let mut known = HashSet::new();
    for done in results.iter_mut().flatten() {
        let new = |missing: &v1::RegionMissing| {
            known.insert((missing.region.clone(), missing.reason.clone()))
        };
        done.unreachable.retain(new);
    }
}

/// Deletes many records.
pub(crate) async fn delete_all(
    ctx: &CallContext,
    call: &Call,
    request: v1::BatchDeleteRecordsRequest,
) -> Result<v1::BatchDeleteRecordsResponse, Rejection> {
    use v1::{BatchDeleteResult as Item, batch_delete_result::Outcome};
    let deadline = call.deadline.of_call();
    let one = |admitted: Admitted, request| async move {
        delete(ctx, &admitted, deadline, request).await
    };
    let results = each(call, request.requests, one, |_| Ok(())).await?;
    let item = |outcome: Result<_, _>| Item {
        outcome: Some(outcome.map_or_else(Outcome::Error, Outcome::Done)),
    };
    Ok(v1::BatchDeleteRecordsResponse { results: results.into_iter().map(item).collect() })
}

/// Whether a batch may have so many items.
pub(crate) fn check_count(count: usize, most: usize) -> Result<(), Rejection> {
    let rejection = match count {
        0 => Rejection::new(Reason::FieldMissing),
        count if count > most => Rejection::new(Reason::TooManyItems).with(Detail::Limit, most),
        _ => return Ok(()),
    };
    Err(rejection.field("requests"))
}

/// Works on each item by `one`, and gives what became of each, in their order. What `keep` does not
/// let into the answer is refused.
async fn each<Q, A, F>(
    call: &Call,
    items: Vec<Q>,
    one: impl Fn(Admitted, Q) -> F,
    mut keep: impl FnMut(&A) -> Result<(), Rejection>,
) -> Result<Vec<Result<A, pb::Status>>, Rejection>
where
    F: Future<Output = Result<A, Rejection>>,
{
    check_count(items.len(), BATCH_ITEMS_MAX)?;
    let mut results = Vec::new();
    results.resize_with(items.len(), || None);
    let mut stalled = None;
    let (mut waiting, mut running) = (items.into_iter().enumerate(), FuturesUnordered::new());
    loop {
        while running.len() < AT_ONCE
            && let Some((at, request)) = stalled.take().or_else(|| waiting.next())
        {
            // A batch takes what its tenant may have: one of its items ends first.
            if !running.is_empty() && call.admitted.permit.is_scarce() {
                stalled = Some((at, request));
                break;
            }
            // The bytes of its body are held with those of the whole message.
            let admitted = match call.admit_item(0) {
                Err(busy) if busy.reason == Reason::TenantBusy && !running.is_empty() => {
                    stalled = Some((at, request));
                    break;
                }
                admitted => admitted,
            };
            let item = call.item(Method::BatchItem);
            let work = admitted.map(|admitted| one(admitted, request));
            running.push(async move {
                let done = match work {
                    Ok(work) => work.await,
                    Err(rejection) => Err(rejection),
                };
                (at, item, done)
            });
        }
        let Some((at, item, done)) = running.next().await else { break };
        let done = done.and_then(|answer| keep(&answer).map(|()| answer));
        let done = done.map_err(|rejection| item.refuse(&rejection));
        if done.is_ok() {
            item.done();
        }
        if let Some(slot) = results.get_mut(at) {
            *slot = Some(done);
        }
    }
    results.into_iter().collect::<Option<Vec<_>>>().ok_or_else(|| Reason::Internal.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(regions: &[&str]) -> Result<v1::PutRecordResponse, pb::Status> {
        let missing = |region: &&str| v1::RegionMissing {
            region: (*region).to_owned(),
            reason: "REGION_UNAVAILABLE".to_owned(),
        };
        let unreachable = regions.iter().map(missing).collect();
        Ok(v1::PutRecordResponse { unreachable, ..Default::default() })
    }

    #[test]
    fn of_many_unreachable_regions_each_is_named_once() {
        let all =
            || vec![done(&["a", "b"]), Err(pb::Status::default()), done(&["b", "c"]), done(&["a"])];
        let named = |most| {
            let mut results = all();
            name_once(&mut results, most);
            let regions = |done: v1::PutRecordResponse| {
                done.unreachable.into_iter().map(|missing| missing.region).collect::<Vec<_>>()
            };
            results.into_iter().flatten().map(regions).collect::<Vec<_>>()
        };
        assert_eq!(named(5), [vec!["a", "b"], vec!["b", "c"], vec!["a"]]);
        assert_eq!(named(4), [vec!["a", "b"], vec!["c"], vec![]]);
    }
}
