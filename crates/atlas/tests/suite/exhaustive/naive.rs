//! The rules of the design, sections 5 and 6, a second time: written from its text and as plainly
//! as can be, with texts, lists and loops, and without a line of atlas.
//!
//! Each rule has a [`Flaw`] that breaks it, so that tests can show that the comparison finds it.

use crate::exhaustive::steps::Steps;
use crate::exhaustive::text::{Clause, Exclude, Law, Text};

/// The group that there is: thirty states, and the territories that belong to it.
const EEA: &[&str] = &[
    "AT", "BE", "BG", "HR", "CY", "CZ", "DK", "EE", "FI", "FR", "DE", "GR", "HU", "IE", "IT", "LV",
    "LT", "LU", "MT", "NL", "PL", "PT", "RO", "SK", "SI", "ES", "SE", "IS", "LI", "NO", "AX", "GF",
    "GP", "MQ", "MF", "RE", "YT",
];

/// One rule that is done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    ContactsBesidePresence,
    IpBesideCollectedIn,
    StatelessIsUnknown,
    UnknownAttachesByAnyHint,
    UnknownNeverAttaches,
    PresenceEndsNothingAbroad,
    AbroadAlwaysAttaches,
    AbroadIsRefusedLast,
    ContactsAttachMirrors,
    OperatorsAreNowhere,
    LawsNeverBegin,
    LawsNeverEnd,
    LawsCoverEverything,
    NobodyIsUndetermined,
    CitizensBeforeResidents,
    PinsByCode,
    AnyHomePins,
    MirrorsByCode,
    MirrorsAfterLeads,
    LeadsWithoutLaws,
    LeadsFallThrough,
    NoLastHome,
    TransfersAreFree,
    ClausesFromGroups,
    ClausesForEverything,
    ClausesNeverBegin,
    ClausesNeverEnd,
    MapsNeverExpire,
    CopiesOfExclusive,
    CopiesFromPinsAreFree,
    CopiesFromOthersAreFree,
    NoCopies,
    StrictestAlone,
    ExemptionsDoNothing,
    SectorsDoNothing,
    ScopesDoNothing,
    ReadingsDoNothing,
    DeniedAtHome,
    DeniedByNobody,
    DeniedAfterClauses,
    CollectionsExcludeNobody,
    ClausesExcludeNobody,
    SilentSitesPass,
    ExcludedLeadsFallThrough,
    ExcludedLastHomeTakes,
    ExcludedPinsStand,
    ChoicesBesidePins,
    ChoicesBesideMirrors,
    ChoicesOfAnyHome,
    ChoicesOfExcludedSites,
    ChoicesNeedNoClause,
    ChoicesBindNobody,
}

/// A question.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) collection: &'a str,
    pub(crate) date: &'a str,
    /// Kind and code of each finding.
    pub(crate) findings: &'a [(&'a str, &'a str)],
    /// The region that was chosen for the person, if one was.
    pub(crate) chosen: Option<&'a str>,
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    /// The laws that attach, by jurisdiction and id.
    pub(crate) laws: Vec<&'a str>,
    /// Their jurisdictions, by code, each once.
    pub(crate) jurisdictions: Vec<&'a str>,
    /// The kinds of evidence that count, by name.
    pub(crate) kinds: Vec<&'a str>,
    pub(crate) end: End<'a>,
}

/// How it ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End<'a> {
    Placed { region: &'a str, mirrors: Vec<&'a str>, clauses: Vec<&'a str> },
    Refused { reason: &'a str, conflicting: Vec<&'a str> },
}

/// The findings that count, each list by code.
#[derive(Default)]
pub(crate) struct Facts<'a> {
    pub(crate) resident: Vec<&'a str>,
    pub(crate) citizen: Vec<&'a str>,
    pub(crate) present: Vec<&'a str>,
    pub(crate) contact: Vec<&'a str>,
    citizenship_known: bool,
    kinds: Vec<&'a str>,
}

/// The rules under one map, with at most one done wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) text: &'a Text,
    pub(crate) flaw: Option<Flaw>,
}

/// Whether a country is that territory or lies in it.
pub(crate) fn lies_in(country: &str, territory: &str) -> bool {
    country == territory || (territory == "EEA" && EEA.contains(&country))
}

