//! One group of writes on its way into one commit: each in order, against the store and what the
//! writes before it in the group have changed.

use std::collections::HashMap;
use std::sync::Arc;

use atlas::Country;
use bytes::Bytes;
use engine::{Batch, Key};
use ledger::entry::{Caller, Kind};
use terms::{Collection, Detail, Reason, Rejection};
use wire::session as proto;

use crate::Error;
use crate::log::access_counters::AccessCounters;
use crate::log::{Draft, entry_at};
use crate::node::Node;
use crate::policy::egress::Stands;
use crate::policy::rulings::{Ruled, Rules, Verdict};
use crate::policy::standing_ruling::{How, Settled, settle};
use crate::server::decode;
use crate::store::keys::{Owner, Tag};
use crate::store::record::{Address, EntryAt, Head};
use crate::store::subject::Subject;
use crate::store::{codec, keys};
use crate::write::command::{
    Action, Condition, Content, Create, Delete, Given, Op, Outcome, Put, Read,
};
use crate::write::command::{ReplySlot, Request};
use crate::write::committer::Rows;
use crate::write::entries::{create_statement, rule_into, say_data};

/// A group being worked on. Dropped without a commit, it has changed nothing.
pub(crate) struct Transaction<'a> {
    pub(crate) node: &'a Node,
    pub(crate) counts: &'a AccessCounters,
    pub(crate) rules: &'a mut Rules,
    pub(crate) minute: u32,
    /// Rows that were read for this group.
    pub(crate) rows: Rows,
    /// Rows that do not read back: a write that rests on one is refused.
    pub(crate) unreadable: HashMap<Key, Rejection>,
    /// Subjects as the group has left them so far.
    pub(crate) subjects: HashMap<Tag, Arc<Subject>>,
    pub(crate) heads: HashMap<Key, Head>,
    pub(crate) batch: Batch,
    pub(crate) draft: Draft,
    pub(crate) answers: Vec<(ReplySlot, Outcome)>,
}

/// Who asks.
pub(crate) struct Asker {
    pub(crate) caller: Arc<Caller>,
    pub(crate) tenant_tag: Tag,
    pub(crate) gateway: Country,
}

/// What one write does to one record.
struct Change {
    kind: Kind,
    request: Request,
    content: Content,
    given: Option<Given>,
}

