//! Makes the rulings of a subject again, at the domicile that the caller names.

use terms::{Reason, RegionId, Rejection};
use wire::session::{self as proto, call::Op};
use wire::v1;

use crate::api::context::{Call, CallContext};
use crate::api::erase;
use crate::api::pinned_map::PinnedMap;

/// Reassesses a subject.
pub(crate) async fn reassess(
    ctx: &CallContext,
    call: &Call,
    request: v1::ReassessSubjectRequest,
) -> Result<v1::ReassessSubjectResponse, Rejection> {
    let pinned = ctx.pin();
    let of = pinned.reader(&call.admitted.acting.caller).reassess(request)?;
    let op = Op::Reassess(proto::Reassess {
        subject: of.of.subject.expose().to_owned(),
        findings: of.given.encode(),
        phone_data: pinned.phone_data(&of.given),
        ip_data: pinned.ip_data(&of.given),
        reason: of.reason,
        validate_only: of.validate_only,
        prove: of.prove,
    });
    let (written, receipt) = erase::send(call, &pinned, &of.of, of.validate_only, op).await?;
    let one = |one| collection(&pinned, &of.of.region, of.given.any, one);
    let receipt = receipt.filter(|receipt| !receipt.entry.is_empty());
    Ok(v1::ReassessSubjectResponse {
        collections: written.reassessed.into_iter().map(one).collect::<Result<_, _>>()?,
        stands: written.stands,
        replayed: written.replayed,
        receipt,
    })
}

fn collection(
    pinned: &PinnedMap,
    domicile: &RegionId,
    given: bool,
    of: proto::Reassessed,
) -> Result<v1::CollectionReassessment, Rejection> {
    let proto::Reassessed { collection, region, ruling, refused, conflicting, cure } = of;
    let mut answer = v1::CollectionReassessment { collection, region, ..Default::default() };
    if !refused.is_empty() {
        answer.refusal = Some(v1::Refusal { reason: refused, conflicting, cure });
    } else if !ruling.is_empty() {
        domicile.as_str().clone_into(&mut answer.region);
        let ruling = wire::bounded::decode::<v1::Ruling>(&ruling);
        let mut ruling = ruling.map_err(|_| Rejection::from(Reason::Internal))?;
        if given {
            ruling.data_versions.clone_from(&pinned.data.versions);
        }
        answer.ruling = Some(ruling);
    }
    Ok(answer)
}