fn any_in(countries: &[&str], territory: &str) -> bool {
    countries.iter().any(|country| lies_in(country, territory))
}

pub(crate) fn refused<'a>(reason: &'a str, conflicting: &[&'a str]) -> End<'a> {
    End::Refused { reason, conflicting: conflicting.to_vec() }
}

impl<'a> Rules<'a> {
    pub(crate) fn broken(self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// Section 5, then section 6.
    pub(crate) fn answer(self, asked: &Asked<'a>) -> Answer<'a> {
        let facts = self.facts(asked);
        let mut attached: Vec<&'a Law> = Vec::new();
        let mut abroad = Vec::new();
        for law in &self.text.laws {
            if !self.is_asked(law, asked) {
                continue;
            }
            match self.attaches(law, &facts, asked) {
                "" => {}
                "refuse" => {
                    attached.push(law);
                    abroad.push(law);
                }
                _ => attached.push(law),
            }
        }
        let mut jurisdictions: Vec<&str> = Vec::new();
        for law in &attached {
            if !jurisdictions.contains(&law.jurisdiction.as_str()) {
                jurisdictions.push(&law.jurisdiction);
            }
        }
        let mut end = match abroad.first() {
            Some(law) if !self.broken(Flaw::AbroadIsRefusedLast) => {
                refused("CITIZEN_ABROAD", &[&law.jurisdiction])
            }
            _ => {
                let steps = Steps { rules: self, asked, attached: &attached, facts: &facts };
                steps.all(&jurisdictions).unwrap_or_else(|refusal| refusal)
            }
        };
        if let (Some(law), End::Placed { .. }) = (abroad.first(), &end) {
            end = refused("CITIZEN_ABROAD", &[&law.jurisdiction]);
        }
        let mut laws: Vec<&str> = attached.iter().map(|law| law.id.as_str()).collect();
        laws.dedup();
        Answer { laws, jurisdictions, kinds: facts.kinds, end }
    }

    /// Sorts out what counts, by aspect.
    fn facts(self, asked: &Asked<'a>) -> Facts<'a> {
        let mut facts = Facts::default();
        let has = |kind: &str| asked.findings.iter().any(|(own, _)| *own == kind);
        let located = has("residence") || has("collected_in") || has("ip");
        for (kind, code) in asked.findings {
            let list = match *kind {
                "citizenship" | "document" => {
                    facts.citizenship_known |=
                        *code != "XX" || !self.broken(Flaw::StatelessIsUnknown);
                    &mut facts.citizen
                }
                "residence" => &mut facts.resident,
                "ip" if has("collected_in") && !self.broken(Flaw::IpBesideCollectedIn) => continue,
                "collected_in" | "ip" => &mut facts.present,
                _ if located && !self.broken(Flaw::ContactsBesidePresence) => continue,
                _ => &mut facts.contact,
            };
            if *code != "XX" && !list.contains(code) {
                list.push(code);
            }
            if !facts.kinds.contains(kind) {
                facts.kinds.push(kind);
            }
        }
        facts.kinds.sort_unstable();
        facts.resident.sort_unstable();
        facts.citizen.sort_unstable();
        facts.present.sort_unstable();
        facts.contact.sort_unstable();
        facts
    }

    /// Whether a law is in force, and for this collection and this tenant.
    fn is_asked(self, law: &Law, asked: &Asked<'_>) -> bool {
        let begun = law.from.as_str() <= asked.date || self.broken(Flaw::LawsNeverBegin);
        let ended = law.until.as_ref().is_some_and(|until| until.as_str() < asked.date);
        let covers = law
            .collections
            .as_ref()
            .is_none_or(|list| list.iter().any(|one| one == asked.collection));
        let own = self.text.collections.iter().find(|one| one.name == asked.collection);
        let exempt = own.is_some_and(|own| {
            own.exempt.iter().any(|ground| ground.split('/').next() == Some(law.id.as_str()))
        });
        // A tenant that the map does not know is taken to declare every sector.
        let tenant = self.text.tenants.iter().find(|tenant| tenant.name == asked.tenant);
        let sector = law.sectors.is_empty()
            || tenant.is_none_or(|own| own.sectors.iter().any(|one| law.sectors.contains(one)));
        begun
            && (!ended || self.broken(Flaw::LawsNeverEnd))
            && (covers || self.broken(Flaw::LawsCoverEverything))
            && (!exempt || self.broken(Flaw::ExemptionsDoNothing))
            && (!law.further || !self.broken(Flaw::ScopesDoNothing))
            && (sector || self.broken(Flaw::SectorsDoNothing))
    }

    /// Whether a law's trigger fires: "" for no, "refuse" for a citizen abroad whom the map
    /// refuses, else "attach".
    fn attaches(self, law: &'a Law, facts: &Facts<'a>, asked: &Asked<'a>) -> &'a str {
        let land = law.jurisdiction.as_str();
        let there = any_in(&facts.resident, land) || any_in(&facts.present, land);
        let reached = any_in(&facts.contact, land);
        let attach = |fires: bool| if fires { "attach" } else { "" };
        match law.trigger.as_str() {
            "citizen" if any_in(&facts.citizen, land) => {
                let there = there && !self.broken(Flaw::PresenceEndsNothingAbroad);
                let there = there || any_in(&facts.resident, land);
                if facts.resident.is_empty() || there || self.broken(Flaw::AbroadAlwaysAttaches) {
                    return "attach";
                }
                match law.citizens_abroad.as_str() {
                    "ignore" => "",
                    setting => setting,
                }
            }
            "citizen" if facts.citizenship_known => "",
            "citizen" if self.broken(Flaw::UnknownNeverAttaches) => "",
            "citizen" => match law.unknown.as_str() {
                "any-hint" => attach(there || reached),
                _ if self.broken(Flaw::UnknownAttachesByAnyHint) => attach(there || reached),
                "territory" => attach(there),
                _ => "",
            },
            "located" => {
                let known = !facts.resident.is_empty() || !facts.present.is_empty();
                let mirror =
                    self.constraint(law) == "mirror" && !self.broken(Flaw::ContactsAttachMirrors);
                attach(there || (!known && reached && !mirror))
            }
            _ if self.broken(Flaw::OperatorsAreNowhere) => "",
            // A tenant that the map does not know is taken to be established everywhere.
            _ => match self.text.tenants.iter().find(|tenant| tenant.name == asked.tenant) {
                Some(tenant) => {
                    attach(tenant.establishments.iter().any(|country| lies_in(country, land)))
                }
                None => "attach",
            },
        }
    }

    /// What a law demands, by the reading that the map chooses.
    pub(crate) fn constraint(self, law: &'a Law) -> &'a str {
        if self.broken(Flaw::ReadingsDoNothing) { &law.written } else { &law.constraint }
    }

    /// Whether data must not lie in a region. A site that does not state what is asked is meant.
    pub(crate) fn excludes(self, exclude: &Exclude, region: &str) -> bool {
        let (operator, controlled_from) = &self.text.sites[region];
        let silent = !self.broken(Flaw::SilentSitesPass);
        if exclude.regions.iter().any(|name| name == region) {
            return true;
        }
        for one in &exclude.operators {
            match operator {
                Some(own) if own.to_lowercase() == one.to_lowercase() => return true,
                None if silent => return true,
                _ => {}
            }
        }
        for country in &exclude.controlled_from {
            if controlled_from.contains(country) || (controlled_from.is_empty() && silent) {
                return true;
            }
        }
        false
    }

    /// Whether the collection must not lie in a region.
    pub(crate) fn must_not_lie_in(self, collection: &str, region: &str) -> bool {
        let own = self.text.collections.iter().find(|one| one.name == collection);
        own.is_some_and(|own| self.excludes(&own.exclude, region))
            && !self.broken(Flaw::CollectionsExcludeNobody)
    }

    /// Whether a clause may be relied on for that collection on that day.
    pub(crate) fn holds(self, clause: &Clause, asked: &Asked<'_>) -> bool {
        let listed = clause
            .collections
            .as_ref()
            .is_none_or(|list| list.iter().any(|one| one == asked.collection));
        let expired = self.text.valid_until.as_ref().is_some_and(|day| day.as_str() < asked.date);
        (listed || self.broken(Flaw::ClausesForEverything))
            && (clause.not_before.as_str() <= asked.date || self.broken(Flaw::ClausesNeverBegin))
            && (asked.date < clause.expires.as_str() || self.broken(Flaw::ClausesNeverEnd))
            && (!expired || self.broken(Flaw::MapsNeverExpire))
    }
}
