//! The steps of an upload in a group: it begins, takes its chunks in order, and ends as a put, or is
//! discarded. Until it ends nothing of it can be read, and no entry tells of it.

use std::sync::Arc;

use engine::Key;
use terms::{Reason, Rejection};

use crate::Error;
use crate::policy::asker::Asker;
use crate::policy::ingress::may_enter;
use crate::policy::rulings::{Ruled, expiry};
use crate::policy::standing_ruling::{How, Settled, settle};
use crate::store::attachment::{self, Upload, UploadFront};
use crate::store::indexed::Indexed;
use crate::store::record::Address;
use crate::store::subject::Subject;
use crate::write::command::{Begin, UploadStep, What, remembered};
use crate::write::transaction::{Done, Transaction};
use crate::write::upload_rows::{OpenUploads, out_of_step, state, stored, unknown};

/// Does one step.
pub(crate) fn step(
    work: &mut Transaction<'_>,
    asker: &Asker,
    step: UploadStep,
) -> Result<Done, Rejection> {
    let UploadStep { address, row, what } = step;
    match what {
        What::Begin(of) => begin(work, asker, &address, row, *of),
        What::Chunk { number, at, sealed } => {
            let (subject, _) = may_store(work, asker, &address)?;
            let stored = stored(&work.rows, &work.unreadable, &row)?;
            let mut front = UploadFront::read(&stored).map_err(|_| Error::Damaged("uploads"))?;
            if front.next != number {
                return Err(out_of_step(front.next));
            }
            opened(work, &subject, &address, &row, &stored)?;
            (front.next, front.minute) = (number + 1, work.entries.minute());
            let new = front.onto(&stored).map_err(|_| Error::Damaged("uploads"))?;
            work.batch.put(at, sealed);
            work.batch.put(row.clone(), new.clone());
            work.rows.insert(row, Some(new));
            Ok(Done::Answer(state(&front, 0)))
        }
        What::Discard { idle_since, because } => {
            let answer = because.map_or_else(unknown, |fault| *fault);
            if let Some(stored) = work.rows.get(&row).cloned().flatten() {
                let front = UploadFront::read(&stored).map_err(|_| Error::Damaged("uploads"))?;
                if idle_since.is_none_or(|since| front.minute < since) {
                    attachment::discard(&mut work.batch, &address.row, front.tag, front.bytes);
                    work.batch.delete(row.clone());
                    work.rows.insert(row, None);
                }
            }
            Ok(Done::Answer(answer.into()))
        }
    }
}

fn begin(
    work: &mut Transaction<'_>,
    asker: &Asker,
    address: &Address,
    row: Key,
    of: Begin,
) -> Result<Done, Rejection> {
    let Begin { request, condition, expires, attributes, bytes, sha256, key, nonce } = of;
    work.lets_in(asker, &address.owner, Some(&address.collection), false)?;
    let subject = work.subject(&address.owner)?;
    let head = work.head(address, subject.as_deref(), true)?;
    if let Some((head, done)) = remembered(head.as_ref(), &request) {
        return work.replay(address, head, done, &request, None);
    }
    work.not_gone(address, subject.as_deref(), &request)?;
    let (subject, settled) = may_store(work, asker, address)?;
    expiry(work.rules.map(), &address.collection, expires, work.now)?;
    Indexed::under(work.rules.map().collection(&address.collection), attributes)?;
    condition.holds(head.as_ref(), &work.node.region)?;
    if let Some(fault) = work.unreadable.get(&row) {
        return Err(fault.clone());
    }
    if let Some(stored) = work.rows.get(&row).cloned().flatten() {
        let upload = opened(work, &subject, address, &row, &stored)?;
        if upload.fingerprint != request.fingerprint {
            return Err(Rejection::new(Reason::RequestIdReused).field("request_id"));
        }
        return Ok(Done::Answer(state(&upload.front, 0)));
    }
    let node = work.node;
    let front = UploadFront {
        minute: work.entries.minute(),
        next: 0,
        bytes,
        tenant: node.namer.tenant_rows(&address.owner.tenant),
        tag: node.namer.attachment(&key),
    };
    // The first of its collection: the ruling stands from now on, and with it the collection has a key.
    let (subject, of_subject) = if subject.standing(&address.collection).is_some() {
        (subject, None)
    } else {
        work.adopt(&address.owner, Some(subject), settled, &request)?
    };
    let (incarnation, fingerprint) = (subject.incarnation, request.fingerprint);
    let upload = Upload { front, incarnation, key, sha256, fingerprint };
    let of_record = subject.key_of(&address.row).map_err(Error::from)?;
    let sealed = upload.seal(address, &row, &node.region, of_record, nonce);
    // Here, one after the other: no two uploads take the same room.
    let open = OpenUploads::of_group(&mut work.uploads, &*node.engine)?;
    open.take(&row, &front)?;
    if let Some(of_subject) = of_subject {
        work.batch.put(address.owner.row(), of_subject);
        work.subjects.insert(address.owner.tag, subject);
    }
    work.batch.put(row.clone(), sealed.clone());
    work.rows.insert(row, Some(sealed));
    Ok(Done::Answer(state(&front, 0)))
}

/// The subject and its ruling, if the record may lie here and come in this way: asked for each chunk, as
/// for a put.
fn may_store(
    work: &mut Transaction<'_>,
    asker: &Asker,
    address: &Address,
) -> Result<(Arc<Subject>, Settled), Rejection> {
    work.lets_in(asker, &address.owner, Some(&address.collection), false)?;
    let subject = work.subject(&address.owner)?;
    let (node, minute) = (work.node, work.entries.minute());
    let enters = |ruled: &Ruled| may_enter(node, ruled, asker.stands.gateway);
    let how = How { given: None, create: false, minute, enters: &enters };
    let (owner, collection) = (&address.owner, &address.collection);
    let settled = settle(work.rules, owner, collection, subject.as_deref(), &how)?;
    let subject =
        subject.ok_or_else(|| Rejection::new(Reason::SubjectUnknown).field("subject.id"))?;
    Ok((subject, settled))
}

/// An upload of this incarnation of its subject.
fn opened(
    work: &Transaction<'_>,
    subject: &Subject,
    address: &Address,
    row: &[u8],
    stored: &[u8],
) -> Result<Upload, Rejection> {
    let (owner, region) = (&address.owner, &work.node.region);
    let key = subject.key_of(&address.row).map_err(|_| unknown())?;
    let opened = Upload::open(stored, row, &address.row, owner, region, key);
    let (of, upload) = opened.map_err(|_| Error::Damaged("uploads"))?;
    let ours = of.collection == address.collection && of.key == address.key;
    if !ours || upload.incarnation != subject.incarnation {
        return Err(unknown());
    }
    Ok(upload)
}
