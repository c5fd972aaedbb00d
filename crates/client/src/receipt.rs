//! Whether an answer to a write is proven: whether its receipt speaks of the very write that was
//! asked for, in a log of the region that is said to hold the record.
//!
//! A receipt is a commitment. That the log has its entry, and that the region signed that log, is
//! shown by the inclusion proof that comes with it if `receipt_view` is `FULL`, under the log's
//! public key: [`verify_receipt`] checks that, now or years later, and needs no server for it. Without
//! a proof, a gateway that lies could invent a receipt.

use std::ops::Deref;

use ledger::Checkpoint;
use ledger::entry::{Entry, Kind};
use ledger::note::Verifier;
use ledger::receipt::{Error as Invalid, Receipt};
use ledger::statement::Statement;

use crate::api;

/// What shows that a write was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// A receipt for this very write; this is its entry. It is a commitment: whether the log has
    /// the entry is for [`verify_receipt`], with the log's key.
    Receipt(Box<Entry>),
    /// Nothing but the word of the peer that answered: the same request is said to have been done
    /// before, and another write to have superseded it since, whereupon its opening is destroyed.
    /// Reading the record settles it.
    Unproven,
    /// There is nothing to show: `validate_only` writes nothing.
    DryRun,
}

/// The answer to a write, and what shows that it was done. It reads like the answer itself.
#[derive(Clone, PartialEq)]
#[expect(missing_debug_implementations, reason = "the answer names a person's record")]
pub struct Written<A> {
    /// What was answered.
    pub answer: A,
    /// What shows it.
    pub proof: Proof,
}

/// What a caller knows of a write beside the request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Known<'a> {
    /// The tenant whose write it is: a receipt that names another one is refused.
    pub tenant: Option<&'a str>,
    /// It cannot have been done before: its request id was drawn just now, and it was sent once.
    pub first: bool,
}

/// Why an answer to a write is not proven. It never holds what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// There is no receipt, or no proof, where there must be one.
    #[error("the answer to a write has no receipt, or the receipt no proof")]
    Missing,
    /// The key of the log cannot be read.
    #[error("the log's key is not a verifier key")]
    Key,
    /// The receipt's fields are not of their form.
    #[error("the receipt is malformed")]
    Malformed,
    /// The receipt contradicts itself, or the body.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The answer or its receipt is about another subject, collection, key or version.
    #[error("the answer or its receipt is about another write")]
    OtherWrite,
    /// The entry is not what such a write leaves.
    #[error("the receipt's entry is of another kind than the write")]
    OtherKind,
    /// The log is another region's than the one that is said to hold the record, or that one is
    /// not the one that was asked for.
    #[error("the receipt or the answer is of another region than the domicile")]
    OtherRegion,
    /// The receipt is about another tenant's write.
    #[error("the receipt is about another tenant's write")]
    OtherTenant,
    /// What was sent for the first time is said to have been done before.
    #[error("a write that was sent for the first time is answered as done before")]
    Replayed,
    /// Nothing of the stream waits for this answer.
    #[error("the answer is to no request of the stream that waits for one")]
    NotAsked,
}

/// What answer and receipt must say.
struct Expected<'a> {
    domicile: &'a str,
    subject: &'a str,
    collection: &'a str,
    key: &'a str,
    version: u64,
    /// None: the caller does not know it.
    body: Option<&'a [u8]>,
    kinds: &'a [Kind],
    /// Whether a later write destroys the opening.
    superseded: bool,
}

/// Checks a put's answer: that entry, statement and body belong together, that the statement names
/// this subject, collection, key and version, that the entry is a put's, and that the log is one
/// of the domicile's region.
///
/// # Errors
/// [`Unproven`].
pub fn check_put(
    request: &api::PutRecordRequest,
    answer: &api::PutRecordResponse,
    known: Known<'_>,
) -> Result<Proof, Unproven> {
    if request.validate_only {
        return Ok(Proof::DryRun);
    }
    let (subject, domicile) = place(request.subject.as_ref(), answer.subject.as_ref())?;
    let version = version(answer.version)?;
    let expected = Expected {
        domicile,
        subject,
        collection: &request.collection,
        key: &request.key,
        version,
        body: Some(&request.body),
        kinds: kinds_of_put(version, request.if_version),
        superseded: true,
    };
    check(answer.receipt.as_ref(), answer.replayed, &expected, known)
}

