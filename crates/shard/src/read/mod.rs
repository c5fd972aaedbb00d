//! Reads: the newest durable version of a record.

pub(crate) mod queue;
pub(crate) mod reader;
