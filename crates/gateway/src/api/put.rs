//! One put: under one map, from findings to a ruling, to a placement, to the one shard that may
//! store the record.
//!
//! Every step can end it, and then nothing was stored. After the last step the shard rules again.

use atlas::{Outcome, Ruling};
use bytes::Bytes;
use terms::{Reason, Rejection};
use tokio::time::Instant;
use wire::session::{self as proto, call::Op};
use wire::v1;

use crate::api::context::{Admitted, CallContext};
use crate::api::pinned_map::PinnedMap;
use crate::api::request::Put;
use crate::api::response;
use crate::auth::caller::Caller;
use crate::map::routing::Route;
use crate::shards::in_flight::Effect;

/// Puts a record for an admitted caller, and answers at the latest at `deadline`.
pub(crate) async fn put(
    ctx: &CallContext,
    admitted: &Admitted,
    deadline: Instant,
    request: v1::PutRecordRequest,
) -> Result<v1::PutRecordResponse, Rejection> {
    let caller = &*admitted.acting.caller;
    let pinned = ctx.pin();
    let put = pinned.reader(caller).put(request)?;
    // Without evidence there is nothing to rule on, unless a subject is to be created: that is
    // never done without the rules, and they refuse it.
    let ruled = put.given.any || put.create_subject;
    let rule = || pinned.rule(&caller.tenant, &put.target.collection, &put.given);
    let ruling = ruled.then(rule).transpose()?;
    let route = route(&pinned, caller, &put, ruling.as_ref())?;
    let region = route.region().clone();
    let Put { target, body, given, validate_only, prove, .. } = put;
    let bytes = body.len();
    let op = Op::Put(proto::Put {
        subject: target.subject.expose().to_owned(),
        collection: target.collection.as_str().to_owned(),
        key: target.key,
        body,
        request_id: Bytes::copy_from_slice(put.request_id.bytes()),
        if_version: put.condition.if_version,
        etag: put.condition.etag,
        create_subject: put.create_subject,
        findings: given.encode(),
        validate_only,
        phone_data: pinned.phone_data(&given),
        ip_data: pinned.ip_data(&given),
        prove,
        expire_ms: put.expire_ms,
    });
    let effect = Effect::of_write(validate_only);
    let call = admitted.shard_call(&region, deadline, effect, bytes, op)?;
    let (mut written, receipt) = response::written(route.send(call).await?, validate_only)?;
    Ok(v1::PutRecordResponse {
        ruling: response::standing(&mut written, given.any, &pinned.data),
        subject: Some(response::subject(&target.subject, &region)),
        version: written.version,
        etag: written.etag,
        replayed: written.replayed,
        receipt,
    })
}

/// A domicile that the caller sends decides: the ruling that stands is known to the shard alone.
/// Without one, the rules decide; and so they do where a subject would be created from nothing.
fn route<'a>(
    pinned: &'a PinnedMap,
    caller: &Caller,
    put: &Put,
    ruling: Option<&Ruling>,
) -> Result<Route<'a>, Rejection> {
    let subject = &put.target.subject;
    let from_nothing = put.create_subject && !put.given.any;
    if let Some(region) = put.target.domicile.as_ref().filter(|_| !from_nothing) {
        return pinned.routing.domicile(region, &caller.tenant, subject);
    }
    let ruling =
        ruling.ok_or_else(|| Rejection::new(Reason::DomicileRequired).field("subject.domicile"))?;
    match ruling.outcome() {
        Outcome::Placed(placement) => {
            caller.may_reach(placement.region())?;
            pinned.check_ingress(ruling, placement)?;
            pinned.routing.placed(placement, &caller.tenant, subject)
        }
        Outcome::Refused(refusal) => Err(refusal.into()),
    }
}
