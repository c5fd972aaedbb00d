//! A shard's configuration: region, folders, engine, map and annex.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use atlas::{Annex, RegionMap};
use link::tls::Files;
use terms::{RegionId, ShardId};

use super::log::{self, AuditorsConfig};
use super::metrics::{self, MetricsConfig};
use super::read::{At, File, Section};
use super::{
    BEAT, CACHE_MB, DISK_RESERVE_MB, MB, MB_MAX, beside, listeners, maps, named_file, noted,
    read_file, tls,
};
use crate::commands::Failure;

/// A shard's configuration, with everything that it names read.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) settings: shard::Settings,
    pub(crate) store: engine::Embedded,
    pub(crate) listen: SocketAddr,
    pub(crate) admin_listen: SocketAddr,
    /// None: its pages are shown to whoever reaches them.
    pub(crate) metrics: Option<MetricsConfig>,
    /// None: auditors are not served.
    pub(crate) auditors: Option<AuditorsConfig>,
    pub(crate) map: Arc<RegionMap>,
    pub(crate) annex: Annex,
    /// None: plaintext, on loopback.
    pub(crate) tls: Option<Files>,
    pub(crate) require_sandbox: bool,
    /// Every file that it names, so that nobody who looks at it forgets one. Its folders are in
    /// the settings.
    pub(crate) files: Vec<PathBuf>,
}

/// Notes every key that is none.
fn known_keys(root: &Section<'_>) {
    root.only(&[
        "region",
        "shard",
        "listen",
        "admin_listen",
        "audit_listen",
        "auditors",
        "log",
        "map",
        "map_packs",
        "map_note",
        "map_signers",
        "annex",
        "data",
        "anchor",
        "keys",
        "engine",
        "cache_mb",
        "disk_reserve_mb",
        "plaintext",
        "plaintext_metrics",
        "metrics",
        "tls",
        "require_sandbox",
    ]);
}

/// Reads a shard's configuration.
pub(crate) fn read(path: &Path) -> Result<Config, Failure> {
    read_file(path, |file, root| {
        known_keys(root);
        let require_sandbox = root.switch("require_sandbox");
        let region = root.parsed("region", "a region's name", |t| RegionId::parse(t).ok());
        let shard = root.parsed("shard", "a shard's name", |t| ShardId::parse(t).ok());
        let (listen, admin_listen) = listeners(root);
        let map = maps::named_map(root);
        let trust = maps::trust(root, map.as_ref(), maps::First::JudgedByStore);
        let annex = root.parsed("annex", "a path", |t| Some(file.beside(t)));
        let annex = annex.and_then(|annex| {
            let text = named_file(root, annex.at, &annex.it)?;
            noted(file, &annex.it, maps::annex(&annex.it, &text, map.as_ref()?))
        });
        if let (Some(map), Some(annex), Some(region), Some(shard)) = (&map, &annex, &region, &shard)
        {
            fits(file, (map, annex), region, shard);
        }
        let tls = tls::files(root);
        if let Some(at) = root.place("tls").filter(|_| root.switch("plaintext")) {
            let problem = "a shard accepts sessions either with TLS or in plaintext";
            file.wrong(at, "PLAINTEXT_BESIDE_TLS", problem, "leave out `plaintext` or [tls]");
        }
        if let (Some(_), Some(map), Some(region)) = (&tls, &map, &region) {
            tls::pinned(root, map, region);
        }
        let auditors = log::auditors(root, tls.as_ref());
        let metrics = metrics::metrics(root, tls.as_ref());
        let log = log::settings(root);
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
            anchor: anchor?.it,
            keys: keys?.it,
            disk_reserve_bytes: disk_reserve_mb * MB,
            beat: BEAT,
            signers: trust.signers,
            map_note: trust.note,
            log: log?,
        };
        let options = engine::Options { cache_bytes: cache_mb * MB };
        let store = engine::Embedded { kind: engine?.it, folder: data?.it, options };
        let (listen, admin_listen) = (listen?, admin_listen?);
        let (map, annex) = (Arc::new(map?), annex?);
        let files = file.named();
        Some(Config {
            settings,
            store,
            listen,
            admin_listen,
            metrics,
            auditors,
            map,
            annex,
            tls,
            require_sandbox,
            files,
        })
    })
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
