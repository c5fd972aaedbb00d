//! The auditor's library as a whole: over folders and a shard that lies when it is told to.

#![expect(
    clippy::disallowed_methods,
    reason = "the servers of these tests answer with errors of their own"
)]
#![expect(clippy::indexing_slicing, reason = "a test that goes astray may panic")]
#![expect(clippy::panic, reason = "a test that goes astray may panic")]

mod copies;
mod diff;
mod evidence;
mod follow;
mod listed;
mod maps;
mod mirror;
mod pair;
mod policy;
mod reconcile;
mod support;
mod verify;
