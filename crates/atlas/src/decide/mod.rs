//! The decision: which laws attach, where the record may lie, whether it may cross a border.

pub(crate) mod egress;
pub(crate) mod place;
pub(crate) mod refusal;
pub(crate) mod ruling;
