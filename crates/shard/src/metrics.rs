//! What a shard counts. No label holds anything that a caller sent.

use link::ops::metrics::{
    By, Counter, Family, Gauge, Histogram, Registry, call_seconds, exponential_buckets,
};
use terms::{Reason, RegionId};

/// The counters of one shard.
#[derive(Clone)]
pub(crate) struct Metrics {
    pub(crate) commits: Counter,
    pub(crate) commit_seconds: Histogram,
    pub(crate) commit_writes: Histogram,
    pub(crate) entries: Counter,
    pub(crate) log_size: Gauge,
    log_period: Gauge,
    pub(crate) checkpoint_size: Gauge,
    pub(crate) witnessed_size: Gauge,
    pub(crate) witness_failures: Counter,
    pub(crate) witness_contradictions: Counter,
    pub(crate) queue: Gauge,
    pub(crate) queue_bytes: Gauge,
    pub(crate) sessions: Gauge,
    pub(crate) sessions_stalled: Gauge,
    pub(crate) reads: Counter,
    pub(crate) expired: Counter,
    pub(crate) erased: Counter,
    pub(crate) indexes_building: Gauge,
    pub(crate) index_records: Counter,
    pub(crate) disk_free_bytes: Gauge,
    pub(crate) disk_reserve_bytes: Gauge,
    pub(crate) egress_refused: Counter,
    pub(crate) ingress_refused: Counter,
    pub(crate) placements_refused: Counter,
    pub(crate) roles_refused: Counter,
    pub(crate) sessions_refused: Counter,
    pub(crate) not_grpc: Counter,
    pub(crate) damaged_reads: Counter,
    pub(crate) failed_reads: Counter,
    pub(crate) checkpoint_failures: Counter,
    pub(crate) store_reopened: Counter,
    pub(crate) clock_ahead_seconds: Gauge,
    pub(crate) moves: MoveMetrics,
    pub(crate) slots: SlotMetrics,
    pub(crate) copies: CopyMetrics,
    map_epoch: Gauge,
}

/// What is counted of moves from here.
#[derive(Clone, Default)]
pub(crate) struct MoveMetrics {
    pub(crate) out: Gauge,
    pub(crate) left: Gauge,
    pub(crate) left_seconds: Gauge,
    pub(crate) copies: Gauge,
    pub(crate) halted: Counter,
}

impl MoveMetrics {
    /// Registers all of them.
    fn new(registry: &mut Registry) -> Self {
        let m = Self::default();
        let says = "Subjects that are copied to another region, and not written";
        registry.register("shard_moves_copying", says, m.out.clone());
        let says = "Subjects that were given away, and that no region is known to serve yet";
        registry.register("shard_moves_given_away", says, m.left.clone());
        let says = "Seconds since the oldest of those was given away";
        registry.register("shard_moves_given_away_seconds", says, m.left_seconds.clone());
        let says = "Copies of subjects that other regions are still to erase";
        registry.register("shard_moves_copies_left", says, m.copies.clone());
        let says = "Steps of moves that failed, and are tried again or given up";
        registry.register("shard_moves_halted", says, m.halted.clone());
        m
    }
}

/// The slots of the store.
#[derive(Clone)]
pub(crate) struct SlotMetrics {
    served: Gauge,
    unconfirmed: Gauge,
}

impl SlotMetrics {
    fn new(registry: &mut Registry) -> Self {
        let m = Self { served: Gauge::default(), unconfirmed: Gauge::default() };
        registry.register("shard_slots_served", "Slots that the shard serves", m.served.clone());
        let says = "Slots that the store has, and another shard of the region may have, too";
        registry.register("shard_slots_unconfirmed", says, m.unconfirmed.clone());
        m
    }

    pub(crate) fn set(&self, served: usize, unconfirmed: usize) {
        let count = |slots: usize| i64::try_from(slots).unwrap_or(i64::MAX);
        self.served.set(count(served));
        self.unconfirmed.set(count(unconfirmed));
    }
}

