//! Refusals, erasures and accesses, by month.

use ledger::entry::Role;
use ledger::{Entry, Kind};

use super::capped::{Capped, Listed, Names};
use super::links::At;
use crate::details::{count, deadline, reason};
use crate::report::figure::{Figure, Section, Value};
use crate::report::period::Month;

/// Rows of one kind that are told apart: shards, months and what they are counted by.
pub(crate) const ACT_KEYS_MAX: usize = 16_384;
/// Reasons of refusals and erasures that are told apart.
pub(crate) const REASONS_MAX: usize = 128;
/// Stated purposes of reads that are told apart. Callers choose them freely.
pub(crate) const PURPOSES_MAX: usize = 64;
/// Characters of a reason or purpose that are shown.
pub(crate) const PURPOSE_CHARS_MAX: usize = 120;
/// Territories of callers that are told apart.
const TERRITORIES_MAX: usize = 300;
/// Erasures after their deadline that are listed one by one.
pub(crate) const LATE_MAX: usize = 200;

/// An erasure that was logged after its deadline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late {
    /// The number of its log.
    pub log: usize,
    /// Its number in the log.
    pub index: u64,
    /// When it was logged.
    pub minute: u32,
    /// By when it was due.
    pub deadline: u32,
}

/// Where and when: place and month.
type When = (usize, Month);

/// Refusals, erasures and accesses.
#[derive(Debug)]
pub(crate) struct Acts {
    reasons: Names,
    purposes: Names,
    territories: Names,
    refusals: Capped<(When, u16)>,
    erasures: Capped<(When, &'static str, u16)>,
    accesses: Capped<(When, &'static str, (u8, u16, u16))>,
    exports: Capped<(When, u8)>,
    /// Erasures after their deadline.
    pub(crate) late: Listed<Late>,
}

impl Acts {
    pub(crate) fn new() -> Self {
        Self {
            reasons: Names::new(REASONS_MAX),
            purposes: Names::new(PURPOSES_MAX),
            territories: Names::new(TERRITORIES_MAX),
            refusals: Capped::new(ACT_KEYS_MAX),
            erasures: Capped::new(ACT_KEYS_MAX),
            accesses: Capped::new(ACT_KEYS_MAX),
            exports: Capped::new(ACT_KEYS_MAX),
            late: Listed::new(LATE_MAX),
        }
    }

    /// Takes one entry of the period.
    pub(crate) fn entry(&mut self, place: usize, at: At, entry: &Entry) {
        let when = (place, Month::of(entry.minute));
        if entry.kind == Kind::Refuse {
            let why = self.reasons.id(&shortened(reason(entry).unwrap_or("")));
            self.refusals.add((when, why), 1);
        } else if entry.kind == Kind::Erase {
            self.erasure(when, at, entry);
        } else if matches!(entry.kind, Kind::Read | Kind::Count) {
            self.access(when, entry);
        } else if entry.kind == Kind::Export {
            self.exports.add((when, role(entry)), 1);
        }
    }

    fn erasure(&mut self, when: When, at: At, entry: &Entry) {
        let why = self.reasons.id(&shortened(reason(entry).unwrap_or("")));
        let outcome = match deadline(entry) {
            None => "no-deadline",
            Some(deadline) if entry.minute <= deadline => "in-time",
            Some(deadline) => {
                let (log, index, minute) = (at.log, at.index, entry.minute);
                self.late.push(Late { log, index, minute, deadline });
                "late"
            }
        };
        self.erasures.add((when, outcome, why), 1);
    }

    fn access(&mut self, when: When, entry: &Entry) {
        let role = role(entry);
        let territory = entry.caller.as_ref().and_then(|caller| caller.territory.as_deref());
        let territory = self.territories.id(territory.unwrap_or(""));
        let asked = entry.kind == Kind::Count && role == Role::Operator.code();
        let (what, purpose, reads) = if asked {
            // A plan's question: what it counted are rulings, and no body was read.
            ("plan", "", 1)
        } else if entry.kind == Kind::Count {
            ("counted", "", count(entry).unwrap_or(1))
        } else {
            ("logged", reason(entry).unwrap_or(""), 1)
        };
        let purpose = self.purposes.id(&shortened(purpose));
        self.accesses.add((when, what, (role, purpose, territory)), reads);
    }

    /// The figures. `place` gives region, shard and logs.
    pub(crate) fn figures<'a>(
        &self,
        place: impl Fn(usize) -> (&'a str, &'a str, &'a [usize]),
    ) -> Vec<Figure> {
        let figure = |section, (at, month): When, dimension, key, count| {
            let (region, shard, logs) = place(at);
            Figure {
                section,
                region: region.to_owned(),
                shard: shard.to_owned(),
                month: Some(month),
                dimension,
                key,
                value: Value::Count(count),
                logs: logs.to_vec(),
            }
        };
        let why = |id: u16| self.reasons.text(id).to_owned();
        let mut figures = Vec::new();
        for ((when, reason), count) in self.refusals.iter() {
            figures.push(figure(Section::Refusals, *when, "reason", vec![why(*reason)], count));
        }
        for ((when, outcome, reason), count) in self.erasures.iter() {
            let key = vec![(*outcome).to_owned(), why(*reason)];
            figures.push(figure(Section::Erasures, *when, "deadline", key, count));
        }
        for ((when, what, (role, purpose, territory)), count) in self.accesses.iter() {
            let key = vec![
                role_name(*role),
                self.purposes.text(*purpose).to_owned(),
                self.territories.text(*territory).to_owned(),
            ];
            figures.push(figure(Section::Accesses, *when, what, key, count));
        }
        for ((when, role), count) in self.exports.iter() {
            figures.push(figure(Section::Events, *when, "export", vec![role_name(*role)], count));
        }
        figures
    }

    /// How much was cut off.
    pub(crate) fn cut(&self) -> u64 {
        let names = self.reasons.cut() + self.purposes.cut() + self.territories.cut();
        let counts = self.refusals.cut() + self.erasures.cut() + self.accesses.cut();
        names + counts + self.exports.cut()
    }
}

/// The code of the caller's role; 0 if the entry names no caller.
fn role(entry: &Entry) -> u8 {
    entry.caller.as_ref().map_or(0, |caller| caller.role.code())
}

fn role_name(code: u8) -> String {
    Role::from_code(code).map_or("", Role::as_str).to_owned()
}

/// A reason or purpose, no longer than is shown.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(PURPOSE_CHARS_MAX) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or("")),
        None => text.to_owned(),
    }
}
