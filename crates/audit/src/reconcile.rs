//! Compares a shard's log with its store: how many records there are, and whether entries and
//! records drawn at random belong together, both ways.
//!
//! What the log cannot show: that data were not copied elsewhere outside of the gateway as well.

mod logs;
mod sums;

use std::collections::BTreeMap;

use client::api;
use ledger::Receipt;
use ledger::entry::{Entry, Kind};

use crate::{Finding, folder};

pub use logs::Logs;
use sums::{Seen, Sums};

/// Entries, and rows, of one sample at the most: a shard opens no more at once.
pub const SAMPLE_MAX: u32 = 1000;

/// Why log and store cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A mirror cannot be read.
    #[error("{origin}: {error}")]
    Folder {
        /// The log.
        origin: String,
        /// Why.
        #[source]
        error: folder::Error,
    },
    /// An entry in a mirror is none: verify it first.
    #[error("{origin}: entry {index} is not accepted: {error}")]
    Entry {
        /// The log.
        origin: String,
        /// Which.
        index: u64,
        /// Why.
        error: ledger::entry::Error,
    },
    /// There is no mirror of the shard's logs.
    #[error("no log of the shard is mirrored")]
    NoLog,
    /// The answer is about a log, or a part of it, that is not mirrored: mirror it and ask again.
    #[error("the answer is about {origin} up to entry {size}, and that is not mirrored yet")]
    Behind {
        /// The log that grows.
        origin: String,
        /// Entries that the answer speaks of.
        size: u64,
    },
    /// The answer does not say what an answer must say.
    #[error("the shard's answer is malformed: {0}")]
    Answer(&'static str),
}

/// What a comparison gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Live records that the shard counted.
    pub records: u64,
    /// Live records by the log, when the count began.
    pub expected: u64,
    /// By how many less than `expected` the count may be: records that were written while the
    /// shard counted. 0: nothing was.
    pub spread: u64,
    /// Entries that were opened and commit to what the store holds.
    pub opened: u64,
    /// Entries that were superseded while the shard was asked.
    pub superseded: u64,
    /// Entries that were not opened, with an erasure of the same tenant after them. An erasure
    /// destroys openings, and no longer says whose: these are as they should be, or missing.
    pub perhaps_erased: u64,
    /// Records that were drawn and are the entries that they name.
    pub rows: u64,
    /// What does not belong together.
    pub findings: Vec<Finding>,
}

/// Compares what a shard answered to the question for the entries `asked` with its mirrored logs.
///
/// # Errors
/// [`Error`]; what is wrong with the store is no error, but a finding.
pub fn reconcile(
    logs: &Logs,
    asked: &[u64],
    answer: &api::LedgerReconcile,
) -> Result<Reconciled, Error> {
    if answer.start_size > answer.size {
        return Err(Error::Answer("the walk ended before it began"));
    }
    let newest = logs.newest();
    if newest.origin != answer.origin || newest.size < answer.size {
        return Err(Error::Behind { origin: answer.origin.clone(), size: answer.size });
    }
    let places = (answer.opened.iter().chain(&answer.rows))
        .filter_map(|opened| logs.place(&opened.origin, opened.index));
    let sums = Sums::of(logs, answer.start_size, answer.size, places)?;
    let mut done = Reconciled { records: answer.records, ..Reconciled::default() };
    count(&sums, &mut done);
    entries(logs, asked, answer, &sums, &mut done);
    for row in &answer.rows {
        match self::row(logs, row, answer.start_size, &sums) {
            Ok(()) => done.rows += 1,
            Err(what) => {
                let text = format!("a record names {} entry {}, {what}", row.origin, row.index);
                done.findings.push(Finding::new("", text));
            }
        }
    }
    Ok(done)
}

/// The number of records.
fn count(sums: &Sums, done: &mut Reconciled) {
    let Ok(expected) = u64::try_from(sums.expected) else {
        let text = "by the log, more records were deleted than were ever placed";
        done.findings.push(Finding::new("", text));
        return;
    };
    (done.expected, done.spread) = (expected, sums.spread);
    let records = done.records;
    if records > expected || records.saturating_add(sums.spread) < expected {
        let most = if sums.spread == 0 {
            expected.to_string()
        } else {
            format!("{} to {expected}", expected.saturating_sub(sums.spread))
        };
        let text = format!("the store has {records} records; by the log, it must have {most}");
        done.findings.push(Finding::new("", text));
    }
}

/// From the log to the store: every entry that was asked for is opened, or something says why not.
fn entries(
    logs: &Logs,
    asked: &[u64],
    answer: &api::LedgerReconcile,
    sums: &Sums,
    done: &mut Reconciled,
) {
    let origin = &logs.newest().origin;
    if answer.opened.len() != asked.len() {
        let text = "the shard did not answer for every entry that it was asked for";
        done.findings.push(Finding::new("", text));
    }
    for (index, opened) in asked.iter().zip(&answer.opened) {
        let mut wrong = |what: &str| {
            done.findings.push(Finding::new("", format!("{origin} entry {index} {what}")));
        };
        let of_newest = opened.origin.is_empty() || opened.origin == *origin;
        if !of_newest || opened.index != *index {
            wrong("was asked for, and another one was answered");
            continue;
        }
        let seen = logs.place(origin, *index).and_then(|place| sums.seen.get(&place));
        let Some(seen) = seen else {
            wrong("is not in the mirror");
            continue;
        };
        if !opened.opening.is_empty() {
            match check(origin, opened, &seen.entry) {
                Ok(()) => done.opened += 1,
                Err(what) => wrong(&format!("was opened, and {what}")),
            }
        } else if seen.superseded.is_some() {
            done.superseded += 1;
        } else if seen.erased_after {
            done.perhaps_erased += 1;
        } else {
            wrong(
                "has no opening any more, and no later entry says that its record was replaced, \
                 deleted, moved or erased",
            );
        }
    }
}

/// From the store to the log: a record is the entry that it names.
fn row(logs: &Logs, row: &api::OpenedEntry, start_size: u64, sums: &Sums) -> Result<(), String> {
    let place = logs.place(&row.origin, row.index).ok_or("a log that is not mirrored")?;
    let seen = sums.seen.get(&place).ok_or("which that log does not have")?;
    check(&row.origin, row, &seen.entry)?;
    let entry = Entry::decode(&seen.entry).map_err(|error| error.to_string())?;
    if !matches!(entry.kind, Kind::Place | Kind::Replace | Kind::MoveIn | Kind::CopyIn) {
        return Err(format!("which is {} and no write of a record", entry.kind));
    }
    let newest = logs.newest_number();
    match seen.superseded {
        // What was written while the shard walked may or may not have been seen.
        Some((kind, (log, index))) if log != newest || index < start_size => {
            Err(format!("and entry {index} of {} says {kind} of it", logs.origin(log)))
        }
        _ => Ok(()),
    }
}

/// Whether an entry commits to what it was opened with.
fn check(origin: &str, opened: &api::OpenedEntry, entry: &[u8]) -> Result<(), String> {
    let opening: &[u8] = opened.opening.as_ref();
    let opening = opening.try_into().map_err(|_| "the opening has not 32 bytes".to_owned())?;
    let receipt = Receipt {
        origin: origin.to_owned(),
        index: opened.index,
        entry: entry.to_vec(),
        opening,
        statement: opened.statement.to_vec(),
    };
    receipt.check(None).map(drop).map_err(|error| error.to_string())
}

/// An entry by the number of its log, the oldest first, and its own.
type Place = (usize, u64);

/// What is known of the entries that an answer names.
type SeenAt = BTreeMap<Place, Seen>;
