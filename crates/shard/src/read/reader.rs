//! Reads: the newest durable version of a record, opened. No read is silent.

use std::ops::Range;
use std::sync::Arc;

use atlas::Reads;
use bytes::Bytes;
use sealed::{AnswerSecret, Binding, Call};
use terms::limits::{ATTACHMENT_CHUNK_BYTES, ATTACHMENT_READ_BYTES_MAX};
use terms::{Detail, Reason, RegionId, Rejection};
use tokio::time::Instant;

use crate::Error;
use crate::log::access_counters::AccessCounters;
use crate::node::Node;
use crate::policy::egress::{BodyPart, EgressPolicy, Lookup, SealedQuestion};
use crate::reply::{Found, Outcome, ReplySlot, busy};
use crate::store::attachment::{self, Chunks};
use crate::store::damage::{Row, read_rows};
use crate::store::keys;
use crate::store::record::{Body, Head, Stored};
use crate::store::subject::Subject;
use crate::store::transit;
use crate::store::types::{EntryAt, EpochNumber};
use crate::write::command::{Action, Op, Read, ReadAbout, ReadOf};
use crate::write::committer::Queue;

/// What to do where a region has no copy that may be read. A record is not created there by its copy.
const NO_COPY: &str = "this region has no copies of the subject's records in the collection: read the \
                       record at its domicile, or name a mirror of its ruling";

/// What reads need beside the node.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) node: Arc<Node>,
    pub(crate) queue: Queue,
    pub(crate) counts: Arc<AccessCounters>,
}

/// One read of a frame.
pub(crate) struct Get {
    pub(crate) reply: ReplySlot,
    pub(crate) deadline: Instant,
    pub(crate) lookup: Lookup,
    /// Bytes of the body for which the reply has room: it is read with the head. None: the size is
    /// not known yet, and the head alone is read.
    pub(crate) body: Option<usize>,
}

/// The rows of one record, as they were read at one moment.
struct RecordRows {
    head: Row,
    /// None: the body's own row was not asked for.
    body: Option<Row>,
}

impl Reader {
    /// Serves some reads, whose replies have room for what is read. Returns those whose body has a
    /// row of its own, with its size: they are to come again with room for it. Blocks its thread.
    pub(crate) fn serve(&self, gets: Vec<Get>) -> Vec<Get> {
        self.some(gets).unwrap_or_else(|error| {
            // The store answers no more, as after a failed flush. The committer opens it again, or
            // ends the shard.
            tracing::error!(%error, "rows cannot be read");
            self.queue.recover();
            Vec::new()
        })
    }

    /// Who reads at home is let in in any case: subject and record are read at once. For all
    /// others the egress policy is asked first, and a record that it bars is not touched: neither its size
    /// nor its being there may tell by how long the answer takes.
    fn some(&self, gets: Vec<Get>) -> Result<Vec<Get>, engine::Error> {
        // Before anything is judged: should another map come in, it is judged again.
        let judged = EpochNumber::of(&self.node.map());
        let is_of_copy = |get: &Get| get.lookup.copy_of.is_some();
        let (copies, gets): (Vec<_>, Vec<_>) = gets.into_iter().partition(is_of_copy);
        let mut keys = Vec::with_capacity(gets.len() * 2);
        for get in &gets {
            keys.push(get.lookup.address.owner.row());
            if self.egress(&get.lookup, judged).at_home() {
                get.push_keys(&mut keys);
            }
        }
        let mut rows = read_rows(&*self.node.engine, &keys)?.into_iter();
        let mut next = || rows.next().unwrap_or(Ok(None));
        let (mut ready, mut later) = (Vec::new(), Vec::new());
        for get in gets {
            let home = self.egress(&get.lookup, judged).at_home();
            let subject = next();
            let record = home.then(|| get.take_rows(&mut next));
            let let_in = self.let_in(&get, judged, subject);
            match self.read_here(&get.lookup, let_in) {
                Err(fault) => self.refuse(get.reply, fault),
                Ok(subject) => match record {
                    Some(record) => ready.push((get, subject, record)),
                    None => later.push((get, subject)),
                },
            }
        }
        let mut keys = Vec::with_capacity(later.len());
        later.iter().for_each(|(get, _)| get.push_keys(&mut keys));
        let mut rows = read_rows(&*self.node.engine, &keys)?.into_iter();
        let mut next = || rows.next().unwrap_or(Ok(None));
        for (get, subject) in later {
            let record = get.take_rows(&mut next);
            ready.push((get, subject, record));
        }
        let mut apart = Vec::new();
        for get in copies {
            let opened = self.open_copy(&get, judged).map_err(|fault| {
                // Whatever the cause is: the answer is the same.
                let unknown = fault.reason == Reason::SubjectUnknown;
                if unknown { fault.cure(NO_COPY) } else { fault }
            });
            apart.extend(self.answer(get, judged, opened));
        }
        for (get, subject, record) in ready {
            apart.extend(self.one(get, judged, &subject, record));
        }
        Ok(apart)
    }

