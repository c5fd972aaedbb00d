//! Counts what became of the lines, and shows the counts while the import runs and at its end.

use std::collections::BTreeMap;

use client::BulkEvent;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use terms::Reason;

use crate::terminal::{progress, table, warn};

/// Answers between two updates of the line that is shown.
const SHOW_EVERY: u64 = 32;

/// The reasons with which a ruling refuses: those are answers, not failures.
const RULINGS: &[Reason] = &[
    Reason::JurisdictionUndetermined,
    Reason::Unsatisfiable,
    Reason::NoRegion,
    Reason::RegionExcluded,
    Reason::TransferNotCovered,
    Reason::CitizenAbroad,
];

/// The counts so far.
pub(super) struct Tally {
    file: String,
    placed: BTreeMap<String, u64>,
    refused: BTreeMap<String, u64>,
    failed: u64,
    unproven: u64,
    unasked: u64,
    bar: ProgressBar,
}

impl Tally {
    pub(super) fn new(file: String) -> Self {
        let bar = progress("{spinner} {pos} lines, {per_sec}, {elapsed}: {msg}");
        let (placed, refused) = (BTreeMap::new(), BTreeMap::new());
        Self { file, placed, refused, failed: 0, unproven: 0, unasked: 0, bar }
    }

    /// Takes what became of a line, or of the stream. A line is named on standard error if it was
    /// refused for another reason than a ruling.
    pub(super) fn take(&mut self, event: &BulkEvent<'_>) {
        match event {
            BulkEvent::Stored { region, proven, unasked } => {
                self.unasked += u64::from(*unasked);
                count(&mut self.placed, region);
                self.unproven += u64::from(!proven);
            }
            BulkEvent::Refused { number, reason, message } => {
                count(&mut self.refused, reason);
                if !RULINGS.iter().any(|ruling| ruling.as_str() == *reason) {
                    self.failed += 1;
                    let text = format!("{}:{number}: {reason}: {message}", self.file);
                    self.bar.suspend(|| warn(text));
                }
            }
            BulkEvent::Reopened(why) => {
                let text = format!("the stream ended and is reopened: {why}");
                return self.bar.suspend(|| warn(text));
            }
        }
        self.show();
    }

    fn show(&self) {
        self.bar.inc(1);
        if self.bar.position() % SHOW_EVERY == 1 && !self.bar.is_hidden() {
            let regions = self.placed.iter().map(|(region, count)| format!("{region} {count}"));
            let refused: u64 = self.refused.values().sum();
            let parts: Vec<String> = regions.chain([format!("refused {refused}")]).collect();
            self.bar.set_message(parts.join(", "));
        }
    }

    /// Removes the progress line, and prints what the counts do not show.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
        if self.unproven > 0 {
            warn(format!(
                "{} of the placed have no receipt: the gateway reports that an earlier run stored \
                 them and that they were overwritten since",
                self.unproven
            ));
        }
        if self.unasked > 0 {
            warn(format!(
                "{} persons were created while some regions could not be asked for their ids: those \
                 regions may hold the same ids",
                self.unasked
            ));
        }
    }

    /// Lines that failed for another reason than a ruling.
    pub(super) fn failed(&self) -> u64 {
        self.failed
    }

    pub(super) fn json(&self) -> Value {
        json!({"placed": self.placed, "refused": self.refused})
    }

    pub(super) fn tables(&self) -> String {
        let mut text = String::new();
        for (headings, counts) in
            [(["region", "records"], &self.placed), (["refused with", "lines"], &self.refused)]
        {
            let mut table = table(&headings);
            for (name, count) in counts {
                table.add_row([name.clone(), count.to_string()]);
            }
            let sum: u64 = counts.values().sum();
            table.add_row(["all".to_owned(), sum.to_string()]);
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&table.to_string());
        }
        text
    }
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    *counts.entry(name.to_owned()).or_default() += 1;
}
