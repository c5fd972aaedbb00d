//! What travels between two shards: a subject, and its records, decrypted at one and encrypted at the
//! other under keys of its own.
//!
//! A subject: its findings; the basis of each ruling; the request that created it, and its minute; the
//! collections that were erased; its block; the region that was chosen for it. Who read its records goes last, since it is read while it is
//! copied. A record: its names, version, whether it is deleted or an attachment, and the bytes of that,
//! opening, digest, expiry, attributes, participants, and the requests that it remembers. Each record is
//! followed by its body. The chunks of an attachment come before its record, which is followed by the
//! hash of the whole.

use atlas::{Findings, RecordAttributes};
use ledger::statement::content_digest;
use terms::limits::{
    ATTACHMENT_BYTES_MAX, BODY_BYTES_MAX, EXPIRE_MS_MAX, PARTICIPANT_JURISDICTIONS_MAX,
    PARTICIPANTS_MAX, PURPOSE_BYTES_MAX, REQUEST_IDS_KEPT_MAX, RULINGS_PER_SUBJECT_MAX,
};
use terms::{Collection, Reason, RecordKey, RegionId, Rejection, UnixMillis};
use wire::session as proto;
use zeroize::Zeroizing;

use crate::node::Node;
use crate::relocate::pages;
use crate::store::accesses::{Access, Accesses, LINES_READ_MAX};
use crate::store::attachment;
use crate::store::attachment::Chunks;
use crate::store::block::Blocked;
use crate::store::choice::read_region;
use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::keys::Owner;
use crate::store::moving::{Arriving, ArrivingChunks, Move, read_bases, write_bases};
use crate::store::participants;
use crate::store::participants::Participant;
use crate::store::record::{Address, Body, Head, SealedBody};
use crate::store::subject::Subject;
use crate::store::types::{Minute, Version};
use crate::write::command::Content;
use crate::write::move_command::{ArrivingChunk, ArrivingRecord, ArrivingSubject, ErasedElsewhere};

const KEPT: u8 = 0;
const DELETED: u8 = 1;
const ATTACHMENT: u8 = 2;

/// What travels first.
pub(crate) fn subject(subject: &Subject, of: &Move) -> Zeroizing<Vec<u8>> {
    let mut row = Writer::with_capacity(1024);
    row.bytes(&of.findings.encode());
    write_bases(&of.bases, &mut row);
    row.fixed(&subject.created_by.request_id).u32(subject.created_by.minute.0);
    let erased = subject.all_erased();
    row.u32(u32::try_from(erased.len()).expect("bounded by RULINGS_PER_SUBJECT_MAX"));
    for one in erased {
        row.text(one.collection.as_str()).u64(one.records);
        row.fixed(&one.by.request_id).u32(one.by.minute.0);
    }
    Blocked::write_any(of.blocked, &mut row);
    row.text(subject.choice.chosen.as_ref().map_or("", RegionId::as_str));
    Zeroizing::new(row.0)
}

/// Who read the subject's records.
pub(crate) fn accesses(accesses: &Accesses) -> Vec<u8> {
    let mut row = Writer::with_capacity(accesses.0.len() * 96);
    accesses.0.iter().for_each(|line| line.write(&mut row));
    row.0
}

/// Reads the same.
pub(crate) fn read_accesses(bytes: &[u8]) -> Result<Accesses, Malformed> {
    let (mut row, mut lines) = (Reader::new(bytes), Vec::new());
    while !row.rest().is_empty() {
        let line = Access::read(&mut row)?;
        let by = line.by.as_ref().and_then(|by| by.territory.as_ref());
        let short = line.purpose.len() <= PURPOSE_BYTES_MAX;
        let times = [line.first, line.last];
        if !short
            || !times.into_iter().all(is_date)
            || by.is_some_and(|code| code.len() != 2)
            || lines.len() >= LINES_READ_MAX
        {
            return Err(Malformed);
        }
        lines.push(line);
    }
    Ok(Accesses(lines))
}

