//! TLS between our own processes, and towards callers.
//!
//! Between our processes both ends present a certificate whose only URI says who they are
//! ([`crate::spiffe_id`]). A certificate that names a region is verified against the authorities that
//! the region map pins for that region, and against no other: the authority of one region cannot
//! speak for another, whatever it signs. Everything is read again when a file changes; a file that
//! cannot be used leaves what was in use before, and says so.
//!
//! An authority without a list of revoked certificates has revoked no certificate; one whose list is past
//! its end is trusted for none until there is a new one (`list_expired` among the causes).
//!
//! There is no resumption: every connection shows its certificate, so a revocation holds from
//! the moment at which its list is read.

mod caller_tls;
mod certificate;
mod chain;
mod config;
mod crl;
mod database_tls;
mod endings;
mod error;
mod files;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod metrics;
mod peer_tls;
#[cfg(test)]
mod tests;
mod verifier;

pub use caller_tls::{CallerCertificate, CallerFiles, CallerTls};
pub use chain::Pins;
pub(crate) use config::{HANDSHAKE_TIMEOUT, SESSION_BUFFER_BYTES, Time, provider};
pub use database_tls::DatabaseTls;
pub use endings::{Ending, bundle_digests, revocation_endings};
pub use error::{Cause, Error};
pub(crate) use metrics::Closed;
pub use metrics::TlsMetrics;
pub use peer_tls::{Expected, Files, Peer, Tls};
