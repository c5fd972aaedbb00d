//! How a shard is made, opened, converted, recovered and started.

pub(crate) mod convert;
pub(crate) mod init;
pub(crate) mod inspect;
pub(crate) mod open;
pub(crate) mod recover;
pub(crate) mod recovery_mark;
pub(crate) mod rotate;
pub(crate) mod select_map;
pub(crate) mod shard;
