//! The gateway, which callers call. It rules on a record, places it, and hands it to the one shard
//! that may store it. It holds the region map and sessions to shards, and nothing else.
//!
//! **Architecture invariant:** nothing here can write to a disk. No store is among the
//! dependencies, however deep, and `std::fs` is not used.
//!
//! **Architecture invariant:** a call goes to one shard, once. Each shard has a session, a queue
//! and a budget of its own, and sending consumes the route to a shard (`map::routing`).
//!
//! The rooms, top down: `http`, `api`, `map`, `shards`, `limits`, `auth`; below them `metrics` and
//! `method`. Nothing imports from a room above its own.

mod api;
mod auth;
mod http;
mod limits;
mod map;
mod method;
mod metrics;
mod shards;

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use atlas::{Annex, RegionMap};
use evidence::Sources;
use ledger::Signers;
use link::host::supervise::supervise;
use link::ops::health::Health;
use link::ops::metrics::Registry;
use link::tls::{CallerTls, Tls};
use terms::{Clock, Entropy, RegionId};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::api::context::{CallContext, CallIds};
use crate::api::refusal::RefusalLog;
use crate::auth::authenticate::Identity;
use crate::auth::jwks_refresher::JwksRefresher;
use crate::limits::{Caps, Limits};
use crate::map::evidence_data::EvidenceData;
use crate::map::routing::Routing;
use crate::map::state::MapState;
use crate::metrics::Metrics;
use crate::shards::connect::Environment;
use crate::shards::metrics::SessionMetrics;
use crate::shards::region_health::RegionHealth;

pub use crate::auth::authenticate::{Callers, KeySource, Known};
pub use crate::auth::caller::{Caller, CallerLocation, Scope};
pub use crate::auth::jwks::{JwksRefused, usable_keys};
pub use crate::auth::jwks_refresher::KeysError;
pub use crate::auth::jwt::TokenRules;
pub use crate::http::protocols::HttpApis;
pub use crate::http::server::ServeError;
pub use crate::limits::{TenantLimit, TenantLimits};
pub use crate::map::routing::RoutingError;
pub use crate::map::state::Handle;

/// Time that calls in flight have to end once the gateway shuts down.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

/// The settings of a gateway.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its own name, which shards log.
    pub name: String,
    /// Its callers.
    pub callers: Callers,
    /// The limits of each tenant.
    pub limits: TenantLimits,
    /// The keys of the signers of region maps. None: its map comes from the configuration alone.
    pub signers: Option<Signers>,
    /// TLS towards shards; without it, only shards on loopback are reached.
    pub tls: Option<Tls>,
    /// TLS of the listener; without it, it is for loopback.
    pub listener: Option<CallerTls>,
    /// What its listener speaks beside gRPC.
    pub apis: HttpApis,
    /// Calls in flight before it answers `GATEWAY_BUSY`; at most, and usually,
    /// [`terms::limits::GATEWAY_IN_FLIGHT_MAX`].
    pub in_flight_max: usize,
}

