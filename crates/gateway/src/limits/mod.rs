//! What calls may take of the gateway: calls and bytes in flight, with one cap for all tenants and
//! a part of it for each tenant, and calls per second for each tenant.
//!
//! A call over its tenant's part is answered `TENANT_BUSY`, one over the cap for all
//! `GATEWAY_BUSY`. Unless the configuration says otherwise a tenant may take a quarter of the calls,
//! or all of them when the map names no other tenant. So four tenants at their limit can fill a
//! gateway: where more tenants share one, the operator sets lower limits.
//!
//! Calls to a region whose shards do not answer must not use up everything: see [`regions`]. And no
//! more go to a region than it answers in time: see [`load`].
//!
//! A tenant's permit is held until the shard has answered, even if the caller has hung up: a tenant
//! that sends and hangs up would otherwise fill a session with calls that count for no tenant. It is
//! also held until the answer has left the process: see `http::response_body`.

mod load;
mod regions;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use atlas::RegionMap;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use link::ops::metrics::Gauge;
use terms::limits::REQUEST_BYTES_MAX;
use terms::{Detail, Reason, RegionId, Rejection, TenantId};

use crate::limits::load::{Load, LoadPermit};
use crate::limits::regions::{CallsByRegion, RegionPermit};

/// The part of all calls and bytes that one tenant of several gets unless the configuration says
/// otherwise: a quarter.
const TENANT_PART: usize = 4;
/// The part of all calls that regions share evenly once no more are free.
const REGIONS_PART: usize = 4;
/// The same for the calls of one tenant.
const REGIONS_PART_OF_TENANT: usize = 8;
/// Bytes in flight of all calls together: messages on their way in, bodies on their way to shards,
/// records on their way out.
const BYTES_MAX: usize = 128 << 20;
/// Bytes of each call that do not count: small calls go on while a few large ones hold all of the
/// bytes.
pub(crate) const FREE_BYTES: usize = 8 << 10;
/// The shortest wait that a tenant over its limits is asked for. All of its callers are refused at
/// once, and each refusal costs the other tenants a little: callers that come back as soon as there
/// may be room for one of them cost more than their limit allows.
const BUSY_WAIT: Duration = Duration::from_millis(500);

/// The limits of tenants, as configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TenantLimits {
    /// For every tenant that has none of its own.
    pub usual: TenantLimit,
    /// For some tenants.
    pub own: HashMap<TenantId, TenantLimit>,
}

/// The limits of one tenant, as configured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TenantLimit {
    /// Calls and requests of streams in flight. None: a quarter of the gateway's, or all of it
    /// when the map names one tenant only.
    pub calls_in_flight: Option<usize>,
    /// Calls and requests of streams in a second, and at once after a pause. None: no limit.
    pub calls_per_second: Option<NonZeroU32>,
}

/// The caps of one gateway.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caps {
    pub(crate) calls: usize,
    pub(crate) bytes: usize,
    /// Bytes of one tenant of several.
    pub(crate) tenant_bytes: usize,
}

impl Caps {
    /// For so many calls in flight. One request always fits into a tenant's bytes.
    pub(crate) fn of_gateway(calls: usize) -> Self {
        let tenant_bytes = (BYTES_MAX / TENANT_PART).max(REQUEST_BYTES_MAX);
        Self { calls, bytes: BYTES_MAX, tenant_bytes }
    }
}

/// The limits that a gateway keeps. What is taken is given back when its permit is dropped.
pub(crate) struct Limits {
    settings: TenantLimits,
    caps: Caps,
    gateway: Arc<GatewayBounds>,
    /// Replaced when a map names other tenants or regions. Calls in flight keep the bounds that they
    /// were taken from.
    of_map: ArcSwap<MapBounds>,
}

/// What all tenants share, whatever the map.
struct GatewayBounds {
    calls: Bound,
    /// Shows `calls` to operators.
    calls_gauge: Gauge,
    bytes: Bound,
}

/// The bounds that depend on the map.
struct MapBounds {
    tenants: HashMap<TenantId, Arc<TenantBounds>>,
    regions: Arc<CallsByRegion>,
}

struct TenantBounds {
    calls: Bound,
    bytes: Bound,
    rate: Option<DefaultDirectRateLimiter>,
    /// Its calls on their way to shards.
    regions: CallsByRegion,
    /// The calls of all tenants on their way to shards.
    all_regions: Arc<CallsByRegion>,
    /// How many of them each region answers in time.
    loads: Arc<HashMap<RegionId, Arc<Load>>>,
    /// Its number among the tenants of the map.
    number: usize,
    gateway: Arc<GatewayBounds>,
}

/// A number that is taken from and given back to.
struct Bound {
    taken: AtomicUsize,
    max: usize,
}

impl Bound {
    const fn new(max: usize) -> Self {
        Self { taken: AtomicUsize::new(0), max }
    }

