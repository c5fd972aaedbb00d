//! `bailiwick shard`: runs, creates and repairs a shard.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::shard::{Erasures, KeyringSource, Shard};
use link::host::clock::SystemClock;
use link::net::admin_http::serve_admin;
use link::ops::health::Health;
use link::ops::logging::Level;
use link::ops::metrics::Registry;
use link::spiffe_id::PeerKind;
use link::tls::{Ending, Expected};
use serde_json::json;
use tokio::sync::watch;

use super::{
    Stop, bind, block_on, endings, enter, maps as pinning, outside, serve_on, standby, start_logs,
    tls,
};
use crate::config;
use crate::config::log::AuditorsConfig;
use crate::error::{Exit, Failure};
use crate::terminal;

/// Time in which a running shard is expected to end the period of its log.
const ROTATES_WITHIN: Duration = Duration::from_secs(30);
/// Time in which a start waits for a store that another process holds, as a backup may. With it, starts
/// follow each other so slowly that the systemd unit never gives up.
const LOCKED_MAX: Duration = Duration::from_secs(30);

/// Runs a shard until a signal stops it, or it poisons itself.
pub(crate) fn run(path: &Path) -> Result<(), Failure> {
    let config = config::shard::read(path)?;
    start_logs(true, Level::Info)?;
    // What it may write in must be there before the rest is shut off, and that must be done before
    // the runtime starts the first thread.
    let store = config.store.waiting();
    config.settings.make_folders(&*store.backend()).map_err(error)?;
    let shard::Settings { anchor, keys, .. } = config.settings.clone();
    let data = store.folder().map(Path::to_path_buf);
    let writable = data.into_iter().chain([anchor, keys]).chain(config.token_writes);
    let sandbox = enter(&link::host::sandbox::shard(writable), config.require_sandbox)?;
    serve_on(config.threads, async {
        let stop = Stop::on_signals()?;
        let (mut registry, health) = (Registry::new(), Health::new());
        sandbox.announce(&health, &mut registry);
        // Before any port: a process that may not open this store must not take calls for it. And
        // before TLS: the map in force pins authorities, and may be newer than the one in the file.
        let region = config.settings.region.clone();
        let expect = Expected { kind: PeerKind::Shard, region };
        let guard = tls::guard(config.metrics, &health)?;
        let standby = standby::begin(&store, config.admin_listen, guard.clone(), &health).await?;
        let opening = Shard::open_within(
            LOCKED_MAX,
            config.settings,
            config.map,
            config.annex,
            outside(store.backend()),
            &mut registry,
            health.clone(),
        );
        let opened = tokio::select! {
            opened = opening => opened,
            // What it waits for it need not wait for any more.
            () = stop.asked() => return Ok(()),
        };
        let shard = opened.map_err(error)?;
        let maps = shard.maps();
        let in_force = Arc::clone(&maps.borrow());
        let tls = match config.tls {
            Some(files) => Some(tls::open(files, &in_force, expect, &mut registry, &health)?),
            None => {
                health.set_fact("tls", "off: loopback only");
                tracing::warn!(
                    listen = %config.listen,
                    admin_listen = %config.admin_listen,
                    "plaintext: sessions are accepted on loopback only"
                );
                None
            }
        };
        let auditors = config.auditors;
        let auditors = match auditors {
            Some(auditors) => Some(entrance(auditors, &mut registry, &health).await?),
            None => None,
        };
        watch_endings(&tls, auditors.as_ref(), &maps, &mut registry, &health);
        if !config.peer_annexes.0.is_empty() {
            pinning::follow_peers(shard.peers(), maps.clone(), config.peer_annexes);
        }
        if let Some(tls) = &tls {
            pinning::pin_with_shard(tls.clone(), maps);
        }
        let listener = bind(config.listen).await?;
        let admin = standby.end().await?;
        let registry = Arc::new(registry);
        let pages = tokio::spawn(serve_admin(admin, guard, health, registry, stop.never()));
        let served = shard.serve(listener, tls, auditors, stop.asked()).await;
        pages.abort();
        served.map_err(error)?;
        tracing::info!("drained");
        Ok(())
    })
}

/// Reports what of maps and certificates ends soon.
fn watch_endings(
    tls: &Option<link::tls::Tls>,
    auditors: Option<&shard::Auditors>,
    maps: &watch::Receiver<Arc<atlas::RegionMap>>,
    registry: &mut Registry,
    health: &Health,
) {
    let (own, held) = (tls.clone(), maps.clone());
    let shown = auditors.and_then(|auditors| match &auditors.entrance {
        shard::AuditorEntrance::Certificates { tls, .. } => Some(tls.clone()),
        shard::AuditorEntrance::Loopback => None,
    });
    let ending = endings::Sources {
        map: Box::new(move || Arc::clone(&held.borrow())),
        tls: Box::new(move || {
            let own = own.iter().flat_map(link::tls::Tls::endings);
            // Without auditors it serves all the same.
            let shown = shown.iter().flat_map(link::tls::CallerTls::endings);
            own.chain(shown.map(|ending| Ending { needed: false, ..ending })).collect()
        }),
    };
    endings::watch(ending, registry, health);
}

