//! `bailiwick dev`: the regions of a map and a gateway in one process, to try Bailiwick. Every part is the real one, and they speak to each other over real sockets; only the
//! separate machines.

mod regions;
mod sample;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use atlas::RegionMap;
use clap::Args;
use client::{Client, Settings};
use evidence::Sources;
use gateway::{Caller, CallerLocation, Callers, Gateway, HttpApis, Scope, TenantLimits};
use ledger::entry::Role;
use link::host::clock::{SystemClock, SystemEntropy};
use link::net::listener::require_loopback;
use link::ops::health::Health;
use link::ops::logging::Level;
use link::ops::metrics::Registry;
use serde_json::json;
use terms::TenantId;
use terms::limits::GATEWAY_IN_FLIGHT_MAX;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::arguments::Packs;
use crate::error::{Exit, Failure};
use crate::terminal;
use crate::terminal::answers::call_failed;
use crate::{config, serve};
use regions::{Named, Regions};

/// The map that runs unless another is named.
const MAP: &str = include_str!("../../deploy/sample/map.toml");
/// Time in which every region must be within the gateway's reach.
const READY_MAX: Duration = Duration::from_secs(10);
/// Time between two looks at whether it is.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Time for one call that is made here.
const CALL_MAX: Duration = Duration::from_secs(10);
const ATTEMPTS_MAX: u32 = 5;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Folder for all data; created if missing
    #[arg(long, value_name = "DIR", default_value = "bailiwick-data")]
    data: PathBuf,
    /// Address of the gateway, on loopback; port 0 picks a free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7400")]
    listen: SocketAddr,
    /// The region map [default: the sample map]
    #[arg(long, value_name = "FILE", conflicts_with = "try_it")]
    map: Option<PathBuf>,
    #[command(flatten)]
    packs: Packs,
    /// Tenant of every caller [default: the map's only tenant]
    #[arg(long, value_name = "NAME", value_parser = |text: &str| TenantId::parse(text))]
    tenant: Option<TenantId>,
    /// Country database in MaxMind's format, for `ip` evidence; without it, an address gives no
    /// finding
    #[arg(long, value_name = "FILE")]
    geoip: Option<PathBuf>,
    /// Storage engine: sled or fjall. A store keeps the engine that created it
    #[arg(long, value_name = "NAME", default_value = "sled", value_parser = engine)]
    engine: engine::Kind,
    /// Store and read records of invented persons, show where they went, and exit
    #[arg(long = "try")]
    try_it: bool,
    /// Print JSON: one object when everything is ready, and with `--try` one for each person
    #[arg(long)]
    json: bool,
}

fn engine(text: &str) -> Result<engine::Kind, &'static str> {
    engine::Kind::parse(text).ok_or("is neither sled nor fjall")
}

/// Runs until a signal stops it; with `--try`, until it has shown what it does.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let started = Instant::now();
    if let Err(refused) = require_loopback(options.listen, true) {
        let text = format!("--listen {}: {refused}; use 127.0.0.1 or [::1]", options.listen);
        return Err(Failure::said(Exit::Config, text));
    }
    let map = Arc::new(match &options.map {
        Some(path) => options.packs.map(path)?,
        None => sample_map()?,
    });
    // Before anything is opened.
    config::tenant(&map, options.tenant.as_ref())?;
    serve::start_logs(false, Level::Error)?;
    serve::block_on(all(options, &map, started))
}

/// Opens everything, serves, and drains.
async fn all(options: &Options, map: &Arc<RegionMap>, started: Instant) -> Result<(), Failure> {
    let stop = serve::Stop::on_signals()?;
    // The address first: its error explains a second instance better than a lock does.
    let listener = serve::bind(options.listen).await?;
    let address = listener.local_addr().map_err(|e| Failure::new(Exit::Unavailable, e))?;
    let geoip = options.geoip.clone();
    // Numbering plans take a while to load: beside the stores.
    let sources = tokio::task::spawn_blocking(move || config::evidence_sources(geoip.as_deref()));
    let regions = Regions::open(map, &options.data, options.engine).await?;
    let sources = sources.await.map_err(|error| Failure::new(Exit::Unavailable, error))??;
    let tenant = config::tenant(map, options.tenant.as_ref())?;
    let gateway = gateway(map, tenant, &regions, sources)?;
    let (end, ending) = watch::channel(false);
    let told = told(stop.asked(), ending);
    let mut serving = tokio::spawn(async move { gateway.serve(listener, told).await });
    let (url, names) = (format!("http://{address}"), regions.names());
    let mut regions = regions.serve();
    let shown = tokio::select! {
        shown = show(options, &url, &names, started) => shown,
        // Stopped before it was ready.
        () = stop.asked() => Ok(()),
        failed = regions.failed() => Err(failed),
    };
    if options.try_it || shown.is_err() {
        end.send_replace(true);
    }
    // The gateway first, so that what it took is still answered; then the shards.
    let (served, failed) = tokio::select! {
        served = &mut serving => (served, Ok(())),
        failed = regions.failed() => {
            end.send_replace(true);
            (serving.await, Err(failed))
        }
    };
    let drained = regions.drain().await;
    shown.and(failed)?;
    let served = served.map_err(|error| Failure::new(Exit::Unavailable, error))?;
    served.map_err(|error| serve::gateway::error(Path::new("dev"), error))?;
    drained?;
    if options.json {
        return Ok(());
    }
    terminal::say("drained; the same command continues with the same data")
}

