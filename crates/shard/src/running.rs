//! A running shard: its threads, its listener, and how it ends.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use atlas::{Annex, RegionMap};
use ledger::Signers;
use link::admin::Health;
use link::listener::Entrance;
use link::metrics::Registry;
use link::peer::PeerKind;
use link::tls::Tls;
use terms::{Clock, Entropy, RegionId, ShardId};
use tokio::net::TcpListener;
use tokio::sync::watch;
use wire::session::session_server::SessionServer;

use crate::Error;
use crate::beat::{Beat, Durable};
use crate::committer::{self, Committer, Life, Queue};
use crate::counts::Counts;
use crate::decision::Rules;
use crate::log::edge_at;
use crate::map_calls::MapCalls;
use crate::metrics::Metrics;
use crate::node::{Node, SUBJECTS_CACHED_MAX};
use crate::open::{Opened, Opening};
use crate::reads::Reader;
use crate::session::Sessions;
use link::refusals::Refusals;

/// How long sessions may take to end once the shard goes down.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// What a shard is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The region that it serves.
    pub region: RegionId,
    /// Its name in the region's annex.
    pub shard: ShardId,
    /// Folder of the store. It stays in the region, with all its copies.
    pub data: PathBuf,
    /// Folder of the last signed checkpoint: outside `data`, best on another disk.
    pub anchor: PathBuf,
    /// Folder of the keyring and the log's keys: outside `data`, best on another disk.
    pub keys: PathBuf,
    /// The engine of the store.
    pub engine: engine::Kind,
    /// Bytes of memory for the engine's cache.
    pub cache_bytes: u64,
    /// Bytes that are kept free on the disk for erasure and expiry: below it, puts are refused.
    pub disk_reserve_bytes: u64,
    /// The keys of those who sign region maps. None: maps come from the configuration alone, and
    /// nobody answers for them.
    pub signers: Option<Signers>,
    /// The signatures of the map that the configuration names; empty: it has none.
    pub map_note: String,
    /// Time between checkpoints, when something is new.
    pub beat: Duration,
}

/// The outside world.
#[derive(Clone)]
pub struct Outside {
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where random bytes come from.
    pub entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside").finish_non_exhaustive()
    }
}

