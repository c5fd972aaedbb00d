//! The steps of an upload in a group: it begins, takes its chunks in order, and ends as a put, or is
//! discarded. Until it ends nothing of it can be read, and no entry tells of it. Each step is ruled as
//! that put will be. A subject that is not stored is created by the put, and by no step before it.

use std::sync::Arc;

use engine::Key;
use terms::{Reason, Rejection, limits};

use crate::Error;
use crate::policy::asker::Asker;
use crate::policy::copies::admit_attachment;
use crate::policy::ingress::may_enter;
use crate::policy::rulings::{Ruled, expiry};
use crate::policy::standing_ruling::{How, Settled, settle};
use crate::store::attachment::{self, Upload, UploadFront};
use crate::store::indexed::Indexed;
use crate::store::keys;
use crate::store::record::{Address, Head};
use crate::store::subject::Subject;
use crate::write::command::{Basis, Begin, Request, UploadStep, What, remembered};
use crate::write::transaction::{Done, Transaction};
use crate::write::upload_rows::{OpenUploads, out_of_step, state, stored, unknown};

/// Does one step.
pub(crate) fn step(
    work: &mut Transaction<'_>,
    asker: &Asker,
    step: UploadStep,
) -> Result<Done, Rejection> {
    let UploadStep { address, row, basis, what } = step;
    match what {
        What::Begin(of) => begin(work, asker, &address, row, &basis, *of),
        What::Chunk { number, at, sealed } => {
            let (subject, settled) = may_store(work, asker, &address, &basis)?;
            let head = work.head(&address, subject.as_deref(), true)?;
            may_name(work, asker, &address, &basis, &settled, head.as_ref())?;
            let stored = stored(&work.rows, &work.unreadable, &row)?;
            let mut front = UploadFront::read(&stored).map_err(|_| Error::Damaged("uploads"))?;
            if front.next != number {
                return Err(out_of_step(front.next));
            }
            opened(work, subject.as_deref(), &address, &row, &stored)?;
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
    basis: &Basis,
    of: Begin,
) -> Result<Done, Rejection> {
    let Begin { request, condition, expires, attributes, asked, bytes, sha256, key, nonce } = of;
    work.lets_in(asker, &address.owner, Some(&address.collection), basis.creates())?;
    let subject = work.subject(&address.owner)?;
    let head = work.head(address, subject.as_deref(), true)?;
    if let Some((head, done)) = remembered(head.as_ref(), &request) {
        return work.replay(address, head, done, &request, None);
    }
    work.not_gone(address, subject.as_deref(), &request)?;
    let (subject, settled) = may_store(work, asker, address, basis)?;
    expiry(work.rules.map(), &address.collection, expires, work.now)?;
    Indexed::under(work.rules.map().collection(&address.collection), attributes)?;
    may_name(work, asker, address, basis, &settled, head.as_ref())?;
    condition.holds(head.as_ref(), &work.node.region)?;
    if let Some(fault) = work.unreadable.get(&row) {
        return Err(fault.clone());
    }
    if let Some(stored) = work.rows.get(&row).cloned().flatten() {
        let upload = opened(work, subject.as_deref(), address, &row, &stored)?;
        if upload.fingerprint != request.fingerprint {
            return Err(Rejection::new(Reason::RequestIdReused).field("request_id"));
        }
        return Ok(Done::Answer(state(&upload.front, 0)));
    }
    if subject.is_none()
        && let Some(ask_first) = work.unasked(&address.owner, &asked)?
    {
        return Ok(ask_first);
    }
    let node = work.node;
    let front = UploadFront {
        minute: work.entries.minute(),
        next: 0,
        bytes,
        tenant: node.namer.tenant_rows(&address.owner.tenant),
        tag: node.namer.attachment(&key),
    };
    let Holder { subject, stand_in, changed } = holder(work, address, subject, settled, &request)?;
    let (incarnation, fingerprint) = (subject.incarnation, request.fingerprint);
    let upload = Upload { front, stand_in, incarnation, key, sha256, fingerprint };
    let own = !upload.stand_in.is_empty();
    let of_record = if own { Ok(subject.key()) } else { subject.key_of(&address.row) };
    let of_record = of_record.map_err(Error::from)?;
    let sealed = upload.seal(address, &row, &node.region, of_record, nonce);
    // Here, one after the other: no two uploads take the same room.
    let open = OpenUploads::of_group(&mut work.uploads, &*node.engine)?;
    let idle_since = front.minute.minus_minutes(limits::UPLOAD_IDLE_MINUTES);
    for (idle, of) in open.take(&row, &front, idle_since, &work.rows)? {
        let head = keys::uploaded_record(&idle).ok_or(Error::Damaged("uploads"))?;
        attachment::discard(&mut work.batch, &head, of.tag, of.bytes);
        work.batch.delete(idle.clone());
        work.rows.insert(idle, None);
    }
    if let Some(changed) = changed {
        work.batch.put(address.owner.row(), changed);
        work.subjects.insert(address.owner.tag, subject);
    }
    work.batch.put(row.clone(), sealed.clone());
    work.rows.insert(row, Some(sealed));
    Ok(Done::Answer(state(&front, 0)))
}

/// Under whose key an upload begins.
struct Holder {
    subject: Arc<Subject>,
    /// The row of the subject, if it stands in for one that is not stored. Otherwise empty.
    stand_in: Vec<u8>,
    /// The row of a stored subject that has changed.
    changed: Option<Vec<u8>>,
}

fn holder(
    work: &Transaction<'_>,
    address: &Address,
    subject: Option<Arc<Subject>>,
    settled: Settled,
    request: &Request,
) -> Result<Holder, Rejection> {
    let (owner, node) = (&address.owner, work.node);
    let Some(subject) = subject else {
        let own = work.new_subject(owner, request)?;
        let stand_in = own.seal(owner, &node.region, node.random()?);
        return Ok(Holder { subject: Arc::new(own), stand_in, changed: None });
    };
    let stand_in = Vec::new();
    if subject.standing(&address.collection).is_some() {
        return Ok(Holder { subject, stand_in, changed: None });
    }
    // The first of its collection: the ruling stands from now on, and with it the collection has a key.
    let (subject, changed) = work.adopt(owner, Some(subject), settled, request)?;
    Ok(Holder { subject, stand_in, changed })
}

/// What is stored of the subject, and its ruling, if the record may lie here and come in this way: asked
/// for each chunk, as for a put.
fn may_store(
    work: &mut Transaction<'_>,
    asker: &Asker,
    address: &Address,
    basis: &Basis,
) -> Result<(Option<Arc<Subject>>, Settled), Rejection> {
    work.lets_in(asker, &address.owner, Some(&address.collection), basis.creates())?;
    let subject = work.subject(&address.owner)?;
    let (node, minute) = (work.node, work.entries.minute());
    let enters = |ruled: &Ruled| may_enter(node, ruled, asker.stands.gateway);
    let (given, create) = (basis.given.as_ref(), basis.create_subject);
    let how = How { given, create, minute, enters: &enters };
    let (owner, collection) = (&address.owner, &address.collection);
    let settled = settle(work.rules, owner, collection, subject.as_deref(), &how)?;
    admit_attachment(&settled.ruled)?;
    Ok((subject, settled))
}

/// Whether the record may lie here with the people that it will name.
fn may_name(
    work: &Transaction<'_>,
    asker: &Asker,
    address: &Address,
    basis: &Basis,
    settled: &Settled,
    head: Option<&Head>,
) -> Result<(), Rejection> {
    let (sent, epoch) = (basis.participants.clone(), basis.participants_epoch);
    let named = work.named(sent, epoch, head)?;
    work.together(asker, &address.owner, settled, &named).map(drop)
}

/// An upload of this record, for what is stored of its subject.
fn opened(
    work: &Transaction<'_>,
    subject: Option<&Subject>,
    address: &Address,
    row: &[u8],
    stored: &[u8],
) -> Result<Upload, Rejection> {
    let (owner, keys) = (&address.owner, work.node.subject_keys());
    let opened = Upload::open(stored, row, &address.row, owner, keys, subject);
    let (of, upload) = opened.map_err(|_| Error::Damaged("uploads"))?.ok_or_else(unknown)?;
    let ours = of.collection == address.collection && of.key == address.key;
    if !ours || !upload.is_of(subject) {
        return Err(unknown());
    }
    Ok(upload)
}
