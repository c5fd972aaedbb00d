//! From a patch on a session to a typed request.

use atlas::AttributeName;
use bytes::Bytes;
use terms::{Reason, Rejection};
use wire::session as proto;

use super::{address, attributes, condition, encrypted, request_id, transit};
use crate::node::Node;
use crate::policy::asker::Asker;
use crate::policy::rulings::body_fits;
use crate::store::indexed::AttributeChanges;
use crate::write::command::{Action, Patch, PatchedBody, Request};

/// A patch, with its body sealed, if it has one.
pub(super) fn patch(node: &Node, asker: &Asker, patch: proto::Patch) -> Result<Action, Rejection> {
    let address = address(node, asker, &patch.subject, &patch.collection, &patch.key)?;
    let body = transit::body_of_patch(node, &address, &patch)?;
    let changes = changes(&patch.attributes, &patch.remove)?;
    let condition = condition(patch.if_version, patch.etag)?;
    let fingerprint = node.namer.fingerprint(&[
        b"patch",
        &address.row,
        &[u8::from(body.is_some())],
        body.as_deref().unwrap_or_default(),
        &condition.if_version.map_or([0xff; 8], |version| version.0.to_be_bytes()),
        condition.etag.as_deref().unwrap_or_default().as_bytes(),
        &patch.attributes,
        patch.remove.join(",").as_bytes(),
    ]);
    let body = match body {
        None => PatchedBody::Stays(node.random()?),
        Some(body) => {
            body_fits(&node.map(), &address.collection, body.len())?;
            let content = encrypted(node, &address, &body)?;
            PatchedBody::New { content, bytes: body.len() }
        }
    };
    Ok(Action::Patch(Box::new(Patch {
        request: Request { id: request_id(&patch.request_id)?, fingerprint },
        address,
        condition,
        validate_only: patch.validate_only,
        body,
        changes,
    })))
}

/// What a patch changes of the attributes. A name that is removed has a form that no comma is part
/// of.
fn changes(set: &Bytes, removed: &[String]) -> Result<AttributeChanges, Rejection> {
    let set = attributes(set)?;
    let invalid = || Rejection::new(Reason::FieldInvalid).field("remove_attributes");
    if removed.len() > atlas::limits::ATTRIBUTES_MAX {
        return Err(invalid());
    }
    let name = |name: &String| AttributeName::parse(name).filter(|name| set.get(name).is_none());
    let removed = removed.iter().map(name).collect::<Option<Vec<_>>>().ok_or_else(invalid)?;
    Ok(AttributeChanges { set, removed })
}
