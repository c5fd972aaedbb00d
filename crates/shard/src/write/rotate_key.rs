//! The keys of a subject are replaced: its own, and those of its collections.
//!
//! The first commit draws them. From then on each record's head is sealed again under the new key of its
//! collection, in the order of the rows, some in each commit; so are uploads in progress. Reads and
//! writes go on meanwhile: the place of a head says which key opens it ([`Subject::key_of`]). The last
//! commit forgets the old keys, with a KEY entry. If no caller asks to go on, the shard itself does.

use engine::Span;
use ledger::entry::{Detail as Said, Kind};
use ledger::statement::content_digest;
use terms::{Reason, Rejection};

use crate::Error;
use crate::policy::asker::Asker;
use crate::policy::subject_status;
use crate::reply::Written;
use crate::store::attachment::Upload;
use crate::store::keys;
use crate::store::keys::Owner;
use crate::store::move_proof::MoveProof;
use crate::store::record::Stored;
use crate::store::rotation::{Rotated, Rotation};
use crate::store::subject::Subject;
use crate::store::types::{Recent, Version};
use crate::write::command::RotateKey;
use crate::write::entries::subject_statement;
use crate::write::erase::{RECORDS_AT_ONCE, unknown};
use crate::write::retries::Retry;
use crate::write::transaction::{Done, Known, Transaction};

/// Heads that are read at once.
const ROWS_AT_ONCE: usize = 256;
/// Bytes that one commit writes, roughly: other writes wait meanwhile.
const STEP_BYTES: usize = 4 << 20;

