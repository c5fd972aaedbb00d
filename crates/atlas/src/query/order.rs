//! In which order a list comes.

use terms::{Reason, Rejection};

use crate::attributes::AttributeName;
use crate::map::CollectionRules;
use crate::query::filter::{needs, unknown};

/// By what a list is ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderBy {
    /// The attribute; none: the records' keys.
    pub attribute: Option<AttributeName>,
    /// Whether the largest comes first.
    pub descending: bool,
}

impl OrderBy {
    /// Reads an order: `key`, or an attribute with the index `range`, and ` desc` or ` asc` behind
    /// it. `None`: the text is empty, and any order will do.
    ///
    /// # Errors
    /// `FILTER_INVALID`, `ATTRIBUTE_UNKNOWN`, `INDEX_REQUIRED`; each with the field `order_by`.
    pub fn parse(text: &str, rules: &CollectionRules) -> Result<Option<Self>, Rejection> {
        let mut words = text.split_ascii_whitespace();
        let Some(name) = words.next() else { return Ok(None) };
        let descending = match (words.next(), words.next()) {
            (None, _) | (Some("asc"), None) => false,
            (Some("desc"), None) => true,
            _ => {
                let fault = Rejection::new(Reason::FilterInvalid).field("order_by");
                return Err(fault.problem("should be one name, and `asc` or `desc` behind it"));
            }
        };
        if name == "key" {
            return Ok(Some(Self { attribute: None, descending }));
        }
        let own = AttributeName::parse(name).and_then(|name| rules.attribute(&name));
        let own = own.ok_or_else(|| unknown("order_by", 1, rules))?;
        needs("order_by", own, true)?;
        Ok(Some(Self { attribute: Some(own.name().clone()), descending }))
    }
}
