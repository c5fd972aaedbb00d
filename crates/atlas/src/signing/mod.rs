//! Signed maps: who may sign, and how many must.

pub(crate) mod signed;
pub(crate) mod widening;
