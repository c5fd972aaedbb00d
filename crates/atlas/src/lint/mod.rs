//! Everything that can be said of a map on a day, before it is used: what keeps it from being read,
//! and what somebody should look at.
//!
//! An error is what no process would take, or what could let data land where they must not. All
//! else is a warning: a map that refuses people, or that rests on papers that run out, is safe,
//! and may be meant so.

mod clauses;
mod conflicts;
mod dates;
mod laws;

use std::collections::BTreeMap;

use crate::map::{Packs, Places};
use crate::toml::file::File;
use crate::{Annex, Date, Diagnostic, RegionMap, Severity, StatutePack, packs};

/// What a check found.
#[derive(Debug)]
pub struct Checked {
    /// The map, if nothing keeps it from being used.
    pub map: Option<RegionMap>,
    /// What was found in the map, in the order of the file.
    pub findings: Vec<Diagnostic>,
    /// The annexes that were given, in that order.
    pub annexes: Vec<CheckedAnnex>,
}

/// What a check found in an annex.
#[derive(Debug)]
pub struct CheckedAnnex {
    /// The name under which it was given.
    pub name: String,
    /// The annex, if nothing keeps it from being used.
    pub annex: Option<Annex>,
    /// What was found in it, in the order of the file.
    pub findings: Vec<Diagnostic>,
}

impl Checked {
    /// Everything that was found: in the map, then in each annex.
    pub fn all(&self) -> impl Iterator<Item = &Diagnostic> {
        self.findings.iter().chain(self.annexes.iter().flat_map(|annex| &annex.findings))
    }

    /// How many of that severity were found.
    pub fn count(&self, severity: Severity) -> usize {
        self.all().filter(|finding| finding.severity() == severity).count()
    }
}

/// A check under way.
struct Check<'a> {
    file: &'a File<'a>,
    map: &'a RegionMap,
    places: &'a Places,
    /// The day for which it is checked.
    day: Date,
}

/// Checks a map, and annexes of it, for a day. The map's statutes are among the packs that this
/// program has and those that are `carried` with it. An annex is a name, for the report, and a
/// text; without a sound map they are not read.
pub fn check(
    text: &str,
    annexes: &[(&str, &str)],
    as_of: Date,
    carried: &[&'static StatutePack],
) -> Checked {
    let file = File::new(text);
    let packs = Packs::new(packs().iter().chain(carried.iter().copied()));
    let mut checked = Vec::new();
    let placed = RegionMap::placed(&file, text, &packs);
    hidden(&file, text);
    let map = placed.and_then(|(map, places)| {
        let check = Check { file: &file, map: &map, places: &places, day: as_of };
        check.dates();
        check.annex_signers();
        check.laws();
        // What follows asks the map, and a map that is not sound has no answers.
        if !file.is_sound() {
            return None;
        }
        check.clauses();
        check.conflicts();
        checked = check.annexes(annexes);
        file.is_sound().then_some(map)
    });
    Checked { map, findings: file.into_findings(), annexes: checked }
}

/// Notes the lines of a file that hold invisible characters: people sign what they read.
fn hidden(file: &File<'_>, text: &str) {
    let mut line_at = 0;
    for line in text.split_inclusive('\n') {
        // A line may end as it does elsewhere.
        let shown = line.strip_suffix("\r\n").unwrap_or(line);
        if let Some((at, c)) = shown.char_indices().find(|(_, c)| terms::is_hidden(*c)) {
            let problem = format!("this line holds U+{:04X}, which is invisible", u32::from(c));
            let cure = "take it out: it can make a line read otherwise than it is";
            file.wrong(line_at + at, "HIDDEN_CHARACTER", problem, cure);
        }
        line_at += line.len();
    }
}

impl Check<'_> {
    /// Notes a finding at a part of the map: the part at that place of a list.
    fn note(
        &self,
        (places, place): (&[usize], usize),
        code: &'static str,
        problem: impl Into<String>,
        cure: impl Into<String>,
    ) {
        self.file.wrong(places.get(place).copied().unwrap_or_default(), code, problem, cure);
    }

    /// Notes each region whose processes may be anywhere, while nobody says by name where.
    fn annex_signers(&self) {
        for (n, region) in self.map.regions().iter().enumerate() {
            if !region.authorities().is_empty() && region.annex_signers().is_empty() {
                let problem = format!("nobody signs the annex of `{}`", region.name());
                let cure = "name the keys of its operators as `annex_signers`";
                self.note((&self.places.regions, n), "ANNEX_SIGNERS_MISSING", problem, cure);
            }
        }
    }

    /// Reads the annexes, and notes each region that has none, if there are any.
    fn annexes(&self, annexes: &[(&str, &str)]) -> Vec<CheckedAnnex> {
        let mut seen = BTreeMap::new();
        let mut checked = Vec::new();
        for (name, text) in annexes {
            let file = File::new(text);
            hidden(&file, text);
            let mut findings = file.into_findings();
            let annex = Annex::parse(text, self.map);
            let annex = annex.map_err(|wrong| findings.extend(wrong)).ok();
            let region = annex.as_ref().map(|annex| annex.region().clone());
            if let Some(first) = region.and_then(|region| seen.insert(region, *name)) {
                findings.push(Diagnostic {
                    line: 1,
                    column: 1,
                    code: "ANNEX_TWICE",
                    problem: format!("`{first}` is an annex of the same region"),
                    cure: "keep one of them".to_owned(),
                });
            }
            checked.push(CheckedAnnex { name: (*name).to_owned(), annex, findings });
        }
        let named = |region| seen.contains_key(region);
        let regions = self.map.regions().iter().enumerate();
        for (n, region) in regions.filter(|(_, region)| !seen.is_empty() && !named(region.name())) {
            let problem = format!("no annex that was given is for `{}`", region.name());
            let cure = "give its annex: without one nobody reaches its shards";
            self.note((&self.places.regions, n), "ANNEX_MISSING", problem, cure);
        }
        checked
    }
}
