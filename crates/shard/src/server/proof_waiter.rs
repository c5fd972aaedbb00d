//! Answers that bear a proof: they wait until a checkpoint has signed their entries, and go on with
//! the path from entry to root. Nothing else waits for them.

use std::sync::Arc;

use ledger::TlogProof;
use terms::Rejection;
use tokio::sync::mpsc;

use crate::log::view::{LogViews, Signed};
use crate::reply::{Outcome, ReplySlot, Written};

/// Answers that are proven together.
const TOGETHER_MAX: usize = 1_024;

/// The way to it. What waits is bounded by the calls that sessions may have in flight.
#[derive(Clone)]
pub(crate) struct ProofWaiter {
    waiter: mpsc::UnboundedSender<Due>,
    views: LogViews,
}

/// An answer that waits. Dropped, it is given with the proof that it has by then: the write stands
/// whatever becomes of its proof.
struct Due {
    reply: Option<ReplySlot>,
    written: Written,
}

impl Drop for Due {
    fn drop(&mut self) {
        if let Some(reply) = self.reply.take() {
            reply.send(Outcome::Written(std::mem::take(&mut self.written)));
        }
    }
}

impl ProofWaiter {
    /// Starts it. It ends with the last session.
    pub(crate) fn start(chronicles: LogViews) -> Self {
        let (sender, inbox) = mpsc::unbounded_channel();
        tokio::spawn(run(chronicles.clone(), inbox));
        Self { waiter: sender, views: chronicles }
    }

    /// The logs, as far as they are signed.
    pub(crate) const fn views(&self) -> &LogViews {
        &self.views
    }

    /// A slot whose answer, if it is a write with an entry, waits for its proof.
    pub(crate) fn proven(&self, reply: ReplySlot) -> ReplySlot {
        let waiter = self.waiter.clone();
        ReplySlot::new(move |outcome, room| {
            let mut reply = reply;
            reply.room = room;
            let Outcome::Written(written) = outcome else { return reply.send(outcome) };
            let due = Due { reply: Some(reply), written };
            if due.written.receipt.is_some() {
                // Should the shard go down, it comes back, and is answered by being dropped.
                drop(waiter.send(due));
            }
        })
    }
}

async fn run(chronicles: LogViews, mut inbox: mpsc::UnboundedReceiver<Due>) {
    let mut checkpoints = chronicles.checkpoints();
    let mut due = Vec::new();
    while inbox.recv_many(&mut due, TOGETHER_MAX).await > 0 {
        // A log that does not grow is signed to its end. None is named before it is published.
        let entries = due.iter().map(|due| (due.written.origin.clone(), due.written.index));
        let entries: Vec<_> = entries.collect();
        let covers = |signed: &Arc<Signed>| {
            entries.iter().all(|(origin, index)| {
                let grows = origin.as_ref().is_some_and(|origin| signed.is_of(origin));
                !grows || signed.size() > index.0
            })
        };
        let signed = checkpoints.wait_for(covers).await.is_ok();
        let (chronicles, due) = (chronicles.clone(), std::mem::take(&mut due));
        let proving = tokio::task::spawn_blocking(move || {
            for mut due in due {
                if signed && let Ok(proof) = prove(&chronicles, &due.written) {
                    due.written.proof = Some(proof.to_text());
                }
            }
        });
        if proving.await.is_err() {
            tracing::error!("a panic while proving: some answers go without a proof");
        }
    }
}

/// The proof for one entry, in the log of its own period.
fn prove(chronicles: &LogViews, written: &Written) -> Result<TlogProof, Rejection> {
    let log = chronicles.of(written.origin.as_deref().unwrap_or_default())?;
    log.proof(written.index.0).map(|(_, proof)| proof)
}