/// What is counted of copies that are due in other regions, by the region.
#[derive(Clone, Default)]
pub(crate) struct CopyMetrics {
    pub(crate) due: Family<By<RegionId>, Gauge>,
    pub(crate) due_seconds: Family<By<RegionId>, Gauge>,
    pub(crate) attachments: Family<By<RegionId>, Gauge>,
    pub(crate) untold: Family<By<RegionId>, Gauge>,
    pub(crate) halted: Counter,
}

impl CopyMetrics {
    /// Registers all of them.
    fn new(registry: &mut Registry) -> Self {
        let m = Self::default();
        let says = "Copies of records that are due in the region";
        registry.register("shard_copies_due", says, m.due.clone());
        let says = "Seconds since the oldest of those became due";
        registry.register("shard_copies_due_seconds", says, m.due_seconds.clone());
        let says = "Attachments of which the region should have a copy, and has none";
        registry.register("shard_copies_attachments", says, m.attachments.clone());
        let says =
            "Erasures, blocks and other changes that the region has not confirmed for its copies";
        registry.register("shard_copies_unconfirmed", says, m.untold.clone());
        let says = "Steps of copies that failed, and are tried again";
        registry.register("shard_copies_halted", says, m.halted.clone());
        m
    }
}

impl Metrics {
    /// The sizes of the log and of its last checkpoint, as a start found them.
    pub(crate) fn sizes(&self, log: u64, signed: u64) {
        self.log_size.set(i64::try_from(log).unwrap_or(i64::MAX));
        self.checkpoint_size.set(i64::try_from(signed).unwrap_or(i64::MAX));
    }

