//! Exclusions that name nothing, and those that a site's silence meets.

use std::collections::BTreeSet;

use crate::geo::country::Countries;
use crate::lint::Check;
use crate::map::{Exclusions, folded_operator};
use crate::{Region, Severity};

/// What the sites of a map state.
struct Stated<'a> {
    operators: BTreeSet<String>,
    controlled_from: Countries,
    /// Regions whose sites do not name their operator.
    no_operator: Vec<&'a Region>,
    /// Regions whose sites do not say from where their operator is controlled.
    no_control: Vec<&'a Region>,
}

impl<'a> Stated<'a> {
    fn of(regions: &'a [Region]) -> Self {
        let sites = || regions.iter().map(Region::site);
        let operators = sites().filter_map(|site| site.operator.as_deref());
        let countries = sites().flat_map(|site| site.controlled_from.iter().copied());
        let silent = |is: fn(&Region) -> bool| regions.iter().filter(|own| is(own)).collect();
        Self {
            operators: operators.map(folded_operator).collect(),
            controlled_from: countries.fold(Countries::EMPTY, Countries::with),
            no_operator: silent(|region| region.site().operator.is_none()),
            no_control: silent(|region| region.site().controlled_from.is_empty()),
        }
    }
}

impl Check<'_> {
    pub(super) fn exclusions(&self) {
        let stated = Stated::of(self.map.regions());
        for (n, rules) in self.map.collections().enumerate() {
            let (places, name) = (&self.places.collections, rules.name().as_str());
            self.exclusion(&stated, places, n, name, rules.exclude());
        }
        for (n, clause) in self.map.clauses().iter().enumerate() {
            let (places, name) = (&self.places.clauses, clause.id().as_str());
            self.exclusion(&stated, places, n, name, clause.exclude());
        }
    }

    /// Reports what the exclusions of one collection or clause name and no site states, the sites whose
    /// operators have a similar name and are not excluded, and those that are excluded because they do
    /// not state what is asked.
    fn exclusion(
        &self,
        stated: &Stated<'_>,
        places: &[usize],
        n: usize,
        name: &str,
        exclude: &Exclusions,
    ) {
        if exclude.is_empty() || self.file.is_full(Severity::Warning) {
            return;
        }
        let operators = exclude.operators().iter();
        let operators = operators.filter(|one| !stated.operators.contains(&folded_operator(one)));
        let operators = operators.map(|one| format!("the operator {one:?}"));
        let countries = exclude.controlled_from().iter();
        let countries = countries.filter(|from| !stated.controlled_from.contains(**from));
        let countries = countries.map(|from| format!("control from {from}"));
        for what in operators.chain(countries) {
            let problem = format!("`{name}` excludes {what}, and no site of the map states that");
            let help = "write it as the site does, or remove it";
            self.note(places, n, "EXCLUSION_UNUSED", problem, help);
        }
        for region in self.map.regions() {
            let Some(operator) = region.site().operator.as_deref() else { continue };
            let own = folded_operator(operator);
            let mut near = exclude.folded().iter();
            let near = near.find(|one| one.contains(&*own) || own.contains(one.as_str()));
            if let (Some(near), false) = (near, region.is_excluded(exclude)) {
                let problem = format!(
                    "`{name}` excludes an operator {near:?}, and not {}, whose operator is {operator:?}",
                    region.name()
                );
                let help = "name that operator among the exclusions, or rename one of the two, if they are \
                            the same; otherwise nothing";
                self.note(places, n, "EXCLUSION_SIMILAR", problem, help);
            }
        }
        let asked = [
            (exclude.operators().is_empty(), &stated.no_operator),
            (exclude.controlled_from().is_empty(), &stated.no_control),
        ];
        let silent = asked.iter().filter(|(unasked, _)| !unasked).flat_map(|(_, silent)| *silent);
        let silent = silent.map(|region| region.name());
        let silent: BTreeSet<_> = silent.filter(|own| !exclude.regions().contains(own)).collect();
        if !silent.is_empty() {
            let silent: Vec<&str> = silent.into_iter().map(|name| name.as_str()).collect();
            let problem = format!(
                "`{name}` excludes {} because the site does not state what the exclusion asks",
                silent.join(", ")
            );
            let help = "state `operator` and `controlled_from` of the site, or name the region among \
                        the exclusions";
            self.note(places, n, "EXCLUSION_SITE_SILENT", problem, help);
        }
    }
}
