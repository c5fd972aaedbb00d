//! The steps of an upload, from the wire to the committer. A chunk is sealed here, and what is stored
//! is read and hashed here before the upload ends: in parallel with the commits.

use atlas::RecordAttributes;
use bytes::Bytes;
use terms::{Detail, Reason, Rejection, UnixMillis, limits};
use tokio::time::Instant;
use wire::session as proto;
use wire::session::upload::Step;
use zeroize::Zeroizing;

use crate::Error;
use crate::node::Node;
use crate::policy::asker::Asker;
use crate::read::reader::Reader;
use crate::reply::{Outcome, ReplySlot, busy};
use crate::server::decode;
use crate::server::decode::participants::{fingerprint, participants};
use crate::server::proof_waiter::ProofWaiter;
use crate::store::attachment::{self, Chunks, UploadFront};
use crate::store::damage::read_rows;
use crate::store::keys;
use crate::store::record::{Address, SealedBody};
use crate::store::subject::SubjectRow;
use crate::store::types::EpochNumber;
use crate::store::upload_check::UploadCheck;
use crate::write::command::{
    Action, Basis, Begin, Condition, Content, Op, Put, Request, UploadStep, Uploaded, What,
};
use crate::write::upload_rows::{out_of_step, state, unknown};

/// Bytes that a step takes up beside its data.
const STEP_BYTES: usize = 512;
/// Chunks that are checked in one call: far less than a second's work.
const CHECKED_AT_ONCE: u32 = 64;

/// What came with a step.
pub(crate) struct Sent {
    pub(crate) reply: ReplySlot,
    pub(crate) deadline: Instant,
    pub(crate) asker: Asker,
    pub(crate) map_epoch: Option<EpochNumber>,
}

/// What becomes of a step before the committer.
enum Prepared {
    Write(Action),
    /// It is answered without a write.
    Answer(Box<Outcome>),
}

/// Prepares a step and queues it, on a thread that may be busy for a while.
pub(crate) fn submit(reader: &Reader, prover: &ProofWaiter, sent: Sent, call: proto::Upload) {
    let Sent { mut reply, deadline, asker, map_epoch } = sent;
    let data = match &call.step {
        Some(Step::Chunk(chunk)) => chunk.data.len(),
        Some(Step::Begin(_) | Step::Finish(_)) | None => 0,
    };
    let Some(room) = reader.queue.admit(data + STEP_BYTES) else {
        return reply.send(busy());
    };
    if call.put.as_ref().is_some_and(|put| put.prove) {
        reply = prover.proven(reply);
    }
    let reader = reader.clone();
    tokio::task::spawn_blocking(move || match prepare(&reader.node, &asker, call) {
        Ok(Prepared::Write(action)) => {
            reader.queue.submit(Op { reply, deadline, asker, map_epoch, action }, room);
        }
        Ok(Prepared::Answer(outcome)) => reply.send(*outcome),
        Err(fault) => {
            reader.node.report(&fault);
            reply.send(fault.into());
        }
    });
}

fn prepare(node: &Node, asker: &Asker, call: proto::Upload) -> Result<Prepared, Rejection> {
    let step = call.step.ok_or_else(|| Rejection::new(Reason::FieldMissing).field("step"))?;
    let upload = upload(node, asker, call.put.unwrap_or_default(), call.size, &call.sha256)?;
    let row = keys::upload(&upload.address.row, &upload.request.id);
    match step {
        Step::Begin(_) => {
            let Upload { address, request, condition, expires, attributes, .. } = upload;
            let Upload { asked, bytes, sha256, basis, .. } = upload;
            let (key, nonce) = (Zeroizing::new(node.random()?), node.random()?);
            let begin =
                Begin { request, condition, expires, attributes, asked, bytes, sha256, key, nonce };
            let what = What::Begin(Box::new(begin));
            Ok(write(UploadStep { address, row, basis, what }))
        }
        Step::Chunk(chunk) => {
            let open = open(node, &upload, &row)?;
            let number = chunk.number;
            let want = attachment::bytes_of(open.front.bytes, number);
            if open.front.next != number || u32::try_from(chunk.data.len()) != Ok(want) {
                return Err(out_of_step(open.front.next));
            }
            let chunks = open.chunks(node, &upload);
            let sealed = chunks.seal(number, node.random()?, &chunk.data);
            let what = What::Chunk { number, at: chunks.row(number), sealed };
            let Upload { address, basis, .. } = upload;
            Ok(write(UploadStep { address, row, basis, what }))
        }
        Step::Finish(_) => finish(node, upload, row),
    }
}

