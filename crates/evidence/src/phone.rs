//! Telephone numbers, by the public numbering-plan metadata.

use std::fmt;

use atlas::Country;
use rlibphonenumber::{PhoneNumber, PhoneNumberFormat, PhoneNumberType, PhoneNumberUtil, Region};

/// The release of the metadata inside the library, with the library's own version. The library
/// does not tell it: it stands in its `Readme.md`, and a test holds the locked version to it.
pub(crate) const VERSION: &str = "9.0.42/rlibphonenumber-2.2.15";

/// The ranges that the plans give to these alone ("leading digits" in the metadata, which the
/// library does not hand out). Their mobile numbers are those of the larger neighbour (Finland,
/// Norway, Italy), whose plan they are; the metadata list them a second time.
const OWN_RANGES: &[(Region, &str)] =
    &[(Region::AX, "+35818"), (Region::SJ, "+4779"), (Region::VA, "+3906698")];

/// The numbering plans of all countries.
pub(crate) struct Plans(PhoneNumberUtil);

impl Plans {
    /// Loads the plans, and reads a number of each country once: the library compiles a country's
    /// expressions at first use, and no write should wait for that.
    pub(crate) fn new() -> Self {
        let util = PhoneNumberUtil::new().expect("the library's own metadata load");
        let plans = Self(util);
        for region in plans.0.get_supported_regions() {
            if let Ok(number) = plans.0.get_example_number(region) {
                // Only the side effect counts: what a number says is found again when it is asked.
                plans.country(&number);
            }
        }
        plans
    }

    /// The number that a text of E.164 writes. None if the plans have none of that form.
    pub(crate) fn parse(&self, e164: &str) -> Option<PhoneNumber> {
        self.0.parse(e164, None).ok()
    }

    /// The number written as E.164: without a trunk digit that the text may have held.
    pub(crate) fn e164(&self, number: &PhoneNumber) -> String {
        self.0.format(number, PhoneNumberFormat::E164).into_owned()
    }

    /// The one country in which the plans have that number, if it is one that a person has at
    /// home or carries along. None if several have it, or none has (`001`), or if it is of
    /// another type: free of charge, personal, on the internet and so on.
    pub(crate) fn country(&self, number: &PhoneNumber) -> Option<Country> {
        use PhoneNumberType::{FixedLine, FixedLineOrMobile, Mobile};
        if !matches!(self.0.get_number_type(number), FixedLine | Mobile | FixedLineOrMobile) {
            return None;
        }
        let regions = self.0.get_regions_for_country_calling_code(number.country_code)?;
        let mut having = regions.filter(|region| {
            self.0.is_valid_number_for_region(number, *region) && self.is_own(number, *region)
        });
        let region = having.next()?;
        let shared = having.next().is_some();
        (!shared).then(|| Country::parse(&region.as_region_str())).flatten()
    }

    /// Whether a number is of a region's own range, as far as [`OWN_RANGES`] says.
    fn is_own(&self, number: &PhoneNumber, region: Region) -> bool {
        let own = OWN_RANGES.iter().find(|(of, _)| *of == region);
        own.is_none_or(|(_, range)| self.e164(number).starts_with(range))
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
        let country = |text| plans.country(&plans.parse(text)?).map(Country::as_str);
        assert_eq!(country("+79161234567"), Some("RU"));
        assert_eq!(country("+77710009998"), Some("KZ"));
        assert_eq!(country("+80012345678"), None, "universal international freephone: 001");
        for none in ["+1", "+0", "+73011234", "+99912345678", "+71", "+000000000000000"] {
            assert_eq!(country(none), None, "{none}");
        }
    }

    #[test]
    fn a_number_of_many_countries_is_of_none() {
        let plans = Plans::new();
        let country = |text| plans.country(&plans.parse(text)?).map(Country::as_str);
        for (none, why) in [
            ("+78001234567", "free of charge in RU and KZ"),
            ("+18002345678", "free of charge in all of North America"),
            ("+448001234567", "free of charge in GB and GG"),
            ("+447012345678", "personal, in GB, GG and IM"),
            ("+445612345678", "on the internet"),
            ("+33899123456", "at a premium"),
            ("+447924123456", "mobile in GB and IM"),
            ("+590690001234", "mobile in GP, BL and MF"),
            ("+590590271234", "fixed in BL and MF"),
            ("+61412345678", "mobile in AU, CC and CX"),
            ("+212650123456", "mobile in MA and EH"),
            ("+212528812345", "fixed in MA and EH"),
        ] {
            assert!(plans.parse(none).is_some_and(|number| plans.0.is_valid_number(&number)));
            assert_eq!(country(none), None, "{none}: {why}");
        }
        for (number, of) in [
            ("+12015550123", "US"),
            ("+14165550123", "CA"),
            ("+12423456789", "BS"),
            ("+590590201234", "GP"),
            ("+262692123456", "RE"),
            ("+262269601234", "YT"),
            ("+447400123456", "GB"),
            ("+441481256789", "GG"),
            ("+447781123456", "GG"),
            ("+4740612345", "NO"),
            ("+4779123456", "SJ"),
            ("+358412345678", "FI"),
            ("+35818123456", "AX"),
            ("+393123456789", "IT"),
            ("+390669812345", "VA"),
        ] {
            assert_eq!(country(number), Some(of), "{number}");
        }
    }

    #[test]
    fn a_trunk_digit_is_no_part_of_a_number() {
        let plans = Plans::new();
        let e164 = |text| plans.parse(text).map(|number| plans.e164(&number)).unwrap();
        for (text, number) in [
            ("+789781234567", "+79781234567"),
            ("+3800651234567", "+380651234567"),
            ("+9950441234567", "+995441234567"),
            ("+4407400123456", "+447400123456"),
            ("+3906698123", "+3906698123"),
        ] {
            assert_eq!(e164(text), number);
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
