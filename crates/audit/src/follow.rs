//! Follows shards for months: mirrors what is new, checks it, and raises an alert when something is
//! not as it must be.

mod metrics;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use client::Ledger;
use terms::Clock;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::mirror::{self, Pulled};
use crate::policy::Policy;

pub use metrics::METRICS_PREFIX;
use watch::Watch;

/// Shards that one process follows at the most.
pub const SHARDS_MAX: usize = 1000;
/// How often it is looked whether a shard is away for too long, and the metrics are written.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What is followed, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the mirrors are.
    pub place: PathBuf,
    /// Whom to believe.
    pub policy: Option<Policy>,
    /// Time between two looks at one shard.
    pub every: Duration,
    /// For how long a shard may be away before that is an alert.
    pub away_max: Duration,
    /// For how long a log may show no new checkpoint. None: for ever, as one that nobody writes to.
    pub still_max: Option<Duration>,
    /// Time after which an alert is raised again while its cause lasts.
    pub again_after: Duration,
    /// The file of the metrics, in Prometheus's text format.
    pub metrics: Option<PathBuf>,
}

/// A shard that is followed.
#[derive(Debug, Clone)]
pub struct Shard {
    /// What it is called in alerts and metrics: its address.
    pub name: String,
    /// Its auditor listener.
    pub ledger: Ledger,
}

/// Of what kind an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AlertKind {
    /// A shard is away for longer than it may be.
    Unreachable,
    /// A log shows fewer entries than it did.
    RolledBack,
    /// A log shows two faces.
    SplitView,
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
    /// The mirror itself cannot be read or written.
    Mirror,
}

// === impl AlertKind ===

impl AlertKind {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Unreachable,
        Self::RolledBack,
        Self::SplitView,
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
            Self::BadSignature => "bad_signature",
            Self::BadEntry => "bad_entry",
            Self::ClockBack => "clock_back",
            Self::NewPeriod => "new_period",
            Self::NoNewCheckpoint => "no_new_checkpoint",
            Self::Mirror => "mirror",
        }
    }
}

/// Something that somebody must look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Of what kind.
    pub kind: AlertKind,
    /// The shard, as [`Shard::name`].
    pub shard: String,
    /// What it is, in one sentence.
    pub text: String,
}

/// What came of one look at a shard.
type Look = (usize, Result<Vec<Pulled>, mirror::Error>);

/// Follows shards until `stop` is done. `alert` is told of what somebody must look at: once when it
/// comes, and again from time to time while it lasts.
///
/// # Errors
/// When the metrics cannot be written.
pub async fn follow(
    shards: Vec<Shard>,
    settings: Settings,
    clock: Arc<dyn Clock>,
    alert: &mut (dyn FnMut(&Alert) + Send),
    stop: impl Future<Output = ()> + Send,
) -> std::io::Result<()> {
    let settings = Arc::new(settings);
    let names = shards.iter().map(|shard| shard.name.clone()).collect();
    let mut watch = Watch::new(names, Arc::clone(&settings), Instant::now());
    let (sender, mut looks) = mpsc::channel(16);
    let mut tasks = tokio::task::JoinSet::new();
    for (number, shard) in shards.into_iter().enumerate() {
        tasks.spawn(look(number, shard, Arc::clone(&settings), sender.clone()));
    }
    let mut tick = interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some((number, outcome)) = looks.recv() => {
                for raised in watch.take(number, &outcome, Instant::now(), clock.now()) {
                    alert(&raised);
                }
            }
            _ = tick.tick() => {
                for raised in watch.tick(Instant::now()) {
                    alert(&raised);
                }
                if let Some(path) = &settings.metrics {
                    metrics::write(path, &watch.metrics())?;
                }
            }
        }
    }
    // A mirror is whole at any moment: whoever is cut short goes on the next time.
    tasks.shutdown().await;
    match &settings.metrics {
        Some(path) => metrics::write(path, &watch.metrics()),
        None => Ok(()),
    }
}

/// Looks at one shard again and again.
async fn look(number: usize, shard: Shard, settings: Arc<Settings>, looks: mpsc::Sender<Look>) {
    loop {
        let policy = settings.policy.as_ref();
        let outcome = mirror::pull(&shard.ledger, &settings.place, policy, &mut |_, _, _| {}).await;
        if looks.send((number, outcome)).await.is_err() {
            return;
        }
        sleep(settings.every).await;
    }
}
