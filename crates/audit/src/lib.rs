//! The auditor's tool: mirrors placement logs, verifies them offline, compares, reports.
//!
//! **Architecture invariant:** it works over public interfaces alone, and believes nobody: what a
//! shard sends is entries, and what counts is that they hash to the tree whose root the log's key
//! has signed.
//!
//! **Architecture invariant:** nothing here opens an entry's commitment but on request, and nothing
//! that names a person is written to a file.

pub mod diff;
pub mod entries;
pub mod folder;
pub mod follow;
pub mod maps;
pub mod mirror;
pub mod policy;
pub mod reconcile;
pub mod report;
pub mod rules;
pub mod verify;

mod details;
mod finding;
mod random;
mod shown;

pub use finding::Finding;
pub use folder::Folder;
pub use maps::Maps;
pub use policy::Policy;
pub use shown::shown;
pub use verify::{Against, Verified, verify};
