//! Copies in other regions, at the home of their records.
//!
//! A write whose placement has mirrors notes a copy as due, in its own commit. `relocate/copies.rs` takes what
//! is due: this writes the COPY_OUT entry and the mark, in one commit, before a byte leaves; and takes the
//! due row away once the other region has the version. Each step may come twice.
//!
//! A mark stays until the other region has confirmed that it has erased its copies. So an erasure waits for
//! all marks of the subject, or of the collection, and a subject that has moved leaves them behind until
//! then. Copies that the rules allow no more are dropped in the same way; then the mark stays, and once the
//! rules allow them again, all records of the collection are due again.

use engine::{Key, Span};
use ledger::entry::{CopyEnd, Entry};
use ledger::statement::commitment;
use terms::{Collection, Reason, RegionId, Rejection};

use crate::Error;
use crate::policy::asker::Asker;
use crate::policy::copies::{CopyQuestion, copied, copy_ruling, references};
use crate::policy::rulings::Ruled;
use crate::policy::second_check::Here;
use crate::reply::{Copied, CopiedState, Outcome, Written};
use crate::store::copy_keys;
use crate::store::copy_mark::{CopyDue, CopyMark, DueStep, MarkState, tell_row};
use crate::store::damage::read_rows;
use crate::store::keys;
use crate::store::keys::Owner;
use crate::store::participants::Participant;
use crate::store::record::Head;
use crate::store::subject::{Standing, Status, Subject};
use crate::store::types::{EntryAt, Minute, Version};
use crate::write::copy_command::{CopyOut, CopyOutStep, SendCopy};
use crate::write::transaction::{Done, Known, Transaction};

/// Heads that one commit notes as due again.
const DUE_AT_ONCE: usize = 4_096;
/// Heads that are looked at before the first copy of a collection.
const HEADS_LOOKED_AT: usize = 64;
/// Marks of one subject that one commit changes.
const MARKS_AT_ONCE: usize = 1_024;

