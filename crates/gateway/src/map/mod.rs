//! The region map in force, how it is kept in step with the shards, and the routing that follows from it.

pub(crate) mod routing;
pub(crate) mod state;
pub(crate) mod sync;
