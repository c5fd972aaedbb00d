//! Files of operators: read strictly, every mistake at once, with where it stands.

pub(crate) mod codes;
pub(crate) mod diagnostic;
pub(crate) mod file;
pub(crate) mod format;
pub(crate) mod nesting;
pub(crate) mod reader;
pub mod schema;
