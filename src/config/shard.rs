//! A shard's configuration: whose data it keeps, where, and by which map.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use atlas::toml::At;
use atlas::{Annex, RegionMap};
use link::tls::Files;
use terms::{RegionId, ShardId};

use super::bucket::{self, BucketConfig};
use super::keyring;
use super::log::{self, AuditorsConfig};
use super::maps::AnnexFiles;
use super::metrics::{self, MetricsConfig};
use super::reading::{Section, read_file};
use super::store::Store;
use super::{BEAT, DISK_RESERVE_MB, MB, listeners, maps, schema, store, tls};
use crate::error::Failure;

/// A shard's configuration, with everything that it names read.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) settings: shard::Settings,
    /// Folders that the module of a token writes in.
    pub(crate) token_writes: Vec<PathBuf>,
    pub(crate) store: Store,
    pub(crate) listen: SocketAddr,
    pub(crate) admin_listen: SocketAddr,
    /// Worker threads. None: by the processors.
    pub(crate) threads: Option<usize>,
    /// None: its pages are shown to every client that reaches them.
    pub(crate) metrics: Option<MetricsConfig>,
    /// None: no listener for auditors.
    pub(crate) auditors: Option<AuditorsConfig>,
    pub(crate) map: Arc<RegionMap>,
    pub(crate) annex: Annex,
    /// Where its backups may go besides folders. None: nowhere.
    pub(crate) backup_bucket: Option<BucketConfig>,
    /// Where the annexes of other regions are. Empty: no subject moves to another region.
    pub(crate) peer_annexes: AnnexFiles,
    /// None: plaintext, on loopback.
    pub(crate) tls: Option<Files>,
    pub(crate) require_sandbox: bool,
    /// Every file that it names, for `doctor`. Its folders are in the settings.
    pub(crate) files: Vec<PathBuf>,
}

/// Reads a shard's configuration.
pub(crate) fn read(path: &Path) -> Result<Config, Failure> {
    read_file(path, &schema::SHARD, |root| {
        let require_sandbox = root.switch("require_sandbox");
        let region = root.parse("region", |text| RegionId::parse(text).ok());
        let shard = root.parse("shard", |text| ShardId::parse(text).ok());
        let (listen, admin_listen) = listeners(root);
        let threads = root.threads();
        let map = maps::named_map(root);
        let trust = maps::trust(root, map.as_ref(), maps::First::JudgedByStore);
        let annex = root.path("annex").and_then(|annex| {
            let text = root.read(&annex)?;
            let read = maps::annex(&annex.it, &text, map.as_ref()?);
            root.reading.noted(&annex.it, &text, read)
        });
        if let (Some(map), Some(annex), Some(region), Some(shard)) = (&map, &annex, &region, &shard)
        {
            fits(root, map, annex, region, shard);
        }
        let peer_annexes = root.paths("peer_annexes").into_iter().map(|file| file.it).collect();
        let tls = tls::files(root);
        if let Some(at) = root.place("tls").filter(|_| root.switch("plaintext")) {
            let problem = "a shard takes its sessions with TLS or without";
            root.wrong(at, "PLAINTEXT_BESIDE_TLS", problem, "leave out `plaintext` or [tls]");
        }
        if let (Some(_), Some(map), Some(region)) = (&tls, &map, &region) {
            tls::pinned(root, map, region);
        }
        let auditors = log::auditors(root, tls.as_ref());
        let metrics = metrics::metrics(root, tls.as_ref());
        let log = log::settings(root);
        let folder = |key| root.text(key).map(|text| root.reading.relative(text.it));
        let (anchor, keys) = (folder("anchor"), folder("keys"));
        let named = region.as_ref().zip(shard.as_ref());
        let store = named
            .and_then(|(region, shard)| store::store(root, region.it.as_str(), shard.it.as_str()));
        let keyring = root.section("keyring");
        let token = keyring.as_ref().map_or(Some(None), |own| keyring::token(own).map(Some));
        let backup_bucket = bucket::bucket(root);
        let disk_reserve_mb = root.number_or("disk_reserve_mb", DISK_RESERVE_MB);
        let settings = shard::Settings {
            region: region?.it,
            shard: shard?.it,
            anchor: anchor?,
            keys: keys?,
            token: token?,
            disk_reserve_bytes: disk_reserve_mb * MB,
            beat: BEAT,
            signers: trust.signers,
            map_note: trust.note,
            log: log?,
        };
        let (listen, admin_listen, map, annex) = (listen?, admin_listen?, Arc::new(map?), annex?);
        let token_writes = keyring.iter().flat_map(keyring::writes).collect();
        Some(Config {
            settings,
            token_writes,
            store: store?,
            listen,
            admin_listen,
            threads,
            metrics,
            auditors,
            map,
            annex,
            backup_bucket: backup_bucket?,
            peer_annexes: AnnexFiles(peer_annexes),
            tls,
            require_sandbox,
            files: root.reading.named(),
        })
    })
}

/// Whether map and annex name this shard.
fn fits(
    root: &Section<'_>,
    map: &RegionMap,
    annex: &Annex,
    region: &At<RegionId>,
    shard: &At<ShardId>,
) {
    if map.region(&region.it).is_none() {
        let all: Vec<&str> = map.regions().iter().map(|region| region.name().as_str()).collect();
        let problem = format!("the map has no region `{}`", region.it);
        root.wrong(region.at, "REGION_UNKNOWN", problem, format!("use one of: {}", all.join(", ")));
    } else if *annex.region() != region.it {
        let problem = format!("the annex is that of `{}`, not of `{}`", annex.region(), region.it);
        root.wrong(region.at, "ANNEX_FOREIGN", problem, "name this region's own annex");
    } else if annex.shard(&shard.it).is_none() {
        let all: Vec<&str> = annex.shards().iter().map(|shard| shard.name().as_str()).collect();
        let problem = format!("the annex has no shard `{}`", shard.it);
        root.wrong(shard.at, "SHARD_UNKNOWN", problem, format!("use one of: {}", all.join(", ")));
    }
}
