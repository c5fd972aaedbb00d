//! Writes of which all are done or none. They are a group, and so a commit, of their own: if one is
//! refused, the group is dropped before anything is written, and each is answered with why.

use std::collections::VecDeque;

use terms::Rejection;

use crate::reply::{Outcome, ReplySlot};
use crate::write::command::Op;
use crate::write::queue_share::Room;
use crate::write::transaction::Done;

/// Why one of the group was refused.
pub(crate) fn refused(answers: &[(ReplySlot, Done)]) -> Option<Rejection> {
    answers.iter().enumerate().find_map(|(n, (_, done))| match done {
        Done::Answer(Outcome::Rejected(fault)) => Some(fault.clone().of_request(n)),
        Done::Answer(_) | Done::Retry(_) => None,
    })
}

/// Answers all of a group that is not done.
pub(crate) fn answer(
    fault: &Rejection,
    answers: Vec<(ReplySlot, Done)>,
    left: &mut VecDeque<(Op, Room)>,
) {
    let left = left.drain(..).map(|(op, _)| op.reply);
    for reply in answers.into_iter().map(|(reply, _)| reply).chain(left) {
        reply.send(Outcome::Rejected(fault.clone()));
    }
}
