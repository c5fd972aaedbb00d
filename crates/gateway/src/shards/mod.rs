//! The sessions with shards: connecting, reconnecting, and the calls in flight.

pub(crate) mod connect;
pub(crate) mod in_flight;
pub(crate) mod reconnect;
pub(crate) mod session;
