//! Checkpoints on a steady beat, only over what is durable.
//!
//! Before a checkpoint is signed, every leaf hash under it is computed a second time, from the
//! entries as the store gives them back, and the roots are compared: one flipped bit in a leaf
//! hash would make a log unverifiable for ever (Yeti, 2021).

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::Engine;
use ledger::checkpoint::Checkpoint;
use ledger::hash::{Hash, leaf_hash};
use ledger::note::Signer;
use ledger::tree::Edge;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::Error;
use crate::anchor::Anchor;
use crate::chronicle::Signed;
use crate::committer::{Life, WeakQueue};
use crate::counts::Counts;
use crate::log::each_entry;
use crate::node::Node;

/// How often counted reads are written to the log.
const COUNTS_EVERY: Duration = Duration::from_secs(60);

/// The size and root of the log as it is durable. The committer publishes, the beat reads.
pub(crate) struct Durable(Mutex<(u64, Hash)>);

impl Durable {
    pub(crate) fn new(size: u64, root: Hash) -> Self {
        Self(Mutex::new((size, root)))
    }

    pub(crate) fn publish(&self, size: u64, root: Hash) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (size, root);
    }

    fn read(&self) -> (u64, Hash) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Signs, stores, publishes.
pub(crate) struct Beat {
    pub(crate) node: Arc<Node>,
    pub(crate) durable: Arc<Durable>,
    pub(crate) signer: Signer,
    pub(crate) anchor: Anchor,
    /// The tree as computed the second time.
    pub(crate) second: Edge,
    /// The size that was signed last.
    pub(crate) signed: u64,
    /// What is published.
    pub(crate) published: watch::Sender<Arc<Signed>>,
}

impl Beat {
    /// Beats until `stop` closes, which is after the committer has ended, then once more. Blocks
    /// its thread.
    pub(crate) fn run(
        mut self,
        every: Duration,
        stop: &Receiver<()>,
        (queue, counts): (WeakQueue, Arc<Counts>),
        life: &watch::Sender<Life>,
    ) {
        let mut counted = Instant::now();
        loop {
            let stopped = !matches!(stop.recv_timeout(every), Err(RecvTimeoutError::Timeout));
            if counted.elapsed() >= COUNTS_EVERY && counts.any() && queue.write_counts() {
                counted = Instant::now();
            }
            if let Err(error) = self.sign() {
                tracing::error!(%error, "no checkpoint can be signed; the shard stops");
                life.send_replace(Life::Poisoned);
                return;
            }
            if stopped {
                return;
            }
        }
    }

    /// Signs a checkpoint over what is durable, if there is something new.
    pub(crate) fn sign(&mut self) -> Result<(), Error> {
        let (size, root) = self.durable.read();
        if size == self.signed {
            return Ok(());
        }
        extend((&*self.node.engine, self.node.period), &mut self.second, size)?;
        if self.second.root() != root {
            return Err(Error::Damaged("placement log"));
        }
        let checkpoint = Checkpoint { origin: self.node.origin.to_string(), size, root };
        let note = checkpoint.sign(&self.signer).map_err(|_| Error::Damaged("placement log"))?;
        self.anchor.store(&note)?;
        self.signed = size;
        self.node.metrics.checkpoint_size.set(i64::try_from(size).unwrap_or(i64::MAX));
        let signed = Signed { note, edge: self.second.clone(), at: self.node.now() };
        self.published.send_replace(Arc::new(signed));
        Ok(())
    }
}

/// Adds the leaves of the stored entries up to `size`, hashed anew.
pub(crate) fn extend(
    (engine, period): (&dyn Engine, u32),
    edge: &mut Edge,
    size: u64,
) -> Result<(), Error> {
    let mut tiles = Vec::new();
    let from = edge.size();
    each_entry(engine, period, from, size, &mut |_, entry| {
        edge.append(leaf_hash(entry), &mut tiles);
        // The committer has stored them; here only the root counts.
        tiles.clear();
        Ok(())
    })
}

/// A signed checkpoint over the empty log.
pub(crate) fn signed_empty(signer: &Signer) -> Result<String, Error> {
    let origin = signer.name().to_owned();
    Checkpoint { origin, size: 0, root: ledger::hash::empty_root() }
        .sign(signer)
        .map_err(|_| Error::Damaged("placement log"))
}
