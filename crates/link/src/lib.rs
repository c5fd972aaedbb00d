//! What our servers share: the real clock, listeners, telemetry, metrics, the admin page, and the
//! framing of sessions between gateways and shards.
//!
//! **Architecture invariant:** nothing here knows of law or of stores (no `atlas`, no `engine`):
//! a gateway and a shard may both import it without either learning what the other may do.

pub mod admin;
pub mod fetch;
pub mod grpc_only;
pub mod listener;
pub mod metrics;
pub mod peer;
pub mod refusals;
pub mod sandbox;
pub mod session;
pub mod status;
pub mod supervise;
pub mod system;
pub mod telemetry;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing;
pub mod tls;
pub mod watched;
