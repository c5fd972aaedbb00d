//! The attributes that a collection declares.

use std::fmt;

use crate::attributes::{AttributeName, AttributeType, AttributeValue, Index};
use crate::map::shapes::ATTRIBUTE_NAME;
use crate::toml::Section;
use crate::toml::schema::{Form, Table, needed, optional};

/// What the map says of one attribute of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeRules {
    name: AttributeName,
    kind: AttributeType,
    index: Index,
}

impl AttributeRules {
    /// Its name.
    pub const fn name(&self) -> &AttributeName {
        &self.name
    }

    /// The type of its values.
    pub const fn kind(&self) -> AttributeType {
        self.kind
    }

    /// How records are found by it.
    pub const fn index(&self) -> Index {
        self.index
    }

    /// Whether a value is of its type.
    pub fn takes(&self, value: &AttributeValue) -> bool {
        value.kind() == self.kind
    }
}

impl fmt::Display for AttributeRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, kind, index } = self;
        write!(f, "{name} ({}, index {})", kind.as_str(), index.as_str())
    }
}

pub(super) static ATTRIBUTE: Table = Table {
    what: "attribute",
    means: "A small typed value beside the body of a record, by which records can be found.",
    count_max: crate::limits::ATTRIBUTES_MAX,
    keys: &[
        needed("name", ATTRIBUTE_NAME, "As callers name it."),
        needed(
            "type",
            Form::Word(AttributeType::WORDS),
            "The type of its values: text of at most 256 bytes, whole numbers of 64 bits, true or false, moments.",
        ),
        optional(
            "index",
            Form::Word(Index::WORDS),
            "none",
            "`exact`: found by equality, by a keyed hash of the value. `range`: found by equality and in order; a person with access to the disk sees its values in their order. `none`: not found by it. Records that are stored already get their rows after the map that declares it; until all have them, what would be answered by it is refused with `INDEX_BUILDING`.",
        ),
    ],
};

/// The attributes of one collection, by name.
pub(super) fn attributes(section: &Section<'_>) -> Vec<AttributeRules> {
    let mut all: Vec<AttributeRules> = Vec::new();
    for section in section.sections("attributes") {
        let name = section.parse("name", AttributeName::parse);
        let kind = section.parse("type", AttributeType::parse);
        let index = section.parse("index", Index::parse).map_or(Index::None, |index| index.it);
        let (Some(name), Some(kind)) = (name, kind) else { continue };
        match all.binary_search_by(|own| own.name.cmp(&name.it)) {
            Ok(_) => {
                let problem = format!("there is an attribute `{}` already", name.it);
                let help = "remove one of them, or rename it";
                section.wrong(name.at, "NAME_DUPLICATE", problem, help);
            }
            Err(place) => {
                all.insert(place, AttributeRules { name: name.it, kind: kind.it, index });
            }
        }
    }
    all
}
