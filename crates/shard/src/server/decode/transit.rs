//! Bodies that are sealed to this region: opened here, before anything else is done with them. A plain
//! body is let in where the map allows one.

use std::sync::OnceLock;

use bytes::Bytes;
use sealed::{Binding, Call, SEALED_OVERHEAD_BYTES};
use terms::{Reason, Rejection, limits};
use wire::session as proto;

use super::Write;
use crate::node::Node;
use crate::policy::egress::{BodyPart, SealedQuestion};
use crate::store::record::Address;
use crate::store::transit::binding;

// What gateways let in on top of the body is what a seal adds.
const _: () = assert!(limits::SEALED_OVERHEAD_BYTES == SEALED_OVERHEAD_BYTES);

impl Write {
    /// Whether its body is sealed: to open it takes longer than a session's loop may.
    pub(crate) const fn is_sealed(&self) -> bool {
        match self {
            Self::Put(put) => !put.sealed_key.is_empty(),
            Self::Patch(patch) => !patch.sealed_key.is_empty(),
            Self::Delete(_) | Self::Create(_) | Self::Touch(_) | Self::Erase(_) => false,
            Self::Block(_) | Self::RotateKey(_) | Self::Claim(_) | Self::Reassess(_) => false,
            Self::Relocate(_) | Self::GiveUpMove(_) | Self::Adjudicate(_) => false,
        }
    }
}

/// The body of a put as its caller means it.
pub(super) fn body_of_put(
    node: &Node,
    address: &Address,
    put: &proto::Put,
) -> Result<Bytes, Rejection> {
    let binding = Binding {
        request_id: &put.request_id,
        if_version: put.if_version,
        etag: &put.etag,
        ..binding(Call::Put, address)
    };
    body(node, address, &binding, &put.sealed_key, &put.body)
}

/// The same of a patch. None: it has none.
pub(super) fn body_of_patch(
    node: &Node,
    address: &Address,
    patch: &proto::Patch,
) -> Result<Option<Bytes>, Rejection> {
    let binding = Binding {
        request_id: &patch.request_id,
        if_version: patch.if_version,
        etag: &patch.etag,
        ..binding(Call::Patch, address)
    };
    match &patch.body {
        Some(sent) => body(node, address, &binding, &patch.sealed_key, sent).map(Some),
        None if patch.sealed_key.is_empty() => Ok(None),
        None => Err(Rejection::new(Reason::FieldInvalid).field("sealed_key")),
    }
}

fn body(
    node: &Node,
    address: &Address,
    binding: &Binding<'_>,
    key: &str,
    sent: &Bytes,
) -> Result<Bytes, Rejection> {
    if key.is_empty() {
        node.map().admit_plain(&address.collection, "body")?;
        return Ok(sent.clone());
    }
    if key.len() > limits::TRANSIT_KEY_ID_BYTES_MAX {
        return Err(Rejection::new(Reason::FieldInvalid).field("sealed_key"));
    }
    if sent.len() > limits::BODY_BYTES_MAX + SEALED_OVERHEAD_BYTES {
        return Err(Rejection::new(Reason::BodyTooLarge).field("body"));
    }
    let (body, _) = node.transit.open(key, node.now(), binding, sent, "body")?;
    Ok(body.into())
}

/// The question to which a get wants its body sealed. None: it wants it plain, and may have it so. A part of
/// a body is never sealed, and neither is what tells of a body alone, as its digest.
pub(super) fn question(
    node: &Node,
    address: &Address,
    part: Option<&BodyPart>,
    key: String,
    sealed: Bytes,
) -> Result<Option<SealedQuestion>, Rejection> {
    if key.is_empty() && sealed.is_empty() {
        let field = if part.is_some() { "collection" } else { "sealed_question" };
        node.map().admit_plain(&address.collection, field)?;
        return Ok(None);
    }
    let fits =
        key.len() <= limits::TRANSIT_KEY_ID_BYTES_MAX && sealed.len() == SEALED_OVERHEAD_BYTES;
    if part.is_some() || !fits {
        return Err(Rejection::new(Reason::FieldInvalid).field("sealed_question"));
    }
    node.transit.admit(&key, node.now())?;
    Ok(Some(SealedQuestion { key, sealed, answer: OnceLock::new() }))
}

/// The question to which a call wants the bodies of many records sealed. None: it has none.
pub(super) fn question_for_many(
    node: &Node,
    key: String,
    sealed: Bytes,
) -> Result<Option<SealedQuestion>, Rejection> {
    if key.is_empty() && sealed.is_empty() {
        return Ok(None);
    }
    if key.len() > limits::TRANSIT_KEY_ID_BYTES_MAX || sealed.len() != SEALED_OVERHEAD_BYTES {
        return Err(Rejection::new(Reason::FieldInvalid).field("sealed_question"));
    }
    node.transit.admit(&key, node.now())?;
    Ok(Some(SealedQuestion { key, sealed, answer: OnceLock::new() }))
}
