//! The period that a report is about.

use atlas::Date;

const MINUTES_OF_DAY: u32 = 1_440;

/// The day in which a minute since 1970-01-01T00:00Z falls.
pub(crate) fn date_of(minute: u32) -> Date {
    Date::from_day(u64::from(minute / MINUTES_OF_DAY))
}

/// The period of a log, by its origin.
pub(crate) fn origin_period(origin: &str) -> Option<u64> {
    origin.rsplit('/').next()?.parse().ok()
}

/// The minutes that a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period {
    /// The first minute.
    pub(crate) from: u32,
    /// The first minute after it.
    pub(crate) until: u32,
}

impl Period {
    pub(crate) fn new(asked: std::ops::Range<u32>) -> Self {
        Self { from: asked.start, until: asked.end.max(asked.start) }
    }

    /// Whether the minute lies in it.
    pub(crate) const fn holds(self, minute: u32) -> bool {
        self.from <= minute && minute < self.until
    }

    /// Its first and its last day.
    pub(crate) fn days(self) -> (Date, Date) {
        (date_of(self.from), date_of(self.until.saturating_sub(1).max(self.from)))
    }
}
