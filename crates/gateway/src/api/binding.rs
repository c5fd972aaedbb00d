//! What binds the people that a record names besides its owner: their own regions say it, by
//! jurisdictions alone. Whether the record may lie with its owner then, the owner's shard decides.

use futures_util::future::join_all;
use prost::Message as _;
use terms::{Detail, Reason, Rejection, Retry};
use tokio::time::Instant;
use wire::session::{self as proto, call::Op, reply::Outcome};

use crate::api::context::Admitted;
use crate::api::participants::Participant;
use crate::api::pinned_map::PinnedMap;
use crate::shards::in_flight::Effect;

/// The number of no map: none could follow it.
const NO_MAP: u64 = u64::MAX;

/// Asks the region of each participant of a put what binds that person, and adds it to the put.
///
/// # Errors
/// With the participant's path: `SUBJECT_UNKNOWN`, `SUBJECT_ERASED` and what else keeps a subject from
/// being used, `REGION_UNAVAILABLE`, `MAPS_DIFFER`. The put then names them as under no map: sent
/// nevertheless, it is answered if it was done before, and stores nothing. See [`answered`].
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
    let unbound = participants.iter().map(|one| one.bound(Vec::new())).collect();
    put.participants = proto::Participants { all: unbound }.encode_to_vec().into();
    put.participants_epoch = NO_MAP;
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
        all.push(one.bound(bound.map_err(|fault| of_participant(n, fault))?));
    }
    put.participants = proto::Participants { all }.encode_to_vec().into();
    put.participants_epoch = epoch;
    Ok(())
}

/// A refusal of a participant's region, as the caller reads it. The gateway that this region wants is not
/// named: the body is the owner's, and is not to go there on the word of a participant's region.
fn of_participant(n: usize, mut fault: Rejection) -> Rejection {
    let of_person = fault.field.as_deref().is_some_and(|name| name.starts_with("subject"));
    if fault.reason == Reason::WrongIngress {
        fault.details.retain(|(key, _)| *key != Detail::Region && *key != Detail::Ingress);
        fault = fault.cure(
            "put the record without that person; or through a gateway in the territory of the law that \
             is named, if the owner's law lets the body go there",
        );
    }
    fault.field(format!("participants[{n}]{}", if of_person { ".id" } else { "" }))
}

/// What the caller is told of a put that was sent though its participants are not bound, for that reason.
/// Its shard has answered if it had done the put before. Where it is not known what it has done, the
/// caller must ask again.
pub(crate) fn answered<T>(
    unbound: Option<Rejection>,
    answer: Result<T, Rejection>,
) -> Result<T, Rejection> {
    match (unbound, answer) {
        (Some(why), Err(fault)) => {
            let open = fault.reason.retry() == Retry::SameRequestId;
            Err(if open && fault.reason != Reason::MapsDiffer { fault } else { why })
        }
        (_, answer) => answer,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_gateway_is_named_on_the_word_of_a_participants_region() {
        let ingress = "https://gateway.example.org:7400";
        let fault = Rejection::new(Reason::WrongIngress)
            .with(Detail::Conflicting, "RU")
            .with(Detail::Region, "ru-msk")
            .with(Detail::Ingress, ingress);
        let told = of_participant(1, fault);
        assert_eq!(told.field.as_deref(), Some("participants[1]"));
        assert_eq!(told.detail(Detail::Conflicting), Some("RU"));
        assert_eq!((told.detail(Detail::Region), told.detail(Detail::Ingress)), (None, None));
        assert!(!told.message().contains(ingress));
        // Where a person has moved is told.
        let moved = Rejection::new(Reason::SubjectMoved).field("subject.id");
        let told = of_participant(0, moved.with(Detail::Region, "eu-fra"));
        assert_eq!(told.field.as_deref(), Some("participants[0].id"));
        assert_eq!(told.detail(Detail::Region), Some("eu-fra"));
    }

    #[test]
    fn a_put_without_its_participants_is_open_only_where_its_shard_does_not_say() {
        let refused = |reason: Reason| Err::<(), _>(Rejection::new(reason));
        let told = |answer| {
            answered(Some(Reason::SubjectErased.into()), answer).map_err(|fault| fault.reason)
        };
        assert_eq!(told(Ok(())), Ok(()));
        assert_eq!(told(refused(Reason::MapsDiffer)), Err(Reason::SubjectErased));
        assert_eq!(told(refused(Reason::RegionUnavailable)), Err(Reason::RegionUnavailable));
        assert_eq!(told(refused(Reason::WriteOutcomeUnknown)), Err(Reason::WriteOutcomeUnknown));
    }
}
