//! Erases, blocks and unblocks a subject, and replaces its keys, at the domicile that the caller names.

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
            ground: erase.ground.into(),
            arose_ms: erase.arose_ms,
        })
    };
    let (written, receipt) =
        send_until_done(call, &pinned, &erase.of, erase.validate_only, op).await?;
    let record_count = i64::try_from(written.records).unwrap_or(i64::MAX);
    let terms = response::erasure_terms(written.erasure_terms);
    Ok(v1::EraseSubjectResponse { record_count, replayed: written.replayed, receipt, terms })
}

/// Replaces the keys of a subject: in several steps, as an erasure.
pub(crate) async fn rotate_key(
    ctx: &CallContext,
    call: &Call,
    request: v1::RotateSubjectKeyRequest,
) -> Result<v1::RotateSubjectKeyResponse, Rejection> {
    let pinned = ctx.pin();
    let rotate = pinned.reader(&call.admitted.acting.caller).rotate_key(request)?;
    let op = || {
        Op::RotateKey(proto::RotateKey {
            subject: rotate.of.subject.expose().to_owned(),
            request_id: Bytes::copy_from_slice(rotate.request_id.bytes()),
            reason: rotate.reason.clone(),
            validate_only: rotate.validate_only,
            prove: rotate.prove,
        })
    };
    let (written, receipt) =
        send_until_done(call, &pinned, &rotate.of, rotate.validate_only, op).await?;
    let record_count = i64::try_from(written.records).unwrap_or(i64::MAX);
    Ok(v1::RotateSubjectKeyResponse { record_count, replayed: written.replayed, receipt })
}

/// Sends a write about a subject until all of its steps are done.
async fn send_until_done(
    call: &Call,
    pinned: &PinnedMap,
    of: &Named,
    validate_only: bool,
    op: impl Fn() -> Op,
) -> Result<(proto::Written, Option<v1::Receipt>), Rejection> {
    loop {
        let (written, receipt) = send(call, pinned, of, validate_only, op()).await?;
        if !written.unfinished {
            return Ok((written, receipt));
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
