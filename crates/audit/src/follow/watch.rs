//! What is known of each shard that is followed, and which alerts that gives.

use std::collections::BTreeMap;
use std::sync::Arc;

use terms::UnixMillis;
use tokio::time::Instant;

use super::metrics::{Line, Metrics};
use super::{Alert, AlertKind, Settings};
use crate::mirror::{Error, KeyFrom, Pulled, What, not_answered};
use crate::rules::Broken;

/// All shards that are followed.
pub(super) struct Watch {
    settings: Arc<Settings>,
    shards: Vec<State>,
    raised: BTreeMap<AlertKind, u64>,
}

/// One shard.
struct State {
    name: String,
    /// When it last answered.
    answered: Instant,
    answered_at: Option<UnixMillis>,
    /// Why it did not, if it did not.
    away: Option<String>,
    looks: u64,
    logs: BTreeMap<String, LogState>,
    /// When each alert was last raised, by its text.
    last: BTreeMap<(AlertKind, String), Instant>,
}

/// One log of it.
struct LogState {
    size: u64,
    changed: Instant,
    sealed_by_newer: bool,
}

// === impl Watch ===

impl Watch {
    pub(super) fn new(names: Vec<String>, settings: Arc<Settings>, now: Instant) -> Self {
        let shards = names.into_iter().map(|name| State {
            name,
            answered: now,
            answered_at: None,
            away: None,
            looks: 0,
            logs: BTreeMap::new(),
            last: BTreeMap::new(),
        });
        Self { settings, shards: shards.collect(), raised: BTreeMap::new() }
    }

    /// Takes what one look gave.
    pub(super) fn take(
        &mut self,
        number: usize,
        outcome: &Result<Vec<Pulled>, Error>,
        now: Instant,
        time: UnixMillis,
    ) -> Vec<Alert> {
        let Some(shard) = self.shards.get_mut(number) else { return Vec::new() };
        shard.looks += 1;
        let mut found = Vec::new();
        match outcome {
            Ok(pulled) => {
                shard.answered(now, time);
                found = shard.new_logs(pulled, now);
            }
            Err(Error::Call(error)) => shard.away = Some(not_answered(error)),
            Err(Error::Folder { .. }) => {
                shard.answered(now, time);
                found.push((AlertKind::Mirror, said(outcome)));
            }
            Err(Error::Alarm(alarm)) => {
                shard.answered(now, time);
                found.push((kind_of(&alarm.what), alarm.to_string()));
            }
        }
        self.raise(number, found, now)
    }

    /// Looks for what comes of time alone.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<Alert> {
        let mut alerts = Vec::new();
        for number in 0..self.shards.len() {
            let Some(shard) = self.shards.get(number) else { continue };
            let found = shard.late(&self.settings, now);
            alerts.extend(self.raise(number, found, now));
        }
        alerts
    }

    /// Those that are new, or due again.
    fn raise(
        &mut self,
        number: usize,
        found: Vec<(AlertKind, String)>,
        now: Instant,
    ) -> Vec<Alert> {
        let Some(shard) = self.shards.get_mut(number) else { return Vec::new() };
        let again = self.settings.again_after;
        shard.last.retain(|_, raised| now.duration_since(*raised) < again);
        let mut alerts = Vec::new();
        for (kind, text) in found {
            // A text that grows, as one with a time does, is the same alert.
            let grows = matches!(kind, AlertKind::Unreachable | AlertKind::Mirror);
            let key = (kind, if grows { String::new() } else { text.clone() });
            if shard.last.contains_key(&key) {
                continue;
            }
            shard.last.insert(key, now);
            *self.raised.entry(kind).or_default() += 1;
            alerts.push(Alert { kind, shard: shard.name.clone(), text });
        }
        alerts
    }

    /// The metrics as they are now.
    pub(super) fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::default();
        for kind in AlertKind::ALL {
            let count = self.raised.get(kind).copied().unwrap_or(0);
            metrics.alerts.push(Line::new(&[("kind", kind.as_str())], count));
        }
        for shard in &self.shards {
            let label = [("shard", shard.name.as_str())];
            metrics.up.push(Line::new(&label, u64::from(shard.is_up())));
            metrics.looks.push(Line::new(&label, shard.looks));
            let answered = shard.answered_at.map_or(0, |time| time.0 / 1000);
            metrics.answered.push(Line::new(&label, answered));
            for (origin, log) in &shard.logs {
                metrics.sizes.push(Line::new(&[("origin", origin)], log.size));
            }
        }
        metrics
    }
}

