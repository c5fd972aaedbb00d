//! Writes of which all are done or none. They are a group, and so a commit, of their own: if one is
//! refused, the group is dropped before anything is written, and each is answered with why.

use std::collections::VecDeque;

use terms::Rejection;

use crate::reply::{Outcome, ReplySlot};
use crate::store::claims::Ticket;
use crate::write::command::Op;
use crate::write::queue_share::Room;
use crate::write::transaction::Done;

/// Why none of a group is done.
pub(crate) enum Undone {
    Refused(Rejection),
    /// The subject would be created, and the other regions must be asked for its id first.
    AskFirst(Ticket),
}

impl Undone {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Refused(fault) => Outcome::Rejected(fault.clone()),
            Self::AskFirst(ticket) => Outcome::AskFirst(*ticket),
        }
    }
}

/// Why one of the group was not done.
pub(crate) fn undone(answers: &[(ReplySlot, Done)]) -> Option<Undone> {
    answers.iter().enumerate().find_map(|(n, (_, done))| match done {
        Done::Answer(Outcome::Rejected(fault)) => {
            Some(Undone::Refused(fault.clone().of_request(n)))
        }
        Done::Answer(Outcome::AskFirst(ticket)) => Some(Undone::AskFirst(*ticket)),
        Done::Answer(_) | Done::Retry(_) => None,
    })
}

/// Answers all of a group that is not done.
pub(crate) fn answer(
    undone: &Undone,
    answers: Vec<(ReplySlot, Done)>,
    left: &mut VecDeque<(Op, Room)>,
) {
    let left = left.drain(..).map(|(op, _)| op.reply);
    for reply in answers.into_iter().map(|(reply, _)| reply).chain(left) {
        reply.send(undone.outcome());
    }
}
