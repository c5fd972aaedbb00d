//! What one piece of evidence says.

use std::fmt;

use crate::Country;

/// What a finding says about a person. In the order in which countries count for a placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Aspect {
    /// Lives there.
    Resident,
    /// Is a citizen of it.
    Citizen,
    /// Is, or was, there.
    Present,
    /// Is reached by a number of that country: a hint, for want of anything better.
    Contact,
}

impl Aspect {
    /// All of them, in their order.
    pub const ALL: &'static [Self] = &[Self::Resident, Self::Citizen, Self::Present, Self::Contact];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resident => "resident",
            Self::Citizen => "citizen",
            Self::Present => "present",
            Self::Contact => "contact",
        }
    }
}

/// What a caller can give to show where a person belongs. The numbers are stored: they stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum EvidenceKind {
    /// A declared citizenship.
    Citizenship = 1,
    /// The issuer of a passport or a national identity card.
    Document = 2,
    /// The country of residence.
    Residence = 3,
    /// Where the person was when the data were collected, known to the caller.
    CollectedIn = 4,
    /// The address from which the person came. Ignored where there is [`EvidenceKind::CollectedIn`].
    Ip = 5,
    /// A telephone number.
    Phone = 6,
    /// The mobile country code of a SIM card.
    Sim = 7,
}

impl EvidenceKind {
    /// All of them, by number.
    pub const ALL: &'static [Self] = &[
        Self::Citizenship,
        Self::Document,
        Self::Residence,
        Self::CollectedIn,
        Self::Ip,
        Self::Phone,
        Self::Sim,
    ];

    /// Its name in files, on the wire and in the placement log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Citizenship => "citizenship",
            Self::Document => "document",
            Self::Residence => "residence",
            Self::CollectedIn => "collected_in",
            Self::Ip => "ip",
            Self::Phone => "phone",
            Self::Sim => "sim",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }

    /// Its number, from 1 to 7.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The kind of that number.
    pub fn of_number(number: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.number() == number)
    }

    /// What a finding of this kind says.
    pub const fn aspect(self) -> Aspect {
        match self {
            Self::Citizenship | Self::Document => Aspect::Citizen,
            Self::Residence => Aspect::Resident,
            Self::CollectedIn | Self::Ip => Aspect::Present,
            Self::Phone | Self::Sim => Aspect::Contact,
        }
    }
}

impl fmt::Display for EvidenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of evidence kinds: what the placement log and reasons name in place of values.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Kinds(u8);

impl Kinds {
    /// None.
    pub const EMPTY: Self = Self(0);

    /// These, and that one.
    #[must_use]
    pub const fn with(self, kind: EvidenceKind) -> Self {
        Self(self.0 | 1 << kind.number())
    }

    /// All that are in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it has that kind.
    pub const fn contains(self, kind: EvidenceKind) -> bool {
        self.0 >> kind.number() & 1 == 1
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those of them that play a part in a ruling: `ip` does not where there is
    /// `collected_in`, and contacts do only where nothing is known of residence and presence.
    #[must_use]
    pub fn counted(self) -> Self {
        use EvidenceKind::{CollectedIn, Ip, Phone, Residence, Sim};
        let without = |kind| match kind {
            Ip => self.contains(CollectedIn),
            Phone | Sim => [Residence, CollectedIn, Ip].iter().any(|kind| self.contains(*kind)),
            Residence | CollectedIn | EvidenceKind::Citizenship | EvidenceKind::Document => false,
        };
        self.iter().filter(|kind| !without(*kind)).fold(Self::EMPTY, Self::with)
    }

    /// Its kinds, by number.
    pub fn iter(self) -> impl Iterator<Item = EvidenceKind> {
        EvidenceKind::ALL.iter().copied().filter(move |kind| self.contains(*kind))
    }
}

impl fmt::Display for Kinds {
    /// The names, with commas between them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, kind) in self.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{kind}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kinds({self})")
    }
}

