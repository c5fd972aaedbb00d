//! Questions whose asking is noted in the log before they are answered.

use std::borrow::Cow;
use std::sync::Arc;

use ledger::entry::{Kind, MapRef};
use terms::{Collection, Rejection};
use tokio::sync::oneshot;

use crate::reply::{Outcome, ReplySlot};
use crate::store::principal::Principal;
use crate::store::types::EpochNumber;

/// A question about many. It is answered once a COUNT entry is durable.
pub(crate) struct Question {
    /// COUNT, or EXPORT where it begins one.
    pub(crate) kind: Kind,
    pub(crate) answer: NotedAnswer,
    pub(crate) who: Arc<Principal>,
    /// The collection, if it is about one.
    pub(crate) collection: Option<Collection>,
    /// The map under which the answer was let out. None: none decides on it.
    pub(crate) judged: Option<EpochNumber>,
    /// The map that was asked about, or was in force.
    pub(crate) map: MapRef,
    /// The subjects that were looked at, or the entries that were opened.
    pub(crate) count: u64,
    /// What was asked.
    pub(crate) why: Cow<'static, str>,
}

/// The answer to a question, ready, and where it goes.
pub(crate) enum NotedAnswer {
    /// To a gateway.
    Session(ReplySlot, Box<Outcome>),
    /// To an auditor's call, which holds the answer itself.
    Auditor(oneshot::Sender<Result<(), Rejection>>),
}

impl NotedAnswer {
    pub(crate) fn give(self, noted: Result<(), Rejection>) {
        match self {
            Self::Session(reply, outcome) => reply.send(match noted {
                Ok(()) => *outcome,
                Err(fault) => Outcome::Rejected(fault),
            }),
            // Gone: the caller no longer waits.
            Self::Auditor(sender) => drop(sender.send(noted)),
        }
    }
}
