//! Months, by which figures are told apart, and the period that a report is about.

use std::fmt;

use atlas::Date;

/// Months of one report at most: ten years, the longest that a law we know asks records for.
pub const MONTHS_MAX: usize = 120;

const MINUTES_OF_DAY: u32 = 1_440;

/// A month of the civil calendar in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Month(
    /// Months since January of the year 0.
    u32,
);

impl Month {
    /// The month in which a minute since 1970-01-01T00:00Z falls.
    pub fn of(minute: u32) -> Self {
        let (year, month, _) = date_of(minute).civil();
        Self(year * 12 + month - 1)
    }

    /// How many months it comes after `first`; none if it comes before.
    pub fn after(self, first: Self) -> Option<usize> {
        usize::try_from(self.0.checked_sub(first.0)?).ok()
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0 / 12, self.0 % 12 + 1)
    }
}

/// The day in which a minute since 1970-01-01T00:00Z falls.
pub(crate) fn date_of(minute: u32) -> Date {
    Date::from_day(u64::from(minute / MINUTES_OF_DAY))
}

/// The minutes that a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// The first minute.
    pub from: u32,
    /// The first minute after it.
    pub until: u32,
    /// Whether what was asked for was longer than [`MONTHS_MAX`], and its end was left off.
    pub cut: bool,
}

impl Period {
    /// The period of those minutes, no longer than [`MONTHS_MAX`].
    pub fn new(asked: std::ops::Range<u32>) -> Self {
        let first = Month::of(asked.start);
        let last = |until: u32| Month::of(until.saturating_sub(1)).after(first);
        let mut until = asked.end.max(asked.start);
        let cut = last(until).is_some_and(|months| months >= MONTHS_MAX);
        while last(until).is_some_and(|months| months >= MONTHS_MAX) {
            // The first minute of the month that is left off.
            let (_, _, day) = date_of(until - 1).civil();
            until = (date_of(until - 1).day() + 1 - day) * MINUTES_OF_DAY;
        }
        Self { from: asked.start, until, cut }
    }

    /// Its months, the first and the last perhaps in part.
    pub fn months(&self) -> Vec<Month> {
        if self.until <= self.from {
            return Vec::new();
        }
        (Month::of(self.from).0..=Month::of(self.until - 1).0).map(Month).collect()
    }

    /// The first of its months.
    pub(crate) fn first(&self) -> Month {
        Month::of(self.from)
    }

    /// Whether the minute lies in it.
    pub(crate) fn holds(&self, minute: u32) -> bool {
        self.from <= minute && minute < self.until
    }

    /// Its first and its last day.
    pub(crate) fn days(&self) -> (Date, Date) {
        (date_of(self.from), date_of(self.until.saturating_sub(1).max(self.from)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(day: &str) -> u32 {
        Date::parse(day).unwrap().day() * MINUTES_OF_DAY
    }

    #[test]
    fn a_period_has_the_months_that_it_touches() {
        let period = Period::new(minute("2026-01-31")..minute("2026-03-01"));
        let months: Vec<String> = period.months().iter().map(ToString::to_string).collect();
        assert_eq!(months, ["2026-01", "2026-02"]);
        let (none, turned) = (5..5, std::ops::Range { start: 5, end: 4 });
        assert!(Period::new(none).months().is_empty() && Period::new(turned).months().is_empty());
    }

    #[test]
    fn a_longer_period_is_cut_at_a_months_end() {
        let period = Period::new(minute("2000-01-15")..minute("2026-06-20"));
        assert!(period.cut);
        assert_eq!(period.months().len(), MONTHS_MAX);
        assert_eq!(period.until, minute("2010-01-01"));
    }
}
