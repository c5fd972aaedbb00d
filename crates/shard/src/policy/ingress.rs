//! Through which gateways a record may come in.

use atlas::{Barred, Country, Moment};
use terms::{Collection, Detail, Reason, Rejection};

use crate::node::Node;
use crate::policy::asker::Stands;
use crate::policy::rulings::Ruled;

/// Whether a put that was ruled so may come in through a gateway in that country. A gateway abroad is
/// told the laws of the place, as it is where there is such a subject already.
pub(crate) fn may_enter(node: &Node, ruled: &Ruled, gateway: Country) -> Result<(), Rejection> {
    let judged = atlas::ingress(&ruled.attachments, Some(gateway));
    judged.map_err(|barred| {
        let of_place = || barred_of_absent(node, Some(ruled.placement.collection()), gateway);
        let of_place = (gateway != node.territory).then(of_place).flatten();
        wrong(node, &of_place.unwrap_or(barred), gateway)
    })
}

/// The laws of the place that bar a gateway in that country from some record that may lie here: of the
/// collection, or of the first that has such a law. None: there are none.
pub(crate) fn barred_of_absent(
    node: &Node,
    collection: Option<&Collection>,
    gateway: Country,
) -> Option<Barred> {
    let (map, date) = (node.map(), Moment::of(node.now()));
    let barred = |name: &Collection| {
        atlas::ingress_of_absent(&map, node.territory, name, date, Some(gateway)).err()
    };
    match collection {
        Some(name) => barred(name),
        None => map.collections().find_map(|rules| barred(rules.name())),
    }
}

/// The answer to what came in through a gateway in that country.
pub(crate) fn wrong(node: &Node, barred: &Barred, gateway: Country) -> Rejection {
    Stands { gateway, caller: None }.refused(node, Reason::WrongIngress);
    let fault = barred.ingress_fault().with(Detail::Region, &node.region);
    // The gateway beside this shard is the right one only for laws that hold here.
    let serves = barred.conflicting().iter().all(|law| law.contains(node.territory));
    match node.ingress.as_deref().filter(|_| serves) {
        Some(address) => fault.with(Detail::Ingress, address),
        None => fault.cure(
            "send the request to a gateway inside the territory that is named; the region's annex \
             names none",
        ),
    }
}
