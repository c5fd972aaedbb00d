//! What a report is made from. Whoever calls reads files and clocks; nothing here does.

use std::fmt;

use ledger::{Entry, Hash};

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

/// How far a log was verified before it was reported on. The report repeats it and checks nothing
/// of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verification {
    /// Every entry hashes to the tree whose root the checkpoint signs.
    Whole {
        /// By which program or person.
        by: String,
    },
    /// Less than that.
    Partly {
        /// By which program or person.
        by: String,
        /// What is missing.
        why: String,
    },
    /// Not at all.
    Not {
        /// Why not.
        why: String,
    },
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
    /// The signed note of the checkpoint up to which it is reported on.
    pub checkpoint: String,
    /// The checkpoint's size.
    pub size: u64,
    /// The checkpoint's root.
    pub root: Hash,
    /// How far it was verified.
    pub verified: Verification,
    /// Its entries.
    pub entries: Entries<'a>,
}

impl fmt::Debug for LogInput<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogInput")
            .field("origin", &self.origin)
            .field("size", &self.size)
            .field("verified", &self.verified)
            .finish_non_exhaustive()
    }
}

/// One region map, with what travelled with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapInput {
    /// Its number, as entries name it.
    pub epoch: u64,
    /// SHA-256 of its text, as entries name it.
    pub digest: [u8; 32],
    /// Its text.
    pub text: String,
    /// The texts of the statute packs that travelled with it.
    pub packs: Vec<String>,
    /// The names of the keys whose signatures on it were verified.
    pub signers: Vec<String>,
}

/// Everything that a report is made from.
#[derive(Debug)]
pub struct Input<'a> {
    /// The name of the deployment.
    pub deployment: String,
    /// The first minute that is reported on, and the first that no longer is; minutes since
    /// 1970-01-01T00:00Z.
    pub period: std::ops::Range<u32>,
    /// The minute in which the report is made: the only time in it that is not an input's.
    pub generated: u32,
    /// In which language it is written first.
    pub language: Language,
    /// The logs.
    pub logs: Vec<LogInput<'a>>,
    /// The region maps.
    pub maps: Vec<MapInput>,
}
