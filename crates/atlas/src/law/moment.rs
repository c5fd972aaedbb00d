//! When a question is asked: on a day, or at a time, when it is not the same day everywhere.

use std::sync::LazyLock;

use terms::UnixMillis;

use crate::{Country, Date, Jurisdiction};

/// The offsets from UTC of each country's clocks, in quarters of an hour, the least and the most:
/// all its zones and both halves of the year. In the order of the countries; derived from the IANA
/// time zone database, release 2025b (public domain).
const TABLE: &str = include_str!("../../data/offsets.txt");

static OFFSETS: LazyLock<Vec<Offsets>> = LazyLock::new(|| {
    let line = |line: &str| {
        let mut words = line.split(' ').skip(1).map(|word| word.parse().ok());
        Some(Offsets { least: words.next()??, most: words.next()?? })
    };
    TABLE.lines().map(|text| line(text).expect("a country and two numbers")).collect()
});

/// Quarters of an hour in a day.
const QUARTERS: i64 = 96;
const QUARTER_MS: u64 = 15 * 60 * 1000;
const DAY_MS: u64 = 96 * QUARTER_MS;

/// A day as all places have it, which is how one asks ahead; or a time, to the quarter of an hour,
/// at which places may have different days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    date: Date,
    quarter: Option<u8>,
}

/// How far a jurisdiction's clocks are from UTC, in quarters of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offsets {
    least: i8,
    most: i8,
}

impl Moment {
    /// That time.
    pub fn of(time: UnixMillis) -> Self {
        let quarter = time.0 / QUARTER_MS % QUARTERS.unsigned_abs();
        Self { date: Date::of(time), quarter: u8::try_from(quarter).ok() }
    }

    /// The day in UTC.
    pub const fn date(self) -> Date {
        self.date
    }

    /// Whether it lies within these days, the first and the last included, anywhere in a
    /// jurisdiction: the first begins where midnight is earliest, and the last ends where it is
    /// latest.
    pub(crate) fn within(self, from: Date, until: Option<Date>, offsets: Offsets) -> bool {
        let Some(quarter) = self.quarter else {
            return from <= self.date && until.is_none_or(|until| self.date <= until);
        };
        let midnight = |day: Date| i64::from(day.day()) * QUARTERS;
        let now = midnight(self.date) + i64::from(quarter);
        let ended = |until: Date| now >= midnight(until) + QUARTERS - i64::from(offsets.least);
        now >= midnight(from) - i64::from(offsets.most) && !until.is_some_and(ended)
    }
}

impl From<Date> for Moment {
    fn from(date: Date) -> Self {
        Self { date, quarter: None }
    }
}

impl Offsets {
    pub(crate) fn of(jurisdiction: Jurisdiction) -> Self {
        let of = |country: Country| OFFSETS.get(country.index()).copied();
        let all = jurisdiction.members().iter().filter_map(of);
        let widest =
            |a: Self, b: Self| Self { least: a.least.min(b.least), most: a.most.max(b.most) };
        all.reduce(widest).expect("a jurisdiction has a country, and each has offsets")
    }

    /// The day at a time, by the clocks that are behind all others.
    pub(crate) fn last_day(self, time: UnixMillis) -> Date {
        Date::of(UnixMillis(shifted(time.0, self.least)))
    }

    /// When a day is over, by the clocks that are ahead of all others.
    pub(crate) fn first_end(self, day: Date) -> UnixMillis {
        UnixMillis(shifted((u64::from(day.day()) + 1) * DAY_MS, -self.most))
    }
}

/// A time, so many quarters of an hour later.
fn shifted(ms: u64, quarters: i8) -> u64 {
    let by = u64::from(quarters.unsigned_abs()) * QUARTER_MS;
    if quarters < 0 { ms.saturating_sub(by) } else { ms.saturating_add(by) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_country_has_offsets() {
        let codes = TABLE.lines().filter_map(|line| line.split(' ').next());
        assert!(codes.eq(Country::all().map(Country::as_str)));
        for offsets in OFFSETS.iter() {
            assert!((-48..=56).contains(&offsets.least) && offsets.least <= offsets.most);
            assert!(offsets.most <= 56);
        }
    }

    #[test]
    fn a_day_begins_at_the_earliest_midnight_and_ends_at_the_latest() {
        let offsets = |code: &str| Offsets::of(Jurisdiction::parse(code).unwrap());
        let day = |text: &str| Date::parse(text).unwrap();
        let at = |text: &str, hour: u64, minute: u64| {
            let minutes = u64::from(day(text).day()) * 1440 + hour * 60 + minute;
            Moment::of(UnixMillis(minutes * 60_000 + 59_999))
        };
        let (from, until) = (day("2027-07-01"), Some(day("2027-12-31")));
        // The first of each is the earliest midnight of 1 July, in UTC; the other the latest end
        // of 31 December.
        for (code, first, last) in [
            // Kamchatka at +12, Kaliningrad at +2.
            ("RU", ("2027-06-30", 12), ("2027-12-31", 22)),
            // New York at -4 in summer; Hawaii at -10.
            ("US", ("2027-07-01", 4), ("2028-01-01", 10)),
            ("JP", ("2027-06-30", 15), ("2027-12-31", 15)),
            // Réunion at +4; Martinique at -4.
            ("EEA", ("2027-06-30", 20), ("2028-01-01", 4)),
        ] {
            let within = |moment: Moment| moment.within(from, until, offsets(code));
            let before = |(text, hour): (&str, u64)| at(text, hour - 1, 59);
            assert!(!within(before(first)) && within(at(first.0, first.1, 0)), "{code} begins");
            assert!(within(before(last)) && !within(at(last.0, last.1, 0)), "{code} ends");
            // Who asks for a day means the day of those who live there.
            assert!(!within(day("2027-06-30").into()) && within(from.into()), "{code}");
            assert!(
                within(day("2027-12-31").into()) && !within(day("2028-01-01").into()),
                "{code}"
            );
        }
    }
}
