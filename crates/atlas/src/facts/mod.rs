//! What is known of a person: single findings, and all of them together.

pub(crate) mod finding;
pub(crate) mod findings;
