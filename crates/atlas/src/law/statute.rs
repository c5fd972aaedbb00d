//! Statute packs: one law each, as data. How a pack is read from its file is in `pack.rs`.

use terms::UnixMillis;

use crate::geo::country::Countries;
use crate::law::moment::Offsets;
use crate::{
    Constraint, Country, Date, ErasureGround, ExemptionId, Jurisdiction, Moment, Sector, StatuteId,
    TermUnit, Territory, Trigger, UnknownCitizenship, Verified,
};

/// A page in which we read a law, or about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its address.
    pub address: String,
    /// The day on which it was last looked at, if it was noted.
    pub looked_at: Option<Date>,
    /// Whether an authority of the law's country publishes it.
    pub official: bool,
}

/// One rule of a law, with its citation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What it says, in our words.
    pub says: String,
    /// Where it stands.
    pub citation: String,
    /// How well this was verified.
    pub verified: Verified,
    /// Where we read it. None only if we read it nowhere: see [`Verified::has_source`].
    pub source: Option<Source>,
    /// The first day on which it holds.
    pub from: Option<Date>,
    /// The last day on which it held.
    pub until: Option<Date>,
}

impl Rule {
    /// Whether it holds on that day.
    pub fn in_force(&self, date: Date) -> bool {
        self.from.is_none_or(|from| from <= date) && self.until.is_none_or(|until| date <= until)
    }
}

/// A ground on which a collection may be outside of a law.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exemption {
    /// Its name, by which a map declares it on a collection.
    pub id: ExemptionId,
    /// What it says, in our words.
    pub says: String,
    /// Where it stands.
    pub citation: String,
    /// How well this was verified.
    pub verified: Verified,
    /// Where we read it. None only if we read it nowhere.
    pub source: Option<Source>,
}

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

/// How transfers under a law begin: with a notification, and a wait after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfers {
    pub(crate) working_days: u32,
    pub(crate) listed: Vec<Territory>,
}

impl Transfers {
    /// Days from Monday to Friday between the notification and the first transfer. Public holidays
    /// are not known: the author of a clause adds them.
    pub fn working_days(&self) -> u32 {
        self.working_days
    }

    /// The destinations that need no wait, only the notification.
    pub fn listed(&self) -> &[Territory] {
        &self.listed
    }

    /// The first day on which records may go to `to`, if the notification was given on that day.
    /// The days of the wait lie between the two: the first is the working day after the
    /// notification, and the transfer begins on the day after the last.
    pub fn first_day(&self, notified: Date, to: Territory) -> Date {
        let listed = self.listed.iter().map(|territory| territory.members());
        let listed = listed.fold(Countries::EMPTY, Countries::or);
        if self.working_days == 0 || to.members().without(listed).is_empty() {
            return notified;
        }
        notified.after_working_days(self.working_days).after_days(1)
    }
}

/// One group of people to whom a law applies, and what it demands for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    pub(crate) trigger: Trigger,
    pub(crate) constraint: Constraint,
    pub(crate) sectors: Vec<Sector>,
    pub(crate) from: Option<Date>,
    pub(crate) until: Option<Date>,
}

impl Scope {
    /// What makes the law attach to them.
    pub fn trigger(&self) -> Trigger {
        self.trigger
    }

    /// What it demands for them. Of a pack's first scope the map may choose another reading.
    pub fn constraint(&self) -> Constraint {
        self.constraint
    }

    /// The sectors that it is for: it attaches only for tenants that declare one of them. None:
    /// it is for all.
    pub fn sectors(&self) -> &[Sector] {
        &self.sectors
    }

    /// The first day on which it applies to them, if that is later than the law.
    pub fn from(&self) -> Option<Date> {
        self.from
    }

    /// The last day on which it applies to them, if that is earlier than the law's.
    pub fn until(&self) -> Option<Date> {
        self.until
    }

    /// Whether it is for a tenant that works in these sectors: in one of its own, or in any if it
    /// has none. A tenant that the map does not know is taken to work in all of them.
    pub fn concerns(&self, tenant: Option<&[Sector]>) -> bool {
        let works = |sectors: &[Sector]| self.sectors.iter().any(|own| sectors.contains(own));
        self.sectors.is_empty() || tenant.is_none_or(works)
    }
}

/// One law as data: to whom it applies, what it demands, its citation, its dates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatutePack {
    pub(crate) id: StatuteId,
    pub(crate) text: String,
    pub(crate) digest: [u8; 32],
    pub(crate) jurisdiction: Jurisdiction,
    pub(crate) title: String,
    pub(crate) citation: String,
    pub(crate) source: Source,
    /// At least one.
    pub(crate) scopes: Vec<Scope>,
    pub(crate) readings: Vec<Constraint>,
    pub(crate) inside: Vec<Constraint>,
    pub(crate) unknown: UnknownCitizenship,
    pub(crate) from: Date,
    pub(crate) until: Option<Date>,
    /// Of the jurisdiction's clocks.
    pub(crate) offsets: Offsets,
    pub(crate) draft: Option<String>,
    pub(crate) data: Option<String>,
    pub(crate) deny: Vec<Territory>,
    pub(crate) denied: Countries,
    pub(crate) transfers: Option<Transfers>,
    pub(crate) exemptions: Vec<Exemption>,
    pub(crate) erasures: Vec<ErasureTerm>,
    pub(crate) rules: Vec<Rule>,
}

