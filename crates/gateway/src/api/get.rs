//! One get: from its domicile, which it must name.

use terms::{Reason, RegionId, Rejection};
use tokio::time::Instant;
use wire::session::{self as proto, call::Op};
use wire::v1;

use crate::api::attributes;
use crate::api::context::{Admitted, CallContext};
use crate::api::get_request::Get;
use crate::api::participants;
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
    let Get { target, question, purpose, copy_in } = pinned.reader(caller).get(request)?;
    let asked_sealed = question.is_some();
    let (sealed_key, sealed_question) =
        question.map(|asked| (asked.key, asked.sealed)).unwrap_or_default();
    admitted.permit.has_room()?;
    let (route, home) = match &copy_in {
        Some(region) => {
            let home = target.domicile.clone().ok_or_else(|| {
                let fault = Rejection::new(Reason::DomicileRequired).field("subject.domicile");
                fault.cure("set subject.domicile to the home of the record, as its put returned it")
            })?;
            (pinned.copy(caller, &target, region)?, home)
        }
        None => {
            let route = pinned.domicile(caller, &target)?;
            let home = route.region().clone();
            (route, home)
        }
    };
    let subject = Some(response::subject(&target.subject, &home));
    let op = Op::Get(proto::Get {
        subject: target.subject.expose().to_owned(),
        collection: target.collection.as_str().to_owned(),
        key: target.key.clone(),
        range: None,
        purpose,
        sealed_key,
        sealed_question,
        copy_of: copy_in.as_ref().map(|_| home.to_string()).unwrap_or_default(),
    });
    let sent = admitted.shard_call(route.region(), deadline, Effect::Read, 0, op)?;
    let found = response::found(route.send(sent).await?)?;
    if found.sealed != asked_sealed {
        return Err(Reason::Internal.into());
    }
    // Held until the record has left the process.
    admitted.permit.hold(found.body.len() + found.attributes.len())?;
    let copy = copy_in.map(|region| copy(&found, &home, &region)).transpose()?;
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
        copy,
    })
}

/// Of which copy the answer is. One that does not say so is none: the record of another home may have the
/// same names.
fn copy(
    found: &proto::Found,
    home: &RegionId,
    region: &RegionId,
) -> Result<v1::RecordCopy, Rejection> {
    let of = found.copy.as_ref().filter(|of| of.home == home.as_str());
    let of = of.ok_or_else(|| {
        let problem = "the shard does not answer with a copy";
        Rejection::new(Reason::NotBuilt).field("copy_in").problem(problem)
    })?;
    let minute = |minute: u32| response::time(u64::from(minute) * 60_000);
    let (write_time, copy_time) = (minute(of.written_minute), minute(of.taken_minute));
    Ok(v1::RecordCopy { region: region.to_string(), write_time, copy_time })
}
