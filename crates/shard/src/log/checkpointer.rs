//! Checkpoints on a steady beat, only over what is durable.
//!
//! Before a checkpoint is signed, every leaf hash under it is computed a second time, from the
//! entries as the store gives them back, and the roots are compared: one flipped bit in a leaf
//! hash would make a log unverifiable for ever (Yeti, 2021).

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::Engine;
use ledger::checkpoint::Checkpoint;
use ledger::hash::{Hash, leaf_hash};
use ledger::note::Signer;
use ledger::tree::Edge;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::Error;
use crate::lifecycle::Life;
use crate::log::checkpoint_file::CheckpointFile;
use crate::log::closed_periods::Sealed;
use crate::log::each_entry;
use crate::log::view::Signed;
use crate::node::Node;
use crate::store::damage::is_over;
use crate::store::growing_log::LogName;
use crate::store::types::Period;

/// How often counted reads are written to the log.
const COUNTS_EVERY: Duration = Duration::from_secs(60);

/// Time between two log lines that no checkpoint can be stored.
const REPORT_EVERY: Duration = Duration::from_secs(60);
/// Names of facts on the operators' page.
const CHECKPOINT: &str = "checkpoint";
const CLOCK: &str = "clock";

/// Whether what keeps a checkpoint from being stored may pass, or leaves the store as it is.
fn passes(error: &Error) -> bool {
    matches!(error, Error::Io { .. } | Error::CheckpointFile { .. })
        || matches!(error, Error::Engine(error) if !is_over(error))
}

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

/// Signs, stores, publishes. The beat uses it, and the committer where a period ends.
pub(crate) struct CheckpointSigner {
    node: Arc<Node>,
    durable: Arc<Durable>,
    log: LogName,
    signer: Signer,
    anchor: CheckpointFile,
    /// The tree as computed the second time.
    second: Edge,
    /// The size that was signed last.
    signed: u64,
    /// What is published.
    published: watch::Sender<Arc<Signed>>,
}

impl CheckpointSigner {
    /// One that has published `shown`, whose checkpoint stands in `anchor`.
    pub(crate) fn new(
        node: &Arc<Node>,
        durable: &Arc<Durable>,
        signer: Signer,
        anchor: CheckpointFile,
        shown: Signed,
    ) -> Self {
        let (log, second, signed) = (shown.log.clone(), shown.edge.clone(), shown.size());
        let published = watch::Sender::new(Arc::new(shown));
        let (node, durable) = (Arc::clone(node), Arc::clone(durable));
        Self { node, durable, log, signer, anchor, second, signed, published }
    }

    /// What is published, now and whenever it changes.
    pub(crate) fn published(&self) -> watch::Receiver<Arc<Signed>> {
        self.published.subscribe()
    }

    /// Signs a checkpoint over what is durable, if there is something new.
    pub(crate) fn sign(&mut self) -> Result<(), Error> {
        let (size, root) = self.durable.read();
        if size == self.signed {
            return Ok(());
        }
        extend(&*self.node.engine, self.log.period, &mut self.second, size)?;
        if self.second.root() != root {
            return Err(Error::Damaged("placement log"));
        }
        let checkpoint = Checkpoint { origin: self.log.origin.to_string(), size, root };
        let note = checkpoint.sign(&self.signer).map_err(|_| Error::Damaged("placement log"))?;
        self.anchor.store(&note)?;
        self.signed = size;
        self.node.metrics.checkpoint_size.set(i64::try_from(size).unwrap_or(i64::MAX));
        let (log, edge) = (self.log.clone(), self.second.clone());
        let signed = Signed { log, note, edge, at: self.node.now() };
        self.published.send_replace(Arc::new(signed));
        Ok(())
    }

    /// Signs all that is durable. The note.
    pub(crate) fn signed(&mut self) -> Result<String, Error> {
        self.sign()?;
        Ok(self.published.borrow().note.clone())
    }

    /// Signs all of a log that has ended.
    pub(crate) fn close(&mut self) -> Result<Sealed, Error> {
        self.sign()?;
        let last = self.published.borrow();
        Ok(Sealed { vkey: self.signer.vkey(), note: last.note.clone(), size: last.size() })
    }

