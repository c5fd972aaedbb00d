//! What a report is made from. The caller reads files and clocks; this crate does not.

use std::fmt;

use ledger::entry::MapRef;
use ledger::{Entry, Hash};

use audit::Maps;

/// The entries of one log in order, each with its index. An entry that cannot be read is a sentence;
/// the report leaves it out and states so.
pub type Entries<'a> = Box<dyn Iterator<Item = Result<(u64, Entry), String>> + 'a>;

/// In which language a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Language {
    /// English.
    #[default]
    En,
    /// Russian.
    Ru,
}

impl Language {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::En, Self::Ru];

    /// Its tag, as `lang` of a page.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Ru => "ru",
        }
    }

    /// The language of that tag.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|language| language.as_str() == text)
    }
}

/// Who operates the deployment, as the maker of the report states.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Operator {
    /// The legal name.
    pub name: Option<String>,
    /// The postal address.
    pub address: Option<String>,
}

/// What is known of one placement log: one period of one shard.
#[derive(Debug, Clone)]
pub struct LogFacts {
    /// Its origin: `<deployment>/<region>/<shard>/<period>`.
    pub origin: String,
    /// Its region.
    pub region: String,
    /// Its shard.
    pub shard: String,
    /// Its verifier key.
    pub vkey: String,
    /// Whether a policy that came by another way names that key.
    pub key_by_policy: bool,
    /// The signed note of the checkpoint that the report ends at.
    pub checkpoint: String,
    /// The checkpoint's size.
    pub size: u64,
    /// The checkpoint's root.
    pub root: Hash,
    /// The witnesses that have cosigned the checkpoint.
    pub witnesses: Vec<String>,
    /// What its verification has found, and what else contradicts it. Empty: every entry was verified.
    pub findings: Vec<String>,
    /// Maps that its entries name and that were not given: what these say of the law was not compared.
    pub maps_missing: Vec<MapRef>,
}

/// One placement log, as the report reads it.
pub struct LogInput<'a> {
    /// What is known of it.
    pub facts: LogFacts,
    /// Its entries.
    pub entries: Entries<'a>,
}

impl fmt::Debug for LogInput<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogInput").field("facts", &self.facts).finish_non_exhaustive()
    }
}

/// Everything that a report is made from.
#[derive(Debug)]
pub struct Input<'a> {
    /// The name of the deployment.
    pub deployment: String,
    /// The report's number, as its maker states.
    pub number: Option<String>,
    /// The period, in minutes since 1970-01-01T00:00Z.
    pub period: std::ops::Range<u32>,
    /// The minute in which the report is made.
    pub generated: u32,
    /// Who operates the deployment.
    pub operator: Operator,
    /// The logs.
    pub logs: Vec<LogInput<'a>>,
    /// The region maps.
    pub maps: &'a Maps,
}