/// What a caller sent as a finding is none: no country that ISO 3166-1 lists, or `XX` for a kind
/// other than citizenship and document. It never holds what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not an ISO 3166-1 alpha-2 code (XX, stateless, for citizenship and document only)")]
pub struct MalformedFinding;

/// What one piece of evidence says: a kind, and a country. Personal data: it shows no country in
/// `Debug`, and has no `Display`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Finding {
    kind: EvidenceKind,
    country: Option<Country>,
}

impl Finding {
    /// The code that stands for "no citizenship of any country".
    pub const STATELESS: &'static str = "XX";

    /// That evidence of this kind points to this country.
    pub const fn new(kind: EvidenceKind, country: Country) -> Self {
        Self { kind, country: Some(country) }
    }

    /// That the person is a citizen of no country. None for a kind that says nothing of
    /// citizenship.
    pub fn stateless(kind: EvidenceKind) -> Option<Self> {
        (kind.aspect() == Aspect::Citizen).then_some(Self { kind, country: None })
    }

    /// Reads a finding that a caller sent in place of raw evidence: an alpha-2 code for any kind,
    /// or `XX` for one that speaks of citizenship.
    ///
    /// # Errors
    /// [`MalformedFinding`] for anything else.
    pub fn parse(kind: EvidenceKind, code: &str) -> Result<Self, MalformedFinding> {
        match Country::parse(code) {
            Some(country) => Ok(Self::new(kind, country)),
            None if code == Self::STATELESS => Self::stateless(kind).ok_or(MalformedFinding),
            None => Err(MalformedFinding),
        }
    }

    /// The kind of evidence behind it.
    pub const fn kind(&self) -> EvidenceKind {
        self.kind
    }

    /// The country. None: stateless, which only citizenship and document can say.
    pub const fn country(&self) -> Option<Country> {
        self.country
    }

    /// What it says about the person.
    pub const fn aspect(&self) -> Aspect {
        self.kind.aspect()
    }

    /// The country's code, or `XX`.
    pub fn code(&self) -> &'static str {
        self.country.map_or(Self::STATELESS, Country::as_str)
    }
}

impl fmt::Debug for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Finding({}, …)", self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_named_and_numbered() {
        for (n, kind) in (1_u8..).zip(EvidenceKind::ALL) {
            assert_eq!(kind.number(), n);
            assert_eq!(EvidenceKind::of_number(n), Some(*kind));
            assert_eq!(EvidenceKind::parse(kind.as_str()), Some(*kind));
        }
        assert_eq!(EvidenceKind::parse("locale"), None);
        assert_eq!(EvidenceKind::of_number(0), None);
    }

    #[test]
    fn only_citizenship_can_be_stateless() {
        for kind in EvidenceKind::ALL {
            let citizen = kind.aspect() == Aspect::Citizen;
            assert_eq!(Finding::parse(*kind, "XX").is_ok(), citizen, "{kind}");
            assert_eq!(Finding::parse(*kind, "KZ").map(|f| f.code()), Ok("KZ"));
            for bad in ["", "kz", "KAZ", "EU", "XA"] {
                assert_eq!(Finding::parse(*kind, bad), Err(MalformedFinding));
            }
        }
    }

    #[test]
    fn a_finding_does_not_show_its_country() {
        let finding = Finding::parse(EvidenceKind::Residence, "KZ").unwrap();
        assert_eq!(format!("{finding:?}"), "Finding(residence, …)");
    }

    #[test]
    fn sets_of_kinds_list_names() {
        let kinds = Kinds::EMPTY.with(EvidenceKind::Sim).with(EvidenceKind::Citizenship);
        assert_eq!(kinds.to_string(), "citizenship, sim");
        assert!(kinds.contains(EvidenceKind::Sim) && !kinds.contains(EvidenceKind::Ip));
    }
}
