//! Receipts: what a caller is given for a write, and how to check it.

use std::fmt;

use crate::checkpoint::Checkpoint;
use crate::entry::{self, Entry};
use crate::note::Verifier;
use crate::statement::{self, Statement, commitment, content_digest};
use crate::tlog_proof;

/// That a log committed to a record. Opening and statement say which, so a receipt is personal
/// data.
#[derive(Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The log.
    pub origin: String,
    /// The entry's number in it, from 0.
    pub index: u64,
    /// The entry's bytes, as hashed.
    pub entry: Vec<u8>,
    /// The random bytes that open the entry's commitment.
    pub opening: [u8; 32],
    /// The statement's bytes.
    pub statement: Vec<u8>,
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, index, entry: _, opening: _, statement: _ } = self;
        f.debug_struct("Receipt")
            .field("origin", origin)
            .field("index", index)
            .finish_non_exhaustive()
    }
}

/// Why a receipt does not hold. It never holds what was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The entry's bytes are no entry.
    #[error("the receipt's entry is not accepted")]
    Entry(#[from] entry::Error),
    /// The statement's bytes are no statement.
    #[error("the receipt's statement is not accepted")]
    Statement(#[from] statement::Error),
    /// The entry commits to nothing.
    #[error("the entry has no commitment")]
    NoCommitment,
    /// The entry commits to something else than the statement under this opening.
    #[error("the entry commits to another statement")]
    Commitment,
    /// The entry is about another collection than the statement.
    #[error("the entry is of another collection than the statement")]
    Collection,
    /// The statement is about another body.
    #[error("the statement is about another content")]
    Content,
    /// The proof is not accepted.
    #[error("the proof is not accepted")]
    Proof(#[from] tlog_proof::Error),
    /// The proof is of another log, or of another entry of it, than the receipt.
    #[error("the proof is of another entry than the receipt")]
    Position,
}

// === impl Receipt ===

impl Receipt {
    /// Checks what can be checked without the log: that the entry commits to the statement, and
    /// the statement to the body, if one is given. Gives the entry.
    ///
    /// # Errors
    /// [`Error`], if it does not.
    pub fn check(&self, body: Option<&[u8]>) -> Result<Entry, Error> {
        let entry = Entry::decode(&self.entry)?;
        let statement = Statement::decode(&self.statement)?;
        let committed = entry.commitment.ok_or(Error::NoCommitment)?;
        if committed != commitment(&self.opening, &self.statement) {
            return Err(Error::Commitment);
        }
        if entry.collection.as_deref().is_some_and(|name| name != statement.collection) {
            return Err(Error::Collection);
        }
        if body.is_some_and(|body| content_digest(&self.opening, body) != statement.digest) {
            return Err(Error::Content);
        }
        Ok(entry)
    }

    /// Checks all of it: [`Receipt::check`], and with the `.tlog-proof` and the log's public key
    /// that the log has this entry at this place. Gives the entry and the checkpoint.
    ///
    /// # Errors
    /// [`Error`], if anything does not hold.
    pub fn verify(
        &self,
        proof: &str,
        log: &Verifier,
        body: Option<&[u8]>,
    ) -> Result<(Entry, Checkpoint), Error> {
        let entry = self.check(body)?;
        let included = tlog_proof::verify_receipt(proof, log, &self.entry)?;
        if included.index != self.index || included.checkpoint.origin != self.origin {
            return Err(Error::Position);
        }
        Ok((entry, included.checkpoint))
    }
}

#[cfg(test)]
mod tests;
