//! What a report is made from. Whoever calls reads files and clocks; nothing here does.

use std::fmt;

use ledger::{Entry, Hash};

use crate::Maps;

/// The entries of one log in its order, each with its number. What cannot be read is said in
/// words, and the report goes on without it and says so.
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

/// Who operates the deployment, as whoever makes the report says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Operator {
    /// The legal name.
    pub name: Option<String>,
    /// The postal address.
    pub address: Option<String>,
}

/// One placement log: one period of one shard.
pub struct LogInput<'a> {
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
    /// The signed note of the checkpoint up to which it is reported on.
    pub checkpoint: String,
    /// The checkpoint's size.
    pub size: u64,
    /// The checkpoint's root.
    pub root: Hash,
    /// The witnesses that have cosigned the checkpoint.
    pub witnesses: Vec<String>,
    /// What its verification has found. None: it was verified whole.
    pub findings: Vec<String>,
    /// Its entries.
    pub entries: Entries<'a>,
}

impl<'a> LogInput<'a> {
    /// Its entries, and the rest of it.
    pub(crate) fn without_entries(self) -> (Entries<'a>, LogInput<'static>) {
        let Self { origin, region, shard, vkey, key_by_policy, checkpoint, size, root, .. } = self;
        let Self { witnesses, findings, .. } = self;
        let none: Entries<'static> = Box::new(std::iter::empty());
        let rest = LogInput {
            origin,
            region,
            shard,
            vkey,
            key_by_policy,
            checkpoint,
            size,
            root,
            witnesses,
            findings,
            entries: none,
        };
        (self.entries, rest)
    }
}

impl fmt::Debug for LogInput<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogInput")
            .field("origin", &self.origin)
            .field("size", &self.size)
            .field("findings", &self.findings)
            .finish_non_exhaustive()
    }
}

/// Everything that a report is made from.
#[derive(Debug)]
pub struct Input<'a> {
    /// The name of the deployment.
    pub deployment: String,
    /// The report's number, as whoever makes it says.
    pub number: Option<String>,
    /// The first minute that is reported on, and the first that no longer is; minutes since
    /// 1970-01-01T00:00Z.
    pub period: std::ops::Range<u32>,
    /// The minute in which the report is made: the only time in it that is not an input's.
    pub generated: u32,
    /// Who operates the deployment.
    pub operator: Operator,
    /// The logs.
    pub logs: Vec<LogInput<'a>>,
    /// The region maps.
    pub maps: &'a Maps,
}