/// The same for an upload, whose content is checked apart.
///
/// # Errors
/// [`Unproven`].
pub fn check_upload(
    spec: &api::UploadSpec,
    answer: &api::PutRecordResponse,
    known: Known<'_>,
) -> Result<Proof, Unproven> {
    let (subject, domicile) = place(spec.subject.as_ref(), answer.subject.as_ref())?;
    let version = version(answer.version)?;
    let expected = Expected {
        domicile,
        subject,
        collection: &spec.collection,
        key: &spec.key,
        version,
        body: None,
        kinds: kinds_of_put(version, spec.if_version),
        superseded: true,
    };
    check(answer.receipt.as_ref(), answer.replayed, &expected, known)
}

/// What a put of that version leaves. A version before it is needed for one to be replaced, and none
/// is when none may be there.
fn kinds_of_put(version: u64, if_version: Option<i64>) -> &'static [Kind] {
    let replaces = version > 1 && if_version != Some(0);
    if replaces { &[Kind::Place, Kind::Replace] } else { &[Kind::Place] }
}

/// The opening of a receipt that was checked, and the digest of opening and content. None: it has
/// neither.
pub(crate) fn content(receipt: Option<&api::Receipt>) -> Option<([u8; 32], [u8; 32])> {
    let receipt = receipt?;
    let said = Statement::decode(&receipt.statement).ok()?;
    Some((receipt.opening.as_ref().try_into().ok()?, said.digest))
}

/// The same for a delete, which has no content.
///
/// # Errors
/// [`Unproven`].
pub fn check_delete(
    request: &api::DeleteRecordRequest,
    answer: &api::DeleteRecordResponse,
    known: Known<'_>,
) -> Result<Proof, Unproven> {
    if request.validate_only {
        return Ok(Proof::DryRun);
    }
    // The answer names no subject: the domicile is the one that was asked for.
    let (subject, domicile) = place(request.subject.as_ref(), request.subject.as_ref())?;
    let expected = Expected {
        domicile,
        subject,
        collection: &request.collection,
        key: &request.key,
        version: version(answer.version)?,
        body: Some(&[]),
        kinds: &[Kind::Delete],
        superseded: true,
    };
    check(answer.receipt.as_ref(), answer.replayed, &expected, known)
}

/// The same for a touch, whose content the caller has not sent.
///
/// # Errors
/// [`Unproven`].
pub fn check_touch(
    request: &api::TouchRecordRequest,
    answer: &api::TouchRecordResponse,
    known: Known<'_>,
) -> Result<Proof, Unproven> {
    if request.validate_only {
        return Ok(Proof::DryRun);
    }
    // The answer names no subject: the domicile is the one that was asked for.
    let (subject, domicile) = place(request.subject.as_ref(), request.subject.as_ref())?;
    let expected = Expected {
        domicile,
        subject,
        collection: &request.collection,
        key: &request.key,
        version: version(answer.version)?,
        body: None,
        kinds: &[Kind::Replace],
        superseded: true,
    };
    check(answer.receipt.as_ref(), answer.replayed, &expected, known)
}

/// The same for a patch. Where it leaves the body as it is, the caller has not sent the content.
///
/// # Errors
/// [`Unproven`].
pub fn check_patch(
    request: &api::PatchRecordRequest,
    answer: &api::PatchRecordResponse,
    known: Known<'_>,
) -> Result<Proof, Unproven> {
    if request.validate_only {
        return Ok(Proof::DryRun);
    }
    // The answer names no subject: the domicile is the one that was asked for.
    let (subject, domicile) = place(request.subject.as_ref(), request.subject.as_ref())?;
    let expected = Expected {
        domicile,
        subject,
        collection: &request.collection,
        key: &request.key,
        version: version(answer.version)?,
        body: request.body.as_deref(),
        kinds: &[Kind::Replace],
        superseded: true,
    };
    check(answer.receipt.as_ref(), answer.replayed, &expected, known)
}

