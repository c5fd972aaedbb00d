//! The gateway: where backend services call. It rules on a record, places it, and hands it to the
//! one shard that may store it. It holds the region map and sessions to shards, and nothing else.
//!
//! **Architecture invariant:** nothing here can write to a disk. No store is among the
//! dependencies, however deep, and `std::fs` is not used.
//!
//! **Architecture invariant:** a call goes to one shard, once. Each shard has a session, a queue
//! and a budget of its own, and a way to a shard is used up by sending (`routing`).

mod answers;
mod call;
mod convert;
mod dial;
mod errors;
mod flight;
mod health;
mod identity;
mod metrics;
mod put;
mod records;
mod routing;
mod serve;
mod session;
mod stack;
mod stream;
mod subjects;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use atlas::{Annex, RegionMap};
use evidence::Sources;
use link::admin::Health;
use link::metrics::Registry;
use terms::{Clock, Entropy, RegionId};
use tokio::sync::watch;

use crate::call::{Desk, Ids, Seats};
use crate::convert::Reader;
use crate::metrics::Metrics;
use crate::routing::Routing;

pub use crate::identity::Caller;

/// What a gateway is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its own name, which shards log.
    pub name: String,
    /// Who callers on the plaintext listener are.
    pub caller: Caller,
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
    /// An annex speaks of a region that the map does not name.
    #[error("the map has no region {0}, for which there is an annex")]
    AnnexOfNoRegion(RegionId),
    /// A region's people could not be served at all.
    #[error("there is no annex for region {0}")]
    RegionWithoutAnnex(RegionId),
    /// The configured caller acts for a tenant that the map does not name.
    #[error("the map does not name the tenant of the configured caller")]
    TenantUnknown,
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
    pub(crate) routing: Routing,
    pub(crate) sources: Sources,
    /// The versions of the data behind `sources`.
    pub(crate) data: answers::Data,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) desk: Arc<Desk>,
    /// True once the gateway is going down.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl Shared {
    /// Reads requests under the map of this call.
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader { map: self.routing.map(), sources: &self.sources }
    }
}

/// A gateway that is ready to serve.
pub struct Gateway {
    settings: Settings,
    shared: Arc<Shared>,
    entropy: Arc<dyn Entropy>,
    metrics: Arc<Metrics>,
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
        if map.tenant(&settings.caller.tenant).is_none() {
            return Err(Error::TenantUnknown);
        }
        let metrics = Arc::new(Metrics::new(registry));
        let seats = Seats::new(settings.in_flight_max, metrics.in_flight().clone());
        let ids = Ids::new(entropy.as_ref())?;
        let desk = Desk { ids, seats: Arc::new(seats), metrics: Arc::clone(&metrics) };
        let (stop, stopping) = watch::channel(false);
        let shared = Shared {
            routing: Routing::new(map, annexes)?,
            data: answers::Data::new(&sources),
            sources,
            clock,
            desk: Arc::new(desk),
            stopping,
        };
        Ok(Self { settings, shared: Arc::new(shared), entropy, metrics, health, stop })
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("name", &self.settings.name).finish_non_exhaustive()
    }
}
