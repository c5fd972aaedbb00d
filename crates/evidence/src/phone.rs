//! Telephone numbers, by the public numbering-plan metadata.

use std::fmt;

use atlas::Country;
use rlibphonenumber::PhoneNumberUtil;

/// The release of the metadata inside the library, with the library's own version. The library
/// does not tell it: it stands in its `Readme.md`, and a test holds the locked version to it.
pub(crate) const VERSION: &str = "9.0.42/rlibphonenumber-2.2.15";

/// The numbering plans of all countries.
pub(crate) struct Plans(PhoneNumberUtil);

impl Plans {
    /// Loads the plans, and reads a number of each country once: the library compiles a country's
    /// expressions at first use, and nobody's first write should wait for that.
    pub(crate) fn new() -> Self {
        let util = PhoneNumberUtil::new().expect("the library's own metadata load");
        let plans = Self(util);
        for region in plans.0.get_supported_regions() {
            if let Ok(number) = plans.0.get_example_number(region) {
                // Only the side effect counts: what a number says is found again when it is asked.
                plans.of_number(&number);
            }
        }
        plans
    }

    /// The one country that the plans give for the whole number. None if the number is not valid,
    /// or belongs to no country (`001`).
    pub(crate) fn country(&self, e164: &str) -> Option<Country> {
        self.of_number(&self.0.parse(e164, None).ok()?)
    }

    fn of_number(&self, number: &rlibphonenumber::PhoneNumber) -> Option<Country> {
        let region = self.0.get_region_for_number(number)?;
        let valid = self.0.is_valid_number_for_region(number, region);
        valid.then(|| Country::parse(&region.as_region_str())).flatten()
    }
}

impl fmt::Debug for Plans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plans({VERSION})")
    }
}

/// Whether a text has the form of E.164: `+` and up to 15 digits. Whether there is such a number
/// is another question.
pub(crate) fn is_e164(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or_default();
    (1..=15).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_locked_library() {
        let lock = include_str!("../../../Cargo.lock");
        let (_, package) = lock.split_once("name = \"rlibphonenumber\"\nversion = \"").unwrap();
        let (locked, _) = package.split_once('"').unwrap();
        // When this fails: read the metadata version in the new library's Readme.md.
        assert!(VERSION.ends_with(&format!("-{locked}")), "{locked}");
    }

    #[test]
    fn plus_seven_is_shared() {
        let plans = Plans::new();
        let country = |number| plans.country(number).map(Country::as_str);
        assert_eq!(country("+79161234567"), Some("RU"));
        assert_eq!(country("+77710009998"), Some("KZ"));
        assert_eq!(country("+80012345678"), None, "universal international freephone: 001");
        for none in ["+1", "+0", "+73011234", "+99912345678", "+71", "+000000000000000"] {
            assert_eq!(country(none), None, "{none}");
        }
    }

    #[test]
    fn e164_is_plus_and_digits() {
        for good in ["+1", "+79161234567", "+123456789012345"] {
            assert!(is_e164(good), "{good}");
        }
        for bad in ["", "+", "79161234567", "+7 916", "+7916a", "+1234567890123456", "++7", "+٣"] {
            assert!(!is_e164(bad), "{bad}");
        }
    }
}
