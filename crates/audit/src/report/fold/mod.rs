//! All logs, entry by entry, into counters whose number does not grow with the logs.

pub(crate) mod acts;
pub(crate) mod capped;
pub(crate) mod copies;
pub(crate) mod history;
pub(crate) mod links;
pub(crate) mod people;

use std::cmp::Reverse;

use ledger::{Entry, Kind};

use super::figure::Figure;
use super::input::{LogInput, Verification};
use super::period::Period;
use acts::Acts;
use copies::Copies;
use history::History;
use links::{At, Links, UNSTATED};
use people::People;

/// Logs of one report at most. The next are left off, and the report says so.
pub const LOGS_MAX: usize = 1_024;

/// One log, as the report knows it once it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Its origin.
    pub origin: String,
    /// Its region.
    pub region: String,
    /// Its shard.
    pub shard: String,
    /// Its verifier key.
    pub vkey: String,
    /// Its checkpoint's signed note.
    pub checkpoint: String,
    /// Its checkpoint's size.
    pub size: u64,
    /// Its checkpoint's root.
    pub root: ledger::Hash,
    /// How far it was verified.
    pub verified: Verification,
    /// Entries that were read.
    pub read: u64,
    /// Those of them that lie in the period.
    pub in_period: u64,
    /// Entries that could not be read, and why the first of them could not.
    pub unreadable: Option<(u64, String)>,
    /// Entries whose time lies before that of the entry before them.
    pub backwards: u64,
    /// Minute of the first entry and of the last.
    pub span: Option<(u32, u32)>,
}

/// What all logs say together.
#[derive(Debug)]
pub(crate) struct Fold {
    period: Period,
    pub(crate) logs: Vec<Log>,
    /// Regions, by name.
    regions: Vec<String>,
    /// Region and shard, by name; what shards are counted by.
    places: Vec<(String, String)>,
    pub(crate) links: Links,
    pub(crate) people: People,
    pub(crate) copies: Copies,
    pub(crate) acts: Acts,
    pub(crate) history: History,
    /// Logs that were left off.
    pub(crate) logs_cut: usize,
    /// Origins that came more than once; the longest of each was read.
    pub(crate) doubles: Vec<String>,
}

impl Fold {
    /// Reads all logs.
    pub(crate) fn of(period: Period, mut logs: Vec<LogInput<'_>>) -> Self {
        logs.sort_by_cached_key(order);
        // The order puts the longest of one origin first.
        let mut doubles = Vec::new();
        logs.dedup_by(|log, kept| {
            let double = log.origin == kept.origin;
            doubles.extend(double.then(|| log.origin.clone()));
            double
        });
        let logs_cut = logs.len().saturating_sub(LOGS_MAX);
        logs.truncate(LOGS_MAX);
        let mut regions: Vec<String> = logs.iter().map(|log| log.region.clone()).collect();
        let mut places: Vec<_> =
            logs.iter().map(|log| (log.region.clone(), log.shard.clone())).collect();
        regions.dedup();
        places.dedup();
        let mut fold = Self {
            period,
            logs: Vec::new(),
            regions,
            places,
            links: Links::new(logs.iter().map(|log| log.origin.clone())),
            people: People::new(period),
            copies: Copies::new(),
            acts: Acts::new(),
            history: History::new(),
            logs_cut,
            doubles,
        };
        for (number, log) in logs.into_iter().enumerate() {
            let log = fold.log(number, log);
            fold.logs.push(log);
        }
        fold.copies.settle(&fold.links);
        fold
    }

    /// Reads one log.
    fn log(&mut self, number: usize, input: LogInput<'_>) -> Log {
        let LogInput { origin, region, shard, vkey, checkpoint, size, root, verified, entries } =
            input;
        let mut log = Log {
            origin,
            region,
            shard,
            vkey,
            checkpoint,
            size,
            root,
            verified,
            read: 0,
            in_period: 0,
            unreadable: None,
            backwards: 0,
            span: None,
        };
        let in_region = self.regions.iter().position(|name| *name == log.region).unwrap_or(0);
        let place = self.places.iter().position(|(r, s)| (r, s) == (&log.region, &log.shard));
        let place = place.unwrap_or(0);
        for entry in entries {
            let (index, entry) = match entry {
                Ok(entry) => entry,
                Err(why) => {
                    log.unreadable.get_or_insert((0, why)).0 += 1;
                    continue;
                }
            };
            // The checkpoint says nothing of what came after it.
            if index >= log.size {
                break;
            }
            log.read += 1;
            log.in_period += u64::from(self.period.holds(entry.minute));
            let (first, last) = log.span.unwrap_or((entry.minute, entry.minute));
            log.backwards += u64::from(entry.minute < last);
            log.span = Some((first, entry.minute));
            self.entry((in_region, place), At { log: number, index }, &entry);
        }
        log
    }

    fn entry(&mut self, (region, place): (usize, usize), at: At, entry: &Entry) {
        if entry.minute >= self.period.until {
            return;
        }
        let in_period = self.period.holds(entry.minute);
        let class = self.people.entry(region, at, entry, &mut self.links);
        // What an erasure was about no later entry is about.
        let class = class.filter(|_| entry.kind != Kind::Erase);
        let copy = matches!(entry.kind, Kind::CopyIn | Kind::CopyOut).then_some(UNSTATED);
        self.links.remember(at, entry.minute, class.or(copy));
        self.history.entry(at, entry, in_period);
        if in_period {
            self.copies.entry(place, at, entry, &self.links);
            self.acts.entry(place, at, entry);
        }
    }

    /// Every figure, in the order of the report.
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let logs_where = |wanted: &dyn Fn(&Log) -> bool| -> Vec<usize> {
            let numbered = self.logs.iter().enumerate().filter(|(_, log)| wanted(log));
            numbered.map(|(number, _)| number).collect()
        };
        let mut figures = Vec::new();
        for (number, name) in self.regions.iter().enumerate() {
            let logs = logs_where(&|log| log.region == *name);
            figures.extend(self.people.figures((number, name), &self.links, &logs));
        }
        let of_places: Vec<Vec<usize>> = self
            .places
            .iter()
            .map(|(region, shard)| logs_where(&|log| log.region == *region && log.shard == *shard))
            .collect();
        let place = |at: usize| match (self.places.get(at), of_places.get(at)) {
            (Some((region, shard)), Some(logs)) => {
                (region.as_str(), shard.as_str(), logs.as_slice())
            }
            _ => ("", "", [].as_slice()),
        };
        figures.extend(self.copies.figures(place));
        figures.extend(self.acts.figures(place));
        figures.sort_by(|a, b| sort_key(a).cmp(&sort_key(b)));
        figures
    }
}

/// By what figures are ordered. Records keep the order of their own, months within it.
fn sort_key(figure: &Figure) -> impl Ord + '_ {
    (
        figure.section,
        figure.region.as_str(),
        figure.shard.as_str(),
        (figure.section != super::figure::Section::Records).then_some(figure.dimension),
        figure.key.as_slice(),
        figure.month,
    )
}

/// Logs by region, shard and period: an earlier period is read first, since a later one may name
/// its entries.
fn order(log: &LogInput<'_>) -> (String, String, u64, String, Reverse<u64>) {
    let period = log.origin.rsplit('/').next().and_then(|period| period.parse().ok());
    let (region, shard, origin) = (log.region.clone(), log.shard.clone(), log.origin.clone());
    (region, shard, period.unwrap_or(u64::MAX), origin, Reverse(log.size))
}