/// The same for the creation of a subject, whose statement has no key and version 0, and whose
/// opening no later write destroys.
///
/// # Errors
/// [`Unproven`].
pub fn check_create(
    request: &api::CreateSubjectRequest,
    answer: &api::CreateSubjectResponse,
    known: Known<'_>,
) -> Result<Proof, Unproven> {
    if request.validate_only {
        return Ok(Proof::DryRun);
    }
    let (subject, domicile) = place(request.subject.as_ref(), answer.subject.as_ref())?;
    let expected = Expected {
        domicile,
        subject,
        collection: &request.collection,
        key: "",
        version: 0,
        body: Some(&[]),
        kinds: &[Kind::Create],
        superseded: false,
    };
    check(answer.receipt.as_ref(), answer.replayed, &expected, known)
}

/// The same for what was done to a subject as a whole: its erasure, a block, or the end of one. The
/// statement has neither collection nor key, and the opening is given once.
pub(crate) fn check_subject(
    subject: Option<&api::SubjectRef>,
    collection: &str,
    receipt: Option<&api::Receipt>,
    replayed: bool,
    kind: Kind,
    known: Known<'_>,
) -> Result<Proof, Unproven> {
    // The answer names no subject: the domicile is the one that was asked for.
    let (subject, domicile) = place(subject, subject)?;
    let expected = Expected {
        domicile,
        subject,
        collection,
        key: "",
        version: 0,
        body: Some(&[]),
        kinds: &[kind],
        superseded: true,
    };
    check(receipt, replayed, &expected, known)
}

/// Checks the receipt of a move: that both entries are of a move of this subject, in logs of these two
/// regions, that both commit to the digest, and that the second names the first. Gives both entries. That
/// the logs have them is for [`verify_move`], with their keys.
///
/// # Errors
/// [`Unproven`].
pub fn check_move(
    subject: Option<&api::SubjectRef>,
    operation: &api::Operation,
    known: Known<'_>,
) -> Result<Moved, Unproven> {
    let (subject, domicile) = place(subject, operation.subject.as_ref())?;
    let receipt = operation.receipt.as_ref().ok_or(Unproven::Missing)?;
    let one = |of: Option<&api::Receipt>, region, kind| {
        let of = of.filter(|of| !of.tlog_proof.is_empty()).ok_or(Unproven::Missing)?;
        if region_of(&of.origin) != Some(region) {
            return Err(Unproven::OtherRegion);
        }
        let entry = of_wire(of)?.check(Some(&receipt.digest))?;
        let said = Statement::decode(&of.statement).map_err(|_| Unproven::Malformed)?;
        let whole = said.collection.is_empty() && said.key.is_empty() && said.version == 0;
        if said.subject != subject || !whole || entry.collection.is_some() {
            return Err(Unproven::OtherWrite);
        }
        if known.tenant.is_some_and(|tenant| tenant != said.tenant) {
            return Err(Unproven::OtherTenant);
        }
        if entry.kind == kind { Ok(entry) } else { Err(Unproven::OtherKind) }
    };
    let (left, came) = (receipt.move_out.as_ref(), receipt.move_in.as_ref());
    let out = one(left, domicile, Kind::MoveOut)?;
    let into = one(came, operation.region.as_str(), Kind::MoveIn)?;
    let gave = left.map(|left| (left.origin.as_str(), left.index));
    let names_it = into.peer() == gave;
    let to_there = out.peer().and_then(|(origin, _)| region_of(origin));
    if !names_it || to_there != Some(operation.region.as_str()) {
        return Err(Unproven::OtherWrite);
    }
    Ok(Moved { out: Box::new(out), into: Box::new(into) })
}

/// The two entries of a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The MOVE_OUT entry.
    pub out: Box<Entry>,
    /// The MOVE_IN entry.
    pub into: Box<Entry>,
}

/// Checks offline that both logs have the entries of a move, with the public keys of the logs, which came
/// by another way than the receipt. Gives the checkpoints of the log that gave the subject away, and of the
/// one that took it.
///
/// # Errors
/// As [`verify_receipt`].
pub fn verify_move(
    receipt: &api::MoveReceipt,
    out_vkey: &str,
    in_vkey: &str,
) -> Result<(Checkpoint, Checkpoint), Unproven> {
    let one = |of: Option<&api::Receipt>, vkey: &str| {
        let of = of.ok_or(Unproven::Missing)?;
        verify_receipt(of, vkey, Some(&receipt.digest)).map(|(_, checkpoint)| checkpoint)
    };
    Ok((one(receipt.move_out.as_ref(), out_vkey)?, one(receipt.move_in.as_ref(), in_vkey)?))
}

