//! Everything that a process is told from outside: configurations, maps, annexes and the
//! environment. All of it is read and checked before a port is bound.

mod read;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use atlas::{Annex, RegionMap, Territory};
use evidence::Sources;
use ledger::entry::Role;
use link::telemetry::Level;
use terms::limits::GATEWAY_IN_FLIGHT_MAX;
use terms::{RegionId, ShardId, TenantId};

use crate::cli::{Exit, Failure};
use read::{At, File, Mistake, Section};

/// Time between a shard's checkpoints, when something is new.
pub(crate) const BEAT: Duration = Duration::from_millis(250);
/// Megabytes of memory for an engine's cache, unless the configuration says otherwise.
pub(crate) const CACHE_MB: u64 = 128;
/// Megabytes that stay free on a shard's disk, unless the configuration says otherwise.
pub(crate) const DISK_RESERVE_MB: u64 = 256;
/// The most megabytes that a configuration may name: a pebibyte is a slip of the pen.
const MB_MAX: u64 = 1 << 30;
const MB: u64 = 1 << 20;
/// The variable that says how much is logged.
const LOG: &str = "BAILIWICK_LOG";

/// A gateway's configuration, with everything that it names read.
#[derive(Debug)]
pub(crate) struct GatewayConfig {
    pub(crate) settings: gateway::Settings,
    pub(crate) listen: SocketAddr,
    pub(crate) admin_listen: SocketAddr,
    pub(crate) map: Arc<RegionMap>,
    pub(crate) annexes: Vec<Annex>,
    pub(crate) sources: Sources,
}

/// A shard's configuration, with everything that it names read.
#[derive(Debug)]
pub(crate) struct ShardConfig {
    pub(crate) settings: shard::Settings,
    pub(crate) listen: SocketAddr,
    pub(crate) admin_listen: SocketAddr,
    pub(crate) map: Arc<RegionMap>,
    pub(crate) annex: Annex,
}

/// Reads a gateway's configuration.
pub(crate) fn gateway(path: &Path) -> Result<GatewayConfig, Failure> {
    read_file(path, |_, root| {
        root.only(&[
            "name",
            "listen",
            "admin_listen",
            "map",
            "annexes",
            "geoip",
            "plaintext",
            "in_flight_max",
            "caller",
        ]);
        let name = root.parsed("name", "a name", |name| Some(name.to_owned()));
        let (listen, admin_listen) = listeners(root);
        let map = named_map(root, path);
        let annexes = annexes(root, path, map.as_ref());
        let sources = sources(root, path);
        let most = u64::try_from(GATEWAY_IN_FLIGHT_MAX).unwrap_or(u64::MAX);
        let in_flight_max = root.number("in_flight_max", (1, most), most);
        let caller = root.section("caller", "[caller]").and_then(|own| caller(&own, map.as_ref()));
        Some(GatewayConfig {
            settings: gateway::Settings {
                name: name?.it,
                caller: caller?,
                in_flight_max: usize::try_from(in_flight_max).unwrap_or(GATEWAY_IN_FLIGHT_MAX),
            },
            listen: listen?,
            admin_listen: admin_listen?,
            map: Arc::new(map?),
            annexes,
            sources: sources?,
        })
    })
}

/// Reads a shard's configuration.
pub(crate) fn shard(path: &Path) -> Result<ShardConfig, Failure> {
    read_file(path, |file, root| {
        root.only(&[
            "region",
            "shard",
            "listen",
            "admin_listen",
            "map",
            "annex",
            "data",
            "anchor",
            "keys",
            "engine",
            "cache_mb",
            "disk_reserve_mb",
            "plaintext",
        ]);
        let region = root.parsed("region", "a region's name", |t| RegionId::parse(t).ok());
        let shard = root.parsed("shard", "a shard's name", |t| ShardId::parse(t).ok());
        let (listen, admin_listen) = listeners(root);
        let map = named_map(root, path);
        let annex = root.parsed("annex", "a path", |t| Some(beside(path, t)));
        let annex = annex.and_then(|annex| {
            let text = named_file(root, annex.at, &annex.it)?;
            noted(file, &annex.it, Annex::parse(&text, map.as_ref()?))
        });
        if let (Some(map), Some(annex), Some(region), Some(shard)) = (&map, &annex, &region, &shard)
        {
            fits(file, (map, annex), region, shard);
        }
        let folder = |key| root.parsed(key, "a path", |t| Some(beside(path, t)));
        let (data, anchor, keys) = (folder("data"), folder("anchor"), folder("keys"));
        let kinds: Vec<&str> = engine::Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        let wanted = format!("one of {}", kinds.join(", "));
        let engine = root.parsed("engine", &wanted, engine::Kind::parse);
        let cache_mb = root.number("cache_mb", (1, MB_MAX), CACHE_MB);
        let disk_reserve_mb = root.number("disk_reserve_mb", (0, MB_MAX), DISK_RESERVE_MB);
        let settings = shard::Settings {
            region: region?.it,
            shard: shard?.it,
            data: data?.it,
            anchor: anchor?.it,
            keys: keys?.it,
            engine: engine?.it,
            cache_bytes: cache_mb * MB,
            disk_reserve_bytes: disk_reserve_mb * MB,
            beat: BEAT,
        };
        let (listen, admin_listen) = (listen?, admin_listen?);
        Some(ShardConfig { settings, listen, admin_listen, map: Arc::new(map?), annex: annex? })
    })
}

