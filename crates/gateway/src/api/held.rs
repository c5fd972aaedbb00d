//! What a region holds of a subject, from the shard's answer to the caller's.

use atlas::{Findings, Reads};
use bytes::Bytes;
use terms::{Collection, Reason, Rejection};
use wire::session::{self as proto, call::Op, reply::Outcome};
use wire::v1;

use crate::api::context::{Call, CallContext};
use crate::api::get_request::SealedQuestion;
use crate::api::list::sealed;
use crate::api::pinned_map::PinnedMap;
use crate::api::response;
use crate::api::subject_request::About;
use crate::shards::in_flight::Effect;

/// What a region holds of a subject.
pub(crate) async fn get(
    ctx: &CallContext,
    call: &Call,
    request: v1::GetSubjectRequest,
) -> Result<v1::Subject, Rejection> {
    let pinned = ctx.pin();
    let reader = pinned.reader(&call.admitted.acting.caller);
    let about = reader.about(request.subject, request.purpose)?;
    ask(call, &pinned, &about, false, None).await.map(|(subject, _)| subject)
}

/// Asks the shard of a subject, for an export or not. Gives the seal of a sealed export, too.
pub(super) async fn ask(
    call: &Call,
    pinned: &PinnedMap,
    about: &About,
    export: bool,
    question: Option<&SealedQuestion>,
) -> Result<(v1::Subject, Bytes), Rejection> {
    let of = &about.of;
    let tenant = &call.admitted.acting.caller.tenant;
    let route = pinned.routing.domicile(&of.region, tenant, &of.subject)?;
    let (sealed_key, sealed_question) = sealed(question);
    let op = Op::Person(proto::Person {
        subject: of.subject.expose().to_owned(),
        export,
        purpose: about.purpose.clone(),
        sealed_key,
        sealed_question,
    });
    let deadline = call.deadline.of_call();
    let sent = call.admitted.shard_call(route.region(), deadline, Effect::Read, 0, op)?;
    let Outcome::Held(held) = route.send(sent).await?.outcome else {
        return Err(Reason::Internal.into());
    };
    let seal = held.seal.clone();
    Ok((to_api(pinned, about, held)?, seal))
}

fn to_api(
    pinned: &PinnedMap,
    about: &About,
    held: proto::HeldPerson,
) -> Result<v1::Subject, Rejection> {
    let internal = |_| Rejection::from(Reason::Internal);
    let findings = if held.findings.is_empty() {
        Vec::new()
    } else {
        response::findings(&Findings::decode(&held.findings).map_err(internal)?)
    };
    let collections = held.collections.into_iter().map(|held| collection(pinned, held));
    let collections = collections.collect::<Result<_, _>>()?;
    let erased = |held: proto::HeldErased| v1::ErasedCollection {
        collection: held.collection,
        erase_time: minute(held.minute),
    };
    let region = pinned.routing.map().region(&about.of.region);
    let site = region.map(atlas::Region::site);
    let said = |text: Option<&String>| text.cloned().unwrap_or_default();
    Ok(v1::Subject {
        subject: Some(response::subject(&about.of.subject, &about.of.region)),
        state: held.state,
        territory: region.map_or_else(String::new, |it| it.territory().as_str().to_owned()),
        site_address: said(site.and_then(|site| site.address.as_ref())),
        site_operator: said(site.and_then(|site| site.operator.as_ref())),
        findings,
        collections,
        create_time: minute(held.created_minute),
        block_end_time: minute(held.until_minute),
        erase_after_block: held.then_erase,
        erase_time: minute(held.erased_minute),
        moved_to: held.moved_to,
        key_generation: held.key_generation,
        key_rotate_time: minute(held.key_rotated_minute),
        erased_collections: held.erased.into_iter().map(erased).collect(),
        accesses: held.accesses.into_iter().map(access).collect(),
        chosen_region: held.chosen,
    })
}

fn count(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn access(held: proto::HeldAccess) -> v1::SubjectAccess {
    v1::SubjectAccess {
        collection: held.collection,
        role: held.role,
        caller_tag: hex::encode(&held.caller_tag),
        territory: held.territory,
        purpose: held.purpose,
        read_count: count(held.reads),
        first_time: minute(held.first_minute),
        last_time: minute(held.last_minute),
        kind: held.kind,
    }
}

fn collection(
    pinned: &PinnedMap,
    held: proto::HeldCollection,
) -> Result<v1::SubjectCollection, Rejection> {
    let ruling = if held.ruling.is_empty() {
        None
    } else {
        let ruling = wire::bounded::decode::<v1::Ruling>(&held.ruling);
        Some(ruling.map_err(|_| Rejection::from(Reason::Internal))?)
    };
    let erasure_terms = response::erasure_terms(held.erasure_terms);
    let rules = Collection::parse(&held.collection).ok();
    let rules = rules.and_then(|name| pinned.routing.map().collection(&name));
    Ok(v1::SubjectCollection {
        reads_logged: rules.is_some_and(|rules| rules.reads() == Reads::Logged),
        collection: held.collection,
        ruling,
        since_time: minute(held.since_minute),
        mirrors: held.mirrors,
        record_count: count(held.records),
        body_bytes: count(held.bytes),
        next_expire_time: response::time(held.expire_ms),
        erasure_terms,
    })
}

/// A minute since 1970; 0: none.
pub(super) fn minute(minute: u32) -> Option<prost_types::Timestamp> {
    response::time(u64::from(minute) * 60_000)
}
