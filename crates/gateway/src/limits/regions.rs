//! Calls on their way to the shards of each region, so that a region that does not answer takes no
//! more calls than the others can do without.
//!
//! While plenty of calls are free a region may take any number. Once fewer are free than a reserve,
//! each region may have an even part of that reserve under way and no more.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use atlas::RegionMap;
use terms::RegionId;

/// How many calls are on their way to each region.
pub(super) struct CallsByRegion {
    counts: HashMap<RegionId, Arc<AtomicUsize>>,
    reserve: usize,
}

/// A call on its way to a region. None: a region that is not counted.
pub(super) struct RegionPermit(Option<Arc<AtomicUsize>>);

impl CallsByRegion {
    /// For the regions of a map. A map's only region needs no reserve.
    pub(super) fn new(map: &RegionMap, reserve: usize) -> Self {
        let counts: HashMap<_, _> =
            map.regions().iter().map(|region| (region.name().clone(), Arc::default())).collect();
        let reserve = if counts.len() > 1 { reserve } else { 0 };
        Self { counts, reserve }
    }

    /// Whether they are the regions of that map.
    pub(super) fn is_of(&self, map: &RegionMap) -> bool {
        map.regions().len() == self.counts.len()
            && map.regions().iter().all(|region| self.counts.contains_key(region.name()))
    }

    /// Whether a region may have any number of calls while so many are free in all.
    pub(super) const fn has_plenty(&self, free: usize) -> bool {
        free >= self.reserve
    }

    /// A permit for one more call to a region, while so many calls are free in all. A region that
    /// has none under way always gets one.
    pub(super) fn take(&self, region: &RegionId, free: usize) -> Option<RegionPermit> {
        // A region of a newer map is not counted until these are those of that map.
        let Some(count) = self.counts.get(region) else { return Some(RegionPermit(None)) };
        let even = (self.reserve / self.counts.len().max(1)).max(1);
        let more = |taken: usize| (self.has_plenty(free) || taken < even).then_some(taken + 1);
        count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(RegionPermit(Some(Arc::clone(count))))
    }
}

impl Drop for RegionPermit {
    fn drop(&mut self) {
        if let Some(count) = &self.0 {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_region_leaves_the_others_their_part() {
        let map = crate::tests::rig::map();
        let regions = map.regions().len();
        let calls = CallsByRegion::new(&map, regions * 2);
        let region = |n: usize| map.regions()[n].name();
        // While plenty are free, one region takes any number.
        let stalled: Vec<_> = (0..50).map(|_| calls.take(region(0), regions * 2)).collect();
        assert!(stalled.iter().all(Option::is_some));
        // Then only regions that have less than their part of the reserve.
        let scarce = regions * 2 - 1;
        assert!(calls.take(region(0), scarce).is_none());
        let others: Vec<_> = (0..2).map(|_| calls.take(region(1), scarce)).collect();
        assert!(others.iter().all(Option::is_some));
        assert!(calls.take(region(1), 0).is_none() && calls.take(region(2), 0).is_some());
        drop(stalled);
        assert!(calls.take(region(0), 0).is_some());
    }
}
