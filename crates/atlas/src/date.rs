//! Days: the precision at which laws and clauses begin and end.

use std::fmt;

use terms::UnixMillis;

/// A day of the Gregorian calendar, in UTC, from 1970-01-01 to 9999-12-31.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Date(
    /// Days since 1970-01-01.
    u32,
);

/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_SHIFT: u32 = 719_468;
/// Days of 400 years.
const ERA: u32 = 146_097;
/// 9999-12-31, the last day that can be written.
const LAST: u32 = 2_932_896;

impl Date {
    /// The day with that number, counted from 1970-01-01; the last there is for what lies beyond.
    pub fn from_day(day: u64) -> Self {
        Self(u32::try_from(day).unwrap_or(LAST).min(LAST))
    }

    /// The day on which that moment falls.
    pub fn of(time: UnixMillis) -> Self {
        Self::from_day(time.day())
    }

    /// Days since 1970-01-01.
    pub const fn day(self) -> u32 {
        self.0
    }

    /// Reads `YYYY-MM-DD`, a day that exists, from 1970 on.
    pub fn parse(text: &str) -> Option<Self> {
        let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1] = *text.as_bytes().first_chunk::<10>()?
        else {
            return None;
        };
        let digits = [y0, y1, y2, y3, m0, m1, d0, d1];
        if text.len() != 10 || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let n = |c: u8| u32::from(c - b'0');
        let year = n(y0) * 1000 + n(y1) * 100 + n(y2) * 10 + n(y3);
        Self::of_civil(year, n(m0) * 10 + n(m1), n(d0) * 10 + n(d1))
    }

    /// The day of that date, if there is one.
    pub fn of_civil(year: u32, month: u32, day: u32) -> Option<Self> {
        if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || day == 0 {
            return None;
        }
        // Years begin in March here, so that the leap day is a year's last.
        let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let of_era = y % 400;
        let in_year = (153 * m + 2) / 5 + day - 1;
        let in_era = of_era * 365 + of_era / 4 - of_era / 100 + in_year;
        let date = Self(y / 400 * ERA + in_era - EPOCH_SHIFT);
        (date.civil() == (year, month, day)).then_some(date)
    }

    /// The day that many days later; the last that can be written for what lies beyond.
    #[must_use]
    pub fn after_days(self, days: u32) -> Self {
        Self::from_day(u64::from(self.0) + u64::from(days))
    }

    /// The day that many working days later: Monday to Friday, whether a public holiday or not.
    #[must_use]
    pub fn after_working_days(self, days: u32) -> Self {
        let mut date = self;
        let mut left = days;
        while left > 0 && date.0 < LAST {
            date = date.after_days(1);
            // 1970-01-01 was a Thursday: days 2 and 3 of each seven from there are a weekend.
            left -= u32::from(!matches!(date.0 % 7, 2 | 3));
        }
        date
    }

    /// The same day of a month that many months later, or the last day of that month.
    #[must_use]
    pub fn after_months(self, months: u32) -> Self {
        let (year, month, day) = self.civil();
        let count = (year * 12 + month - 1).saturating_add(months);
        let (year, month) = (count / 12, count % 12 + 1);
        let last = (1..=day).rev().find_map(|day| Self::of_civil(year, month, day));
        last.unwrap_or(Self(LAST))
    }

    /// Year, month and day.
    pub const fn civil(self) -> (u32, u32, u32) {
        let z = self.0 + EPOCH_SHIFT;
        let in_era = z % ERA;
        let of_era = (in_era - in_era / 1460 + in_era / 36_524 - in_era / 146_096) / 365;
        let in_year = in_era - (365 * of_era + of_era / 4 - of_era / 100);
        let m = (5 * in_year + 2) / 153;
        let day = in_year - (153 * m + 2) / 5 + 1;
        let month = if m < 10 { m + 3 } else { m - 9 };
        let year = z / ERA * 400 + of_era + if month <= 2 { 1 } else { 0 };
        (year, month, day)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_reads_back() {
        let mut before = None;
        for n in 0..=u64::from(LAST) {
            let date = Date::from_day(n);
            let civil = date.civil();
            assert!(before < Some(civil), "{n}");
            assert_eq!(Date::of_civil(civil.0, civil.1, civil.2), Some(date));
            before = Some(civil);
        }
        assert_eq!(before, Some((9999, 12, 31)));
        assert_eq!(Date::from_day(u64::MAX).to_string(), "9999-12-31");
    }

    #[test]
    fn working_days_pass_over_weekends() {
        let day = |text| Date::parse(text).unwrap();
        // Computed by another program (Python's datetime).
        for (from, days, to) in [
            ("2026-11-23", 0, "2026-11-23"),
            ("2026-11-27", 1, "2026-11-30"),
            ("2026-11-28", 1, "2026-11-30"),
            ("2026-11-25", 10, "2026-12-09"),
            ("9999-12-31", 10, "9999-12-31"),
        ] {
            assert_eq!(day(from).after_working_days(days), day(to), "{from} {days}");
        }
        assert_eq!(day("2026-12-31").after_days(1), day("2027-01-01"));
    }

    #[test]
    fn known_days() {
        // Computed by another program (Python's datetime).
        for (text, day) in [("1970-01-01", 0), ("2000-02-29", 11_016), ("2026-11-23", 20_780)] {
            assert_eq!(Date::parse(text).map(Date::day), Some(day), "{text}");
        }
        for bad in ["2026-02-29", "2026-13-01", "1969-12-31", "2026-1-01", "2026-01-011", "", "x"] {
            assert_eq!(Date::parse(bad), None, "{bad}");
        }
    }
}
