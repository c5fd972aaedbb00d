//! One collection of a subject is erased: its ruling, its key, all rows of its records and what finds
//! them. The subject and its other collections stay. The next write of the collection is its first:
//! there is no history, no version that went before, and a new key.
//!
//! As with a whole subject, a collection with more records than one commit takes is refused to everyone
//! from the first commit on, and the erasure goes on in the next. A late retry of a write that was
//! erased with its record is refused for as long as its record would have known it. As long as another
//! region has a copy that a move left there, the erasure is not done.

use engine::Key;
use ledger::entry::Detail as Said;
use terms::{Collection, Reason, RegionId, Rejection, limits};

use crate::Error;
use crate::log::erasure_file;
use crate::policy::asker::Asker;
use crate::policy::subject_status;
use crate::reply::Written;
use crate::store::damage::read_rows;
use crate::store::erasure::{CollectionErased, CollectionErasing, Erasure};
use crate::store::keys;
use crate::store::record::Address;
use crate::store::subject::Subject;
use crate::store::types::{Minute, Recent, Version};
use crate::write::command::{Erase, Request};
use crate::write::erase::begun;
use crate::write::erasure_terms;
use crate::write::transaction::{Done, Known, Transaction};

impl Transaction<'_> {
    /// Erases a collection of a subject, or goes on with that.
    pub(super) fn erase_collection(
        &mut self,
        asker: &Asker,
        erase: &Erase,
        collection: &Collection,
    ) -> Result<Done, Rejection> {
        let owner = &erase.owner;
        let uploads = self.node.namer.uploads(owner, collection);
        let subject = match self.known_subject(owner)? {
            None => {
                return self.take_first_uploads(erase, uploads).and(Err(self.unknown_to_mirrors()));
            }
            Some(Known::Erased(stone)) => return Err(subject_status::gone(&stone)),
            Some(Known::Kept(subject)) => subject,
        };
        if !erase.again {
            subject_status::admit(&subject, self.now)?;
        }
        if let Some(done) = self.collection_erased_before(erase, &subject, collection)? {
            return Ok(done);
        }
        let mut erasure = self.collection_erasure(erase, &subject, collection)?;
        let terms = self.erasure_terms(erase, &subject)?;
        erasure.deadline = erasure.deadline.or_else(|| erasure_terms::deadline(erase, &terms));
        let span = self.node.namer.records(owner, collection);
        if erase.validate_only {
            let records = self.count(owner, &subject, span, Some(collection))?;
            return Ok(Done::written(Written { records, terms, ..Default::default() }));
        }
        let gone = self.take_records(owner, &subject, span, Some(collection))?;
        let copies = self.copies_left(owner, collection, erase.again)?;
        if let Some(to) = copies.first()
            && subject.erasing.is_some()
            && !gone.more
            && gone.live.is_empty()
        {
            return still_copied(erase, to, erasure.records);
        }
        let records = erasure.records + gone.records();
        let mut entry = self.of_collection(asker, owner, &subject, collection, gone.records());
        let mut after = Subject::clone(&subject);
        if gone.more || !copies.is_empty() {
            self.entries.append(&entry)?;
            let collection = collection.clone();
            let erasure = Erasure { records, ..erasure };
            after.erasing = Some(CollectionErasing { collection, erasure });
            self.change_due(owner, subject.due(), after.due());
            self.keep(owner, after)?;
            return Ok(Done::written(Written { records, unfinished: true, ..Default::default() }));
        }
        self.take_uploads(uploads)?;
        // What is left of them is taken by the next erasure, and refuses nothing meanwhile.
        let oldest = oldest(self.entries.minute()).day();
        self.take_rows(self.node.namer.gone_requests(owner, collection, oldest))?;
        self.forget_accesses(owner, &subject, collection)?;
        let Erasure { request_id, fingerprint, reason, deadline, .. } = erasure;
        entry.say(Said::Reason(reason));
        deadline.into_iter().for_each(|minute| entry.say(Said::Deadline(minute.0)));
        let at = self.entries.next();
        let receipt = self.append_about(owner, Some(collection), &erase.opening, entry)?;
        let minute = self.entries.minute();
        let by = Recent { request_id, fingerprint, minute, version: Version::NONE, entry: at };
        let (place, listed) = (self.entries.place(at), Some((collection, &by)));
        erasure_file::list(&mut self.batch, place, &owner.row(), listed);
        // It is noted outside the store before the answer.
        self.erased.push(owner.tag);
        let collection = collection.clone();
        after.forget(CollectionErased { collection, records, by }, &self.node.namer);
        self.change_due(owner, subject.due(), after.due());
        self.keep(owner, after)?;
        Ok(Done::written(Written {
            records,
            index: at.index,
            origin: Some(self.entries.own_origin()),
            receipt: Some(receipt),
            terms,
            ..Default::default()
        }))
    }

    /// The answer to an erasure that is done.
    fn collection_erased_before(
        &self,
        erase: &Erase,
        subject: &Subject,
        collection: &Collection,
    ) -> Result<Option<Done>, Rejection> {
        let same = |erased: &&CollectionErased| {
            erase.request.is_some_and(|request| request.id == erased.by.request_id)
        };
        let Some(CollectionErased { records, by, .. }) = subject.erased(collection).filter(same)
        else {
            return Ok(None);
        };
        if erase.request.is_some_and(|request| request.fingerprint != by.fingerprint) {
            return Err(Rejection::new(Reason::RequestIdReused).field("request_id"));
        }
        // Its opening no longer exists.
        Ok(Some(Done::written(Written {
            replayed: true,
            records: *records,
            index: by.entry.index,
            origin: Some(self.entries.origin_of(by.entry)?),
            ..Default::default()
        })))
    }

    /// What is to be remembered of the erasure, if it may begin or go on.
    fn collection_erasure(
        &mut self,
        erase: &Erase,
        subject: &Subject,
        collection: &Collection,
    ) -> Result<Erasure, Rejection> {
        if let Some(CollectionErasing { collection: of, erasure }) = &subject.erasing {
            let same = |request: Request| {
                (request.id, request.fingerprint) == (erasure.request_id, erasure.fingerprint)
            };
            if of == collection && (erase.again || erase.request.is_none_or(same)) {
                return Ok(erasure.clone());
            }
            // One at a time: it goes on by itself, and is done within seconds.
            return Err(Reason::ShardBusy.into());
        }
        if subject.standing(collection).is_none() {
            let uploads = self.node.namer.uploads(&erase.owner, collection);
            self.take_first_uploads(erase, uploads)?;
            let fault = Rejection::new(Reason::RecordNotFound).field("collection");
            return Err(fault.problem("the subject has no records of it in this region"));
        }
        Ok(begun(erase, self.entries.minute()))
    }

    /// Refuses a late retry of a write whose record was erased with its collection.
    pub(super) fn not_gone(
        &self,
        address: &Address,
        subject: Option<&Subject>,
        request: &Request,
    ) -> Result<(), Rejection> {
        let now = self.entries.minute();
        let oldest = oldest(now);
        let erased = subject.and_then(|subject| subject.erased(&address.collection));
        if erased.is_none_or(|erased| erased.by.minute < oldest) {
            return Ok(());
        }
        let row = |day| keys::gone_request(&address.row, day, &request.id);
        let rows: Vec<Key> = (oldest.day()..=now.day()).map(row).collect();
        for noted in read_rows(&*self.node.engine, &rows).map_err(Error::from)? {
            if noted?.is_some() {
                return Err(subject_status::collection_erased().field("request_id"));
            }
        }
        Ok(())
    }
}

/// The answer while another region has a copy of what was erased here.
fn still_copied(erase: &Erase, to: &RegionId, records: u64) -> Result<Done, Rejection> {
    if erase.request.is_some() {
        return Err(subject_status::copies_not_erased(to));
    }
    Ok(Done::written(Written { records, unfinished: true, ..Default::default() }))
}

/// The first minute of which requests are remembered.
fn oldest(now: Minute) -> Minute {
    now.minus_hours(u32::try_from(limits::REQUEST_IDS_KEPT_HOURS).expect("a day or so"))
}
