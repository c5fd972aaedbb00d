//! One put: under one map, from findings to a ruling, to a placement, to the one shard that may
//! store the record.
//!
//! Every step can end it, and then nothing was stored. After the last one, the shard rules again.

use atlas::{Moment, Outcome, Placement, Question, Ruling};
use bytes::Bytes;
use terms::{Collection, Detail, Reason, Rejection, TenantId};
use tokio::time::Instant;
use wire::session::{self as proto, call::Op};
use wire::v1;

use crate::api::context::Turn;
use crate::api::request::{Given, Put};
use crate::api::response;
use crate::auth::caller::Caller;
use crate::map::routing::Way;
use crate::shards::in_flight::Effect;
use crate::shards::session::Ask;
use crate::{Pinned, Shared};

/// Puts a record for whoever's turn it is, and answers at the latest at `deadline`.
pub(crate) async fn put(
    shared: &Shared,
    turn: &Turn,
    deadline: Instant,
    request: v1::PutRecordRequest,
) -> Result<v1::PutRecordResponse, Rejection> {
    let caller = &*turn.acting.caller;
    let pinned = shared.pin();
    let put = pinned.reader(caller).put(request)?;
    // Without evidence there is nothing to rule on, unless a subject is to be created: that is
    // never done without the rules, and they refuse it.
    let ruled = put.given.any || put.create_subject;
    let rule = || pinned.rule(&caller.tenant, &put.target.collection, &put.given);
    let ruling = ruled.then(rule).transpose()?;
    let way = way(&pinned, caller, &put, ruling.as_ref())?;
    let region = way.region().clone();
    let Put { target, body, given, validate_only, prove, .. } = put;
    let ask = Ask {
        acting: &turn.acting,
        deadline,
        effect: effect(validate_only),
        body: body.len(),
        load: turn.share.carry(body.len(), (&region, shared.desk.seats.free()))?,
        op: Op::Put(proto::Put {
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
            phone_data: pinned.data.phone(&given),
            ip_data: pinned.data.ip(&given),
            prove,
        }),
    };
    let (mut written, receipt) = response::written(way.send(ask).await?, validate_only)?;
    Ok(v1::PutRecordResponse {
        ruling: response::standing(&mut written, given.any, &pinned.data),
        subject: Some(response::subject(&target.subject, &region)),
        version: written.version,
        etag: written.etag,
        replayed: written.replayed,
        receipt,
    })
}

/// A domicile that the caller holds decides: the ruling that stands is the shard's to know.
/// Without one, the rules decide; and so they do where a subject would be created from nothing.
fn way<'a>(
    pinned: &'a Pinned<'_>,
    caller: &Caller,
    put: &Put,
    ruling: Option<&Ruling>,
) -> Result<Way<'a>, Rejection> {
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
            pinned.entry(ruling, placement)?;
            pinned.routing.placed(placement, &caller.tenant, subject)
        }
        Outcome::Refused(refusal) => Err(refusal.into()),
    }
}

/// What the loss of an answer would mean.
pub(crate) const fn effect(validate_only: bool) -> Effect {
    if validate_only { Effect::Read } else { Effect::Write }
}

impl Pinned<'_> {
    /// Whether the laws that attach let a record come in here. The shard asks the same; this is
    /// so that a body which may not come in is not carried on.
    ///
    /// # Errors
    /// `WRONG_INGRESS`, with the address of the gateway that may take it, if the annex has one.
    pub(crate) fn entry(&self, ruling: &Ruling, placement: &Placement) -> Result<(), Rejection> {
        let region = placement.region();
        let stands = self.routing.stands(region);
        atlas::ingress(ruling.attachments(), stands).map_err(|barred| {
            let fault = barred.ingress_fault().with(Detail::Region, region.as_str());
            match self.routing.ingress(region) {
                Some(address) => fault.with(Detail::Ingress, address),
                None => fault,
            }
        })
    }

    /// Rules on what was given, be it nothing.
    pub(crate) fn rule(
        &self,
        tenant: &TenantId,
        collection: &Collection,
        given: &Given,
    ) -> Result<Ruling, Rejection> {
        let date = Moment::of(self.shared.clock.now());
        let question = Question { tenant, collection, findings: &given.findings, date };
        Ok(atlas::decide(self.routing.map(), &question)?)
    }
}
