//! What each tenant may take of the gateway: calls in flight, bytes in flight, calls a second. So
//! one tenant at its limit leaves the others theirs.
//!
//! A share is held until the shard has answered, even when the caller has gone: a tenant that
//! sends and hangs up would otherwise fill a session with calls that count for nobody.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use atlas::RegionMap;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use terms::limits::SESSION_BYTES_IN_FLIGHT_MAX;
use terms::{Detail, Fault, Reason, TenantId};

/// The part of all seats, and of a session's bytes, that one tenant of several gets unless the
/// configuration says otherwise.
const PART: usize = 4;

/// The limits of tenants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TenantLimits {
    /// For every tenant that has none of its own.
    pub usual: TenantLimit,
    /// For some tenants.
    pub own: HashMap<TenantId, TenantLimit>,
}

/// The limits of one tenant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TenantLimit {
    /// Calls and requests of streams in flight. None: a quarter of the gateway's, or all of it
    /// when the map names one tenant only.
    pub calls_in_flight: Option<usize>,
    /// Calls and requests of streams in a second, and at once after a pause. None: no limit.
    pub calls_per_second: Option<NonZeroU32>,
}

/// The accounts of all tenants of the map.
pub(crate) struct Shares(HashMap<TenantId, Arc<Account>>);

struct Account {
    calls: Room,
    bytes: Room,
    rate: Option<DefaultDirectRateLimiter>,
}

/// So much, and no more.
struct Room {
    taken: AtomicUsize,
    max: usize,
}

impl Room {
    const fn new(max: usize) -> Self {
        Self { taken: AtomicUsize::new(0), max }
    }

    /// Takes some; `alone`: however much it is, if nothing else is taken.
    fn take(&self, some: usize, alone: bool) -> bool {
        let more = |taken: usize| {
            let sum = taken.saturating_add(some);
            (sum <= self.max || (alone && taken == 0)).then_some(sum)
        };
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn give_back(&self, some: usize) {
        self.taken.fetch_sub(some, Ordering::Relaxed);
    }
}

/// One call's share. Given back when dropped.
pub(crate) struct Share {
    account: Arc<Account>,
}

/// The share of a call that is on its way to a shard, with the bytes of its body. Given back when
/// dropped.
pub(crate) struct Load {
    share: Arc<Share>,
    bytes: usize,
}

impl Shares {
    /// An account for every tenant of the map; `in_flight_max` is what the gateway takes of all.
    pub(crate) fn new(map: &RegionMap, limits: &TenantLimits, in_flight_max: usize) -> Self {
        let part = if map.tenants().count() > 1 { PART } else { 1 };
        let account = |limit: &TenantLimit| Account {
            calls: Room::new(limit.calls_in_flight.unwrap_or(in_flight_max / part).max(1)),
            bytes: Room::new(SESSION_BYTES_IN_FLIGHT_MAX / part),
            rate: limit.calls_per_second.map(|n| RateLimiter::direct(Quota::per_second(n))),
        };
        let of = |name: &TenantId| limits.own.get(name).unwrap_or(&limits.usual);
        let accounts = map
            .tenants()
            .map(|tenant| (tenant.name().clone(), Arc::new(account(of(tenant.name())))));
        Self(accounts.collect())
    }

    /// A share for one call of a tenant.
    ///
    /// # Errors
    /// `TENANT_BUSY` when the tenant has none left; `NOT_PERMITTED` when the map does not name it.
    pub(crate) fn take(&self, tenant: &TenantId) -> Result<Arc<Share>, Fault> {
        let account = self.0.get(tenant).ok_or(Reason::NotPermitted)?;
        Account::take(account)
    }
}

impl Account {
    fn take(self: &Arc<Self>) -> Result<Arc<Share>, Fault> {
        // The seat first: a call that finds none does not count against the rate.
        if !self.calls.take(1, false) {
            return Err(busy().with(Detail::Limit, self.calls.max));
        }
        let share = Arc::new(Share { account: Arc::clone(self) });
        if let Some(rate) = &self.rate
            && let Err(not_until) = rate.check()
        {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            return Err(busy().with(Detail::RetryAfterMs, wait.as_millis().saturating_add(1)));
        }
        Ok(share)
    }
}

fn busy() -> Fault {
    Fault::new(Reason::TenantBusy)
}

impl Share {
    /// Another share of the same tenant: for one request of a stream.
    ///
    /// # Errors
    /// `TENANT_BUSY`.
    pub(crate) fn another(&self) -> Result<Arc<Self>, Fault> {
        self.account.take()
    }