fn write(step: UploadStep) -> Prepared {
    Prepared::Write(Action::Upload(Box::new(step)))
}

/// The upload of an attachment, of which each call is a step: all but the step is the same in each.
struct Upload {
    address: Address,
    request: Request,
    condition: Condition,
    expires: Option<UnixMillis>,
    attributes: RecordAttributes,
    basis: Basis,
    /// As of a put.
    asked: Bytes,
    /// Of the whole.
    bytes: u32,
    sha256: [u8; 32],
}

/// An upload.
fn upload(
    node: &Node,
    asker: &Asker,
    put: proto::Put,
    size: u64,
    sha256: &[u8],
) -> Result<Upload, Rejection> {
    let invalid = |field| Rejection::new(Reason::FieldInvalid).field(field);
    let address = decode::address(node, asker, &put.subject, &put.collection, &put.key)?;
    node.map().admit_plain(&address.collection, "collection")?;
    let bytes = usize::try_from(size).unwrap_or(usize::MAX);
    if bytes > limits::ATTACHMENT_BYTES_MAX {
        let most = limits::ATTACHMENT_BYTES_MAX;
        return Err(Rejection::new(Reason::AttachmentTooLarge).with(Detail::Limit, most));
    }
    let bytes = u32::try_from(bytes).ok().filter(|bytes| *bytes > 0);
    let bytes = bytes.ok_or_else(|| invalid("size").problem("is 0"))?;
    let sha256: [u8; 32] =
        sha256.try_into().map_err(|_| invalid("sha256").problem("is not 32 bytes"))?;
    let attributes = decode::attributes(&put.attributes)?;
    let condition = decode::condition(put.if_version, put.etag)?;
    let given = decode::given(&put.findings, put.phone_data, put.ip_data)?;
    let participants = participants(node, &address.owner, &put.participants)?;
    let fingerprint = node.namer.fingerprint(&[
        b"upload",
        &address.row,
        &size.to_be_bytes(),
        &sha256,
        &condition.if_version.map_or([0xff; 8], |version| version.0.to_be_bytes()),
        condition.etag.as_deref().unwrap_or_default().as_bytes(),
        &[u8::from(put.create_subject)],
        &put.attributes,
        &put.expire_ms.to_be_bytes(),
        &fingerprint(&participants),
    ]);
    let request = Request { id: decode::request_id(&put.request_id)?, fingerprint };
    let (expires, asked) = (decode::expires(put.expire_ms)?, decode::ticket(put.asked)?);
    let basis = Basis {
        create_subject: put.create_subject,
        given,
        participants,
        participants_epoch: EpochNumber(put.participants_epoch),
    };
    Ok(Upload { address, request, condition, expires, attributes, basis, asked, bytes, sha256 })
}

/// An upload in progress, opened outside of the committer, which looks again.
struct Open {
    front: UploadFront,
    key: attachment::AttachmentKey,
    sha256: [u8; 32],
}

impl Open {
    fn chunks<'a>(&'a self, node: &'a Node, upload: &'a Upload) -> Chunks<'a> {
        Chunks {
            address: &upload.address,
            region: &node.region,
            cipher: node.cipher,
            key: &self.key,
            tag: self.front.tag,
        }
    }
}

