//! What the parts of a running shard share.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use atlas::{Country, RegionMap};
use engine::Engine;
use quick_cache::sync::Cache;
use terms::{Entropy, Reason, RegionId, Rejection, ShardId, Slot, UnixMillis};
use tokio::sync::{Notify, watch};

use crate::Error;
use crate::clock::GuardedClock;
use crate::metrics::Metrics;
use crate::store::aead::BodyCipher;
use crate::store::claims::Claims;
use crate::store::feed::FeedKey;
use crate::store::foreign_log;
use crate::store::growing_log::{GrowingLog, Origins};
use crate::store::keyring::Keyring;
use crate::store::keys::{KeyLayout, Owner, SubjectKeys};
use crate::store::move_progress::MoveProgress;
use crate::store::record::{Address, Head, Stored};
use crate::store::region_maps::InForce;
use crate::store::slots::OwnSlots;
use crate::store::subject::{Subject, SubjectRow};
use crate::store::transit::TransitKeys;
use crate::store::types::{LogId, Period, SubjectTag};
use crate::store::upload_check::UploadChecks;
use link::ops::health::Health;
use link::ops::log_throttle::LogThrottle;

/// The fact of a disk that is down to its reserve.
const DISK: &str = "disk";

/// Subjects kept open in memory, with their keys.
pub(crate) const SUBJECTS_CACHED_MAX: usize = 65_536;

/// One shard: who it is, what it stands on, and what it knows.
pub(crate) struct Node {
    pub(crate) region: RegionId,
    pub(crate) shard: ShardId,
    pub(crate) territory: Country,
    pub(crate) deployment: String,
    /// The map in force. Only the committer changes it, after the commit that takes one.
    pub(crate) in_force: InForce,
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) keyring: Box<dyn Keyring>,
    pub(crate) namer: KeyLayout,
    /// What callers seal bodies to.
    pub(crate) transit: TransitKeys,
    pub(crate) clock: GuardedClock,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) cipher: &'static dyn BodyCipher,
    /// The log that grows. Only the committer replaces it, after the commit that begins a period.
    pub(crate) growing: ArcSwap<GrowingLog>,
    /// The slots of the store. Only the committer changes them, after the commit that does.
    pub(crate) slots: watch::Sender<OwnSlots>,
    /// Only the committer writes to it, and only what it has committed or read itself: so a
    /// reader never puts back an older state.
    pub(crate) subjects: Cache<SubjectTag, Arc<Subject>>,
    pub(crate) metrics: Metrics,
    /// Where a gateway inside the territory takes calls, by the region's annex.
    pub(crate) ingress: Option<String>,
    pub(crate) refusals: LogThrottle,
    /// Lines about what the shard itself cannot do.
    pub(crate) troubles: LogThrottle,
    pub(crate) health: Health,
    /// The checks of uploads that have begun.
    pub(crate) upload_checks: UploadChecks,
    /// Subjects that are about to be created in other regions.
    pub(crate) claims: Claims,
    /// How far moves to other regions are.
    pub(crate) moves: MoveProgress,
    /// Told when a copy in another region is due.
    pub(crate) copies_due: Notify,
    /// Lines about copies that are not made for now.
    pub(crate) copy_lines: LogThrottle,
    /// The time of the last commit, in milliseconds: time here never falls below it.
    pub(crate) committed: AtomicU64,
}

impl Node {
    /// Takes the subjects that a group has changed out of the cache, before its commit can be seen: a record
    /// that it adds may need a key that the subject from before does not have.
    pub(crate) fn forget_changed(&self, subjects: &HashMap<SubjectTag, Arc<Subject>>) {
        for (tag, subject) in subjects {
            let cached = self.subjects.get(tag);
            if cached.is_some_and(|cached| !Arc::ptr_eq(&cached, subject)) {
                self.subjects.remove(tag);
            }
        }
    }

    /// Whether this store owns `slot`, and serves it.
    pub(crate) fn owns(&self, slot: Slot) -> bool {
        self.slots.borrow().served.contains(slot)
    }

    /// Shows operators which slots the store has.
    pub(crate) fn show_slots(&self) {
        let slots = self.slots.borrow();
        self.health.set_fact("slots", slots.shown());
        self.metrics.slots.set(slots.served.len(), slots.unconfirmed.len());
    }

