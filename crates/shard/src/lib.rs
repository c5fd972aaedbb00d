//! The node inside a region: it rules again, seals, commits a record together with its log entry,
//! and answers reads.
//!
//! **Architecture invariant:** a shard trusts no gateway. Every id is checked again, every ruling
//! and placement is made again from the findings with the shard's own map, and a separately
//! written predicate must admit it (`policy/second_check.rs`).
//!
//! **Architecture invariant:** nothing is acknowledged before it is durable, and there is one
//! writer (`write/committer.rs`): a record without its entry, or an entry without its record, cannot
//! exist.

mod audit;
mod backup;
mod log;
mod policy;
mod read;
mod relocate;
mod reply;
mod server;
mod startup;
mod store;
mod write;

#[cfg(feature = "bench")]
pub mod bench;
mod clock;
mod environment;
mod error;
mod lifecycle;
mod metrics;
mod node;
mod settings;
#[cfg(test)]
mod testing;

pub use audit::access::AuditorEntrance;
pub use audit::listener::Auditors;
pub use backup::bucket::{BackupBucket, FetchedBackup, IN_BUCKET, backup_to_bucket, fetch_backup};
pub use backup::check::{VerifiedBackup, verify_backup};
pub use backup::create::{MadeBackup, backup};
pub use backup::restore::{Restored, restore};
pub use clock::{clock_ahead, confirm_clock};
pub use environment::Environment;
pub use error::Error;
pub use log::key_request::{Generation, KeyRequest};
pub use log::known_erasures::Erasures;
pub use log::rotation_request::Rotated;
pub use log::slots_request::{SlotsRequest, SlotsStatus};
pub use log::verifier_keys::LogKey;
pub use relocate::peers::Peers;
pub use settings::{LogSettings, PeriodMax, Settings, Token, Witness};
pub use startup::convert::{Converted, convert};
pub use startup::init::{Initialised, KeyringSource, init};
pub use startup::inspect::{Inspected, inspect};
pub use startup::recover::{ErasedAgain, Recovered, recover};
pub use startup::rotate::rotate_log;
pub use startup::shard::Shard;
pub use store::aead::{AesGcm, BodyCipher, KEY_BYTES, NotOpened};