// === impl State ===

impl State {
    fn answered(&mut self, now: Instant, time: UnixMillis) {
        (self.answered, self.answered_at, self.away) = (now, Some(time), None);
        self.last.retain(|(kind, _), _| *kind != AlertKind::Unreachable);
    }

    const fn is_up(&self) -> bool {
        self.away.is_none() && self.answered_at.is_some()
    }

    /// Takes the logs as they are now.
    fn new_logs(&mut self, pulled: &[Pulled], now: Instant) -> Vec<(AlertKind, String)> {
        let mut found = Vec::new();
        let known = !self.logs.is_empty();
        let newest = pulled.len().saturating_sub(1);
        for (number, log) in pulled.iter().enumerate() {
            let (origin, size) = (&log.checkpoint.origin, log.checkpoint.size);
            let is_new = !self.logs.contains_key(origin);
            let unheard = log.key_from != KeyFrom::Mirror && log.before == 0;
            if is_new && (known || (number > 0 && unheard)) {
                let text =
                    format!("{origin}: the shard writes to a new log; its key is {}", log.vkey);
                found.push((AlertKind::NewPeriod, text));
            }
            let history = log.history.iter();
            found.extend(history.map(|said| (AlertKind::SplitView, said.to_string())));
            for broken in &log.findings {
                let kind = match broken.broken {
                    Broken::ClockBack { .. } => AlertKind::ClockBack,
                    Broken::Entry(_)
                    | Broken::NoGenesis(_)
                    | Broken::Genesis
                    | Broken::Key
                    | Broken::Earlier(_)
                    | Broken::AfterSeal => AlertKind::BadEntry,
                };
                found.push((kind, format!("{origin}: {broken}")));
            }
            let state = self.logs.entry(origin.clone()).or_insert(LogState {
                size,
                changed: now,
                sealed_by_newer: false,
            });
            if state.size != size {
                (state.size, state.changed) = (size, now);
            }
            state.sealed_by_newer = number < newest;
        }
        found
    }

    /// What is late.
    fn late(&self, settings: &Settings, now: Instant) -> Vec<(AlertKind, String)> {
        let mut found = Vec::new();
        let away = now.duration_since(self.answered);
        if let Some(why) = self.away.as_ref().filter(|_| away >= settings.away_max) {
            let text = format!("it has not answered for {} s: {why}", away.as_secs());
            found.push((AlertKind::Unreachable, text));
        }
        let Some(still_max) = settings.still_max else { return found };
        for (origin, log) in &self.logs {
            let still = now.duration_since(log.changed) >= still_max;
            if still && !log.sealed_by_newer && self.is_up() {
                let text = format!(
                    "{origin}: no new checkpoint for {} s; it has {} entries",
                    still_max.as_secs(),
                    log.size
                );
                found.push((AlertKind::NoNewCheckpoint, text));
            }
        }
        found
    }
}

fn said(outcome: &Result<Vec<Pulled>, Error>) -> String {
    outcome.as_ref().err().map(|error| crate::verify::chain(error)).unwrap_or_default()
}

const fn kind_of(what: &What) -> AlertKind {
    match what {
        What::RolledBack { .. } => AlertKind::RolledBack,
        What::SplitView { .. } => AlertKind::SplitView,
        What::NoLog(_)
        | What::Unnamed
        | What::OtherKey(_)
        | What::BadSignature(_)
        | What::Uncosigned(_) => AlertKind::BadSignature,
        What::BadEntries { .. } | What::BadAnswer(_) => AlertKind::BadEntry,
    }
}
