//! A certificate authority for deployments that have none: one authority for each region, and one
//! for callers if wanted. It issues, renews and revokes, and reads what others issued.
//! docs/identity.md states when to use it.
//!
//! **Architecture invariant:** what exists is never overwritten, except an authority's own
//! revocation list. Keys are files of mode 600 in folders of mode 700.
//!
//! ```text
//! init, renew ── revoke, issue ── authority ── files, read, names
//! inspect ── read
//! ```

mod authority;
mod error;
mod files;
mod init;
mod inspect;
mod issue;
mod names;
mod read;
mod renew;
mod revoke;

use link::host::clock::SystemClock;
use terms::{Clock as _, UnixMillis};

pub use authority::{Authority, Scope};
pub use error::Error;
pub use files::{AUTHORITY, AUTHORITY_KEY, REVOKED};
pub use init::init;
pub use inspect::inspect;
pub use issue::{Issued, Wanted};
pub use names::{Holder, TrustDomain, caller_name, member_name};
pub use read::moment;
pub use revoke::List;

/// Days of a certificate by default.
pub const CERTIFICATE_DAYS: u32 = 30;
/// Days of a certificate at the most.
pub const CERTIFICATE_DAYS_MAX: u32 = 398;
/// Days until a revocation list must be renewed, by default.
pub const LIST_DAYS: u32 = 90;
/// Days until a revocation list must be renewed, at the most.
pub const LIST_DAYS_MAX: u32 = 366;

/// Seconds of a day.
const DAY_S: u64 = 86_400;
/// Seconds by which certificates begin before they are made: other clocks may be behind.
const BACKDATED_S: u64 = 300;

/// The present, in whole seconds since 1970.
fn now() -> u64 {
    let UnixMillis(millis) = SystemClock.now();
    millis / 1000
}
