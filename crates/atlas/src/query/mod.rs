//! What a list asks for: a filter over the declared attributes of a collection, and an order.
//!
//! The filter language is the part of AIP-160 that indexes can answer:
//! ```text
//! filter     = [ all ]
//! all        = term { "AND" term }
//! term       = "(" all ")" | comparison
//! comparison = name operator value | name "IN" "(" value { "," value } ")"
//! operator   = "=" | "!=" | "<" | "<=" | ">" | ">="
//! value      = string | integer | "true" | "false"
//! string     = '"' … '"' | "'" … "'"      with \" \' and \\ inside
//! integer    = [ "-" ] digits
//! ```
//! A timestamp is a string of RFC 3339. A comparison with an attribute that a record does not have
//! is false, `!=` too.

mod filter;
mod lexer;
mod order;

pub use filter::{Comparison, Filter, Operator};
pub use order::OrderBy;

#[cfg(test)]
mod tests;