    /// Registers all of them.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            commits: Counter::default(),
            commit_seconds: call_seconds(),
            commit_writes: Histogram::new(exponential_buckets(1.0, 2.0, 12)),
            entries: Counter::default(),
            log_size: Gauge::default(),
            log_period: Gauge::default(),
            checkpoint_size: Gauge::default(),
            witnessed_size: Gauge::default(),
            witness_failures: Counter::default(),
            witness_contradictions: Counter::default(),
            queue: Gauge::default(),
            queue_bytes: Gauge::default(),
            sessions: Gauge::default(),
            sessions_stalled: Gauge::default(),
            reads: Counter::default(),
            expired: Counter::default(),
            erased: Counter::default(),
            indexes_building: Gauge::default(),
            index_records: Counter::default(),
            disk_free_bytes: Gauge::default(),
            disk_reserve_bytes: Gauge::default(),
            egress_refused: Counter::default(),
            ingress_refused: Counter::default(),
            placements_refused: Counter::default(),
            roles_refused: Counter::default(),
            sessions_refused: Counter::default(),
            not_grpc: Counter::default(),
            damaged_reads: Counter::default(),
            failed_reads: Counter::default(),
            checkpoint_failures: Counter::default(),
            store_reopened: Counter::default(),
            clock_ahead_seconds: Gauge::default(),
            moves: MoveMetrics::new(registry),
            slots: SlotMetrics::new(registry),
            copies: CopyMetrics::new(registry),
            map_epoch: Gauge::default(),
        };
        let m = metrics.clone();
        registry.register("shard_map_epoch", "Version of the map in force", m.map_epoch);
        registry.register("shard_commits", "Durable commits", m.commits);
        registry.register("shard_commit_seconds", "Seconds of one commit", m.commit_seconds);
        registry.register("shard_commit_writes", "Writes in one commit", m.commit_writes);
        registry.register("shard_log_entries", "Entries added to the log", m.entries);
        registry.register("shard_log_size", "Durable entries of the log", m.log_size);
        registry.register("shard_log_period", "Period of the log that grows", m.log_period);
        registry.register("shard_checkpoint_size", "Entries signed for", m.checkpoint_size);
        let says = "Entries under the last checkpoint that every witness has cosigned";
        registry.register("shard_witnessed_size", says, m.witnessed_size);
        let says = "Checkpoints that a witness did not cosign";
        registry.register("shard_witness_failures", says, m.witness_failures);
        let says = "Answers of witnesses that have seen another log of this origin";
        registry.register("shard_witness_contradictions", says, m.witness_contradictions);
        registry.register("shard_queue", "Writes that wait for the committer", m.queue);
        registry.register("shard_queue_bytes", "Bytes of those writes", m.queue_bytes);
        registry.register("shard_sessions", "Open sessions", m.sessions);
        let says = "Sessions whose gateway has taken no frame for ten seconds while answers wait";
        registry.register("shard_sessions_stalled", says, m.sessions_stalled);
        registry.register("shard_reads", "Records read", m.reads);
        registry.register("shard_expired", "Records deleted as their time had come", m.expired);
        registry.register("shard_subjects_erased", "Subjects erased", m.erased);
        registry.register("shard_disk_free_bytes", "Bytes free for the store", m.disk_free_bytes);
        let says = "Indexes that do not have all stored records yet";
        registry.register("shard_indexes_building", says, m.indexes_building);
        let says = "Stored records whose rows of indexes were changed after a map";
        registry.register("shard_index_records", says, m.index_records);
        Self::refusals(registry, metrics.clone());
        Self::troubles(registry, metrics.clone());
        metrics
    }

    /// Registers what is refused.
    fn refusals(registry: &mut Registry, m: Self) {
        let says = "Reads that would have crossed a border without a clause";
        registry.register("shard_egress_refused", says, m.egress_refused);
        let says = "Puts that came in through a gateway outside of the territory";
        registry.register("shard_ingress_refused", says, m.ingress_refused);
        let says =
            "Writes that a gateway has sent here and that this shard's own rules do not place here";
        registry.register("shard_placements_refused", says, m.placements_refused);
        registry.register("shard_roles_refused", "Calls of a wrong role", m.roles_refused);
        registry.register("shard_sessions_refused", "Refused sessions", m.sessions_refused);
        let says = "Requests refused since they are no gRPC, by gateways' and auditors' listeners";
        registry.register("shard_requests_not_grpc", says, m.not_grpc);
    }

    /// Registers what an operator must look at as soon as it is not 0.
    fn troubles(registry: &mut Registry, m: Self) {
        let says =
            "Free bytes below which writes are refused: the reserve, and the engine's own needs";
        registry.register("shard_disk_reserve_bytes", says, m.disk_reserve_bytes);
        let says = "Reads and writes that met a part of the store that does not read back";
        registry.register("shard_damaged_reads", says, m.damaged_reads);
        registry.register("shard_failed_reads", "Reads that the system refused", m.failed_reads);
        let says = "Checkpoints that could not be signed or stored";
        registry.register("shard_checkpoint_failures", says, m.checkpoint_failures);
        let says = "Times that the store was opened again in the process";
        registry.register("shard_store_reopened", says, m.store_reopened);
        let says =
            "Seconds by which the clock is ahead of what is believed; above 0, writes are refused";
        registry.register("shard_clock_ahead_seconds", says, m.clock_ahead_seconds);
    }

    /// The period of the log that grows.
    pub(crate) fn log_period(&self, period: u32) {
        self.log_period.set(period.into());
    }

    /// The version of the map in force.
    pub(crate) fn map_epoch(&self, epoch: u64) {
        self.map_epoch.set(i64::try_from(epoch).unwrap_or(i64::MAX));
    }

    /// Counts a refusal at a border.
    pub(crate) fn refused(&self, reason: Reason) {
        let counters = [
            (Reason::EgressNotCovered, &self.egress_refused),
            (Reason::WrongIngress, &self.ingress_refused),
            (Reason::PlacementNotAdmitted, &self.placements_refused),
            (Reason::NotPermitted, &self.roles_refused),
        ];
        for (_, counter) in counters.iter().filter(|(of, _)| *of == reason) {
            counter.inc();
        }
    }
}
