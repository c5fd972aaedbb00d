//! `bailiwick gateway` and `bailiwick shard`: one server in a process of its own, from its
//! configuration to its drained end.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use gateway::Gateway;
use link::admin::{Health, serve_admin};
use link::metrics::Registry;
use link::system::{SystemClock, SystemEntropy};
use link::telemetry::{self, Level};
use shard::{Outside, Shard};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::cli::{Exit, Failure, terminal};
use crate::config;

/// Runs a gateway until it is told to stop.
pub(crate) fn gateway(path: &Path) -> Result<(), Failure> {
    let config = config::gateway(path)?;
    start_logs(true, Level::Info)?;
    block_on(async {
        let stop = Stop::on_signals()?;
        let (mut registry, health) = (Registry::new(), Health::new());
        let gateway = Gateway::new(
            config.settings,
            config.map,
            config.annexes,
            config.sources,
            Arc::new(SystemClock),
            Arc::new(SystemEntropy),
            &mut registry,
            health.clone(),
        );
        let gateway = gateway.map_err(|error| of_gateway(path, error))?;
        let listener = bind(config.listen).await?;
        let admin = bind(config.admin_listen).await?;
        health.set_fact("tls", "off: loopback only");
        health.set_fact("sandbox", "off");
        let pages = tokio::spawn(serve_admin(admin, health, Arc::new(registry), stop.never()));
        tracing::warn!(
            listen = %config.listen,
            admin_listen = %config.admin_listen,
            "plaintext: calls are taken on loopback only"
        );
        let served = gateway.serve(listener, stop.asked()).await;
        pages.abort();
        served.map_err(|error| of_gateway(path, error))?;
        tracing::info!("drained");
        Ok(())
    })
}

/// Runs a shard until it is told to stop, or poisons itself.
pub(crate) fn shard(path: &Path) -> Result<(), Failure> {
    let config = config::shard(path)?;
    start_logs(true, Level::Info)?;
    say_visible();
    block_on(async {
        let stop = Stop::on_signals()?;
        let (mut registry, health) = (Registry::new(), Health::new());
        // Before any port: whoever may not have this store must not take calls for it.
        let opened = Shard::open(
            config.settings,
            config.map,
            config.annex,
            outside(),
            (&mut registry, health.clone()),
        );
        let shard = opened.await.map_err(of_shard)?;
        let listener = bind(config.listen).await?;
        let admin = bind(config.admin_listen).await?;
        health.set_fact("tls", "off: loopback only");
        health.set_fact("sandbox", "off");
        let pages = tokio::spawn(serve_admin(admin, health, Arc::new(registry), stop.never()));
        tracing::warn!(
            listen = %config.listen,
            admin_listen = %config.admin_listen,
            "plaintext: sessions are taken on loopback only"
        );
        let served = shard.serve(listener, stop.asked()).await;
        pages.abort();
        served.map_err(of_shard)?;
        tracing::info!("drained");
        Ok(())
    })
}

/// Goes on with a store that lacks what was signed.
pub(crate) fn recover(path: &Path) -> Result<(), Failure> {
    let config = config::shard(path)?;
    start_logs(true, Level::Warn)?;
    let done = shard::recover(&config.settings, &config.map, &config.annex, &outside());
    let shard::Recovered { signed, found, origin, vkey } = done.map_err(of_shard)?;
    let signed = match signed {
        Some((log, size)) => format!("the log {log} ends: {size} entries were signed for"),
        None => "a log ends whose last signed checkpoint is lost".to_owned(),
    };
    let found = match found {
        Some((log, size)) => format!("the store has {size} entries of {log}"),
        None => "the store has nothing of it".to_owned(),
    };
    terminal::say(format!(
        "{signed}\n{found}\nthe log {origin} begins, and its GENESIS says what was known\n\
         its public key, for your auditors; keep the old one, too:\n{vkey}"
    ))
}

/// The outside world of a real process.
pub(crate) fn outside() -> Outside {
    Outside { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy) }
}