/// The auditors' listener.
async fn entrance(
    config: AuditorsConfig,
    registry: &mut Registry,
    health: &Health,
) -> Result<shard::Auditors, Failure> {
    let entrance = match config.certificates {
        Some((files, uris)) => {
            let tls = tls::open_listener(files, registry, health)?;
            shard::AuditorEntrance::Certificates { tls, uris }
        }
        None => shard::AuditorEntrance::Loopback,
    };
    tracing::info!(audit_listen = %config.listen, "auditors are served");
    Ok(shard::Auditors { listener: bind(config.listen).await?, entrance })
}

/// Makes a new shard.
pub(crate) fn init(path: &Path, keyring: &KeyringSource, json: bool) -> Result<(), Failure> {
    let config = config::shard::read(path)?;
    start_logs(true, Level::Warn)?;
    // The region's keys will be in it, as in a server's.
    let _closed = link::host::sandbox::close_memory();
    let settings = &config.settings;
    let outside = outside(config.store.backend());
    let done = shard::init(settings, &config.map, &config.annex, &outside, keyring);
    let shard::Initialised { origin, vkey, keyring_made } = done.map_err(error)?;
    if json {
        let made = json!({ "origin": origin, "vkey": vkey, "keyring_made": keyring_made });
        return terminal::say(made);
    }
    let keyring = if keyring_made {
        format!(
            "the keyring of region {} was created: keep a copy of {} in a safe place, and give it to \
             each further shard of the region with `shard init --keyring FILE`",
            settings.region,
            settings.keys.display()
        )
    } else {
        format!("the keyring of region {} exists and is used by this shard too", settings.region)
    };
    terminal::say(format!(
        "{keyring}\nthe log {origin} begins\nits public key, for your auditors:\n{vkey}"
    ))
}

/// Prints the public keys of all periods' logs.
pub(crate) fn show_key(path: &Path, json: bool) -> Result<(), Failure> {
    let config = config::shard::read(path)?;
    let _closed = link::host::sandbox::close_memory();
    let keys = config.settings.log_keys(config.map.deployment()).map_err(error)?;
    if json {
        let keys = keys
            .iter()
            .map(|key| json!({ "period": key.period, "origin": key.origin, "vkey": key.vkey }));
        return terminal::say(json!({ "logs": keys.collect::<Vec<_>>() }));
    }
    let mut output = terminal::Output::new();
    for shard::LogKey { origin, vkey, .. } in keys {
        match vkey {
            Some(vkey) => output.line(format!("log {vkey}"))?,
            None => terminal::warn(format!(
                "{origin}: its key file is missing; its GENESIS entry names the key"
            )),
        }
    }
    output.flush()
}

/// Prints the public key that signs the region's transit keys.
pub(crate) fn show_transit_key(path: &Path, json: bool) -> Result<(), Failure> {
    let config = config::shard::read(path)?;
    let _closed = link::host::sandbox::close_memory();
    let vkey = config.settings.transit_identity(config.map.deployment()).map_err(error)?;
    if json { terminal::say(json!({ "vkey": vkey })) } else { terminal::say(vkey) }
}

/// Confirms the machine's clock.
pub(crate) fn confirm_clock(path: &Path) -> Result<(), Failure> {
    let config = config::shard::read(path)?;
    let time = shard::confirm_clock(&config.settings, &SystemClock).map_err(error)?;
    let day = atlas::Date::of(time);
    terminal::say(format!(
        "confirmed: it is {day} (UTC), {} ms since 1970; a running shard accepts it within a second",
        time.0
    ))
}

/// Ends the period of the log, and begins the next.
pub(crate) fn rotate_log(path: &Path) -> Result<(), Failure> {
    let config = config::shard::read(path)?;
    start_logs(true, Level::Warn)?;
    // The region's keys will be in it, as in a server's.
    let _closed = link::host::sandbox::close_memory();
    let outside = outside(config.store.backend());
    let done = shard::rotate_log(&config.settings, &config.map, &config.annex, &outside);
    if let Err(shard::Error::Engine(engine::Error::Locked { .. })) = done {
        return ask_to_rotate(&config.settings, config.map.deployment());
    }
    let shard::Rotated { sealed, size, origin, vkey } = done.map_err(error)?;
    terminal::say(format!(
        "the log {sealed} is closed: {size} entries\nthe log {origin} begins\nits public key, for \
         your auditors; keep the old one too:\n{vkey}"
    ))
}

