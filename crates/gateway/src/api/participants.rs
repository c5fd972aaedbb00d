//! The people that a record names besides its owner, in requests and answers.

use atlas::RegionMap;
use prost::Message as _;
use terms::limits::PARTICIPANTS_MAX;
use terms::{Detail, Reason, RegionId, Rejection, SubjectId};
use wire::session as proto;
use wire::v1;

use crate::auth::caller::Caller;

/// A person that a record is to name, well-formed.
pub(crate) struct Participant {
    pub(crate) id: SubjectId,
    pub(crate) region: RegionId,
}

impl Participant {
    /// As the owner's shard gets it, with the jurisdictions that bind the person.
    pub(crate) fn bound(&self, jurisdictions: Vec<String>) -> proto::Participant {
        proto::Participant {
            subject: self.id.expose().to_owned(),
            region: self.region.as_str().to_owned(),
            jurisdictions,
        }
    }
}

/// A person that listed records are to name.
pub(crate) struct Wanted {
    pub(crate) id: SubjectId,
    /// None: of any region.
    pub(crate) region: Option<RegionId>,
}

impl Wanted {
    pub(crate) fn read(map: &RegionMap, sent: v1::SubjectRef) -> Result<Self, Rejection> {
        let v1::SubjectRef { id, domicile } = sent;
        let id = SubjectId::parse(&id).map_err(|why| Rejection::id("participant.id", why))?;
        let region = Some(domicile).filter(|name| !name.is_empty());
        let region = region.map(|name| RegionId::parse(&name)).transpose();
        let region = region.map_err(|why| Rejection::id("participant.domicile", why))?;
        if region.as_ref().is_some_and(|region| map.region(region).is_none()) {
            return Err(Rejection::new(Reason::DomicileUnknown).field("participant.domicile"));
        }
        Ok(Self { id, region })
    }
}

/// Reads the participants of a record of that owner, whose regions the caller must be allowed to use.
pub(crate) fn read(
    map: &RegionMap,
    caller: &Caller,
    owner: &SubjectId,
    owner_region: Option<&RegionId>,
    sent: Vec<v1::SubjectRef>,
) -> Result<Vec<Participant>, Rejection> {
    if sent.len() > PARTICIPANTS_MAX {
        let fault = Rejection::new(Reason::TooManyItems).field("participants");
        return Err(fault.with(Detail::Limit, PARTICIPANTS_MAX));
    }
    let mut all: Vec<Participant> = Vec::with_capacity(sent.len());
    for (n, v1::SubjectRef { id, domicile }) in sent.into_iter().enumerate() {
        let path = |of: &str| format!("participants[{n}]{of}");
        let id = SubjectId::parse(&id).map_err(|why| Rejection::id(path(".id"), why))?;
        if domicile.is_empty() {
            let fault = Rejection::new(Reason::DomicileRequired).field(path(".domicile"));
            return Err(
                fault.cure("set the domicile that the participant's own first put returned")
            );
        }
        let region = RegionId::parse(&domicile);
        let region = region.map_err(|why| Rejection::id(path(".domicile"), why))?;
        caller.may_reach(&region)?;
        if map.region(&region).is_none() {
            return Err(Rejection::new(Reason::DomicileUnknown).field(path(".domicile")));
        }
        let fault = |problem| Rejection::new(Reason::FieldInvalid).field(path("")).problem(problem);
        if id == *owner && owner_region == Some(&region) {
            return Err(fault("is the owner of the record"));
        }
        if all.iter().any(|one| one.id == id && one.region == region) {
            return Err(fault("is named twice"));
        }
        all.push(Participant { id, region });
    }
    Ok(all)
}

/// The participants of a record as callers read them, from what a shard has sent.
pub(crate) fn to_api(sent: &[u8]) -> Result<Vec<v1::SubjectRef>, Rejection> {
    let one = |one: proto::Participant| v1::SubjectRef { id: one.subject, domicile: one.region };
    let sent = proto::Participants::decode(sent).map_err(|_| Reason::Internal)?;
    Ok(sent.all.into_iter().map(one).collect())
}
