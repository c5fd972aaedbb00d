//! All logs, entry by entry, into counters whose number does not grow with the logs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use audit::rules::is_of_oversight;
use ledger::entry::{MapRef, Minute};
use ledger::{Checkpoint, Entry, Kind};
use serde_json::{Value, json};
use terms::Rounded;

use crate::acts::{is_part_of_another, noted, refused_act};
use crate::copies::{self, CopyAct, HeldCopies};
use crate::input::{LogFacts, LogInput};
use crate::law::{InForce, Law};
use crate::links::{At, Class, Links, UNSTATED};
use crate::member;
use crate::period::{Period, origin_period};

/// Logs of one report at most. The next are left off, and the report says so.
pub const LOGS_MAX: usize = 1_024;
/// Different figures at the most.
const FIGURES_MAX: usize = 16_384;
/// Maps taken, and other events, that are listed.
const EVENTS_MAX: usize = 2_000;

/// What is counted of records, in the order of tables.
pub(crate) const MEASURES: [&str; 9] = [
    "created",
    "placed",
    "replaced",
    "deleted",
    "expired",
    "erased",
    "moved_in",
    "moved_out",
    "live",
];
/// The place of what lives at the period's end among [`MEASURES`].
pub(crate) const LIVE: usize = MEASURES.len() - 1;

/// One log, as the report knows it once it was read.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) facts: LogFacts,
    /// Entries that were read.
    pub(crate) read: u64,
    /// Entries that could not be read, and why the first of them could not.
    pub(crate) unreadable: Option<(u64, String)>,
    /// Minute of the first entry and of the last.
    pub(crate) span: Option<(u32, u32)>,
    /// Whether an entry ends it.
    pub(crate) sealed: bool,
    /// Whether it begins with GENESIS, and the head that it names there.
    pub(crate) genesis: Option<Option<Checkpoint>>,
}

/// What one class of records went through in one region.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    counts: [u64; LIVE],
    live: i64,
}