    /// What was read, unless another shard of the region may have written since.
    fn read_here<T>(&self, of: &Lookup, read: Result<T, Rejection>) -> Result<T, Rejection> {
        match of.copy_of {
            None => self.node.still_owns(of.address.owner.slot).and(read),
            Some(_) => read,
        }
    }

    fn refuse(&self, reply: ReplySlot, fault: Rejection) {
        self.node.report(&fault);
        reply.send(fault.into());
    }

    pub(super) fn egress<'a>(
        &'a self,
        lookup: &'a Lookup,
        judged: EpochNumber,
    ) -> EgressPolicy<'a> {
        let Lookup { address, asker, .. } = lookup;
        let (node, counts, collection) = (&self.node, &self.counts, &address.collection);
        EgressPolicy { node, counts, collection, asker, judged }
    }

    /// The subject, if those who ask may have its records.
    fn let_in(&self, get: &Get, judged: EpochNumber, row: Row) -> Result<Arc<Subject>, Rejection> {
        let Get { deadline, lookup, .. } = get;
        if Instant::now() > *deadline {
            return Err(Rejection::new(Reason::DeadlinePassed));
        }
        // Before anything is told: without a purpose no caller learns whether there is such a record.
        let map = self.node.map();
        let rules = map.collection(&lookup.address.collection);
        rules.map_or(Ok(()), |rules| rules.admit_purpose(&lookup.purpose))?;
        // Nor by a question that does not open, of which the log has nothing.
        self.answer_secret(lookup)?;
        self.egress(lookup, judged).admit(&lookup.address.owner, row)
    }

    /// Answers one read, or gives it back with the size of its body.
    fn one(
        &self,
        get: Get,
        judged: EpochNumber,
        subject: &Subject,
        rows: RecordRows,
    ) -> Option<Get> {
        if Instant::now() > get.deadline {
            get.reply.send(Rejection::new(Reason::DeadlinePassed).into());
            return None;
        }
        let opened = match self.open(&get, judged, subject, rows) {
            Err(fault) if fault.reason == Reason::StoredDataDamaged => {
                self.open_again(&get, judged)
            }
            opened => opened,
        };
        self.answer(get, judged, opened)
    }

    /// Answers what was opened, or gives it back with the size of its body.
    fn answer(
        &self,
        get: Get,
        judged: EpochNumber,
        opened: Result<Opened, Rejection>,
    ) -> Option<Get> {
        let Get { mut reply, deadline, lookup, .. } = get;
        match self.read_here(&lookup, opened) {
            Ok(Opened::Apart(bytes)) => {
                // While it waits for more, it keeps nothing from others.
                reply.room = None;
                return Some(Get { reply, deadline, lookup, body: Some(bytes) });
            }
            Ok(Opened::Found(found, entry)) => {
                self.found(Get { reply, deadline, lookup, body: None }, judged, found, entry);
            }
            Err(fault) => self.refuse(reply, fault),
        }
        None
    }

    /// Answers a read, and counts it; or has it logged, and answered then.
    fn found(&self, get: Get, judged: EpochNumber, found: Found, entry: EntryAt) {
        let Get { mut reply, deadline, lookup, .. } = get;
        reply.fit_room(found.body.len() + found.attributes.len());
        self.node.metrics.reads.inc();
        let Lookup { address, asker, purpose, copy_of, .. } = lookup;
        match self.node.map().collection(&address.collection).map(atlas::CollectionRules::reads) {
            Some(Reads::Counted) if self.counts.add(judged, &asker.who, &address.collection, 1) => {
                reply.send(Outcome::Found(found));
            }
            // Also a collection that the map no longer names, a caller for whom no counter is left,
            // and a read under a map that is being replaced: no read is silent.
            Some(Reads::Logged | Reads::Counted) | None => {
                let collection = address.collection;
                let (of, about) = match copy_of {
                    // The subject of a copy has no row here that says who read it: the entry does.
                    Some(_) => (ReadOf::Copy(entry, found, purpose), None),
                    None => {
                        let about = ReadAbout::new(address.owner, purpose);
                        (ReadOf::Record(entry, found), Some(about))
                    }
                };
                let read = Read { collection, of, about, judged };
                let action = Action::Read(Box::new(read));
                let Some(room) = self.queue.admit(action.bytes()) else {
                    return reply.send(busy());
                };
                // No ruling is asked for: under which map it was sent does not matter.
                let map_epoch = None;
                let op = Op { reply, deadline, asker, map_epoch, action };
                self.queue.submit(op, room);
            }
        }
    }

    /// Reads subject and record once more, both at one moment: the collection may have been erased, or
    /// begun again, after one of them was read, and then neither is damaged.
    fn open_again(&self, get: &Get, judged: EpochNumber) -> Result<Opened, Rejection> {
        let owner = &get.lookup.address.owner;
        let mut keys = vec![owner.row()];
        get.push_keys(&mut keys);
        let mut rows = read_rows(&*self.node.engine, &keys).map_err(Error::from)?.into_iter();
        let mut next = || rows.next().unwrap_or(Ok(None));
        let subject = self.egress(&get.lookup, judged).admit_row(owner, next())?;
        self.open(get, judged, &subject, get.take_rows(&mut next))
    }

    fn open(
        &self,
        get: &Get,
        judged: EpochNumber,
        subject: &Subject,
        rows: RecordRows,
    ) -> Result<Opened, Rejection> {
        let address = &get.lookup.address;
        let not_found = || Rejection::new(Reason::RecordNotFound).field("key");
        let damaged = || Rejection::from(Error::Damaged("records"));
        let row = rows.head?.ok_or_else(not_found)?;
        let head = self.node.open_head(address, subject, &row)?;
        let policy = self.egress(&get.lookup, judged);
        if !policy.gives(&head.indexed.participants) || head.has_expired(self.node.now()) {
            return Err(not_found());
        }
        let part = get.lookup.part.as_ref();
        if part.is_some_and(|part| !part.etag.is_empty() && part.etag != head.etag()) {
            let fault = Rejection::new(Reason::VersionMismatch).field("etag");
            return Err(fault.with(Detail::Version, head.version));
        }
        let apart = match head.body {
            Body::Deleted => return Err(not_found()),
            Body::Inline(_) => None,
            Body::Chunked(bytes) => {
                let part = part.ok_or_else(|| Rejection::new(Reason::BodyIsAttachment))?;
                return self.attachment(get, part, &head, bytes);
            }
            Body::Apart(bytes) => {
                let bytes = usize::try_from(bytes).map_err(|_| damaged())?;
                // Also where the record has grown since its size was asked for.
                if get.body.is_none_or(|room| room < bytes) {
                    return Ok(Opened::Apart(bytes));
                }
                Some(rows.body.unwrap_or(Ok(None))?.ok_or_else(damaged)?)
            }
        };
        let stored = Stored::read(&row).map_err(|_| damaged())?;
        let (region, cipher) = (&self.node.region, self.node.cipher);
        let body = stored.body(address, region, cipher, &head, apart).map_err(|_| damaged())?;
        let (mut body, mut size) = (Bytes::from(body), 0);
        if let Some(part) = part {
            let range = part.within(body.len())?;
            (size, body) = (body.len() as u64, body.slice(range));
        }
        let found = self.answered(get, found_of(&head, body, size))?;
        Ok(Opened::Found(found, head.entry))
    }

    /// What is found, with its body sealed if the get asked for that.
    pub(super) fn answered(&self, get: &Get, found: Found) -> Result<Found, Rejection> {
        let Some(answer) = self.answer_secret(&get.lookup)? else { return Ok(found) };
        let version = i64::try_from(found.version.0).unwrap_or(i64::MAX);
        let sealed = answer.seal(self.node.random()?, version, &found.etag, &found.body);
        Ok(Found { body: sealed.into(), sealed: true, ..found })
    }

    /// What seals the answer, if the get asked for that: its question is opened once.
    pub(super) fn answer_secret<'a>(
        &self,
        lookup: &'a Lookup,
    ) -> Result<Option<&'a AnswerSecret>, Rejection> {
        let Lookup { address, question, copy_of, .. } = lookup;
        // A region may have a record, and a copy of another one of that name.
        let home: Vec<&str> = copy_of.iter().map(RegionId::as_str).collect();
        let binding = Binding { asks: &home, ..transit::binding(Call::Get, address) };
        let open = |question: &'a SealedQuestion| question.open(&self.node, &binding);
        question.as_ref().map(open).transpose()
    }

    /// A part of an attachment of so many bytes.
    fn attachment(
        &self,
        get: &Get,
        part: &BodyPart,
        head: &Head,
        bytes: u32,
    ) -> Result<Opened, Rejection> {
        let size = head.body.bytes();
        let range = part.within(size)?;
        // As for a body that lies apart.
        if get.body.unwrap_or(0) < range.len() {
            return Ok(Opened::Apart(range.len()));
        }
        let node = &*self.node;
        let (address, tag) = (&get.lookup.address, node.namer.attachment(&head.body_key));
        let (region, cipher, key) = (&node.region, node.cipher, &head.body_key);
        let chunks = Chunks { address, region, cipher, key, tag };
        // One that is gone by now was replaced after its head was read.
        let replaced = || Rejection::new(Reason::VersionMismatch).field("etag");
        let damaged = || Rejection::from(Error::Damaged("records"));
        let small = |n: usize| u32::try_from(n).unwrap_or(bytes);
        let numbers = attachment::holding(&(small(range.start)..small(range.end)));
        let mut rows: Vec<engine::Key> = numbers.clone().map(|n| chunks.row(n)).collect();
        rows.push(chunks.whole_row());
        let mut found = read_rows(&*node.engine, &rows).map_err(Error::from)?.into_iter();
        let mut next = || found.next().unwrap_or(Ok(None))?.ok_or_else(replaced);
        let first = usize::try_from(numbers.start).unwrap_or(0) * ATTACHMENT_CHUNK_BYTES;
        let mut body = Vec::with_capacity(range.len() + 2 * ATTACHMENT_CHUNK_BYTES);
        for number in numbers {
            body.extend(chunks.open(number, &next()?).map_err(|_| damaged())?);
        }
        let sha256 = chunks.open_whole(&next()?).map_err(|_| damaged())?;
        let within = range.start.saturating_sub(first)..range.end.saturating_sub(first);
        let body = if range.is_empty() { Bytes::new() } else { Bytes::from(body).slice(within) };
        let found = found_of(head, body, size as u64);
        let found = Found { sha256: sha256.to_vec().into(), ..found };
        Ok(Opened::Found(found, head.entry))
    }
}

