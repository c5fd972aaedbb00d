//! Days and moments at which laws hold.

pub(crate) mod date;
pub(crate) mod moment;
