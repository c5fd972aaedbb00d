//! Calls about moves of subjects to other regions.

use terms::{RegionId, Rejection};
use wire::session as proto;

use crate::node::Node;
use crate::policy::asker::Asker;
use crate::read::before_move;
use crate::server::decode::person::reason;
use crate::server::decode::{given, request_id};
use crate::store::keys::Owner;
use crate::write::command::{Action, Depart, DepartStep, Request};
use crate::write::move_command::{GiveUp, Order};

/// The order of a move. Reads all heads of the subject's records: blocks its thread.
pub(super) fn relocate(
    node: &Node,
    asker: &Asker,
    of: proto::Relocate,
) -> Result<Action, Rejection> {
    let owner = owner(node, asker, &of.subject)?;
    reason(&of.reason)?;
    let to = RegionId::parse(&of.region).map_err(|why| Rejection::id("region", why))?;
    let fingerprint = node.namer.fingerprint(&[
        b"relocate",
        &owner.tag.0,
        of.region.as_bytes(),
        of.reason.as_bytes(),
        &of.findings,
    ]);
    let request = Request { id: request_id(&of.request_id)?, fingerprint };
    let given = given(&of.findings, of.phone_data, of.ip_data)?;
    // To one who stands abroad, it must not tell by its time whether there is such a subject.
    let home = asker.stands.at_home(node.territory);
    let looked = if home { before_move::look(node, &owner, request.id)? } else { None };
    let order =
        Order { to, request, reason: of.reason, given, validate_only: of.validate_only, looked };
    let (opening, step) = (node.random()?, DepartStep::Order(Box::new(order)));
    Ok(Action::Depart(Box::new(Depart { owner, opening, step })))
}

/// A move is given up. `move_id`: only this one; empty: whichever goes on.
pub(super) fn give_up(
    node: &Node,
    asker: &Asker,
    subject: &str,
    why: String,
    move_id: &[u8],
) -> Result<Action, Rejection> {
    let owner = owner(node, asker, subject)?;
    reason(&why)?;
    let move_id = (!move_id.is_empty()).then(|| request_id(move_id)).transpose()?;
    let step = DepartStep::GiveUp(Box::new(GiveUp { reason: why, refused: None, move_id }));
    Ok(Action::Depart(Box::new(Depart { owner, opening: node.random()?, step })))
}

/// The subject of a call about a move.
pub(crate) fn owner(node: &Node, asker: &Asker, subject: &str) -> Result<Owner, Rejection> {
    super::owner(node, asker, subject)
}