/// Reads a region map.
pub(crate) fn map(path: &Path) -> Result<RegionMap, Failure> {
    let text = whole_file(path)?;
    RegionMap::parse(&text).map_err(|diagnostics| {
        mistakes(diagnostics.into_iter().map(|diagnostic| (path.to_path_buf(), diagnostic)))
    })
}

/// What reads evidence, with the IP database of that file if one is named.
pub(crate) fn evidence_sources(geoip: Option<&Path>) -> Result<Sources, Failure> {
    let database = geoip.map(|path| fs::read(path).map_err(|error| unread(path, &error)));
    Sources::new(database.transpose()?).map_err(|damaged| {
        let path = geoip.map(|path| path.display().to_string()).unwrap_or_default();
        Failure::said(Exit::Config, format!("{path}: {damaged}; give a database of that format"))
    })
}

/// How much is to be logged: `BAILIWICK_LOG`, or `otherwise`.
pub(crate) fn log_level(otherwise: Level) -> Result<Level, Failure> {
    #[expect(clippy::disallowed_methods, reason = "this is the file that reads the environment")]
    let Ok(text) = std::env::var(LOG) else { return Ok(otherwise) };
    Level::parse(&text).ok_or_else(|| {
        let known: Vec<&str> = Level::ALL.iter().map(|level| level.as_str()).collect();
        Failure::said(Exit::Config, format!("{LOG} is none of {}: set one", known.join(", ")))
    })
}

// === reading ===

/// Reads a file strictly: what `read` makes of it, or everything that is wrong with it.
fn read_file<T>(
    path: &Path,
    read: impl FnOnce(&File<'_>, &Section<'_>) -> Option<T>,
) -> Result<T, Failure> {
    let text = whole_file(path)?;
    let file = File::new(path, &text);
    let config = file
        .document()
        .and_then(|document| read(&file, &Section::root(&file, &document, "the configuration")));
    match (config, file.into_wrong()) {
        (Some(config), wrong) if wrong.is_empty() => Ok(config),
        (_, wrong) => Err(mistakes(wrong.into_iter())),
    }
}

fn mistakes(all: impl Iterator<Item = Mistake>) -> Failure {
    let lines: Vec<String> = all.map(|(path, what)| format!("{}:{what}", path.display())).collect();
    Failure::said(Exit::Config, lines.join("\n"))
}

fn whole_file(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| unread(path, &error))
}

fn unread(path: &Path, error: &io::Error) -> Failure {
    let text = format!("{}: cannot be read ({error}); name a file that can be", path.display());
    Failure::said(Exit::Config, text)
}

/// A path as the file at `config` means it.
fn beside(config: &Path, path: &str) -> PathBuf {
    config.parent().map_or_else(|| PathBuf::from(path), |folder| folder.join(path))
}

/// The text of a file that stands in the configuration at `at`.
fn named_file(section: &Section<'_>, at: usize, path: &Path) -> Option<String> {
    let read = fs::read_to_string(path);
    read.map_err(|error| unreadable(section, at, path, &error)).ok()
}

fn unreadable(section: &Section<'_>, at: usize, path: &Path, error: &io::Error) {
    let problem = format!("{} cannot be read ({error})", path.display());
    let cure = "name a file that can be; a relative path is relative to this file";
    section.file.wrong(at, "FILE_UNREADABLE", problem, cure);
}

/// What was read from another file; what is wrong with it is noted.
fn noted<T>(file: &File<'_>, path: &Path, read: Result<T, Vec<atlas::Diagnostic>>) -> Option<T> {
    read.map_err(|diagnostics| file.wrong_in(path, diagnostics)).ok()
}

fn named_map(root: &Section<'_>, path: &Path) -> Option<RegionMap> {
    let map = root.parsed("map", "a path", |text| Some(beside(path, text)))?;
    let text = named_file(root, map.at, &map.it)?;
    noted(root.file, &map.it, RegionMap::parse(&text))
}

/// The annexes: one for each region of the map.
fn annexes(root: &Section<'_>, path: &Path, map: Option<&RegionMap>) -> Vec<Annex> {
    let named = root.texts("annexes");
    let mut annexes: Vec<Annex> = Vec::new();
    let mut whole = true;
    for annex in &named {
        let annex_path = beside(path, annex.it);
        let text = named_file(root, annex.at, &annex_path);
        let read = text.zip(map).map(|(text, map)| Annex::parse(&text, map));
        let Some(read) = read.and_then(|read| noted(root.file, &annex_path, read)) else {
            whole = false;
            continue;
        };
        if annexes.iter().any(|other| other.region() == read.region()) {
            let problem = format!("there is an annex of region `{}` already", read.region());
            root.file.wrong(annex.at, "ANNEX_TWICE", problem, "remove one of them");
        }
        annexes.push(read);
    }
    // What a file that could not be read would have said is not known.
    let (Some(map), Some(first), true) = (map, named.first(), whole) else { return annexes };
    for region in map.regions() {
        if !annexes.iter().any(|annex| annex.region() == region.name()) {
            let problem = format!("there is no annex for region `{}`", region.name());
            let cure = "add that region's annex to the list";
            root.file.wrong(first.at, "ANNEX_MISSING", problem, cure);
        }
    }
    annexes
}

