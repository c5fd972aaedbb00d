//! What each tenant may take of the gateway: calls in flight, bytes in flight, calls a second,
//! messages on their way in, answers on their way out. So one tenant at its limit leaves the
//! others theirs.
//!
//! **A region that stands still.** Its calls would take every seat of the gateway and of their
//! tenant. So when few of these are left, a region gets more only up to its even part of what is
//! left: `regions`.
//!
//! **Several at their limit.** Four tenants with a quarter each would take everything. So an
//! eighth of the seats, and of the room for messages and answers, is kept back: of that a tenant
//! gets only what it needs to hold its even part of this eighth. What it holds beyond is taken
//! from the rest. A tenant that asks for little is served, however many others ask for much.
//!
//! A share is held until the shard has answered, even when the caller has gone: a tenant that
//! sends and hangs up would otherwise fill a session with calls that count for nobody. And it is
//! held until the answer has gone out: see `delivery`.

pub(crate) mod permits;
pub(crate) mod regions;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use atlas::RegionMap;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use terms::limits::SESSION_BYTES_IN_FLIGHT_MAX;
use terms::{Detail, Reason, Rejection, TenantId};

pub(crate) use crate::limits::permits::{Coming, Kept, Load, Slot};
use crate::limits::regions::ByRegion;

/// The part of all seats, and of everything else, that one tenant of several gets unless the
/// configuration says otherwise.
const PART: usize = 4;
/// The part of everything that is kept back for tenants that hold little.
const RESERVE: usize = 8;
/// The part of all seats that regions share evenly when no more are free. It is more than what is
/// kept back for tenants, so that a region that stands still takes nothing of that.
const SEATS_FOR_REGIONS: usize = 4;
/// Bytes of messages that are on their way in, all calls together.
pub(crate) const INTAKE_BYTES_MAX: usize = 128 << 20;
/// Bytes of records that are on their way out, all calls together.
const OUTGOING_BYTES_MAX: usize = 128 << 20;
/// Calls of health and reflection under way by callers who are known, all together.
const OTHERS_MAX: usize = 1_024;
/// Looks at health under way, all together. The first of each connection is not among them.
const CHECKS_MAX: usize = 1_024;
/// Bytes of each call, in and out, that do not count: small calls go on while a few hold all of
/// the room.
pub(crate) const FREE_BYTES: usize = 8 << 10;

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

/// The shortest wait that a tenant over one of its bounds is asked for. All of its callers are told
/// at once, and each refusal costs the others a little: those who come back as soon as there may
/// be room for one of them cost more than what they are held to.
const BUSY_WAIT: Duration = Duration::from_millis(500);

/// How much there is of what all tenants share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) intake: usize,
    pub(crate) outgoing: usize,
    pub(crate) others: usize,
    pub(crate) checks: usize,
}

impl Sizes {
    pub(crate) const OF_A_GATEWAY: Self = Self {
        intake: INTAKE_BYTES_MAX,
        outgoing: OUTGOING_BYTES_MAX,
        others: OTHERS_MAX,
        checks: CHECKS_MAX,
    };
}

/// The accounts of all tenants of the map.
pub(crate) struct Shares {
    accounts: HashMap<TenantId, Arc<Account>>,
    common: Arc<Common>,
}

/// What all tenants share.
struct Common {
    intake: Pool,
    outgoing: Pool,
    others: Pool,
    checks: Room,
    /// Seats that are kept back.
    seats_reserve: usize,
    /// Calls of all tenants on their way to shards.
    to: ByRegion,
}

struct Account {
    calls: Room,
    /// Calls that it may always have.
    calls_floor: usize,
    bytes: Room,
    rate: Option<DefaultDirectRateLimiter>,
    intake: Part,
    outgoing: Part,
    others: Part,
    /// Its calls on their way to shards.
    to: ByRegion,
    common: Arc<Common>,
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

