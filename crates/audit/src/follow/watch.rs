//! What is known of each shard that is followed, and which alerts that gives.

use std::collections::BTreeMap;
use std::sync::Arc;

use terms::{UnixMillis, with_causes};
use tokio::time::Instant;

use super::metrics::{Line, Metrics};
use super::{Alert, AlertKind, Poll, Settings};
use crate::folder::StandingKind;
use crate::mirror::{Breach, Error, KeyFrom, Pulled, not_answered};

/// All shards that are followed.
pub(super) struct Watch {
    settings: Arc<Settings>,
    shards: Vec<State>,
    raised: BTreeMap<(String, AlertKind), u64>,
    /// When each alert of the process itself was last raised.
    own: BTreeMap<String, Instant>,
}

/// What alerts are of that are no shard's.
const PROCESS: &str = "follow";

/// One shard.
struct State {
    name: String,
    /// When a poll at it was last completed: all of its logs, and nothing refused.
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
    sealed: bool,
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
        Self { settings, shards: shards.collect(), raised: BTreeMap::new(), own: BTreeMap::new() }
    }

    /// Takes what one poll gave.
    pub(super) fn take(
        &mut self,
        number: usize,
        poll: &Poll,
        now: Instant,
        time: UnixMillis,
    ) -> Vec<Alert> {
        let Some(shard) = self.shards.get_mut(number) else { return Vec::new() };
        shard.looks += 1;
        let mut found = shard.new_logs(&poll.pull.logs, now);
        let mut away = None;
        for error in &poll.pull.errors {
            match error {
                Error::Call(error) => away = Some(not_answered(error)),
                Error::Folder { .. } | Error::OtherDeployment { .. } | Error::TooMany { .. } => {
                    found.push((AlertKind::Mirror, with_causes(error)));
                }
                Error::Alarm(alarm) => found.push((kind_of(&alarm.what), alarm.to_string())),
            }
        }
        for (folder, standing) in &poll.standing {
            let kind = match standing.kind {
                StandingKind::Entry => AlertKind::BadEntry,
                StandingKind::Clock => AlertKind::ClockBack,
                StandingKind::Conflict => AlertKind::SplitView,
                // A poll that was not completed is reported by its age. One that was completed and
                // showed less than was signed raises an alert of its own.
                StandingKind::Pending => continue,
            };
            found.push((kind, format!("{folder}: {standing}")));
        }
        if poll.pull.errors.is_empty() {
            shard.answered(now, time);
        } else {
            shard.away = Some(away.unwrap_or_else(|| "what it shows is not accepted".to_owned()));
        }
        self.raise(number, found, now)
    }

    /// A poll that has ended, and should not.
    pub(super) fn stopped(&mut self, now: Instant) -> Vec<Alert> {
        self.own("a shard is looked at no more: start again".to_owned(), now)
    }

    /// Something of the process itself.
    pub(super) fn own(&mut self, text: String, now: Instant) -> Vec<Alert> {
        let again = self.settings.again_after;
        self.own.retain(|_, raised| now.duration_since(*raised) < again);
        if self.own.contains_key(&text) {
            return Vec::new();
        }
        self.own.insert(text.clone(), now);
        *self.raised.entry((PROCESS.to_owned(), AlertKind::Mirror)).or_default() += 1;
        vec![Alert { kind: AlertKind::Mirror, shard: PROCESS.to_owned(), text }]
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
            let grows = kind == AlertKind::Unreachable;
            let key = (kind, if grows { String::new() } else { text.clone() });
            if shard.last.contains_key(&key) {
                continue;
            }
            shard.last.insert(key, now);
            *self.raised.entry((shard.name.clone(), kind)).or_default() += 1;
            alerts.push(Alert { kind, shard: shard.name.clone(), text });
        }
        alerts
    }

    /// The metrics as they are now.
    pub(super) fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::default();
        let names = self.shards.iter().map(|shard| shard.name.as_str()).chain([PROCESS]);
        for (name, kind) in names.flat_map(|name| AlertKind::ALL.iter().map(move |k| (name, k))) {
            let count = self.raised.get(&(name.to_owned(), *kind)).copied().unwrap_or(0);
            metrics.alerts.push(Line::new(&[("shard", name), ("kind", kind.as_str())], count));
        }
        for shard in &self.shards {
            let name = ("shard", shard.name.as_str());
            let label = [name];
            metrics.up.push(Line::new(&label, u64::from(shard.is_up())));
            metrics.looks.push(Line::new(&label, shard.looks));
            let answered = shard.answered_at.map_or(0, |time| time.0 / 1000);
            metrics.answered.push(Line::new(&label, answered));
            for (origin, log) in &shard.logs {
                metrics.sizes.push(Line::new(&[name, ("origin", origin)], log.size));
            }
        }
        metrics
    }
}

// === impl State ===

impl State {
    fn answered(&mut self, now: Instant, time: UnixMillis) {
        (self.answered, self.answered_at, self.away) = (now, Some(time), None);
        // What was well again and is wrong again is reported again.
        self.last
            .retain(|(kind, _), _| !matches!(kind, AlertKind::Unreachable | AlertKind::Mirror));
    }

    const fn is_up(&self) -> bool {
        self.away.is_none() && self.answered_at.is_some()
    }

    /// Takes the logs as they are now.
    fn new_logs(&mut self, pulled: &[Pulled], now: Instant) -> Vec<(AlertKind, String)> {
        let mut found = Vec::new();
        let known = !self.logs.is_empty();
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
            if log.on_trust {
                let text = format!(
                    "{origin}: its key was never compared: compare {} with what the operators say",
                    log.vkey
                );
                found.push((AlertKind::OnTrust, text));
            }
            let state = self.logs.entry(origin.clone()).or_insert(LogState {
                size,
                changed: now,
                sealed: log.sealed,
            });
            if state.size != size {
                (state.size, state.changed) = (size, now);
            }
            state.sealed |= log.sealed;
        }
        found
    }

    /// What is late.
    fn late(&self, settings: &Settings, now: Instant) -> Vec<(AlertKind, String)> {
        let mut found = Vec::new();
        let away = now.duration_since(self.answered);
        // The age alone decides: a poll that is still running has not been answered either.
        if away >= settings.away_max {
            let why = self.away.as_deref().unwrap_or("the look has not ended");
            let text = format!("no look was completed for {} s: {why}", away.as_secs());
            found.push((AlertKind::Unreachable, text));
        }
        let Some(still_max) = settings.still_max else { return found };
        for (origin, log) in &self.logs {
            let still = now.duration_since(log.changed) >= still_max;
            if still && !log.sealed && self.is_up() {
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

const fn kind_of(what: &Breach) -> AlertKind {
    match what {
        Breach::RolledBack { .. } | Breach::NoLongerShown | Breach::NeverShown => {
            AlertKind::RolledBack
        }
        Breach::SplitView { .. } => AlertKind::SplitView,
        Breach::NoLog(_)
        | Breach::Unnamed
        | Breach::OtherShard(_)
        | Breach::OtherKey(_)
        | Breach::BadSignature(_)
        | Breach::Uncosigned(_) => AlertKind::BadSignature,
        Breach::BadEntries { .. } | Breach::BadAnswer(_) | Breach::Unshown { .. } => {
            AlertKind::BadEntry
        }
    }
}
