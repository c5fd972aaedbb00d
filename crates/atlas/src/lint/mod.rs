//! The diagnostics about a map on a day, before it is used: what prevents its use,
//! and what an operator should check.
//!
//! An error is what no process would take, or what could let data land where they must not. All
//! else is a warning: a map that refuses people, or that rests on papers that run out, is safe,
//! and may be meant so.

mod clauses;
mod conflicts;
mod dates;
mod exclusions;
mod laws;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::law::builtin::Packs;
use crate::map::{self, Places};
use crate::toml::File;
use crate::{Annex, Date, Diagnostic, RegionMap, Severity, StatutePack, packs};

/// What a check found.
#[derive(Debug)]
pub struct Checked {
    /// The map, if nothing keeps it from being used.
    pub map: Option<RegionMap>,
    /// What was found in the map, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
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
    pub diagnostics: Vec<Diagnostic>,
}

impl Checked {
    /// Everything that was found: in the map, then in each annex.
    pub fn all(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter().chain(self.annexes.iter().flat_map(|annex| &annex.diagnostics))
    }

    /// How many of that severity were found.
    pub fn count(&self, severity: Severity) -> usize {
        self.all().filter(|diagnostic| diagnostic.severity == severity).count()
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
    carried: &[Arc<StatutePack>],
) -> Checked {
    let file = File::new(text);
    let packs = Packs::new(packs().iter().chain(carried));
    let mut checked = Vec::new();
    let placed = map::reader::read(&file, text, &packs);
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
        check.exclusions();
        check.conflicts();
        checked = check.annexes(annexes);
        file.is_sound().then_some(map)
    });
    Checked { map, diagnostics: file.into_diagnostics(), annexes: checked }
}

/// Reports the lines of a file that hold invisible characters: people sign what they read.
fn hidden(file: &File<'_>, text: &str) {
    let mut line_at = 0;
    for line in text.split_inclusive('\n') {
        // A line may end as it does elsewhere.
        let shown = line.strip_suffix("\r\n").unwrap_or(line);
        if let Some((at, c)) = shown.char_indices().find(|(_, c)| terms::is_hidden(*c)) {
            let problem = format!("this line holds U+{:04X}, which is invisible", u32::from(c));
            let help = "take it out: it can make a line read otherwise than it is";
            file.warn(line_at + at, "HIDDEN_CHARACTER", problem, help);
        }
        line_at += line.len();
    }
}

impl Check<'_> {
    /// Reports a diagnostic at a part of the map: the part at that place of a list.
    fn note(
        &self,
        places: &[usize],
        place: usize,
        code: &'static str,
        problem: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.file.warn(places.get(place).copied().unwrap_or_default(), code, problem, help);
    }

    /// Reports each region that has authorities and no keys that sign its annex.
    fn annex_signers(&self) {
        for (n, region) in self.map.regions().iter().enumerate() {
            if !region.authorities().is_empty() && region.annex_signers().is_empty() {
                let problem = format!("no key signs the annex of `{}`", region.name());
                let help = "name the keys of its operators as `annex_signers`";
                self.note(&self.places.regions, n, "ANNEX_SIGNERS_MISSING", problem, help);
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
            let mut diagnostics = file.into_diagnostics();
            let annex = Annex::parse(text, self.map);
            let annex = annex.map_err(|wrong| diagnostics.extend(wrong)).ok();
            let region = annex.as_ref().map(|annex| annex.region().clone());
            if let Some(first) = region.and_then(|region| seen.insert(region, *name)) {
                let problem = format!("`{first}` is an annex of the same region");
                diagnostics.push(Diagnostic::of_file("ANNEX_TWICE", problem, "keep one of them"));
            }
            checked.push(CheckedAnnex { name: (*name).to_owned(), annex, diagnostics });
        }
        let named = |region| seen.contains_key(region);
        let regions = self.map.regions().iter().enumerate();
        for (n, region) in regions.filter(|(_, region)| !seen.is_empty() && !named(region.name())) {
            let problem = format!("no annex that was given is for `{}`", region.name());
            let help = "give its annex: without one no gateway reaches its shards";
            self.note(&self.places.regions, n, "ANNEX_MISSING", problem, help);
        }
        checked
    }
}
