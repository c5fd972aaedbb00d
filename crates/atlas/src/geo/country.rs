//! Countries by their codes of ISO 3166-1, and sets of them.

use std::fmt;

use crate::toml::schema::{Form, Json, Shape};

/// The alpha-2 codes, sorted, one a line. Source: `iso3166.tab` of the IANA time zone database
/// (public domain), which follows ISO 3166-1 as of the newsletters up to 2024-02-29; and `XK`, the
/// code of the user-assigned range under which numbering plans and IP databases list Kosovo:
/// without it, people who live there would have no country.
const TABLE: &str = include_str!("../../data/countries.txt");
/// Bytes of a line of [`TABLE`]: two letters and the line's end.
const LINE: usize = 3;
/// Countries in [`TABLE`].
pub(crate) const COUNT: usize = TABLE.len() / LINE;
/// The version of the table of countries, recorded with every finding that rests on it.
pub const COUNTRIES_VERSION: &str = "iso3166-1/2024-02-29+XK";

/// Place of each pair of letters in [`TABLE`], counted from 1; 0 when the pair is no code.
const PLACES: [u8; 26 * 26] = places();

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "evaluated by the compiler, which refuses a table that does not fit"
)]
const fn places() -> [u8; 26 * 26] {
    let bytes = TABLE.as_bytes();
    assert!(bytes.len() == COUNT * LINE && COUNT < 256);
    let mut places = [0_u8; 26 * 26];
    let mut last = 0;
    let mut n = 0;
    while n < COUNT {
        let (a, b) = (bytes[n * LINE], bytes[n * LINE + 1]);
        assert!(a.is_ascii_uppercase() && b.is_ascii_uppercase() && bytes[n * LINE + 2] == b'\n');
        let pair = (a - b'A') as usize * 26 + (b - b'A') as usize;
        assert!(n == 0 || pair > last);
        places[pair] = n as u8 + 1;
        last = pair;
        n += 1;
    }
    places
}

/// A country that ISO 3166-1 lists, or Kosovo (`XK`). Countries order as their codes do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Country(
    /// Its line in [`TABLE`], counted from 1: so that `Option<Country>` is one byte as well.
    std::num::NonZeroU8,
);

impl Country {
    /// The country of an alpha-2 code in capital letters, such as `RU`. Codes that ISO 3166-1
    /// does not assign, `XX` and `EU` among them, are none.
    pub const fn parse(code: &str) -> Option<Self> {
        match *code.as_bytes() {
            [a, b] => Self::of_letters(a, b),
            _ => None,
        }
    }

    /// The country of two letters.
    #[expect(clippy::indexing_slicing, reason = "two letters of 26 are within 26 * 26")]
    pub(crate) const fn of_letters(a: u8, b: u8) -> Option<Self> {
        if !a.is_ascii_uppercase() || !b.is_ascii_uppercase() {
            return None;
        }
        let pair = (a - b'A') as usize * 26 + (b - b'A') as usize;
        match std::num::NonZeroU8::new(PLACES[pair]) {
            Some(place) => Some(Self(place)),
            None => None,
        }
    }

    /// Its alpha-2 code.
    pub fn as_str(self) -> &'static str {
        let start = self.index() * LINE;
        TABLE.get(start..start + 2).expect("a country is a line of the table")
    }

    /// Its place among all countries, from 0 to [`COUNT`].
    pub(crate) const fn index(self) -> usize {
        self.0.get() as usize - 1
    }

    /// All countries, by code.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.lines().filter_map(Self::parse)
    }
}

/// A country, in files.
pub const COUNTRY: Form = Form::Shape(&Shape {
    name: "country",
    code: "COUNTRY_UNKNOWN",
    wanted: "an ISO 3166-1 alpha-2 code",
    json: Json::Words(|| Country::all().map(Country::as_str).collect()),
});

// A country names no person by itself. What must not be shown is a person's: `Finding` hides it.
impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of countries: one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Countries([u64; 4]);

impl Countries {
    pub(crate) const EMPTY: Self = Self([0; 4]);

    #[expect(clippy::indexing_slicing, reason = "a country's index is below 256")]
    pub(crate) const fn with(mut self, country: Country) -> Self {
        let n = country.index();
        self.0[n / 64] |= 1 << (n % 64);
        self
    }

    /// The countries of some codes, each followed by a space or the end.
    pub(crate) const fn of(codes: &str) -> Self {
        let mut rest = codes.as_bytes();
        let mut set = Self::EMPTY;
        while let [a, b, more @ ..] = rest {
            set = set.with(Country::of_letters(*a, *b).expect("codes of countries"));
            rest = match more {
                [b' ', tail @ ..] => tail,
                _ => more,
            };
        }
        assert!(rest.is_empty(), "codes of two letters");
        set
    }

    #[expect(clippy::indexing_slicing, reason = "a country's index is below 256")]
    pub(crate) const fn contains(self, country: Country) -> bool {
        let n = country.index();
        self.0[n / 64] >> (n % 64) & 1 == 1
    }

    pub(crate) fn is_empty(self) -> bool {
        self == Self::EMPTY
    }

    pub(crate) fn and(self, other: Self) -> Self {
        let [a, b, c, d] = self.0;
        let [e, f, g, h] = other.0;
        Self([a & e, b & f, c & g, d & h])
    }

    pub(crate) fn or(self, other: Self) -> Self {
        let [a, b, c, d] = self.0;
        let [e, f, g, h] = other.0;
        Self([a | e, b | f, c | g, d | h])
    }

    pub(crate) fn without(self, other: Self) -> Self {
        let [a, b, c, d] = self.0;
        let [e, f, g, h] = other.0;
        Self([a & !e, b & !f, c & !g, d & !h])
    }

    /// Its countries, by code.
    pub(crate) fn iter(self) -> impl Iterator<Item = Country> {
        self.0.into_iter().zip([1_u8, 65, 129, 193]).flat_map(|(word, first)| {
            std::iter::successors(Some(word), |left| Some(left & left.wrapping_sub(1)))
                .take_while(|left| *left != 0)
                .filter_map(move |left| {
                    let bit = u8::try_from(left.trailing_zeros()).ok()?;
                    std::num::NonZeroU8::new(first.checked_add(bit)?).map(Country)
                })
        })
    }
}

impl fmt::Debug for Countries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_iso_3166_1() {
        assert_eq!(Country::all().count(), 250);
        for code in ["RU", "KZ", "XK", "AX", "ZW", "AD", "GG", "SJ"] {
            assert_eq!(Country::parse(code).map(Country::as_str), Some(code));
        }
        for bad in ["XX", "EU", "UK", "ru", "R", "RUS", "", "R1", "é", "AN", "SU"] {
            assert_eq!(Country::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn countries_order_as_their_codes() {
        let all: Vec<Country> = Country::all().collect();
        assert!(all.is_sorted() && all.is_sorted_by_key(|c| c.as_str()));
    }

    #[test]
    fn a_set_gives_back_what_went_in() {
        let every = Country::all().fold(Countries::EMPTY, Countries::with);
        assert!(every.iter().eq(Country::all()));
        let some = Countries::of("ZW AD KZ");
        assert_eq!(some.iter().map(Country::as_str).collect::<Vec<_>>(), ["AD", "KZ", "ZW"]);
        assert!(some.and(Countries::of("DE")).is_empty());
        assert_eq!(some.or(Countries::of("DE")).iter().count(), 4);
    }
}