    /// Adds the bytes of a body, for as long as they are on their way.
    ///
    /// # Errors
    /// `TENANT_BUSY` when the tenant's other bodies leave no room. One may always go.
    pub(crate) fn carry(self: &Arc<Self>, bytes: usize) -> Result<Load, Fault> {
        if !self.account.bytes.take(bytes, true) {
            return Err(busy());
        }
        Ok(Load { share: Arc::clone(self), bytes })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.account.calls.give_back(1);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.share.account.bytes.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "[[tenants]]\nname = \"other\"\n\n[[tenants]]\nname = \"sample\"\n";

    fn map() -> RegionMap {
        let text = crate::tests::rig::MAP.replace("[[tenants]]\nname = \"sample\"\n", TWO);
        RegionMap::parse(&text).unwrap()
    }

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    fn refused<T>(taken: Result<T, Fault>) -> Fault {
        let Err(fault) = taken else { panic!("it was given") };
        assert_eq!(fault.reason, Reason::TenantBusy);
        fault
    }

    #[test]
    fn one_tenant_of_several_gets_a_quarter_and_leaves_the_rest() {
        let shares = Shares::new(&map(), &TenantLimits::default(), 8);
        let held: Vec<_> = (0..2).map(|_| shares.take(&tenant("sample")).unwrap()).collect();
        let fault = refused(shares.take(&tenant("sample")));
        assert_eq!(fault.detail(Detail::Limit), Some("2"));
        assert!(shares.take(&tenant("other")).is_ok());
        drop(held);
        assert!(shares.take(&tenant("sample")).is_ok());
        let stranger = shares.take(&tenant("stranger")).err().map(|fault| fault.reason);
        assert_eq!(stranger, Some(Reason::NotPermitted));
    }

    #[test]
    fn the_only_tenant_gets_all() {
        let shares = Shares::new(&crate::tests::rig::map(), &TenantLimits::default(), 3);
        let held: Vec<_> = (0..3).map(|_| shares.take(&tenant("sample")).unwrap()).collect();
        refused(held[0].another());
    }

    #[test]
    fn a_load_keeps_the_share_and_its_bytes_until_it_is_done() {
        let own = TenantLimit { calls_in_flight: Some(2), calls_per_second: None };
        let limits = TenantLimits { usual: own, own: HashMap::new() };
        let shares = Shares::new(&map(), &limits, 8);
        let share = shares.take(&tenant("sample")).unwrap();
        // However large, one may go; beside it nothing that passes the tenant's part.
        let load = share.carry(SESSION_BYTES_IN_FLIGHT_MAX).unwrap();
        let second = share.another().unwrap();
        refused(second.carry(1));
        drop((share, second));
        let last = shares.take(&tenant("sample")).unwrap();
        refused(shares.take(&tenant("sample")));
        drop(load);
        assert!(shares.take(&tenant("sample")).is_ok());
        assert!(last.carry(1).is_ok());
    }

    #[test]
    fn a_rate_is_a_tenants_own_and_says_when_to_come_back() {
        let slow = TenantLimit { calls_in_flight: None, calls_per_second: NonZeroU32::new(2) };
        let own = HashMap::from([(tenant("sample"), slow)]);
        let limits = TenantLimits { usual: TenantLimit::default(), own };
        let shares = Shares::new(&map(), &limits, 100);
        assert!(shares.take(&tenant("sample")).is_ok());
        assert!(shares.take(&tenant("sample")).is_ok());
        let fault = refused(shares.take(&tenant("sample")));
        let wait: u64 = fault.detail(Detail::RetryAfterMs).unwrap().parse().unwrap();
        assert!((1..=501).contains(&wait), "{wait}");
        for _ in 0..20 {
            assert!(shares.take(&tenant("other")).is_ok());
        }
    }
}
