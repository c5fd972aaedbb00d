//! What calls are told of a subject that is not simply there. Whatever the status, nothing of the
//! subject is read or written.

use terms::{Detail, Reason, Rejection};

use crate::store::subject::{Status, Subject};

/// Whether a subject is served.
pub(crate) fn admit(subject: &Subject) -> Result<(), Rejection> {
    let refusal = |reason| Rejection::new(reason).field("subject.id");
    match &subject.status {
        Status::Live => Ok(()),
        Status::Blocked => Err(refusal(Reason::SubjectBlocked)),
        // Also for reads: the other region may have taken writes already.
        Status::Moving { .. } => Err(refusal(Reason::SubjectMoving)),
        Status::Moved { to, .. } => Err(refusal(Reason::SubjectMoved).with(Detail::Region, to)),
    }
}

/// The answer for a subject that was erased.
pub(crate) fn erased() -> Rejection {
    Rejection::new(Reason::SubjectErased).field("subject.id")
}
