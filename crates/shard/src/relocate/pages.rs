//! The records of one subject, opened, some at a time and in the order of their rows.

use engine::{Key, Order, ScanLimit};
use terms::{Reason, Rejection};

use crate::Error;
use crate::node::Node;
use crate::store::attachment::Chunks;
use crate::store::damage::{Row, read_rows};
use crate::store::keys;
use crate::store::keys::Owner;
use crate::store::record::{Address, Body, Head, Stored};
use crate::store::subject::Subject;

/// Records of one page, and bytes of their bodies at which no further one is added.
pub(super) const PAGE_RECORDS_MAX: usize = 256;
const PAGE_BYTES_TARGET: usize = 512 << 10;
/// Bytes of rows that are read for it.
const SCAN_BYTES_MAX: usize = 1 << 20;

const DAMAGED: Error = Error::Damaged("attachments");

/// A record that was opened.
pub(super) struct OpenedRecord {
    pub(super) address: Address,
    pub(super) head: Head,
    /// Empty: it is deleted, or an attachment, whose chunks are read one by one.
    pub(super) body: Vec<u8>,
}

/// The next records after the row `after`; an attachment alone. Empty: there are no more. Blocks its
/// thread.
///
/// # Errors
/// `STORED_DATA_DAMAGED`; also for a body that is not the one to which its head commits.
pub(super) fn next(
    node: &Node,
    owner: &Owner,
    subject: &Subject,
    after: &[u8],
) -> Result<Vec<OpenedRecord>, Rejection> {
    let mut span = owner.records();
    if !after.is_empty() {
        if *after < *span.from || *after >= *span.until {
            // The other shard says how far it is: nothing of another subject is read for it.
            let fault = Rejection::new(Reason::FieldInvalid).field("arrival.after");
            return Err(fault.problem("is no record of the subject"));
        }
        span.from = [after, &[0]].concat();
    }
    let limit = ScanLimit { rows: PAGE_RECORDS_MAX, bytes: SCAN_BYTES_MAX };
    let page = node.engine.scan(&span, Order::Ascending, limit).map_err(Error::from)?;
    let (mut records, mut bytes) = (Vec::new(), 0);
    for (key, row) in &page.rows {
        let record = open(node, owner, subject, key, row)?;
        let is_attachment = matches!(record.head.body, Body::Chunked(_));
        let large = record.body.len() > PAGE_BYTES_TARGET;
        if (is_attachment || large) && !records.is_empty() {
            break;
        }
        bytes += record.body.len();
        records.push(record);
        if is_attachment || bytes >= PAGE_BYTES_TARGET {
            break;
        }
    }
    Ok(records)
}

pub(super) fn open(
    node: &Node,
    owner: &Owner,
    subject: &Subject,
    key: &Key,
    row: &[u8],
) -> Result<OpenedRecord, Rejection> {
    let damaged = || Rejection::from(Error::Damaged("records"));
    let stored = Stored::read(row).map_err(|_| damaged())?;
    let seal = subject.key_of(key).map_err(|_| damaged())?;
    let named = stored.named(owner, key, &node.region, seal);
    let (address, head) = named.map_err(|_| damaged())?;
    let apart = match head.body {
        Body::Deleted | Body::Chunked(_) => {
            return Ok(OpenedRecord { address, head, body: Vec::new() });
        }
        Body::Inline(_) => None,
        Body::Apart(_) => Some(body_row(node, key)?.ok_or_else(damaged)?),
    };
    let body = stored.body(&address, &node.region, node.cipher, &head, apart);
    let body = body.map_err(|_| damaged())?;
    if ledger::statement::content_digest(&head.opening, &body) != head.digest {
        return Err(damaged());
    }
    Ok(OpenedRecord { address, head, body })
}

/// One chunk of an attachment. Blocks its thread.
///
/// # Errors
/// `STORED_DATA_DAMAGED`.
pub(super) fn chunk(node: &Node, of: &OpenedRecord, number: u32) -> Result<Vec<u8>, Rejection> {
    let chunks = chunks(node, of);
    let row = row_at(node, chunks.row(number))?.ok_or(DAMAGED)?;
    chunks.open(number, &row).map_err(|_| DAMAGED.into())
}

/// The hash of a whole attachment, as its upload left it. Blocks its thread.
///
/// # Errors
/// `STORED_DATA_DAMAGED`.
pub(super) fn whole(node: &Node, of: &OpenedRecord) -> Result<[u8; 32], Rejection> {
    let chunks = chunks(node, of);
    let row = row_at(node, chunks.whole_row())?.ok_or(DAMAGED)?;
    chunks.open_whole(&row).map_err(|_| DAMAGED.into())
}

fn chunks<'a>(node: &'a Node, of: &'a OpenedRecord) -> Chunks<'a> {
    let (address, key) = (&of.address, &of.head.body_key);
    let (region, cipher, tag) = (&node.region, node.cipher, node.namer.attachment(key));
    Chunks { address, region, cipher, key, tag }
}

fn body_row(node: &Node, head: &[u8]) -> Row {
    row_at(node, keys::body(head))
}

fn row_at(node: &Node, key: Key) -> Row {
    let rows = read_rows(&*node.engine, &[key]).map_err(Error::from)?;
    rows.into_iter().next().unwrap_or(Ok(None))
}