    /// Shows operators the space of the disk, and gives whether it is below what is kept.
    pub(crate) fn disk_is_low(&self, free: u64, needed: u64) -> bool {
        let number = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.metrics.disk_free_bytes.set(number(free));
        self.metrics.disk_reserve_bytes.set(number(needed));
        if free >= needed {
            self.health.unset_fact(DISK);
            return false;
        }
        let (free, needed) = (free >> 20, needed >> 20);
        let fact = format!("{free} MB are free and {needed} MB are kept: writes are refused");
        self.health.set_fact(DISK, fact);
        true
    }

    /// The map in force.
    pub(crate) fn map(&self) -> Arc<RegionMap> {
        Arc::clone(&self.in_force.borrow())
    }

    /// What time it is for whatever depends on dates, reads included: a clock that is set back
    /// brings no clause back that had expired when something was last committed.
    pub(crate) fn now(&self) -> UnixMillis {
        self.clock.now().max(UnixMillis(self.committed.load(Ordering::Relaxed)))
    }

    /// The log that grows.
    pub(crate) fn growing(&self) -> Arc<GrowingLog> {
        self.growing.load_full()
    }

    /// The origins of this shard's logs.
    pub(crate) fn origins(&self) -> Origins<'_> {
        Origins { deployment: &self.deployment, region: &self.region, shard: &self.shard }
    }

    /// The period of a log of this shard, by what records name it.
    pub(crate) fn period_of(&self, log: LogId) -> Result<Period, Error> {
        self.growing.load().period_of(log).ok_or(Error::Damaged("records"))
    }

    /// The origin of a log that records name: of this shard, or of one from which slots have come.
    pub(crate) fn origin_of(&self, log: LogId) -> Result<String, Error> {
        match self.growing.load().period_of(log) {
            Some(period) => Ok(self.origins().of(period)),
            None => foreign_log::origin(&*self.engine, log)?.ok_or(Error::Damaged("records")),
        }
    }

    /// The origins of all logs that rows here may name.
    pub(crate) fn all_origins(&self) -> Result<Vec<String>, Error> {
        let own = (Period::FIRST.0..=self.growing.load().name.period.0).map(Period);
        let mut all = foreign_log::all(&*self.engine)?;
        all.extend(own.map(|period| self.origins().of(period)));
        Ok(all)
    }

    /// Refuses what was read of a slot that another shard may have by now.
    pub(crate) fn still_owns(&self, slot: Slot) -> Result<(), Rejection> {
        if self.owns(slot) { Ok(()) } else { Err(Rejection::new(Reason::SlotNotOwned)) }
    }

    /// What the rows of subjects are sealed and named with.
    pub(crate) fn subject_keys(&self) -> SubjectKeys<'_> {
        SubjectKeys { region: &self.region, layout: &self.namer, keyring: &*self.keyring }
    }

    /// What rows of the change feed are sealed with.
    pub(crate) fn feed_key(&self) -> FeedKey {
        FeedKey::new(&*self.keyring, &self.region, &self.shard)
    }

    /// Opens a subject's stored row.
    pub(crate) fn open_subject(&self, owner: &Owner, row: &[u8]) -> Result<SubjectRow, Error> {
        Subject::open(row, owner, self.subject_keys())
    }

    /// Opens the head of a stored record.
    pub(crate) fn open_head(
        &self,
        address: &Address,
        subject: &Subject,
        row: &[u8],
    ) -> Result<Head, Error> {
        Stored::read(row)
            .and_then(|stored| stored.head(address, &self.region, subject.key_of(&address.row)?))
            .ok()
            .filter(|head| head.incarnation == subject.incarnation)
            .ok_or(Error::Damaged("records"))
    }

    /// Logs that a call met a mistake of ours, or a row that is not what was stored.
    pub(crate) fn report(&self, fault: &Rejection) {
        // A placement that is not admitted, with a problem: the second check, not a stale gateway.
        let own = matches!(fault.reason, Reason::Internal | Reason::StoredDataDamaged)
            || (fault.reason == Reason::PlacementNotAdmitted && fault.problem.is_some());
        if own && let Some(unsaid) = self.troubles.allow(self.clock.now()) {
            let (reason, problem) = (fault.reason.as_str(), fault.problem.as_deref());
            tracing::error!(reason, problem, unsaid, "a call failed");
        }
    }

    /// Fills `N` random bytes.
    pub(crate) fn random<const N: usize>(&self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes).map_err(|_| Error::NoEntropy)?;
        Ok(bytes)
    }
}
