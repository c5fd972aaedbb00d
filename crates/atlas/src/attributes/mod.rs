//! Attributes of records: small typed values beside the body, by which records are found.
//!
//! A collection declares its attributes in the map ([`crate::AttributeRules`]). Here are their names
//! and values, and the one form in which they travel between our processes and lie in a record.

mod list;
mod time;
mod value;

pub use list::{AttributesFull, AttributesMalformed, RecordAttributes};
pub use time::Timestamp;
pub use value::{AttributeName, AttributeType, AttributeValue, Index, InvalidValue};
