//! Writes that keep a part of a record: when it expires, its body, or its attributes.

use std::sync::Arc;

use ledger::entry::Kind;
use terms::{Reason, Rejection};

use crate::Error;
use crate::policy::asker::Asker;
use crate::policy::ingress::may_enter;
use crate::policy::rulings::{Ruled, body_fits, expiry, kept_expiry};
use crate::policy::standing_ruling::{How, settle};
use crate::store::aead::NONCE_BYTES;
use crate::store::record::{Address, Head, Stored};
use crate::write::command::{Content, Patch, PatchedBody, Touch, remembered};
use crate::write::transaction::{Change, Done, Transaction, validated};

impl Transaction<'_> {
    /// Changes when a record expires. The content stays, and with it opening and digest: the entry
    /// commits to the next version of the same content.
    pub(super) fn touch(&mut self, asker: &Asker, touch: Touch) -> Result<Done, Rejection> {
        let Touch { address, request, condition, validate_only, expires, nonce } = touch;
        self.lets_in(asker, &address.owner, Some(&address.collection), false)?;
        let subject =
            self.subject(&address.owner)?.ok_or_else(|| Rejection::new(Reason::SubjectUnknown))?;
        let head = self.head(&address, Some(&subject), validate_only)?;
        if let Some((head, done)) = remembered(head.as_ref(), &request) {
            return self.replay(&address, head, done, &request, None);
        }
        let expires = expiry(self.rules.map(), &address.collection, expires, self.now)?;
        let head = head.filter(|head| !head.is_deleted());
        let head = head.ok_or_else(|| Rejection::new(Reason::RecordNotFound).field("key"))?;
        condition.holds(Some(&head), &self.node.region)?;
        if validate_only {
            return Ok(validated(head.version.next(), None));
        }
        let content = self.kept_content(&address, &head, nonce)?;
        let (kind, indexed) = (Kind::Replace, head.indexed.clone());
        let (given, together) = (None, None);
        let change = Change { kind, request, content, given, expires, indexed, together };
        self.write(asker, &address, &subject, Some(&head), change, None)
    }

    /// Changes the body of a record, or some of its attributes. It is ruled like a put: what is
    /// added to a record may lie here only if the map in force says so.
    pub(super) fn patch(&mut self, asker: &Asker, patch: Patch) -> Result<Done, Rejection> {
        let Patch { address, request, condition, validate_only, body, changes } = patch;
        let (owner, collection) = (&address.owner, &address.collection);
        self.lets_in(asker, owner, Some(collection), false)?;
        let subject = self.subject(owner)?.ok_or_else(|| Rejection::new(Reason::SubjectUnknown))?;
        let head = self.head(&address, Some(&subject), validate_only)?;
        if let Some((head, done)) = remembered(head.as_ref(), &request) {
            let ruling = self.standing_ruling(owner, collection, Some(&subject));
            return self.replay(&address, head, done, &request, ruling);
        }
        let head = head.filter(|head| !head.is_deleted());
        let head = head.ok_or_else(|| Rejection::new(Reason::RecordNotFound).field("key"))?;
        if let PatchedBody::New { bytes, .. } = &body {
            body_fits(self.rules.map(), collection, *bytes)?;
        }
        let (node, minute) = (self.node, self.entries.minute());
        let enters = |ruled: &Ruled| may_enter(node, ruled, asker.stands.gateway);
        let how = How { given: None, create: false, minute, enters: &enters };
        let settled = settle(self.rules, owner, collection, Some(&subject), &how)?;
        let indexed = head.indexed.patched(self.rules.map().collection(collection), changes)?;
        let together = self.together(asker, owner, &settled, &indexed.participants)?;
        condition.holds(Some(&head), &self.node.region)?;
        if validate_only {
            return Ok(validated(head.version.next(), Some(settled.ruled)));
        }
        let content = match body {
            PatchedBody::New { content, .. } => content,
            PatchedBody::Stays(nonce) => self.kept_content(&address, &head, nonce)?,
        };
        let ruled = Arc::clone(&settled.ruled);
        let (subject, row) = self.adopt(owner, Some(subject), settled, &request)?;
        let (map, kind) = (self.rules.map(), Kind::Replace);
        let expires = kept_expiry(map, collection, head.expires, self.now);
        let given = None;
        let change = Change { kind, request, content, given, expires, indexed, together };
        let done = self.write(asker, &address, &subject, Some(&head), change, Some(ruled))?;
        // After the entry: what fails has put nothing into the group.
        if let Some(row) = row {
            self.batch.put(address.owner.row(), row);
            self.subjects.insert(address.owner.tag, subject);
        }
        Ok(done)
    }

    /// The content of a record for its next version: the same opening, digest and body, under a new
    /// head. It is taken out of the row that was read, so no write of the group may have changed the
    /// record before: see [`crate::write::fill`].
    fn kept_content(
        &self,
        address: &Address,
        head: &Head,
        nonce: [u8; NONCE_BYTES],
    ) -> Result<Content, Rejection> {
        let row = self.rows.get(&address.row).and_then(Option::as_ref);
        let row = row.ok_or(Error::Damaged("records"))?;
        let sealed = Stored::read(row).map_err(|_| Error::Damaged("records"))?.sealed_body(head);
        let Head { opening, digest, .. } = *head;
        Ok(Content { opening, digest, body_key: head.body_key.clone(), nonce, sealed })
    }
}
