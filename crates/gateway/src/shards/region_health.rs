//! What `grpc.health.v1` and `/readyz` report: the gateway, each of its services, and each region.
//! gRPC names a region `region/<name>`, and so does a line of `/readyz`.
//!
//! The gateway serves while it takes calls and a shard of any region is within reach. A region out
//! of reach concerns its own people alone; without any region there is nothing to serve.

use std::collections::{BTreeMap, BTreeSet};

use link::ops::health::Health;
use terms::{RegionId, ShardId};
use tokio::sync::Mutex;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use wire::v1::{attachments_server, records_server, region_maps_server, subjects_server};

/// What holds readiness back while no shard is within reach.
const NO_SHARD: &str = "no shard is within reach";

/// The regions, and which of their shards are within reach.
pub(crate) struct RegionHealth {
    reporter: HealthReporter,
    health: Health,
    /// Reported under the lock, so that two reports cannot overtake one another.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whether calls are taken.
    open: bool,
    regions: BTreeMap<RegionId, Shards>,
}

/// The shards of one region.
#[derive(Default)]
struct Shards {
    up: BTreeSet<ShardId>,
    missing: BTreeSet<ShardId>,
}

impl RegionHealth {
    /// No shard is known yet, and no calls are taken.
    pub(crate) fn new(reporter: HealthReporter, health: Health) -> Self {
        health.hold(NO_SHARD, true);
        Self { reporter, health, state: Mutex::default() }
    }

    /// Sets whether calls are taken.
    pub(crate) async fn open(&self, open: bool) {
        let mut state = self.state.lock().await;
        state.open = open;
        self.health.set_ready(open);
        self.report(&state).await;
    }

    /// Adds a shard, which is not within reach yet.
    pub(crate) async fn add(&self, region: &RegionId, shard: &ShardId) {
        self.change(region, |shards| {
            shards.missing.insert(shard.clone());
        })
        .await;
    }

    /// Removes a shard.
    pub(crate) async fn remove(&self, region: &RegionId, shard: &ShardId) {
        self.change(region, |shards| {
            shards.missing.remove(shard);
            shards.up.remove(shard);
        })
        .await;
    }

    /// Sets whether a shard is within reach.
    pub(crate) async fn set(&self, region: &RegionId, shard: &ShardId, up: bool) {
        self.change(region, |Shards { up: there, missing }| {
            let (from, to) = if up { (missing, there) } else { (there, missing) };
            // A shard that was removed stays so.
            to.extend(from.take(shard));
        })
        .await;
    }

    async fn change(&self, region: &RegionId, change: impl FnOnce(&mut Shards)) {
        let mut state = self.state.lock().await;
        let shards = state.regions.entry(region.clone()).or_default();
        change(shards);
        let name = format!("region/{region}");
        let serving = shards.missing.is_empty() && !shards.up.is_empty();
        self.reporter.set_service_status(&name, status(serving)).await;
        if shards.up.is_empty() && shards.missing.is_empty() {
            self.health.unset_fact(&name);
        } else {
            self.health.set_fact(name, shards.shown());
        }
        self.report(&state).await;
    }

    /// Reports the state of the gateway and of all of its services.
    async fn report(&self, state: &State) {
        let within_reach = state.regions.values().any(|shards| !shards.up.is_empty());
        self.health.hold(NO_SHARD, !within_reach);
        let status = status(state.open && within_reach);
        for name in SERVICES {
            self.reporter.set_service_status(name, status).await;
        }
    }
}

/// The gateway as a whole, and its services.
const SERVICES: [&str; 5] = [
    "",
    records_server::SERVICE_NAME,
    attachments_server::SERVICE_NAME,
    subjects_server::SERVICE_NAME,
    region_maps_server::SERVICE_NAME,
];

const fn status(serving: bool) -> ServingStatus {
    if serving { ServingStatus::Serving } else { ServingStatus::NotServing }
}

impl Shards {
    fn shown(&self) -> String {
        if self.missing.is_empty() {
            return "within reach".to_owned();
        }
        let missing: Vec<&str> = self.missing.iter().map(ShardId::as_str).collect();
        let word = if self.up.is_empty() { "out of reach" } else { "partly within reach" };
        format!("{word}; missing: {}", missing.join(", "))
    }
}