    /// Takes some, and gives the sum; `alone`: however much it is, if so much and no more is taken.
    fn take(&self, some: usize, alone: Option<usize>) -> Option<usize> {
        let fits = |taken, sum| sum <= self.max || alone == Some(taken);
        self.take_if(some, fits)
    }

    fn take_if(&self, some: usize, fits: impl Fn(usize, usize) -> bool) -> Option<usize> {
        let more = |taken: usize| {
            let sum = taken.saturating_add(some);
            fits(taken, sum).then_some(sum)
        };
        let before = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(before.saturating_add(some))
    }

    fn give_back(&self, some: usize) {
        self.taken.fetch_sub(some, Ordering::Relaxed);
    }

    fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

/// Of something, what there is for all tenants, and how much of that is kept back.
struct Pool {
    room: Room,
    reserve: usize,
}

/// Of the same, what one tenant may take, and what it may always take.
struct Part {
    room: Room,
    floor: usize,
}

/// How many share, and so what each gets.
#[derive(Clone, Copy)]
struct Tenants(usize);

impl Tenants {
    const fn part(self, all: usize) -> usize {
        if self.0 > 1 { all / PART } else { all }
    }

    const fn reserve(self, all: usize) -> usize {
        if self.0 > 1 { all / RESERVE } else { 0 }
    }

    /// What each may always take: all of these together are the reserve.
    fn floor(self, all: usize) -> usize {
        self.reserve(all).checked_div(self.0).unwrap_or(0)
    }

    const fn pool(self, all: usize) -> Pool {
        Pool { room: Room::new(all), reserve: self.reserve(all) }
    }

    fn of(self, pool: &Pool) -> Part {
        let all = pool.room.max;
        Part { room: Room::new(self.part(all).max(1)), floor: self.floor(all) }
    }
}

impl Part {
    /// Takes some from the tenant's part, and from what there is for all.
    ///
    /// # Errors
    /// `TENANT_BUSY` or `GATEWAY_BUSY`; then nothing is taken.
    fn take(&self, pool: &Pool, some: usize, alone: Option<usize>) -> Result<(), Rejection> {
        let Some(sum) = self.room.take(some, alone) else { return Err(busy()) };
        let kept_back = if sum <= self.floor { 0 } else { pool.reserve };
        let max = pool.room.max.saturating_sub(kept_back);
        if pool.room.take_if(some, |_, sum| sum <= max).is_none() {
            self.room.give_back(some);
            return Err(Reason::GatewayBusy.into());
        }
        Ok(())
    }

    fn give_back(&self, pool: &Pool, some: usize) {
        self.room.give_back(some);
        pool.room.give_back(some);
    }
}

/// One call's share. Given back when dropped.
pub(crate) struct Share {
    account: Arc<Account>,
}

impl Shares {
    /// An account for every tenant of the map; `in_flight_max` is what the gateway takes of all.
    pub(crate) fn new(map: &RegionMap, limits: &TenantLimits, in_flight_max: usize) -> Self {
        Self::sized(map, limits, in_flight_max, Sizes::OF_A_GATEWAY)
    }

    /// The same, of other sizes.
    pub(crate) fn sized(
        map: &RegionMap,
        limits: &TenantLimits,
        in_flight_max: usize,
        sizes: Sizes,
    ) -> Self {
        let tenants = Tenants(map.tenants().count());
        let common = Arc::new(Common {
            intake: tenants.pool(sizes.intake),
            outgoing: tenants.pool(sizes.outgoing),
            others: tenants.pool(sizes.others),
            checks: Room::new(sizes.checks),
            seats_reserve: tenants.reserve(in_flight_max),
            to: ByRegion::new(map, in_flight_max / SEATS_FOR_REGIONS),
        });
        let calls = |limit: &TenantLimit| {
            limit.calls_in_flight.unwrap_or_else(|| tenants.part(in_flight_max)).max(1)
        };
        let account = |limit: &TenantLimit| Account {
            calls: Room::new(calls(limit)),
            to: ByRegion::new(map, calls(limit) / RESERVE),
            calls_floor: tenants.floor(in_flight_max),
            bytes: Room::new(tenants.part(SESSION_BYTES_IN_FLIGHT_MAX)),
            rate: limit.calls_per_second.map(|n| RateLimiter::direct(Quota::per_second(n))),
            intake: tenants.of(&common.intake),
            outgoing: tenants.of(&common.outgoing),
            others: tenants.of(&common.others),
            common: Arc::clone(&common),
        };
        let of = |name: &TenantId| limits.own.get(name).unwrap_or(&limits.usual);
        let accounts = map
            .tenants()
            .map(|tenant| (tenant.name().clone(), Arc::new(account(of(tenant.name())))))
            .collect();
        Self { accounts, common }
    }

