//! Answers of retries. The writer knows a retry by the head of its record; the entry that goes with
//! the answer is read here, on a thread of its own, so that many retries cost the writer no reads.

use std::sync::mpsc;

use crate::log::entry_in_row;
use crate::node::Node;
use crate::reply::{Outcome, Receipt, ReplySlot, Written};
use crate::store::types::EntryAt;

/// The answer of a retry, without its entry.
pub(crate) struct Retry {
    pub(crate) written: Written,
    pub(crate) opening: [u8; 32],
    pub(crate) statement: Vec<u8>,
    /// Where the entry stands. It is durable.
    pub(crate) entry: EntryAt,
}

impl Retry {
    /// The whole answer.
    pub(crate) fn with(self, entry: Vec<u8>) -> Outcome {
        let Self { written, opening, statement, .. } = self;
        let receipt = Receipt { entry: entry.into(), opening, statement: statement.into() };
        Outcome::Written(Written { receipt: Some(receipt), ..written })
    }
}

/// The way to the thread. What waits is bounded by the calls that sessions may have in flight.
pub(crate) struct Retries(mpsc::Sender<(ReplySlot, Retry)>);

/// What waits for the thread.
pub(crate) struct Waiting(mpsc::Receiver<(ReplySlot, Retry)>);

/// The way to the thread, and what it is started with.
pub(crate) fn channel() -> (Retries, Waiting) {
    let (sender, receiver) = mpsc::channel();
    (Retries(sender), Waiting(receiver))
}

impl Retries {
    /// Has a retry answered. Should the thread be gone, the reply slot answers as it is dropped.
    pub(crate) fn answer(&self, reply: ReplySlot, retry: Retry) {
        drop(self.0.send((reply, retry)));
    }
}

impl Waiting {
    /// Answers until the writer has ended. Blocks its thread.
    pub(crate) fn run(self, node: &Node) {
        for (reply, retry) in self.0 {
            let at = retry.entry;
            let read =
                node.period_of(at.log).and_then(|period| entry_in_row(&*node.engine, period, at));
            reply.send(match read {
                Ok(entry) => retry.with(entry),
                Err(error) => {
                    let fault = error.into();
                    node.report(&fault);
                    Outcome::Rejected(fault)
                }
            });
        }
    }
}
