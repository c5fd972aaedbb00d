//! How many calls may be under way to one region, by how long they wait: what a shard cannot do in
//! time is refused at once, and not queued.
//!
//! A queue that never empties only adds to every call's time. So in each interval of
//! [`INTERVAL`] the least wait of all answered calls is taken, as CoDel does (RFC 8289): a short burst
//! leaves at least one call that hardly waited, a standing queue none. If the least is more than
//! [`STANDING_MAX`] above what a call takes without a queue, in [`PATIENCE`] intervals one after
//! another, fewer calls may be under way from then on; if it is not, and calls were refused, more
//! may. So one slow sync of a disk refuses nothing.
//!
//! Requests of streams and batches are not counted: a stream is not read while enough of it is in
//! flight, which slows its caller down without a refusal.
//!
//! While a region is full, a tenant with fewer calls under way than its even part still gets one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Time over which the least wait is taken.
const INTERVAL: Duration = Duration::from_millis(100);
/// What every call may wait beyond what it takes without a queue.
const STANDING_MAX: Duration = Duration::from_millis(100);
/// Intervals one after another with such a wait before fewer calls may be under way.
const PATIENCE: u32 = 5;
/// Calls under way below which a region's limit never falls.
pub(super) const LIMIT_MIN: usize = 64;
/// The longest that a call is believed to take without a queue.
const BASE_MAX: Duration = Duration::from_secs(1);

/// The calls under way to one region, and how many may be.
pub(super) struct Load(Mutex<State>);

struct State {
    limit: usize,
    limit_max: usize,
    under_way: usize,
    /// Of them, by the number of their tenant.
    of_tenants: Vec<usize>,
    /// Tenants that have any.
    active: usize,
    /// What a call takes without a queue, as far as is known.
    base: Option<Duration>,
    interval_ends: Instant,
    least: Option<Duration>,
    /// Whether a call was refused in this interval.
    full: bool,
    /// Intervals one after another until now in which every call waited too long.
    standing: u32,
}

/// A call under way. Dropped, it has been answered.
pub(super) struct LoadPermit {
    load: Arc<Load>,
    tenant: usize,
    since: Instant,
}

impl Load {
    /// For so many tenants, and so many calls at most.
    pub(super) fn new(tenants: usize, limit_max: usize) -> Self {
        let limit_max = limit_max.max(1);
        Self(Mutex::new(State {
            limit: limit_max,
            limit_max,
            under_way: 0,
            of_tenants: vec![0; tenants],
            active: 0,
            base: None,
            interval_ends: Instant::now() + INTERVAL,
            least: None,
            full: false,
            standing: 0,
        }))
    }

    // No code that can panic runs under the lock, so a poisoned one holds sound data.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A permit for one call of a tenant. None: the region has as many calls as it answers in time,
    /// and the tenant has its part of them.
    pub(super) fn take(self: &Arc<Self>, tenant: usize) -> Option<LoadPermit> {
        self.state().take(tenant).then(|| LoadPermit {
            load: Arc::clone(self),
            tenant,
            since: Instant::now(),
        })
    }
}

impl State {
    fn take(&mut self, tenant: usize) -> bool {
        let (limit, active) = (self.limit, self.active);
        let Some(own) = self.of_tenants.get_mut(tenant) else { return true };
        let first = *own == 0;
        let part = (limit / (active + usize::from(first)).max(1)).max(1);
        // Parts of tenants that come later add up to no more than the limit once more.
        let fits = self.under_way < limit || (*own < part && self.under_way < limit * 2);
        if fits {
            *own += 1;
            self.active += usize::from(first);
            self.under_way += 1;
        } else {
            self.full = true;
        }
        fits
    }

    fn answered(&mut self, tenant: usize, waited: Duration, now: Instant) {
        if let Some(own) = self.of_tenants.get_mut(tenant) {
            *own = own.saturating_sub(1);
            self.active -= usize::from(*own == 0);
            self.under_way = self.under_way.saturating_sub(1);
        }
        self.least = Some(self.least.map_or(waited, |least| least.min(waited)));
        if now >= self.interval_ends {
            self.adjust();
            self.interval_ends = now + INTERVAL;
        }
    }

