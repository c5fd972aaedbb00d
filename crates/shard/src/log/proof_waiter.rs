//! Answers that bear a proof: they wait until a checkpoint has signed their entries, and go on with
//! the path from entry to root. Nothing else waits for them.

use ledger::TlogProof;
use terms::Rejection;
use tokio::sync::mpsc;
use wire::session as proto;

use crate::log::view::LogViews;
use crate::write::command::{Outcome, ReplySlot};

/// Answers that are proven together.
const TOGETHER_MAX: usize = 1_024;

/// The way to it. What waits is bounded by the calls that sessions may have in flight.
#[derive(Clone)]
pub(crate) struct ProofWaiter(mpsc::UnboundedSender<Due>);

/// An answer that waits. Dropped, it is given with the proof that it has by then: the write stands
/// whatever becomes of its proof.
struct Due {
    reply: Option<ReplySlot>,
    written: proto::Written,
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
        tokio::spawn(run(chronicles, inbox));
        Self(sender)
    }

    /// Takes an answer that is durable.
    pub(crate) fn take(&self, reply: ReplySlot, written: proto::Written) {
        // Should the shard go down, it comes back, and is answered by being dropped.
        drop(self.0.send(Due { reply: Some(reply), written }));
    }
}

async fn run(chronicles: LogViews, mut inbox: mpsc::UnboundedReceiver<Due>) {
    let mut checkpoints = chronicles.checkpoints();
    let mut due = Vec::new();
    while inbox.recv_many(&mut due, TOGETHER_MAX).await > 0 {
        let last = due.iter().filter(|due| due.written.origin.is_empty());
        let last = last.map(|due| due.written.index).max();
        let signed = match last {
            Some(last) => checkpoints.wait_for(|signed| signed.size() > last).await.is_ok(),
            None => true,
        };
        let (chronicles, due) = (chronicles.clone(), std::mem::take(&mut due));
        let proving = tokio::task::spawn_blocking(move || {
            for mut due in due {
                if signed && let Ok(proof) = prove(&chronicles, &due.written) {
                    due.written.tlog_proof = proof.to_text();
                }
            }
        });
        if proving.await.is_err() {
            tracing::error!("a panic while proving: some answers go without a proof");
        }
    }
}

/// The proof for one entry, in the log of its own period.
fn prove(chronicles: &LogViews, written: &proto::Written) -> Result<TlogProof, Rejection> {
    let log = match written.origin.as_str() {
        "" => chronicles.growing(),
        origin => chronicles.of(origin)?,
    };
    log.proof(written.index).map(|(_, proof)| proof)
}
