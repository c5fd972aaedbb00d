//! `bailiwick shard`: a shard in a process of its own, and its recovery.

use std::path::Path;
use std::sync::Arc;

use ::shard::Shard;
use link::admin::{Health, serve_admin};
use link::metrics::Registry;
use link::peer::PeerKind;
use link::telemetry::Level;

use super::{Stop, bind, block_on, enter, maps as pinning, outside, say_visible, start_logs, tls};
use crate::cli::{Exit, Failure, terminal};
use crate::config;
use crate::config::log::AuditorsConfig;

/// Runs a shard until it is told to stop, or poisons itself.
pub(crate) fn run(path: &Path) -> Result<(), Failure> {
    let config = config::shard::read(path)?;
    start_logs(true, Level::Info)?;
    say_visible();
    // What it may write in must be there before the rest is shut off, and that must be done before
    // the runtime starts the first thread.
    config.settings.make_folders().map_err(error)?;
    let shard::Settings { data, anchor, keys, .. } = config.settings.clone();
    let sandbox = enter(&link::sandbox::shard([data, anchor, keys]), config.require_sandbox)?;
    block_on(async {
        let stop = Stop::on_signals()?;
        let (mut registry, health) = (Registry::new(), Health::new());
        sandbox.announce(&health, &mut registry);
        // Before any port: whoever may not have this store must not take calls for it. And before
        // TLS: the map in force says whom to trust, which may be newer than the one in the file.
        let expect = (PeerKind::Shard, config.settings.region.clone());
        let opened = Shard::open(
            config.settings,
            config.map,
            config.annex,
            outside(),
            (&mut registry, health.clone()),
        );
        let shard = opened.await.map_err(error)?;
        let maps = shard.maps();
        let in_force = Arc::clone(&maps.borrow());
        let tls = match config.tls {
            Some(files) => Some(tls::open(files, &in_force, expect, (&mut registry, &health))?),
            None => {
                health.set_fact("tls", "off: loopback only");
                tracing::warn!(
                    listen = %config.listen,
                    admin_listen = %config.admin_listen,
                    "plaintext: sessions are taken on loopback only"
                );
                None
            }
        };
        if let Some(tls) = &tls {
            pinning::pin_with_shard(tls.clone(), maps);
        }
        let listener = bind(config.listen).await?;
        let admin = bind(config.admin_listen).await?;
        let auditors = match config.auditors {
            Some(auditors) => Some(entrance(auditors, &mut registry).await?),
            None => None,
        };
        let guard = tls::guard(config.metrics)?;
        let registry = Arc::new(registry);
        let pages = tokio::spawn(serve_admin(admin, guard, health, registry, stop.never()));
        let served = shard.serve(listener, tls, auditors, stop.asked()).await;
        pages.abort();
        served.map_err(error)?;
        tracing::info!("drained");
        Ok(())
    })
}

/// The auditors' listener.
async fn entrance(
    config: AuditorsConfig,
    registry: &mut Registry,
) -> Result<shard::Auditors, Failure> {
    let entrance = match config.certificates {
        Some((files, uris)) => {
            let tls = tls::open_listener(files, registry)?;
            shard::AuditorEntrance::Certificates { tls, uris }
        }
        None => shard::AuditorEntrance::Loopback,
    };
    tracing::info!(audit_listen = %config.listen, "auditors are served");
    Ok(shard::Auditors { listener: bind(config.listen).await?, entrance })
}

/// Ends the period of the log, and begins the next.
pub(crate) fn rotate_log(path: &Path) -> Result<(), Failure> {
    let config = config::shard::read(path)?;
    start_logs(true, Level::Warn)?;
    // The region's keys will be in it, as in a server's.
    let _closed = link::sandbox::close_memory();
    let done = shard::rotate_log(&config.settings, &config.map, &config.annex, &outside());
    let shard::Rotated { sealed, size, origin, vkey } = done.map_err(error)?;
    terminal::say(format!(
        "the log {sealed} is sealed: {size} entries\nthe log {origin} begins\n\
         its public key, for your auditors; keep the old one, too:\n{vkey}"
    ))
}

/// Goes on with a store that lacks what was signed.
pub(crate) fn recover(path: &Path) -> Result<(), Failure> {
    let config = config::shard::read(path)?;
    start_logs(true, Level::Warn)?;
    // The region's keys will be in it, as in a server's.
    let _closed = link::sandbox::close_memory();
    let done = shard::recover(&config.settings, &config.map, &config.annex, &outside());
    let shard::Recovered { signed, found, origin, vkey } = done.map_err(error)?;
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

/// How a shard's end is told to whoever started the process.
pub(crate) fn error(error: shard::Error) -> Failure {
    use engine::Error as Store;
    let exit = match &error {
        shard::Error::Poisoned
        | shard::Error::PeriodEnded
        | shard::Error::Engine(Store::Poisoned | Store::Unknown { .. } | Store::HeadMoved { .. }) => {
            Exit::Again
        }
        shard::Error::NotNamed { .. }
        | shard::Error::AnnexUnsigned
        | shard::Error::Folders { .. }
        | shard::Error::MapStale { .. }
        | shard::Error::MapFork { .. }
        | shard::Error::MapRefused(_)
        | shard::Error::Listener
        | shard::Error::Certificate { .. } => Exit::Config,
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
