//! Reads: the newest durable version of a record, lists and counts.

pub(crate) mod before_move;
pub(crate) mod binding;
pub(crate) mod copies;
pub(crate) mod list;
pub(crate) mod locate;
pub(crate) mod person;
pub(crate) mod queue;
pub(crate) mod reader;
