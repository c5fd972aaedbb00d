//! A figure: one number of the report, with what it counts and where it comes from.

use std::fmt;

use super::period::Month;

/// Counts below this, and above nothing, are not shown where they speak of people by the law that
/// claims them.
pub const SMALL: u64 = 10;

/// The part of the report that a figure belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Section {
    /// Records by jurisdiction, region and month.
    Records,
    /// The order of writes.
    Order,
    /// Refusals.
    Refusals,
    /// Erasures.
    Erasures,
    /// Accesses.
    Accesses,
    /// Keys, backups, restores and exports.
    Events,
}

impl Section {
    /// Its word in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Order => "order",
            Self::Refusals => "refusals",
            Self::Erasures => "erasures",
            Self::Accesses => "accesses",
            Self::Events => "events",
        }
    }
}

/// What is shown of a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Value {
    /// The count itself.
    Count(u64),
    /// It is above nothing and below [`SMALL`].
    Small,
    /// It is not shown because it would give away one that is small.
    Withheld,
}

impl Value {
    /// The count, if it is shown.
    pub const fn count(self) -> Option<u64> {
        match self {
            Self::Count(count) => Some(count),
            Self::Small | Self::Withheld => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Small => write!(f, "<{SMALL}"),
            Self::Withheld => f.write_str("*"),
        }
    }
}

/// One number of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    /// The part that it belongs to.
    pub section: Section,
    /// The region.
    pub region: String,
    /// The shard; empty: all shards of the region whose logs are here.
    pub shard: String,
    /// The month; none: the whole period.
    pub month: Option<Month>,
    /// What is counted.
    pub dimension: &'static str,
    /// Of what, in as many parts as the dimension has.
    pub key: Vec<String>,
    /// How many.
    pub value: Value,
    /// The numbers of the logs that it comes from.
    pub logs: Vec<usize>,
}
