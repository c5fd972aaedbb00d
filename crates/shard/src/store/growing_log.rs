//! The log of this shard that grows, and how entries of earlier ones are told from its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::hmac;
use terms::{RegionId, ShardId};

use crate::store::aead::binding;
use crate::store::keyring::Keyring;
use crate::store::keys::short;
use crate::store::types::{CallerTag, LogId, Minute, Period, TAG_BYTES, TenantTag};

/// What the origins of one shard's logs are made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origins<'a> {
    pub(crate) deployment: &'a str,
    pub(crate) region: &'a RegionId,
    pub(crate) shard: &'a ShardId,
}

impl Origins<'_> {
    /// `<deployment>/<region>/<shard>/<period>`.
    pub(crate) fn of(self, period: Period) -> String {
        let Self { deployment, region, shard } = self;
        format!("{deployment}/{region}/{shard}/{period}")
    }
}

/// Which log of a shard.
#[derive(Debug, Clone)]
pub(crate) struct LogName {
    pub(crate) period: Period,
    pub(crate) origin: Arc<str>,
    /// Its public key.
    pub(crate) vkey: Arc<str>,
}

/// One period's log, while it grows.
pub(crate) struct GrowingLog {
    pub(crate) name: LogName,
    /// By which records name it.
    pub(crate) id: LogId,
    /// When it began.
    pub(crate) began: Minute,
    /// Entries that are durable.
    size: AtomicU64,
    tags: hmac::Key,
    /// All logs of the shard until now, this one among them.
    periods: HashMap<LogId, Period>,
}

impl GrowingLog {
    pub(crate) fn new(
        origins: Origins<'_>,
        period: Period,
        vkey: &str,
        began: Minute,
        keyring: &dyn Keyring,
    ) -> Self {
        let origin = origins.of(period);
        let all = (Period::FIRST.0..=period.0).map(Period);
        Self {
            id: LogId::of(&origin),
            began,
            size: AtomicU64::new(0),
            // Bound to the origin, so that two logs cannot be joined by their tags.
            tags: keyring.derive(&format!("log tags of {origin}")),
            periods: all.map(|period| (LogId::of(&origins.of(period)), period)).collect(),
            name: LogName { period, origin: origin.into(), vkey: vkey.into() },
        }
    }

    /// Entries that are durable.
    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// So many entries are durable now.
    pub(crate) fn set_size(&self, entries: u64) {
        self.size.store(entries, Ordering::Release);
    }

    /// The period of a log of this shard.
    pub(crate) fn period_of(&self, log: LogId) -> Option<Period> {
        self.periods.get(&log).copied()
    }

    pub(crate) fn tenant_tag(&self, name: &str) -> TenantTag {
        TenantTag(self.tag("tenant", name))
    }

    pub(crate) fn caller_tag(&self, name: &str) -> CallerTag {
        CallerTag(self.tag("caller", name))
    }

    fn tag(&self, what: &str, name: &str) -> [u8; TAG_BYTES] {
        short(hmac::sign(&self.tags, &binding(what, &[name], None)))
    }
}
