//! What is done to a subject as a whole: it is erased, blocked, or unblocked.
//!
//! An erasure destroys the subject's key, findings and rulings, all rows of its records, and what
//! finds them: index rows, expiry, copies that are due, attachments and uploads in progress. An
//! attachment's chunks, whose key is gone with its head, are deleted in later commits. A tombstone
//! takes the place of the subject's row in the same commit, so no late retry creates the subject
//! again. A subject with more records than one commit takes is refused to everyone from the first
//! commit on; the erasure goes on in the next, whichever caller asks for it, and the shard asks
//! itself if none does. Where another region still has copies of a move that was given up, the erasure
//! ends once that region has erased them. A move to another region ends in the same way, but for its
//! entries.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::{Order, ScanLimit, Span};
use ledger::entry::{CopyEnd, Detail as Said, Entry, Kind};
use ledger::statement::{commitment, content_digest};
use terms::{Collection, Reason, RegionId, Rejection, limits};

use crate::Error;
use crate::log::erasure_file;
use crate::policy::asker::Asker;
use crate::policy::subject_status;
use crate::reply::{Receipt, Written};
use crate::store::attachment;
use crate::store::erasure::{Erasure, GONE_FORMAT};
use crate::store::index_keys::Named;
use crate::store::indexed::Indexed;
use crate::store::keys;
use crate::store::keys::Owner;
use crate::store::record::{Address, Body, Head, Stored};
use crate::store::subject::{Blocked, Status, Subject};
use crate::store::tombstone::Tombstone;
use crate::store::types::{Fingerprint, Minute, Recent, Version};
use crate::write::command::{Block, Erase, Request};
use crate::write::entries::{rule_into, subject_statement};
use crate::write::erasure_terms::deadline;
use crate::write::index_rows::{self, ChangedRows};
use crate::write::transaction::{Done, Known, Transaction};

/// Records that one commit erases.
pub(super) const RECORDS_AT_ONCE: usize = 4_096;
/// Heads that are read at once, and their bytes.
const ROWS_AT_ONCE: usize = 256;
const BYTES_AT_ONCE: usize = 4 << 20;
/// Bytes that one commit of an erasure writes, roughly: keys of rows that go.
const COMMIT_BYTES: usize = limits::COMMIT_BYTES_MAX;
/// The format of a row that says that something is due: it is the whole value.
const DUE_FORMAT: u8 = 1;
/// Minutes of the longest block: 100 years.
const BLOCK_MINUTES_MAX: u32 = 100 * 366 * 24 * 60;

/// The records that one commit erases.
#[derive(Default)]
pub(super) struct Gone {
    /// Live ones.
    pub(super) live: BTreeMap<Collection, u64>,
    /// There are more.
    pub(super) more: bool,
}

impl Gone {
    pub(super) fn records(&self) -> u64 {
        self.live.values().sum()
    }
}

