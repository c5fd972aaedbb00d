//! Where a page ended, sealed under the region's keys: it holds values of attributes, and callers
//! keep it. It is bound to this shard, the caller, and all that was asked for besides the size of
//! the page, so it opens with the same question only.
//!
//! Layout: `01`, a nonce (12 bytes), the sealed place.

use aws_lc_rs::{digest, hmac};
use bytes::Bytes;
use terms::{Reason, Rejection, SlotSet};

use crate::Error;
use crate::node::Node;
use crate::policy::asker::Asker;
use crate::read::list::query::{ListQuery, Of};
use crate::store::aead::{NONCE_BYTES, SealKey, binding};

const FORMAT: u8 = 1;

/// Seals and opens the cursors of one question.
pub(crate) struct Cursors<'a> {
    node: &'a Node,
    key: SealKey,
    bound: [u8; 32],
}

impl<'a> Cursors<'a> {
    pub(crate) fn new(node: &'a Node, asker: &Asker, query: &ListQuery) -> Self {
        let tag = hmac::sign(&node.keyring.derive("list cursors"), b"key");
        let key = SealKey::new(tag.as_ref().first_chunk().expect("HMAC-SHA-256 has 32 bytes"));
        let wanted = query.participant.as_ref();
        // A list of a whole collection goes on only where the same people are: what has come since would not
        // be found. A feed tells of all that comes.
        let over_all = query.subject.is_none() && query.of != Of::Changes;
        let slots = node.slots.borrow().served.clone();
        let slots = Some(slots).filter(|slots| over_all && *slots != SlotSet::ALL);
        let slots = slots.map_or_else(String::new, |slots| slots.to_string());
        let parts = [
            node.region.as_str(),
            node.shard.as_str(),
            asker.tenant.as_str(),
            &query.caller,
            asker.who.caller.role.as_str(),
            query.collection.as_str(),
            query.subject.as_ref().map_or("", |owner| owner.subject.expose()),
            &query.filter,
            &query.order_by,
            query.view.as_str(),
            query.of.as_str(),
            wanted.map_or("", |wanted| wanted.id.expose()),
            wanted.and_then(|wanted| wanted.region.as_ref()).map_or("", |region| region.as_str()),
            &slots,
        ];
        let text = binding("list cursor v1", &parts, None);
        let bound = digest::digest(&digest::SHA256, &text);
        let bound = *bound.as_ref().first_chunk().expect("SHA-256 has 32 bytes");
        Self { node, key, bound }
    }

    /// Seals a place.
    pub(crate) fn seal(&self, place: &[u8]) -> Result<Bytes, Error> {
        let nonce: [u8; NONCE_BYTES] = self.node.random()?;
        let mut row = vec![FORMAT];
        row.extend_from_slice(&nonce);
        row.extend_from_slice(place);
        self.key.seal_tail(nonce, &self.bound, &mut row, 1 + NONCE_BYTES);
        Ok(row.into())
    }

    /// The place in a cursor.
    pub(crate) fn open(&self, cursor: &[u8]) -> Result<Vec<u8>, Rejection> {
        self.opened(cursor).ok_or_else(invalid)
    }

    fn opened(&self, cursor: &[u8]) -> Option<Vec<u8>> {
        let sealed = cursor.strip_prefix(&[FORMAT])?;
        let (nonce, sealed) = sealed.split_first_chunk()?;
        let mut sealed = sealed.to_vec();
        self.key.open(*nonce, &self.bound, &mut sealed).ok().map(|place| place.to_vec())
    }
}

/// A cursor that none of our answers gave to this question.
pub(crate) fn invalid() -> Rejection {
    Rejection::new(Reason::PageTokenInvalid).field("page_token")
}
