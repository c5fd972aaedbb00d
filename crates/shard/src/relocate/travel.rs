//! What travels between two shards: a subject, and its records, decrypted at one and encrypted at the
//! other under keys of its own.
//!
//! A subject: its findings; the basis of each ruling; the request that created it, and its minute; the
//! collections that were erased. Who read its records goes last, since it is read while it is copied. A
//! record: its names, version, whether it is
//! deleted, opening, digest, expiry, attributes, and the requests that it remembers. Each record is
//! followed by its body.

use atlas::{Findings, RecordAttributes};
use ledger::statement::content_digest;
use terms::limits::{BODY_BYTES_MAX, REQUEST_IDS_KEPT_MAX, RULINGS_PER_SUBJECT_MAX};
use terms::{Collection, Reason, RecordKey, Rejection, UnixMillis};
use zeroize::Zeroizing;

use crate::node::Node;
use crate::store::accesses::{Access, Accesses, LINES_READ_MAX};
use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::keys::Owner;
use crate::store::moving::{Move, read_bases, write_bases};
use crate::store::record::{Address, Head, SealedBody};
use crate::store::subject::Subject;
use crate::store::types::{Minute, Version};
use crate::write::command::Content;
use crate::write::move_command::{ArrivingRecord, ArrivingSubject, ErasedElsewhere};

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
        lines.push(Access::read(&mut row)?);
        if lines.len() > LINES_READ_MAX {
            return Err(Malformed);
        }
    }
    Ok(Accesses(lines))
}

/// Reads the same.
pub(crate) fn read_subject(bytes: &[u8]) -> Result<ArrivingSubject, Malformed> {
    let mut row = Reader::new(bytes);
    let findings = Findings::decode(row.bytes()?).map_err(|_| Malformed)?;
    let bases = read_bases(&mut row)?;
    let created = (row.array()?, Minute(row.u32()?));
    let mut erased = Vec::new();
    for _ in 0..bounded(&mut row, RULINGS_PER_SUBJECT_MAX)? {
        erased.push(ErasedElsewhere {
            collection: Collection::parse(row.text()?).map_err(|_| Malformed)?,
            records: row.u64()?,
            request_id: row.array()?,
            minute: Minute(row.u32()?),
        });
    }
    row.end()?;
    Ok(ArrivingSubject { findings, bases, created, erased })
}

/// A record without its body: the same bytes in both regions.
pub(crate) fn record(address: &Address, head: &Head) -> Vec<u8> {
    let mut row = Writer::with_capacity(256 + head.recent.len() * 28);
    row.text(address.collection.as_str()).text(address.key.expose());
    row.u64(head.version.0).u8(u8::from(head.is_deleted()));
    row.fixed(&head.opening).fixed(&head.digest).u64(head.expires.map_or(0, |at| at.0));
    row.bytes(&head.indexed.encoded);
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

/// Reads records, and encrypts each under keys of this region. Blocks its thread.
///
/// # Errors
/// `FIELD_INVALID` for what is not of this form, or not the content to which it commits.
pub(crate) fn read_records(
    node: &Node,
    owner: &Owner,
    bytes: &[u8],
) -> Result<Vec<ArrivingRecord>, Rejection> {
    let (mut all, mut records) = (Reader::new(bytes), Vec::new());
    while !all.rest().is_empty() {
        let one = all.bytes().and_then(|record| Ok((record, all.bytes()?)));
        let (record, body) = one.map_err(|Malformed| invalid())?;
        records.push(read_record(node, owner, record, body)?);
    }
    Ok(records)
}

fn read_record(
    node: &Node,
    owner: &Owner,
    bytes: &[u8],
    body: &[u8],
) -> Result<ArrivingRecord, Rejection> {
    let Plain { collection, key, version, deleted, opening, digest, expires, attributes, requests } =
        plain(bytes).map_err(|Malformed| invalid())?;
    let fits = body.len() <= BODY_BYTES_MAX && (!deleted || body.is_empty());
    if !fits || content_digest(&opening, body) != digest {
        return Err(invalid());
    }
    let row = node.namer.record(owner, &collection, &key);
    let address = Address { owner: owner.clone(), collection, key, row };
    let content = if deleted {
        Content { digest, ..Content::none(opening, node.random()?) }
    } else {
        let body_key = Zeroizing::new(node.random()?);
        let sealed = SealedBody::new(&address, &node.region, node.cipher, &body_key, body);
        Content { opening, digest, body_key, nonce: node.random()?, sealed }
    };
    Ok(ArrivingRecord { address, version, content, expires, attributes, requests })
}

/// A record that was read, without its body.
struct Plain {
    collection: Collection,
    key: RecordKey,
    version: Version,
    deleted: bool,
    opening: [u8; 32],
    digest: [u8; 32],
    expires: Option<UnixMillis>,
    attributes: RecordAttributes,
    requests: Vec<([u8; 16], Minute, Version)>,
}

fn plain(bytes: &[u8]) -> Result<Plain, Malformed> {
    let mut row = Reader::new(bytes);
    let collection = Collection::parse(row.text()?).map_err(|_| Malformed)?;
    let key = RecordKey::parse(row.text()?).map_err(|_| Malformed)?;
    let version = Version(row.u64()?);
    let deleted = match row.u8()? {
        0 => false,
        1 => true,
        _ => return Err(Malformed),
    };
    let (opening, digest) = (row.array()?, row.array()?);
    let expires = Some(row.u64()?).filter(|at| *at > 0).map(UnixMillis);
    let attributes = RecordAttributes::decode(row.bytes()?).map_err(|_| Malformed)?;
    let count = bounded(&mut row, REQUEST_IDS_KEPT_MAX)?;
    let request = |_| Ok((row.array()?, Minute(row.u32()?), Version(row.u64()?)));
    let requests = (0..count).map(request).collect::<Result<_, Malformed>>()?;
    row.end()?;
    if version == Version::NONE {
        return Err(Malformed);
    }
    Ok(Plain { collection, key, version, deleted, opening, digest, expires, attributes, requests })
}

fn bounded(row: &mut Reader<'_>, most: usize) -> Result<u32, Malformed> {
    let count = row.u32()?;
    let fits = usize::try_from(count).is_ok_and(|count| count <= most);
    if fits { Ok(count) } else { Err(Malformed) }
}

fn invalid() -> Rejection {
    Rejection::new(Reason::FieldInvalid).field("arrival").problem("is not as shards send it")
}
