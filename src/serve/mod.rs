//! `bailiwick gateway` and `bailiwick shard`: one server, from its configuration to its drained
//! end.

pub(crate) mod backup;
pub(crate) mod convert;
pub(crate) mod endings;
pub(crate) mod gateway;
mod geoip;
mod maps;
pub(crate) mod readyz;
pub(crate) mod shard;
pub(crate) mod slots;
mod standby;
pub(crate) mod status;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;

use ::shard::{AesGcm, Environment};
use link::host::clock::{SystemClock, SystemEntropy};
use link::host::sandbox::{Facts, Sandbox};
use link::ops::logging;
use link::ops::logging::Level;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::config;
use crate::error::{Exit, Failure};
use crate::terminal;

/// The outside world of a shard on this machine.
pub(crate) fn outside(store: Arc<dyn engine::Backend>) -> Environment {
    Environment {
        store,
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        cipher: &AesGcm,
    }
}

/// Processors up to which a server has one worker thread: with more, the threads wake each other for
/// every call, and what could leave in one write leaves in several.
const PROCESSORS_FEW: usize = 2;

/// Runs a command on a thread for each processor. What is left of it when it ends is not waited for.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    block_on_threads(processors(), work)
}

/// Runs a server on so many worker threads. None: by the processors of this machine.
pub(crate) fn serve_on<T>(
    threads: Option<usize>,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let usual = if processors() <= PROCESSORS_FEW { 1 } else { processors() };
    block_on_threads(threads.unwrap_or(usual), work)
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn block_on_threads<T>(
    threads: usize,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let built = match threads {
        // Tasks that one frame wakes run one after another, and then the connections to which they
        // have written: the other runtime lets a connection write after each of them.
        1 => Builder::new_current_thread().enable_all().build(),
        _ => Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
    };
    let runtime = built.map_err(|error| Failure::new(Exit::Unavailable, error))?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    done
}

pub(crate) fn start_logs(json: bool, level: Level) -> Result<(), Failure> {
    let level = config::log_level(level)?;
    logging::init(json, level).map_err(|error| Failure::new(Exit::Unavailable, error))
}

/// Puts this process behind its fence, or says why it may not start without.
pub(crate) fn enter(sandbox: &Sandbox, required: bool) -> Result<Facts, Failure> {
    if let Err(error) = link::host::rlimit::raise_file_limit() {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    let facts = sandbox.enter().map_err(|error| Failure::new(Exit::Unavailable, error))?;
    if required {
        // Not `Unavailable`: starting again does not change the kernel.
        facts.require().map_err(|missing| {
            let cure = "use Linux 6.2 or later with `landlock` among `lsm=`, and let the \
                        container's seccomp profile pass landlock_*, or set it to false";
            Failure::said(Exit::Config, format!("{missing}; {cure}"))
        })?;
    }
    Ok(facts)
}

/// Listens, or says which address could not be had.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    link::net::listener::bind(address).await.map_err(|error| {
        let text =
            format!("cannot listen on {address} ({error}): is something else running there?");
        Failure::said(Exit::Unavailable, text)
    })
}

// === signals ===

/// The request to stop, by SIGTERM or SIGINT. The second signal ends the process at once.
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
            // The operator does not want to wait. Stores are sound at any moment.
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
    pub(super) fn never(&self) -> impl Future<Output = ()> + Send + 'static {
        std::future::pending()
    }
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