    /// Whether they are those of the map's tenants and regions.
    pub(crate) fn are_of(&self, map: &RegionMap) -> bool {
        self.common.to.is_of(map)
            && map.tenants().count() == self.accounts.len()
            && map.tenants().all(|tenant| self.accounts.contains_key(tenant.name()))
    }

    /// A share for one call of a tenant, when so many seats are free.
    ///
    /// # Errors
    /// `TENANT_BUSY` when the tenant has none left, `GATEWAY_BUSY` when only seats are free that
    /// are kept back, and the tenant has its part of these; `NOT_PERMITTED` when the map does not
    /// name it.
    pub(crate) fn admit(
        &self,
        tenant: &TenantId,
        seats_free: usize,
    ) -> Result<Arc<Share>, Rejection> {
        let share = self.account(tenant)?.enter()?;
        let Account { calls, calls_floor, common, .. } = &*share.account;
        if seats_free < common.seats_reserve && calls.taken() > *calls_floor {
            return Err(Reason::GatewayBusy.into());
        }
        share.account.pace()?;
        Ok(share)
    }

    /// A share for one call of a tenant.
    ///
    /// # Errors
    /// `TENANT_BUSY` when the tenant has none left; `NOT_PERMITTED` when the map does not name it.
    #[cfg(test)]
    pub(crate) fn take(&self, tenant: &TenantId) -> Result<Arc<Share>, Rejection> {
        self.admit(tenant, usize::MAX)
    }

    /// Bytes of messages that are on their way in.
    #[cfg(test)]
    pub(crate) fn intake_taken(&self) -> usize {
        self.common.intake.room.taken()
    }

    fn account(&self, tenant: &TenantId) -> Result<&Arc<Account>, Rejection> {
        self.accounts.get(tenant).ok_or_else(|| Reason::NotPermitted.into())
    }
}

impl Account {
    fn enter(self: &Arc<Self>) -> Result<Arc<Share>, Rejection> {
        if self.calls.take(1, None).is_none() {
            return Err(busy().with(Detail::Limit, self.calls.max));
        }
        Ok(Arc::new(Share { account: Arc::clone(self) }))
    }

    /// Asked after there is a seat: a call that finds none does not count against the rate.
    fn pace(&self) -> Result<(), Rejection> {
        if let Some(rate) = &self.rate
            && let Err(not_until) = rate.check()
        {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            return Err(busy_for(wait));
        }
        Ok(())
    }
}

fn busy() -> Rejection {
    busy_for(BUSY_WAIT)
}

fn busy_for(wait: Duration) -> Rejection {
    let wait = wait.max(BUSY_WAIT).as_millis();
    Rejection::new(Reason::TenantBusy).with(Detail::RetryAfterMs, wait)
}

impl Share {
    /// Another share of the same tenant: for one request of a stream.
    ///
    /// # Errors
    /// `TENANT_BUSY`.
    pub(crate) fn another(&self) -> Result<Arc<Self>, Rejection> {
        let share = self.account.enter()?;
        self.account.pace()?;
        Ok(share)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.account.calls.give_back(1);
    }
}

#[cfg(test)]
mod tests;
