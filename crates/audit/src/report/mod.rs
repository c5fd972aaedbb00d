//! The report for an authority: what the placement logs of a deployment show of a period, by the
//! region maps that ruled in it; and what they do not show.
//!
//! **Architecture invariant:** this is pure. Logs, maps and times are arguments; the same input
//! gives the same bytes. Whether a log was verified is the caller's to say, and is repeated.
//!
//! **Architecture invariant:** logs are read once, entry by entry, and memory does not grow with
//! them beyond named limits. What a limit cuts off, the report says.
//!
//! ```text
//! Input ── fold/ (logs) ──┐
//!       └─ law (maps) ────┴─ Report ─┬─ to_json
//!                                    ├─ to_csv
//!                                    └─ document/ (in a language) ─ to_html
//! ```

mod csv;
mod document;
mod escape;
mod figure;
mod fold;
mod gaps;
mod html;
mod input;
mod json;
mod law;
mod period;
mod small;
mod solve;
mod svg;
mod words;

pub use figure::{Figure, SMALL, Section, Value};
pub use fold::acts::Late;
pub use fold::history::{Event, Taken};
pub use fold::{LOGS_MAX, Log};
pub use gaps::Gap;
pub use input::{Entries, Input, Language, LogInput, MapInput, Verification};
pub use law::{
    ClauseFacts, CollectionFacts, Law, MAPS_MAX, MapFacts, SiteFacts, Stated, StatuteFacts,
};
pub use period::{MONTHS_MAX, Month, Period};
pub use words::GapKind;

use fold::Fold;

/// What the logs and maps of a deployment show of a period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The name of the deployment.
    pub deployment: String,
    /// The period.
    pub period: Period,
    /// The minute in which it was made.
    pub generated: u32,
    /// In which language [`Report::to_html`] writes.
    pub language: Language,
    /// The logs, by region, shard and period; figures name them by their place here.
    pub logs: Vec<Log>,
    /// What the maps say.
    pub law: Law,
    /// Every figure, in the order of the report.
    pub figures: Vec<Figure>,
    /// Erasures after their deadline.
    pub late: Vec<Late>,
    /// The maps that shards took.
    pub taken: Vec<Taken>,
    /// Beginnings and ends of logs, keys, backups and restores.
    pub events: Vec<Event>,
    /// What is missing, weak or cut off.
    pub gaps: Vec<Gap>,
}

impl Report {
    /// Reads everything. What cannot be read or used is among the gaps, and no reason to stop.
    pub fn new(input: Input<'_>) -> Self {
        let Input { deployment, period, generated, language, logs, maps } = input;
        let period = Period::new(period);
        let law = Law::of(maps);
        let fold = Fold::of(period, logs);
        let figures = fold.figures();
        let gaps = gaps::find(period, &fold, &law, &figures);
        Self {
            deployment,
            period,
            generated,
            language,
            law,
            figures,
            gaps,
            late: fold.acts.late.items,
            taken: fold.history.taken.items,
            events: fold.history.events.items,
            logs: fold.logs,
        }
    }

    /// The same report in another language: nothing is read again.
    #[must_use]
    pub fn in_language(mut self, language: Language) -> Self {
        self.language = language;
        self
    }

    /// One page that needs nothing else: no scripts, no other files; to be read and printed.
    pub fn to_html(&self) -> String {
        html::page(&document::of(self), self.language)
    }

    /// One long table, a fact or figure in each line, with the checkpoint that it comes from.
    pub fn to_csv(&self) -> String {
        csv::table(self)
    }

    /// Everything, for programs. Keys and codes are the same in all languages.
    pub fn to_json(&self) -> serde_json::Value {
        json::value(self)
    }
}
