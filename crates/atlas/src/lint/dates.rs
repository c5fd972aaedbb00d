//! What runs out, or begins later than the day.

use crate::lint::Check;
use crate::{Clause, Date, Region, Statute};

/// Days before an end at which a warning begins: new documents take a month.
pub(super) const PAPERS_DAYS: u32 = 30;
/// Days before a law begins or ends: what follows from it takes longer.
const LAW_DAYS: u32 = 60;

impl Check<'_> {
    pub(super) fn dates(&self) {
        self.map_ends();
        for (n, region) in self.map.regions().iter().enumerate() {
            self.attestation(n, region);
        }
        for (n, statute) in self.map.statutes().iter().enumerate() {
            self.statute_dates(n, statute);
        }
        for (n, clause) in self.map.clauses().iter().enumerate() {
            self.clause_dates(n, clause);
        }
    }

    fn map_ends(&self) {
        let Some(until) = self.map.valid_until() else { return };
        let at = self.places.valid_until.unwrap_or_default();
        if until < self.day {
            let problem = format!("the map was valid until {until}");
            let help = "give it a later day: until then no clause may be relied on";
            self.file.warn(at, "MAP_EXPIRED", problem, help);
        } else if until <= self.day.after_days(PAPERS_DAYS) {
            let problem = format!("the map is valid until {until}, and then no clause holds");
            self.file.warn(at, "MAP_ENDING", problem, "prepare the next map");
        }
    }

    fn attestation(&self, n: usize, region: &Region) {
        let Some(until) = region.site().attestation_expires else { return };
        let (name, places) = (region.name(), &self.places.regions);
        if until < self.day {
            let problem = format!("the attestation of `{name}` ended on {until}");
            let help = "have the site attested, and write the new day";
            self.note(places, n, "ATTESTATION_EXPIRED", problem, help);
        } else if until <= self.day.after_days(PAPERS_DAYS) {
            let problem = format!("the attestation of `{name}` ends on {until}");
            self.note(places, n, "ATTESTATION_ENDING", problem, "have the site attested before");
        }
    }

    fn statute_dates(&self, n: usize, statute: &Statute) {
        let (id, places) = (statute.id(), &self.places.statutes);
        let (from, until) = (statute.pack().from(), statute.pack().until());
        let soon = self.day.after_days(LAW_DAYS);
        if self.day < from && from <= soon {
            let problem = format!("`{id}` is in force from {from} on");
            let help = "see what changes then: map plan with --as-of";
            self.note(places, n, "STATUTE_STARTING", problem, help);
        }
        match until {
            Some(until) if until < self.day => {
                let problem = format!("`{id}` was in force until {until}");
                self.note(
                    places,
                    n,
                    "STATUTE_ENDED",
                    problem,
                    "remove it, or put its successor in force",
                );
            }
            Some(until) if until <= soon => {
                let problem = format!("`{id}` is in force until {until}");
                let help = "put its successor in force as well, if it has one";
                self.note(places, n, "STATUTE_ENDING", problem, help);
            }
            Some(_) | None => {}
        }
    }

    fn clause_dates(&self, n: usize, clause: &Clause) {
        let (id, places) = (clause.id(), &self.places.clauses);
        let (begins, ends): (Date, Date) = (clause.not_before(), clause.expires());
        if ends <= self.day {
            let problem = format!("`{id}` expired on {ends}");
            self.note(places, n, "CLAUSE_EXPIRED", problem, "renew it, or remove it");
        } else if ends <= self.day.after_days(PAPERS_DAYS) {
            let problem = format!("`{id}` expires on {ends}");
            self.note(
                places,
                n,
                "CLAUSE_ENDING",
                problem,
                "renew it: what rests on it is refused then",
            );
        }
        if self.day < begins {
            let problem = format!("`{id}` holds from {begins} on");
            self.note(
                places,
                n,
                "CLAUSE_LATER",
                problem,
                "until then, what rests on it is refused",
            );
        }
    }
}
