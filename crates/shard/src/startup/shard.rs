//! A running shard: its parts, and its threads.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use atlas::{Annex, RegionMap};
use engine::Engine;
use link::ops::health::Health;
use link::ops::metrics::Registry;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::Error;
use crate::environment::Environment;
use crate::lifecycle::Life;
use crate::log::access_counters::AccessCounters;
use crate::log::checkpointer::{CheckpointSigner, Checkpointer, Durable, SharedSigner};
use crate::log::edge_at;
use crate::log::erasure_file::ErasureFile;
use crate::log::view::{Cosigned, LogViews, Signed};
use crate::metrics::Metrics;
use crate::node::{Node, SUBJECTS_CACHED_MAX};
use crate::policy::rulings::Rules;
use crate::relocate::peers::{Peers, RegionShards};
use crate::settings::Settings;
use crate::startup::open::{Opened, Opening};
use crate::store::claims::Claims;
use crate::store::damage::WatchedEngine;
use crate::store::move_progress::MoveProgress;
use crate::store::region_maps::Offered;
use crate::store::reserve::Reserve;
use crate::store::types::{CommitAt, EpochNumber};
use crate::store::upload_check::UploadChecks;
use crate::write::answers::{Answers, delivery};
use crate::write::committer;
use crate::write::committer::{Committer, Queue};
use crate::write::list_numbers::ListNumbers;
use crate::write::retries;
use crate::write::rotate::Ending;
use link::ops::log_throttle::LogThrottle;

/// Time between two attempts to open a store that another process holds.
const LOCKED_LOOK: Duration = Duration::from_millis(100);

/// A shard that has passed every check and whose committer runs.
pub struct Shard {
    pub(crate) node: Arc<Node>,
    pub(crate) queue: Queue,
    pub(crate) counts: Arc<AccessCounters>,
    pub(crate) life: watch::Sender<Life>,
    pub(crate) committer: thread::JoinHandle<()>,
    pub(crate) beat: thread::JoinHandle<()>,
    pub(crate) stop_beat: mpsc::Sender<()>,
    pub(crate) chronicles: LogViews,
    /// What witnesses have cosigned.
    pub(crate) cosigned: watch::Sender<Cosigned>,
    pub(crate) settings: Settings,
    pub(crate) health: Health,
    pub(crate) peers: Peers,
    /// The other shards of the region.
    pub(crate) others: RegionShards,
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = &self.node.growing().name.origin;
        f.debug_struct("Shard").field("origin", origin).finish_non_exhaustive()
    }
}

impl Shard {
    /// Opens the store and starts the committer. Nothing is served yet.
    ///
    /// # Errors
    /// [`Error`]: whatever keeps it from starting. A store that lacks what was signed, another
    /// shard's folder, a folder that is in use, keys that are not its own, a map that is older
    /// than the one in force.
    pub async fn open(
        settings: Settings,
        map: Arc<RegionMap>,
        annex: Annex,
        outside: Environment,
        registry: &mut Registry,
        health: Health,
    ) -> Result<Self, Error> {
        Self::open_within(Duration::ZERO, settings, map, annex, outside, registry, health).await
    }

    /// The same, if another process holds the store for no longer than that: a backup does, of a shard
    /// that it found down.
    ///
    /// # Errors
    /// As [`Shard::open`].
    pub async fn open_within(
        wait: Duration,
        settings: Settings,
        map: Arc<RegionMap>,
        annex: Annex,
        outside: Environment,
        registry: &mut Registry,
        health: Health,
    ) -> Result<Self, Error> {
        let (metrics, until) = (Metrics::new(registry), Instant::now() + wait);
        let mut reported = false;
        loop {
            let (settings, map, annex) = (settings.clone(), Arc::clone(&map), annex.clone());
            let (outside, metrics, health) = (outside.clone(), metrics.clone(), health.clone());
            let opening = tokio::task::spawn_blocking(move || {
                let opening =
                    Opening { settings: &settings, map: &map, annex: &annex, outside: &outside };
                let opened = opening.open()?;
                let ingress = annex.ingress().map(str::to_owned);
                let mut parts = Parts::new(&settings, ingress, &outside, metrics, opened, health)?;
                parts.end_period()?;
                parts.start(settings)
            });
            // A panic of a library on what it reads is caught at the engine's door, and means damage.
            // Any other is a bug of ours.
            match opening.await.map_err(|_| Error::Bug)? {
                Err(error @ Error::Engine(engine::Error::Locked { .. }))
                    if Instant::now() < until =>
                {
                    if !reported {
                        tracing::warn!(%error, "waiting for the store");
                    }
                    reported = true;
                    sleep(LOCKED_LOOK).await;
                }
                opened => return opened,
            }
        }
    }

