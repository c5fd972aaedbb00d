//! One delete: at the domicile, which it must name.

use bytes::Bytes;
use terms::Rejection;
use tokio::time::Instant;
use wire::session::{self as proto, call::Op};
use wire::v1;

use crate::api::context::{Admitted, CallContext};
use crate::api::response;
use crate::shards::in_flight::Effect;

/// Deletes a record for an admitted caller, and answers at the latest at `deadline`.
pub(crate) async fn delete(
    ctx: &CallContext,
    admitted: &Admitted,
    deadline: Instant,
    request: v1::DeleteRecordRequest,
) -> Result<v1::DeleteRecordResponse, Rejection> {
    let caller = &*admitted.acting.caller;
    let pinned = ctx.pin();
    let delete = pinned.reader(caller).delete(request)?;
    let route = pinned.domicile(caller, &delete.target)?;
    let validate_only = delete.validate_only;
    let op = Op::Delete(proto::Delete {
        subject: delete.target.subject.expose().to_owned(),
        collection: delete.target.collection.as_str().to_owned(),
        key: delete.target.key,
        request_id: Bytes::copy_from_slice(delete.request_id.bytes()),
        if_version: delete.condition.if_version,
        etag: delete.condition.etag,
        validate_only,
        prove: delete.prove,
    });
    let effect = Effect::of_write(validate_only);
    let sent = admitted.shard_call(route.region(), deadline, effect, 0, op)?;
    let (written, receipt) = response::written(route.send(sent).await?, validate_only)?;
    let proto::Written { version, replayed, copied: copied_in, .. } = written;
    Ok(v1::DeleteRecordResponse { version, replayed, receipt, copied_in })
}
