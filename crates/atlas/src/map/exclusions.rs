//! Exclusions: the sites, and those who run them, with which data must not lie.

use std::fmt;

use terms::RegionId;

use crate::Country;
use crate::geo::country::COUNTRY;
use crate::map::names::Names;
use crate::toml::Section;
use crate::toml::schema::{Form, NAME, Table, optional};

/// The table of exclusions of a collection, or of a clause.
pub(super) static EXCLUDE: Table = Table {
    what: "table of exclusions",
    means: "The sites with which data must not lie, whatever law leads there. A site that does not state what is asked is excluded, too. Exclusions say where data lie, not who reads them.",
    count_max: 1,
    keys: &[
        optional(
            "regions",
            Form::List(&NAME),
            "none",
            "The regions at whose sites data must not lie.",
        ),
        optional(
            "operators",
            Form::List(&Form::Text),
            "none",
            "The operators with which data must not lie, as `operator` of a site names them; upper and lower case are the same, and so is any space between words. A site without `operator` is excluded, too.",
        ),
        optional(
            "controlled_from",
            Form::List(&COUNTRY),
            "none",
            "The countries from which the operator of a site must not be controlled. A site without `controlled_from` is excluded, too.",
        ),
    ],
};

/// The sites with which data must not lie.
///
/// A site that does not say who runs it, or from where that operator is controlled, is taken for one
/// that is meant, wherever an exclusion asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exclusions {
    /// By name, each once.
    regions: Vec<RegionId>,
    /// As in the file, each once.
    operators: Vec<String>,
    /// The same, folded.
    folded: Vec<String>,
    /// By code, each once.
    controlled_from: Vec<Country>,
}

impl Exclusions {
    /// The regions at whose sites data must not lie, by name.
    pub fn regions(&self) -> &[RegionId] {
        &self.regions
    }

    /// The operators with which data must not lie, as in the file.
    pub fn operators(&self) -> &[String] {
        &self.operators
    }

    /// The countries from which the operator of a site must not be controlled, by code.
    pub fn controlled_from(&self) -> &[Country] {
        &self.controlled_from
    }

    /// The operators, as names are compared.
    pub(crate) fn folded(&self) -> &[String] {
        &self.folded
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.regions.is_empty() && self.operators.is_empty() && self.controlled_from.is_empty()
    }

    /// Whether every exclusion of the other is one of these.
    pub(super) fn hold_all_of(&self, other: &Self) -> bool {
        other.regions.iter().all(|name| self.regions.contains(name))
            && other.folded.iter().all(|own| self.folded.contains(own))
            && other.controlled_from.iter().all(|from| self.controlled_from.contains(from))
    }
}

/// The name of an operator, as names are compared.
pub(crate) fn folded(operator: &str) -> String {
    let words: Vec<&str> = operator.split_whitespace().collect();
    words.join(" ").to_lowercase()
}

impl fmt::Display for Exclusions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let regions: Vec<&str> = self.regions.iter().map(RegionId::as_str).collect();
        let countries: Vec<&str> = self.controlled_from.iter().map(|from| from.as_str()).collect();
        write!(
            f,
            "regions [{}], operators {:?}, controlled from [{}]",
            regions.join(", "),
            self.operators,
            countries.join(", ")
        )
    }
}

/// Reads the exclusions of a section; none if it has none.
pub(super) fn exclusions(section: &Section<'_>, names: &mut Names) -> Exclusions {
    let Some(section) = section.section("exclude") else { return Exclusions::default() };
    let listed = section.list("regions", |text| RegionId::parse(text).ok());
    let mut regions: Vec<RegionId> = listed.iter().map(|name| name.it.clone()).collect();
    names.regions.extend(listed);
    regions.sort();
    regions.dedup();
    let (mut operators, mut all) = (Vec::new(), Vec::new());
    for text in section.texts("operators").unwrap_or_default() {
        let one = folded(text.it);
        if !all.contains(&one) {
            all.push(one);
            operators.push(text.it.to_owned());
        }
    }
    let controlled_from = countries(&section, "controlled_from");
    Exclusions { regions, operators, folded: all, controlled_from }
}

/// The countries of a list, by code, each once.
pub(super) fn countries(section: &Section<'_>, key: &str) -> Vec<Country> {
    let mut all: Vec<Country> =
        section.list(key, Country::parse).into_iter().map(|country| country.it).collect();
    all.sort();
    all.dedup();
    all
}