    /// The map in force, now and whenever it changes.
    pub fn maps(&self) -> watch::Receiver<Arc<RegionMap>> {
        self.node.in_force.subscribe()
    }

    /// Where the shards of other regions are reached, to be kept up to date by who has their annexes.
    pub fn peers(&self) -> Peers {
        self.peers.clone()
    }

    /// The newest signed checkpoint, as a note.
    pub fn checkpoint(&self) -> Arc<String> {
        Arc::new(self.chronicles.growing().signed.note.clone())
    }
}

/// A shard that has passed every check, without its threads.
pub(crate) struct Parts {
    pub(crate) committer: Committer,
    retries: retries::Waiting,
    /// The period of its log ended before the start: the map with which the next begins.
    pub(crate) sealed: Option<Box<Offered>>,
    others: RegionShards,
}

impl Parts {
    pub(crate) fn new(
        settings: &Settings,
        ingress: Option<String>,
        outside: &Environment,
        metrics: Metrics,
        opened: Opened,
        health: Health,
    ) -> Result<Self, Error> {
        let second = edge_at(&*opened.engine, opened.log.period, opened.signed)?;
        let durable = Arc::new(Durable::new(opened.log.edge.size(), opened.log.edge.root()));
        let map = Arc::clone(&opened.map);
        metrics.map_epoch(map.epoch().number);
        metrics.sizes(opened.log.edge.size(), opened.signed);
        metrics.log_period(opened.log.period.0);
        opened.growing.set_size(opened.log.edge.size());
        let log = opened.growing.name.clone();
        let node = Arc::new(Node {
            region: settings.region.clone(),
            shard: settings.shard.clone(),
            territory: opened.territory,
            deployment: map.deployment().to_owned(),
            in_force: watch::Sender::new(Arc::clone(&map)),
            engine: watched(opened.engine, &metrics, &health, outside),
            transit: settings.transit_keys(map.deployment(), &opened.keyring)?,
            keyring: Box::new(opened.keyring),
            namer: opened.namer,
            clock: opened.clock,
            entropy: Arc::clone(&outside.entropy),
            cipher: outside.cipher,
            growing: ArcSwap::from_pointee(opened.growing),
            slots: watch::Sender::new(opened.slots),
            subjects: quick_cache::sync::Cache::new(SUBJECTS_CACHED_MAX),
            metrics,
            ingress,
            refusals: LogThrottle::default(),
            troubles: LogThrottle::default(),
            health,
            upload_checks: UploadChecks::default(),
            claims: Claims::new(&*outside.entropy).map_err(|_| Error::NoEntropy)?,
            moves: MoveProgress::default(),
            copies_due: tokio::sync::Notify::new(),
            copy_lines: LogThrottle::default(),
            committed: AtomicU64::new(opened.last_commit.0),
        });
        node.show_slots();
        let shown = Signed { log, note: opened.note, edge: second, at: opened.last_commit };
        let mut signer =
            CheckpointSigner::new(&node, &durable, opened.signer, opened.anchor, shown);
        // What was committed after the last checkpoint is signed before anything is served.
        signer.sign()?;
        let end = CommitAt { period: opened.log.period, index: opened.log.edge.size() };
        let (keyring, entropy) = (&*node.keyring, &*node.entropy);
        let erasures = ErasureFile::open(settings, keyring, &*node.engine, end, entropy)?;
        let (retries, waiting) = retries::channel();
        let committer = Committer {
            rules: Rules::new(Arc::clone(&map), settings.region.clone(), opened.territory),
            log: opened.log,
            head: opened.head,
            lists: ListNumbers::default(),
            last_commit: opened.last_commit,
            counts: Arc::new(AccessCounters::new(EpochNumber::of(&map))),
            durable,
            signer: SharedSigner::new(signer),
            settings: settings.clone(),
            disk: Reserve::new(settings.disk_reserve_bytes, &*node.engine)?,
            behind: LogThrottle::default(),
            retries,
            erasures,
            // Until there is a runtime that does it.
            deliver: Box::new(Answers::give),
            node,
        };
        Ok(Self { committer, retries: waiting, sealed: opened.sealed, others: opened.others })
    }

