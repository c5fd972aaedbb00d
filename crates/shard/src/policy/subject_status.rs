//! What calls are told of a subject that is not simply there. Nothing of it is written, and only one that
//! is being copied to another region is read.

use terms::{Detail, Reason, Rejection, UnixMillis};

use crate::store::subject::{Blocked, Status, Subject};
use crate::store::tombstone::Tombstone;
use crate::store::types::Minute;

/// Whether a subject is read. One that was given away is not: the other region may have taken writes
/// already.
pub(crate) fn admit_read(subject: &Subject, now: UnixMillis) -> Result<(), Rejection> {
    if matches!(subject.status, Status::Moving(_)) { Ok(()) } else { admit(subject, now) }
}

/// Whether a subject is served, writes included.
pub(crate) fn admit(subject: &Subject, now: UnixMillis) -> Result<(), Rejection> {
    let refusal = |reason| Rejection::new(reason).field("subject.id");
    match &subject.status {
        Status::Live => Ok(()),
        Status::Blocked(blocked) if is_over(blocked, now) && !blocked.then_erase => Ok(()),
        Status::Blocked(_) => Err(refusal(Reason::SubjectBlocked)),
        Status::Moving(_) | Status::Left(_) | Status::Arriving(_) => {
            Err(refusal(Reason::SubjectMoving))
        }
        Status::Erasing(_) => Err(erased()),
    }
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

/// The answer for a subject that was erased.
pub(crate) fn erased() -> Rejection {
    Rejection::new(Reason::SubjectErased).field("subject.id")
}
