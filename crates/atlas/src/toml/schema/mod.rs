//! Every key that a map, an annex or a pack may have, in one place: the readers refuse what is not
//! here, and the JSON Schemas and the reference page are made from it.

mod json;
mod map;
mod people;
mod rest;

pub(crate) use map::MAP;
pub(crate) use people::PEOPLE;
pub(crate) use rest::{ANNEX, PACK};

/// The JSON Schema of region maps, for editors.
pub fn map() -> String {
    json::schema(&MAP)
}

/// The JSON Schema of annexes, for editors.
pub fn annex() -> String {
    json::schema(&ANNEX)
}

/// The JSON Schema of statute packs, for editors.
pub fn pack() -> String {
    json::schema(&PACK)
}

/// The JSON Schema of files of people with the answers that a map must give, for editors.
pub fn people() -> String {
    json::schema(&PEOPLE)
}

/// The tables of a map, an annex and a pack: what each of their files may hold.
pub fn files() -> [&'static Table; 3] {
    [&MAP, &ANNEX, &PACK]
}

/// One table of a file: what it is, and its keys.
#[derive(Debug)]
pub struct Table {
    /// What one of them is called in messages, such as `region`.
    pub what: &'static str,
    /// What it is for.
    pub means: &'static str,
    /// How many there may be in one file.
    pub count_max: usize,
    /// Its keys, in the order in which they are explained.
    pub keys: &'static [Key],
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What may stand behind it.
    pub form: Form,
    /// Whether it must be there. What depends on another key is said in `means`.
    pub needed: bool,
    /// What holds when it is left out.
    pub default: &'static str,
    /// What it means.
    pub means: &'static str,
}

/// What may stand behind a key.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// A text.
    Text,
    /// A name of `a-z`, `0-9` and inner `-`, at most 63 bytes.
    Name,
    /// A SPIFFE trust domain.
    TrustDomain,
    /// An ISO 3166-1 alpha-2 code.
    Country,
    /// A country, or a group of countries.
    Territory,
    /// A territory, or `*`.
    HomeFor,
    /// A day.
    Date,
    /// A whole number from 0 to this.
    Number(u64),
    /// True or false.
    Flag,
    /// `sha256:` and 64 hexadecimal digits.
    Digest,
    /// A verifier key: name, id and key.
    Vkey,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `<pack id>/<exemption id>`.
    Exempt,
    /// A prefix of addresses.
    Addresses,
    /// A prefix of telephone numbers.
    Numbers,
    /// `http://` or `https://`, host and port.
    Address,
    /// A range of slots.
    Slots,
    /// One of that form, or a list of them.
    List(&'static Self),
    /// A name, a list of names, or `*`.
    Collections,
    /// A table.
    Table(&'static Table),
    /// A list of tables.
    Tables(&'static Table),
}

impl Table {
    /// The key of that name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

impl Form {
    /// What the tables behind the key may hold, if there are tables.
    pub const fn table(&self) -> Option<&'static Table> {
        match self {
            Self::Table(inner) | Self::Tables(inner) => Some(inner),
            Self::Text | Self::Name | Self::TrustDomain | Self::Country | Self::Territory => None,
            Self::HomeFor | Self::Date | Self::Number(_) | Self::Flag | Self::Digest => None,
            Self::Vkey | Self::Word(_) | Self::Exempt | Self::Addresses | Self::Numbers => None,
            Self::Address | Self::Slots | Self::List(_) | Self::Collections => None,
        }
    }

    /// What it is called on the reference page.
    pub fn describe(&self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Name => "name".to_owned(),
            Self::TrustDomain => "trust domain".to_owned(),
            Self::Country => "country".to_owned(),
            Self::Territory => "territory".to_owned(),
            Self::HomeFor => "territory or `*`".to_owned(),
            Self::Date => "day".to_owned(),
            Self::Number(u64::MAX) => "whole number".to_owned(),
            Self::Number(most) => format!("whole number up to {most}"),
            Self::Flag => "`true` or `false`".to_owned(),
            Self::Digest => "digest".to_owned(),
            Self::Vkey => "key".to_owned(),
            Self::Word(words) => {
                words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
            }
            Self::Exempt => "`<statute>/<exemption>`".to_owned(),
            Self::Addresses => "prefix of addresses".to_owned(),
            Self::Numbers => "prefix of numbers".to_owned(),
            Self::Address => "address".to_owned(),
            Self::Slots => "range of slots".to_owned(),
            Self::List(form) => format!("list: {}", form.describe()),
            Self::Collections => "list: name; or `*`".to_owned(),
            Self::Table(_) => "table".to_owned(),
            Self::Tables(_) => "list of tables".to_owned(),
        }
    }
}

/// A key that must be there.
const fn needed(name: &'static str, form: Form, means: &'static str) -> Key {
    Key { name, form, needed: true, default: "", means }
}

/// A key that may be left out, and what holds then.
const fn optional(
    name: &'static str,
    form: Form,
    default: &'static str,
    means: &'static str,
) -> Key {
    Key { name, form, needed: false, default, means }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(table: &'static Table, each: &mut impl FnMut(&'static Table, &'static Key)) {
        for key in table.keys {
            each(table, key);
            if let Some(inner) = key.form.table() {
                walk(inner, each);
            }
        }
    }

    #[test]
    fn every_key_is_explained_once() {
        for file in files() {
            walk(file, &mut |table, key| {
                let here = format!("{}.{}", table.what, key.name);
                assert!(!key.means.is_empty() && !table.means.is_empty(), "{here}");
                assert_eq!(key.needed, key.default.is_empty(), "{here}");
                assert_eq!(table.keys.iter().filter(|k| k.name == key.name).count(), 1, "{here}");
            });
        }
    }
}
