//! A digest of all that is stored of a subject's records, which both regions of a move compute from
//! what they read back: equal digests are equal records.
//!
//! It is the SHA-256 of the SHA-256 of each record as it travels without its body, in ascending order:
//! two regions have them in different orders. The body is in it by the record's own digest, which is
//! computed again from the body that was read. An attachment is read some chunks at a time, so however
//! much a subject has, one step takes little memory and little time.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use terms::{Collection, Rejection};

use crate::Error;
use crate::node::Node;
use crate::relocate::pages::OpenedRecord;
use crate::relocate::{pages, travel};
use crate::store::attachment;
use crate::store::keys::Owner;
use crate::store::read_back::ReadBack;
use crate::store::record::Body;
use crate::store::subject::Subject;
use crate::store::upload_check::UploadCheck;

/// Chunks of an attachment that are read in one step.
const CHUNKS_AT_ONCE: usize = 8;

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

    /// What was read, once all of it was.
    pub(crate) fn of(read: &ReadBack) -> Option<Self> {
        if !read.done {
            return None;
        }
        let mut leaves = read.leaves.clone();
        leaves.sort_unstable();
        let heads = u64::try_from(leaves.len()).unwrap_or(u64::MAX);
        Some(Self { heads, live: read.live.clone(), digest: sha256(&leaves.concat()) })
    }
}

/// Reads and opens all records of a subject that is not written meanwhile. Blocks its thread.
///
/// # Errors
/// As reading does; `STORED_DATA_DAMAGED`.
pub(crate) fn of_all(node: &Node, owner: &Owner, subject: &Subject) -> Result<Whole, Rejection> {
    let mut read = ReadBack::default();
    loop {
        if let Some(whole) = Whole::of(&read) {
            return Ok(whole);
        }
        go_on(node, owner, subject, &mut read)?;
    }
}

/// Reads some more. Blocks its thread.
///
/// # Errors
/// The same.
pub(crate) fn go_on(
    node: &Node,
    owner: &Owner,
    subject: &Subject,
    so_far: &mut ReadBack,
) -> Result<(), Rejection> {
    let page = pages::next(node, owner, subject, &so_far.after)?;
    for record in &page {
        if let Body::Chunked(bytes) = record.head.body
            && !attachment_read(node, record, bytes, so_far)?
        {
            return Ok(());
        }
        if !record.head.is_deleted() {
            *so_far.live.entry(record.address.collection.clone()).or_default() += 1;
        }
        so_far.leaves.push(sha256(&travel::record(&record.address, &record.head)));
        so_far.after.clone_from(&record.address.row);
    }
    so_far.done = page.is_empty();
    Ok(())
}

/// Reads some chunks of an attachment. True: it was read to its end, and is what its head says.
fn attachment_read(
    node: &Node,
    record: &OpenedRecord,
    bytes: u32,
    so_far: &mut ReadBack,
) -> Result<bool, Rejection> {
    let begun = so_far.attachment.take();
    let mut check = begun.unwrap_or_else(|| {
        UploadCheck::new(node.namer.attachment(&record.head.body_key), record.head.opening)
    });
    let count = attachment::chunks(bytes);
    for number in (check.next..count).take(CHUNKS_AT_ONCE) {
        check.add(&pages::chunk(node, record, number)?);
    }
    if check.next < count {
        so_far.attachment = Some(check);
        return Ok(false);
    }
    let checked = check.end();
    if checked.digest != record.head.digest || checked.sha256 != pages::whole(node, record)? {
        return Err(Error::Damaged("attachments").into());
    }
    Ok(true)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, bytes);
    *digest.as_ref().first_chunk().expect("SHA-256 has 32 bytes")
}