/// Reads the same.
pub(crate) fn read_subject(bytes: &[u8]) -> Result<ArrivingSubject, Malformed> {
    let mut row = Reader::new(bytes);
    let findings = Findings::decode(row.bytes()?).map_err(|_| Malformed)?;
    let bases = read_bases(&mut row)?;
    let created = (row.array()?, minute(&mut row)?);
    let mut erased = Vec::new();
    for _ in 0..bounded(&mut row, RULINGS_PER_SUBJECT_MAX)? {
        erased.push(ErasedElsewhere {
            collection: Collection::parse(row.text()?).map_err(|_| Malformed)?,
            records: row.u64()?,
            request_id: row.array()?,
            minute: minute(&mut row)?,
        });
    }
    let blocked = Blocked::read_any(&mut row)?;
    if blocked.is_some_and(|blocked| !is_date(blocked.until)) {
        return Err(Malformed);
    }
    // A shard of before choices sends none.
    let chosen = if row.is_at_end() { None } else { read_region(&mut row)? };
    row.end()?;
    Ok(ArrivingSubject { findings, bases, created, erased, blocked, chosen })
}

/// A record without its body: the same bytes in both regions.
pub(crate) fn record(address: &Address, head: &Head) -> Vec<u8> {
    let mut row = Writer::with_capacity(256 + head.recent.len() * 28);
    row.text(address.collection.as_str()).text(address.key.expose());
    let (kind, bytes) = match head.body {
        Body::Inline(_) | Body::Apart(_) => (KEPT, 0),
        Body::Deleted => (DELETED, 0),
        Body::Chunked(bytes) => (ATTACHMENT, bytes),
    };
    row.u64(head.version.0).u8(kind).u32(bytes);
    row.fixed(&head.opening).fixed(&head.digest).u64(head.expires.map_or(0, |at| at.0));
    row.bytes(&head.indexed.encoded);
    participants::write(&head.indexed.participants, &mut row);
    row.u32(u32::try_from(head.recent.len()).expect("bounded by REQUEST_IDS_KEPT_MAX"));
    for recent in &head.recent {
        row.fixed(&recent.request_id).u32(recent.minute.0).u64(recent.version.0);
    }
    row.0
}

/// Adds a record and its body to others.
pub(crate) fn add(records: &mut Writer, address: &Address, head: &Head, body: &[u8]) {
    records.bytes(&Zeroizing::new(record(address, head))).bytes(body);
}

/// Reads records, and encrypts each under keys of this region. `chunks`: of an attachment, what has come
/// before its record. Blocks its thread.
///
/// # Errors
/// `FIELD_INVALID` for what is not of this form, or not the content to which it commits.
pub(crate) fn read_records(
    node: &Node,
    owner: &Owner,
    bytes: &[u8],
    chunks: Option<&ArrivingChunks>,
) -> Result<Vec<ArrivingRecord>, Rejection> {
    let (mut all, mut records) = (Reader::new(bytes), Vec::new());
    while !all.rest().is_empty() {
        let one = all.bytes().and_then(|record| Ok((record, all.bytes()?)));
        let (record, body) = one.map_err(|Malformed| invalid())?;
        if records.len() >= pages::PAGE_RECORDS_MAX {
            return Err(invalid());
        }
        records.push(read_record(node, owner, record, body, chunks)?);
    }
    Ok(records)
}

fn read_record(
    node: &Node,
    owner: &Owner,
    bytes: &[u8],
    body: &[u8],
    chunks: Option<&ArrivingChunks>,
) -> Result<ArrivingRecord, Rejection> {
    let plain = plain(bytes).map_err(|Malformed| invalid())?;
    let address = address(node, owner, &plain);
    let (opening, digest) = (plain.opening, plain.digest);
    if let What::Attachment(bytes) = plain.what {
        let chunks = chunks.filter(|chunks| {
            chunks.row == address.row && chunks.bytes == bytes && chunks.is_whole()
        });
        let chunks = chunks.ok_or_else(invalid)?;
        let sha256: [u8; 32] = body.try_into().map_err(|_| invalid())?;
        let rows = rows_of(node, &address, chunks);
        let whole = (rows.whole_row(), rows.seal_whole(node.random()?, &sha256));
        let (body_key, nonce) = (chunks.key.clone(), node.random()?);
        let sealed = SealedBody::chunked(bytes);
        let content = Content { opening, digest, body_key, nonce, sealed };
        return Ok(plain.arriving(address, content, Some(whole)));
    }
    let deleted = matches!(plain.what, What::Deleted);
    let fits = body.len() <= BODY_BYTES_MAX && (!deleted || body.is_empty());
    if !fits || content_digest(&opening, body) != digest {
        return Err(invalid());
    }
    let content = if deleted {
        Content { digest, ..Content::none(opening, node.random()?) }
    } else {
        let body_key = Zeroizing::new(node.random()?);
        let sealed = SealedBody::new(&address, &node.region, node.cipher, &body_key, body);
        Content { opening, digest, body_key, nonce: node.random()?, sealed }
    };
    Ok(plain.arriving(address, content, None))
}

