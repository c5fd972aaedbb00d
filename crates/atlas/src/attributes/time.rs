//! Moments, as attributes have them.

use crate::Date;

/// A moment to the nanosecond, from the year 1 to the year 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    seconds: i64,
    nanos: u32,
}

/// 0001-01-01T00:00:00Z.
const FIRST: i64 = -62_135_596_800;
/// 9999-12-31T23:59:59Z.
const LAST: i64 = 253_402_300_799;
/// Seconds of a day.
const DAY: i64 = 86_400;
/// Days of 400 years, in which the calendar repeats.
const ERA_DAYS: i64 = 146_097;

impl Timestamp {
    /// So many seconds since 1970, and nanoseconds after them.
    pub fn new(seconds: i64, nanos: u32) -> Option<Self> {
        let good = (FIRST..=LAST).contains(&seconds) && nanos < 1_000_000_000;
        good.then_some(Self { seconds, nanos })
    }

    /// Seconds since 1970-01-01T00:00Z.
    pub const fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds after them.
    pub const fn nanos(self) -> u32 {
        self.nanos
    }

    /// Reads a moment of RFC 3339, such as `2026-11-30T06:45:00Z` or `2026-11-30T08:45:00.5+02:00`.
    pub fn parse(text: &str) -> Option<Self> {
        let (day, rest) = text.split_at_checked(10)?;
        let rest = rest.strip_prefix(['T', 't', ' '])?;
        let (time, rest) = rest.split_at_checked(8)?;
        let second = clock(time)?;
        let (nanos, zone) = fraction(rest)?;
        let seconds = days(day)? * DAY + second - offset(zone)?;
        Self::new(seconds, nanos)
    }
}

/// Days since 1970 of `YYYY-MM-DD`. Days before 1970 are counted in a later era.
fn days(text: &str) -> Option<i64> {
    let (year, rest) = text.split_at_checked(4)?;
    let year = number(year)?;
    let eras = if year < 1970 { (1970 - year).div_ceil(400) } else { 0 };
    let date = Date::parse(&format!("{:04}{rest}", year + eras * 400))?;
    (year > 0).then(|| i64::from(date.day()) - i64::from(eras) * ERA_DAYS)
}

/// Seconds of `hh:mm:ss`. A leap second is the one before it.
fn clock(text: &str) -> Option<i64> {
    let mut parts = text.split(':').map(|part| (part.len() == 2).then(|| number(part)).flatten());
    let (h, m, s) = (parts.next()??, parts.next()??, parts.next()??);
    let good = parts.next().is_none() && h < 24 && m < 60 && s <= 60;
    good.then(|| i64::from(h * 3_600 + m * 60 + s.min(59)))
}

/// Nanoseconds of a fraction, if there is one, and what follows it.
fn fraction(text: &str) -> Option<(u32, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, zone) = rest.split_at_checked(digits)?;
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    Some((number(&format!("{digits:0<9}"))?, zone))
}

/// Seconds by which a zone is ahead of UTC.
fn offset(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let ahead = zone.starts_with('+');
    let text = zone.strip_prefix(['+', '-'])?;
    let (hours, minutes) = text.split_once(':').filter(|_| text.len() == 5)?;
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let seconds = i64::from(hours * 3_600 + minutes * 60);
    (hours < 24 && minutes < 60).then_some(if ahead { seconds } else { -seconds })
}

/// A number of decimal digits alone.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|c| c.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_rfc_3339_writes_them() {
        // `date -u -d TEXT +%s.%N`
        for (text, seconds, nanos) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("1969-12-31T23:59:59.999999999Z", -1, 999_999_999),
            ("2026-11-30T06:45:00Z", 1_796_021_100, 0),
            ("2026-11-30t08:45:00.5+02:00", 1_796_021_100, 500_000_000),
            ("2026-11-30 01:15:00-05:30", 1_796_021_100, 0),
            ("0001-01-01T00:00:00Z", FIRST, 0),
            ("9999-12-31T23:59:60Z", LAST, 0),
            ("1600-02-29T12:00:00Z", -11_670_955_200, 0),
        ] {
            assert_eq!(Timestamp::parse(text), Timestamp::new(seconds, nanos), "{text}");
        }
    }

    #[test]
    fn other_texts_are_no_moments() {
        for text in [
            "",
            "2026-11-30",
            "2026-11-30T06:45:00",
            "2026-11-30T06:45Z",
            "2026-11-30T24:00:00Z",
            "2026-11-30T06:60:00Z",
            "2026-11-30T06:45:61Z",
            "2026-13-30T06:45:00Z",
            "2026-02-29T06:45:00Z",
            "2026-11-30T06:45:00.Z",
            "2026-11-30T06:45:00.1234567890Z",
            "2026-11-30T06:45:00+2:00",
            "2026-11-30T06:45:00+24:00",
            "2026-11-30T+6:45:00Z",
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59-00:01",
            "ä026-11-30T06:45:00Z",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
        assert_eq!(Timestamp::new(0, 1_000_000_000), None);
    }
}