impl Transaction<'_> {
    /// Bytes of the rows that the group writes so far.
    pub(crate) fn bytes(&self) -> usize {
        self.batch.bytes() + self.draft.bytes()
    }

    /// Does one op, and keeps its answer until the commit.
    pub(crate) fn apply(&mut self, op: Op) {
        let Op { reply, deadline, caller, tenant_tag, gateway, map_epoch, action } = op;
        let territory = caller.territory.as_deref().and_then(Country::parse);
        let stands = Stands { gateway, caller: territory };
        let asker = Asker { caller, tenant_tag, gateway };
        let collection = action.collection().clone();
        let mut outcome = if tokio::time::Instant::now() > deadline {
            Err(Rejection::new(Reason::DeadlinePassed))
        } else {
            match action {
                Action::Put(put) => self.put(&asker, *put),
                Action::Delete(delete) => self.delete(&asker, *delete),
                Action::Create(create) => self.create(&asker, &create),
                Action::Read(read) => self.read(&asker, *read),
            }
        };
        if let Err(fault) = &mut outcome {
            self.rules.differ(map_epoch, fault);
        }
        if let Err(fault) = &outcome {
            let by = (asker.tenant_tag, &asker.caller);
            let judged = self.rules.map_ref().epoch;
            self.counts.refused(fault.reason, judged, by, Some(&collection));
            self.node.report(fault);
            if fault.reason == Reason::PlacementNotAdmitted {
                // The gateway's rules gave this region, and ours do not: it is stale, or it lies.
                self.node.refused(fault.reason, stands);
            }
        }
        self.answers.push((reply, outcome.unwrap_or_else(Outcome::Rejected)));
    }

    fn put(&mut self, asker: &Asker, put: Put) -> Result<Outcome, Rejection> {
        let Put { address, request, condition, create_subject, given, .. } = put;
        let (validate_only, content) = (put.validate_only, put.content);
        let subject = self.subject(&address.owner)?;
        let head = self.head(&address, subject.as_deref())?;
        if let Some(mut done) = self.replay(&address, head.as_ref(), &request)? {
            let (owner, collection) = (&address.owner, &address.collection);
            done.ruling = self.standing_ruling(owner, collection, subject.as_deref());
            return Ok(Outcome::Written(done));
        }
        let (node, minute) = (self.node, self.minute);
        let enters = |ruled: &Ruled| node.may_enter(ruled, asker.gateway);
        let how = How { given: given.as_ref(), create: create_subject, minute, enters: &enters };
        let (owner, collection) = (&address.owner, &address.collection);
        decode::within(self.rules.map(), collection, put.body_bytes)?;
        let settled = settle(self.rules, owner, collection, subject.as_deref(), &how)?;
        self.check(head.as_ref(), &condition)?;
        let version = head.as_ref().map_or(0, |head| head.version) + 1;
        if validate_only {
            return Ok(validated(version, &settled.ruled.message));
        }
        let live = head.as_ref().is_some_and(|head| !head.deleted);
        let kind = if live { Kind::Replace } else { Kind::Place };
        let ruled = Arc::clone(&settled.ruled);
        let (subject, row) = self.adopt(&address.owner, subject, settled, &request)?;
        let change = Change { kind, request, content, given };
        let done =
            self.write(asker, (&address, &subject), head.as_ref(), (change, Some(&ruled)))?;
        // After the entry: what fails has put nothing into the group.
        if let Some(row) = row {
            self.batch.put(address.owner.row(), row);
            self.subjects.insert(address.owner.tag, subject);
        }
        Ok(done)
    }

    fn delete(&mut self, asker: &Asker, delete: Delete) -> Result<Outcome, Rejection> {
        let Delete { address, request, condition, validate_only, content } = delete;
        let subject =
            self.subject(&address.owner)?.ok_or_else(|| Rejection::new(Reason::SubjectUnknown))?;
        let head = self.head(&address, Some(&subject))?;
        if let Some(done) = self.replay(&address, head.as_ref(), &request)? {
            return Ok(Outcome::Written(done));
        }
        let head = head.filter(|head| !head.deleted);
        let head = head.ok_or_else(|| Rejection::new(Reason::RecordNotFound))?;
        self.check(Some(&head), &condition)?;
        if validate_only {
            return Ok(validated(head.version + 1, &Bytes::new()));
        }
        let change = Change { kind: Kind::Delete, request, content, given: None };
        self.write(asker, (&address, &subject), Some(&head), (change, None))
    }

    fn create(&mut self, asker: &Asker, create: &Create) -> Result<Outcome, Rejection> {
        let owner = &create.owner;
        if let Some(subject) = self.subject(owner)? {
            return self.created_before(create, &subject);
        }
        let (node, minute) = (self.node, self.minute);
        let enters = |ruled: &Ruled| node.may_enter(ruled, asker.gateway);
        let how = How { given: create.given.as_ref(), create: true, minute, enters: &enters };
        let settled = settle(self.rules, owner, &create.collection, None, &how)?;
        if create.validate_only {
            return Ok(validated(0, &settled.ruled.message));
        }
        let ruled = Arc::clone(&settled.ruled);
        let digest = ledger::statement::content_digest(&create.opening, &[]);
        let statement = create_statement(create, digest);
        let mut subject = self.new_subject(owner, &create.request)?;
        subject.opening = create.opening;
        subject.findings = settled.findings;
        subject.standings = settled.standings;
        let nonce = self.node.random()?;
        let mut entry = self.entry(Kind::Create, asker, create.collection.as_str());
        rule_into(&mut entry, &ruled);
        say_data(&mut entry, create.given.as_ref());
        entry.commitment = Some(ledger::statement::commitment(&create.opening, &statement));
        let index = self.draft.next_index();
        let bytes = self.append(&entry)?;
        self.batch.put(owner.row(), subject.seal(owner, &self.node.region, nonce));
        self.subjects.insert(owner.tag, Arc::new(subject));
        Ok(Outcome::Written(proto::Written {
            index,
            entry: bytes.into(),
            opening: create.opening.to_vec().into(),
            statement: statement.into(),
            ruling: ruled.message.clone(),
            ..Default::default()
        }))
    }

    /// A read of a `logged` collection: its entry names the write that was read.
    fn read(&mut self, asker: &Asker, read: Read) -> Result<Outcome, Rejection> {
        // A map has come in between: whether these may read it is to be asked anew.
        let own = self.rules.map_ref().epoch;
        if read.judged != own {
            return Err(Rejection::new(Reason::MapsDiffer).with(Detail::MapEpoch, own));
        }
        let mut entry = self.entry(Kind::Read, asker, read.collection.as_str());
        self.name_earlier(&mut entry, read.entry);
        self.append(&entry)?;
        Ok(Outcome::Found(read.found))
    }

    // === what the group knows ===

    fn readable(&self, key: &Key) -> Result<(), Rejection> {
        self.unreadable.get(key).map_or(Ok(()), |fault| Err(fault.clone()))
    }

    /// The subject, as this group has left it.
    fn subject(&mut self, owner: &Owner) -> Result<Option<Arc<Subject>>, Rejection> {
        if let Some(subject) = self.subjects.get(&owner.tag) {
            return Ok(Some(Arc::clone(subject)));
        }
        self.readable(&owner.row())?;
        // A row that nobody read is a mistake of ours, and no proof that there is no such subject.
        let read = self.rows.get(&owner.row()).ok_or(Error::Damaged("subjects"))?;
        let Some(row) = read else { return Ok(None) };
        let subject = Arc::new(self.node.open_subject(owner, row)?);
        self.subjects.insert(owner.tag, Arc::clone(&subject));
        Ok(Some(subject))
    }

    /// The record's head, as this group has left it.
    fn head(
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

    /// What the same request did before, if it is remembered.
    fn replay(
        &self,
        address: &Address,
        head: Option<&Head>,
        request: &Request,
    ) -> Result<Option<proto::Written>, Rejection> {
        let Some((head, done)) = head.and_then(|h| h.recent(&request.id).map(|done| (h, done)))
        else {
            return Ok(None);
        };
        if done.fingerprint != request.fingerprint {
            return Err(Rejection::new(Reason::RequestIdReused).field("request_id"));
        }
        let mut written = proto::Written {
            version: signed(done.version),
            replayed: true,
            index: done.entry.index,
            origin: self.foreign_origin(done.entry),
            ..Default::default()
        };
        if done.version == head.version {
            written.etag = if head.deleted { String::new() } else { head.etag() };
            written.entry = self.stored_entry(done.entry)?.into();
            written.opening = head.opening.to_vec().into();
            written.statement = address.statement(head.version, head.digest).into();
        }
        Ok(Some(written))
    }

    /// The ruling that stands, for the answer to what was done before. Empty: the map in force
    /// gives its records no place here.
    fn standing_ruling(
        &mut self,
        owner: &Owner,
        collection: &Collection,
        subject: Option<&Subject>,
    ) -> Bytes {
        let Some(standing) = subject.and_then(|subject| subject.standing(collection)) else {
            return Bytes::new();
        };
        match self.rules.decide(&owner.tenant, collection, &standing.basis) {
            Verdict::Here(ruled) => ruled.message.clone(),
            Verdict::Elsewhere(_) | Verdict::Refused(_) => Bytes::new(),
        }
    }

    fn created_before(&mut self, create: &Create, subject: &Subject) -> Result<Outcome, Rejection> {
        let by = &subject.created_by;
        if by.request_id != create.request.id {
            return Err(Rejection::new(Reason::SubjectExists).field("subject.id"));
        }
        if by.fingerprint != create.request.fingerprint {
            return Err(Rejection::new(Reason::RequestIdReused).field("request_id"));
        }
        let digest = ledger::statement::content_digest(&subject.opening, &[]);
        Ok(Outcome::Written(proto::Written {
            replayed: true,
            index: by.entry.index,
            origin: self.foreign_origin(by.entry),
            entry: self.stored_entry(by.entry)?.into(),
            opening: subject.opening.to_vec().into(),
            statement: create_statement(create, digest).into(),
            ruling: self.standing_ruling(&create.owner, &create.collection, Some(subject)),
            ..Default::default()
        }))
    }

    fn stored_entry(&self, at: EntryAt) -> Result<Vec<u8>, Rejection> {
        match self.draft.entry(at.index).filter(|_| at.period == self.node.period) {
            Some(entry) => Ok(entry),
            None => Ok(entry_at(&*self.node.engine, at.period, at.index)?),
        }
    }

    /// Whether the state is the one that the writer insists on.
    fn check(&self, head: Option<&Head>, condition: &Condition) -> Result<(), Rejection> {
        let live = head.filter(|head| !head.deleted);
        let version = live.map_or(0, |head| head.version);
        let fault = |reason, field: &'static str| {
            let fault = Rejection::new(reason).field(field).with(Detail::Version, version);
            Err(fault.with(Detail::Region, &self.node.region))
        };
        if let Some(wanted) = condition.if_version
            && wanted != version
        {
            let exists = wanted == 0;
            let reason = if exists { Reason::RecordExists } else { Reason::VersionMismatch };
            return fault(reason, "if_version");
        }
        match &condition.etag {
            Some(etag) if live.is_none_or(|head| head.etag() != *etag) => {
                fault(Reason::VersionMismatch, "etag")
            }
            _ => Ok(()),
        }
    }

    // === what the group changes ===

    /// The subject with what the ruling settled, and its row if it is created or changed.
    fn adopt(
        &self,
        owner: &Owner,
        subject: Option<Arc<Subject>>,
        settled: Settled,
        request: &Request,
    ) -> Result<(Arc<Subject>, Option<Vec<u8>>), Rejection> {
        let changed = match subject {
            Some(subject) if !settled.changed => return Ok((subject, None)),
            Some(subject) => {
                let (findings, standings) = (settled.findings, settled.standings);
                let (region, keyring) = (&self.node.region, &*self.node.keyring);
                subject.with(owner, region, keyring, (findings, standings))?
            }
            None => {
                let mut subject = self.new_subject(owner, request)?;
                subject.findings = settled.findings;
                subject.standings = settled.standings;
                subject
            }
        };
        let row = changed.seal(owner, &self.node.region, self.node.random()?);
        Ok((Arc::new(changed), Some(row)))
    }

    fn new_subject(&self, owner: &Owner, request: &Request) -> Result<Subject, Rejection> {
        let by = self.recent(request, 0);
        let node = self.node;
        Ok(Subject::create(owner, &node.region, &*node.keyring, &*node.entropy, by)?)
    }

    /// Everything that one write adds: entry, row, copies due.
    fn write(
        &mut self,
        asker: &Asker,
        (address, subject): (&Address, &Subject),
        before: Option<&Head>,
        (change, ruled): (Change, Option<&Ruled>),
    ) -> Result<Outcome, Rejection> {
        let Change { kind, request, content, given } = change;
        let Content { opening, digest, body_key, nonce, sealed } = content;
        let version = before.map_or(0, |head| head.version) + 1;
        let statement = address.statement(version, digest);
        let mut entry = self.entry(kind, asker, address.collection.as_str());
        if let Some(ruled) = ruled {
            rule_into(&mut entry, ruled);
        }
        say_data(&mut entry, given.as_ref());
        if let Some(before) = before {
            self.name_earlier(&mut entry, before.entry);
        }
        entry.commitment = Some(ledger::statement::commitment(&opening, &statement));
        let done = self.recent(&request, version);
        let bytes = self.append(&entry)?;

        let mut recent = before.map_or_else(Vec::new, |head| head.remembered(self.minute));
        recent.push(done);
        let deleted = kind == Kind::Delete;
        let head = Head { version, deleted, entry: done.entry, opening, digest, body_key, recent };
        let row = sealed.finish(address, &self.node.region, &head, (subject.key(), nonce));
        self.batch.put(address.row.clone(), row);
        let mirrors = match ruled {
            Some(ruled) => ruled.mirrors.as_slice(),
            None => subject.standing(&address.collection).map_or(&[][..], |s| &s.mirrors),
        };
        for mirror in mirrors {
            let mut due = codec::Writer::with_capacity(32);
            due.u8(1).u64(version).u32(done.entry.period).u64(done.entry.index).u32(self.minute);
            self.batch.put(keys::copy_due(mirror, &address.row), due.0);
        }
        let etag = if deleted { String::new() } else { head.etag() };
        self.heads.insert(address.row.clone(), head);
        Ok(Outcome::Written(proto::Written {
            version: signed(version),
            etag,
            index: done.entry.index,
            entry: bytes.into(),
            opening: opening.to_vec().into(),
            statement: statement.into(),
            ruling: ruled.map(|ruled| ruled.message.clone()).unwrap_or_default(),
            ..Default::default()
        }))
    }
}

/// What a dry run answers.
fn validated(version: u64, ruling: &Bytes) -> Outcome {
    let (version, ruling) = (signed(version), ruling.clone());
    Outcome::Written(proto::Written { version, ruling, ..Default::default() })
}

/// Versions are signed on the wire (AIP-141) and grow by one a write: they stay far below 2^63.
fn signed(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}
