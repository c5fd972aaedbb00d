//! The target of the checks: a gateway or a shard, by its configuration.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use atlas::{Annex, Date, RegionMap};
use link::spiffe_id::PeerKind;
use link::tls::{CallerFiles, Files};
use terms::{RegionId, UnixMillis};
use toml::Table;

use crate::config;
use crate::config::maps::{AnnexFiles, note_of_annex};
use crate::config::store::Store;
use crate::doctor::line::Line;
use crate::error::{Exit, Failure};

/// Days before a map's end from which on a new one should be prepared.
const MAP_DAYS_MIN: i64 = 30;

/// A server that is, or is to be.
pub(super) struct Target {
    pub(super) config: PathBuf,
    /// Every file that the configuration names, and itself.
    pub(super) files: Vec<PathBuf>,
    pub(super) map: std::sync::Arc<RegionMap>,
    pub(super) annexes: Vec<Annex>,
    /// What reads evidence, for a gateway.
    pub(super) evidence: Option<String>,
    pub(super) admin: SocketAddr,
    pub(super) require_sandbox: bool,
    pub(super) server: Settings,
    /// Where the certificates are, and the region that the server's own must name. None:
    /// plaintext.
    pub(super) tls: Option<(Files, RegionId)>,
    /// What a gateway shows to callers, and a shard to auditors.
    pub(super) callers: Option<CallerFiles>,
    /// What it shows to those who read its pages for operators.
    pub(super) pages: Option<CallerFiles>,
}

/// Which of the two it is, with its settings.
pub(super) enum Settings {
    Gateway(Box<gateway::Settings>),
    Shard(Box<ShardTarget>),
}

/// What a shard is told.
pub(super) struct ShardTarget {
    pub(super) settings: shard::Settings,
    pub(super) store: Store,
    /// The file of the credentials of the bucket of its backups.
    pub(super) bucket_secret: Option<PathBuf>,
}

impl Target {
    /// Reads a configuration as the server would: whatever keeps that one from starting is said.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        // Which of the two it is. What cannot be read here is named by the strict reading below.
        let table: Table =
            fs::read_to_string(path).ok().and_then(|text| text.parse().ok()).unwrap_or_default();
        Ok(if table.contains_key("shard") {
            let config = config::shard::read(path)?;
            let region = config.settings.region.clone();
            Self {
                config: path.to_owned(),
                files: files(path, &config.files),
                map: config.map,
                annexes: vec![config.annex],
                evidence: None,
                admin: config.admin_listen,
                require_sandbox: config.require_sandbox,
                server: Settings::Shard(Box::new(ShardTarget {
                    bucket_secret: config.backup_bucket.map(|bucket| bucket.credentials),
                    settings: config.settings,
                    store: config.store,
                })),
                tls: config.tls.map(|files| (files, region)),
                callers: config.auditors.and_then(|auditors| Some(auditors.certificates?.0)),
                pages: config.metrics.and_then(|metrics| metrics.files),
            }
        } else if table.is_empty() || table.contains_key("annexes") || table.contains_key("name") {
            let config = config::gateway::read(path)?;
            Self {
                config: path.to_owned(),
                files: files(path, &config.files),
                map: config.map,
                annexes: config.annexes,
                evidence: Some(evidence(&config.sources)),
                admin: config.admin_listen,
                require_sandbox: config.require_sandbox,
                server: Settings::Gateway(Box::new(config.settings)),
                tls: config.tls,
                callers: config.listener,
                pages: config.metrics.and_then(|metrics| metrics.files),
            }
        } else {
            let text = format!(
                "{}: neither `shard` nor `annexes` is there; name the configuration of a gateway \
                 or a shard",
                path.display()
            );
            return Err(Failure::said(Exit::Config, text));
        })
    }

    /// The folders that are a shard's own; none of a gateway.
    pub(super) fn folders(&self) -> Vec<&Path> {
        let Settings::Shard(shard) = &self.server else { return Vec::new() };
        let own = [&*shard.settings.anchor, &*shard.settings.keys];
        shard.store.folder().into_iter().chain(own).collect()
    }

    /// Where a shard's store lies.
    pub(super) const fn store(&self) -> Option<&Store> {
        match &self.server {
            Settings::Shard(shard) => Some(&shard.store),
            Settings::Gateway(_) => None,
        }
    }

    pub(super) const fn shard(&self) -> Option<&shard::Settings> {
        match &self.server {
            Settings::Shard(shard) => Some(&shard.settings),
            Settings::Gateway(_) => None,
        }
    }

    pub(super) const fn gateway(&self) -> Option<&gateway::Settings> {
        match &self.server {
            Settings::Gateway(settings) => Some(settings),
            Settings::Shard(_) => None,
        }
    }

    /// Its own name, as its certificate must have it.
    pub(super) fn name(&self) -> &str {
        match &self.server {
            Settings::Gateway(settings) => &settings.name,
            Settings::Shard(shard) => shard.settings.shard.as_str(),
        }
    }

    pub(super) const fn kind(&self) -> PeerKind {
        match &self.server {
            Settings::Gateway(_) => PeerKind::Gateway,
            Settings::Shard(_) => PeerKind::Shard,
        }
    }

    /// For how long the map in force may still be used.
    pub(super) fn map_age(&self, held: &RegionMap, now: UnixMillis) -> Line {
        let mut map = format!("{} {}", held.name(), held.epoch().number);
        if held.epoch() != self.map.epoch() {
            let file = self.map.epoch().number;
            map.push_str(&format!(" (in force; the file has version {file})"));
        }
        let Some(end) = held.valid_until() else {
            return Line::ok("map", format!("{map} has no end"));
        };
        let (year, month, day) = end.civil();
        let end_text = format!("{map} is valid until {year:04}-{month:02}-{day:02}");
        let left = i64::from(end.day()) - i64::from(Date::of(now).day());
        let cure = "apply a map with a later `valid_until`";
        if held.expired(Date::of(now)) {
            let what =
                format!("{end_text}, which has passed: placements that need a clause are refused");
            return Line::bad("map", what, cure);
        }
        let what = format!("{end_text}, {left} days from now");
        if left < MAP_DAYS_MIN { Line::warn("map", what, cure) } else { Line::ok("map", what) }
    }
}

/// By which data evidence is read.
fn evidence(sources: &evidence::Sources) -> String {
    let versions = sources.versions().list();
    let all: Vec<String> = versions.iter().map(|(name, it)| format!("{name} {it}")).collect();
    all.join(", ")
}

/// The configuration and every file that it names, with what lies in folders of annexes and beside
/// annexes. Folders of a shard are looked at by themselves.
fn files(config: &Path, named: &[PathBuf]) -> Vec<PathBuf> {
    let mut all = vec![config.to_owned()];
    for path in named {
        all.push(path.clone());
        // What a folder holds is read as annexes; and only an annex has a note beside it.
        let within = AnnexFiles(vec![path.clone()]).files();
        let notes = within.iter().map(|path| note_of_annex(path));
        all.extend(notes.filter(|note| note.exists()).chain(within.iter().cloned()));
    }
    all.sort();
    all.dedup();
    all
}
