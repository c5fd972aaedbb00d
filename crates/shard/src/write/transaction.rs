//! One group of writes on its way into one commit: each in order, against the store and what the
//! writes before it in the group have changed.

mod adjudicate;
mod amend;
mod create;
mod let_in;
pub(super) mod reassess;
mod replay;

use std::collections::HashMap;
use std::sync::Arc;

use engine::{Batch, Key};
use ledger::entry::{Detail as Said, Kind};
use terms::{Detail, Reason, Rejection, UnixMillis};

use crate::Error;
use crate::log::access_counters::AccessCounters;
use crate::node::Node;
use crate::policy::asker::Asker;
use crate::policy::copies::{admit_attachment, standing_mirrors};
use crate::policy::ingress::may_enter;
use crate::policy::rulings::{Ruled, Rules, body_fits, expiry};
use crate::policy::standing_ruling::{Given, How, Settled, settle};
use crate::policy::subject_status;
use crate::reply::{Outcome, ReplySlot, Written};
use crate::store::feed::FeedDraft;
use crate::store::indexed::Indexed;
use crate::store::keys::Owner;
use crate::store::participants::Participant;
use crate::store::record::{Address, Head};
use crate::store::subject::{Subject, SubjectRow};
use crate::store::tombstone::Tombstone;
use crate::store::types::{EpochNumber, SubjectTag, Version};
use crate::write::command::{
    Action, Content, Delete, Op, Put, Read, ReadAbout, ReadOf, Request, UploadStep, remembered,
};
use crate::write::entries::{GroupEntries, read_page, rule_into, say_data};
use crate::write::kept::Kept;
use crate::write::move_command::Ended;
use crate::write::record_rows::{NextVersion, RecordRows};
use crate::write::retries::Retry;
use crate::write::upload_rows::{OpenUploads, ended, ends, stored};

/// Rows that were read for a group, by key.
pub(crate) type Rows = HashMap<Key, Option<engine::Value>>;

/// A group being worked on. Dropped without a commit, it has changed nothing.
pub(crate) struct Transaction<'a> {
    pub(crate) node: &'a Node,
    pub(crate) counts: &'a AccessCounters,
    pub(crate) rules: &'a mut Rules,
    /// Rows that were read for this group.
    pub(crate) rows: Rows,
    /// Rows that do not read back: a write that rests on one is refused.
    pub(crate) unreadable: HashMap<Key, Rejection>,
    /// Subjects as the group has left them so far.
    pub(crate) subjects: HashMap<SubjectTag, Arc<Subject>>,
    pub(crate) heads: HashMap<Key, Head>,
    /// Subjects that the group has erased.
    pub(crate) erased: Vec<SubjectTag>,
    /// Moves to here that the group has ended, by the keys of their rows.
    pub(crate) moves_ended: HashMap<Key, Ended>,
    /// What the command in hand writes. If it fails, nothing of it is done.
    pub(crate) batch: Batch,
    /// What was written before it.
    pub(crate) kept: Kept,
    /// The uploads in progress, once one is to begin.
    pub(crate) uploads: Option<OpenUploads>,
    pub(crate) feed: FeedDraft,
    pub(crate) entries: GroupEntries<'a>,
    /// The time of the commit.
    pub(crate) now: UnixMillis,
    pub(crate) answers: Vec<(ReplySlot, Done)>,
}