impl StatutePack {
    /// Its name.
    pub fn id(&self) -> &StatuteId {
        &self.id
    }

    /// Its file, byte for byte.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 of its file, byte for byte.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Whose law it is.
    pub fn jurisdiction(&self) -> Jurisdiction {
        self.jurisdiction
    }

    /// Its title, for a person.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Where it is written.
    pub fn citation(&self) -> &str {
        &self.citation
    }

    /// Where we read it.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// To whom it applies, as in the file; at least one. Where [`StatutePack::readings`] are in
    /// dispute, the map chooses one of them for the first, and its constraint is the one that the
    /// pack's author would take.
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// Whether it depends on citizenship.
    pub fn asks_citizenship(&self) -> bool {
        self.scopes.iter().any(|scope| scope.trigger == Trigger::Citizen)
    }

    /// The readings of the first scope that are in dispute, as in the file. None: there is no
    /// dispute.
    pub fn readings(&self) -> &[Constraint] {
        &self.readings
    }

    /// The constraints of the first scope under which its records come in through gateways in the
    /// law's territory only, whatever a map says.
    pub fn inside(&self) -> &[Constraint] {
        &self.inside
    }

    /// When it attaches to those of unknown citizenship, unless the map says otherwise.
    pub fn unknown(&self) -> UnknownCitizenship {
        self.unknown
    }

    /// Why the pack is a draft, if it is one. A map puts a draft in force only if it says so.
    pub fn draft(&self) -> Option<&str> {
        self.draft.as_deref()
    }

    /// The sectors that any of its scopes is for.
    pub fn sectors(&self) -> impl Iterator<Item = &Sector> {
        self.scopes.iter().flat_map(Scope::sectors)
    }

    /// The kind of data that it is about, in words, if not all: then a map lists its collections.
    pub fn data(&self) -> Option<&str> {
        self.data.as_deref()
    }

    /// The destinations that no clause opens.
    pub fn deny(&self) -> &[Territory] {
        &self.deny
    }

    /// Whether it forbids that records lie in, or are read from, that country: it is on the
    /// deny-list, and not part of the law's own territory.
    pub fn denies(&self, country: Country) -> bool {
        self.denied.contains(country)
    }

    /// How transfers under it begin, if it has rules for that.
    pub fn transfers(&self) -> Option<&Transfers> {
        self.transfers.as_ref()
    }

    /// The grounds on which a collection may be outside of it.
    pub fn exemptions(&self) -> &[Exemption] {
        &self.exemptions
    }

    /// The ground of that name.
    pub fn exemption(&self, id: &ExemptionId) -> Option<&Exemption> {
        self.exemptions.iter().find(|exemption| exemption.id == *id)
    }

    /// By when it wants data erased: a term for each ground of which it says so.
    pub fn erasures(&self) -> &[ErasureTerm] {
        &self.erasures
    }

    /// Its rules.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The first day on which it is in force.
    pub fn from(&self) -> Date {
        self.from
    }

    /// The last day on which it is in force, if it ends.
    pub fn until(&self) -> Option<Date> {
        self.until
    }

    /// Whether it is in force, its first and its last day included. At a time, a day begins where
    /// midnight is earliest in its jurisdiction, and ends where it is latest.
    pub fn in_force(&self, at: impl Into<Moment>) -> bool {
        at.into().within(self.from, self.until, self.offsets)
    }

    /// Whether it applies to a scope of its own: see [`StatutePack::in_force`].
    pub fn applies(&self, scope: &Scope, at: impl Into<Moment>) -> bool {
        let from = scope.from.map_or(self.from, |from| from.max(self.from));
        let until = scope.until.into_iter().chain(self.until).min();
        at.into().within(from, until, self.offsets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_is_in_force_from_its_first_to_its_last_day() {
        let mut pack = StatutePack::clone(crate::packs().first().unwrap());
        let day = |text| Date::parse(text).unwrap();
        (pack.from, pack.until) = (day("2018-05-25"), Some(day("2030-01-31")));
        assert!(!pack.in_force(day("2018-05-24")) && pack.in_force(day("2018-05-25")));
        assert!(pack.in_force(day("2030-01-31")) && !pack.in_force(day("2030-02-01")));
    }

    #[test]
    fn the_wait_is_for_destinations_that_are_not_listed() {
        let territory = |code| Territory::parse(code).unwrap();
        let transfers =
            Transfers { working_days: 10, listed: vec![territory("KZ"), territory("DE")] };
        let day = |text| Date::parse(text).unwrap();
        // 2026-11-23 is a Monday.
        for (notified, to, first) in [
            ("2026-11-23", "KZ", "2026-11-23"),
            ("2026-11-23", "US", "2026-12-08"),
            ("2026-11-23", "EEA", "2026-12-08"),
            ("2026-11-27", "US", "2026-12-12"),
            ("2026-11-28", "US", "2026-12-12"),
            ("2026-11-29", "US", "2026-12-12"),
        ] {
            let begins = transfers.first_day(day(notified), territory(to));
            assert_eq!(begins, day(first), "{notified} {to}");
        }
    }

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
        let of = |id: &str, ground: ErasureGround| {
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
