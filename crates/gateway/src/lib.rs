//! The gateway: where backend services call. It rules on a record, places it, and hands it to the
//! one shard that may store it. It holds the region map and sessions to shards, and nothing else.
//!
//! **Architecture invariant:** nothing here can write to a disk. No store is among the
//! dependencies, however deep, and `std::fs` is not used.
//!
//! **Architecture invariant:** a call goes to one shard, once. Each shard has a session, a queue
//! and a budget of its own, and a way to a shard is used up by sending (`routing`).

mod api;
mod auth;
mod http;
mod limits;
mod map;
mod shards;

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod metrics;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use atlas::{Annex, RegionMap};
use evidence::Sources;
use ledger::Signers;
use link::ops::health::Health;
use link::ops::metrics::Registry;
use link::tls::{CallerTls, Tls};
use terms::{Clock, Entropy, RegionId};
use tokio::sync::watch;

use crate::api::context::{Desk, Ids, Seats};
use crate::api::request::Reader;
use crate::auth::authenticate::Identity;
use crate::auth::jwks_refresh::Keeper;
use crate::http::refusal_log::Log;
use crate::limits::Shares;
use crate::map::routing::Routing;
use crate::map::state::Charts;
use crate::metrics::Metrics;

pub use crate::auth::authenticate::{Callers, KeySource, Known};
pub use crate::auth::caller::{Caller, Scope, Stands};
pub use crate::auth::jwks::{JwksRefused, usable_keys};
pub use crate::auth::jwt::TokenRules;
pub use crate::limits::{TenantLimit, TenantLimits};
pub use crate::map::state::Handle;

/// What a gateway is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its own name, which shards log.
    pub name: String,
    /// Whom it takes calls from.
    pub callers: Callers,
    /// What each tenant may take of it.
    pub limits: TenantLimits,
    /// The keys of those who sign region maps. None: its map comes from the configuration alone.
    pub signers: Option<Signers>,
    /// TLS towards shards; without it, only shards on loopback are reached.
    pub tls: Option<Tls>,
    /// TLS of the listener; without it, it is for loopback.
    pub listener: Option<CallerTls>,
    /// Calls in flight before it answers `GATEWAY_BUSY`; at most, and usually,
    /// [`terms::limits::GATEWAY_IN_FLIGHT_MAX`].
    pub in_flight_max: usize,
}

/// Why a gateway cannot start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Two annexes speak of one region.
    #[error("there are two annexes for region {0}")]
    AnnexTwice(RegionId),
    /// None of the operators whom the map names for that has signed an annex.
    #[error("the annex for region {0} is not signed by one of its operators")]
    AnnexUnsigned(RegionId),
    /// An annex speaks of a region that the map does not name.
    #[error("the map has no region {0}, for which there is an annex")]
    AnnexOfNoRegion(RegionId),
    /// A region's people could not be served at all.
    #[error("there is no annex for region {0}")]
    RegionWithoutAnnex(RegionId),
    /// A configured caller acts for a tenant that the map does not name.
    #[error("the map does not name the tenant of a configured caller")]
    TenantUnknown,
    /// Our own certificate names a region that the map does not.
    #[error("the map does not name the region of the gateway's own certificate")]
    OwnRegionUnknown,
    /// The file with the issuer's keys cannot be read.
    #[error("the issuer's JWKS file cannot be read")]
    KeysUnread(#[source] std::io::Error),
    /// The file with the issuer's keys cannot be used.
    #[error("the issuer's JWKS file cannot be used")]
    Keys(#[from] JwksRefused),
    /// The limit of calls in flight is 0, or above what is allowed.
    #[error("in_flight_max must lie between 1 and {}", terms::limits::GATEWAY_IN_FLIGHT_MAX)]
    InFlightMax,
    /// No randomness for call ids.
    #[error(transparent)]
    Entropy(#[from] terms::EntropyFailed),
    /// Our own descriptors are not what reflection needs.
    #[error("the descriptors for reflection cannot be used")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// The listener failed for good.
    #[error("the listener failed")]
    Listener(#[source] tonic::transport::Error),
}

/// What all calls share. Nothing in it grows with the number of people or records.
pub(crate) struct Shared {
    pub(crate) charts: Arc<Charts>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) desk: Arc<Desk>,
    /// True once the gateway is going down.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl Shared {
    /// One map for one call, from its first check to its answer.
    pub(crate) fn pin(&self) -> Pinned<'_> {
        Pinned { shared: self, routing: self.charts.pin(), data: self.charts.data() }
    }
}

/// What a call works with: one map, and one set of data, that do not change under it.
pub(crate) struct Pinned<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) routing: Arc<Routing>,
    pub(crate) data: Arc<api::response::Data>,
}

impl Pinned<'_> {
    /// Reads requests of a caller.
    pub(crate) fn reader<'a>(&'a self, caller: &'a Caller) -> Reader<'a> {
        Reader { map: self.routing.map(), sources: &self.data.sources, caller }
    }
}

/// A gateway that is ready to serve.
pub struct Gateway {
    settings: Settings,
    shared: Arc<Shared>,
    entropy: Arc<dyn Entropy>,
    metrics: Arc<Metrics>,
    keeper: Option<Keeper>,
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
        let own = settings.tls.as_ref().map(|tls| tls.own().region().clone());
        let routing = Routing::new(Arc::clone(&map), &annexes, own.as_ref())?;
        let metrics = Arc::new(Metrics::new(registry));
        let seats = Seats::new(settings.in_flight_max, metrics.in_flight().clone());
        let ids = Ids::new(entropy.as_ref())?;
        let (callers, tls) = (settings.callers.clone(), settings.listener.clone());
        let identity = Identity::new(callers, tls, Arc::clone(&clock));
        let keeper = Keeper::open(&identity, &settings.callers, registry, &health)?;
        let desk = Desk {
            ids,
            seats: Arc::new(seats),
            shares: ArcSwap::from_pointee(Shares::new(
                &map,
                &settings.limits,
                settings.in_flight_max,
            )),
            identity,
            log: Log::new(Arc::clone(&clock)),
            metrics: Arc::clone(&metrics),
        };
        let (stop, stopping) = watch::channel(false);
        metrics.map_epoch(map.epoch().number);
        let desk = Arc::new(desk);
        let data = api::response::Data::new(sources);
        let charts = Charts::new(routing, annexes, data, settings.signers.clone(), {
            let (desk, limits, most) =
                (Arc::clone(&desk), settings.limits.clone(), settings.in_flight_max);
            Box::new(move |map| desk.follow(map, &limits, most))
        });
        let shared = Shared { charts: Arc::new(charts), clock, desk, stopping };
        Ok(Self { settings, shared: Arc::new(shared), entropy, metrics, keeper, health, stop })
    }
}

impl Gateway {
    /// What changes while it serves: its map, and where its shards are.
    pub fn handle(&self) -> Handle {
        Handle::of(&self.shared.charts)
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("name", &self.settings.name).finish_non_exhaustive()
    }
}
