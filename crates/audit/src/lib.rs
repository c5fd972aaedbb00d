//! The verifier: mirrors placement logs, verifies them offline, follows them, compares them with
//! stores and with each other.
//!
//! **Architecture invariant:** it uses public interfaces only, and trusts no shard: entries count if
//! they hash to the tree whose root the log's key has signed.
//!
//! **Architecture invariant:** an entry's commitment is opened on request only, and nothing that names
//! a person is written to a file.

pub mod diff;
pub mod entries;
pub mod folder;
pub mod follow;
pub mod maps;
pub mod mirror;
pub mod origin;
pub mod pair;
pub mod policy;
pub mod reconcile;
pub mod rules;
pub mod verify;

mod copies;
mod file;
pub mod finding;
mod random;
mod shown;

pub use finding::Finding;
pub use folder::Folder;
pub use maps::Maps;
pub use origin::Origin;
pub use policy::Policy;
pub use shown::shown;
pub use verify::{Against, Verified, verify};
