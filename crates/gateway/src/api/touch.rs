//! One touch: at the domicile, which it must name.

use bytes::Bytes;
use terms::Rejection;
use tokio::time::Instant;
use wire::session::{self as proto, call::Op};
use wire::v1;

use crate::api::context::{Admitted, CallContext};
use crate::api::response;
use crate::shards::in_flight::Effect;

/// Sets when a record expires, for an admitted caller, and answers at the latest at `deadline`.
pub(crate) async fn touch(
    ctx: &CallContext,
    admitted: &Admitted,
    deadline: Instant,
    request: v1::TouchRecordRequest,
) -> Result<v1::TouchRecordResponse, Rejection> {
    let caller = &*admitted.acting.caller;
    let pinned = ctx.pin();
    let touch = pinned.reader(caller).touch(request)?;
    let route = pinned.domicile(caller, &touch.target)?;
    let validate_only = touch.validate_only;
    let op = Op::Touch(proto::Touch {
        subject: touch.target.subject.expose().to_owned(),
        collection: touch.target.collection.as_str().to_owned(),
        key: touch.target.key,
        request_id: Bytes::copy_from_slice(touch.request_id.bytes()),
        if_version: touch.condition.if_version,
        etag: touch.condition.etag,
        validate_only,
        prove: touch.prove,
        expire_ms: touch.expire_ms,
    });
    let effect = Effect::of_write(validate_only);
    let sent = admitted.shard_call(route.region(), deadline, effect, 0, op)?;
    let (written, receipt) = response::written(route.send(sent).await?, validate_only)?;
    let proto::Written { version, etag, replayed, .. } = written;
    Ok(v1::TouchRecordResponse { version, etag, replayed, receipt })
}
