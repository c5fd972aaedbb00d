//! Compares a shard's log with its store: how many records there are, and whether entries and
//! records drawn at random belong together, both ways.
//!
//! What the log cannot show: that data were not copied elsewhere outside of the gateway as well.

mod entries;
mod live;
mod logs;
mod rows;
mod sums;

use std::collections::BTreeMap;

use client::api;
use ledger::Receipt;

use crate::finding::{FINDINGS_MAX, Finding};
use crate::folder;

pub(crate) use live::Live;
pub use logs::Logs;
pub(crate) use logs::{supersedes, writes};
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
    /// The shard began a new period between question and answer: the question was about another
    /// log.
    #[error("the shard began {0} while it was asked: ask again")]
    NewPeriod(String),
    /// The answer is about a log that was not asked about.
    #[error("the answer is about another log than {0}, which was asked about")]
    OtherLog(String),
    /// The answer is about less than was mirrored before the question: the shard does not choose
    /// what is compared.
    #[error("the answer is about {start} entries of {origin}, of which {known} were mirrored")]
    Older {
        /// The log that grows.
        origin: String,
        /// Entries that there were when the shard began to count, as it says.
        start: u64,
        /// Entries that were mirrored before it was asked.
        known: u64,
    },
    /// The answer does not say what an answer must say.
    #[error("the shard's answer is malformed: {0}")]
    Answer(&'static str),
}

/// What a shard was asked, and what was known of its log before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The log that grew.
    pub origin: String,
    /// Entries that were mirrored of it.
    pub size: u64,
    /// The entries that the shard is to open.
    pub indexes: Vec<u64>,
    /// The records that it is to name.
    pub rows: u32,
    /// What draws them.
    pub seed: u64,
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
    /// destroys openings, and no longer says whose: these are as they should be, or missing. They
    /// are no more than the erasures count.
    pub perhaps_erased: u64,
    /// Records that were drawn and are the entries that they name.
    pub rows: u64,
    /// Of these, those that were superseded between the beginning and the end of the count.
    pub rows_superseded: u64,
    /// Copies of other regions' records that the store must hold by the log, when the count began. No record,
    /// and no entry that is opened, is a copy.
    pub copies: u64,
    /// Copies that the shard counted. None: it does not count them.
    pub copies_held: Option<u64>,
    /// Live entries of periods that have ended: a shard opens those of the log that grows alone, so
    /// none of them was drawn.
    pub unsampled: u64,
    /// What does not belong together: the first [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub more: u64,
}

// === impl Question ===

impl Question {
    /// The question that draws up to `sample` entries, and as many records.
    ///
    /// # Errors
    /// [`Error`], when a mirror cannot be read.
    pub fn draw(logs: &Logs, sample: u32, seed: u64) -> Result<Self, Error> {
        let (origin, size) = logs.growing();
        // Each log has a draw of its own, or the places in one would tell those in another.
        let seed = crate::random::seed_of(origin, seed);
        let (indexes, origin) = (logs.draw(sample, seed)?, origin.to_owned());
        Ok(Self { origin, size, indexes, rows: sample, seed })
    }

    /// As it is put to the shard.
    pub fn message(&self) -> api::LedgerReconcileRequest {
        let (indexes, rows) = (self.indexes.clone(), self.rows);
        api::LedgerReconcileRequest { indexes, rows, seed: self.seed }
    }

    /// Whether an answer is one to this question, about a log that is mirrored up to its end.
    fn accepts(&self, logs: &Logs, answer: &api::LedgerReconcile) -> Result<(), Error> {
        if answer.origin != self.origin {
            return Err(if logs::follows(&answer.origin, &self.origin) {
                Error::NewPeriod(answer.origin.clone())
            } else {
                Error::OtherLog(self.origin.clone())
            });
        }
        let (start, known, origin) = (answer.start_size, self.size, self.origin.clone());
        if start < known {
            return Err(Error::Older { origin, start, known });
        }
        if start > answer.size {
            return Err(Error::Answer("the walk ended before it began"));
        }
        if answer.opened.len() > self.indexes.len() {
            return Err(Error::Answer("more entries are opened than were asked for"));
        }
        if answer.rows.len() > usize::try_from(self.rows).unwrap_or(usize::MAX) {
            return Err(Error::Answer("more records are named than were asked for"));
        }
        let growing = logs.newest();
        if growing.origin != origin || growing.size < answer.size {
            return Err(Error::Behind { origin, size: answer.size });
        }
        Ok(())
    }
}

// === impl Reconciled ===

impl Reconciled {
    fn wrong(&mut self, text: impl Into<String>) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding::new("", text));
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    /// Whether log and store belong together, in words that claim no more than was looked at.
    pub fn verdict(&self) -> String {
        if !self.findings.is_empty() {
            return "DO NOT AGREE".to_owned();
        }
        let mut words = "agree".to_owned();
        if self.unsampled > 0 {
            words += &format!(", with {} entries of sealed periods not sampled", self.unsampled);
        }
        words
    }
}

/// Compares what a shard answered to a question with its mirrored logs.
///
/// # Errors
/// [`Error`]; what is wrong with the store is no error, but a finding.
pub fn reconcile(
    logs: &Logs,
    question: &Question,
    answer: &api::LedgerReconcile,
) -> Result<Reconciled, Error> {
    question.accepts(logs, answer)?;
    let places = (answer.opened.iter().chain(&answer.rows))
        .filter_map(|opened| logs.place(&opened.origin, opened.index))
        .chain(question.indexes.iter().map(|index| (logs.newest_number(), *index)));
    let mut done = Reconciled { records: answer.records, ..Reconciled::default() };
    let sums = Sums::of(logs, answer.start_size..answer.size, places, &mut done)?;
    done.unsampled = sums.live.before(logs.newest_number());
    count(&sums, &mut done);
    count_copies(&sums, answer.copies, &mut done);
    entries::compare(logs, question, answer, &sums, &mut done);
    rows::compare(logs, question, answer, &sums, &mut done);
    Ok(done)
}

/// The number of copies.
fn count_copies(sums: &Sums, held: Option<u64>, done: &mut Reconciled) {
    done.copies_held = held;
    let Ok(copies) = u64::try_from(sums.copies) else {
        done.wrong("by the log, more copies were removed than ever came");
        return;
    };
    done.copies = copies;
    let [came, went] = sums.copies_moved;
    let (least, most) = (copies.saturating_sub(went), copies.saturating_add(came));
    if held.is_some_and(|held| held < least || held > most) {
        let held = held.unwrap_or_default();
        done.wrong(format!(
            "the store has {held} copies; by the log, it must have {least} to {most}"
        ));
    }
}

/// The number of records.
fn count(sums: &Sums, done: &mut Reconciled) {
    let Ok(expected) = u64::try_from(sums.expected) else {
        done.wrong("by the log, more records were deleted than were ever placed");
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
        done.wrong(format!("the store has {records} records; by the log, it must have {most}"));
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
