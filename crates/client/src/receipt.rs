//! Whether a receipt speaks of the very write that was asked for. Without the log: that its
//! checkpoints hold the entry is for whoever has the log's public key.

use ledger::entry::Entry;
use ledger::receipt::{Error as Invalid, Receipt};
use ledger::statement::Statement;

use crate::api;

/// Why an answer to a write is not proven. It never holds what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// There is no receipt where there must be one.
    #[error("the answer to a write has no receipt")]
    Missing,
    /// The receipt's fields are not of their form.
    #[error("the receipt is malformed")]
    Malformed,
    /// The receipt contradicts itself, or the body.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The receipt is about another subject, collection, key or version.
    #[error("the receipt is about another write")]
    OtherWrite,
}

/// What a statement must say.
struct Expected<'a> {
    subject: &'a str,
    collection: &'a str,
    key: &'a str,
    version: Option<i64>,
}

/// Checks a put's receipt: that entry, statement and body belong together, and that the statement
/// names this subject, collection, key and version. Gives the entry; none for a dry run, and for
/// a retry whose write has been superseded since, whose opening no longer exists.
///
/// # Errors
/// [`Unproven`].
pub fn check_put(
    request: &api::PutRecordRequest,
    answer: &api::PutRecordResponse,
) -> Result<Option<Entry>, Unproven> {
    if request.validate_only {
        return Ok(None);
    }
    let expected = Expected {
        subject: id(request.subject.as_ref()),
        collection: &request.collection,
        key: &request.key,
        version: Some(answer.version),
    };
    check(answer.receipt.as_ref(), answer.replayed, Some(&request.body), &expected)
}

/// The same for a delete, which has no content.
///
/// # Errors
/// [`Unproven`].
pub fn check_delete(
    request: &api::DeleteRecordRequest,
    answer: &api::DeleteRecordResponse,
) -> Result<Option<Entry>, Unproven> {
    if request.validate_only {
        return Ok(None);
    }
    let expected = Expected {
        subject: id(request.subject.as_ref()),
        collection: &request.collection,
        key: &request.key,
        version: Some(answer.version),
    };
    check(answer.receipt.as_ref(), answer.replayed, None, &expected)
}

/// The same for the creation of a subject, whose statement has no key and no version.
///
/// # Errors
/// [`Unproven`].
pub fn check_create(
    request: &api::CreateSubjectRequest,
    answer: &api::CreateSubjectResponse,
) -> Result<Option<Entry>, Unproven> {
    if request.validate_only {
        return Ok(None);
    }
    let subject = id(request.subject.as_ref());
    let expected = Expected { subject, collection: &request.collection, key: "", version: None };
    check(answer.receipt.as_ref(), answer.replayed, None, &expected)
}

fn id(subject: Option<&api::SubjectRef>) -> &str {
    subject.map_or("", |subject| subject.id.as_str())
}

fn check(
    receipt: Option<&api::Receipt>,
    replayed: bool,
    body: Option<&[u8]>,
    expected: &Expected<'_>,
) -> Result<Option<Entry>, Unproven> {
    let receipt = receipt.ok_or(Unproven::Missing)?;
    if receipt.entry.is_empty() && receipt.opening.is_empty() && receipt.statement.is_empty() {
        // Only a retry can ask about a write that has been superseded.
        return if replayed { Ok(None) } else { Err(Unproven::Missing) };
    }
    let receipt = Receipt {
        origin: receipt.origin.clone(),
        index: receipt.index,
        entry: receipt.entry.to_vec(),
        opening: receipt.opening.as_ref().try_into().map_err(|_| Unproven::Malformed)?,
        statement: receipt.statement.to_vec(),
    };
    let entry = receipt.check(body)?;
    let said = Statement::decode(&receipt.statement).map_err(|_| Unproven::Malformed)?;
    let version = expected.version.map(|version| u64::try_from(version).ok());
    let same = said.subject == expected.subject
        && said.collection == expected.collection
        && said.key == expected.key
        && version.is_none_or(|version| version == Some(said.version));
    if same { Ok(Some(entry)) } else { Err(Unproven::OtherWrite) }
}

#[cfg(test)]
mod tests;
