//! Statute packs: one law each, as data.

pub(crate) mod builtin;
pub(crate) mod intern;
pub(crate) mod pack;
pub(crate) mod statute;
pub(crate) mod vocabulary;
