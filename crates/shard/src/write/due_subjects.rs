//! What is due about subjects, though no caller asks: a block has ended, or an erasure or a rotation of
//! keys that took more than one commit goes on.

use engine::{Key, Order, ScanLimit};

use crate::Error;
use crate::node::Node;
use crate::policy::subject_status::is_over;
use crate::store::damage::read_rows;
use crate::store::erasure::CollectionErasing;
use crate::store::keys;
use crate::store::subject::{Status, Subject, SubjectRow};
use crate::store::types::Minute;
use crate::write::command::{Action, Block, Erase, RotateKey};

/// What is done together: far less than a commit has writes.
pub(super) const AT_ONCE: usize = 256;

/// What is due after a row, and the last row that was looked at.
pub(super) type Due = (Vec<Action>, Option<Key>);

/// Why a subject is erased or unblocked when its block ends, for the log.
const BLOCK_ENDED: &str = "the block has ended";

/// The next subjects for which something is due, and the last row that was looked at. Blocks its
/// thread.
pub(super) fn due(node: &Node, after: Option<&[u8]>) -> Result<Due, Error> {
    let limit = ScanLimit { rows: AT_ONCE, bytes: 1 << 20 };
    let span = keys::subjects_due(after, Minute::of(node.now()));
    let page = node.engine.scan(&span, Order::Ascending, limit)?;
    let Some((last, _)) = page.rows.last() else { return Ok((Vec::new(), None)) };
    // A key that names no subject is passed over.
    let wanted = page.rows.iter().filter_map(|(key, _)| keys::of_due(key).map(<[u8]>::to_vec));
    let wanted: Vec<_> = wanted.collect();
    let (mut due, mut damaged) = (Vec::new(), page.rows.len() - wanted.len());
    for (key, row) in wanted.iter().zip(read_rows(&*node.engine, &wanted)?) {
        match row.map(|row| row.map_or(Ok(None), |row| action(node, key, &row))) {
            Ok(Ok(action)) => due.extend(action),
            Ok(Err(_)) | Err(_) => damaged += 1,
        }
    }
    say_damaged(node, damaged);
    Ok((due, Some(last.clone())))
}

/// Says that so many rows of what is due cannot be read.
pub(super) fn say_damaged(node: &Node, rows: usize) {
    if rows > 0
        && let Some(unsaid) = node.troubles.allow(node.clock.now())
    {
        tracing::error!(rows, unsaid, "rows of what is due cannot be read, and are passed over");
    }
}

/// What is to be done about one subject now.
fn action(node: &Node, key: &[u8], row: &[u8]) -> Result<Option<Action>, Error> {
    let (_, tag) = keys::of_subject(key).ok_or(Error::Damaged("subjects"))?;
    let Some(owner) = Subject::owner_of(row, tag, node.subject_keys())? else { return Ok(None) };
    let SubjectRow::Kept(subject) = node.open_subject(&owner, row)? else { return Ok(None) };
    let (opening, reason) = (node.random()?, BLOCK_ENDED.to_owned());
    let (validate_only, again) = (false, false);
    let erase = |collection, reason, deadline| {
        let (owner, request) = (owner.clone(), None);
        Action::Erase(Box::new(Erase {
            owner,
            collection,
            request,
            reason,
            deadline,
            ground: None,
            arose: None,
            validate_only,
            again,
            moved: None,
            opening,
        }))
    };
    let rotation = subject.rotation().cloned();
    if let Some(CollectionErasing { collection, erasure }) = subject.erasing {
        return Ok(Some(erase(Some(collection), erasure.reason, erasure.deadline)));
    }
    if let Some(rotation) = rotation.filter(|_| matches!(subject.status, Status::Live)) {
        let (reason, request) = (rotation.reason, None);
        let rotate = RotateKey { owner, request, reason, validate_only, opening };
        return Ok(Some(Action::RotateKey(Box::new(rotate))));
    }
    Ok(match subject.status {
        Status::Erasing(erasure) => Some(erase(None, erasure.reason, erasure.deadline)),
        Status::Blocked(blocked) if !is_over(&blocked, node.now()) => None,
        Status::Blocked(blocked) if blocked.then_erase => Some(erase(None, reason, None)),
        Status::Blocked(_) => {
            let block = Block { owner, blocked: None, reason, validate_only, opening };
            Some(Action::Block(Box::new(block)))
        }
        Status::Live | Status::Moving(_) | Status::Left(_) | Status::Arriving(_) => None,
    })
}
