//! Section 6 of the design a second time: where the first copy goes, and which others.

use crate::exhaustive::naive::{Asked, End, Facts, Flaw, Rules, lies_in, refused};
use crate::exhaustive::text::Law;

/// What the steps look at.
pub(crate) struct Steps<'s, 'a> {
    pub(crate) rules: Rules<'a>,
    pub(crate) asked: &'s Asked<'a>,
    pub(crate) attached: &'s [&'a Law],
    pub(crate) facts: &'s Facts<'a>,
}

impl<'a> Steps<'_, 'a> {
    /// All steps. The first refusal met is the answer.
    pub(crate) fn all(&self, jurisdictions: &[&'a str]) -> Result<End<'a>, End<'a>> {
        let rules = self.rules;
        let countries = self.countries();
        let by_law = !jurisdictions.is_empty() && rules.broken(Flaw::NobodyIsUndetermined);
        if countries.is_empty() && !by_law {
            return Err(refused("JURISDICTION_UNDETERMINED", &[]));
        }
        if let Some(region) = self.asked.chosen.filter(|_| !rules.broken(Flaw::ChoicesBindNobody))
            && let Some(clauses) = self.choice(jurisdictions, region)
        {
            return Ok(End::Placed { region, mirrors: Vec::new(), clauses });
        }
        let region = self.primary(jurisdictions, &countries)?;
        let place = rules.text.regions[region].as_str();
        let mut clauses = Vec::new();

        // Step 4.
        if !rules.broken(Flaw::DeniedAfterClauses) {
            self.denied(jurisdictions, place)?;
        }
        for land in jurisdictions {
            let free = lies_in(place, land) || rules.broken(Flaw::TransfersAreFree);
            if self.demands(land, "conditional-transfer") && !free {
                self.needs_clause(land, region, &mut clauses)?;
            }
        }
        self.denied(jurisdictions, place)?;

        // Step 5.
        let mut mirrors: Vec<&str> = Vec::new();
        for land in jurisdictions {
            let wanted = self.demands(land, "mirror") && !lies_in(place, land);
            if !wanted || rules.broken(Flaw::NoCopies) {
                continue;
            }
            let exclusive = jurisdictions.iter().find(|own| self.demands(own, "exclusive"));
            if let Some(exclusive) = exclusive.filter(|_| !rules.broken(Flaw::CopiesOfExclusive)) {
                return Err(refused("UNSATISFIABLE", &[exclusive, land]));
            }
            let mirror = self.exact_home(land)?;
            self.copy(jurisdictions, mirror, &mut clauses)?;
            if !mirrors.contains(&mirror) {
                mirrors.push(mirror);
            }
        }
        mirrors.sort_unstable();
        Ok(End::Placed { region, mirrors, clauses })
    }

    /// The clauses under which records may lie in the region that was chosen. None: the choice is void.
    fn choice(&self, jurisdictions: &[&'a str], region: &'a str) -> Option<Vec<&'a str>> {
        let rules = self.rules;
        for land in jurisdictions {
            let pinned = self.pins(land) && !rules.broken(Flaw::ChoicesBesidePins);
            let copied = self.demands(land, "mirror") && !rules.broken(Flaw::ChoicesBesideMirrors);
            if pinned || copied {
                return None;
            }
        }
        let any = rules.broken(Flaw::ChoicesOfAnyHome);
        let mut homes = rules.text.homes.values();
        if !homes.any(|(home, lead)| home == region && (*lead || any)) {
            return None;
        }
        if self.must_not_lie_in(region) && !rules.broken(Flaw::ChoicesOfExcludedSites) {
            return None;
        }
        let place = rules.text.regions[region].as_str();
        self.denied(jurisdictions, place).ok()?;
        let mut clauses = Vec::new();
        for land in jurisdictions {
            let free = lies_in(place, land) || rules.broken(Flaw::ChoicesNeedNoClause);
            if self.demands(land, "conditional-transfer") && !free {
                self.needs_clause(land, region, &mut clauses).ok()?;
            }
        }
        Some(clauses)
    }

    /// What a copy in a region needs.
    fn copy(
        &self,
        jurisdictions: &[&'a str],
        region: &'a str,
        clauses: &mut Vec<&'a str>,
    ) -> Result<(), End<'a>> {
        let place = self.rules.text.regions[region].as_str();
        self.denied(jurisdictions, place)?;
        for land in jurisdictions {
            if self.pins(land) && !self.rules.broken(Flaw::CopiesFromPinsAreFree) {
                self.needs_clause(land, region, clauses)?;
            }
        }
        for land in jurisdictions {
            let free = lies_in(place, land) || self.rules.broken(Flaw::CopiesFromOthersAreFree);
            if self.demands(land, "conditional-transfer") && !free {
                self.needs_clause(land, region, clauses)?;
            }
        }
        Ok(())
    }

    /// Countries in order.
    fn countries(&self) -> Vec<&'a str> {
        let facts = self.facts;
        if self.rules.broken(Flaw::CitizensBeforeResidents) {
            return [&*facts.citizen, &*facts.resident, &*facts.present, &*facts.contact].concat();
        }
        [&*facts.resident, &*facts.citizen, &*facts.present, &*facts.contact].concat()
    }

    /// Whether a law of that jurisdiction that attaches has that constraint.
    fn demands(&self, land: &str, constraint: &str) -> bool {
        let own = self.attached.iter().filter(|law| law.jurisdiction == land);
        let mut own = own.map(|law| self.rules.constraint(law));
        if !self.rules.broken(Flaw::StrictestAlone) {
            return own.any(|one| one == constraint);
        }
        let order = ["exclusive", "primary-first", "mirror", "conditional-transfer", "none"];
        let strictest = own.min_by_key(|one| order.iter().position(|known| known == one));
        strictest == Some(constraint)
    }

    fn pins(&self, land: &str) -> bool {
        self.demands(land, "exclusive") || self.demands(land, "primary-first")
    }

    /// Steps 1 to 3.
    fn primary(
        &self,
        jurisdictions: &[&'a str],
        countries: &[&'a str],
    ) -> Result<&'a str, End<'a>> {
        let pins: Vec<&str> =
            jurisdictions.iter().copied().filter(|land| self.pins(land)).collect();
        if pins.len() > 1 && !self.rules.broken(Flaw::PinsByCode) {
            return Err(refused("UNSATISFIABLE", &pins));
        }
        if let Some(pin) = pins.first() {
            return self.exact_home(pin);
        }

        let mut first: Option<(usize, &str)> = None;
        for land in jurisdictions.iter().filter(|land| self.demands(land, "mirror")) {
            let covered = countries.iter().position(|country| lies_in(country, land));
            let rank = covered.unwrap_or(countries.len());
            let earlier = first.is_none_or(|(best, _)| rank < best);
            if first.is_none() || (earlier && !self.rules.broken(Flaw::MirrorsByCode)) {
                first = Some((rank, land));
            }
        }
        if let Some((_, land)) = first
            && !self.rules.broken(Flaw::MirrorsAfterLeads)
        {
            return self.exact_home(land);
        }
        self.lead(jurisdictions, countries)
    }

    /// Step 3.
    fn lead(&self, jurisdictions: &[&'a str], countries: &[&'a str]) -> Result<&'a str, End<'a>> {
        let covered = |country: &str| jurisdictions.iter().any(|land| lies_in(country, land));
        let mut order = Vec::new();
        for country in countries {
            if covered(country) && !self.rules.broken(Flaw::LeadsWithoutLaws) {
                order.push(*country);
            }
        }
        order.extend(countries);
        let homes = &self.rules.text.homes;
        let mut passed_over = false;
        for country in order {
            let group = lies_in(country, "EEA").then_some("EEA");
            for name in [Some(country), group, Some("*")].into_iter().flatten() {
                match homes.get(name) {
                    Some((region, true)) if self.must_not_lie_in(region) => {
                        passed_over = true;
                        if !self.rules.broken(Flaw::ExcludedLeadsFallThrough) {
                            break;
                        }
                    }
                    Some((region, true)) => return Ok(region),
                    Some((_, false)) if self.rules.broken(Flaw::LeadsFallThrough) => {}
                    Some((_, false)) => break,
                    None => {}
                }
            }
        }
        match homes.get("*").filter(|_| !self.rules.broken(Flaw::NoLastHome)) {
            Some((region, _))
                if self.must_not_lie_in(region)
                    && !self.rules.broken(Flaw::ExcludedLastHomeTakes) =>
            {
                Err(refused("REGION_EXCLUDED", &[]))
            }
            Some((region, _)) => Ok(region),
            None if passed_over => Err(refused("REGION_EXCLUDED", &[])),
            None => Err(refused("NO_REGION", &[])),
        }
    }

    /// Whether the collection must not lie in a region.
    fn must_not_lie_in(&self, region: &str) -> bool {
        self.rules.must_not_lie_in(self.asked.collection, region)
    }

    /// The region that the map names for exactly that jurisdiction, and that lies in it.
    fn exact_home(&self, land: &'a str) -> Result<&'a str, End<'a>> {
        let text = self.rules.text;
        let mut home = text.homes.get(land);
        if self.rules.broken(Flaw::AnyHomePins) {
            home = home.or_else(|| text.homes.get("*"));
        }
        match home {
            Some((region, _)) if lies_in(&text.regions[region], land) => {
                let stands = self.rules.broken(Flaw::ExcludedPinsStand);
                if self.must_not_lie_in(region) && !stands {
                    return Err(refused("REGION_EXCLUDED", &[land]));
                }
                Ok(region)
            }
            Some((region, _)) if self.rules.broken(Flaw::AnyHomePins) => Ok(region),
            _ => Err(refused("NO_REGION", &[land])),
        }
    }

    /// A clause from exactly that jurisdiction to the country of a region or a group that holds it: the
    /// first by id of those that may be relied on and do not exclude the region.
    fn needs_clause(
        &self,
        land: &'a str,
        region: &'a str,
        clauses: &mut Vec<&'a str>,
    ) -> Result<(), End<'a>> {
        let place = self.rules.text.regions[region].as_str();
        for clause in &self.rules.text.clauses {
            let from = clause.from == land
                || (self.rules.broken(Flaw::ClausesFromGroups) && lies_in(&clause.from, land));
            let excluded = self.rules.excludes(&clause.exclude, region)
                && !self.rules.broken(Flaw::ClausesExcludeNobody);
            let leads = lies_in(place, &clause.to) && !excluded;
            if from && leads && self.rules.holds(clause, self.asked) {
                if !clauses.contains(&clause.id.as_str()) {
                    clauses.push(&clause.id);
                }
                return Ok(());
            }
        }
        Err(refused("TRANSFER_NOT_COVERED", &[land, place]))
    }

    /// No clause helps where a law that attaches denies the place, unless its own jurisdiction
    /// holds it.
    fn denied(&self, jurisdictions: &[&'a str], place: &'a str) -> Result<(), End<'a>> {
        for land in jurisdictions {
            let own = self.attached.iter().filter(|law| law.jurisdiction == *land);
            let denies = own.flat_map(|law| &law.deny).any(|denied| lies_in(place, denied));
            let free = lies_in(place, land) && !self.rules.broken(Flaw::DeniedAtHome);
            if denies && !free && !self.rules.broken(Flaw::DeniedByNobody) {
                return Err(refused("UNSATISFIABLE", &[land, place]));
            }
        }
        Ok(())
    }
}
