//! Copies that a region holds for others: what its log says of each, and how many there are.

use std::collections::BTreeMap;

use ledger::{Entry, Kind};
use serde_json::{Value, json};

/// Copies by the region that holds them and the region of their home.
#[derive(Debug, Default)]
pub(crate) struct HeldCopies(BTreeMap<(String, String), i128>);

/// What an entry says of copies: an act, the region at the other end, and why a copy went.
pub(crate) struct CopyAct {
    pub(crate) act: &'static str,
    pub(crate) other: String,
    pub(crate) reason: String,
}

impl HeldCopies {
    /// Takes the next entry of the log of a region. Whether there is room for what it says.
    pub(crate) fn take(&mut self, region: &str, entry: &Entry, room: usize) -> bool {
        let change = entry.change_of_copies();
        if change == 0 {
            return true;
        }
        let of = (region.to_owned(), entry.region().unwrap_or_default().to_owned());
        if self.0.len() >= room && !self.0.contains_key(&of) {
            return false;
        }
        let held = self.0.entry(of).or_default();
        *held = held.saturating_add(change);
        true
    }

    /// The region, that of the home, and how many copies.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        // Below nothing: more went than came, because a log began after a loss.
        let held = |held: i128| u64::try_from(held.max(0)).unwrap_or(u64::MAX);
        self.0.iter().map(move |((region, home), n)| (region.as_str(), home.as_str(), held(*n)))
    }
}

/// What an entry says of copies. None: it is about something else.
pub(crate) fn act(entry: &Entry) -> Option<CopyAct> {
    let reason = entry.reason().filter(|_| entry.kind == Kind::CopyDrop).unwrap_or_default();
    let acts = [(Kind::CopyOut, "sent"), (Kind::CopyIn, "taken"), (Kind::CopyDrop, "removed")];
    let (_, act) = acts.into_iter().find(|(kind, _)| *kind == entry.kind)?;
    let other = entry.region().unwrap_or_default().to_owned();
    Some(CopyAct { act, other, reason: reason.to_owned() })
}

/// A figure for programs: region, act, region at the other end, and why copies went, if they did.
pub(crate) fn figure([region, act, other, reason]: [&str; 4], count: Value) -> Value {
    let mut figure =
        json!({"of": "copy", "region": region, "copy": act, "other": other, "count": count});
    if let Some(figure) = figure.as_object_mut().filter(|_| !reason.is_empty()) {
        figure.insert("end".to_owned(), reason.into());
    }
    figure
}
