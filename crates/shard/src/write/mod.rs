//! Writes: commands wait in one queue, and one committer makes atomic, durable commits of them.

pub(crate) mod abandoned;
mod accesses;
pub(crate) mod admin;
pub(crate) mod all_or_none;
pub(crate) mod answers;
pub(crate) mod command;
pub(crate) mod committer;
mod due_subjects;
pub(crate) mod entries;
mod erase;
mod erase_collection;
pub(crate) mod expiry;
pub(crate) mod feed_sweep;
mod fill;
pub(crate) mod gone_chunks;
mod index_rows;
pub(crate) mod question;
pub(crate) mod queue_share;
pub(crate) mod record_rows;
mod recovery;
mod region_keys;
pub(crate) mod retries;
pub(crate) mod rewrap;
pub(crate) mod rotate;
pub(crate) mod transaction;
pub(crate) mod upload_rows;
mod uploads;
