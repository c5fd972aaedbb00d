//! Where other shards are reached: by their regions' annexes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use atlas::{Annex, RegionMap};
use terms::{RegionId, ShardId, Slot, SlotSet};

/// The annexes of other regions. Clones share them. Without that of a region, nothing moves there.
#[derive(Clone, Default)]
pub struct Peers(Arc<ArcSwap<Vec<Annex>>>);

/// The other shards of this region, and the slots that the annex gives to each shard.
#[derive(Debug, Clone, Default)]
pub(crate) struct RegionShards {
    pub(crate) others: Vec<PeerShard>,
    pub(crate) wished: BTreeMap<ShardId, SlotSet>,
}

/// Another shard, of another region or of this one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PeerShard {
    pub(crate) region: RegionId,
    pub(crate) shard: ShardId,
    /// Where its processes are reached: one of them answers.
    pub(crate) addresses: Vec<String>,
}

impl PeerShard {
    /// A shard of a region, as its annex gives it.
    pub(crate) fn new(region: &RegionId, shard: &atlas::Shard) -> Self {
        let addresses = std::iter::once(shard.address().to_owned());
        let addresses = addresses.chain(shard.standbys().iter().cloned()).collect();
        Self { region: region.clone(), shard: shard.name().clone(), addresses }
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers").field("annexes", &self.0.load().len()).finish()
    }
}

impl Peers {
    /// The annexes that are in use.
    pub fn get(&self) -> Vec<Annex> {
        self.0.load().as_ref().clone()
    }

    /// Uses these annexes from now on.
    pub fn set(&self, annexes: Vec<Annex>) {
        self.0.store(Arc::new(annexes));
    }

    /// Whether there is an annex of a region.
    pub(crate) fn has(&self, region: &RegionId) -> bool {
        self.0.load().iter().any(|annex| annex.region() == region)
    }

    /// All shards of a region, as [`Peers::shard`].
    pub(crate) fn shards(&self, map: &RegionMap, region: &RegionId) -> Option<Vec<PeerShard>> {
        let annexes = self.0.load();
        let annex = annexes.iter().find(|annex| annex.region() == region)?;
        annex.vouched(map, ledger::said_by).ok()?;
        Some(annex.shards().iter().map(|shard| PeerShard::new(region, shard)).collect())
    }

    /// The shard that has a slot of a region, if one of the region's operators that the map names
    /// vouches for its annex.
    pub(crate) fn shard(
        &self,
        map: &RegionMap,
        region: &RegionId,
        slot: Slot,
    ) -> Option<PeerShard> {
        let annexes = self.0.load();
        let annex = annexes.iter().find(|annex| annex.region() == region)?;
        annex.vouched(map, ledger::said_by).ok()?;
        Some(PeerShard::new(region, annex.shard_of(slot)))
    }
}