    /// Goes on with the log that has begun, and signs its first entries. They must be durable, and
    /// published as such.
    pub(crate) fn begin(&mut self, log: LogName, signer: Signer) -> Result<(), Error> {
        (self.log, self.signer) = (log, signer);
        (self.second, self.signed) = (Edge::new(), 0);
        self.sign()
    }
}

/// A [`CheckpointSigner`], used by one at a time.
#[derive(Clone)]
pub(crate) struct SharedSigner(Arc<Mutex<CheckpointSigner>>);

impl SharedSigner {
    pub(crate) fn new(signer: CheckpointSigner) -> Self {
        Self(Arc::new(Mutex::new(signer)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, CheckpointSigner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Signs on a steady beat.
pub(crate) struct Checkpointer {
    pub(crate) node: Arc<Node>,
    pub(crate) signer: SharedSigner,
    /// When a failure to store a checkpoint was last logged; `None`: the last one was stored.
    pub(crate) reported: Option<Instant>,
}

impl Checkpointer {
    /// Beats until `stop` closes, which is after the committer has ended, then once more. Blocks
    /// its thread.
    pub(crate) fn run(
        mut self,
        every: Duration,
        stop: &Receiver<()>,
        write_counts: impl Fn() -> bool,
        recover: impl Fn(),
        life: &watch::Sender<Life>,
    ) {
        let mut counted = Instant::now();
        loop {
            let stopped = !matches!(stop.recv_timeout(every), Err(RecvTimeoutError::Timeout));
            if counted.elapsed() >= COUNTS_EVERY && write_counts() {
                counted = Instant::now();
            }
            self.check_clock();
            // An engine may learn by itself that its connection has gone, or another writer has come.
            if self.node.engine.head().is_err_and(|error| is_over(&error)) {
                recover();
            }
            let signed = self.signer.lock().sign();
            match signed {
                Ok(()) if self.reported.is_some() => {
                    tracing::info!("checkpoints are stored again");
                    self.node.health.hold(CHECKPOINT, false);
                    self.node.health.set_fact(CHECKPOINT, "stored");
                    self.reported = None;
                }
                Ok(()) => {}
                Err(error) if passes(&error) => self.report(&error),
                // The committer opens the store again, or ends the shard.
                Err(Error::Engine(error)) if is_over(&error) => {
                    tracing::error!(%error, "no checkpoint can be signed");
                    recover();
                }
                Err(error) => {
                    tracing::error!(%error, "no checkpoint can be signed; the shard stops");
                    life.send_replace(Life::Poisoned);
                    return;
                }
            }
            if stopped {
                return;
            }
        }
    }

    /// Reports that no checkpoint can be stored just now. The next beat tries again.
    fn report(&mut self, error: &Error) {
        self.node.metrics.checkpoint_failures.inc();
        if self.reported.is_none_or(|at| at.elapsed() >= REPORT_EVERY) {
            tracing::error!(%error, "no checkpoint can be stored");
            self.node.health.hold(CHECKPOINT, true);
            self.node.health.set_fact(CHECKPOINT, error.to_string());
            self.reported = Some(Instant::now());
        }
    }

    /// Shows a clock that is not believed, and writes down one that is.
    fn check_clock(&self) {
        let Node { clock, metrics, health, .. } = &*self.node;
        let ahead = clock.ahead();
        let seconds = ahead.map_or(0, |ms| i64::try_from(ms.div_ceil(1_000)).unwrap_or(i64::MAX));
        let before = metrics.clock_ahead_seconds.set(seconds);
        if (before > 0) != (seconds > 0) {
            health.hold(CLOCK, seconds > 0);
            let text = format!(
                "{seconds} s ahead of the last time that is known: writes are refused until it is \
                 set right, or confirmed by `bailiwick shard confirm-clock`"
            );
            if seconds > 0 {
                tracing::error!(seconds, "the clock has jumped ahead: writes are refused");
                health.set_fact(CLOCK, text);
            } else {
                tracing::info!("the clock is believed again");
                health.set_fact(CLOCK, "believed");
            }
        }
        clock.note();
    }
}

/// Adds the leaves of the stored entries up to `size`, hashed again.
pub(crate) fn extend(
    engine: &dyn Engine,
    period: Period,
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
