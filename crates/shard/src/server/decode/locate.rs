//! Questions for a subject without its id.

use terms::{Reason, RegionId, Rejection};
use wire::session as proto;

use crate::node::Node;
use crate::policy::asker::Asker;
use crate::store::keys::Asked;
use crate::write::command::{Action, Claim};

/// Which subject is asked for.
pub(crate) fn asked(node: &Node, asker: &Asker, question: &[u8]) -> Result<Asked, Rejection> {
    let asked = node.namer.asked_for(&asker.tenant, question);
    let asked = asked.ok_or_else(|| Rejection::new(Reason::FieldInvalid).field("question"))?;
    if node.owns(asked.slot) { Ok(asked) } else { Err(Reason::SlotNotOwned.into()) }
}

/// A claim of another region.
pub(super) fn claim(node: &Node, asker: &Asker, of: &proto::Claim) -> Result<Action, Rejection> {
    let region = RegionId::parse(&of.region).map_err(|why| Rejection::id("region", why))?;
    let (of, validate_only) = (asked(node, asker, &of.question)?, of.validate_only);
    Ok(Action::Claim(Box::new(Claim { of, region, validate_only })))
}
