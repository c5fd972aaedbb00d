//! The report for an authority: what the placement logs of a deployment show of a period, by the
//! region maps that ruled in it; and what they do not show.
//!
//! **Architecture invariant:** this is pure. Logs, maps and times are arguments; the same input
//! gives the same bytes. The caller verifies the logs, and the report repeats the result.
//!
//! **Architecture invariant:** it imports the verifier, and the verifier does not know it: the code
//! that auditors must trust stays small.
//!
//! **Architecture invariant:** logs are read once, entry by entry, and memory does not grow with
//! them beyond named limits. What a limit cuts off, the report says.
//!
//! **Architecture invariant:** no count of people's records is published exactly: see
//! [`terms::Rounded`]. Sizes of logs are, since checkpoints publish them.
//!
//! ```text
//! Input ── fold (logs) ──┐
//!       └─ law (maps) ───┴─ one JSON document ─┬─ report.html, a template with texts in a language
//!                                              └─ csv
//! ```

mod acts;
mod copies;
mod csv;
mod fold;
mod gaps;
mod input;
mod law;
mod links;
mod page;
mod period;
mod summary;

use ledger::entry::Minute;
use serde_json::{Value, json};

pub use fold::LOGS_MAX;
pub use input::{Entries, Input, Language, LogFacts, LogInput, Operator};

use fold::Fold;
use law::Law;
use period::Period;

/// The version of the JSON document. A member may be added to it; one that changes its meaning is a
/// new version.
const FORMAT: u32 = 2;

/// What the logs and maps of a deployment show of a period, as one JSON document. Its keys and
/// codes are the same in all languages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report(Value);

impl Report {
    /// Reads everything. What cannot be read or used is among the gaps, and no reason to stop.
    pub fn new(input: Input<'_>) -> Self {
        let Input { deployment, number, period, generated, operator, logs, maps } = input;
        let period = Period::new(period);
        let fold = Fold::of(period, logs);
        let law = Law::of(maps, &fold.in_force());
        let (first_day, last_day) = period.days();
        let regions = summary::regions(&fold, &law);
        Self(json!({
            "format": FORMAT,
            "number": number,
            "deployment": deployment,
            "operator": {"name": operator.name, "address": operator.address},
            "generated": Minute(generated).to_string(),
            "first_day": first_day.to_string(),
            "last_day": last_day.to_string(),
            "summary": summary::of(&fold, &law, &regions, maps.with_keys()),
            "localisation": summary::localisation(&fold, &law),
            "regions": regions,
            "statutes": law.statutes.json(),
            "collections": law.collections.json(),
            "clauses": law.clauses.json(),
            "maps": law.maps,
            "figures": fold.figures(&law),
            "maps_taken": fold.taken(),
            "events": fold.events(),
            "logs": fold.logs(),
            "gaps": gaps::find(period, &fold, &law),
        }))
    }

    /// Everything, for programs.
    pub const fn json(&self) -> &Value {
        &self.0
    }

    /// One page that needs nothing else: no scripts, no other files; to be read and printed.
    ///
    /// # Errors
    /// A mistake in the template.
    pub fn to_html(&self, language: Language) -> Result<String, minijinja::Error> {
        page::render(&self.0, language)
    }

    /// The figures as a table for a spreadsheet.
    pub fn to_csv(&self) -> String {
        csv::table(&self.0)
    }
}

/// A member of an object; nothing if it has none of that name.
fn member<'v>(value: &'v Value, name: &str) -> &'v Value {
    value.get(name).unwrap_or(&Value::Null)
}