/// Runs a command on a thread for each core. What is left of it when it ends is not waited for.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let built = Builder::new_multi_thread().enable_all().build();
    let runtime = built.map_err(|error| Failure::new(Exit::Unavailable, error))?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    done
}

pub(crate) fn start_logs(json: bool, level: Level) -> Result<(), Failure> {
    let level = config::log_level(level)?;
    telemetry::init(json, level).map_err(|error| Failure::new(Exit::Unavailable, error))
}

/// Listens, or says which address could not be had.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    link::listener::bind(address).await.map_err(|error| {
        let text =
            format!("cannot listen on {address} ({error}): is something else running there?");
        Failure::said(Exit::Unavailable, text)
    })
}

/// A build for the canary search must not be taken for another.
pub(crate) fn say_visible() {
    if cfg!(feature = "visible-bodies") {
        terminal::warn(
            "BODIES ARE NOT SEALED: this build has the feature `visible-bodies`, which is for a \
             test alone. Whoever holds the data folder reads every record in it.",
        );
        tracing::error!("bodies are not sealed: built with `visible-bodies`");
    }
}

/// How a shard's end is told to whoever started the process.
pub(crate) fn of_shard(error: shard::Error) -> Failure {
    use engine::Error as Store;
    let exit = match &error {
        shard::Error::Poisoned
        | shard::Error::Engine(Store::Poisoned | Store::Unknown { .. } | Store::HeadMoved { .. }) => {
            Exit::Again
        }
        shard::Error::NotNamed { .. }
        | shard::Error::Folders { .. }
        | shard::Error::MapStale { .. }
        | shard::Error::MapFork { .. } => Exit::Config,
        shard::Error::Engine(
            Store::Damaged { .. } | Store::Locked { .. } | Store::Foreign { .. },
        )
        | shard::Error::Keys { .. }
        | shard::Error::ForeignStore { .. }
        | shard::Error::Territory { .. }
        | shard::Error::DataLost { .. }
        | shard::Error::Anchor { .. }
        | shard::Error::Damaged(_) => Exit::Data,
        // A disk, a port, randomness: away now, and perhaps back later.
        shard::Error::Io { .. }
        | shard::Error::NoEntropy
        | shard::Error::Server(_)
        | shard::Error::Engine(_)
        | _ => Exit::Unavailable,
    };
    Failure::new(exit, error)
}

/// How a gateway's end is told to whoever started the process.
pub(crate) fn of_gateway(path: &Path, error: gateway::Error) -> Failure {
    let exit = match &error {
        gateway::Error::AnnexTwice(_)
        | gateway::Error::AnnexOfNoRegion(_)
        | gateway::Error::RegionWithoutAnnex(_)
        | gateway::Error::TenantUnknown
        | gateway::Error::InFlightMax => Exit::Config,
        gateway::Error::Entropy(_)
        | gateway::Error::Reflection(_)
        | gateway::Error::Listener(_) => Exit::Unavailable,
    };
    let context = path.display().to_string();
    Failure::new(exit, anyhow::Error::new(error).context(context))
}

// === signals ===

/// That the process was told to stop, by SIGTERM or SIGINT. The second signal ends it at once.
#[derive(Debug, Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Listens for signals from now on.
    pub(crate) fn on_signals() -> Result<Self, Failure> {
        let handler = |kind| signal(kind).map_err(|error| Failure::new(Exit::Unavailable, error));
        let mut interrupt = handler(SignalKind::interrupt())?;
        let mut terminate = handler(SignalKind::terminate())?;
        let (sender, receiver) = watch::channel(false);
        tokio::spawn(async move {
            either(&mut interrupt, &mut terminate).await;
            sender.send_replace(true);
            either(&mut interrupt, &mut terminate).await;
            terminal::warn("stopped at once, by a second signal");
            // Somebody has said twice that they will not wait. Stores are sound at any moment.
            std::process::exit(130);
        });
        Ok(Self(receiver))
    }

    /// Done when the first signal has come.
    pub(crate) fn asked(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut receiver = self.0.clone();
        async move {
            if receiver.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Never done: for what ends with the process.
    fn never(&self) -> impl Future<Output = ()> + Send + 'static {
        std::future::pending()
    }
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