/// A figure: what is counted, of what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Figure {
    /// Writes that rest on a clause.
    Clause { region: String, clause: String },
    /// Calls that were refused.
    Refusal { region: String, act: &'static str, reason: String },
    /// Reads.
    Read {
        region: String,
        collection: String,
        noted: &'static str,
        role: &'static str,
        territory: String,
    },
    /// Questions of auditors and plans, and what they were about.
    Question { region: String, role: &'static str, of: &'static str },
    /// Erasures of a subject or of one collection of it, by whether they were in time.
    Erasure { region: String, scope: &'static str, outcome: &'static str },
    /// Exports to a person.
    Export { region: String },
    /// Copies that were sent, taken or removed, by the region at the other end.
    Copy { region: String, act: &'static str, other: String, reason: String },
}

/// What all logs say together.
#[derive(Debug)]
pub(crate) struct Fold {
    period: Period,
    pub(crate) logs: Vec<Log>,
    pub(crate) links: Links,
    records: BTreeMap<(String, Class), Row>,
    pub(crate) figures: BTreeMap<Figure, u64>,
    /// Copies that regions hold at the period's end.
    held: HeldCopies,
    /// Maps taken: log, entry.
    taken: Vec<(At, Entry)>,
    events: Vec<(At, Entry)>,
    /// Maps that entries of the period name.
    pub(crate) named: BTreeSet<MapRef>,
    /// Records that went and whose jurisdictions are not known.
    pub(crate) unstated: u64,
    /// Logs, figures and events that were left off: see [`Fold::cuts`].
    pub(crate) cut: [u64; 3],
    /// Origins that came more than once; the longest of each was read.
    pub(crate) doubles: Vec<String>,
}

impl Row {
    /// A count by its place among [`MEASURES`].
    pub(crate) fn get(&self, measure: usize) -> u64 {
        // Below nothing: see [`Row::is_below_nothing`].
        let live = || u64::try_from(self.live).unwrap_or(0);
        self.counts.get(measure).copied().unwrap_or_else(live)
    }

    /// Whether more records went than came: because a log is missing or began after a loss, or because they
    /// went under other laws than they had come.
    pub(crate) const fn is_below_nothing(&self) -> bool {
        self.live < 0
    }
}

/// The place of what a kind counts among [`MEASURES`], and whether records come or go by it.
fn measure(kind: Kind) -> Option<(usize, i64)> {
    Some(match kind {
        Kind::Create => (0, 0),
        Kind::Place => (1, 1),
        Kind::Replace => (2, 0),
        Kind::Delete => (3, -1),
        Kind::Expire => (4, -1),
        Kind::Erase => (5, -1),
        Kind::MoveIn => (6, 1),
        Kind::MoveOut => (7, -1),
        Kind::Genesis | Kind::Map | Kind::Read | Kind::Count | Kind::Refuse | Kind::CopyOut => {
            return None;
        }
        Kind::CopyIn | Kind::CopyDrop | Kind::Export | Kind::Key | Kind::Backup => return None,
        Kind::Restore | Kind::Seal | Kind::Block | Kind::Unblock | Kind::Reassess => return None,
        Kind::Adjudicate => return None,
    })
}

impl Fold {
    /// Reads all logs.
    pub(crate) fn of(period: Period, mut logs: Vec<LogInput<'_>>) -> Self {
        logs.sort_by_cached_key(order);
        // The order puts the longest of one origin first.
        let mut doubles = Vec::new();
        logs.dedup_by(|log, kept| {
            let double = log.facts.origin == kept.facts.origin;
            doubles.extend(double.then(|| log.facts.origin.clone()));
            double
        });
        let logs_cut = u64::try_from(logs.len().saturating_sub(LOGS_MAX)).unwrap_or(u64::MAX);
        logs.truncate(LOGS_MAX);
        let mut fold = Self {
            period,
            logs: Vec::new(),
            links: Links::new(logs.iter().map(|log| log.facts.origin.clone())),
            records: BTreeMap::new(),
            figures: BTreeMap::new(),
            held: HeldCopies::default(),
            taken: Vec::new(),
            events: Vec::new(),
            named: BTreeSet::new(),
            unstated: 0,
            cut: [logs_cut, 0, 0],
            doubles,
        };
        for (number, log) in logs.into_iter().enumerate() {
            let log = fold.log(number, log);
            fold.logs.push(log);
        }
        fold
    }

    /// Reads one log.
    fn log(&mut self, number: usize, input: LogInput<'_>) -> Log {
        let LogInput { facts, entries } = input;
        let (unreadable, span, genesis) = (None, None, None);
        let mut log = Log { facts, read: 0, unreadable, span, sealed: false, genesis };
        for entry in entries {
            let (index, entry) = match entry {
                Ok(entry) => entry,
                Err(why) => {
                    log.unreadable.get_or_insert((0, why)).0 += 1;
                    continue;
                }
            };
            // The checkpoint says nothing of what came after it.
            if index >= log.facts.size {
                break;
            }
            log.read += 1;
            let (first, _) = log.span.unwrap_or((entry.minute, entry.minute));
            log.span = Some((first, entry.minute));
            log.sealed |= entry.kind == Kind::Seal;
            if index == 0 && entry.kind == Kind::Genesis {
                log.genesis = Some(entry.old_head());
            }
            self.entry(&log.facts.region, At { log: number, index }, entry);
        }
        log
    }

    fn entry(&mut self, region: &str, at: At, entry: Entry) {
        if entry.minute >= self.period.until {
            return;
        }
        let in_period = self.period.holds(entry.minute);
        let class = self.record(region, at, &entry, in_period);
        self.cut[1] += u64::from(!self.held.take(region, &entry, FIGURES_MAX));
        // What an erasure was about no later entry is about.
        self.links.remember(at, class.filter(|_| entry.kind != Kind::Erase));
        if in_period {
            // A plan names a map that may never come into force.
            let named = entry.map.filter(|_| !is_of_oversight(&entry));
            self.named.extend(named);
            self.act(region, &entry);
        }
        // Where a log begins, and which maps it took, is said of every log, whenever it was.
        // A KEY entry with a count says how many subjects a step of a rotation has wrapped.
        let event = matches!(entry.kind, Kind::Key | Kind::Backup | Kind::Restore | Kind::Seal)
            && (entry.kind != Kind::Key || entry.count().is_none());
        let list = if entry.kind == Kind::Map {
            &mut self.taken
        } else if entry.kind == Kind::Genesis || (event && in_period) {
            &mut self.events
        } else {
            return;
        };
        if list.len() < EVENTS_MAX {
            list.push((at, entry));
        } else {
            self.cut[2] += 1;
        }
    }

    /// Counts a write, and says its class.
    fn record(&mut self, region: &str, at: At, entry: &Entry, in_period: bool) -> Option<Class> {
        // A subject as a whole moves or is erased: its records are counted by the entries of its collections.
        let is_whole = entry.collection.is_none();
        if is_whole && matches!(entry.kind, Kind::MoveIn | Kind::MoveOut | Kind::Erase) {
            return None;
        }
        let (measure, sign) = measure(entry.kind)?;
        let before = self.links.about(at.log, entry);
        let stores =
            matches!(entry.kind, Kind::Create | Kind::Place | Kind::Replace | Kind::MoveIn);
        // What names kinds of evidence was ruled, and no law attaches if it names none.
        let ruled = !entry.jurisdictions.is_empty() || !entry.evidence_kinds.is_empty();
        let class = if stores || ruled {
            self.links.class(&entry.jurisdictions)
        } else {
            before.unwrap_or(UNSTATED)
        };
        // An erasure that gives no number says of no record that it went.
        let many = entry.count().unwrap_or_else(|| u64::from(entry.kind != Kind::Erase));
        let row = self.records.entry((region.to_owned(), class)).or_default();
        let signed = i64::try_from(many).unwrap_or(i64::MAX).saturating_mul(sign);
        row.live = row.live.saturating_add(signed);
        if let Some(counted) = row.counts.get_mut(measure).filter(|_| in_period) {
            *counted = counted.saturating_add(many);
        }
        self.unstated += u64::from(class == UNSTATED && in_period);
        // Another law claims it now: it is counted there from here on.
        if let (Kind::Replace, Some(before)) = (entry.kind, before.filter(|it| *it != class)) {
            self.records.entry((region.to_owned(), before)).or_default().live -= 1;
            self.records.entry((region.to_owned(), class)).or_default().live += 1;
        }
        Some(class)
    }

    /// Counts what callers did in the period.
    fn act(&mut self, region: &str, entry: &Entry) {
        let many = entry.count().unwrap_or(1);
        let role = entry.caller.as_ref().map_or("", |caller| caller.role.as_str());
        let territory = entry.caller.as_ref().and_then(|caller| caller.territory.clone());
        let region = region.to_owned();
        if entry.kind == Kind::Refuse {
            let reason = entry.reason().unwrap_or("").to_owned();
            let act = refused_act(&reason, entry.caller.as_ref().map(|caller| caller.role));
            self.add(Figure::Refusal { region, act, reason }, many);
        } else if is_of_oversight(entry) {
            let asked = |of| Figure::Question { region: region.clone(), role, of };
            self.add(asked("questions"), 1);
            self.add(asked("entries"), many);
        } else if matches!(entry.kind, Kind::Count | Kind::Read) {
            let (noted, many) = noted(entry, many);
            let (collection, territory) =
                (entry.collection.clone().unwrap_or_default(), territory.unwrap_or_default());
            self.add(Figure::Read { region, collection, noted, role, territory }, many);
        } else if entry.kind == Kind::Erase && is_part_of_another(entry) {
            // The erasure of the subject has an entry of its own.
        } else if entry.kind == Kind::Erase {
            let scope = if entry.collection.is_some() { "collection" } else { "subject" };
            let outcome = match entry.deadline() {
                None => "no_deadline",
                Some(deadline) if entry.minute <= deadline => "in_time",
                Some(_) => "late",
            };
            self.add(Figure::Erasure { region, scope, outcome }, 1);
        } else if entry.kind == Kind::Export {
            self.add(Figure::Export { region }, 1);
        } else if let Some(CopyAct { act, other, reason }) = copies::act(entry) {
            self.add(Figure::Copy { region, act, other, reason }, many);
        } else {
            for clause in &entry.clauses {
                let (region, clause) = (region.clone(), clause.clone());
                self.add(Figure::Clause { region, clause }, 1);
            }
        }
    }

    fn add(&mut self, figure: Figure, many: u64) {
        let room = self.figures.len() < FIGURES_MAX || self.figures.contains_key(&figure);
        if room {
            let counted = self.figures.entry(figure).or_default();
            *counted = counted.saturating_add(many);
        } else {
            self.cut[1] += 1;
        }
    }

    /// Records by region, with the jurisdictions that claim them.
    pub(crate) fn records(&self) -> impl Iterator<Item = (&str, Option<&[String]>, &Row)> {
        self.records
            .iter()
            .map(|((region, class), row)| (region.as_str(), self.links.jurisdictions(*class), row))
    }

    /// Records that live in a region at the period's end: rounded as other totals, but where some class is
    /// below nothing, by itself, since the classes do not add up to it then.
    pub(crate) fn live(&self, region: &str) -> Rounded {
        let rows = || self.records().filter(|(of, ..)| *of == region).map(|(.., row)| row);
        if rows().any(Row::is_below_nothing) {
            let live = rows().fold(0_i64, |sum, row| sum.saturating_add(row.live));
            return Rounded::of(u64::try_from(live).unwrap_or(0));
        }
        Rounded::total(rows().map(|row| row.get(LIVE)))
    }

    /// The maps that entries name and that were not given, in the period or not: verified is all of a log.
    pub(crate) fn maps_missing(&self, law: &Law) -> BTreeSet<(u64, String)> {
        let of_logs = self.logs.iter().flat_map(|log| &log.facts.maps_missing);
        let named = self.named.iter().chain(of_logs);
        let named = named.map(|map| (map.epoch, hex::encode(map.digest)));
        named
            .filter(|(_, digest)| !law.maps.iter().any(|map| *member(map, "digest") == **digest))
            .collect()
    }

    /// What was left off, by a word for it.
    pub(crate) fn cuts(&self) -> [(&'static str, u64); 4] {
        let [logs, figures, events] = self.cut;
        [("logs", logs), ("figures", figures), ("events", events), ("links", self.links.cut)]
    }

    /// Every figure, rounded.
    pub(crate) fn figures(&self, law: &Law) -> Vec<Value> {
        let figure = |(figure, count): (&Figure, &u64)| {
            let count = range(Rounded::of(*count));
            match figure {
                Figure::Clause { region, clause } => {
                    json!({"of": "clause", "region": region, "clause": clause, "count": count})
                }
                Figure::Refusal { region, act, reason } => json!({
                    "of": "refusal", "region": region, "act": act, "reason": reason, "count": count,
                }),
                Figure::Read { region, collection, noted, role, territory } => json!({
                    "of": "read", "region": region, "collection": collection, "noted": noted,
                    "role": role, "territory": territory,
                    "inside": law.territory(region) == Some(territory.as_str()), "count": count,
                }),
                Figure::Question { region, role, of } => json!({
                    "of": "question", "region": region, "role": role, "counted": of, "count": count,
                }),
                Figure::Erasure { region, scope, outcome } => json!({
                    "of": "erasure", "region": region, "scope": scope, "outcome": outcome,
                    "count": count,
                }),
                Figure::Export { region } => {
                    json!({"of": "export", "region": region, "count": count})
                }
                Figure::Copy { region, act, other, reason } => {
                    copies::figure([region, act, other, reason], count)
                }
            }
        };
        let held = self.held.all().map(|(region, home, count)| {
            copies::figure([region, "held", home, ""], range(Rounded::of(count)))
        });
        self.figures.iter().map(figure).chain(held).collect()
    }

    /// When each map was in force anywhere: from, and until if it no longer was at the period's
    /// end. Only what was in force in the period.
    pub(crate) fn in_force(&self) -> BTreeMap<MapRef, InForce> {
        let mut all: BTreeMap<MapRef, InForce> = BTreeMap::new();
        for (number, log) in self.logs.iter().enumerate() {
            let own: Vec<&Entry> =
                self.taken.iter().filter(|(at, _)| at.log == number).map(|(_, it)| it).collect();
            let sealed = log.span.map(|(_, last)| last).filter(|_| log.sealed);
            for (place, entry) in own.iter().enumerate() {
                let Some(map) = entry.map else { continue };
                let until = own.get(place + 1).map(|next| next.minute).or(sealed);
                if until.is_some_and(|until| until < self.period.from) {
                    continue;
                }
                let here = InForce { since: entry.minute, until };
                let known = all.entry(map).or_insert(here);
                *known = known.union(here);
            }
        }
        all
    }

    /// The maps that logs took, by the end of the period.
    pub(crate) fn taken(&self) -> Vec<Value> {
        let taken = self.taken.iter().filter_map(|(at, entry)| {
            let MapRef { epoch, digest } = entry.map?;
            Some(json!({
                "log": log_name(at.log), "index": at.index,
                "time": Minute(entry.minute).to_string(),
                "epoch": epoch, "digest": hex::encode(digest), "signers": entry.signers(),
            }))
        });
        taken.collect()
    }

    /// Beginnings of logs, and ends, keys, backups and restores in the period.
    pub(crate) fn events(&self) -> Vec<Value> {
        let event = |(at, entry): &(At, Entry)| {
            let old_head = entry.old_head().map(|Checkpoint { origin, size, root }| {
                json!({"origin": origin, "size": size, "root": root.to_string()})
            });
            json!({
                "log": log_name(at.log), "index": at.index,
                "time": Minute(entry.minute).to_string(),
                "kind": entry.kind.as_str(), "reason": entry.reason(), "log_key": entry.log_key(),
                "old_head": old_head,
            })
        };
        self.events.iter().map(event).collect()
    }

    /// The logs, with how far each was verified.
    pub(crate) fn logs(&self) -> Vec<Value> {
        let log = |(number, log): (usize, &Log)| {
            let facts = &log.facts;
            let span = log.span.map(|(a, b)| [a, b].map(|minute| Minute(minute).to_string()));
            json!({
                "key": log_name(number), "origin": facts.origin,
                "folder": folder(&facts.origin), "region": facts.region,
                "shard": facts.shard, "vkey": facts.vkey, "key_by_policy": facts.key_by_policy,
                "checkpoint": facts.checkpoint, "size": facts.size, "root": facts.root.to_string(),
                "witnesses": facts.witnesses, "verified": log.is_whole(),
                "findings": facts.findings, "entries_read": log.read, "span": span,
            })
        };
        self.logs.iter().enumerate().map(log).collect()
    }
}

impl Log {
    /// Whether it was verified whole, and read whole.
    pub(crate) fn is_whole(&self) -> bool {
        self.facts.findings.is_empty() && self.read == self.facts.size
    }
}

/// The key by which tables name a log.
fn log_name(number: usize) -> String {
    format!("L{}", number + 1)
}

/// The folder of a log's mirror.
fn folder(origin: &str) -> String {
    origin.split('/').skip(1).collect::<Vec<_>>().join(".")
}

/// A range for programs.
pub(crate) fn range(count: Rounded) -> Value {
    json!({"at_least": count.at_least, "at_most": count.at_most})
}

/// Logs by region, shard and period: an earlier period is read first, since a later one may name
/// its entries.
fn order(log: &LogInput<'_>) -> (String, String, u64, String, Reverse<u64>) {
    let LogFacts { origin, region, shard, size, .. } = &log.facts;
    let period = origin_period(origin).unwrap_or(u64::MAX);
    (region.clone(), shard.clone(), period, origin.clone(), Reverse(*size))
}
