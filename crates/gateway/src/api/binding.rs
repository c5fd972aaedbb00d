//! What binds the people that a record names besides its owner: their own regions say it, by
//! jurisdictions alone. Whether the record may lie with its owner then, the owner's shard decides.

use futures_util::future::join_all;
use terms::{Reason, RegionId, Rejection, SubjectId};
use tokio::time::Instant;
use wire::session::{self as proto, call::Op, reply::Outcome};

use crate::api::context::Admitted;
use crate::api::pinned_map::PinnedMap;
use crate::shards::in_flight::Effect;

/// Asks the region of each participant of a put what binds that person.
///
/// # Errors
/// With the participant's path: `SUBJECT_UNKNOWN`, `SUBJECT_ERASED` and what else keeps a subject from
/// being used, `REGION_UNAVAILABLE`, `MAPS_DIFFER`. Nothing was stored.
pub(crate) async fn bind(
    pinned: &PinnedMap,
    admitted: &Admitted,
    deadline: Instant,
    put: &mut proto::Put,
) -> Result<(), Rejection> {
    if put.participants.is_empty() {
        return Ok(());
    }
    let (epoch, collection) = (pinned.routing.map().epoch().number, put.collection.as_str());
    let asked = put.participants.iter().map(|one| async move {
        let proto::Binding { jurisdictions, map_epoch } =
            ask(pinned, admitted, deadline, collection, one).await?;
        // What it says must be of the map by which the owner's shard decides.
        if map_epoch == epoch { Ok(jurisdictions) } else { Err(Reason::MapsDiffer.into()) }
    });
    let asked = join_all(asked).await;
    for (n, (one, bound)) in put.participants.iter_mut().zip(asked).enumerate() {
        one.jurisdictions = bound.map_err(|fault: Rejection| {
            let of_person =
                matches!(fault.field.as_deref(), Some(name) if name.starts_with("subject"));
            fault.field(format!("participants[{n}]{}", if of_person { ".id" } else { "" }))
        })?;
    }
    put.participants_epoch = epoch;
    Ok(())
}

async fn ask(
    pinned: &PinnedMap,
    admitted: &Admitted,
    deadline: Instant,
    collection: &str,
    one: &proto::Participant,
) -> Result<proto::Binding, Rejection> {
    let id = SubjectId::parse(&one.subject).map_err(|why| Rejection::id("subject.id", why))?;
    let region = RegionId::parse(&one.region).map_err(|why| Rejection::id("domicile", why))?;
    let route = pinned.routing.domicile(&region, &admitted.acting.caller.tenant, &id)?;
    let (subject, collection) = (one.subject.clone(), collection.to_owned());
    let op = Op::AskBinding(proto::AskBinding { subject, collection });
    let call = admitted.shard_call(route.region(), deadline, Effect::Read, 0, op)?;
    let Outcome::Binding(binding) = route.send(call).await?.outcome else {
        return Err(Reason::Internal.into());
    };
    Ok(binding)
}
