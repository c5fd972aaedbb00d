//! One put: under one map, from findings to a ruling, to a placement, to the one shard that may
//! store the record.
//!
//! Every step can end it, and then nothing was stored. After the last step the shard rules again.

use atlas::{Outcome, Ruling};
use bytes::Bytes;
use terms::{Reason, Rejection, SubjectId};
use tokio::time::Instant;
use wire::session::{self as proto, call::Op};
use wire::v1;

use crate::api::binding;
use crate::api::context::{Admitted, CallContext};
use crate::api::participants::Participant;
use crate::api::pinned_map::PinnedMap;
use crate::api::request::Put;
use crate::api::response;
use crate::api::unique::{Creation, Unreachable};
use crate::auth::caller::Caller;
use crate::map::routing::Route;
use crate::shards::in_flight::Effect;
use crate::shards::session::ShardAnswer;

/// A put that is ruled and placed, and where it goes.
pub(crate) struct Prepared<'a> {
    pub(crate) route: Route<'a>,
    pub(crate) put: proto::Put,
    /// What binds them is to be asked for, and added to the put.
    pub(crate) participants: Vec<Participant>,
    pub(crate) subject: SubjectId,
    /// Whether evidence or findings came with it.
    pub(crate) given: bool,
}

/// Puts a record for an admitted caller, and answers at the latest at `deadline`.
pub(crate) async fn put(
    ctx: &CallContext,
    admitted: &Admitted,
    deadline: Instant,
    request: v1::PutRecordRequest,
) -> Result<v1::PutRecordResponse, Rejection> {
    let pinned = ctx.pin();
    let Prepared { route, mut put, participants, subject, given } =
        prepare(&pinned, &admitted.acting.caller, request)?;
    let unbound = binding::bind(&pinned, admitted, deadline, &participants, &mut put).await.err();
    let bytes = put.body.len() + put.attributes.len() + put.participants.len();
    let validate_only = put.validate_only;
    let reference = response::subject(&subject, route.region());
    let (shard_answer, unreachable) = if put.create_subject && unbound.is_none() {
        let (pinned, subject) = (&pinned, &subject);
        let creation = Creation { ctx, pinned, admitted, subject, deadline, validate_only };
        creation.send(route, Op::Put(put), bytes).await?
    } else {
        let effect = Effect::of_write(validate_only);
        let call = admitted.shard_call(route.region(), deadline, effect, bytes, Op::Put(put))?;
        (binding::answered(unbound, route.send(call).await)?, Unreachable::new())
    };
    let done = answer(&pinned, reference, given, shard_answer, validate_only)?;
    Ok(v1::PutRecordResponse { unreachable, ..done })
}

/// Reads, rules and places a put.
pub(crate) fn prepare<'a>(
    pinned: &'a PinnedMap,
    caller: &Caller,
    request: v1::PutRecordRequest,
) -> Result<Prepared<'a>, Rejection> {
    let put = pinned.reader(caller).put(request)?;
    // Without evidence there is nothing to rule on, unless a subject is to be created: that is
    // never done without the rules, and they refuse it.
    let ruled = put.given.any || put.create_subject;
    let rule = || pinned.rule(&caller.tenant, &put.target.collection, &put.given);
    let ruling = ruled.then(rule).transpose()?;
    let route = route(pinned, caller, &put, ruling.as_ref())?;
    let Put { target, body, attributes, given, validate_only, prove, participants, .. } = put;
    let sealed_key = put.sealed_key;
    let put = proto::Put {
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
        attributes: attributes.encode().into(),
        participants: Bytes::new(),
        participants_epoch: 0,
        sealed_key,
        asked: Bytes::new(),
    };
    Ok(Prepared { route, put, participants, subject: target.subject, given: given.any })
}

/// What the caller reads of a shard's answer; `given`: evidence came with the put.
pub(crate) fn answer(
    pinned: &PinnedMap,
    subject: v1::SubjectRef,
    given: bool,
    answer: ShardAnswer,
    validate_only: bool,
) -> Result<v1::PutRecordResponse, Rejection> {
    let (mut written, receipt) = response::written(answer, validate_only)?;
    Ok(v1::PutRecordResponse {
        ruling: response::standing(&mut written, given, &pinned.data),
        subject: Some(subject),
        version: written.version,
        etag: written.etag,
        replayed: written.replayed,
        receipt,
        unreachable: Unreachable::new(),
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
