//! Territories: a country, or a group of countries with one law.

use std::cmp::Ordering;
use std::fmt;

use crate::geo::country::{Countries, Country};
use crate::toml::schema::{Form, Json, Shape};

/// A group of countries that share a legal order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// The European Economic Area: its thirty states, and the territories with their own country
    /// code that belong to it (Åland and the French outermost regions, Saint Martin included).
    Eea,
}

/// Members of [`Group::Eea`]: the 27 states of the Union, then IS LI NO, then the territories.
const EEA: Countries = Countries::of(
    "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK \
     IS LI NO AX GF GP MQ MF RE YT",
);

impl Group {
    /// All groups, by code.
    pub const ALL: &'static [Self] = &[Self::Eea];

    /// Its code, which is never two letters long.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Eea => "EEA",
        }
    }

    /// Whether it has that country.
    pub fn contains(self, country: Country) -> bool {
        self.members().contains(country)
    }

    pub(crate) const fn members(self) -> Countries {
        match self {
            Self::Eea => EEA,
        }
    }
}

/// A country, or a group of countries. Territories order as their codes do.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Territory {
    /// One country.
    Country(Country),
    /// Several.
    Group(Group),
}

/// A territory, in files.
pub(crate) const TERRITORY: Form = Form::Shape(&Shape {
    name: "territory",
    code: "TERRITORY_UNKNOWN",
    wanted: "a country or EEA",
    json: Json::Words(|| territories().collect()),
});

/// The codes of all territories.
pub(crate) fn territories() -> impl Iterator<Item = &'static str> {
    let groups = Group::ALL.iter().map(|group| group.as_str());
    Country::all().map(Country::as_str).chain(groups)
}

/// A territory as a legal order: whose law it is that attaches.
pub type Jurisdiction = Territory;

impl Territory {
    /// The territory of a code: alpha-2 for a country, or a group's (`EEA`).
    pub fn parse(code: &str) -> Option<Self> {
        Country::parse(code).map(Self::Country).or_else(|| {
            Group::ALL.iter().copied().find(|group| group.as_str() == code).map(Self::Group)
        })
    }

    /// Its code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Country(country) => country.as_str(),
            Self::Group(group) => group.as_str(),
        }
    }

    /// Whether that country is it, or lies in it.
    pub fn contains(self, country: Country) -> bool {
        match self {
            Self::Country(own) => own == country,
            Self::Group(group) => group.contains(country),
        }
    }

    pub(crate) const fn members(self) -> Countries {
        match self {
            Self::Country(country) => Countries::EMPTY.with(country),
            Self::Group(group) => group.members(),
        }
    }
}

impl PartialOrd for Territory {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Territory {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl From<Country> for Territory {
    fn from(country: Country) -> Self {
        Self::Country(country)
    }
}

impl fmt::Debug for Territory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Territory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eea_is_thirty_states_and_seven_territories() {
        assert_eq!(EEA.iter().count(), 37);
        let eea = Territory::parse("EEA").unwrap();
        for code in ["AX", "GF", "GP", "MQ", "MF", "RE", "YT", "NO", "IS", "LI", "HR"] {
            assert!(eea.contains(Country::parse(code).unwrap()), "{code}");
        }
        for code in ["GB", "CH", "GG", "NC", "PF", "PM", "BL", "GL", "FO", "SJ", "AW"] {
            assert!(!eea.contains(Country::parse(code).unwrap()), "{code}");
        }
    }

    #[test]
    fn the_united_kingdom_is_without_its_neighbours() {
        let gb = Territory::parse("GB").unwrap();
        for code in ["GG", "JE", "IM", "GI"] {
            assert!(!gb.contains(Country::parse(code).unwrap()), "{code}");
        }
    }

    #[test]
    fn territories_order_by_code() {
        let mut all: Vec<Territory> =
            ["RU", "EEA", "ES", "EC", "GB"].iter().filter_map(|c| Territory::parse(c)).collect();
        all.sort();
        assert_eq!(format!("{all:?}"), "[EC, EEA, ES, GB, RU]");
        assert_eq!(Territory::parse("EU"), None);
    }
}
