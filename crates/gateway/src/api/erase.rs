//! Erases, blocks and unblocks a subject, at the domicile that the caller names.

use bytes::Bytes;
use terms::{Reason, Rejection};
use wire::session::{self as proto, call::Op};
use wire::v1;

use crate::api::context::{Call, CallContext};
use crate::api::pinned_map::PinnedMap;
use crate::api::response;
use crate::api::subject_request::{Block, Named};
use crate::shards::in_flight::Effect;

/// Erases a subject. One with more records than a commit takes is erased in several steps.
pub(crate) async fn erase(
    ctx: &CallContext,
    call: &Call,
    request: v1::EraseSubjectRequest,
) -> Result<v1::EraseSubjectResponse, Rejection> {
    let pinned = ctx.pin();
    let erase = pinned.reader(&call.admitted.acting.caller).erase(request)?;
    let op = || {
        Op::Erase(proto::Erase {
            subject: erase.of.subject.expose().to_owned(),
            request_id: Bytes::copy_from_slice(erase.request_id.bytes()),
            reason: erase.reason.clone(),
            deadline_minute: erase.deadline_minute,
            validate_only: erase.validate_only,
            prove: erase.prove,
            collection: erase.collection.clone(),
        })
    };
    loop {
        let (written, receipt) = send(call, &pinned, &erase.of, erase.validate_only, op()).await?;
        if !written.unfinished {
            let record_count = i64::try_from(written.records).unwrap_or(i64::MAX);
            let replayed = written.replayed;
            return Ok(v1::EraseSubjectResponse { record_count, replayed, receipt });
        }
        if call.deadline.of_call() <= tokio::time::Instant::now() {
            // It goes on by itself; the same request gives the answer.
            return Err(Reason::WriteOutcomeUnknown.into());
        }
    }
}

/// Blocks a subject.
pub(crate) async fn block(
    ctx: &CallContext,
    call: &Call,
    request: v1::BlockSubjectRequest,
) -> Result<v1::BlockSubjectResponse, Rejection> {
    let pinned = ctx.pin();
    let block = pinned.reader(&call.admitted.acting.caller).block(request)?;
    let (replayed, receipt) = change(call, &pinned, block).await?;
    Ok(v1::BlockSubjectResponse { replayed, receipt })
}

/// Lifts the block on a subject.
pub(crate) async fn unblock(
    ctx: &CallContext,
    call: &Call,
    request: v1::UnblockSubjectRequest,
) -> Result<v1::UnblockSubjectResponse, Rejection> {
    let pinned = ctx.pin();
    let block = pinned.reader(&call.admitted.acting.caller).unblock(request)?;
    let (replayed, receipt) = change(call, &pinned, block).await?;
    Ok(v1::UnblockSubjectResponse { replayed, receipt })
}

/// Whether it was so already, and the receipt if not.
async fn change(
    call: &Call,
    pinned: &PinnedMap,
    block: Block,
) -> Result<(bool, Option<v1::Receipt>), Rejection> {
    let validate_only = block.validate_only;
    let op = Op::Block(proto::Block {
        subject: block.of.subject.expose().to_owned(),
        until_minute: block.until_minute,
        then_erase: block.then_erase,
        reason: block.reason,
        validate_only,
        prove: block.prove,
    });
    let (written, receipt) = send(call, pinned, &block.of, validate_only, op).await?;
    Ok((written.replayed, receipt.filter(|_| !written.replayed)))
}

/// Sends a write about a subject as a whole to its domicile.
pub(super) async fn send(
    call: &Call,
    pinned: &PinnedMap,
    of: &Named,
    validate_only: bool,
    op: Op,
) -> Result<(proto::Written, Option<v1::Receipt>), Rejection> {
    let tenant = &call.admitted.acting.caller.tenant;
    let route = pinned.routing.domicile(&of.region, tenant, &of.subject)?;
    let (deadline, effect) = (call.deadline.of_call(), Effect::of_write(validate_only));
    let sent = call.admitted.shard_call(route.region(), deadline, effect, 0, op)?;
    response::written(route.send(sent).await?, validate_only)
}