impl Transaction<'_> {
    /// Erases a subject, or goes on with that.
    pub(super) fn erase(&mut self, asker: &Asker, erase: &Erase) -> Result<Done, Rejection> {
        let owner = &erase.owner;
        self.lets_in(asker, owner, erase.collection.as_ref(), false)?;
        if let Some(collection) = &erase.collection {
            return self.erase_collection(asker, erase, collection);
        }
        let subject = match self.known_subject(owner)? {
            None => {
                self.take_first_uploads(erase, owner.uploads())?;
                return Err(self.unknown_to_mirrors());
            }
            Some(Known::Erased(stone)) => return self.erased_before(erase, &stone),
            Some(Known::Kept(subject)) => subject,
        };
        let mut erasure = self.erasure(erase, &subject)?;
        let terms = self.erasure_terms(erase, &subject)?;
        erasure.deadline = erasure.deadline.or_else(|| deadline(erase, &terms));
        if erase.validate_only {
            let records = self.count(owner, &subject, owner.records(), None)?;
            return Ok(Done::written(Written { records, terms, ..Default::default() }));
        }
        self.forget_move(erase, &subject)?;
        let gone = self.take_records(owner, &subject, owner.records(), None)?;
        for (collection, live) in &gone.live {
            let entry = self.of_collection(asker, owner, &subject, collection, *live);
            self.entries.append(&entry)?;
        }
        let records = erasure.records + gone.records();
        // Once none of its own records is left, what finds it in those of others goes.
        if gone.more || self.take_named(owner)? || self.take_rows(owner.gone_requests())? {
            let status = Status::Erasing(Erasure { records, ..erasure });
            self.set_status(owner, &subject, status)?;
            return Ok(Done::written(Written { records, unfinished: true, ..Default::default() }));
        }
        let mut copied = self.copies_of(owner)?;
        copied.extend(self.drop_copies(owner, None, gone_why(erase))?);
        copied.extend(self.mirrors_not_asked()?);
        if let Some(to) = copied.first().filter(|_| !erase.again) {
            let waits = matches!(subject.status, Status::Erasing(_)) && gone.live.is_empty();
            if waits && erase.request.is_some() {
                return Err(subject_status::copies_not_erased(to));
            }
            if !waits {
                let status = Status::Erasing(Erasure { records, ..erasure });
                self.set_status(owner, &subject, status)?;
            }
            return Ok(Done::written(Written { records, unfinished: true, ..Default::default() }));
        }
        self.take_uploads(owner.uploads())?;
        let buried = self.bury(asker, erase, &subject, Erasure { records, ..erasure })?;
        Ok(Done::written(Written { terms, ..buried }))
    }

    /// What is to be remembered of the erasure, if the subject's status allows it.
    fn erasure(&self, erase: &Erase, subject: &Subject) -> Result<Erasure, Rejection> {
        let now = self.entries.minute();
        match &subject.status {
            Status::Erasing(erasure) => {
                let same = erase.again
                    || erase.request.is_none_or(|Request { id, fingerprint }| {
                        (id, fingerprint) == (erasure.request_id, erasure.fingerprint)
                    });
                return if same { Ok(erasure.clone()) } else { Err(subject_status::erased()) };
            }
            _ if erase.again => {}
            // What was blocked in order to be erased then.
            Status::Blocked(blocked)
                if blocked.then_erase && subject_status::is_over(blocked, self.now) => {}
            Status::Live
            | Status::Blocked(_)
            | Status::Moving(_)
            | Status::Left(_)
            | Status::Arriving(_) => subject_status::admit(subject, self.now)?,
        }
        Ok(begun(erase, now))
    }

    /// The answer to an erasure of what was erased.
    fn erased_before(&self, erase: &Erase, stone: &Tombstone) -> Result<Done, Rejection> {
        let Some(request) = erase.request else { return Ok(Done::written(Written::default())) };
        if request.id != stone.by.request_id || stone.moved.is_some() {
            return Err(subject_status::gone(stone));
        }
        if request.fingerprint != stone.by.fingerprint {
            return Err(Rejection::new(Reason::RequestIdReused).field("request_id"));
        }
        // Its opening no longer exists.
        Ok(Done::written(Written {
            replayed: true,
            records: stone.records,
            index: stone.by.entry.index,
            origin: Some(self.entries.origin_of(stone.by.entry)?),
            ..Default::default()
        }))
    }

    /// Puts the tombstone in the place of the subject, under an entry of its own.
    fn bury(
        &mut self,
        asker: &Asker,
        erase: &Erase,
        subject: &Subject,
        erasure: Erasure,
    ) -> Result<Written, Rejection> {
        let owner = &erase.owner;
        let Erasure { request_id, fingerprint, records, reason, deadline, .. } = erasure;
        let mut entry = self.entries.about_subject(Kind::Erase, asker);
        entry.say(Said::Reason(reason));
        deadline.into_iter().for_each(|minute| entry.say(Said::Deadline(minute.0)));
        let at = self.entries.next();
        let receipt = self.append_about(owner, None, &erase.opening, entry)?;
        let minute = self.entries.minute();
        let by = Recent { request_id, fingerprint, minute, version: Version::NONE, entry: at };
        let (incarnation, moved) = (subject.incarnation, erase.moved.clone());
        let stone = Tombstone { incarnation, records, by, moved };
        let (place, row) = (self.entries.place(at), owner.row());
        let stone_row = stone.row(owner.tag, &self.node.namer);
        if stone.moved.is_some() {
            // It may come back, and then another row stands in the place of this one.
            erasure_file::list_moved(&mut self.batch, place, &row, &stone_row);
        } else {
            erasure_file::list(&mut self.batch, place, &row, None);
        }
        self.batch.put(row, stone_row);
        self.batch.delete(owner.accesses());
        self.batch.delete(owner.move_proof());
        // It may have been arriving when a backup was made that was restored.
        self.batch.delete(keys::arriving(&owner.row()));
        self.change_due(owner, subject.due(), None);
        self.subjects.remove(&owner.tag);
        self.erased.push(owner.tag);
        self.node.metrics.erased.inc();
        Ok(Written {
            records,
            index: at.index,
            origin: Some(self.entries.own_origin()),
            receipt: Some(receipt),
            ..Default::default()
        })
    }

    /// Blocks a subject, or lifts the block.
    pub(super) fn block(&mut self, asker: &Asker, block: &Block) -> Result<Done, Rejection> {
        let owner = &block.owner;
        self.lets_in(asker, owner, None, false)?;
        let subject = match self.known_subject(owner)? {
            None => return Err(unknown()),
            Some(Known::Erased(stone)) => return Err(subject_status::gone(&stone)),
            Some(Known::Kept(subject)) => subject,
        };
        // A rotation of keys waits for the end of the block: its rows say which key opens them.
        if subject.erasing.is_some() {
            // It goes on by itself, and is done within seconds.
            return Err(Reason::ShardBusy.into());
        }
        let before = match &subject.status {
            Status::Live => None,
            Status::Blocked(blocked) => Some(*blocked),
            Status::Moving(_) | Status::Left(_) | Status::Arriving(_) | Status::Erasing(_) => {
                return subject_status::admit(&subject, self.now).map(|()| unchanged());
            }
        };
        if before == block.blocked {
            return Ok(unchanged());
        }
        if let Some(Blocked { until, .. }) = block.blocked {
            let now = self.entries.minute();
            let problem = if until <= now {
                Some("is not in the future")
            } else {
                (until.0 - now.0 > BLOCK_MINUTES_MAX).then_some("is more than 100 years away")
            };
            if let Some(problem) = problem {
                let fault = Rejection::new(Reason::FieldInvalid).field("end_time");
                return Err(fault.problem(problem));
            }
        }
        if block.validate_only {
            return Ok(Done::written(Written::default()));
        }
        let (kind, status) = match block.blocked {
            Some(blocked) => (Kind::Block, Status::Blocked(blocked)),
            None => (Kind::Unblock, Status::Live),
        };
        let mut entry = self.entries.about_subject(kind, asker);
        entry.say(Said::Reason(block.reason.clone()));
        status.due().into_iter().for_each(|until| entry.say(Said::Deadline(until.0)));
        let index = self.entries.next_index();
        let receipt = self.append_about(owner, None, &block.opening, entry)?;
        self.set_status(owner, &subject, status)?;
        self.tell_mirrors(owner)?;
        let origin = Some(self.entries.own_origin());
        let receipt = Some(receipt);
        Ok(Done::written(Written { index, origin, receipt, ..Default::default() }))
    }

    /// Adds an entry about a subject as a whole, or a collection of it, with its commitment.
    pub(super) fn append_about(
        &mut self,
        owner: &Owner,
        collection: Option<&Collection>,
        opening: &[u8; 32],
        mut entry: Entry,
    ) -> Result<Receipt, Rejection> {
        let statement = subject_statement(owner, collection, content_digest(opening, &[]));
        entry.commitment = Some(commitment(opening, &statement));
        let bytes = self.entries.append(&entry.in_order())?;
        Ok(Receipt { entry: bytes.into(), opening: *opening, statement: statement.into() })
    }

    /// The entry that says how many records of a collection are erased, and under which laws.
    pub(super) fn of_collection(
        &mut self,
        asker: &Asker,
        owner: &Owner,
        subject: &Subject,
        collection: &Collection,
        live: u64,
    ) -> Entry {
        let ruled = self.standing_ruling(owner, collection, Some(subject));
        let mut entry = self.entries.entry(Kind::Erase, asker, collection.as_str());
        ruled.into_iter().for_each(|ruled| rule_into(&mut entry, &ruled));
        entry.say(Said::Count(live));
        entry
    }

    /// Writes the subject's row with another status.
    fn set_status(
        &mut self,
        owner: &Owner,
        before: &Subject,
        status: Status,
    ) -> Result<(), Rejection> {
        let mut subject = before.clone();
        if matches!(status, Status::Erasing(_)) {
            // What erases all of it needs no other erasure.
            subject.erasing = None;
        }
        subject.status = status;
        self.change_due(owner, before.due(), subject.due());
        self.keep(owner, subject)
    }

    /// Writes the subject's row.
    pub(super) fn keep(&mut self, owner: &Owner, mut subject: Subject) -> Result<(), Rejection> {
        subject.choice.forget(self.entries.minute());
        let row = subject.seal(owner, &self.node.region, self.node.random()?);
        self.batch.put(owner.row(), row);
        self.subjects.insert(owner.tag, Arc::new(subject));
        Ok(())
    }

    /// Keeps the row by which a subject is found when something is due.
    pub(super) fn change_due(&mut self, owner: &Owner, old: Option<Minute>, new: Option<Minute>) {
        if old == new {
            return;
        }
        let key = |minute: Minute| keys::subject_due(minute, &owner.row());
        old.into_iter().for_each(|minute| self.batch.delete(key(minute)));
        new.into_iter().for_each(|minute| self.batch.put(key(minute), vec![DUE_FORMAT]));
    }

    /// Takes away the rows of records, as many as one commit takes: all in `span`, or those of one
    /// collection.
    pub(super) fn take_records(
        &mut self,
        owner: &Owner,
        subject: &Subject,
        mut span: Span,
        only: Option<&Collection>,
    ) -> Result<Gone, Rejection> {
        let (mut gone, mut taken) = (Gone::default(), 0);
        let mirrors = self.mirrors_of(owner, subject)?;
        loop {
            let rows = ROWS_AT_ONCE.min(RECORDS_AT_ONCE - taken);
            let page = self.scan(&span, rows)?;
            let Some((last, _)) = page.rows.last() else { return Ok(gone) };
            span.from = [last.as_slice(), &[0]].concat();
            taken += page.rows.len();
            for (key, row) in page.rows {
                let (address, head) = self.opened(owner, subject, &key, &row)?;
                if only.is_some_and(|only| *only != address.collection) {
                    continue;
                }
                self.take_record(&mirrors, &address, &head);
                if only.is_some() {
                    // A late retry of a write that goes with its record must be known.
                    let minute = self.entries.minute();
                    for recent in head.remembered(minute) {
                        let noted = keys::gone_request(&key, minute.day(), &recent.request_id);
                        self.batch.put(noted, vec![GONE_FORMAT]);
                    }
                }
                if !head.is_deleted() {
                    *gone.live.entry(address.collection).or_default() += 1;
                }
            }
            gone.more = page.more && (taken >= RECORDS_AT_ONCE || self.bytes() >= COMMIT_BYTES);
            if gone.more {
                return Ok(gone);
            }
        }
    }

    pub(super) fn scan(&self, span: &Span, rows: usize) -> Result<engine::Page, Rejection> {
        let limit = ScanLimit { rows, bytes: BYTES_AT_ONCE };
        let page = self.node.engine.scan(span, Order::Ascending, limit);
        page.map_err(|error| Error::from(error).into())
    }

    /// What finds a record is named by its head alone: an erasure that left that would not be one. So
    /// a head that does not open stops it.
    pub(super) fn opened(
        &self,
        owner: &Owner,
        subject: &Subject,
        key: &[u8],
        row: &[u8],
    ) -> Result<(Address, Head), Rejection> {
        let opened = Stored::read(row)
            .and_then(|row| row.named(owner, key, &self.node.region, subject.key_of(key)?));
        opened.map_err(|_| Error::Damaged("records").into())
    }

    /// Takes away all rows of one record.
    fn take_record(&mut self, mirrors: &[RegionId], address: &Address, head: &Head) {
        let (node, key, none) = (self.node, &address.row, Indexed::default());
        let to = ChangedRows { batch: &mut self.batch, listed: &mut self.kept.in_hand };
        index_rows::change(to, &node.namer, address, Some(&head.indexed), &none);
        match head.body {
            Body::Apart(_) => self.batch.delete(keys::body(key)),
            Body::Chunked(bytes) => {
                let tag = node.namer.attachment(&head.body_key);
                attachment::discard(&mut self.batch, key, tag, bytes);
            }
            Body::Deleted | Body::Inline(_) => {}
        }
        if let Some(at) = head.expires {
            self.batch.delete(keys::expires(Minute::of(at), key));
        }
        mirrors.iter().for_each(|mirror| self.batch.delete(keys::copy_due(mirror, key)));
        self.batch.delete(key.clone());
    }

    /// Takes away the rows by which records of others are found that name the subject. True: there are
    /// more than one commit takes.
    fn take_named(&mut self, owner: &Owner) -> Result<bool, Rejection> {
        let named = Named { layout: &self.node.namer, tenant: &owner.tenant };
        let mut span = named.all(&owner.subject, &self.node.region);
        loop {
            let page = self.scan(&span, RECORDS_AT_ONCE)?;
            let Some((last, _)) = page.rows.last() else { return Ok(false) };
            span.from = [last.as_slice(), &[0]].concat();
            page.rows.into_iter().for_each(|(key, _)| self.batch.delete(key));
            if page.more && self.bytes() >= COMMIT_BYTES {
                return Ok(true);
            }
        }
    }

    /// Takes away the rows of a span, as many as one commit takes. Whether there are more.
    pub(super) fn take_rows(&mut self, mut span: Span) -> Result<bool, Rejection> {
        let mut taken = 0;
        loop {
            let page = self.scan(&span, ROWS_AT_ONCE)?;
            let Some((last, _)) = page.rows.last() else { return Ok(false) };
            span.from = [last.as_slice(), &[0]].concat();
            taken += page.rows.len();
            page.rows.into_iter().for_each(|(key, _)| self.batch.delete(key));
            if page.more && taken >= RECORDS_AT_ONCE {
                return Ok(true);
            }
        }
    }

    /// How many live records there are, as [`Transaction::take_records`]: among as many as one commit
    /// takes, since other writes wait meanwhile.
    pub(super) fn count(
        &self,
        owner: &Owner,
        subject: &Subject,
        mut span: Span,
        only: Option<&Collection>,
    ) -> Result<u64, Rejection> {
        let (mut live, mut looked_at) = (0, 0);
        while looked_at < RECORDS_AT_ONCE {
            let page = self.scan(&span, ROWS_AT_ONCE)?;
            let Some((last, _)) = page.rows.last() else { break };
            span.from = [last.as_slice(), &[0]].concat();
            looked_at += page.rows.len();
            for (key, row) in &page.rows {
                let (address, head) = self.opened(owner, subject, key, row)?;
                let is_meant = only.is_none_or(|only| *only == address.collection);
                live += u64::from(is_meant && !head.is_deleted());
            }
        }
        Ok(live)
    }
}

/// What an erasure remembers of itself when it begins.
pub(super) fn begun(erase: &Erase, now: Minute) -> Erasure {
    let request = erase.request.unwrap_or(OWN);
    Erasure {
        request_id: request.id,
        fingerprint: request.fingerprint,
        began: now,
        records: 0,
        reason: erase.reason.clone(),
        deadline: erase.deadline,
    }
}

/// What stands in a tombstone where no caller has asked. No request of a caller is like it: theirs
/// are UUIDs of version 4.
const OWN: Request = Request { id: [0; 16], fingerprint: Fingerprint([0; 16]) };

/// Why the copies of a subject in other regions go.
fn gone_why(erase: &Erase) -> CopyEnd {
    if erase.moved.is_some() { CopyEnd::Moved } else { CopyEnd::Erased }
}

pub(super) fn unknown() -> Rejection {
    Rejection::new(Reason::SubjectUnknown).field("subject.id")
}

/// The answer where the status is what was asked for.
fn unchanged() -> Done {
    Done::written(Written { replayed: true, ..Default::default() })
}