/// Has the shard that runs end the period of its log.
fn ask_to_rotate(settings: &shard::Settings, deployment: &str) -> Result<(), Failure> {
    let asked =
        block_on(async { settings.ask_to_rotate(deployment, ROTATES_WITHIN).await.map_err(error) });
    let Some(shard::LogKey { origin, vkey, .. }) = asked? else {
        let text = "the running shard has been asked, and has not ended the period yet: its log says \
                    why. It will do so as soon as it can";
        return Err(Failure::said(Exit::Unavailable, text));
    };
    terminal::say(format!(
        "the running shard has closed its log\nthe log {origin} begins\nits public key, for your \
         auditors; keep the old one too:\n{}",
        vkey.unwrap_or_default()
    ))
}

/// Goes on with a store that lacks what was signed.
pub(crate) fn recover(path: &Path, erasures: &Erasures) -> Result<(), Failure> {
    let config = config::shard::read(path)?;
    start_logs(true, Level::Warn)?;
    // The region's keys will be in it, as in a server's.
    let _closed = link::host::sandbox::close_memory();
    let outside = outside(config.store.backend());
    let done = shard::recover(&config.settings, &config.map, &config.annex, &outside, erasures);
    let shard::Recovered { signed, found, again, origin, vkey } = done.map_err(error)?;
    let signed = match signed {
        Some((log, size)) => format!("the log {log} ends: {size} entries were signed"),
        None => "a log ends, and its last signed checkpoint is lost".to_owned(),
    };
    let found = match found {
        Some((log, size)) => format!("the store has {size} entries of {log}"),
        None => "the store has no entries of it".to_owned(),
    };
    terminal::say(format!(
        "{signed}\n{found}\n{}\nthe log {origin} begins, and its GENESIS names the old head\nits \
         public key, for your auditors; keep the old one too:\n{vkey}",
        erased_again(&again)
    ))
}

/// What a restore or a recovery has erased again.
pub(crate) fn erased_again(again: &shard::ErasedAgain) -> String {
    let shard::ErasedAgain { erased, arrivals, arrivals_left } = again;
    let mut text = format!(
        "{erased} people, or collections of people, were erased before, and are erased again\n{arrivals} \
         people were arriving from other regions: what had come is erased, and their old homes copy them \
         again"
    );
    if *arrivals_left > 0 {
        let left = format!(
            "\n{arrivals_left} more have rows that do not read back: what had come is left, unseen"
        );
        text.push_str(&left);
    }
    text
}

/// The failure of a process whose shard ended with this error.
pub(crate) fn error(error: shard::Error) -> Failure {
    use engine::Error as Store;
    let exit = match &error {
        shard::Error::Poisoned
        | shard::Error::Engine(Store::Poisoned | Store::Unknown { .. } | Store::HeadMoved { .. }) => {
            Exit::Again
        }
        shard::Error::Bug => Exit::Bug,
        // The shard runs, and says no.
        shard::Error::KeysRefused(_) => Exit::Failed,
        shard::Error::NotNamed { .. }
        | shard::Error::AnnexUnsigned
        | shard::Error::Folders { .. }
        | shard::Error::Reserve { .. }
        | shard::Error::MapStale { .. }
        | shard::Error::MapFork { .. }
        | shard::Error::MapRefused(_)
        | shard::Error::EndpointNotListed { .. }
        | shard::Error::Listener
        | shard::Error::Certificate { .. } => Exit::Config,
        shard::Error::Engine(
            Store::Damaged { .. } | Store::Foreign { .. } | Store::Cluster { .. },
        )
        | shard::Error::Keys { .. }
        | shard::Error::Token { .. }
        | shard::Error::Generation { .. }
        | shard::Error::CopyDiffers { .. }
        | shard::Error::Backup { .. }
        | shard::Error::OldGeneration { .. }
        | shard::Error::Erasures { .. }
        | shard::Error::NotErasedAgain(_)
        | shard::Error::NotEmpty { .. }
        | shard::Error::ClockUnconfirmed
        | shard::Error::NotInitialised { .. }
        | shard::Error::Exists { .. }
        | shard::Error::StoreFormat { .. }
        | shard::Error::ForeignStore { .. }
        | shard::Error::Territory { .. }
        | shard::Error::DataLost { .. }
        | shard::Error::CheckpointFile { .. }
        | shard::Error::Damaged(_) => Exit::Data,
        // A disk, a port, randomness, a store that another process holds: away now, and perhaps back
        // later.
        shard::Error::Io { .. }
        | shard::Error::NoEntropy
        | shard::Error::NoRoom { .. }
        | shard::Error::PeriodNotEnded(_)
        | shard::Error::Server(_)
        | shard::Error::Engine(_)
        | _ => Exit::Unavailable,
    };
    Failure::new(exit, error)
}
