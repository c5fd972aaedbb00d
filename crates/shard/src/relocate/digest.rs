//! A digest of all that is stored of a subject's records, which both regions of a move compute from
//! what they read back: equal digests are equal records.
//!
//! It is the SHA-256 of the SHA-256 of each record as it travels without its body, in ascending order:
//! two regions have them in different orders. The body is in it by the record's own digest, which is
//! computed again from the body that was read.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use terms::{Collection, Rejection};

use crate::node::Node;
use crate::relocate::pages;
use crate::relocate::travel;
use crate::store::keys::Owner;
use crate::store::subject::Subject;

/// All records of a subject, as they were read.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Whole {
    /// Heads, those of deleted records among them.
    pub(crate) heads: u64,
    /// Live records, by collection.
    pub(crate) live: BTreeMap<Collection, u64>,
    pub(crate) digest: [u8; 32],
}

impl Whole {
    /// Live records of all collections.
    pub(crate) fn live(&self) -> u64 {
        self.live.values().sum()
    }
}

/// Reads and opens all records of a subject that is not written meanwhile. Blocks its thread.
///
/// # Errors
/// As reading does; `STORED_DATA_DAMAGED`.
pub(crate) fn of_all(node: &Node, owner: &Owner, subject: &Subject) -> Result<Whole, Rejection> {
    let (mut leaves, mut live, mut after) = (Vec::new(), BTreeMap::new(), Vec::new());
    loop {
        let page = pages::next(node, owner, subject, &after)?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.address.row);
        for record in &page {
            if !record.head.is_deleted() {
                *live.entry(record.address.collection.clone()).or_default() += 1;
            }
            leaves.push(sha256(&travel::record(&record.address, &record.head)));
        }
    }
    leaves.sort_unstable();
    let heads = u64::try_from(leaves.len()).unwrap_or(u64::MAX);
    Ok(Whole { heads, live, digest: sha256(&leaves.concat()) })
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, bytes);
    *digest.as_ref().first_chunk().expect("SHA-256 has 32 bytes")
}
