//! Backups of a shard's store: made while it serves or stands, verified, and restored.

pub(crate) mod bucket;
mod changes;
pub(crate) mod check;
pub(crate) mod create;
mod format;
mod logs;
pub(crate) mod restore;
pub(crate) mod serve;
mod source;
mod write;