/// Why a gateway cannot start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Map and annexes do not fit together.
    #[error(transparent)]
    Routing(#[from] RoutingError),
    /// A configured caller acts for a tenant that the map does not name.
    #[error("the map does not name the tenant of a configured caller")]
    TenantUnknown,
    /// The keys of an issuer of tokens cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The limit of calls in flight is 0, or above what is allowed.
    #[error("in_flight_max must lie between 1 and {}", terms::limits::GATEWAY_IN_FLIGHT_MAX)]
    InFlightMax,
    /// No randomness for call ids.
    #[error(transparent)]
    Entropy(#[from] terms::EntropyFailed),
    /// The server could not start, or stopped.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// A gateway that is ready to serve.
pub struct Gateway {
    settings: Settings,
    ctx: Arc<CallContext>,
    entropy: Arc<dyn Entropy>,
    session_metrics: Arc<SessionMetrics>,
    refresher: Option<JwksRefresher>,
    health: Health,
    stop: watch::Sender<bool>,
}

impl Gateway {
    /// A gateway for that map and the shards of these annexes. It connects to nothing yet.
    ///
    /// # Errors
    /// [`Error`], when map, annexes and settings do not fit together.
    #[expect(clippy::too_many_arguments, reason = "each is a thing of its own, given once")]
    pub fn new(
        settings: Settings,
        map: Arc<RegionMap>,
        annexes: Vec<Annex>,
        sources: Sources,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        registry: &mut Registry,
        health: Health,
    ) -> Result<Self, Error> {
        if !(1..=terms::limits::GATEWAY_IN_FLIGHT_MAX).contains(&settings.in_flight_max) {
            return Err(Error::InFlightMax);
        }
        if settings.callers.configured().any(|caller| map.tenant(&caller.tenant).is_none()) {
            return Err(Error::TenantUnknown);
        }
        let own: Option<RegionId> = settings.tls.as_ref().map(|tls| tls.own().region().clone());
        let routing = Routing::new(Arc::clone(&map), &annexes, own.as_ref())?;
        let metrics = Arc::new(Metrics::new(registry));
        metrics.set_map_epoch(map.epoch().number);
        let session_metrics = Arc::new(SessionMetrics::new(registry));
        let (callers, tls) = (settings.callers.clone(), settings.listener.clone());
        let identity = Identity::new(callers, tls, Arc::clone(&clock));
        let refresher = JwksRefresher::open(&identity, &settings.callers, registry, &health)?;
        let caps = Caps::of_gateway(settings.in_flight_max);
        let gauge = metrics.in_flight.clone();
        let limits = Arc::new(Limits::new(&map, settings.limits.clone(), caps, gauge));
        let on_new_map = {
            let (limits, metrics) = (Arc::clone(&limits), Arc::clone(&metrics));
            Box::new(move |map: &RegionMap| {
                metrics.set_map_epoch(map.epoch().number);
                limits.set_map(map);
            })
        };
        let data = EvidenceData::new(sources);
        let map = MapState::new(routing, annexes, data, settings.signers.clone(), on_new_map);
        let (stop, stopping) = watch::channel(false);
        let ctx = Arc::new(CallContext {
            ids: CallIds::new(entropy.as_ref())?,
            limits,
            identity,
            map: Arc::new(map),
            log: RefusalLog::new(Arc::clone(&clock)),
            clock,
            entropy: Arc::clone(&entropy),
            metrics,
            stopping,
        });
        Ok(Self { settings, ctx, entropy, session_metrics, refresher, health, stop })
    }

    /// Changes what may change while it serves: the IP database, and where its shards are.
    pub fn handle(&self) -> Handle {
        Handle::of(&self.ctx.map)
    }

    /// Serves until `shutdown` is done: starts the sessions, answers calls, then reports that it does
    /// not serve, takes no new calls, and lets those in flight end, for 20 seconds at most. Sessions
    /// end after the calls.
    ///
    /// # Errors
    /// When the listener fails for good.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), Error> {
        let (reporter, grpc_health) = tonic_health::server::health_reporter();
        let regions = Arc::new(RegionHealth::new(
            reporter,
            self.health.clone(),
            Arc::clone(&self.session_metrics),
        ));
        let mut tasks = self.start_tasks(&regions);
        regions.open(true).await;
        let stop = async {
            shutdown.await;
            regions.open(false).await;
            self.stop.send_replace(true);
        };
        let (tls, apis) = (self.settings.listener.clone(), self.settings.apis.clone());
        let ended = tokio::select! {
            served = http::server::serve(&self.ctx, grpc_health, listener, tls, apis, stop) => served,
            () = drain_timeout(self.stop.subscribe()) => {
                tracing::warn!("calls were still in flight at the end of the time to drain");
                Ok(())
            }
        };
        regions.open(false).await;
        tasks.shutdown().await;
        Ok(ended?)
    }

    /// Starts what keeps sessions, maps and the keys of an issuer up to date.
    fn start_tasks(&self, regions: &Arc<RegionHealth>) -> JoinSet<()> {
        let map = Arc::clone(&self.ctx.map);
        let in_force = Arc::clone(map.pin().map());
        let env = Arc::new(Environment {
            gateway: self.settings.name.clone(),
            deployment: in_force.deployment().to_owned(),
            trust_domain: in_force.trust_domain().to_owned(),
            maps: Arc::clone(&map.versions),
            tls: self.settings.tls.clone(),
            entropy: Arc::clone(&self.entropy),
            metrics: Arc::clone(&self.session_metrics),
            regions: Arc::clone(regions),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(map::sync::run(map, env));
        if let Some(refresher) = self.refresher.clone() {
            tasks.spawn(async move {
                supervise("issuer", || refresher.clone().run(), || ready(())).await;
            });
        }
        tasks
    }
}

/// Done when the time to drain is over.
async fn drain_timeout(mut stopping: watch::Receiver<bool>) {
    // The gateway that awaits this future holds the sender.
    if stopping.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
    sleep(DRAIN_TIMEOUT).await;
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("name", &self.settings.name).finish_non_exhaustive()
    }
}
