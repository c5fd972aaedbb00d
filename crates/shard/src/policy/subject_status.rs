//! What calls are told of a subject that is not simply there. Whatever the status, nothing of the
//! subject is read or written.

use terms::{Detail, Reason, Rejection, UnixMillis};

use crate::store::subject::{Blocked, Status, Subject};
use crate::store::types::Minute;

/// Whether a subject is served.
pub(crate) fn admit(subject: &Subject, now: UnixMillis) -> Result<(), Rejection> {
    let refusal = |reason| Rejection::new(reason).field("subject.id");
    match &subject.status {
        Status::Live => Ok(()),
        Status::Blocked(blocked) if is_over(blocked, now) && !blocked.then_erase => Ok(()),
        Status::Blocked(_) => Err(refusal(Reason::SubjectBlocked)),
        // Also for reads: the other region may have taken writes already.
        Status::Moving { .. } => Err(refusal(Reason::SubjectMoving)),
        Status::Moved { to, .. } => Err(refusal(Reason::SubjectMoved).with(Detail::Region, to)),
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

/// The answer for a subject that was erased.
pub(crate) fn erased() -> Rejection {
    Rejection::new(Reason::SubjectErased).field("subject.id")
}
