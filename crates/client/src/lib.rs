//! The Rust SDK: connects to a gateway, puts, reads, and checks every receipt against what was
//! sent.
//!
//! **Architecture invariant:** what is sent again is what was sent, under the same `request_id`:
//! there is no retry here that could have a second effect.
//!
//! **Architecture invariant:** nothing here prints content. The messages of [`api`] have no
//! `Debug`, and errors hold what the gateway says, which never repeats a request.

mod call;
mod receipt;
mod refused;
mod request_id;
mod stream;

pub use call::{Client, Error, Settings};
pub use receipt::{Unproven, check_create, check_delete, check_put};
pub use refused::Refused;
pub use request_id::{derived_request_id, new_request_id};
pub use stream::{Answer, Answers, NotSent, Puts};

/// The messages of the public API, as `proto/bailiwick/v1` defines them.
pub use wire::v1 as api;