impl Transaction<'_> {
    /// Does one step about copies in another region.
    pub(super) fn copy_out(&mut self, asker: &Asker, of: &CopyOut) -> Result<Done, Rejection> {
        match &of.step {
            CopyOutStep::Send(send) => self.send_copy(asker, of, send),
            CopyOutStep::Done { version, left, minute } => {
                let left = left.map(|step| (step, *minute));
                self.copy_done(of, *version, left).map(|()| done())
            }
            CopyOutStep::Refused { version } => self.copy_refused(of, *version).map(|()| done()),
            CopyOutStep::Check { after, wanted } => self.check_mark(of, after.as_deref(), *wanted),
            CopyOutStep::Told { told, dropped } => {
                self.region_told(of, told, *dropped).map(|()| done())
            }
        }
    }

    /// Writes down that a version is about to be sent.
    fn send_copy(
        &mut self,
        asker: &Asker,
        of: &CopyOut,
        send: &SendCopy,
    ) -> Result<Done, Rejection> {
        let CopyOut { address, mirror, mark, .. } = of;
        let (owner, collection) = (&address.owner, &address.collection);
        // It waits, or what is due has changed: it is looked at again.
        let later = || Rejection::from(Reason::ShardBusy);
        let subject = match self.known_subject(owner)? {
            Some(Known::Kept(subject)) if matches!(subject.status, Status::Live) => subject,
            _ => return Err(later()),
        };
        let head = self.copied_head(of, &subject)?.ok_or_else(later)?;
        let stands = head.version == send.version && !head.has_expired(self.now);
        if !stands || head.is_deleted() || subject.is_erasing(collection) {
            return Err(later());
        }
        let marked = self.mark(mark)?;
        match marked.as_ref().map(|mark| mark.state) {
            None | Some(MarkState::Made) => {}
            Some(MarkState::Drop(_) | MarkState::Gone) => return Err(later()),
        }
        let standing = subject.standing(collection).ok_or(Reason::PlacementNotAdmitted)?;
        if marked.is_none() && !self.all_due(owner, collection, mirror)? {
            // The first copy of the collection: what was stored before a map wanted copies is due too.
            return Ok(Done::Answer(Outcome::Copied(Copied::of(CopiedState::Unfinished))));
        }
        let ruled =
            self.copy_ruling(owner, &subject, standing, mirror, &head.indexed.participants)?;
        let at = match send.sent {
            Some(at) => at,
            None => self.log_copy_out(asker, of, &head, &ruled)?,
        };
        let origin = Some(self.entries.origin_of(at)?);
        // What is sent once more is noted so already: a mirror that refuses costs no commits.
        if send.sent.is_none() {
            let (Head { version, entry, .. }, step) = (head, DueStep::Sent(at));
            let due = CopyDue { version, entry, minute: send.minute, step };
            self.batch.put(keys::copy_due(mirror, &address.row), due.row());
        }
        if marked.is_none() {
            let (owner, collection) = (owner.clone(), collection.clone());
            let (mirror, state) = (mirror.clone(), MarkState::Made);
            self.keep_mark(&CopyMark { owner, collection, mirror, state })?;
        }
        Ok(Done::written(Written { index: at.index, origin, ..Default::default() }))
    }

    /// Whether all stored records of a collection are noted as due. If there are many, it is not looked at.
    fn all_due(
        &self,
        owner: &Owner,
        collection: &Collection,
        mirror: &RegionId,
    ) -> Result<bool, Rejection> {
        let page = self.scan(&self.node.namer.records(owner, collection), HEADS_LOOKED_AT)?;
        let due: Vec<Key> =
            page.rows.iter().map(|(head, _)| keys::copy_due(mirror, head)).collect();
        let noted = read_rows(&*self.node.engine, &due).map_err(Error::from)?;
        for row in noted {
            if row?.is_none() {
                return Ok(false);
            }
        }
        Ok(!page.more)
    }

    fn log_copy_out(
        &mut self,
        asker: &Asker,
        of: &CopyOut,
        head: &Head,
        ruled: &Ruled,
    ) -> Result<EntryAt, Rejection> {
        let statement = of.address.statement(head.version, head.digest);
        let map = self.node.map();
        let references = references(&map, ruled);
        let call = self.entries.call(asker, Some(of.address.collection.as_str()));
        let commitment = commitment(&head.opening, &statement);
        let copied = copied(call, ruled, &references, &of.mirror, commitment);
        let mut entry = Entry::copy_out(self.entries.minute().0, copied);
        self.entries.name_earlier(&mut entry, head.entry)?;
        let at = self.entries.next();
        self.entries.append(&entry)?;
        Ok(at)
    }

    /// The head of a record, as this group has left it.
    fn copied_head(&self, of: &CopyOut, subject: &Subject) -> Result<Option<Head>, Rejection> {
        self.stored_head(&of.address, Some(subject))
    }

    /// The ruling under which a region has copies, by all that is known.
    fn copy_ruling(
        &self,
        owner: &Owner,
        subject: &Subject,
        standing: &Standing,
        mirror: &RegionId,
        participants: &[Participant],
    ) -> Result<std::sync::Arc<Ruled>, Rejection> {
        let (node, map) = (self.node, self.node.map());
        let weighed = standing.weighed(&subject.findings);
        let findings = weighed.map_err(crate::policy::standing_ruling::full)?;
        let there = map.region(mirror).ok_or(Reason::PlacementNotAdmitted)?;
        let question = CopyQuestion {
            home: &node.region,
            there: Here { region: mirror, territory: there.territory() },
            tenant: &owner.tenant,
            collection: &standing.collection,
            findings: &findings,
            participants,
            chosen: subject.choice.chosen.as_ref(),
        };
        copy_ruling(&map, self.rules.date(), &question)
    }

    /// A version is due no more, unless a later one is.
    fn copy_done(
        &mut self,
        of: &CopyOut,
        version: Option<Version>,
        left: Option<(DueStep, Minute)>,
    ) -> Result<(), Rejection> {
        let key = keys::copy_due(&of.mirror, &of.address.row);
        let head = match self.known_subject(&of.address.owner)? {
            Some(Known::Kept(subject)) => self.copied_head(of, &subject)?,
            Some(Known::Erased(_)) | None => None,
        };
        if head.as_ref().map(|head| head.version) != version {
            return Ok(());
        }
        match head.zip(left) {
            Some((Head { version, entry, .. }, (step, minute))) => {
                self.batch.put(key, CopyDue { version, entry, minute, step }.row());
            }
            None => self.batch.delete(key),
        }
        Ok(())
    }

    /// The rules allow no copy of a version: it is due no more. A mark is left, so that all records of the
    /// collection are due once the rules allow it.
    fn copy_refused(&mut self, of: &CopyOut, version: Version) -> Result<(), Rejection> {
        let (owner, collection) = (&of.address.owner, &of.address.collection);
        let later = || Rejection::from(Reason::ShardBusy);
        let Some(Known::Kept(subject)) = self.known_subject(owner)? else { return Err(later()) };
        let standing = subject.standing(collection).cloned().ok_or_else(later)?;
        if self.copy_ruling(owner, &subject, &standing, &of.mirror, &[]).is_ok() {
            // It is refused for the people that the record names, who may be others in its next version.
            return Err(later());
        }
        match self.stored_mark(&of.mark)? {
            None => {
                let (owner, collection) = (owner.clone(), collection.clone());
                let (mirror, state) = (of.mirror.clone(), MarkState::Gone);
                self.keep_mark(&CopyMark { owner, collection, mirror, state })?;
            }
            Some(mark) => {
                let drops = mark.state == MarkState::Made;
                self.drop_marked(mark, CopyEnd::Withdrawn, drops)?;
            }
        }
        self.forget_mirror(owner, &subject, collection, &of.mirror)?;
        let head = self.copied_head(of, &subject)?;
        if head.is_some_and(|head| head.version == version) {
            self.batch.delete(keys::copy_due(&of.mirror, &of.address.row));
        }
        Ok(())
    }

    /// Drops the copies of a mark if the rules allow none, and has them made again if they do once more.
    fn check_mark(
        &mut self,
        of: &CopyOut,
        after: Option<&[u8]>,
        wanted: bool,
    ) -> Result<Done, Rejection> {
        let mark = match self.stored_mark(&of.mark)? {
            Some(mark) => mark,
            None if wanted => CopyMark {
                owner: of.address.owner.clone(),
                collection: of.address.collection.clone(),
                mirror: of.mirror.clone(),
                state: MarkState::Gone,
            },
            None => return Ok(done()),
        };
        let (owner, collection) = (&mark.owner, &mark.collection);
        let subject = match self.known_subject(owner)? {
            Some(Known::Kept(subject)) => subject,
            // Whatever it was that took the subject away, its copies go.
            Some(Known::Erased(_)) | None => {
                let drops = mark.state == MarkState::Made;
                return self.drop_marked(mark, CopyEnd::Erased, drops).map(|()| done());
            }
        };
        let standing = subject.standing(collection).cloned();
        let allowed = match &standing {
            Some(standing) => self.copy_ruling(owner, &subject, standing, &mark.mirror, &[]),
            None => Err(Reason::PlacementNotAdmitted.into()),
        };
        match (mark.state, allowed) {
            (MarkState::Made, Err(_)) => {
                self.forget_mirror(owner, &subject, collection, &mark.mirror)?;
                self.drop_marked(mark, CopyEnd::Withdrawn, true).map(|()| done())
            }
            // Its new home makes its own.
            (MarkState::Gone, Ok(_)) if subject.status.moving().is_some() => Ok(done()),
            (MarkState::Gone, Ok(_)) => self.due_again(mark, &subject, after),
            // The other region has lost what it had.
            (MarkState::Made, Ok(_)) if wanted => self.due_again(mark, &subject, after),
            (MarkState::Made | MarkState::Drop(_), _) | (MarkState::Gone, Err(_)) => Ok(done()),
        }
    }

    pub(super) fn drop_marked(
        &mut self,
        mark: CopyMark,
        why: CopyEnd,
        drops: bool,
    ) -> Result<(), Rejection> {
        if drops {
            let mark = CopyMark { state: MarkState::Drop(why), ..mark };
            self.keep_mark(&mark)?;
            self.tell(&mark);
        }
        Ok(())
    }

    /// A deletion reaches copies that were dropped no more.
    fn forget_mirror(
        &mut self,
        owner: &Owner,
        subject: &Subject,
        collection: &Collection,
        mirror: &RegionId,
    ) -> Result<(), Rejection> {
        let mut standings = subject.standings().to_vec();
        let of = standings.iter_mut().find(|standing| standing.collection == *collection);
        let Some(of) = of.filter(|of| of.mirrors.contains(mirror)) else { return Ok(()) };
        of.mirrors.retain(|region| region != mirror);
        let (node, mut after) = (self.node, subject.clone());
        after.stand(standings, owner, node.subject_keys(), &*node.entropy)?;
        self.keep(owner, after)
    }

    /// Notes the records of a collection as due, as many as one commit takes.
    fn due_again(
        &mut self,
        mark: CopyMark,
        subject: &Subject,
        after: Option<&[u8]>,
    ) -> Result<Done, Rejection> {
        let (owner, collection) = (&mark.owner, &mark.collection);
        let mut span: Span = self.node.namer.records(owner, collection);
        if let Some(after) = after {
            span.from = [after, &[0]].concat();
        }
        let page = self.scan(&span, DUE_AT_ONCE)?;
        for (key, row) in &page.rows {
            let (address, head) = self.opened(owner, subject, key, row)?;
            if address.collection != *collection || head.is_deleted() {
                continue;
            }
            let (minute, step) = (self.entries.minute(), DueStep::New);
            let due = CopyDue { version: head.version, entry: head.entry, minute, step };
            self.batch.put(keys::copy_due(&mark.mirror, key), due.row());
        }
        if page.more {
            let after = page.rows.into_iter().next_back().map(|(key, _)| key);
            let copied = Copied { state: CopiedState::Unfinished, after };
            return Ok(Done::Answer(Outcome::Copied(copied)));
        }
        let mut standings = subject.standings().to_vec();
        for of in standings.iter_mut().filter(|of| of.collection == *collection) {
            of.mirrors.push(mark.mirror.clone());
            of.mirrors.sort_unstable();
            of.mirrors.dedup();
        }
        let (node, mut changed) = (self.node, subject.clone());
        changed.stand(standings, owner, node.subject_keys(), &*node.entropy)?;
        self.keep(owner, changed)?;
        self.keep_mark(&CopyMark { state: MarkState::Made, ..mark })?;
        Ok(done())
    }

    /// A region was told what was due then.
    fn region_told(&mut self, of: &CopyOut, told: &[u8], dropped: bool) -> Result<(), Rejection> {
        let key = copy_keys::tell(&of.mirror, &of.mark);
        let mark = self.stored_mark(&of.mark)?;
        // It is to be told something since: it is told again.
        if self.stored(&key)?.is_none_or(|row| row != told) {
            return Ok(());
        }
        match mark.as_ref().map(|mark| mark.state) {
            Some(MarkState::Drop(_)) if !dropped => return Ok(()),
            Some(MarkState::Drop(why)) if self.may_come_back(of, why)? => {
                let state = MarkState::Gone;
                let gone = mark.map(|mark| CopyMark { state, ..mark });
                gone.map_or(Ok(()), |mark| self.keep_mark(&mark))?;
            }
            Some(MarkState::Drop(_)) => self.batch.delete(of.mark.clone()),
            Some(MarkState::Made | MarkState::Gone) | None => {}
        }
        self.batch.delete(key);
        Ok(())
    }

    /// Whether copies that went for that reason may be wanted again.
    fn may_come_back(&mut self, of: &CopyOut, why: CopyEnd) -> Result<bool, Rejection> {
        // Its move may be given up.
        let is_here = matches!(self.known_subject(&of.address.owner)?, Some(Known::Kept(_)));
        Ok(why == CopyEnd::Withdrawn || (why == CopyEnd::Moved && is_here))
    }

    /// All marks of a subject.
    pub(super) fn marks_of(&self, owner: &Owner) -> Result<Vec<(Key, CopyMark)>, Rejection> {
        let page = self.scan(&copy_keys::marks_of(owner), MARKS_AT_ONCE)?;
        if page.more {
            // A subject has few rulings, and a ruling few mirrors.
            return Err(Error::Damaged("copies").into());
        }
        let open = |(key, row): (Key, engine::Value)| -> Result<_, Error> {
            let mark = CopyMark::open(&key, &row, self.node.subject_keys())?;
            Ok((key, mark))
        };
        page.rows.into_iter().map(open).collect::<Result<_, Error>>().map_err(Rejection::from)
    }

    /// The mark, as this group has left it.
    fn mark(&self, key: &Key) -> Result<Option<CopyMark>, Rejection> {
        self.readable(key)?;
        // A row that was not read is a mistake of ours. It does not prove that there is no such mark.
        let row = self.rows.get(key).ok_or(Error::Damaged("copies"))?;
        let open = |row: &engine::Value| CopyMark::open(key, row, self.node.subject_keys());
        Ok(row.as_ref().map(open).transpose()?)
    }

    /// The mark, as it is stored.
    fn stored_mark(&self, key: &Key) -> Result<Option<CopyMark>, Rejection> {
        let open = |row: engine::Value| CopyMark::open(key, &row, self.node.subject_keys());
        Ok(self.stored(key)?.map(open).transpose()?)
    }

    pub(super) fn stored(&self, key: &Key) -> Result<Option<engine::Value>, Rejection> {
        let rows = read_rows(&*self.node.engine, std::slice::from_ref(key));
        rows.map_err(Error::from)?.into_iter().next().unwrap_or(Ok(None))
    }

    pub(super) fn keep_mark(&mut self, mark: &CopyMark) -> Result<(), Rejection> {
        let keys = self.node.subject_keys();
        let (key, row) = (mark.key(keys), mark.row(keys, self.node.random()?));
        self.rows.insert(key.clone(), Some(row.clone()));
        self.batch.put(key, row);
        Ok(())
    }

    pub(super) fn tell(&mut self, mark: &CopyMark) {
        let key = copy_keys::tell(&mark.mirror, &mark.key(self.node.subject_keys()));
        self.batch.put(key, tell_row(self.entries.next_index().0));
        self.node.copies_due.notify_one();
    }
}

fn done() -> Done {
    Done::written(Written::default())
}