/// Reads a chunk of an attachment, and encrypts it under a key of this region. None: it is not the one
/// that comes next. Blocks its thread.
///
/// # Errors
/// `FIELD_INVALID` for what is not of this form.
pub(crate) fn read_chunk(
    node: &Node,
    owner: &Owner,
    here: &Arriving,
    chunk: &proto::ArrivalChunk,
) -> Result<Option<ArrivingChunk>, Rejection> {
    let plain = plain(&chunk.record).map_err(|Malformed| invalid())?;
    let What::Attachment(bytes) = plain.what else { return Err(invalid()) };
    let address = address(node, owner, &plain);
    let known = here.attachment.as_ref();
    let known = known.filter(|known| known.row == address.row && known.bytes == bytes);
    let next = known.map_or(0, |known| known.next);
    if *chunk.after != here.after || chunk.number != next {
        return Ok(None);
    }
    let size = attachment::bytes_of(bytes, next);
    if size == 0 || u32::try_from(chunk.data.len()) != Ok(size) {
        return Err(invalid());
    }
    let mut chunks = match known {
        Some(known) => known.clone(),
        None => ArrivingChunks {
            row: address.row.clone(),
            bytes,
            key: Zeroizing::new(node.random()?),
            next,
        },
    };
    let rows = rows_of(node, &address, &chunks);
    let (at, sealed) = (rows.row(next), rows.seal(next, node.random()?, &chunk.data));
    chunks.next = next + 1;
    let (after, collection) = (here.after.clone(), address.collection);
    Ok(Some(ArrivingChunk { after, collection, number: next, chunks, at, sealed }))
}

/// Seals the rows of an attachment that arrives.
fn rows_of<'a>(node: &'a Node, address: &'a Address, chunks: &'a ArrivingChunks) -> Chunks<'a> {
    let (region, cipher, key) = (&node.region, node.cipher, &chunks.key);
    Chunks { address, region, cipher, key, tag: node.namer.attachment(key) }
}

fn address(node: &Node, owner: &Owner, plain: &Plain) -> Address {
    let (collection, key) = (plain.collection.clone(), plain.key.clone());
    let row = node.namer.record(owner, &collection, &key);
    Address { owner: owner.clone(), collection, key, row }
}

/// What a record has.
#[derive(Clone, Copy)]
enum What {
    Body,
    Deleted,
    /// So many bytes in chunks.
    Attachment(u32),
}

/// A record that was read, without its body.
struct Plain {
    collection: Collection,
    key: RecordKey,
    version: Version,
    what: What,
    opening: [u8; 32],
    digest: [u8; 32],
    expires: Option<UnixMillis>,
    attributes: RecordAttributes,
    participants: Vec<Participant>,
    requests: Vec<([u8; 16], Minute, Version)>,
}

impl Plain {
    fn arriving(
        self,
        address: Address,
        content: Content,
        whole: Option<(Vec<u8>, Vec<u8>)>,
    ) -> ArrivingRecord {
        let Self { version, expires, attributes, participants, requests, .. } = self;
        ArrivingRecord {
            address,
            version,
            content,
            expires,
            attributes,
            participants,
            requests,
            whole,
        }
    }
}

fn plain(bytes: &[u8]) -> Result<Plain, Malformed> {
    let mut row = Reader::new(bytes);
    let collection = Collection::parse(row.text()?).map_err(|_| Malformed)?;
    let key = RecordKey::parse(row.text()?).map_err(|_| Malformed)?;
    let version = Version(row.u64()?);
    let what = match (row.u8()?, row.u32()?) {
        (KEPT, 0) => What::Body,
        (DELETED, 0) => What::Deleted,
        (ATTACHMENT, bytes) if may_have(bytes) => What::Attachment(bytes),
        _ => return Err(Malformed),
    };
    let (opening, digest) = (row.array()?, row.array()?);
    let expires = Some(row.u64()?).filter(|at| *at > 0).map(UnixMillis);
    if expires.is_some_and(|at| at.0 > EXPIRE_MS_MAX) {
        return Err(Malformed);
    }
    let attributes = RecordAttributes::decode(row.bytes()?).map_err(|_| Malformed)?;
    let participants = participants::read(&mut row)?;
    let few = |one: &Participant| one.jurisdictions.len() <= PARTICIPANT_JURISDICTIONS_MAX;
    if participants.len() > PARTICIPANTS_MAX || !participants.iter().all(few) {
        return Err(Malformed);
    }
    let count = bounded(&mut row, REQUEST_IDS_KEPT_MAX)?;
    let request = |_| Ok((row.array()?, minute(&mut row)?, Version(row.u64()?)));
    let requests = (0..count).map(request).collect::<Result<_, Malformed>>()?;
    row.end()?;
    if version == Version::NONE || i64::try_from(version.0).is_err() {
        return Err(Malformed);
    }
    Ok(Plain {
        collection,
        key,
        version,
        what,
        opening,
        digest,
        expires,
        attributes,
        participants,
        requests,
    })
}

