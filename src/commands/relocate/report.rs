//! What became of each person of a list: a file to which each end is added, and the counts.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use client::api;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::commands::record::show as answers;
use crate::commands::relocate::plan::{Plan, Row};
use crate::error::Failure;
use crate::files::unwritten;
use crate::terminal::rows::for_each_line;
use crate::terminal::table;
use crate::terminal::table::Table;

/// How a person's move has ended.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum End {
    Moved,
    /// The order was refused, for that reason.
    Refused(String),
    /// It was ordered, and given up. The reason, if the other region refused it.
    GivenUp(String),
}

impl End {
    /// Its name in the report, and the reason.
    fn words(&self) -> (&'static str, &str) {
        match self {
            Self::Moved => (MOVED, ""),
            Self::Refused(reason) => ("refused", reason),
            Self::GivenUp(reason) => ("given_up", reason),
        }
    }
}

const MOVED: &str = "moved";

/// What became of a person.
pub(super) struct Ended {
    pub(super) row: Row,
    pub(super) end: End,
    pub(super) records: u64,
    pub(super) receipt: Option<api::MoveReceipt>,
}

/// A line of the report.
#[derive(Serialize, Deserialize)]
struct Line {
    subject: String,
    domicile: String,
    to: String,
    end: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(default)]
    records: u64,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    receipt: Value,
}

/// A person of the list.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Person {
    subject: String,
    domicile: String,
    to: String,
}

/// What is known of a person.
#[derive(Default)]
struct Known {
    moved: bool,
    /// Moves that have ended without one.
    failed: u32,
    /// The last end, and its reason.
    last: (String, String),
}

/// The report of a list.
pub(super) struct Report {
    path: PathBuf,
    file: File,
    known: HashMap<Person, Known>,
    persons: usize,
    /// Moved in this run, and their records.
    moved: u64,
    records: u64,
}

impl Report {
    /// Opens the report of a list, or makes it; what it says of persons who are not in the list is left.
    pub(super) fn open(path: PathBuf, plan: &Plan) -> Result<Self, Failure> {
        let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        let file = opened.map_err(|error| unwritten(&path, &error))?;
        let listed = plan.rows().iter().map(|row| (person(row), Known::default()));
        let mut known: HashMap<Person, Known> = listed.collect();
        for_each_line(&path, |_, line| {
            // A line that was cut short by a crash says nothing: its move is looked at again.
            let line = line.ok().and_then(|line| serde_json::from_slice::<Line>(line).ok());
            let Some(Line { subject, domicile, to, end, reason, .. }) = line else { return Ok(()) };
            if let Some(known) = known.get_mut(&Person { subject, domicile, to }) {
                known.take(end, reason);
            }
            Ok(())
        })?;
        Ok(Self { path, file, known, persons: plan.len(), moved: 0, records: 0 })
    }

    /// Those who have not moved yet.
    pub(super) fn left(&self, plan: &Plan) -> Vec<Row> {
        let left = plan.rows().iter().filter_map(|row| {
            let known = self.known.get(&person(row))?;
            (!known.moved).then(|| Row { attempt: known.failed, ..row.clone() })
        });
        left.collect()
    }

    /// Adds an end: it is on disk before the next one is.
    pub(super) fn add(&mut self, ended: &Ended) -> Result<(), Failure> {
        let Ended { row, end, records, receipt } = ended;
        let (end, reason) = end.words();
        let receipt = receipt.as_ref().map(|receipt| {
            json!({
                "move_out": answers::receipt(receipt.move_out.as_ref()),
                "move_in": answers::receipt(receipt.move_in.as_ref()),
            })
        });
        let line = Line {
            subject: row.id.clone(),
            domicile: row.domicile.clone(),
            to: row.to.clone(),
            end: end.to_owned(),
            reason: reason.to_owned(),
            records: *records,
            receipt: receipt.unwrap_or_default(),
        };
        let text = format!("{}\n", json!(line));
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|error| unwritten(&self.path, &error))?;
        self.moved += u64::from(end == MOVED);
        self.records += records;
        let known = self.known.entry(person(row)).or_default();
        known.take(end.to_owned(), reason.to_owned());
        Ok(())
    }

    /// Where it lies.
    pub(super) fn name(&self) -> String {
        self.path.display().to_string()
    }

    pub(super) fn all_moved(&self) -> bool {
        self.known.values().all(|known| known.moved)
    }

    /// Persons by what became of them.
    fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for known in self.known.values() {
            let (end, reason) = &known.last;
            let name = match (end.as_str(), reason.as_str()) {
                ("", _) => "no end yet".to_owned(),
                (end, "") => end.replace('_', " "),
                (end, reason) => format!("{} ({reason})", end.replace('_', " ")),
            };
            *counts.entry(name).or_default() += 1;
        }
        counts
    }

    pub(super) fn json(&self, took: Duration) -> Value {
        json!({
            "persons": self.persons, "ends": self.counts(), "report": self.name(),
            "moved_in_this_run": self.moved, "records_in_this_run": self.records,
            "seconds": took.as_secs(),
        })
    }

    pub(super) fn table(&self, took: Duration) -> Table {
        let mut rows = table(&["what became of them", "persons"]);
        for (name, count) in self.counts() {
            rows.add_row([name, count.to_string()]);
        }
        let run = format!("moved in this run, in {} s", took.as_secs());
        rows.add_row([run, self.moved.to_string()]);
        rows
    }
}

impl Known {
    fn take(&mut self, end: String, reason: String) {
        self.moved |= end == MOVED;
        self.failed += u32::from(end != MOVED);
        self.last = (end, reason);
    }
}

fn person(row: &Row) -> Person {
    Person { subject: row.id.clone(), domicile: row.domicile.clone(), to: row.to.clone() }
}
