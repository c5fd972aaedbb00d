//! The decision: which laws attach, where the record may lie, and who may read it.

pub(crate) mod attach;
pub(crate) mod egress;
pub(crate) mod place;
pub(crate) mod refusal;
pub(crate) mod ruling;
