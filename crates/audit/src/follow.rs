//! Follows shards continuously: mirrors what is new, verifies it, and raises alerts.

mod metrics;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use client::Ledger;
use terms::Clock;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::folder::{Folder, Standing};
use crate::mirror::{self, Mirrors, Pull};
use crate::policy::Policy;

pub use metrics::METRICS_PREFIX;
use watch::Watch;

/// Shards that one process follows at the most.
pub const SHARDS_MAX: usize = 1000;
/// How often it is looked whether a shard is away for too long, and the metrics are written.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The same where a shard may be away for a shorter time than that.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(100);

/// What is followed, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the mirrors are.
    pub place: PathBuf,
    /// The keys to trust.
    pub policy: Option<Policy>,
    /// New entries of one log that one poll takes at the most. None: all.
    pub entries_max: Option<u64>,
    /// Time between two polls of one shard.
    pub every: Duration,
    /// For how long a shard may be away before that is an alert.
    pub away_max: Duration,
    /// For how long a log may show no new checkpoint. None: for ever, as a log without writes.
    pub still_max: Option<Duration>,
    /// Time after which an alert is raised again while its cause lasts.
    pub again_after: Duration,
    /// The file of the metrics, in Prometheus's text format.
    pub metrics: Option<PathBuf>,
}

/// A shard that is followed.
#[derive(Debug, Clone)]
pub struct Shard {
    /// Its name in alerts and metrics: its address.
    pub name: String,
    /// The region and the shard that the gateway names for that address.
    pub named: Option<(String, String)>,
    /// Its auditor listener.
    pub ledger: Ledger,
}

/// Of what kind an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AlertKind {
    /// No poll of a shard was completed for longer than it may be.
    Unreachable,
    /// A log shows fewer entries than it did.
    RolledBack,
    /// A log shows two faces.
    SplitView,
    /// A key was never compared with what a shard's operators say.
    OnTrust,
    /// A checkpoint is not signed by the key, or not cosigned by the witnesses, that it must be.
    BadSignature,
    /// Entries are not those of the checkpoint, or break a rule.
    BadEntry,
    /// Time in a log went back.
    ClockBack,
    /// A shard writes to a new log, under a new key: compare it with what its operators say.
    NewPeriod,
    /// A log shows no new checkpoint for longer than it may.
    NoNewCheckpoint,
    /// The mirror or the metrics cannot be read or written, or the looking itself has failed.
    Mirror,
}

// === impl AlertKind ===

impl AlertKind {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Unreachable,
        Self::RolledBack,
        Self::SplitView,
        Self::OnTrust,
        Self::BadSignature,
        Self::BadEntry,
        Self::ClockBack,
        Self::NewPeriod,
        Self::NoNewCheckpoint,
        Self::Mirror,
    ];

    /// Its word, in alerts and as a metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::RolledBack => "rolled_back",
            Self::SplitView => "split_view",
            Self::OnTrust => "on_trust",
            Self::BadSignature => "bad_signature",
            Self::BadEntry => "bad_entry",
            Self::ClockBack => "clock_back",
            Self::NewPeriod => "new_period",
            Self::NoNewCheckpoint => "no_new_checkpoint",
            Self::Mirror => "mirror",
        }
    }
}

/// A problem that a person must look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Of what kind.
    pub kind: AlertKind,
    /// The shard, as [`Shard::name`].
    pub shard: String,
    /// What it is, in one sentence.
    pub text: String,
}

/// What came of one poll of a shard.
#[derive(Debug, Default)]
struct Poll {
    pull: Pull,
    /// What was found before, and still stands: each with its log's folder.
    standing: Vec<(String, Standing)>,
}

/// Follows shards until `stop` is done. `alert` gets each problem once when it begins, and again from
/// time to time while it lasts.
///
/// Metrics that cannot be written are an alert, and stop nothing.
pub async fn follow(
    shards: Vec<Shard>,
    settings: Settings,
    clock: Arc<dyn Clock>,
    alert: &mut (dyn FnMut(&Alert) + Send),
    stop: impl Future<Output = ()> + Send,
) {
    let settings = Arc::new(settings);
    let names = shards.iter().map(|shard| shard.name.clone()).collect();
    let mut watch = Watch::new(names, Arc::clone(&settings), Instant::now());
    let (sender, mut polls) = mpsc::channel(16);
    let mut tasks = tokio::task::JoinSet::new();
    for (number, shard) in shards.into_iter().enumerate() {
        tasks.spawn(poll(number, shard, Arc::clone(&settings), sender.clone()));
    }
    let often = settings.away_max.clamp(LOOK_EVERY_MIN, LOOK_EVERY);
    let mut tick = interval(often);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some((number, poll)) = polls.recv() => {
                watch.take(number, &poll, Instant::now(), clock.now()).iter().for_each(&mut *alert);
            }
            Some(ended) = tasks.join_next() => {
                // Such a task has no end of its own: it has panicked, or was aborted.
                if ended.is_err() {
                    watch.stopped(Instant::now()).iter().for_each(&mut *alert);
                }
            }
            _ = tick.tick() => {
                watch.tick(Instant::now()).iter().for_each(&mut *alert);
                metrics(&settings, &mut watch).iter().for_each(&mut *alert);
            }
        }
    }
    // A mirror is whole at any moment: a task that is aborted resumes at the next start.
    tasks.shutdown().await;
    metrics(&settings, &mut watch).iter().for_each(alert);
}

/// Writes the metrics; a failure is an alert like any other.
fn metrics(settings: &Settings, watch: &mut Watch) -> Vec<Alert> {
    let Some(path) = &settings.metrics else { return Vec::new() };
    match metrics::write(path, &watch.metrics()) {
        Ok(()) => Vec::new(),
        Err(error) => {
            let text = format!("the metrics {} cannot be written: {error}", path.display());
            watch.own(text, Instant::now())
        }
    }
}

/// Looks at one shard again and again.
async fn poll(
    number: usize,
    shard: Shard,
    settings: Arc<Settings>,
    polls: mpsc::Sender<(usize, Poll)>,
) {
    let named = shard.named.as_ref().map(|(region, shard)| (region.as_str(), shard.as_str()));
    let (place, policy) = (settings.place.as_path(), settings.policy.as_ref());
    let into = Mirrors { place, policy, named, entries_max: settings.entries_max };
    // What was found in a log stands, whether or not the shard still shows it.
    let mut folders: Vec<Folder> = Vec::new();
    loop {
        let pull = mirror::pull(&shard.ledger, &into, &mut |_, _, _| {}).await;
        let mut poll = Poll { pull, standing: Vec::new() };
        for log in &poll.pull.logs {
            if !folders.contains(&log.folder) {
                folders.push(log.folder.clone());
            }
        }
        for folder in &folders {
            let name = folder.path().display().to_string();
            match folder.standing() {
                Ok(standing) => {
                    poll.standing.extend(standing.into_iter().map(|s| (name.clone(), s)))
                }
                Err(error) => poll.pull.errors.push(mirror::Error::Folder { origin: name, error }),
            }
        }
        if polls.send((number, poll)).await.is_err() {
            return;
        }
        sleep(settings.every).await;
    }
}
