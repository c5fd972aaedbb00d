//! What binds the people that a record names besides its owner: their own regions say it, by
//! jurisdictions alone. Whether the record may lie with its owner then, the owner's shard decides.

use futures_util::future::join_all;
use prost::Message as _;
use terms::{Reason, Rejection};
use tokio::time::Instant;
use wire::session::{self as proto, call::Op, reply::Outcome};

use crate::api::context::Admitted;
use crate::api::participants::Participant;
use crate::api::pinned_map::PinnedMap;
use crate::shards::in_flight::Effect;

/// Asks the region of each participant of a put what binds that person, and adds it to the put.
///
/// # Errors
/// With the participant's path: `SUBJECT_UNKNOWN`, `SUBJECT_ERASED` and what else keeps a subject from
/// being used, `REGION_UNAVAILABLE`, `MAPS_DIFFER`. Nothing was stored.
pub(crate) async fn bind(
    pinned: &PinnedMap,
    admitted: &Admitted,
    deadline: Instant,
    participants: &[Participant],
    put: &mut proto::Put,
) -> Result<(), Rejection> {
    if participants.is_empty() {
        return Ok(());
    }
    let (epoch, collection) = (pinned.routing.map().epoch().number, put.collection.as_str());
    let asked = participants.iter().map(|one| async move {
        let proto::Binding { jurisdictions, map_epoch } =
            ask(pinned, admitted, deadline, collection, one).await?;
        // What it says must be of the map by which the owner's shard decides.
        if map_epoch == epoch { Ok(jurisdictions) } else { Err(Reason::MapsDiffer.into()) }
    });
    let asked = join_all(asked).await;
    let mut all = Vec::with_capacity(participants.len());
    for (n, (one, bound)) in participants.iter().zip(asked).enumerate() {
        let jurisdictions = bound.map_err(|fault: Rejection| {
            let of_person = fault.field.as_deref().is_some_and(|name| name.starts_with("subject"));
            fault.field(format!("participants[{n}]{}", if of_person { ".id" } else { "" }))
        })?;
        all.push(one.bound(jurisdictions));
    }
    put.participants = proto::Participants { all }.encode_to_vec().into();
    put.participants_epoch = epoch;
    Ok(())
}

async fn ask(
    pinned: &PinnedMap,
    admitted: &Admitted,
    deadline: Instant,
    collection: &str,
    one: &Participant,
) -> Result<proto::Binding, Rejection> {
    let tenant = &admitted.acting.caller.tenant;
    let route = pinned.routing.domicile(&one.region, tenant, &one.id)?;
    let (subject, collection) = (one.id.expose().to_owned(), collection.to_owned());
    let op = Op::AskBinding(proto::AskBinding { subject, collection });
    let call = admitted.shard_call(route.region(), deadline, Effect::Read, 0, op)?;
    let Outcome::Binding(binding) = route.send(call).await?.outcome else {
        return Err(Reason::Internal.into());
    };
    Ok(binding)
}
