//! One get: from its domicile, which it must name.

use terms::{Reason, Rejection};
use tokio::time::Instant;
use wire::session::{self as proto, call::Op};
use wire::v1;

use crate::api::attributes;
use crate::api::context::{Admitted, CallContext};
use crate::api::participants;
use crate::api::request::Get;
use crate::api::response;
use crate::shards::in_flight::Effect;

/// Reads a record for an admitted caller, and answers at the latest at `deadline`.
pub(crate) async fn get(
    ctx: &CallContext,
    admitted: &Admitted,
    deadline: Instant,
    request: v1::GetRecordRequest,
) -> Result<v1::Record, Rejection> {
    let caller = &*admitted.acting.caller;
    let pinned = ctx.pin();
    let Get { target, question, purpose } = pinned.reader(caller).get(request)?;
    let asked_sealed = question.is_some();
    let (sealed_key, sealed_question) =
        question.map(|asked| (asked.key, asked.sealed)).unwrap_or_default();
    admitted.permit.has_room()?;
    let route = pinned.domicile(caller, &target)?;
    let subject = Some(response::subject(&target.subject, route.region()));
    let op = Op::Get(proto::Get {
        subject: target.subject.expose().to_owned(),
        collection: target.collection.as_str().to_owned(),
        key: target.key.clone(),
        range: None,
        purpose,
        sealed_key,
        sealed_question,
    });
    let sent = admitted.shard_call(route.region(), deadline, Effect::Read, 0, op)?;
    let found = response::found(route.send(sent).await?)?;
    if found.sealed != asked_sealed {
        return Err(Reason::Internal.into());
    }
    // Held until the record has left the process.
    admitted.permit.hold(found.body.len() + found.attributes.len())?;
    Ok(v1::Record {
        subject,
        collection: target.collection.as_str().to_owned(),
        key: target.key,
        body: found.body,
        version: found.version,
        etag: found.etag,
        expire_time: response::time(found.expire_ms),
        attributes: attributes::to_api(&found.attributes)?,
        attachment_bytes: 0,
        participants: participants::to_api(&found.participants)?,
        sealed: found.sealed,
    })
}