    fn take(&self, some: usize) -> bool {
        let more = |taken: usize| taken.checked_add(some).filter(|sum| *sum <= self.max);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn give_back(&self, some: usize) {
        self.taken.fetch_sub(some, Ordering::Relaxed);
    }

    fn free(&self) -> usize {
        self.max.saturating_sub(self.taken.load(Ordering::Relaxed))
    }
}

// === all tenants ===

impl Limits {
    pub(crate) fn new(
        map: &RegionMap,
        settings: TenantLimits,
        caps: Caps,
        calls_gauge: Gauge,
    ) -> Self {
        let (calls, bytes) = (Bound::new(caps.calls), Bound::new(caps.bytes));
        let gateway = Arc::new(GatewayBounds { calls, calls_gauge, bytes });
        let of_map = ArcSwap::from_pointee(MapBounds::new(map, &settings, caps, &gateway));
        Self { settings, caps, gateway, of_map }
    }

    /// Another map is in force: its tenants and regions get bounds.
    pub(crate) fn set_map(&self, map: &RegionMap) {
        if !self.of_map.load().are_of(map) {
            let bounds = MapBounds::new(map, &self.settings, self.caps, &self.gateway);
            self.of_map.store(Arc::new(bounds));
        }
    }

    /// A permit for one call, before anything is known of its caller.
    ///
    /// # Errors
    /// `GATEWAY_BUSY`.
    pub(crate) fn enter(&self) -> Result<GatewayPermit, Rejection> {
        if !self.gateway.calls.take(1) {
            return Err(Reason::GatewayBusy.into());
        }
        self.gateway.calls_gauge.inc();
        Ok(GatewayPermit(Arc::clone(&self.gateway)))
    }

    /// A permit for one call of a tenant.
    ///
    /// # Errors
    /// `TENANT_BUSY` when the tenant has none left; `NOT_PERMITTED` when the map does not name it.
    pub(crate) fn admit(&self, tenant: &TenantId) -> Result<Arc<TenantPermit>, Rejection> {
        let of_map = self.of_map.load();
        TenantPermit::take(of_map.tenants.get(tenant).ok_or(Reason::NotPermitted)?, false)
    }

    /// Bytes in flight.
    #[cfg(test)]
    pub(crate) fn bytes_taken(&self) -> usize {
        self.caps.bytes - self.gateway.bytes.free()
    }
}

impl MapBounds {
    fn new(
        map: &RegionMap,
        settings: &TenantLimits,
        caps: Caps,
        gateway: &Arc<GatewayBounds>,
    ) -> Self {
        let several = map.tenants().count() > 1;
        let usual_calls = if several { caps.calls / TENANT_PART } else { caps.calls };
        let bytes = if several { caps.tenant_bytes } else { caps.bytes };
        let regions = Arc::new(CallsByRegion::new(map, caps.calls / REGIONS_PART));
        let of_region = || Arc::new(Load::new(map.tenants().count(), caps.calls));
        let loads = map.regions().iter().map(|region| (region.name().clone(), of_region()));
        let loads: Arc<HashMap<_, _>> = Arc::new(loads.collect());
        let bounds = |number, limit: &TenantLimit| {
            let calls = limit.calls_in_flight.unwrap_or(usual_calls).max(1);
            Arc::new(TenantBounds {
                calls: Bound::new(calls),
                bytes: Bound::new(bytes),
                rate: limit.calls_per_second.map(|n| RateLimiter::direct(Quota::per_second(n))),
                regions: CallsByRegion::new(map, calls / REGIONS_PART_OF_TENANT),
                all_regions: Arc::clone(&regions),
                loads: Arc::clone(&loads),
                number,
                gateway: Arc::clone(gateway),
            })
        };
        let limit = |name: &TenantId| settings.own.get(name).unwrap_or(&settings.usual);
        let tenants = map.tenants().map(|tenant| tenant.name());
        let tenants = tenants.enumerate();
        let tenants =
            tenants.map(|(number, name)| (name.clone(), bounds(number, limit(name)))).collect();
        Self { tenants, regions }
    }

