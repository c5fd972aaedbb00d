//! Answers of retries. The writer knows a retry by the head of its record; the entry that goes with
//! the answer is read here, on a thread of its own, so that many retries cost the writer no reads.

use std::sync::mpsc;

use wire::session as proto;

use crate::log::entry_in_row;
use crate::node::Node;
use crate::store::types::EntryAt;
use crate::write::command::{Outcome, ReplySlot};

/// The answer of a retry, without its entry.
pub(crate) struct Retry {
    pub(crate) written: proto::Written,
    /// Where the entry stands. It is durable.
    pub(crate) entry: EntryAt,
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
        for (reply, Retry { mut written, entry: at }) in self.0 {
            let read =
                node.period_of(at.log).and_then(|period| entry_in_row(&*node.engine, period, at));
            reply.send(match read {
                Ok(entry) => {
                    written.entry = entry.into();
                    Outcome::Written(written)
                }
                Err(error) => {
                    let fault = error.into();
                    node.report(&fault);
                    Outcome::Rejected(fault)
                }
            });
        }
    }
}
