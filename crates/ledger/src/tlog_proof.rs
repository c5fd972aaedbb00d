//! Offline proofs (C2SP `tlog-proof`, files ending `.tlog-proof`).
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra <base64>                 (may be missing; not authenticated)
//! index <decimal>
//! <base64 hash>                  (the path, the leaf's sibling first; none or more)
//!
//! <signed checkpoint, verbatim>
//! ```

use std::fmt;

use crate::checkpoint::{self, Checkpoint};
use crate::hash::{Hash, leaf_hash};
use crate::note::{NOTE_BYTES_MAX, Verifier};
use crate::proof::{self, PROOF_HASHES_MAX};
use crate::{base64, decimal};

/// The first line.
const HEADER: &str = "c2sp.org/tlog-proof@v1\n";
/// Bytes of the extra data at the most.
pub const EXTRA_BYTES_MAX: usize = 1 << 17;

/// Why a proof is not accepted. It never holds what was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not the form of a proof.
    #[error("malformed proof")]
    Malformed,
    /// The checkpoint within is not accepted.
    #[error("the proof's checkpoint is not accepted")]
    Checkpoint(#[from] checkpoint::Error),
    /// The path does not lead from the entry to the checkpoint's root.
    #[error("the proof's path is not accepted")]
    Path(#[from] proof::Error),
}

/// That an entry is in a log, with all that is needed to check it but the entry and the key.
#[derive(Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// Whatever helps to compute the leaf, at most [`EXTRA_BYTES_MAX`] bytes. It is not signed.
    pub extra: Option<Vec<u8>>,
    /// The entry's number in the log, from 0.
    pub index: u64,
    /// The path from the leaf to the root, at most [`PROOF_HASHES_MAX`] hashes.
    pub path: Vec<Hash>,
    /// The signed checkpoint, as the log gave it.
    pub checkpoint: String,
}

impl fmt::Debug for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { extra: _, index, path, checkpoint: _ } = self;
        f.debug_struct("TlogProof")
            .field("index", index)
            .field("path", &path.len())
            .finish_non_exhaustive()
    }
}

// === impl TlogProof ===

impl TlogProof {
    /// The proof as text.
    pub fn to_text(&self) -> String {
        let mut text = HEADER.to_owned();
        if let Some(extra) = &self.extra {
            text.push_str("extra ");
            text.push_str(&base64::encode(extra));
            text.push('\n');
        }
        text.push_str(&format!("index {}\n", self.index));
        for hash in &self.path {
            text.push_str(&hash.to_base64());
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }

    /// The proof of that text. The checkpoint is not looked into yet.
    ///
    /// # Errors
    /// [`Error::Malformed`], unless [`TlogProof::to_text`] gives the very same text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > NOTE_BYTES_MAX + 2 * EXTRA_BYTES_MAX {
            return Err(Error::Malformed);
        }
        let rest = text.strip_prefix(HEADER).ok_or(Error::Malformed)?;
        let (head, checkpoint) = rest.split_once("\n\n").ok_or(Error::Malformed)?;
        let mut lines = head.split('\n').peekable();
        let extra = match lines.peek().and_then(|line| line.strip_prefix("extra ")) {
            Some(extra) => {
                lines.next();
                Some(base64::decode(extra).ok_or(Error::Malformed)?)
            }
            None => None,
        };
        if checkpoint.is_empty() || extra.as_ref().is_some_and(|e| e.len() > EXTRA_BYTES_MAX) {
            return Err(Error::Malformed);
        }
        let index = lines.next().and_then(|line| line.strip_prefix("index "));
        let index = index.and_then(decimal::parse).ok_or(Error::Malformed)?;
        let mut path = Vec::new();
        for line in lines {
            if path.len() == PROOF_HASHES_MAX {
                return Err(Error::Malformed);
            }
            path.push(Hash::from_base64(line).ok_or(Error::Malformed)?);
        }
        Ok(Self { extra, index, path, checkpoint: checkpoint.to_owned() })
    }

    /// Checks that `entry` is number [`TlogProof::index`] of the log whose key is `log`, and
    /// gives the checkpoint that says so.
    ///
    /// # Errors
    /// [`Error::Checkpoint`], [`Error::Path`].
    pub fn verify(&self, log: &Verifier, entry: &[u8]) -> Result<Checkpoint, Error> {
        let checkpoint = Checkpoint::open(&self.checkpoint, log)?;
        let leaf = leaf_hash(entry);
        let Checkpoint { size, root, .. } = &checkpoint;
        proof::verify_inclusion(self.index, *size, &leaf, &self.path, root)?;
        Ok(checkpoint)
    }
}

/// That some entry is in a log: what a check of a proof gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Included {
    /// The entry's number in the log, from 0.
    pub index: u64,
    /// The signed checkpoint whose tree has it.
    pub checkpoint: Checkpoint,
}

/// Checks the proof `text` for the entry of these bytes, against the key of the log.
///
/// The root is taken from the checkpoint that the key has signed and from nowhere else.
///
/// # Errors
/// [`Error`], if the proof does not show it.
pub fn verify_receipt(text: &str, log: &Verifier, entry: &[u8]) -> Result<Included, Error> {
    let proof = TlogProof::parse(text)?;
    let checkpoint = proof.verify(log, entry)?;
    Ok(Included { index: proof.index, checkpoint })
}

#[cfg(test)]
mod tests;