/// What is answered of a record with that head.
pub(super) fn found_of(head: &Head, body: Bytes, size: u64) -> Found {
    let (version, etag, expires) = (head.version, head.etag(), head.expires);
    let attributes = head.indexed.encoded.clone().into();
    let (participants, sha256) = (head.indexed.participants.clone(), Bytes::new());
    let (sealed, copy) = (false, None);
    Found { version, etag, expires, body, attributes, participants, size, sha256, sealed, copy }
}

impl BodyPart {
    /// The part of a body of so many bytes.
    pub(super) fn within(&self, bytes: usize) -> Result<Range<usize>, Rejection> {
        let start = usize::try_from(self.offset).ok().filter(|start| *start <= bytes);
        let start = start.ok_or_else(|| {
            let fault = Rejection::new(Reason::FieldInvalid).field("offset");
            fault.problem("is past the end").with(Detail::Limit, bytes)
        })?;
        let length = usize::try_from(self.length).unwrap_or(usize::MAX);
        let length = length.min(ATTACHMENT_READ_BYTES_MAX).min(bytes - start);
        Ok(start..start + length)
    }
}

/// A record that was opened.
#[expect(clippy::large_enum_variant, reason = "nearly all are of the large kind")]
pub(super) enum Opened {
    Found(Found, EntryAt),
    /// Its body has a row of its own, of so many bytes, which was not read.
    Apart(usize),
}

impl Get {
    /// The rows of the record that are to be read.
    fn push_keys(&self, keys: &mut Vec<engine::Key>) {
        let head = &self.lookup.address.row;
        keys.push(head.clone());
        if self.body.is_some() {
            keys.push(keys::body(head));
        }
    }

    /// The same rows, in the same order, as they were read.
    fn take_rows(&self, next: &mut impl FnMut() -> Row) -> RecordRows {
        RecordRows { head: next(), body: self.body.is_some().then(next) }
    }
}
