//! Whether a history of one record is linearizable: whether each call can have been done at one moment
//! between its beginning and its answer, so that the model answers the same. The search is that of Wing
//! and Gong (1993) with Lowe's memory of states. Records are independent, so each is searched alone.
//!
//! A write whose outcome is not known may have been done or not, but not after `until`.

use std::collections::HashSet;
use std::fmt::Write as _;

use super::model::{Ask, Model, Record, Told};

/// A call on one record.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) ask: Ask,
    /// None: the outcome is not known.
    pub(crate) told: Option<Told>,
    /// Numbers of a counter, before the call and after its answer.
    pub(crate) from: u64,
    pub(crate) until: u64,
}

/// More calls than a history of one record may have.
pub(crate) const EVENTS_MAX: usize = 128;

/// Checks a history that begins in that state.
///
/// # Errors
/// The history as a text: no order of its calls is one of the model.
pub(crate) fn check(model: Model, begin: &Record, history: &[Event]) -> Result<(), String> {
    assert!(history.len() < EVENTS_MAX, "the history is too long: {}", history.len());
    let mut events: Vec<&Event> = history.iter().collect();
    events.sort_by_key(|event| event.from);
    let mut search = Search { model, events, seen: HashSet::new(), most: 0, best: begin.clone() };
    if search.from(0, begin.clone()) { Ok(()) } else { Err(search.report()) }
}

struct Search<'a> {
    model: Model,
    /// By their beginnings.
    events: Vec<&'a Event>,
    /// Calls that are done, and the state after them: it leads nowhere.
    seen: HashSet<(u128, Record)>,
    /// The largest set of calls that fit, and the state after them.
    most: u128,
    best: Record,
}

impl Search<'_> {
    /// Whether what is not done yet can follow.
    fn from(&mut self, done: u128, record: Record) -> bool {
        let is_done = |n: usize| done & (1 << n) != 0;
        let left = || self.events.iter().enumerate().filter(|(n, _)| !is_done(*n));
        if left().all(|(_, event)| event.told.is_none()) {
            return true;
        }
        // One that began after another had its answer comes after it.
        let first_answer = left().map(|(_, event)| event.until).min().unwrap_or(u64::MAX);
        let next: Vec<usize> =
            left().filter(|(_, event)| event.from < first_answer).map(|(n, _)| n).collect();
        if done.count_ones() > self.most.count_ones() {
            (self.most, self.best) = (done, record.clone());
        }
        if !self.seen.insert((done, record.clone())) {
            return false;
        }
        for n in next {
            let Some(event) = self.events.get(n).copied() else { continue };
            let (after, told) = self.model.step(&record, &event.ask);
            let with = done | (1 << n);
            let fits = event.told.as_ref().is_none_or(|own| *own == told);
            if fits && self.from(with, after) {
                return true;
            }
            // It was never done.
            if event.told.is_none() && self.from(with, record.clone()) {
                return true;
            }
        }
        false
    }

    /// The history, and how far it fits.
    fn report(&self) -> String {
        let mut text = String::from("no order of these calls is one of the model:\n");
        for (n, event) in self.events.iter().enumerate() {
            let Event { ask, told, from, until } = event;
            let fits = if self.most & (1 << n) == 0 { "?" } else { " " };
            writeln!(text, "{fits} {from:>5}-{until:<5} {ask:?}\n      -> {told:?}").ok();
        }
        writeln!(text, "after those without a question mark: {:?}", self.best).ok();
        text
    }
}