/// A shard that has passed every check and whose committer runs.
pub struct Shard {
    node: Arc<Node>,
    queue: Queue,
    counts: Arc<Counts>,
    life: watch::Sender<Life>,
    committer: thread::JoinHandle<()>,
    beat: thread::JoinHandle<()>,
    stop_beat: mpsc::Sender<()>,
    published: Arc<ArcSwap<String>>,
    signers: Option<Signers>,
    health: Health,
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
            let opened = opening.open()?;
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
        });
        let published = Arc::new(ArcSwap::from_pointee(opened.note));
        let mut beat = Beat {
            node: Arc::clone(&node),
            durable: Arc::clone(&durable),
            signer: opened.signer,
            anchor: opened.anchor,
            second,
            signed: opened.signed,
            published: Arc::clone(&published),
        };
        // What was committed after the last checkpoint is verified and signed before anything is
        // served.
        beat.sign()?;
        let counts = Arc::new(Counts::default());
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
        let (queue, inbox) = committer::queue();
        let (life, _) = watch::channel(Life::Serving);
        let threads = Threads { settings, life: &life };
        let of_committer = life.clone();
        let committer = threads.spawn("commit", move || committer.run(inbox, &of_committer))?;
        let (stop_beat, stopped) = mpsc::channel();
        let (of_beat, every) = (life.clone(), settings.beat);
        let due = (queue.weak(), Arc::clone(&counts));
        let beat = threads.spawn("beat", move || beat.run(every, &stopped, due, &of_beat))?;
        let signers = settings.signers.clone();
        Ok(Self {
            node,
            queue,
            counts,
            life,
            committer,
            beat,
            stop_beat,
            published,
            signers,
            health,
        })
    }

    /// The map in force, now and whenever it changes.
    pub fn maps(&self) -> watch::Receiver<Arc<RegionMap>> {
        self.node.in_force.subscribe()
    }

    /// The newest signed checkpoint, as a note.
    pub fn checkpoint(&self) -> Arc<String> {
        self.published.load_full()
    }

    /// Serves sessions until `shutdown` is done, then drains: what is queued is committed and
    /// answered, the last checkpoint is signed. With `tls`, sessions are taken from our own
    /// gateways alone; without, from this machine alone.
    ///
    /// # Errors
    /// [`Error::Listener`] when it is without TLS and not on loopback, [`Error::Certificate`] when
    /// the certificate names another shard; both before anything is served.
    /// [`Error::Poisoned`] after a failed flush: the process must end with exit code 75 and be
    /// started again. [`Error::Server`] when the listener fails.
    pub async fn serve(
        self,
        listener: TcpListener,
        tls: Option<Tls>,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), Error> {
        may_serve(&self.node, &listener, tls.as_ref())?;
        let Self { node, queue, counts, life, committer, beat, stop_beat, signers, health, .. } =
            self;
        let entrance = tls.clone().map_or(Entrance::Plaintext, Entrance::Gateways);
        let reader =
            Reader { node: Arc::clone(&node), queue: queue.clone(), counts, life: life.clone() };
        let map_calls = MapCalls::new(reader.clone(), signers);
        let sessions = Sessions { tls, reader, map_calls, life: life.subscribe() };
        let service = SessionServer::new(sessions)
            .max_decoding_message_size(link::session::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(link::session::MESSAGE_BYTES_MAX);
        let mut ended = life.subscribe();
        let mut server = link::session::server(tonic::transport::Server::builder());
        let served = server.add_service(service).serve_with_incoming_shutdown(
            link::listener::incoming_by(listener, entrance),
            async move {
                // Also when the sender is gone: then nobody is left to serve.
                let _gone = ended.wait_for(|life| *life != Life::Serving).await;
            },
        );
        tracing::info!(origin = &*node.origin, engine = node.engine.kind(), "the shard serves");
        health.set_ready(true);
        let mut watched = life.subscribe();
        let drain = async {
            tokio::select! {
                () = shutdown => advance(&life, Life::Draining),
                _poisoned = watched.wait_for(|life| *life == Life::Poisoned) => {}
            }
            health.set_ready(false);
            if *life.borrow() != Life::Poisoned {
                tokio::time::sleep(DRAIN_MAX).await;
            }
        };
        let served = tokio::select! {
            served = served => served,
            () = drain => Ok(()),
        };
        health.set_ready(false);
        // Sessions that are still there are left. Everything queued is committed and answered.
        advance(&life, Life::Ended);
        if *life.borrow() == Life::Poisoned {
            health.set_dead();
            return Err(Error::Poisoned);
        }
        queue.end().await;
        let ended = tokio::task::spawn_blocking(move || {
            let committed = committer.join();
            drop(stop_beat);
            committed.and_then(|()| beat.join())
        });
        let joined = ended.await.is_ok_and(|joined| joined.is_ok());
        if !joined || *life.borrow() == Life::Poisoned {
            health.set_dead();
            return Err(Error::Poisoned);
        }
        served.map_err(Error::Server)
    }
}

/// Whether sessions may be taken there: without TLS on loopback only, and with TLS as the shard that
/// the certificate names.
fn may_serve(node: &Node, listener: &TcpListener, tls: Option<&Tls>) -> Result<(), Error> {
    let Some(tls) = tls else {
        let address = listener.local_addr().map_err(|_| Error::Listener)?;
        return if address.ip().is_loopback() { Ok(()) } else { Err(Error::Listener) };
    };
    let own = tls.own();
    let ours = own.kind() == PeerKind::Shard
        && *own.region() == node.region
        && own.name() == node.shard.as_str()
        && own.trust_domain() == node.map().trust_domain();
    if ours { Ok(()) } else { Err(Error::Certificate { found: own.to_string() }) }
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

/// Goes on to a later state; never back.
fn advance(life: &watch::Sender<Life>, to: Life) {
    life.send_if_modified(|life| {
        let later = *life < to;
        if later {
            *life = to;
        }
        later
    });
}
