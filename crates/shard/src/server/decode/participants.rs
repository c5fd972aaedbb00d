//! The people that a record names besides its owner.

use std::collections::HashSet;

use atlas::Jurisdiction;
use prost::Message as _;
use terms::{Collection, Detail, Reason, RegionId, Rejection, SubjectId, limits};
use wire::session as proto;

use crate::node::Node;
use crate::policy::asker::Asker;
use crate::read::list::Wanted;
use crate::server::decode::{collection, owner};
use crate::store::codec::Writer;
use crate::store::keys::Owner;
use crate::store::participants::Participant;

/// Bytes of the participants of a request, encoded: more than as many as may be ever have.
const ENCODED_BYTES_MAX: usize = 16 << 10;

/// The participants of a record of that owner.
pub(crate) fn participants(
    node: &Node,
    owner: &Owner,
    sent: &[u8],
) -> Result<Vec<Participant>, Rejection> {
    let malformed = || Rejection::new(Reason::FieldInvalid).field("participants");
    // What is decoded is bounded by its bytes.
    if sent.len() > ENCODED_BYTES_MAX {
        return Err(malformed());
    }
    let sent = proto::Participants::decode(sent).map_err(|_| malformed())?.all;
    if sent.len() > limits::PARTICIPANTS_MAX {
        let fault = Rejection::new(Reason::TooManyItems).field("participants");
        return Err(fault.with(Detail::Limit, limits::PARTICIPANTS_MAX));
    }
    let (mut all, mut seen) = (Vec::with_capacity(sent.len()), HashSet::new());
    for (n, one) in sent.into_iter().enumerate() {
        let path = |of: &str| format!("participants[{n}]{of}");
        let id = SubjectId::parse(&one.subject).map_err(|why| Rejection::id(path(".id"), why))?;
        let region = RegionId::parse(&one.region);
        let region = region.map_err(|why| Rejection::id(path(".domicile"), why))?;
        let fault = |problem| Rejection::new(Reason::FieldInvalid).field(path("")).problem(problem);
        if id == owner.subject && region == node.region {
            return Err(fault("is the owner of the record"));
        }
        if !seen.insert((id.clone(), region.clone())) {
            return Err(fault("is named twice"));
        }
        let codes = one.jurisdictions.iter().map(|code| Jurisdiction::parse(code));
        let jurisdictions = codes.collect::<Option<Vec<_>>>();
        let jurisdictions = jurisdictions
            .filter(|all| all.len() <= limits::PARTICIPANT_JURISDICTIONS_MAX)
            .ok_or_else(|| fault("comes with jurisdictions that are none"))?;
        all.push(Participant { id, region, jurisdictions });
    }
    Ok(all)
}

/// What of the participants tells one request from another: not what binds them, which may change
/// before a retry.
pub(crate) fn fingerprint(all: &[Participant]) -> Vec<u8> {
    let mut text = Writer::with_capacity(64 * all.len());
    for one in all {
        text.text(one.id.expose()).text(one.region.as_str());
    }
    text.0
}

/// The person that listed records are to name. None: it does not matter.
pub(super) fn wanted(id: &str, region: &str) -> Result<Option<Wanted>, Rejection> {
    if id.is_empty() {
        return Ok(None);
    }
    let id = SubjectId::parse(id).map_err(|why| Rejection::id("participant.id", why))?;
    let region = Some(region).filter(|region| !region.is_empty()).map(RegionId::parse);
    let region = region.transpose().map_err(|why| Rejection::id("participant.domicile", why))?;
    Ok(Some(Wanted { id, region }))
}

/// The person and the collection of a question about what binds a person.
pub(crate) fn asked(
    node: &Node,
    asker: &Asker,
    of: &proto::AskBinding,
) -> Result<(Owner, Collection), Rejection> {
    Ok((owner(node, asker, &of.subject)?, collection(&of.collection)?))
}
