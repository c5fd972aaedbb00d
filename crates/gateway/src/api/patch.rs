//! One patch: at the domicile, which it must name.

use atlas::AttributeName;
use bytes::Bytes;
use terms::Rejection;
use tokio::time::Instant;
use wire::session::{self as proto, call::Op};
use wire::v1;

use crate::api::context::{Admitted, CallContext};
use crate::api::request::Patch;
use crate::api::response;
use crate::shards::in_flight::Effect;

/// Changes the body of a record or some of its attributes, for an admitted caller, and answers at
/// the latest at `deadline`.
pub(crate) async fn patch(
    ctx: &CallContext,
    admitted: &Admitted,
    deadline: Instant,
    request: v1::PatchRecordRequest,
) -> Result<v1::PatchRecordResponse, Rejection> {
    let caller = &*admitted.acting.caller;
    let pinned = ctx.pin();
    let patch = pinned.reader(caller).patch(request)?;
    let route = pinned.domicile(caller, &patch.target)?;
    let validate_only = patch.validate_only;
    let sent = to_shard(patch);
    let bytes = sent.body.as_ref().map_or(0, Bytes::len) + sent.attributes.len();
    let effect = Effect::of_write(validate_only);
    let sent = admitted.shard_call(route.region(), deadline, effect, bytes, Op::Patch(sent))?;
    let (mut written, receipt) = response::written(route.send(sent).await?, validate_only)?;
    let ruling = response::standing(&mut written, false, &pinned.data);
    let proto::Written { version, etag, replayed, .. } = written;
    Ok(v1::PatchRecordResponse { version, etag, replayed, receipt, ruling })
}

fn to_shard(patch: Patch) -> proto::Patch {
    let Patch { target, request_id, condition, body, sealed_key, attributes, removed, .. } = patch;
    proto::Patch {
        subject: target.subject.expose().to_owned(),
        collection: target.collection.as_str().to_owned(),
        key: target.key,
        request_id: Bytes::copy_from_slice(request_id.bytes()),
        if_version: condition.if_version,
        etag: condition.etag,
        validate_only: patch.validate_only,
        prove: patch.prove,
        body,
        sealed_key,
        attributes: attributes.encode().into(),
        remove: removed.iter().map(AttributeName::as_str).map(str::to_owned).collect(),
    }
}