fn open(node: &Node, upload: &Upload, row: &[u8]) -> Result<Open, Rejection> {
    let owner = &upload.address.owner;
    let rows = read_rows(&*node.engine, &[owner.row(), row.to_vec()]).map_err(Error::from)?;
    let mut rows = rows.into_iter();
    let mut next = || rows.next().unwrap_or(Ok(None));
    let (subject, stored) = (next()?, next()?);
    let stored = stored.ok_or_else(unknown)?;
    let subject = subject.map(|row| node.open_subject(owner, &row)).transpose()?;
    let subject = match subject {
        Some(SubjectRow::Kept(subject)) => Some(subject),
        Some(SubjectRow::Erased(_)) => return Err(unknown()),
        None => None,
    };
    let (head, keys, subject) = (&upload.address.row, node.subject_keys(), subject.as_ref());
    let opened = attachment::Upload::open(&stored, row, head, owner, keys, subject);
    let (_, opened) = opened.map_err(|_| Error::Damaged("uploads"))?.ok_or_else(unknown)?;
    if !opened.is_of(subject) {
        return Err(unknown());
    }
    if opened.fingerprint != upload.request.fingerprint {
        return Err(Rejection::new(Reason::RequestIdReused).field("request_id"));
    }
    Ok(Open { front: opened.front, key: opened.key, sha256: opened.sha256 })
}

/// Checks some more of what is stored. When all of it was checked: the put that ends the upload, or,
/// if it is not what was announced, the step that discards it.
fn finish(node: &Node, upload: Upload, row: engine::Key) -> Result<Prepared, Rejection> {
    let open = open(node, &upload, &row)?;
    if !open.front.is_whole() {
        return Err(out_of_step(open.front.next));
    }
    let mut check = match node.upload_checks.take(&row, open.front.tag) {
        Some(check) => check,
        None => UploadCheck::new(open.front.tag, node.random()?),
    };
    let chunks = open.chunks(node, &upload);
    let count = attachment::chunks(open.front.bytes);
    for number in (check.next..count).take(usize::try_from(CHECKED_AT_ONCE).unwrap_or(1)) {
        let found = read_rows(&*node.engine, &[chunks.row(number)]).map_err(Error::from)?;
        let found = found.into_iter().next().unwrap_or(Ok(None))?;
        let damaged = || Error::Damaged("uploads");
        let chunk = chunks.open(number, &found.ok_or_else(damaged)?).map_err(|_| damaged())?;
        check.add(&chunk);
    }
    if check.next < count {
        let answer = state(&open.front, check.next);
        node.upload_checks.keep(row, check);
        return Ok(Prepared::Answer(Box::new(answer)));
    }
    if upload.basis.create_subject {
        // The put may be sent once more, when other regions were asked for the subject.
        node.upload_checks.keep(row.clone(), check.clone());
    }
    let checked = check.end();
    if checked.sha256 != open.sha256 {
        let fault = Rejection::new(Reason::ContentMismatch).field("sha256");
        let what = What::Discard { idle_since: None, because: Some(Box::new(fault)) };
        let address = upload.address;
        return Ok(write(UploadStep { address, row, basis: Basis::NONE, what }));
    }
    let whole = (chunks.whole_row(), chunks.seal_whole(node.random()?, &checked.sha256));
    let Open { front, key, .. } = open;
    let Upload { address, request, condition, expires, attributes, basis, asked, .. } = upload;
    let Basis { create_subject, given, participants, participants_epoch } = basis;
    let content = Content {
        opening: checked.opening,
        digest: checked.digest,
        body_key: key,
        nonce: node.random()?,
        sealed: SealedBody::chunked(front.bytes),
    };
    Ok(Prepared::Write(Action::Put(Box::new(Put {
        address,
        request,
        condition,
        create_subject,
        asked,
        given,
        validate_only: false,
        content,
        body_bytes: 0,
        expires,
        attributes,
        participants,
        participants_epoch,
        uploaded: Some(Box::new(Uploaded { row, whole })),
    }))))
}