/// What is known of a subject, whatever its status.
pub(crate) enum Known {
    Kept(Arc<Subject>),
    Erased(Tombstone),
}
/// Does a step of an upload: see [`crate::write::uploads`].
pub(crate) type UploadWork =
    fn(&mut Transaction<'_>, &Asker, UploadStep) -> Result<Done, Rejection>;

/// What becomes of an op.
pub(crate) enum Done {
    /// It is answered once the group's commit is durable.
    Answer(Outcome),
    /// It was done before.
    Retry(Retry),
}

impl Done {
    pub(super) const fn written(written: Written) -> Self {
        Self::Answer(Outcome::Written(written))
    }
}

impl From<Rejection> for Done {
    fn from(fault: Rejection) -> Self {
        Self::Answer(fault.into())
    }
}

/// What one write does to one record.
struct Change {
    kind: Kind,
    request: Request,
    content: Content,
    given: Option<Given>,
    expires: Option<UnixMillis>,
    indexed: Indexed,
    /// The ruling with what binds its participants, for the entry. None: the owner's alone.
    together: Option<Arc<Ruled>>,
}

impl Transaction<'_> {
    /// Bytes of the rows that the group writes so far.
    pub(crate) fn bytes(&self) -> usize {
        self.kept.batch.bytes() + self.batch.bytes() + self.entries.bytes() + self.feed.bytes()
    }

    /// Keeps what was done so far, whatever comes after it.
    pub(super) fn keep_done(&mut self) {
        self.kept.keep(std::mem::take(&mut self.batch), &self.entries, self.erased.len());
    }

    /// Takes back what a command that has failed has added: no row goes without its entry.
    fn take_back(&mut self) -> Result<(), Rejection> {
        self.batch = Batch::new();
        self.erased.truncate(self.kept.erased);
        Ok(self.kept.take_back(&mut self.entries)?)
    }

    /// Does one op, and keeps its answer until the commit. `upload`: does a step of an upload.
    pub(crate) fn apply(&mut self, op: Op, upload: UploadWork) {
        let Op { reply, deadline, asker, map_epoch, action } = op;
        let collection = action.collection().cloned();
        // It may have waited while a period of the log ended.
        let asker = self.entries.known(asker);
        let mut outcome = if tokio::time::Instant::now() > deadline {
            Err(Rejection::new(Reason::DeadlinePassed))
        } else if !action.may_be_done(&self.node.slots.borrow()) {
            // Asked at the edge, too: but whatever comes here, no store writes for another.
            Err(Rejection::new(Reason::SlotNotOwned))
        } else {
            match action {
                Action::Put(put) => self.put(&asker, *put),
                Action::Delete(delete) => self.delete(&asker, *delete),
                Action::Create(create) => self.create(&asker, &create),
                Action::Touch(touch) => self.touch(&asker, *touch),
                Action::Patch(patch) => self.patch(&asker, *patch),
                Action::Expire(address) => self.expire_due(&address),
                Action::Erase(erase) => self.erase(&asker, &erase),
                Action::Block(block) => self.block(&asker, &block),
                Action::RotateKey(rotate) => self.rotate_key(&asker, &rotate),
                Action::Read(read) => self.read(&asker, *read),
                Action::Upload(step) => upload(self, &asker, *step),
                Action::Claim(claim) => self.claim(&asker, &claim),
                Action::Reassess(of) => self.reassess(&asker, &of),
                Action::Adjudicate(of) => self.adjudicate(&asker, &of),
                Action::Depart(depart) => self.depart(&asker, &depart),
                Action::Arrive(arrive) => self.arrive(&asker, *arrive),
                Action::CopyOut(of) => self.copy_out(&asker, &of),
                Action::TakeCopy(of) => self.take_copy(&asker, *of),
                Action::SlotMove(of) => self.move_slot(&asker, *of),
            }
        };
        if outcome.is_ok() {
            self.keep_done();
        } else if let Err(fault) = self.take_back() {
            outcome = Err(fault);
        }
        if let Err(fault) = &mut outcome {
            self.rules.differ(map_epoch, fault);
        }
        if let Err(fault) = &outcome {
            let judged = self.rules.epoch();
            self.counts.refused(fault.reason, judged, &asker.who, collection.as_ref());
            self.node.report(fault);
            if fault.reason == Reason::PlacementNotAdmitted {
                // The gateway's rules gave this region, and ours do not: it is stale, or it lies.
                asker.stands.refused(self.node, fault.reason);
            }
        }
        self.answers.push((reply, outcome.unwrap_or_else(|fault| fault.into())));
    }

    fn put(&mut self, asker: &Asker, put: Put) -> Result<Done, Rejection> {
        let Put { address, request, condition, create_subject, given, .. } = put;
        let (validate_only, content, uploaded) = (put.validate_only, put.content, put.uploaded);
        let evidence = create_subject && given.is_some();
        self.lets_in(asker, &address.owner, Some(&address.collection), evidence)?;
        let subject = self.subject(&address.owner)?;
        let head = self.head(&address, subject.as_deref(), validate_only)?;
        if let Some((head, done)) = remembered(head.as_ref(), &request) {
            let (owner, collection) = (&address.owner, &address.collection);
            let ruling = self.standing_ruling(owner, collection, subject.as_deref());
            return self.replay(&address, head, done, &request, ruling);
        }
        self.not_gone(&address, subject.as_deref(), &request)?;
        if let Some(uploaded) = &uploaded {
            let stored = stored(&self.rows, &self.unreadable, &uploaded.row)?;
            ends(&stored, self.node.namer.attachment(&content.body_key))?;
        }
        let (node, minute) = (self.node, self.entries.minute());
        let enters = |ruled: &Ruled| may_enter(node, ruled, asker.stands.gateway);
        let how = How { given: given.as_ref(), create: create_subject, minute, enters: &enters };
        let (owner, collection) = (&address.owner, &address.collection);
        let expires = expiry(self.rules.map(), collection, put.expires, self.now)?;
        body_fits(self.rules.map(), collection, put.body_bytes)?;
        let settled = settle(self.rules, owner, collection, subject.as_deref(), &how)?;
        uploaded.as_ref().map_or(Ok(()), |_| admit_attachment(&settled.ruled))?;
        let rules = self.rules.map().collection(collection);
        let mut indexed = Indexed::under(rules, put.attributes)?;
        indexed.participants =
            self.named(put.participants, put.participants_epoch, head.as_ref())?;
        let together = self.together(asker, owner, &settled, &indexed.participants)?;
        condition.holds(head.as_ref(), &self.node.region)?;
        let version = head.as_ref().map_or(Version::NONE, |head| head.version).next();
        if subject.is_none()
            && let Some(ask_first) = self.unasked(&address.owner, &put.asked)?
        {
            return Ok(ask_first);
        }
        if validate_only {
            return Ok(validated(version, Some(settled.ruled)));
        }
        let live = head.as_ref().is_some_and(|head| !head.is_deleted());
        let kind = if live { Kind::Replace } else { Kind::Place };
        let ruled = Arc::clone(&settled.ruled);
        let (subject, row) = self.adopt(&address.owner, subject, settled, &request)?;
        let change = Change { kind, request, content, given, expires, indexed, together };
        let done = self.write(asker, &address, &subject, head.as_ref(), change, Some(ruled))?;
        // After the entry: what fails has put nothing into the group.
        if let Some(uploaded) = uploaded {
            ended(&mut self.batch, &mut self.rows, *uploaded);
        }
        if let Some(row) = row {
            self.batch.put(address.owner.row(), row);
            self.subjects.insert(address.owner.tag, subject);
        }
        Ok(done)
    }

    fn delete(&mut self, asker: &Asker, delete: Delete) -> Result<Done, Rejection> {
        let Delete { address, request, condition, validate_only, content } = delete;
        self.lets_in(asker, &address.owner, Some(&address.collection), false)?;
        let subject =
            self.subject(&address.owner)?.ok_or_else(|| Rejection::new(Reason::SubjectUnknown))?;
        let head = self.head(&address, Some(&subject), validate_only)?;
        if let Some((head, done)) = remembered(head.as_ref(), &request) {
            return self.replay(&address, head, done, &request, None);
        }
        let head = head.filter(|head| !head.is_deleted());
        let head = head.ok_or_else(|| Rejection::new(Reason::RecordNotFound).field("key"))?;
        condition.holds(Some(&head), &self.node.region)?;
        if validate_only {
            return Ok(validated(head.version.next(), None));
        }
        let (kind, indexed) = (Kind::Delete, head.indexed.deleted());
        let (given, expires, together) = (None, None, None);
        let change = Change { kind, request, content, given, expires, indexed, together };
        self.write(asker, &address, &subject, Some(&head), change, None)
    }

    /// Deletes a record whose time has come. One that has none any more, or is gone, is left.
    fn expire_due(&mut self, address: &Address) -> Result<Done, Rejection> {
        if let Some(subject) = self.subject(&address.owner)? {
            self.head(address, Some(&subject), false)?;
        }
        Ok(validated(Version::NONE, None))
    }

    /// A read of a `logged` collection: its entry names the write that was read.
    fn read(&mut self, asker: &Asker, read: Read) -> Result<Done, Rejection> {
        // A map has come in between: whether these may read it is to be asked again.
        let own = self.rules.epoch();
        if read.judged != own {
            return Err(Rejection::new(Reason::MapsDiffer).with(Detail::MapEpoch, own.0));
        }
        let (noted, purpose) = match read.about {
            Some(about) => {
                let noted = self.access(asker, &about, &read.collection)?;
                let ReadAbout { row, purpose, .. } = *about;
                (noted.map(|noted| (row, noted)), purpose)
            }
            None => (None, String::new()),
        };
        let mut entry = self.entries.entry(Kind::Read, asker, read.collection.as_str());
        let outcome = match read.of {
            ReadOf::Record(at, found) => {
                if !purpose.is_empty() {
                    entry.say(Said::Reason(purpose));
                }
                self.entries.name_earlier(&mut entry, at)?;
                Outcome::Found(found)
            }
            ReadOf::Copy(at, found, why) => {
                if !why.is_empty() {
                    entry.say(Said::Reason(why));
                }
                self.entries.name_earlier(&mut entry, at)?;
                Outcome::Found(found)
            }
            ReadOf::Page { page, count, why } => {
                read_page(&mut entry, why, count);
                Outcome::Listed(page)
            }
        };
        self.entries.append(&entry)?;
        if let Some((key, row)) = noted {
            self.rows.insert(key.clone(), Some(row.clone()));
            self.batch.put(key, row);
        }
        Ok(Done::Answer(outcome))
    }

    // === what the group knows ===

    pub(super) fn readable(&self, key: &Key) -> Result<(), Rejection> {
        self.unreadable.get(key).map_or(Ok(()), |fault| Err(fault.clone()))
    }

    /// The subject, as this group has left it.
    pub(super) fn subject(&mut self, owner: &Owner) -> Result<Option<Arc<Subject>>, Rejection> {
        match self.known_subject(owner)? {
            None => Ok(None),
            Some(Known::Erased(stone)) => Err(subject_status::gone(&stone)),
            Some(Known::Kept(subject)) => {
                subject_status::admit(&subject, self.now)?;
                Ok(Some(subject))
            }
        }
    }

    /// The same, whatever its status.
    pub(super) fn known_subject(&mut self, owner: &Owner) -> Result<Option<Known>, Rejection> {
        if let Some(subject) = self.subjects.get(&owner.tag) {
            return Ok(Some(Known::Kept(Arc::clone(subject))));
        }
        self.readable(&owner.row())?;
        // A row that was not read is a mistake of ours, and no proof that there is no such subject.
        let read = self.rows.get(&owner.row()).ok_or(Error::Damaged("subjects"))?;
        let Some(row) = read else { return Ok(None) };
        let subject = match self.node.open_subject(owner, row)? {
            SubjectRow::Kept(subject) => Arc::new(subject),
            SubjectRow::Erased(stone) => return Ok(Some(Known::Erased(stone))),
        };
        self.subjects.insert(owner.tag, Arc::clone(&subject));
        Ok(Some(Known::Kept(subject)))
    }

    /// The record's head, as this group has left it. One whose time has come is deleted first, but by
    /// a dry run: whatever is asked of it is asked of a record that is not there.
    pub(super) fn head(
        &mut self,
        address: &Address,
        subject: Option<&Subject>,
        dry: bool,
    ) -> Result<Option<Head>, Rejection> {
        if subject.is_some_and(|subject| subject.is_erasing(&address.collection)) {
            return Err(subject_status::collection_erased().field("collection"));
        }
        match (self.stored_head(address, subject)?, subject) {
            (Some(head), _) if dry && head.has_expired(self.now) => Ok(Some(head.deleted())),
            (Some(head), Some(subject)) if head.has_expired(self.now) => {
                let head = self.records().expire(address, subject, &head)?;
                // Its time has come, whatever becomes of the command.
                self.keep_done();
                Ok(Some(head))
            }
            (head, _) => Ok(head),
        }
    }

    pub(super) fn stored_head(
        &self,
        address: &Address,
        subject: Option<&Subject>,
    ) -> Result<Option<Head>, Rejection> {
        if let Some(head) = self.heads.get(&address.row) {
            return Ok(Some(head.clone()));
        }
        self.readable(&address.row)?;
        match (subject, self.rows.get(&address.row).and_then(Option::as_ref)) {
            (Some(subject), Some(row)) => Ok(Some(self.node.open_head(address, subject, row)?)),
            _ => Ok(None),
        }
    }

    /// The people that the next version of a record names: those that were sent, with what binds them
    /// under the map of that number. Without any, those that the record names already.
    pub(super) fn named(
        &self,
        sent: Vec<Participant>,
        epoch: EpochNumber,
        head: Option<&Head>,
    ) -> Result<Vec<Participant>, Rejection> {
        if sent.is_empty() {
            return Ok(head.map_or_else(Vec::new, |head| head.indexed.participants.clone()));
        }
        let own = self.rules.epoch();
        if epoch == own {
            return Ok(sent);
        }
        Err(Rejection::new(Reason::MapsDiffer).with(Detail::MapEpoch, own))
    }

    /// The ruling of a record with what binds those that it names. None: it names none.
    pub(super) fn together(
        &self,
        asker: &Asker,
        owner: &Owner,
        settled: &Settled,
        named: &[Participant],
    ) -> Result<Option<Arc<Ruled>>, Rejection> {
        self.rules.together(&owner.tenant, &settled.ruled, named, asker.stands.gateway)
    }

    /// The subject with what the ruling settled, and its row if it is created or changed.
    pub(super) fn adopt(
        &self,
        owner: &Owner,
        subject: Option<Arc<Subject>>,
        settled: Settled,
        request: &Request,
    ) -> Result<(Arc<Subject>, Option<Vec<u8>>), Rejection> {
        let (node, keys) = (self.node, self.node.subject_keys());
        let mut changed = match subject {
            Some(subject) if !settled.changed => return Ok((subject, None)),
            Some(subject) => Subject::clone(&subject),
            None => self.new_subject(owner, request)?,
        };
        changed.findings = settled.findings;
        changed.stand(settled.standings, owner, keys, &*node.entropy)?;
        let row = changed.seal(owner, &self.node.region, self.node.random()?);
        Ok((Arc::new(changed), Some(row)))
    }

    pub(super) fn new_subject(
        &self,
        owner: &Owner,
        request: &Request,
    ) -> Result<Subject, Rejection> {
        let by = self.entries.recent(request, Version::NONE);
        let node = self.node;
        Ok(Subject::create(owner, &node.region, &*node.keyring, &*node.entropy, by)?)
    }

    /// Everything that one write adds: entry, row, copies due.
    fn write(
        &mut self,
        asker: &Asker,
        address: &Address,
        subject: &Subject,
        before: Option<&Head>,
        change: Change,
        ruled: Option<Arc<Ruled>>,
    ) -> Result<Done, Rejection> {
        let Change { kind, request, content, given, expires, indexed, together } = change;
        let mut entry = self.entries.entry(kind, asker, address.collection.as_str());
        if let Some(ruled) = together.as_ref().or(ruled.as_ref()) {
            rule_into(&mut entry, ruled);
        }
        say_data(&mut entry, given.as_ref());
        let mirrors = ruled.as_ref().map(|ruled| ruled.mirrors.as_slice());
        let collection = &address.collection;
        let deleted = (kind == Kind::Delete).then(|| standing_mirrors(subject, collection));
        let copied = deleted.unwrap_or_default();
        let next = NextVersion { entry, request: Some(request), content, expires, indexed };
        let (head, receipt) = self.records().store(address, subject, before, next, mirrors)?;
        Ok(Done::written(Written {
            version: head.version,
            etag: if head.is_deleted() { String::new() } else { head.etag() },
            index: head.entry.index,
            origin: Some(self.entries.own_origin()),
            receipt: Some(receipt),
            ruling: ruled,
            copied,
            ..Default::default()
        }))
    }
}

impl<'a> Transaction<'a> {
    /// What records change.
    fn records(&mut self) -> RecordRows<'a, '_> {
        let Self { node, rules, batch, kept, entries, heads, feed, .. } = self;
        let listed = &mut kept.in_hand;
        RecordRows { node, batch, listed, entries, heads, map: rules.map(), feed }
    }
}

/// What a dry run answers.
fn validated(version: Version, ruling: Option<Arc<Ruled>>) -> Done {
    Done::written(Written { version, ruling, ..Default::default() })
}
