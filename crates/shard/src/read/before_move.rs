//! Looks through the records of a subject before its move is ordered, so that other writes do not wait for
//! that. The committer takes what was seen only if nothing of the subject was written since.

use engine::{Order, ScanLimit};
use terms::{Reason, Rejection};

use crate::Error;
use crate::node::Node;
use crate::store::damage::read_rows;
use crate::store::keys::Owner;
use crate::store::record::Stored;
use crate::store::subject::{Status, Subject, SubjectRow};
use crate::write::move_command::Looked;

/// Heads that are read at once, and their bytes.
const AT_ONCE: ScanLimit = ScanLimit { rows: 256, bytes: 4 << 20 };

/// What a subject has that can be copied. None: the committer is to look itself, because some records name
/// other people, or because something does not read back; or it need not look at all, because no move of
/// the subject can begin by that request. Blocks its thread.
///
/// # Errors
/// `SHARD_BUSY`: too many looks are under way, or too many of the tenant.
pub(crate) fn look(
    node: &Node,
    owner: &Owner,
    request_id: [u8; 16],
) -> Result<Option<Looked>, Rejection> {
    if !may_begin(node, owner, request_id).unwrap_or(false) {
        return Ok(None);
    }
    let look = node.moves.look(owner).ok_or(Reason::ShardBusy)?;
    let heads = heads(node, owner).unwrap_or_default();
    Ok(heads.map(|heads| Looked { look, heads }))
}

/// Whether a move of the subject may begin by that request. If that changes meanwhile, the committer looks.
fn may_begin(node: &Node, owner: &Owner, request_id: [u8; 16]) -> Result<bool, Error> {
    let Some(subject) = kept(node, owner)? else { return Ok(false) };
    let stays = matches!(subject.status, Status::Live | Status::Blocked(_));
    Ok(stays && subject.given_up.is_none_or(|of| of.request_id != request_id))
}

fn kept(node: &Node, owner: &Owner) -> Result<Option<Subject>, Error> {
    let row = read_rows(&*node.engine, &[owner.row()])?.pop();
    let Some(Ok(Some(row))) = row else { return Ok(None) };
    Ok(match node.open_subject(owner, &row)? {
        SubjectRow::Kept(subject) => Some(subject),
        SubjectRow::Erased(_) => None,
    })
}

fn heads(node: &Node, owner: &Owner) -> Result<Option<u64>, Error> {
    let Some(subject) = kept(node, owner)? else { return Ok(None) };
    let (mut span, mut heads) = (owner.records(), 0);
    loop {
        let page = node.engine.scan(&span, Order::Ascending, AT_ONCE)?;
        let Some((last, _)) = page.rows.last() else { return Ok(Some(heads)) };
        span.from = [last.as_slice(), &[0]].concat();
        for (key, row) in &page.rows {
            let opened = Stored::read(row)
                .and_then(|row| row.named(owner, key, &node.region, subject.key_of(key)?));
            let Ok((_, head)) = opened else { return Ok(None) };
            if !head.indexed.participants.is_empty() {
                return Ok(None);
            }
            heads += 1;
        }
    }
}
