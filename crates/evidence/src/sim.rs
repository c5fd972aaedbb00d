//! Mobile country codes of SIM cards (ITU-T E.212).

use std::fmt;

use atlas::Country;

/// Code and country, one pair a line; lines with `#` are notes.
const TABLE: &str = include_str!("../data/mcc.txt");
/// The version of the table.
pub(crate) const VERSION: &str = "e212/2026-11-23";
/// Codes there can be: three digits.
const CODES: usize = 1000;

/// The country of each mobile country code.
pub(crate) struct Codes(Vec<Option<Country>>);

impl Codes {
    pub(crate) fn new() -> Self {
        let mut codes = vec![None; CODES];
        for line in TABLE.lines() {
            if let Some((code, country)) = line.split_once(' ')
                && let Some(place) = parse(code).and_then(|code| codes.get_mut(usize::from(code)))
            {
                *place = Country::parse(country);
            }
        }
        Self(codes)
    }

    /// The country to which a code is assigned. None if it is assigned to none, or to several.
    pub(crate) fn country(&self, code: u16) -> Option<Country> {
        self.0.get(usize::from(code)).copied().flatten()
    }
}

impl fmt::Debug for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Codes({VERSION})")
    }
}

/// The code that three digits write.
pub(crate) fn parse(text: &str) -> Option<u16> {
    let digits = text.len() == 3 && text.bytes().all(|c| c.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_code_and_a_country_in_ascending_order() {
        let lines: Vec<&str> = TABLE.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(lines.is_sorted_by(|a, b| a < b));
        for line in &lines {
            let (code, country) = line.split_once(' ').unwrap();
            assert!(parse(code).is_some() && Country::parse(country).is_some(), "{line}");
        }
        assert_eq!(Codes::new().0.iter().flatten().count(), lines.len());
    }

    #[test]
    fn some_codes() {
        let codes = Codes::new();
        let country = |code: &str| codes.country(parse(code).unwrap()).map(Country::as_str);
        for (code, of) in [
            ("250", "RU"),
            ("401", "KZ"),
            ("262", "DE"),
            ("208", "FR"),
            ("234", "GB"),
            ("310", "US"),
            ("404", "IN"),
            ("255", "UA"),
            ("257", "BY"),
            ("260", "PL"),
        ] {
            assert_eq!(country(code), Some(of));
        }
        for none in ["000", "001", "340", "901", "999"] {
            assert_eq!(country(none), None);
        }
        for bad in ["", "25", "2500", "25a", "+25"] {
            assert_eq!(parse(bad), None);
        }
    }
}
