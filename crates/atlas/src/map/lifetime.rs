//! Lengths of time, as maps write them: `90d`, `12h`, `30m`.

use std::fmt;

use crate::map::shapes::LIFETIME;
use crate::toml::schema::Form;

const HOUR: u32 = 60;
const DAY: u32 = 24 * HOUR;
/// A hundred years, about: what is longer is no limit.
const DAYS_MAX: u32 = 36_500;

/// How long something is kept: whole minutes, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lifetime {
    minutes: u32,
}

impl Lifetime {
    /// The form of a key that has one.
    pub(crate) const FORM: Form = LIFETIME;

    /// Reads minutes (`m`), hours (`h`) or days (`d`): at least a minute, at most 36,500 days.
    pub fn parse(text: &str) -> Option<Self> {
        let unit = match text.bytes().last()? {
            b'm' => 1,
            b'h' => HOUR,
            b'd' => DAY,
            _ => return None,
        };
        let digits = text.get(..text.len() - 1)?;
        let plain = !digits.starts_with('0') && digits.bytes().all(|c| c.is_ascii_digit());
        let number = digits.parse::<u32>().ok().filter(|_| plain)?;
        let minutes = number.checked_mul(unit)?;
        (minutes <= DAYS_MAX * DAY).then_some(Self { minutes })
    }

    /// In milliseconds.
    pub fn millis(self) -> u64 {
        u64::from(self.minutes) * 60_000
    }

    /// In minutes.
    pub const fn minutes(self) -> u32 {
        self.minutes
    }
}

impl fmt::Display for Lifetime {
    /// In the largest unit of which it is a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.minutes {
            n if n % DAY == 0 => write!(f, "{}d", n / DAY),
            n if n % HOUR == 0 => write!(f, "{}h", n / HOUR),
            n => write!(f, "{n}m"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_whole_minutes_hours_or_days() {
        for (text, minutes, shown) in [
            ("1m", 1, "1m"),
            ("90m", 90, "90m"),
            ("120m", 120, "2h"),
            ("24h", 1_440, "1d"),
            ("30d", 43_200, "30d"),
            ("36500d", 52_560_000, "36500d"),
        ] {
            let read = Lifetime::parse(text).unwrap();
            assert_eq!((read.minutes(), read.to_string().as_str()), (minutes, shown));
            assert_eq!(read.millis(), u64::from(minutes) * 60_000);
        }
        for text in [
            "", "d", "0d", "01d", "1", "1s", "1w", "+1d", "-1d", "1.5d", "1 d", "36501d", "1D", "é",
        ] {
            assert_eq!(Lifetime::parse(text), None, "{text}");
        }
        assert_eq!(Lifetime::parse(&format!("{}d", u32::MAX)), None);
    }
}
