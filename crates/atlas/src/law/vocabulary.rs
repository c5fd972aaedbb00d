//! The closed vocabulary of laws and maps: every word that a file may use for a choice.

use std::fmt;

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

id! {
    /// The name of a ground on which a collection may be outside of a law, such as `6-1-3`.
    ExemptionId
}

id! {
    /// A sector in which a tenant may work, such as `cii-operator`. Packs and maps agree on it.
    Sector
}

/// That a law does not attach to a collection, and on what ground of that law.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exempt {
    /// The law.
    pub statute: StatuteId,
    /// The ground, one of the law's own.
    pub exemption: ExemptionId,
}

impl Exempt {
    /// Reads `<pack id>/<exemption id>`.
    pub fn parse(text: &str) -> Option<Self> {
        let (statute, exemption) = text.split_once('/')?;
        let (statute, exemption) = (StatuteId::parse(statute)?, ExemptionId::parse(exemption)?);
        Some(Self { statute, exemption })
    }
}

impl fmt::Display for Exempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.statute, self.exemption)
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$word_doc])* $word,)* }

        impl $name {
            /// All of them, in their order.
            pub const ALL: &'static [Self] = &[$(Self::$word),*];

            /// The words of all of them, in their order.
            pub(crate) const WORDS: &'static [&'static str] = &[$($text),*];

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
        /// The record is refused, and a person decides.
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

words! {
    /// How bodies pass gateways.
    Transit {
        /// As they are, or sealed, as the caller likes.
        Any "any",
        /// Sealed to their region only: a gateway cannot read them as they pass.
        Sealed "sealed",
    }
}

words! {
    /// On which ground a law wants data erased.
    ErasureGround {
        /// They were processed unlawfully.
        Unlawful "unlawful",
        /// The purpose for which they were processed is reached.
        PurposeReached "purpose-reached",
        /// The person has withdrawn the consent.
        ConsentWithdrawn "consent-withdrawn",
        /// The person demands it, or that the processing stops.
        Demand "demand",
    }
}

words! {
    /// In what a term is counted.
    TermUnit {
        /// Days of the calendar.
        Days "days",
        /// Monday to Friday: public holidays are not known.
        WorkingDays "working-days",
        /// Months of the calendar.
        Months "months",
    }
}

words! {
    /// How well a fact of a pack was verified. The best first.
    Verified {
        /// Seen in a public page, most of them law-firm summaries.
        Seen "seen",
        /// Partly visible, a copy of another page, or of low quality.
        Weak "weak",
        /// From memory: check before relying on it.
        Memory "memory",
        /// Drawn here: not a statement of law.
        Inference "inference",
    }
}

impl Verified {
    /// Whether it is said of the law, and not of how a pack reads it.
    pub const fn is_of_law(self) -> bool {
        !matches!(self, Self::Inference)
    }

    /// Whether it has a public source, whose address the pack then gives.
    pub const fn has_source(self) -> bool {
        match self {
            Self::Seen | Self::Weak => true,
            Self::Memory | Self::Inference => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_order_by_strictness() {
        assert!(Constraint::ALL.is_sorted());
        assert!(Constraint::Exclusive < Constraint::None);
    }
}