/// The subject that was asked for, and the domicile that is answered.
fn place<'a>(
    asked: Option<&'a api::SubjectRef>,
    answered: Option<&'a api::SubjectRef>,
) -> Result<(&'a str, &'a str), Unproven> {
    let (id, wanted) = asked.map_or(("", ""), |s| (s.id.as_str(), s.domicile.as_str()));
    let answered = answered.filter(|s| s.id == id).ok_or(Unproven::OtherWrite)?;
    let domicile = answered.domicile.as_str();
    if domicile.is_empty() || (!wanted.is_empty() && wanted != domicile) {
        return Err(Unproven::OtherRegion);
    }
    Ok((id, domicile))
}

/// A version that a write has made: the first is 1.
fn version(answered: i64) -> Result<u64, Unproven> {
    u64::try_from(answered).ok().filter(|version| *version > 0).ok_or(Unproven::OtherWrite)
}

/// The region of an origin, `<deployment>/<region>/<shard>/<period>`.
fn region_of(origin: &str) -> Option<&str> {
    let parts: Vec<&str> = origin.split('/').collect();
    let [deployment, region, shard, period] = *parts else { return None };
    let named = ![deployment, region, shard].contains(&"");
    let numbered = period.bytes().all(|c| c.is_ascii_digit()) && period.parse::<u32>().is_ok();
    (named && numbered).then_some(region)
}

fn check(
    receipt: Option<&api::Receipt>,
    replayed: bool,
    expected: &Expected<'_>,
    known: Known<'_>,
) -> Result<Proof, Unproven> {
    if replayed && known.first {
        return Err(Unproven::Replayed);
    }
    let receipt = receipt.ok_or(Unproven::Missing)?;
    if region_of(&receipt.origin).ok_or(Unproven::Malformed)? != expected.domicile {
        return Err(Unproven::OtherRegion);
    }
    if receipt.entry.is_empty() && receipt.opening.is_empty() && receipt.statement.is_empty() {
        // Only a retry can ask about a write that has been superseded.
        let may = replayed && expected.superseded;
        return if may { Ok(Proof::Unproven) } else { Err(Unproven::Missing) };
    }
    let receipt = of_wire(receipt)?;
    let entry = receipt.check(expected.body)?;
    let said = Statement::decode(&receipt.statement).map_err(|_| Unproven::Malformed)?;
    let same = said.subject == expected.subject
        && said.collection == expected.collection
        && entry.collection.as_deref().unwrap_or_default() == expected.collection
        && said.key == expected.key
        && said.version == expected.version;
    if !same {
        return Err(Unproven::OtherWrite);
    }
    if known.tenant.is_some_and(|tenant| tenant != said.tenant) {
        return Err(Unproven::OtherTenant);
    }
    if !expected.kinds.contains(&entry.kind) {
        return Err(Unproven::OtherKind);
    }
    Ok(Proof::Receipt(Box::new(entry)))
}

fn of_wire(receipt: &api::Receipt) -> Result<Receipt, Unproven> {
    Ok(Receipt {
        origin: receipt.origin.clone(),
        index: receipt.index,
        entry: receipt.entry.to_vec(),
        opening: receipt.opening.as_ref().try_into().map_err(|_| Unproven::Malformed)?,
        statement: receipt.statement.to_vec(),
    })
}

/// Checks a receipt offline, with its proof and the public key of its log (a verifier key of C2SP
/// `signed-note`, which came by another way than the receipt): that the log whose name is in the
/// key has this entry, and that it commits to the statement and, if one is given, to the body.
/// Gives the entry and the checkpoint.
///
/// # Errors
/// [`Unproven::Missing`] without a proof, [`Unproven::Key`], and whatever does not hold.
pub fn verify_receipt(
    receipt: &api::Receipt,
    vkey: &str,
    body: Option<&[u8]>,
) -> Result<(Entry, Checkpoint), Unproven> {
    if receipt.tlog_proof.is_empty() {
        return Err(Unproven::Missing);
    }
    let log = Verifier::from_vkey(vkey).map_err(|_| Unproven::Key)?;
    Ok(of_wire(receipt)?.verify(&receipt.tlog_proof, &log, body)?)
}

// === impl Written ===

impl<A> Deref for Written<A> {
    type Target = A;

    fn deref(&self) -> &A {
        &self.answer
    }
}

#[cfg(test)]
mod tests;
