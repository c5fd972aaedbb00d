//! What `grpc.health.v1` and `/readyz` report: the gateway, each of its services, and each region.
//! gRPC names a region `region/<name>`, and so does a line of `/readyz`.
//!
//! The gateway serves while it takes calls and a shard of any region is within reach. A region out
//! of reach concerns its own people alone; without any region there is nothing to serve. A region of
//! several shards serves as far as its slots do: it is reported as serving if each slot has one shard
//! within reach that owns it, and else which slots have none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use link::ops::health::Health;
use terms::{RegionId, ShardId, SlotSet};
use tokio::sync::Mutex;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::method::SERVICES;
use crate::shards::metrics::SessionMetrics;
use crate::shards::region_slots::{ShardSlots, Unserved};

/// What holds readiness back while no shard is within reach.
const NO_SHARD: &str = "no shard is within reach";

/// What is said of a region of the map without an annex that counts.
const NO_ANNEX: &str = "out of reach; it has no annex that counts: the log says why";

/// The regions, and which of their shards are within reach.
pub(crate) struct RegionHealth {
    reporter: HealthReporter,
    health: Health,
    metrics: Arc<SessionMetrics>,
    /// Reported under the lock, so that two reports cannot overtake one another.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whether calls are taken.
    open: bool,
    regions: BTreeMap<RegionId, Shards>,
    /// Regions of the map of which no annex counts: nothing is known of their shards.
    without_annex: BTreeSet<RegionId>,
}

/// The shards of one region.
#[derive(Default)]
struct Shards(BTreeMap<ShardId, ShardSlots>);

impl RegionHealth {
    /// No shard is known yet, and no calls are taken.
    pub(crate) fn new(
        reporter: HealthReporter,
        health: Health,
        metrics: Arc<SessionMetrics>,
    ) -> Self {
        health.hold(NO_SHARD, true);
        Self { reporter, health, metrics, state: Mutex::default() }
    }

    /// Sets whether calls are taken.
    pub(crate) async fn open(&self, open: bool) {
        let mut state = self.state.lock().await;
        state.open = open;
        self.health.set_ready(open);
        self.report(&state).await;
    }

    /// Adds a shard, to which the annex gives these slots. It is not within reach yet, wherever it was
    /// before.
    pub(crate) async fn add(&self, region: &RegionId, shard: &ShardId, wished: SlotSet) {
        self.change(region, |Shards(shards)| {
            shards.insert(shard.clone(), ShardSlots { up: false, wished, owned: None });
            true
        })
        .await;
    }

    /// Sets which slots the annex gives a shard.
    pub(crate) async fn wish(&self, region: &RegionId, shard: &ShardId, wished: SlotSet) {
        self.change(region, |Shards(shards)| {
            let other = shards.get_mut(shard).filter(|shard| shard.wished != wished);
            other.map(|shard| shard.wished = wished).is_some()
        })
        .await;
    }

    /// Removes a shard.
    pub(crate) async fn remove(&self, region: &RegionId, shard: &ShardId) {
        self.change(region, |Shards(shards)| shards.remove(shard).is_some()).await;
    }

    /// Sets whether a shard is within reach, and the slots that it owns, as it last said.
    pub(crate) async fn set(
        &self,
        region: &RegionId,
        shard: &ShardId,
        up: bool,
        owned: Option<SlotSet>,
    ) {
        self.change(region, |Shards(shards)| {
            // A shard that was removed stays so.
            let there = shards.get_mut(shard);
            there.map(|shard| (shard.up, shard.owned) = (up, owned)).is_some()
        })
        .await;
    }

    /// `change` says whether it has changed anything.
    async fn change(&self, region: &RegionId, change: impl FnOnce(&mut Shards) -> bool) {
        let mut state = self.state.lock().await;
        if change(state.regions.entry(region.clone()).or_default()) {
            self.show(&state, region).await;
            self.report(&state).await;
        }
    }

    /// Sets of which regions of the map no annex counts.
    pub(crate) async fn lack_annexes(&self, regions: BTreeSet<RegionId>) {
        let mut state = self.state.lock().await;
        let before = std::mem::replace(&mut state.without_annex, regions);
        let changed: Vec<_> = before.symmetric_difference(&state.without_annex).cloned().collect();
        for region in changed {
            self.show(&state, &region).await;
        }
    }

    /// Shows what is known of a region.
    async fn show(&self, state: &State, region: &RegionId) {
        let none = Shards::default();
        let shards = state.regions.get(region).unwrap_or(&none);
        let name = format!("region/{region}");
        let unserved = Unserved::of(shards.0.values());
        self.reporter.set_service_status(&name, status(unserved.is_none())).await;
        let refused = unserved.missing.len() + unserved.contested.len();
        let (shown, refused) = match (shards.0.is_empty(), state.without_annex.contains(region)) {
            (false, _) => (Some(shards.shown(&unserved)), refused),
            (true, true) => (Some(NO_ANNEX.to_owned()), refused),
            // The map does not have it any more.
            (true, false) => (None, 0),
        };
        self.metrics.set_unserved(region, refused);
        match shown {
            Some(shown) => self.health.set_fact(name, shown),
            None => self.health.unset_fact(&name),
        }
    }

    /// Reports the state of the gateway and of all of its services.
    async fn report(&self, state: &State) {
        let within_reach = state.regions.values().any(Shards::any_up);
        self.health.hold(NO_SHARD, !within_reach);
        let status = status(state.open && within_reach);
        // The gateway as a whole, and its services.
        for name in [""].into_iter().chain(SERVICES) {
            self.reporter.set_service_status(name, status).await;
        }
    }
}

const fn status(serving: bool) -> ServingStatus {
    if serving { ServingStatus::Serving } else { ServingStatus::NotServing }
}

impl Shards {
    fn any_up(&self) -> bool {
        self.0.values().any(|shard| shard.up)
    }

    fn shown(&self, unserved: &Unserved) -> String {
        let mut text = match (self.any_up(), unserved.is_none()) {
            (false, _) => "out of reach",
            (true, false) => "partly within reach",
            (true, true) => "within reach",
        }
        .to_owned();
        let missing = self.0.iter().filter(|(_, shard)| !shard.up);
        let missing: Vec<&str> = missing.map(|(name, _)| name.as_str()).collect();
        if !missing.is_empty() {
            text += &format!("; missing: {}", missing.join(", "));
        }
        // Of one shard that is missing, all slots are.
        if self.any_up() && !unserved.missing.is_empty() {
            text += &format!("; slots that no shard serves: {}", unserved.missing);
        }
        if !unserved.contested.is_empty() {
            text += &format!("; slots that several shards own: {}", unserved.contested);
        }
        text
    }
}