/// Whether an attachment may have so many bytes.
fn may_have(bytes: u32) -> bool {
    bytes > 0 && usize::try_from(bytes).is_ok_and(|bytes| bytes <= ATTACHMENT_BYTES_MAX)
}

/// A minute that a caller can read as a date: one after the year 9999 would spoil every answer that has it.
pub(crate) fn is_date(minute: Minute) -> bool {
    u64::from(minute.0) <= EXPIRE_MS_MAX / 60_000
}

fn minute(row: &mut Reader<'_>) -> Result<Minute, Malformed> {
    let minute = Minute(row.u32()?);
    if is_date(minute) { Ok(minute) } else { Err(Malformed) }
}

fn bounded(row: &mut Reader<'_>, most: usize) -> Result<u32, Malformed> {
    let count = row.u32()?;
    let fits = usize::try_from(count).is_ok_and(|count| count <= most);
    if fits { Ok(count) } else { Err(Malformed) }
}

fn invalid() -> Rejection {
    Rejection::new(Reason::FieldInvalid).field("arrival").problem("is not as shards send it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::accesses::AccessKind;

    fn line(purpose: usize) -> Access {
        let (purpose, reads) = ("x".repeat(purpose), 1);
        let (first, last) = (Minute(1), Minute(2));
        let (collection, kind) = (Collection::parse("notes").unwrap(), AccessKind::Records);
        Access { collection, kind, by: None, purpose, reads, first, last }
    }

    #[test]
    fn a_subject_of_before_choices_has_none() {
        let mut row = Writer::default();
        row.bytes(&Findings::default().encode());
        write_bases(&[], &mut row);
        row.fixed(&[5; 16]).u32(7).u32(0);
        Blocked::write_any(None, &mut row);
        let chosen = |bytes: &[u8]| read_subject(bytes).map(|subject| subject.chosen).ok();
        assert_eq!(chosen(&row.0), Some(None));
        assert_eq!(chosen(&row.0[..row.0.len() - 1]), None, "what is cut is refused");
        row.text("eu-fra");
        assert_eq!(chosen(&row.0), Some(Some(RegionId::parse("eu-fra").unwrap())));
        assert_eq!(chosen(&row.0[..row.0.len() - 1]), None);
    }

    #[test]
    fn what_is_dated_after_the_year_9999_is_refused() {
        let last = u32::try_from(EXPIRE_MS_MAX / 60_000).unwrap();
        let subject = |created: u32, until: u32| {
            let mut row = Writer::default();
            row.bytes(&Findings::default().encode());
            write_bases(&[], &mut row);
            row.fixed(&[5; 16]).u32(created).u32(0);
            let until = Minute(until);
            Blocked::write_any(Some(Blocked { until, then_erase: false }), &mut row);
            read_subject(&row.0).is_ok()
        };
        assert!(subject(last, last));
        assert!(!subject(last + 1, last) && !subject(last, last + 1));
        let read = |first, at| {
            let line = Access { first: Minute(first), last: Minute(at), ..line(1) };
            read_accesses(&accesses(&Accesses(vec![line]))).is_ok()
        };
        assert!(read(1, last));
        assert!(!read(1, last + 1) && !read(last + 1, u32::MAX));
    }

    #[test]
    fn who_read_a_subject_is_said_in_few_and_short_lines() {
        let all = |lines| accesses(&Accesses(lines));
        let most = all((0..LINES_READ_MAX).map(|_| line(PURPOSE_BYTES_MAX)).collect());
        assert_eq!(read_accesses(&most).ok().unwrap().0.len(), LINES_READ_MAX);
        assert!(read_accesses(&all((0..=LINES_READ_MAX).map(|_| line(1)).collect())).is_err());
        assert!(read_accesses(&all(vec![line(PURPOSE_BYTES_MAX + 1)])).is_err());
    }
}