    /// An interval is over.
    fn adjust(&mut self) {
        let (Some(least), full) = (self.least.take(), std::mem::take(&mut self.full)) else {
            return;
        };
        // With the fewest calls there is no queue of ours: what is seen is what a call takes. So a
        // shard that has become slower, or has moved further away, is believed after a while.
        let fewest = self.limit <= LIMIT_MIN;
        let base = self.base.filter(|base| !fewest && *base <= least);
        let base = base.unwrap_or_else(|| least.min(BASE_MAX));
        self.base = Some(base);
        self.standing = if least > base + STANDING_MAX { self.standing + 1 } else { 0 };
        if self.standing >= PATIENCE {
            // From what is under way: the limit may be far above it.
            let now = self.limit.min(self.under_way.max(LIMIT_MIN));
            self.limit = (now - now / 8).max(LIMIT_MIN).min(self.limit_max);
        } else if self.standing > 0 {
            // It may be over in a moment.
        } else if full || self.limit < self.limit_max && self.under_way * 2 < self.limit {
            self.limit = (self.limit + self.limit / 8 + 1).min(self.limit_max);
        }
    }
}

impl Drop for LoadPermit {
    fn drop(&mut self) {
        let now = Instant::now();
        self.load.state().answered(self.tenant, now - self.since, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANTS: usize = 3;
    const MANY: usize = 4_096;

    /// A region that answers so many calls a second, in order, each after `base` at the least, and is
    /// offered `offered` a second. Gives what it answered in the last second of ten, the longest wait
    /// in it, and the limit at the end.
    async fn driven(
        load: &Arc<Load>,
        base_ms: u64,
        rate: u64,
        offered: u64,
    ) -> (usize, u64, usize) {
        const STEPS: u64 = 1_000;
        let mut queue = std::collections::VecDeque::new();
        let (mut answered, mut longest) = (0, 0);
        for step in 0..10 * STEPS {
            for call in 0..offered / STEPS {
                let tenant = usize::try_from(call).unwrap() % TENANTS;
                queue.extend(load.take(tenant).map(|permit| (step, permit)));
            }
            for _ in 0..rate / STEPS {
                if queue.front().is_some_and(|(since, _)| step >= since + base_ms) {
                    let (since, permit) = queue.pop_front().unwrap();
                    drop(permit);
                    if step >= 9 * STEPS {
                        answered += 1;
                        longest = longest.max(step - since);
                    }
                }
            }
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        let limit = load.state().limit;
        (answered, longest, limit)
    }

    #[tokio::test(start_paused = true)]
    async fn four_times_what_a_region_can_do_keeps_it_busy_and_its_calls_short() {
        for (base_ms, rate) in [(2, 8_000), (2, 2_000), (150, 8_000)] {
            let load = Arc::new(Load::new(TENANTS, MANY));
            let (answered, longest, limit) = driven(&load, base_ms, rate, rate * 4).await;
            let most = usize::try_from(rate).unwrap();
            assert!(answered * 10 >= most * 9, "{answered} of {rate}, at most {limit}");
            assert!(longest <= base_ms + 350, "{longest} ms with {base_ms} ms, at most {limit}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_region_can_do_is_never_refused() {
        let load = Arc::new(Load::new(TENANTS, MANY));
        let (answered, longest, limit) = driven(&load, 20, 4_000, 3_000).await;
        assert!(answered >= 2_990 && longest <= 22, "{answered}, {longest} ms");
        assert_eq!(limit, MANY);
    }

    #[tokio::test(start_paused = true)]
    async fn a_region_is_open_again_soon_after_an_overload() {
        let load = Arc::new(Load::new(TENANTS, MANY));
        let (_, _, limit) = driven(&load, 2, 2_000, 16_000).await;
        assert!(limit < 1_000, "{limit}");
        // Those under way are answered.
        let (answered, longest, _) = driven(&load, 2, 2_000, 1_000).await;
        assert!(answered >= 990 && longest <= 4, "{answered}, {longest} ms");
    }

    #[tokio::test(start_paused = true)]
    async fn a_region_that_has_moved_further_away_is_believed() {
        let load = Arc::new(Load::new(TENANTS, MANY));
        driven(&load, 2, 4_000, 3_000).await;
        let (answered, longest, _) = driven(&load, 300, 4_000, 3_000).await;
        assert!(answered >= 2_700 && longest <= 650, "{answered}, {longest} ms");
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_region_still_has_a_part_for_every_tenant() {
        let load = Arc::new(Load::new(TENANTS, 90));
        let first: Vec<_> = std::iter::from_fn(|| load.take(0)).collect();
        assert_eq!(first.len(), 90);
        let second: Vec<_> = std::iter::from_fn(|| load.take(1)).collect();
        assert_eq!(second.len(), 45);
        let third: Vec<_> = std::iter::from_fn(|| load.take(2)).collect();
        assert_eq!(third.len(), 30);
        assert!(load.take(0).is_none() && load.take(1).is_none());
        drop((first, second, third));
        let state = load.state();
        assert_eq!((state.under_way, state.active), (0, 0));
        assert_eq!(state.of_tenants, [0; TENANTS]);
    }
}
