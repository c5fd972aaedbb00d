//! Statute packs: one law each, as data.

use std::fmt;
use std::sync::LazyLock;

use sha2::{Digest, Sha256};

use crate::read::{At, File, Section};
use crate::{Date, Diagnostic, Jurisdiction, Territory};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Reads a name of `a-z`, `0-9` and inner `-`, at most 63 bytes.
            pub fn parse(text: &str) -> Option<Self> {
                terms::RegionId::parse(text).is_ok().then(|| Self(text.into()))
            }

            /// The id.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
pub(crate) use id;

id! {
    /// The name of a statute pack, such as `ru-152fz`.
    StatuteId
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$word_doc])* $word,)* }

        impl $name {
            /// All of them, in their order.
            pub const ALL: &'static [Self] = &[$(Self::$word),*];

            /// Its word in files and on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$word => $text),* }
            }

            /// What that word stands for.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$word),)* _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What a law demands of the place of a record. The strictest first.
    Constraint {
        /// In the territory, and no copy abroad.
        Exclusive "exclusive",
        /// The first and authoritative copy in the territory; copies abroad only under a
        /// transfer clause.
        PrimaryFirst "primary-first",
        /// A copy must be in the territory.
        Mirror "mirror",
        /// Outside the territory only under a transfer clause.
        ConditionalTransfer "conditional-transfer",
        /// Nothing.
        None "none",
    }
}

words! {
    /// What makes a law attach to a person.
    Trigger {
        /// The person's citizenship.
        Citizen "citizen",
        /// Where the person lives or is.
        Located "located",
        /// Where the tenant is established.
        Operator "operator",
    }
}

words! {
    /// When a law of citizens attaches to a person whose citizenship is not known at all.
    UnknownCitizenship {
        /// With any finding in the territory: resident, present, or a contact that counts.
        AnyHint "any-hint",
        /// With a resident or present finding in the territory.
        Territory "territory",
        /// Not at all.
        Never "never",
    }
}

words! {
    /// What happens to a citizen who lives elsewhere and is not in the territory either.
    CitizensAbroad {
        /// The law attaches as it does at home.
        Attach "attach",
        /// The law does not attach.
        Ignore "ignore",
        /// The record is refused, for somebody to decide.
        Refuse "refuse",
    }
}

words! {
    /// Through which gateways the records of a law may come in. A body passes through a gateway's
    /// memory only; this is for laws that are read to forbid even that.
    Ingress {
        /// Through any.
        Anywhere "anywhere",
        /// Through gateways inside the law's territory only.
        InTerritory "in-territory",
    }
}

/// One rule of a law, with where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What it says, in our words.
    pub says: String,
    /// Where it stands.
    pub citation: String,
    /// How well this was verified: `seen`, `weak`, `memory` or `inference`.
    pub verified: String,
    /// The first day on which it holds.
    pub from: Option<Date>,
    /// The last day on which it held.
    pub until: Option<Date>,
}

/// One law as data: whom it covers, what it demands, where that is written, since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatutePack {
    id: StatuteId,
    digest: [u8; 32],
    jurisdiction: Jurisdiction,
    title: String,
    citation: String,
    source: String,
    trigger: Trigger,
    constraint: Constraint,
    unknown: UnknownCitizenship,
    from: Date,
    until: Option<Date>,
    rules: Vec<Rule>,
}

/// How well a rule was verified.
const VERIFIED: &[&str] = &["seen", "weak", "memory", "inference"];

impl StatutePack {
    /// Reads a pack from its file.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the file.
    pub fn parse(text: &str) -> Result<Self, Vec<Diagnostic>> {
        let file = File::new(text);
        let pack = file.document().and_then(|document| {
            Self::read(&file, &Section::root(&file, &document, "statute pack"), text)
        });
        match (pack, file.into_wrong()) {
            (Some(pack), wrong) if wrong.is_empty() => Ok(pack),
            (_, wrong) => Err(wrong),
        }
    }

