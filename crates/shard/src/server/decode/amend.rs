//! Calls that change a record without a new body: its expiry, and its deletion.

use terms::Rejection;
use wire::session as proto;

use crate::node::Node;
use crate::policy::asker::Asker;
use crate::server::decode::{Chance, address, condition, expires, request_id};
use crate::write::command::{Action, Content, Delete, Request, Touch};

/// Changes when a record expires.
pub(super) fn touch(node: &Node, asker: &Asker, touch: proto::Touch) -> Result<Action, Rejection> {
    let address = address(node, asker, &touch.subject, &touch.collection, &touch.key)?;
    let condition = condition(touch.if_version, touch.etag)?;
    let fingerprint = node.namer.fingerprint(&[
        b"touch",
        &address.row,
        &condition.if_version.map_or([0xff; 8], |version| version.0.to_be_bytes()),
        condition.etag.as_deref().unwrap_or_default().as_bytes(),
        &touch.expire_ms.to_be_bytes(),
    ]);
    Ok(Action::Touch(Box::new(Touch {
        address,
        request: Request { id: request_id(&touch.request_id)?, fingerprint },
        condition,
        validate_only: touch.validate_only,
        expires: expires(touch.expire_ms)?,
        nonce: node.random()?,
    })))
}

/// A deletion.
pub(super) fn delete(
    node: &Node,
    asker: &Asker,
    delete: proto::Delete,
) -> Result<Action, Rejection> {
    let address = address(node, asker, &delete.subject, &delete.collection, &delete.key)?;
    let condition = condition(delete.if_version, delete.etag)?;
    let fingerprint = node.namer.fingerprint(&[
        b"delete",
        &address.row,
        &condition.if_version.map_or([0xff; 8], |version| version.0.to_be_bytes()),
        condition.etag.as_deref().unwrap_or_default().as_bytes(),
    ]);
    let Chance { opening, nonce, .. } = Chance::draw(node)?;
    Ok(Action::Delete(Box::new(Delete {
        request: Request { id: request_id(&delete.request_id)?, fingerprint },
        address,
        condition,
        validate_only: delete.validate_only,
        content: Content::none(opening, nonce),
    })))
}
