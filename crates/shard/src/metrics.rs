//! What a shard counts. No label holds anything that a caller sent.

use link::metrics::{Counter, Gauge, Histogram, Registry, call_seconds, exponential_buckets};

/// The counters of one shard.
#[derive(Clone)]
pub(crate) struct Metrics {
    pub(crate) commits: Counter,
    pub(crate) commit_seconds: Histogram,
    pub(crate) commit_writes: Histogram,
    pub(crate) entries: Counter,
    pub(crate) checkpoint_size: Gauge,
    pub(crate) queue: Gauge,
    pub(crate) queue_bytes: Gauge,
    pub(crate) sessions: Gauge,
    pub(crate) reads: Counter,
    pub(crate) disk_free_bytes: Gauge,
}

impl Metrics {
    /// Registers all of them.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            commits: Counter::default(),
            commit_seconds: call_seconds(),
            commit_writes: Histogram::new(exponential_buckets(1.0, 2.0, 12)),
            entries: Counter::default(),
            checkpoint_size: Gauge::default(),
            queue: Gauge::default(),
            queue_bytes: Gauge::default(),
            sessions: Gauge::default(),
            reads: Counter::default(),
            disk_free_bytes: Gauge::default(),
        };
        let m = metrics.clone();
        registry.register("shard_commits", "Durable commits", m.commits);
        registry.register("shard_commit_seconds", "Seconds of one commit", m.commit_seconds);
        registry.register("shard_commit_writes", "Writes in one commit", m.commit_writes);
        registry.register("shard_log_entries", "Entries added to the log", m.entries);
        registry.register("shard_checkpoint_size", "Entries signed for", m.checkpoint_size);
        registry.register("shard_queue", "Writes that wait for the committer", m.queue);
        registry.register("shard_queue_bytes", "Bytes of those writes", m.queue_bytes);
        registry.register("shard_sessions", "Open sessions", m.sessions);
        registry.register("shard_reads", "Records read", m.reads);
        registry.register("shard_disk_free_bytes", "Bytes free for the store", m.disk_free_bytes);
        metrics
    }
}