    fn read(file: &File<'_>, root: &Section<'_>, text: &str) -> Option<Self> {
        root.only(&[
            "id",
            "jurisdiction",
            "title",
            "citation",
            "source",
            "trigger",
            "constraint",
            "unknown",
            "from",
            "until",
            "rules",
        ]);
        let id =
            root.needed("id", "NAME_INVALID", "a name of a-z, 0-9 and inner '-'", StatuteId::parse);
        let jurisdiction =
            root.needed("jurisdiction", "TERRITORY_UNKNOWN", "a country or EEA", Territory::parse);
        let trigger =
            root.needed("trigger", "VALUE_INVALID", "citizen, located or operator", Trigger::parse);
        let constraint =
            root.needed("constraint", "VALUE_INVALID", "a constraint", Constraint::parse);
        let unknown = root.text("unknown").and_then(|text| {
            let wanted = "any-hint, territory or never";
            file.parsed(text, "VALUE_INVALID", wanted, UnknownCitizenship::parse)
        });
        let own = |text: At<&str>| text.it.to_owned();
        let (title, citation) = (root.needed_text("title"), root.needed_text("citation"));
        let (source, from) = (root.needed_text("source"), root.needed_date("from"));
        let rules = root.sections("rules", "rule");
        if rules.is_empty() {
            file.wrong(0, "KEY_MISSING", "this statute pack has no rule", "cite at least one");
        }
        let rules = rules.iter().filter_map(|rule| Rule::read(file, rule)).collect();
        Some(Self {
            id: id?.it,
            digest: Sha256::digest(text).into(),
            jurisdiction: jurisdiction?.it,
            title: own(title?),
            citation: own(citation?),
            source: own(source?),
            trigger: trigger?.it,
            constraint: constraint?.it,
            unknown: unknown.map_or(UnknownCitizenship::AnyHint, |u| u.it),
            from: from?.it,
            until: root.date("until").map(|until| until.it),
            rules,
        })
    }

    /// Its name.
    pub fn id(&self) -> &StatuteId {
        &self.id
    }

    /// SHA-256 of its file, byte for byte.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Whose law it is.
    pub fn jurisdiction(&self) -> Jurisdiction {
        self.jurisdiction
    }

    /// Its title, for a person.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Where it is written.
    pub fn citation(&self) -> &str {
        &self.citation
    }

    /// Where we read it.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What makes it attach.
    pub fn trigger(&self) -> Trigger {
        self.trigger
    }

    /// What it demands.
    pub fn constraint(&self) -> Constraint {
        self.constraint
    }

    /// When it attaches to those of unknown citizenship, unless the map says otherwise.
    pub fn unknown(&self) -> UnknownCitizenship {
        self.unknown
    }

    /// Its rules.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The first day on which it is in force.
    pub fn from(&self) -> Date {
        self.from
    }

    /// The last day on which it is in force, if it ends.
    pub fn until(&self) -> Option<Date> {
        self.until
    }

    /// Whether it is in force on that day, its first and its last included.
    pub fn in_force(&self, date: Date) -> bool {
        self.from <= date && self.until.is_none_or(|until| date <= until)
    }
}

impl Rule {
    fn read(file: &File<'_>, rule: &Section<'_>) -> Option<Self> {
        rule.only(&["says", "citation", "verified", "from", "until"]);
        let (says, citation) = (rule.needed_text("says"), rule.needed_text("citation"));
        let verified = rule.needed_text("verified").and_then(|text| {
            let known = |word: &str| VERIFIED.contains(&word).then(|| word.to_owned());
            file.parsed(text, "VALUE_INVALID", "seen, weak, memory or inference", known)
        });
        Some(Self {
            says: says?.it.to_owned(),
            citation: citation?.it.to_owned(),
            verified: verified?.it,
            from: rule.date("from").map(|date| date.it),
            until: rule.date("until").map(|date| date.it),
        })
    }
}

/// The packs that travel with this program.
const FILES: &[&str] = &[
    include_str!("../statutes/eu-gdpr.toml"),
    include_str!("../statutes/in-rbi.toml"),
    include_str!("../statutes/kz-94v.toml"),
    include_str!("../statutes/ru-152fz.toml"),
    include_str!("../statutes/uk-gdpr.toml"),
];

static PACKS: LazyLock<Vec<StatutePack>> = LazyLock::new(|| {
    let read = |file: &&str| StatutePack::parse(file).expect("a test reads every pack we ship");
    FILES.iter().map(read).collect()
});

/// The statute packs that this program has, by id.
pub fn packs() -> &'static [StatutePack] {
    &PACKS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pack_reads() {
        for file in FILES {
            let pack = StatutePack::parse(file);
            assert!(pack.is_ok(), "{pack:?}");
        }
        assert!(packs().is_sorted_by_key(StatutePack::id));
        assert_eq!(packs().len(), FILES.len());
    }

    #[test]
    fn a_pack_is_in_force_from_its_first_to_its_last_day() {
        let mut pack = packs().first().unwrap().clone();
        let day = |text| Date::parse(text).unwrap();
        pack.until = Some(day("2030-01-31"));
        assert!(!pack.in_force(day("2018-05-24")) && pack.in_force(day("2018-05-25")));
        assert!(pack.in_force(day("2030-01-31")) && !pack.in_force(day("2030-02-01")));
    }

    #[test]
    fn constraints_order_by_strictness() {
        assert!(Constraint::ALL.is_sorted());
        assert!(Constraint::Exclusive < Constraint::None);
    }
}
