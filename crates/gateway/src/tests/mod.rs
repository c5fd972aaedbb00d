//! Tests of a whole gateway over loopback, against shards that a test drives.

mod batch;
mod deadlines;
mod input;
mod json;
mod lists;
mod peers;
pub(crate) mod rig;
mod sealed;
mod server;
mod session;
mod slots;
mod stream;
mod unread;