    /// Begins the next period of the log, if the one before it has ended; ends one that is due.
    fn end_period(&mut self) -> Result<(), Error> {
        if let Some(offered) = self.sealed.take() {
            return self.committer.rotate(Ending::Sealed(offered))?.map(drop);
        }
        if self.committer.period_is_over()
            && let Err(error) = self.committer.rotate(Ending::Due)?
        {
            // Nothing is gained by a shard that is down. It is tried again while it serves.
            tracing::error!(%error, "the period of the log is due and cannot end");
        }
        Ok(())
    }

    /// Starts its threads.
    fn start(self, settings: Settings) -> Result<Shard, Error> {
        let Self { mut committer, retries, others, .. } = self;
        committer.deliver = delivery();
        let Committer { node, counts, signer, .. } = &committer;
        let (node, counts, signer) = (Arc::clone(node), Arc::clone(counts), signer.clone());
        let cosigned = watch::Sender::new(Cosigned::default());
        let witnessed = (!settings.log.witnesses.is_empty()).then(|| cosigned.subscribe());
        let chronicles = LogViews::new(Arc::clone(&node), signer.lock().published(), witnessed);
        let beat = Checkpointer { node: Arc::clone(&node), signer, reported: None };
        let Started { queue, life, committer, beat, stop_beat } =
            Started::new(&settings, committer, retries, beat, &counts)?;
        let health = node.health.clone();
        Ok(Shard {
            node,
            queue,
            counts,
            life,
            committer,
            beat,
            stop_beat,
            chronicles,
            cosigned,
            settings,
            health,
            peers: Peers::default(),
            others,
        })
    }
}

/// The engine, whose failed reads are counted and reported.
fn watched(
    engine: Box<dyn Engine>,
    metrics: &Metrics,
    health: &Health,
    outside: &Environment,
) -> Box<dyn Engine> {
    Box::new(WatchedEngine {
        engine,
        metrics: metrics.clone(),
        health: health.clone(),
        clock: Arc::clone(&outside.clock),
        lines: LogThrottle::default(),
        named: Mutex::default(),
    })
}

/// The threads of a shard, and the ways to them.
struct Started {
    queue: Queue,
    life: watch::Sender<Life>,
    committer: thread::JoinHandle<()>,
    beat: thread::JoinHandle<()>,
    stop_beat: mpsc::Sender<()>,
}

impl Started {
    fn new(
        settings: &Settings,
        committer: Committer,
        retries: retries::Waiting,
        beat: Checkpointer,
        counts: &Arc<AccessCounters>,
    ) -> Result<Self, Error> {
        let (queue, inbox) = committer::queue(committer.node.metrics.queue_bytes.clone());
        let (life, _) = watch::channel(Life::Serving);
        let threads = Threads { settings, life: &life };
        let of_committer = life.clone();
        let node = Arc::clone(&committer.node);
        let retries = threads.spawn("retries", move || retries.run(&node))?;
        let committer = threads.spawn("commit", move || {
            committer.run(inbox, &of_committer);
            // It ends once all that the committer gave it is answered.
            drop(retries.join());
        })?;
        let (stop_beat, stopped) = mpsc::channel();
        let (of_beat, every) = (life.clone(), settings.beat);
        let (queued, weak, counts) = (queue.weak(), queue.weak(), Arc::clone(counts));
        let write_counts = move || counts.any() && queued.write_counts();
        let recover = move || weak.recover();
        let beat = threads
            .spawn("beat", move || beat.run(every, &stopped, write_counts, recover, &of_beat))?;
        Ok(Self { queue, life, committer, beat, stop_beat })
    }
}

/// Starts the threads of a shard.
struct Threads<'a> {
    settings: &'a Settings,
    life: &'a watch::Sender<Life>,
}

impl Threads<'_> {
    fn spawn(
        &self,
        name: &str,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<thread::JoinHandle<()>, Error> {
        let life = self.life.clone();
        let name = format!("{}-{name}", self.settings.region);
        let io = |source| Error::Io { path: format!("thread {name}").into(), source };
        let named = thread::Builder::new().name(name.clone());
        named.spawn(move || guarded(&life, work)).map_err(io)
    }
}

/// Runs a thread's work. Should it panic, the shard must not look alive without it.
fn guarded(life: &watch::Sender<Life>, work: impl FnOnce()) {
    struct Guard<'a>(&'a watch::Sender<Life>);
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            if thread::panicking() {
                self.0.send_replace(Life::Poisoned);
            }
        }
    }
    let _guard = Guard(life);
    work();
}
