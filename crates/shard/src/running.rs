//! A running shard: its parts, and its threads.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, mpsc};
use std::thread;

use atlas::{Annex, RegionMap};
use link::admin::Health;
use link::metrics::Registry;
use tokio::sync::watch;

use crate::Error;
use crate::beat::{Beat, Durable};
use crate::chronicle::{Chronicles, Cosigned, Signed};
use crate::committer::{self, Committer, Life, Queue};
use crate::counts::Counts;
use crate::decision::Rules;
use crate::log::edge_at;
use crate::metrics::Metrics;
use crate::node::{Node, SUBJECTS_CACHED_MAX};
use crate::open::{Opened, Opening};
use crate::rotate::may_rotate;
use crate::settings::{Outside, Settings};
use link::refusals::Refusals;

/// A shard that has passed every check and whose committer runs.
pub struct Shard {
    pub(crate) node: Arc<Node>,
    pub(crate) queue: Queue,
    pub(crate) counts: Arc<Counts>,
    pub(crate) life: watch::Sender<Life>,
    pub(crate) committer: thread::JoinHandle<()>,
    pub(crate) beat: thread::JoinHandle<()>,
    pub(crate) stop_beat: mpsc::Sender<()>,
    pub(crate) chronicles: Chronicles,
    /// What witnesses have cosigned.
    pub(crate) cosigned: watch::Sender<Cosigned>,
    pub(crate) settings: Settings,
    /// The minute in which the log's period began.
    pub(crate) began: u32,
    pub(crate) health: Health,
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard").field("origin", &self.node.origin).finish_non_exhaustive()
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
        outside: Outside,
        (registry, health): (&mut Registry, Health),
    ) -> Result<Self, Error> {
        let metrics = Metrics::new(registry);
        let opening = tokio::task::spawn_blocking(move || {
            let opening =
                Opening { settings: &settings, map: &map, annex: &annex, outside: &outside };
            let mut opened = opening.open()?;
            let max = settings.log.period_max;
            let (size, now) = (opened.log.edge.size(), outside.clock.now().max(opened.last_commit));
            if opened.sealed || (max.reached(opened.began, size, now) && may_rotate(&settings)) {
                opening.rotate(opened)?;
                opened = opening.open()?;
            }
            let ingress = annex.ingress().map(str::to_owned);
            Self::start(&settings, ingress, &outside, metrics, (opened, health))
        });
        opening.await.map_err(|_| Error::Damaged("store"))?
    }

    fn start(
        settings: &Settings,
        ingress: Option<String>,
        outside: &Outside,
        metrics: Metrics,
        (opened, health): (Opened, Health),
    ) -> Result<Self, Error> {
        let second = edge_at(&*opened.engine, opened.period, opened.signed)?;
        let vkey = opened.signer.vkey();
        let durable = Arc::new(Durable::new(opened.log.edge.size(), opened.log.edge.root()));
        let map = Arc::clone(&opened.map);
        metrics.map_epoch(map.epoch().number);
        let node = Arc::new(Node {
            region: settings.region.clone(),
            shard: settings.shard.clone(),
            territory: opened.territory,
            deployment: map.deployment().to_owned(),
            in_force: watch::Sender::new(Arc::clone(&map)),
            engine: opened.engine,
            keyring: Box::new(opened.keyring),
            namer: opened.namer,
            clock: Arc::clone(&outside.clock),
            entropy: Arc::clone(&outside.entropy),
            origin: opened.origin,
            period: opened.period,
            owned: opened.owned,
            subjects: quick_cache::sync::Cache::new(SUBJECTS_CACHED_MAX),
            metrics,
            ingress,
            refusals: Refusals::default(),
            committed: AtomicU64::new(opened.last_commit.0),
            log_size: AtomicU64::new(opened.log.edge.size()),
        });
        let signed = Signed { note: opened.note, edge: second.clone(), at: opened.last_commit };
        let published = watch::Sender::new(Arc::new(signed));
        let mut beat = Beat {
            node: Arc::clone(&node),
            durable: Arc::clone(&durable),
            signer: opened.signer,
            anchor: opened.anchor,
            second,
            signed: opened.signed,
            published: published.clone(),
        };
        // What was committed after the last checkpoint is verified and signed before anything is
        // served.
        beat.sign()?;
        let counts = Arc::new(Counts::new(map.epoch().number));
        let committer = Committer {
            node: Arc::clone(&node),
            rules: Rules::new(map, settings.region.clone(), opened.territory),
            log: opened.log,
            head: opened.head,
            last_commit: opened.last_commit,
            counts: Arc::clone(&counts),
            durable,
            data: settings.data.clone(),
            disk_reserve_bytes: settings.disk_reserve_bytes,
        };
        let Started { queue, life, committer, beat, stop_beat } =
            Started::new(settings, committer, beat, &counts)?;
        let cosigned = watch::Sender::new(Cosigned::default());
        let witnessed = (!settings.log.witnesses.is_empty()).then(|| cosigned.subscribe());
        let chronicles =
            Chronicles::new(Arc::clone(&node), &vkey, published.subscribe(), witnessed);
        Ok(Self {
            node,
            queue,
            counts,
            life,
            committer,
            beat,
            stop_beat,
            chronicles,
            cosigned,
            settings: settings.clone(),
            began: opened.began,
            health,
        })
    }

    /// The map in force, now and whenever it changes.
    pub fn maps(&self) -> watch::Receiver<Arc<RegionMap>> {
        self.node.in_force.subscribe()
    }

    /// The newest signed checkpoint, as a note.
    pub fn checkpoint(&self) -> Arc<String> {
        Arc::new(self.chronicles.growing().signed.note.clone())
    }
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
        beat: Beat,
        counts: &Arc<Counts>,
    ) -> Result<Self, Error> {
        let (queue, inbox) = committer::queue(committer.node.metrics.queue_bytes.clone());
        let (life, _) = watch::channel(Life::Serving);
        let threads = Threads { settings, life: &life };
        let of_committer = life.clone();
        let committer = threads.spawn("commit", move || committer.run(inbox, &of_committer))?;
        let (stop_beat, stopped) = mpsc::channel();
        let (of_beat, every) = (life.clone(), settings.beat);
        let due = (queue.weak(), Arc::clone(counts));
        let beat = threads.spawn("beat", move || beat.run(every, &stopped, due, &of_beat))?;
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
        let named = thread::Builder::new().name(format!("{}-{name}", self.settings.region));
        let io = |source| Error::Io { path: self.settings.data.clone(), source };
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
