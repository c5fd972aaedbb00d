//! What `grpc.health.v1` says: each service, and each region by the name `region/<name>`.

use std::collections::{BTreeMap, BTreeSet};

use terms::{RegionId, ShardId};
use tokio::sync::Mutex;
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// The regions, and which of their shards are within reach.
pub(crate) struct Regions {
    reporter: HealthReporter,
    /// For each region the shards that are missing.
    missing: Mutex<BTreeMap<RegionId, BTreeSet<ShardId>>>,
}

impl Regions {
    /// No shards are looked for yet.
    pub(crate) fn new(reporter: HealthReporter) -> Self {
        Self { reporter, missing: Mutex::default() }
    }

    /// Another shard is to be within reach, and is not yet.
    pub(crate) async fn know(&self, region: &RegionId, shard: &ShardId) {
        let mut missing = self.missing.lock().await;
        missing.entry(region.clone()).or_default().insert(shard.clone());
        report(&self.reporter, region, false).await;
    }

    /// A shard is no longer looked for.
    pub(crate) async fn forget(&self, region: &RegionId, shard: &ShardId) {
        let mut missing = self.missing.lock().await;
        let Some(shards) = missing.get_mut(region) else { return };
        shards.remove(shard);
        let up = shards.is_empty();
        report(&self.reporter, region, up).await;
    }

    /// A region is serving while all of its shards are within reach.
    pub(crate) async fn set(&self, region: &RegionId, shard: &ShardId, up: bool) {
        let mut missing = self.missing.lock().await;
        let Some(shards) = missing.get_mut(region) else { return };
        let before = shards.is_empty();
        if up {
            shards.remove(shard);
        } else {
            shards.insert(shard.clone());
        }
        // Reported under the lock, so that two reports cannot overtake one another.
        if shards.is_empty() != before {
            report(&self.reporter, region, shards.is_empty()).await;
        }
    }
}

async fn report(reporter: &HealthReporter, region: &RegionId, up: bool) {
    let status = if up { ServingStatus::Serving } else { ServingStatus::NotServing };
    reporter.set_service_status(format!("region/{region}"), status).await;
}

/// Says of the whole server and of its services whether they serve. The server serves while some
/// region is down: that concerns only the region's own people.
pub(crate) async fn set_serving(reporter: &HealthReporter, serving: bool) {
    use wire::v1::records_server::RecordsServer;
    use wire::v1::subjects_server::SubjectsServer;
    let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
    let records = <RecordsServer<crate::records::Service> as NamedService>::NAME;
    let subjects = <SubjectsServer<crate::subjects::Service> as NamedService>::NAME;
    for name in ["", records, subjects] {
        reporter.set_service_status(name, status).await;
    }
}
