//! The one reader of operators' TOML files: maps, annexes, packs, people files, configurations.
//!
//! A file is read against a [`Table`] of its keys. The same table gives the JSON Schema for editors
//! and the reference page. Serde is not used: it stops at the first error, and this reader reports
//! all of them at once, each with its line and column.

pub(crate) mod diagnostic;
pub(crate) mod file;
mod json;
mod page;
pub(crate) mod reader;
pub(crate) mod schema;

pub use file::{At, File, SizeLimit};
pub use json::json_schema;
pub use page::reference;
pub use reader::Section;
pub use schema::{Form, Json, Key, NAME, Shape, Table, needed, optional};

pub(crate) use file::one_of;
