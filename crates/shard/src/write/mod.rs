//! Writes: commands wait in one queue, and one committer makes atomic, durable commits of them.

pub(crate) mod admin;
pub(crate) mod all_or_none;
pub(crate) mod answers;
pub(crate) mod command;
pub(crate) mod committer;
pub(crate) mod entries;
pub(crate) mod expiry;
pub(crate) mod feed_sweep;
mod fill;
mod index_rows;
pub(crate) mod queue_share;
pub(crate) mod record_rows;
mod recovery;
pub(crate) mod retries;
pub(crate) mod rotate;
pub(crate) mod transaction;