    /// Whether they are those of the map's tenants and regions.
    fn are_of(&self, map: &RegionMap) -> bool {
        self.regions.is_of(map)
            && map.tenants().count() == self.tenants.len()
            && map.tenants().all(|tenant| self.tenants.contains_key(tenant.name()))
    }
}

/// One of the calls in flight in the gateway.
pub(crate) struct GatewayPermit(Arc<GatewayBounds>);

impl Drop for GatewayPermit {
    fn drop(&mut self) {
        self.0.calls.give_back(1);
        self.0.calls_gauge.dec();
    }
}

// === one tenant ===

/// One of the calls in flight of a tenant, with the bytes that it holds.
pub(crate) struct TenantPermit {
    bounds: Arc<TenantBounds>,
    bytes: AtomicUsize,
    /// Of one request of a stream or batch, whose reader slows down by itself.
    is_item: bool,
}

impl TenantPermit {
    fn take(bounds: &Arc<TenantBounds>, is_item: bool) -> Result<Arc<Self>, Rejection> {
        if !bounds.calls.take(1) {
            return Err(busy(Duration::ZERO).with(Detail::Limit, bounds.calls.max));
        }
        let permit = Self { bounds: Arc::clone(bounds), bytes: AtomicUsize::new(0), is_item };
        // A call that is over another limit does not count against the rate.
        if let Some(rate) = &bounds.rate
            && let Err(not_until) = rate.check()
        {
            return Err(busy(not_until.wait_time_from(DefaultClock::default().now())));
        }
        Ok(Arc::new(permit))
    }

    /// Another permit of the same tenant, for one request of a stream.
    ///
    /// # Errors
    /// `TENANT_BUSY`.
    pub(crate) fn another(&self) -> Result<Arc<Self>, Rejection> {
        Self::take(&self.bounds, true)
    }

    /// Holds so many bytes from now on, instead of those that it held before. Only one task may call
    /// this at a time.
    ///
    /// # Errors
    /// `TENANT_BUSY` when the tenant's other calls leave no room, `GATEWAY_BUSY` when those of all
    /// tenants leave none. Then nothing has changed.
    pub(crate) fn hold(&self, bytes: usize) -> Result<(), Rejection> {
        let TenantBounds { bytes: own, gateway, .. } = &*self.bounds;
        let (want, have) = (bytes.saturating_sub(FREE_BYTES), self.bytes.load(Ordering::Relaxed));
        if let Some(more) = want.checked_sub(have) {
            if !own.take(more) {
                return Err(busy(Duration::ZERO));
            }
            if !gateway.bytes.take(more) {
                own.give_back(more);
                return Err(Reason::GatewayBusy.into());
            }
        } else {
            own.give_back(have - want);
            gateway.bytes.give_back(have - want);
        }
        self.bytes.store(want, Ordering::Relaxed);
        Ok(())
    }

    /// Whether the tenant may hold any more bytes. Asked before a shard is asked for a record.
    ///
    /// # Errors
    /// `TENANT_BUSY`.
    pub(crate) fn has_room(&self) -> Result<(), Rejection> {
        if self.bounds.bytes.free() > 0 { Ok(()) } else { Err(busy(Duration::ZERO)) }
    }

    /// Whether one more call would take what regions must leave to each other. Who has several to
    /// make waits for one of them to end.
    pub(crate) fn is_scarce(&self) -> bool {
        let TenantBounds { calls, regions, all_regions, gateway, .. } = &*self.bounds;
        !regions.has_plenty(calls.free().saturating_sub(1))
            || !all_regions.has_plenty(gateway.calls.free())
    }

    /// A permit for a call to that region, to be held until its shard has answered.
    ///
    /// # Errors
    /// `SHARD_BUSY` when so many calls are on their way to that region that too few would be left
    /// for the others, or that it would not answer this one in time.
    pub(crate) fn to_region(self: &Arc<Self>, region: &RegionId) -> Result<ShardPermit, Rejection> {
        let TenantBounds { calls, regions, all_regions, gateway, loads, number, .. } =
            &*self.bounds;
        let busy = || {
            let wait = BUSY_WAIT.as_millis();
            let rejection = Rejection::new(Reason::ShardBusy).with(Detail::RetryAfterMs, wait);
            rejection.with(Detail::Region, region.as_str())
        };
        let of_all = all_regions.take(region, gateway.calls.free());
        let regions = of_all.zip(regions.take(region, calls.free())).ok_or_else(busy)?;
        // A region of a newer map is not bounded until these are the bounds of that map.
        let load = loads.get(region).filter(|_| !self.is_item);
        let load = load.map(|load| load.take(*number).ok_or_else(busy)).transpose()?;
        Ok(ShardPermit { _tenant: Arc::clone(self), _regions: regions, _load: load })
    }
}

impl Drop for TenantPermit {
    fn drop(&mut self) {
        let bytes = *self.bytes.get_mut();
        self.bounds.bytes.give_back(bytes);
        self.bounds.gateway.bytes.give_back(bytes);
        self.bounds.calls.give_back(1);
    }
}

/// A call on its way to a shard.
pub(crate) struct ShardPermit {
    _tenant: Arc<TenantPermit>,
    /// Among the calls of all tenants, and among its tenant's.
    _regions: (RegionPermit, RegionPermit),
    _load: Option<LoadPermit>,
}

fn busy(wait: Duration) -> Rejection {
    let wait = wait.max(BUSY_WAIT).as_millis();
    Rejection::new(Reason::TenantBusy).with(Detail::RetryAfterMs, wait)
}

#[cfg(test)]
mod tests;
