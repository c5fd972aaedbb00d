//! Proposes the region of a subject where the rules leave a choice, and confirms what was proposed, at the
//! domicile that the caller names.

use bytes::Bytes;
use terms::{Reason, RegionId, Rejection};
use wire::session::{self as proto, call::Op};
use wire::v1;

use crate::api::context::{Call, CallContext};
use crate::api::erase;
use crate::api::subject_request::Adjudicate;

/// Proposes a region; `confirm`: confirms what another caller has proposed.
pub(crate) async fn adjudicate(
    ctx: &CallContext,
    call: &Call,
    request: v1::AdjudicateSubjectRequest,
    confirm: bool,
) -> Result<v1::AdjudicateSubjectResponse, Rejection> {
    let caller = &call.admitted.acting.caller;
    let pinned = ctx.pin();
    let Adjudicate { of, region, request_id, reason, validate_only, prove } =
        pinned.reader(caller).adjudicate(request)?;
    if let Some(region) = &region {
        caller.may_reach(region)?;
    }
    let op = Op::Adjudicate(proto::Adjudicate {
        subject: of.subject.expose().to_owned(),
        region: region.as_ref().map_or("", RegionId::as_str).to_owned(),
        confirm,
        request_id: Bytes::copy_from_slice(request_id.bytes()),
        reason,
        validate_only,
        prove,
    });
    let (written, receipt) = erase::send(call, &pinned, &of, validate_only, op).await?;
    let choice = *written.choice.ok_or(Reason::Internal)?;
    Ok(v1::AdjudicateSubjectResponse {
        open_regions: choice.open,
        chosen_region: choice.chosen,
        proposed_region: choice.proposed,
        replayed: written.replayed,
        receipt: receipt.filter(|receipt| !receipt.entry.is_empty()),
    })
}
