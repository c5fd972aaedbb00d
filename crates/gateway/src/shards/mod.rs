//! The sessions with shards: connecting, reconnecting, the calls in flight, and which regions are
//! within reach.

pub(crate) mod connect;
pub(crate) mod in_flight;
pub(crate) mod map_versions;
pub(crate) mod metrics;
pub(crate) mod reconnect;
pub(crate) mod region_health;
pub(crate) mod region_slots;
pub(crate) mod session;
