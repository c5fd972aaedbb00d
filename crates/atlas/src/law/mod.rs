//! Statute packs: one law each, as data.

pub(crate) mod builtin;
pub(crate) mod moment;
pub(crate) mod pack;
pub(crate) mod schema;
pub(crate) mod statute;
pub(crate) mod vocabulary;