/// Done when a signal has come, or everything was shown.
async fn told(asked: impl Future<Output = ()>, mut ending: watch::Receiver<bool>) {
    tokio::select! {
        () = asked => {}
        // The sender is gone only when no task waits any more.
        _ = ending.wait_for(|end| *end) => {}
    }
}

/// Waits until everything is within reach, and says so.
async fn show(
    options: &Options,
    url: &str,
    regions: &[Named],
    started: Instant,
) -> Result<(), Failure> {
    let client = ready(url, regions).await?;
    let ms = started.elapsed().as_millis();
    if options.json {
        let all = regions.iter().map(|one| {
            json!({
                "region": one.region, "shard": one.address.to_string(), "log_key": one.log_key,
                "transit_identity": one.transit_identity,
            })
        });
        terminal::say(json!({
            "gateway": url, "data": options.data.display().to_string(),
            "regions": all.collect::<Vec<_>>(), "ready_ms": u64::try_from(ms).ok(),
        }))?;
    } else if options.try_it {
        terminal::say(format!("{} regions and a gateway, ready in {ms} ms", regions.len()))?;
    } else {
        terminal::say(welcome(options, url, regions, ms))?;
    }
    if options.try_it { sample::show(&client, options.json).await } else { Ok(()) }
}

fn sample_map() -> Result<RegionMap, Failure> {
    RegionMap::parse(MAP).map_err(|wrong| {
        let lines: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        Failure::said(Exit::Config, lines.join("\n"))
    })
}

fn gateway(
    map: &Arc<RegionMap>,
    tenant: TenantId,
    regions: &Regions,
    sources: Sources,
) -> Result<Gateway, Failure> {
    let settings = gateway::Settings {
        name: "dev".to_owned(),
        callers: Callers::Fixed(Caller {
            tenant,
            name: "dev".to_owned(),
            roles: vec![Role::Writer, Role::Reader, Role::Eraser, Role::Operator],
            // Everything is on this machine, and so are all callers.
            location: CallerLocation::WithGateway,
            collections: Scope::All,
            regions: Scope::All,
        }),
        limits: TenantLimits::default(),
        signers: None,
        tls: None,
        listener: None,
        // A page cannot call: no origin is named.
        apis: HttpApis { json: true, ..HttpApis::default() },
        in_flight_max: GATEWAY_IN_FLIGHT_MAX,
    };
    let gateway = Gateway::new(
        settings,
        Arc::clone(map),
        regions.annexes(),
        sources,
        Arc::new(SystemClock),
        Arc::new(SystemEntropy),
        &mut Registry::new(),
        Health::new(),
    );
    gateway.map_err(|error| serve::gateway::error(Path::new("dev"), error))
}

/// A client, once the gateway has reached every region.
async fn ready(url: &str, regions: &[Named]) -> Result<Client, Failure> {
    let away = |error: client::Error| Failure::said(Exit::Unavailable, call_failed(url, &error));
    let settings = Settings { deadline: CALL_MAX, attempts_max: ATTEMPTS_MAX, ..Settings::DEFAULT };
    let client = Client::connect(url, settings).await.map_err(away)?;
    let all = async {
        for one in regions {
            let service = format!("region/{}", one.region);
            while !client.serving(&service).await.map_err(away)? {
                sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    };
    let waited = timeout(READY_MAX, all).await;
    let late = || Failure::said(Exit::Unavailable, "the gateway does not reach every region");
    waited.unwrap_or_else(|_| Err(late())).map(|()| client)
}

/// What is said once everything runs.
fn welcome(options: &Options, url: &str, regions: &[Named], ms: u128) -> String {
    let mut table = terminal::table(&["region", "shard listens at"]);
    for one in regions {
        table.add_row([one.region.clone(), one.address.to_string()]);
    }
    let (program, data) = (program(), options.data.display());
    format!(
        "{table}\n\
         gateway {url}\n\
         data    {data}\n\
         ready in {ms} ms\n\
         \n\
         Protections are off: no TLS, no sandbox, every region on this machine. For trials only.\n\
         \n\
         In another terminal:\n  \
         {program} record put --gateway {url} --subject u-1 --collection profiles --key main \\\n    \
         --body 'hello' --evidence residence=DE --create-subject\n  \
         {program} record get --gateway {url} --subject u-1 --domicile eu-fra \\\n    \
         --collection profiles --key main\n  \
         curl --header 'content-type: application/json' --data \
         '{{\"collection\":\"profiles\",\"evidence\":[{{\"kind\":\"RESIDENCE\",\
         \"value\":\"RU\"}}]}}' \\\n    {url}/bailiwick.v1.Subjects/ResolvePlacement\n  \
         {program} audit mirror --gateway {url} audits && {program} audit verify audits\n\
         \n\
         Ctrl-C drains and exits; the same command continues with the same data."
    )
}

/// This program as a shell finds it from any folder: by the name under which it was found on the
/// path, or by its place.
fn program() -> String {
    let typed = std::env::args().next().unwrap_or_default();
    let own = std::env::current_exe().unwrap_or_default();
    if typed.contains('/') && !own.as_os_str().is_empty() {
        quoted(&own.display().to_string()).into_owned()
    } else {
        typed
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
    if word.chars().all(plain) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', "'\\''")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_for_a_shell() {
        assert_eq!(quoted("/usr/bin/bailiwick"), "/usr/bin/bailiwick");
        assert_eq!(quoted("/a b/it's"), "'/a b/it'\\''s'");
    }
}
