//! Writes: commands wait in one queue, and one committer makes atomic, durable commits of them.

pub(crate) mod admin;
pub(crate) mod all_or_none;
pub(crate) mod command;
pub(crate) mod committer;
pub(crate) mod entries;
mod fill;
pub(crate) mod queue_share;
mod recovery;
pub(crate) mod retries;
pub(crate) mod transaction;
