//! A part of a record's body, from its domicile.

use terms::Rejection;
use tokio::time::Instant;
use wire::session::{self as proto, call::Op};
use wire::v1;

use crate::api::attributes;
use crate::api::context::{Admitted, CallContext};
use crate::api::get_request::Get;
use crate::api::request::Target;
use crate::api::response;
use crate::shards::in_flight::Effect;

/// A part of a body, as the shard gave it.
pub(super) struct Part {
    pub(super) found: proto::Found,
    domicile: v1::SubjectRef,
}

impl Part {
    /// What the attachment is.
    pub(super) fn attachment(&self, target: &Target) -> Result<v1::AttachmentInfo, Rejection> {
        let found = &self.found;
        Ok(v1::AttachmentInfo {
            subject: Some(self.domicile.clone()),
            collection: target.collection.as_str().to_owned(),
            key: target.key.clone(),
            size: i64::try_from(found.size).unwrap_or(i64::MAX),
            sha256: found.sha256.clone(),
            version: found.version,
            etag: found.etag.clone(),
            expire_time: response::time(found.expire_ms),
            attributes: attributes::to_api(&found.attributes)?,
        })
    }
}

/// Reads a part of a body from its domicile.
pub(super) async fn part(
    ctx: &CallContext,
    admitted: &Admitted,
    deadline: Instant,
    get: &Get,
    range: proto::BodyRange,
) -> Result<Part, Rejection> {
    let Get { target, purpose, .. } = get;
    let pinned = ctx.pin();
    admitted.permit.has_room()?;
    let route = pinned.domicile(&admitted.acting.caller, target)?;
    let domicile = response::subject(&target.subject, route.region());
    let op = Op::Get(proto::Get {
        subject: target.subject.expose().to_owned(),
        collection: target.collection.as_str().to_owned(),
        key: target.key.clone(),
        range: Some(range),
        purpose: purpose.clone(),
        ..Default::default()
    });
    let sent = admitted.shard_call(route.region(), deadline, Effect::Read, 0, op)?;
    let found = response::found(route.send(sent).await?)?;
    // Held until it has left the process, or the next part takes its place.
    admitted.permit.hold(found.body.len() + found.attributes.len())?;
    Ok(Part { found, domicile })
}
