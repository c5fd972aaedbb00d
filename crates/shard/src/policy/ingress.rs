//! Through which gateways a record may come in.

use atlas::Country;
use terms::{Detail, Reason, Rejection};

use crate::node::Node;
use crate::policy::asker::Stands;
use crate::policy::rulings::Ruled;

/// Whether a put that was ruled so may come in through a gateway in that country.
pub(crate) fn may_enter(node: &Node, ruled: &Ruled, gateway: Country) -> Result<(), Rejection> {
    let Err(barred) = atlas::ingress(&ruled.attachments, Some(gateway)) else { return Ok(()) };
    Stands { gateway, caller: None }.refused(node, Reason::WrongIngress);
    let fault = barred.ingress_fault().with(Detail::Region, &node.region);
    // The gateway beside this shard is the right one only for laws that hold here.
    let serves = barred.conflicting().iter().all(|law| law.contains(node.territory));
    Err(match node.ingress.as_deref().filter(|_| serves) {
        Some(address) => fault.with(Detail::Ingress, address),
        None => fault.cure(
            "send the request to a gateway inside the territory that is named; the region's annex \
             names none",
        ),
    })
}