/// The two addresses to listen on. Both are checked by the rule for plaintext.
fn listeners(root: &Section<'_>) -> (Option<SocketAddr>, Option<SocketAddr>) {
    let address = |key| {
        let wanted = "an address and port such as 127.0.0.1:7400";
        root.parsed(key, wanted, |text| text.parse::<SocketAddr>().ok())
    };
    let (listen, admin_listen) = (address("listen"), address("admin_listen"));
    let Some(plaintext) = root.flag("plaintext") else { return (None, None) };
    for (key, found) in [("listen", listen), ("admin_listen", admin_listen)] {
        let Some(At { it, at }) = found else { continue };
        if let Err(refused) = link::listener::require_loopback(it, plaintext.it) {
            let at = if plaintext.it { at } else { plaintext.at };
            let cure = "TLS is not built: set `plaintext = true` and listen on 127.0.0.1 or [::1]";
            root.file.wrong(at, "PLAINTEXT_REFUSED", format!("`{key}`: {refused}"), cure);
        }
    }
    (listen.map(|found| found.it), admin_listen.map(|found| found.it))
}

/// Who callers on the plaintext listener are.
fn caller(section: &Section<'_>, map: Option<&RegionMap>) -> Option<gateway::Caller> {
    section.only(&["tenant", "name", "role", "territory"]);
    let tenant = section.parsed("tenant", "a tenant's name", |t| TenantId::parse(t).ok());
    if let (Some(tenant), Some(map)) = (&tenant, map)
        && map.tenant(&tenant.it).is_none()
    {
        let all: Vec<&str> = map.tenants().map(|tenant| tenant.name().as_str()).collect();
        let problem = format!("the map has no tenant `{}`", tenant.it);
        let cure = format!("use one of: {}", all.join(", "));
        section.file.wrong(tenant.at, "TENANT_UNKNOWN", problem, cure);
    }
    let name = section.parsed("name", "a name", |text| Some(text.to_owned()));
    // A shard speaks for itself alone: no caller has its role.
    let roles = || Role::ALL.iter().copied().filter(|role| *role != Role::Shard);
    let wanted: Vec<&str> = roles().map(Role::as_str).collect();
    let wanted = format!("one of {}", wanted.join(", "));
    let role = section.parsed("role", &wanted, |t| roles().find(|role| role.as_str() == t));
    let territory =
        section.parsed("territory", "a country's or group's code such as DE", Territory::parse);
    Some(gateway::Caller {
        tenant: tenant?.it,
        name: name?.it,
        role: role?.it.as_str().to_owned(),
        territory: territory?.it,
    })
}

/// What reads evidence; the IP database may be left out.
fn sources(root: &Section<'_>, path: &Path) -> Option<Sources> {
    let database = match root.text("geoip") {
        None => None,
        Some(named) => {
            let database = beside(path, named.it);
            let read = fs::read(&database);
            Some((
                read.map_err(|error| unreadable(root, named.at, &database, &error)).ok()?,
                named.at,
            ))
        }
    };
    let (bytes, at) = database.unzip();
    let sources = Sources::new(bytes);
    sources
        .map_err(|damaged| {
            let cure = "name a database in MaxMind's format, or leave `geoip` out";
            root.file.wrong(at.unwrap_or(0), "GEOIP_DAMAGED", damaged.to_string(), cure);
        })
        .ok()
}

/// Whether map and annex name this shard.
fn fits(
    file: &File<'_>,
    (map, annex): (&RegionMap, &Annex),
    region: &At<RegionId>,
    shard: &At<ShardId>,
) {
    if map.region(&region.it).is_none() {
        let all: Vec<&str> = map.regions().iter().map(|region| region.name().as_str()).collect();
        let problem = format!("the map has no region `{}`", region.it);
        file.wrong(region.at, "REGION_UNKNOWN", problem, format!("use one of: {}", all.join(", ")));
    } else if *annex.region() != region.it {
        let problem = format!("the annex is that of `{}`, not of `{}`", annex.region(), region.it);
        file.wrong(region.at, "ANNEX_FOREIGN", problem, "name this region's own annex");
    } else if annex.shard(&shard.it).is_none() {
        let all: Vec<&str> = annex.shards().iter().map(|shard| shard.name().as_str()).collect();
        let problem = format!("the annex has no shard `{}`", shard.it);
        file.wrong(shard.at, "SHARD_UNKNOWN", problem, format!("use one of: {}", all.join(", ")));
    }
}
