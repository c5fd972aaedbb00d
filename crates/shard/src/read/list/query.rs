//! What is asked: as it came, and as the map in force reads it.

use atlas::{CollectionRules, Filter, OrderBy, RegionMap};
use bytes::Bytes;
use terms::{Collection, Reason, Rejection};

use crate::store::keys::Owner;

/// How much of each record is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    Names,
    Attributes,
    Whole,
}

impl View {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Names => "names",
            Self::Attributes => "attributes",
            Self::Whole => "whole",
        }
    }
}

/// What is asked of the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    Records,
    /// How many there are.
    Number,
    /// What has changed.
    Changes,
    /// All of them, page after page, with one entry in the log.
    Scan,
}

impl Of {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Number => "number",
            Self::Changes => "changes",
            Self::Scan => "scan",
        }
    }
}

/// A question about many records. It has no `Debug`: a filter may hold a person's data.
pub(crate) struct ListQuery {
    pub(crate) collection: Collection,
    /// None: the whole collection.
    pub(crate) subject: Option<Owner>,
    pub(crate) filter: String,
    pub(crate) order_by: String,
    pub(crate) view: View,
    pub(crate) page_size: usize,
    /// Weight of the page beyond its first record.
    pub(crate) weight_max: usize,
    /// Empty: the first page.
    pub(crate) cursor: Bytes,
    /// Whether each record comes with a cursor of its own.
    pub(crate) cursor_each: bool,
    pub(crate) of: Of,
    /// Why, for the log; empty: not stated.
    pub(crate) purpose: String,
    /// The caller's name, to which cursors are bound.
    pub(crate) caller: String,
}

/// The same under the map in force.
pub(crate) struct Asked<'a> {
    pub(crate) rules: &'a CollectionRules,
    pub(crate) filter: Filter,
    pub(crate) order: Option<OrderBy>,
}

impl ListQuery {
    pub(crate) fn read_under<'a>(&self, map: &'a RegionMap) -> Result<Asked<'a>, Rejection> {
        let unknown = || Rejection::new(Reason::CollectionUnknown).field("collection");
        let rules = map.collection(&self.collection).ok_or_else(unknown)?;
        let filter = Filter::parse(&self.filter, rules)?;
        let order = OrderBy::parse(&self.order_by, rules)?;
        Ok(Asked { rules, filter, order })
    }

    /// What the log says of it.
    pub(crate) fn purpose(&self) -> String {
        match (self.purpose.as_str(), self.of) {
            ("", Of::Number) => "a count of records".to_owned(),
            ("", Of::Records) => "a list of records".to_owned(),
            ("", Of::Changes) => "a watch of records".to_owned(),
            ("", Of::Scan) => "a scan of records".to_owned(),
            (stated, _) => stated.to_owned(),
        }
    }
}
