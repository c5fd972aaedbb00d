//! What calls are told of a subject that is not simply there. Nothing of it is written, and only one that
//! is being copied to another region is read, unless it is blocked.

use terms::{Detail, Reason, RegionId, Rejection, UnixMillis};

use crate::store::subject::{Blocked, Status, Subject};
use crate::store::tombstone::Tombstone;
use crate::store::types::Minute;

/// Whether a subject is read. One that was given away is not: the other region may have taken writes
/// already.
pub(crate) fn admit_read(subject: &Subject, now: UnixMillis) -> Result<(), Rejection> {
    let Status::Moving(of) = &subject.status else { return admit(subject, now) };
    of.blocked.map_or(Ok(()), |blocked| unblocked(&blocked, now))
}

/// Whether a subject is served, writes included.
pub(crate) fn admit(subject: &Subject, now: UnixMillis) -> Result<(), Rejection> {
    match &subject.status {
        Status::Live => Ok(()),
        Status::Blocked(blocked) => unblocked(blocked, now),
        Status::Moving(_) | Status::Left(_) | Status::Arriving(_) => {
            Err(Rejection::new(Reason::SubjectMoving).field("subject.id"))
        }
        Status::Erasing(_) => Err(erased()),
    }
}

/// Whether a block has ended, and lets the subject be served.
fn unblocked(blocked: &Blocked, now: UnixMillis) -> Result<(), Rejection> {
    if is_over(blocked, now) && !blocked.then_erase {
        return Ok(());
    }
    Err(Rejection::new(Reason::SubjectBlocked).field("subject.id"))
}

/// The answer while a collection of a subject is erased, and to a late retry of what was erased with it.
pub(crate) fn collection_erased() -> Rejection {
    Rejection::new(Reason::CollectionErased)
}

/// Whether a block has ended, be it written down yet or not.
pub(crate) fn is_over(blocked: &Blocked, now: UnixMillis) -> bool {
    blocked.until <= Minute::of(now)
}

/// The answer for a subject of which a tombstone is left.
pub(crate) fn gone(stone: &Tombstone) -> Rejection {
    match &stone.moved {
        Some(to) => {
            let fault = Rejection::new(Reason::SubjectMoved).field("subject.id");
            fault.with(Detail::Region, to)
        }
        None => erased(),
    }
}

/// The answer to a question for a move from here that is not known.
pub(crate) fn no_move(problem: &'static str) -> Rejection {
    let fault = Rejection::new(Reason::RecordNotFound).field("subject.id").problem(problem);
    fault.cure(
        "check the id and the request id, and name the region from which the person was to move: \
         `bailiwick operation list` shows the moves that go on there",
    )
}

/// The answer to an erasure that waits for a region which still has copies of a move that was given up.
pub(crate) fn copies_not_erased(region: &RegionId) -> Rejection {
    let fault = Rejection::new(Reason::RegionUnavailable).with(Detail::Region, region);
    let fault = fault.problem("has not confirmed yet that it has erased what was copied there");
    fault.cure("send the same request again later: the erasure goes on by itself")
}

/// The answer for a subject that was erased.
pub(crate) fn erased() -> Rejection {
    Rejection::new(Reason::SubjectErased).field("subject.id")
}
