//! The region map in force, how it is kept in step with the shards, and the routing by it.

pub(crate) mod evidence_data;
pub(crate) mod routing;
pub(crate) mod state;
pub(crate) mod sync;
