//! What our servers share: the real clock, listeners, telemetry, metrics, the admin page, and the
//! framing of sessions between gateways and shards.
//!
//! **Architecture invariant:** nothing here knows of law or of stores (no `atlas`, no `engine`):
//! a gateway and a shard may both import it without either learning what the other may do.

pub mod grpc_status;
pub mod host;
pub mod net;
pub mod ops;
pub mod session;
pub mod spiffe_id;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing;
pub mod tls;
