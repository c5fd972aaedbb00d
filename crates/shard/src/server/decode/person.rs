//! Calls about a subject as a whole.

use atlas::ErasureGround;
use terms::{Reason, RegionId, Rejection, UnixMillis};
use wire::session as proto;

use crate::node::Node;
use crate::policy::asker::Asker;
use crate::read::person::PersonAsked;
use crate::server::decode::{
    Chance, collection, given, owner, request_id, stated, ticket, transit,
};
use crate::store::subject::Blocked;
use crate::store::types::Minute;
use crate::write::command::{
    Action, Adjudicate, Block, Create, Erase, Reassess, Request, RotateKey,
};

/// The creation of a subject.
pub(super) fn create(
    node: &Node,
    asker: &Asker,
    create: proto::Create,
) -> Result<Action, Rejection> {
    let owner = owner(node, asker, &create.subject)?;
    let collection = collection(&create.collection)?;
    let given = given(&create.findings, create.phone_data, create.ip_data)?;
    let fingerprint =
        node.namer.fingerprint(&[b"create", &owner.tag.0, collection.as_str().as_bytes()]);
    let Chance { opening, .. } = Chance::draw(node)?;
    Ok(Action::Create(Box::new(Create {
        owner,
        collection,
        request: Request { id: request_id(&create.request_id)?, fingerprint },
        asked: ticket(create.asked)?,
        given,
        validate_only: create.validate_only,
        opening,
    })))
}

/// An erasure.
pub(super) fn erase(node: &Node, asker: &Asker, of: proto::Erase) -> Result<Action, Rejection> {
    let owner = owner(node, asker, &of.subject)?;
    reason(&of.reason)?;
    let deadline = of.deadline_minute;
    let collection = match of.collection.as_str() {
        "" => None,
        name => Some(collection(name)?),
    };
    let fingerprint = node.namer.fingerprint(&[
        b"erase",
        &owner.tag.0,
        of.collection.as_bytes(),
        of.reason.as_bytes(),
        &deadline.to_be_bytes(),
        &of.ground.to_be_bytes(),
        &of.arose_ms.to_be_bytes(),
    ]);
    Ok(Action::Erase(Box::new(Erase {
        owner,
        collection,
        request: Some(Request { id: request_id(&of.request_id)?, fingerprint }),
        reason: of.reason,
        deadline: Some(deadline).filter(|minute| *minute > 0).map(Minute),
        ground: ground(of.ground)?,
        arose: Some(of.arose_ms).filter(|ms| *ms > 0).map(UnixMillis),
        validate_only: of.validate_only,
        again: false,
        moved: None,
        opening: node.random()?,
    })))
}

/// The ground of an erasure, by its number on the wire.
fn ground(number: i32) -> Result<Option<ErasureGround>, Rejection> {
    Ok(match number {
        0 => None,
        1 => Some(ErasureGround::Unlawful),
        2 => Some(ErasureGround::PurposeReached),
        3 => Some(ErasureGround::ConsentWithdrawn),
        4 => Some(ErasureGround::Demand),
        _ => return Err(Rejection::new(Reason::FieldInvalid).field("ground")),
    })
}

/// A reassessment.
pub(super) fn reassess(
    node: &Node,
    asker: &Asker,
    of: proto::Reassess,
) -> Result<Action, Rejection> {
    let owner = owner(node, asker, &of.subject)?;
    reason(&of.reason)?;
    Ok(Action::Reassess(Box::new(Reassess {
        owner,
        given: given(&of.findings, of.phone_data, of.ip_data)?,
        reason: of.reason,
        validate_only: of.validate_only,
        opening: node.random()?,
    })))
}

/// A step of the choice of a subject's region.
pub(super) fn adjudicate(
    node: &Node,
    asker: &Asker,
    of: proto::Adjudicate,
) -> Result<Action, Rejection> {
    let owner = owner(node, asker, &of.subject)?;
    reason(&of.reason)?;
    let region = match of.region.as_str() {
        "" if of.validate_only => None,
        "" => return Err(Rejection::new(Reason::FieldMissing).field("region")),
        name => Some(RegionId::parse(name).map_err(|why| Rejection::id("region", why))?),
    };
    let fingerprint = node.namer.fingerprint(&[
        b"adjudicate",
        &owner.tag.0,
        asker.who.name.as_bytes(),
        of.region.as_bytes(),
        of.reason.as_bytes(),
        &[u8::from(of.confirm)],
    ]);
    Ok(Action::Adjudicate(Box::new(Adjudicate {
        owner,
        region,
        confirm: of.confirm,
        request: Request { id: request_id(&of.request_id)?, fingerprint },
        reason: of.reason,
        validate_only: of.validate_only,
        opening: node.random()?,
    })))
}

/// A rotation of a subject's keys.
pub(super) fn rotate_key(
    node: &Node,
    asker: &Asker,
    of: proto::RotateKey,
) -> Result<Action, Rejection> {
    let owner = owner(node, asker, &of.subject)?;
    reason(&of.reason)?;
    let parts = [&b"rotate key"[..], &owner.tag.0, of.reason.as_bytes()];
    let fingerprint = node.namer.fingerprint(&parts);
    Ok(Action::RotateKey(Box::new(RotateKey {
        owner,
        request: Some(Request { id: request_id(&of.request_id)?, fingerprint }),
        reason: of.reason,
        validate_only: of.validate_only,
        opening: node.random()?,
    })))
}

/// A block, or the end of one.
pub(super) fn block(node: &Node, asker: &Asker, of: &proto::Block) -> Result<Action, Rejection> {
    let owner = owner(node, asker, &of.subject)?;
    reason(&of.reason)?;
    let until = Some(of.until_minute).filter(|minute| *minute > 0).map(Minute);
    Ok(Action::Block(Box::new(Block {
        owner,
        blocked: until.map(|until| Blocked { until, then_erase: of.then_erase }),
        reason: of.reason.clone(),
        validate_only: of.validate_only,
        opening: node.random()?,
    })))
}

/// A question about what is held of a subject.
pub(crate) fn about(
    node: &Node,
    asker: &Asker,
    of: proto::Person,
) -> Result<PersonAsked, Rejection> {
    let proto::Person { subject, export, purpose, sealed_key, sealed_question } = of;
    stated("purpose", &purpose)?;
    if export && purpose.trim().is_empty() {
        return Err(Rejection::new(Reason::FieldMissing).field("purpose"));
    }
    let question = transit::question_for_many(node, sealed_key, sealed_question)?;
    if question.is_some() && !export {
        return Err(Rejection::new(Reason::FieldInvalid).field("sealed_question"));
    }
    let owner = owner(node, asker, &subject)?;
    Ok(PersonAsked { owner, export, purpose, question })
}

/// Why something is done, for the log.
pub(super) fn reason(text: &str) -> Result<(), Rejection> {
    if text.is_empty() {
        return Err(Rejection::new(Reason::FieldMissing).field("reason"));
    }
    stated("reason", text)
}
