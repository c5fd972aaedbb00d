//! What callers are told of moves from here.

use engine::{Order, ScanLimit};
use terms::{Reason, Rejection};

use crate::Error;
use crate::log::access_counters::AccessCounters;
use crate::node::Node;
use crate::policy::asker::Asker;
use crate::policy::egress::crosses_no_border;
use crate::policy::subject_status;
use crate::reply::{Moved, MovedState};
use crate::store::damage::read_rows;
use crate::store::keys;
use crate::store::keys::Owner;
use crate::store::moving::{GivenUp, Move};
use crate::store::subject::{Status, Subject, SubjectRow};

/// Moves that are listed.
const LISTED_MAX: usize = 1_000;
/// Rows that are looked at for it.
const LOOKED_AT_MAX: usize = 100_000;
const ROWS_AT_ONCE: usize = 256;

/// The move of a subject: one that goes on, or the last one. Blocks its thread.
///
/// # Errors
/// `SUBJECT_UNKNOWN`, `SUBJECT_ERASED`; `RECORD_NOT_FOUND` if it never moved; those of
/// [`crosses_no_border`].
pub(crate) fn of_subject(
    node: &Node,
    counts: &AccessCounters,
    asker: &Asker,
    owner: &Owner,
) -> Result<(Vec<Moved>, bool), Rejection> {
    let rows = read_rows(&*node.engine, &[owner.row()]).map_err(Error::from)?;
    let row = rows.into_iter().next().unwrap_or(Ok(None))?;
    let row = row.map(|row| node.open_subject(owner, &row)).transpose()?;
    let kept = match &row {
        Some(SubjectRow::Kept(subject)) => Some(subject),
        Some(SubjectRow::Erased(_)) | None => None,
    };
    crosses_no_border(node, counts, asker, kept)?;
    let found = match row {
        None => Err(Rejection::new(Reason::SubjectUnknown).field("subject.id")),
        Some(SubjectRow::Kept(subject)) => of_kept(node, owner, &subject)
            .ok_or_else(|| subject_status::no_move("no move of the subject was ordered here")),
        Some(SubjectRow::Erased(stone)) => {
            let Some(to) = stone.moved.clone() else { return Err(subject_status::gone(&stone)) };
            Ok(Moved {
                subject: owner.subject.clone(),
                to,
                request_id: stone.by.request_id,
                began: None,
                ended: Some(stone.by.minute),
                state: MovedState::Done,
                copied: stone.records,
                heads: stone.records,
                refused: None,
            })
        }
    };
    Ok((vec![found?], false))
}

/// The moves of a tenant's subjects that go on, of those of which they may know who ask, and whether
/// there are more. Blocks its thread.
///
/// # Errors
/// As reading does.
pub(crate) fn of_tenant(
    node: &Node,
    counts: &AccessCounters,
    asker: &Asker,
) -> Result<(Vec<Moved>, bool), Rejection> {
    let (mut found, mut seen) = (Vec::new(), 0);
    let limit = ScanLimit { rows: ROWS_AT_ONCE, bytes: 1 << 20 };
    for mut span in [keys::all_moving(None), keys::all_left_copies(None)] {
        loop {
            let page = node.engine.scan(&span, Order::Ascending, limit).map_err(Error::from)?;
            let Some((last, _)) = page.rows.last() else { break };
            span.from = [last.as_slice(), &[0]].concat();
            for (key, _) in &page.rows {
                seen += 1;
                if found.len() >= LISTED_MAX || seen > LOOKED_AT_MAX {
                    return Ok((found, true));
                }
                if let Some((owner, subject)) = listed(node, key)?
                    && owner.tenant == asker.tenant
                    && crosses_no_border(node, counts, asker, Some(&subject)).is_ok()
                {
                    found.extend(of_kept(node, &owner, &subject));
                }
            }
        }
    }
    Ok((found, false))
}

/// The subject of a row of either kind, if that is its last move. Blocks its thread.
fn listed(node: &Node, key: &[u8]) -> Result<Option<(Owner, Subject)>, Rejection> {
    let Some((row, move_id)) = keys::of_left_copy(key).filter(|_| keys::is_left_copy(key)) else {
        return kept(node, key);
    };
    let found = kept(node, &keys::moving(row))?;
    let of = |subject: &Subject| subject.given_up.as_ref().map(|of| of.request_id);
    let last =
        |subject: &Subject| subject.status.moving().is_none() && of(subject) == Some(move_id);
    Ok(found.filter(|(_, subject)| last(subject)))
}

/// The subject of which a row says that it moves, if it is still there. Blocks its thread.
///
/// # Errors
/// As reading does.
pub(crate) fn kept(node: &Node, moving: &[u8]) -> Result<Option<(Owner, Subject)>, Rejection> {
    let key = keys::of_moving(moving).ok_or(Error::Damaged("subjects"))?.to_vec();
    let rows = read_rows(&*node.engine, std::slice::from_ref(&key)).map_err(Error::from)?;
    let Some(row) = rows.into_iter().next().unwrap_or(Ok(None))? else { return Ok(None) };
    let (_, tag) = keys::of_subject(&key).ok_or(Error::Damaged("subjects"))?;
    let Some(owner) = Subject::owner_of(&row, tag, node.subject_keys())? else { return Ok(None) };
    match node.open_subject(&owner, &row)? {
        SubjectRow::Kept(subject) => Ok(Some((owner, subject))),
        SubjectRow::Erased(_) => Ok(None),
    }
}

fn of_kept(node: &Node, owner: &Owner, subject: &Subject) -> Option<Moved> {
    let going = |of: &Move, state, copied| Moved {
        subject: owner.subject.clone(),
        to: of.to.clone(),
        request_id: of.request_id,
        began: Some(of.began),
        ended: None,
        state,
        copied,
        heads: of.heads,
        refused: None,
    };
    match (&subject.status, &subject.given_up) {
        (Status::Moving(of), _) => {
            Some(going(of, MovedState::Copying, node.moves.get(owner.tag).min(of.heads)))
        }
        (Status::Left(left), _) => Some(going(&left.of, MovedState::Switching, left.of.heads)),
        (_, Some(GivenUp { to, request_id, began, ended, refused, dropped, .. })) => Some(Moved {
            subject: owner.subject.clone(),
            to: to.clone(),
            request_id: *request_id,
            began: Some(*began),
            ended: Some(*ended),
            state: if *dropped { MovedState::Cancelled } else { MovedState::Cancelling },
            copied: 0,
            heads: 0,
            refused: *refused,
        }),
        _ => None,
    }
}
