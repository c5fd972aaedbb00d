//! By when a law wants data erased, by the ground on which they must go.

use terms::UnixMillis;

use crate::law::statute::{Source, StatutePack};
use crate::{Date, ErasureGround, TermUnit, Verified};

/// A term that a law sets for erasure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasureTerm {
    /// On which ground the data must go.
    pub ground: ErasureGround,
    /// How long it runs.
    pub within: u32,
    /// What is counted.
    pub unit: TermUnit,
    /// What it says, in our words.
    pub says: String,
    /// Where it stands.
    pub citation: String,
    /// How well this was verified.
    pub verified: Verified,
    /// Where we read it. None only if we read it nowhere.
    pub source: Option<Source>,
}

impl ErasureTerm {
    /// Its last day, if the ground arose on that day, which is not counted.
    pub fn last_day(&self, arose: Date) -> Date {
        match self.unit {
            TermUnit::Days => arose.after_days(self.within),
            TermUnit::WorkingDays => arose.after_working_days(self.within),
            TermUnit::Months => arose.after_months(self.within),
        }
    }
}

impl StatutePack {
    /// By when one of its terms is over, if the ground arose at that time: when the last day ends, by the
    /// earliest clocks of its jurisdiction. The first day is that of the latest ones, so no place there
    /// has a term that ends before.
    pub fn erasure_due(&self, term: &ErasureTerm, arose: UnixMillis) -> UnixMillis {
        self.offsets.first_end(term.last_day(self.offsets.last_day(arose)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(within: u32, unit: TermUnit) -> ErasureTerm {
        ErasureTerm {
            ground: ErasureGround::Demand,
            within,
            unit,
            says: "x".into(),
            citation: "x".into(),
            verified: Verified::Memory,
            source: None,
        }
    }

    #[test]
    fn a_term_is_counted_from_the_day_after_the_ground_arose() {
        let day = |text| Date::parse(text).unwrap();
        for (within, unit, arose, last) in [
            (30, TermUnit::Days, "2026-11-01", "2026-12-01"),
            // 2026-11-27 is a Friday.
            (10, TermUnit::WorkingDays, "2026-11-27", "2026-12-11"),
            (1, TermUnit::Months, "2026-11-15", "2026-12-15"),
            (1, TermUnit::Months, "2027-01-31", "2027-02-28"),
            (13, TermUnit::Months, "2027-01-31", "2028-02-29"),
            (1, TermUnit::Months, "2026-12-31", "2027-01-31"),
        ] {
            assert_eq!(term(within, unit).last_day(day(arose)), day(last), "{within} {arose}");
        }
    }

    #[test]
    fn a_term_ends_where_its_last_day_ends_first() {
        let pack = |id: &str| crate::packs().iter().find(|pack| pack.id().as_str() == id).unwrap();
        let at = |day, hour: u64| {
            UnixMillis((u64::from(Date::parse(day).unwrap().day()) * 24 + hour) * 3_600_000)
        };
        // Kamchatka at +12 ends the day, Kaliningrad at +2 begins it.
        let (russia, one) = (pack("ru-152fz"), term(1, TermUnit::Days));
        assert_eq!(russia.erasure_due(&one, at("2026-11-01", 21)), at("2026-11-02", 12));
        assert_eq!(russia.erasure_due(&one, at("2026-11-01", 22)), at("2026-11-03", 12));
    }

    #[test]
    fn packs_set_terms_by_ground_and_say_how_sure_they_are() {
        let pack = |id: &str| crate::packs().iter().find(|pack| pack.id().as_str() == id).unwrap();
        let of = |id: &str, ground| {
            let all = pack(id).erasures().iter();
            let own: Vec<_> = all.filter(|term| term.ground == ground).collect();
            own.first().map(|term| (term.within, term.unit, term.verified))
        };
        let days = |within, verified| Some((within, TermUnit::Days, verified));
        let withdrawn = ErasureGround::ConsentWithdrawn;
        assert_eq!(of("ru-152fz", withdrawn), days(30, Verified::Weak));
        assert_eq!(of("eu-gdpr", withdrawn), None);
        let month = Some((1, TermUnit::Months, Verified::Memory));
        assert_eq!(of("eu-gdpr", ErasureGround::Demand), month);
    }
}