impl Transaction<'_> {
    /// Rotates a subject's keys, or goes on with that.
    pub(super) fn rotate_key(
        &mut self,
        asker: &Asker,
        rotate: &RotateKey,
    ) -> Result<Done, Rejection> {
        let owner = &rotate.owner;
        self.lets_in(asker, owner, None, false)?;
        let subject = match self.known_subject(owner)? {
            None => return Err(unknown()),
            Some(Known::Erased(stone)) => return Err(subject_status::gone(&stone)),
            Some(Known::Kept(subject)) => subject,
        };
        if let Some(done) = self.rotated_before(rotate, &subject)? {
            return Ok(done);
        }
        subject_status::admit(&subject, self.now)?;
        // One at a time: the keys that another has drawn may be older than the reason for this one.
        let another = |rotation: &Rotation| {
            rotate.request.is_some_and(|request| request.id != rotation.request_id)
        };
        if subject.erasing.is_some() || subject.rotation().is_some_and(another) {
            // It goes on by itself, and is done within seconds.
            return Err(Reason::ShardBusy.into());
        }
        if rotate.validate_only {
            let records = self.count(owner, &subject, owner.records(), None)?;
            return Ok(Done::written(Written { records, ..Default::default() }));
        }
        let mut after = match subject.rotation() {
            Some(_) => Subject::clone(&subject),
            None => self.with_new_keys(rotate, &subject)?,
        };
        let more = self.seal_again(owner, &subject, &mut after)?;
        let records = after.rotation().map_or(0, |rotation| rotation.heads);
        let written = if more {
            Written { records, unfinished: true, ..Default::default() }
        } else {
            self.end_rotation(asker, rotate, &mut after)?
        };
        self.change_due(owner, subject.due(), after.due());
        self.keep(owner, after)?;
        Ok(Done::written(written))
    }

    /// The answer to the last rotation that is done.
    fn rotated_before(
        &self,
        rotate: &RotateKey,
        subject: &Subject,
    ) -> Result<Option<Done>, Rejection> {
        let Some(request) = rotate.request else {
            // The shard asks itself: a caller may have been faster.
            let none = subject.rotation().is_none();
            return Ok(none.then(|| Done::written(Written::default())));
        };
        let reused = || Rejection::new(Reason::RequestIdReused).field("request_id");
        let now = subject.rotation().filter(|rotation| rotation.request_id == request.id);
        if now.is_some_and(|rotation| rotation.fingerprint != request.fingerprint) {
            return Err(reused());
        }
        let done = subject.rotated.filter(|rotated| rotated.by.request_id == request.id);
        let Some(Rotated { by, opening, heads }) = done else { return Ok(None) };
        if by.fingerprint != request.fingerprint {
            return Err(reused());
        }
        let written = Written {
            records: heads,
            replayed: true,
            index: by.entry.index,
            origin: Some(self.entries.origin_of(by.entry)?),
            ..Default::default()
        };
        let statement = subject_statement(&rotate.owner, None, content_digest(&opening, &[]));
        Ok(Some(self.retried(Retry { written, opening, statement, entry: by.entry })))
    }

    /// The subject with new keys, and what is sealed under its own.
    fn with_new_keys(
        &mut self,
        rotate: &RotateKey,
        subject: &Subject,
    ) -> Result<Subject, Rejection> {
        let (node, owner) = (self.node, &rotate.owner);
        let request = rotate.request.ok_or(Reason::Internal)?;
        let of = Rotation {
            request_id: request.id,
            fingerprint: request.fingerprint,
            began: self.entries.minute(),
            reason: rotate.reason.clone(),
            heads: 0,
            done_to: Vec::new(),
        };
        let after = subject.with_new_keys(owner, node.subject_keys(), &*node.entropy, of)?;
        self.seal_accesses(owner, subject, &after)?;
        self.seal_move_proof(owner, subject, &after)?;
        Ok(after)
    }

    /// Seals the proof of the subject's last move to here, if it came by one.
    fn seal_move_proof(
        &mut self,
        owner: &Owner,
        before: &Subject,
        after: &Subject,
    ) -> Result<(), Rejection> {
        let (row, node) = (owner.move_proof(), self.node);
        let Some((_, stored)) = self.scan(&Span::prefix(&row), 1)?.rows.pop() else {
            return Ok(());
        };
        let (of, region) = (before.incarnation, &node.region);
        let proof = MoveProof::open(&stored, owner, of, region, before.key())?;
        let sealed = proof.seal(owner, of, region, after.key(), node.random()?);
        self.batch.put(row, sealed);
        Ok(())
    }

    /// Seals heads and uploads under the new keys, as many as one commit takes. Whether there are more.
    fn seal_again(
        &mut self,
        owner: &Owner,
        before: &Subject,
        after: &mut Subject,
    ) -> Result<bool, Rejection> {
        let from = after.rotation().map(|rotation| rotation.done_to.clone()).unwrap_or_default();
        let mut span = owner.records();
        if !from.is_empty() {
            span.from = past(&from);
        }
        let (mut heads, mut done_to, mut more) = (0, from.clone(), true);
        while more && heads < RECORDS_AT_ONCE && self.bytes() < STEP_BYTES {
            let page = self.scan(&span, ROWS_AT_ONCE.min(RECORDS_AT_ONCE - heads))?;
            for (key, row) in &page.rows {
                self.seal_head(owner, before, after, key, row)?;
            }
            heads += page.rows.len();
            more = page.more;
            if let Some((last, _)) = page.rows.last() {
                span.from = past(last);
                done_to.clone_from(last);
            }
        }
        // All that are left, once no head is.
        let until = if more { past(&done_to) } else { owner.records().until };
        self.seal_uploads(owner, before, after, &Span { from: past(&from), until })?;
        after.sealed_to(done_to, u64::try_from(heads).unwrap_or(u64::MAX));
        Ok(more)
    }

    fn seal_head(
        &mut self,
        owner: &Owner,
        before: &Subject,
        after: &Subject,
        key: &[u8],
        row: &[u8],
    ) -> Result<(), Rejection> {
        let node = self.node;
        let (address, head) = self.opened(owner, before, key, row)?;
        let stored = Stored::read(row).map_err(|_| Error::Damaged("records"))?;
        let new = after.new_key_of(key).map_err(Error::from)?;
        let sealed = stored.sealed_body(&head);
        let rows = sealed.into_rows(&address, &node.region, &head, new, node.random()?);
        self.batch.put(address.row, rows.head);
        Ok(())
    }

    /// Seals the uploads for records whose heads lie, or will lie, within that span.
    fn seal_uploads(
        &mut self,
        owner: &Owner,
        before: &Subject,
        after: &Subject,
        heads: &Span,
    ) -> Result<(), Rejection> {
        let (node, damaged) = (self.node, || Error::Damaged("uploads"));
        // A subject has few of them.
        for (at, row) in self.scan(&owner.uploads(), ROWS_AT_ONCE)?.rows {
            let head = keys::uploaded_record(&at).ok_or_else(damaged)?;
            if head < heads.from || head >= heads.until {
                continue;
            }
            let new = after.new_key_of(&head).map_err(Error::from)?;
            let opened = Upload::open(&row, &at, &head, owner, node.subject_keys(), Some(before));
            let (address, upload) = opened.map_err(|_| damaged())?.ok_or_else(damaged)?;
            // One that was begun before its subject was stored has a key of its own.
            if upload.has_own_key() {
                continue;
            }
            let sealed = upload.seal(&address, &at, &node.region, new, node.random()?);
            self.batch.put(at, sealed);
        }
        Ok(())
    }

    /// The end: its entry, and the old keys are gone.
    fn end_rotation(
        &mut self,
        asker: &Asker,
        rotate: &RotateKey,
        after: &mut Subject,
    ) -> Result<Written, Rejection> {
        let Some(rotation) = after.rotation().cloned() else { return Err(Reason::Internal.into()) };
        let Rotation { request_id, fingerprint, reason, heads, .. } = rotation;
        let mut entry = self.entries.about_subject(Kind::Key, asker);
        entry.say(Said::Reason(reason));
        entry.say(Said::Count(heads));
        let at = self.entries.next();
        let receipt = self.append_about(&rotate.owner, None, &rotate.opening, entry)?;
        let minute = self.entries.minute();
        let version = Version::NONE;
        let by = Recent { request_id, fingerprint, minute, version, entry: at };
        after.has_rotated(Rotated { by, opening: rotate.opening, heads });
        Ok(Written {
            records: heads,
            index: at.index,
            origin: Some(self.entries.own_origin()),
            receipt: Some(receipt),
            ..Default::default()
        })
    }
}

/// The first key past that one; past none, the first of all.
fn past(key: &[u8]) -> engine::Key {
    if key.is_empty() { Vec::new() } else { [key, &[0]].concat() }
}
