//! Whom the doctor looks at: a gateway or a shard, by its configuration.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use atlas::{Annex, Date, RegionMap};
use link::peer::PeerKind;
use link::tls::{CallerFiles, Files};
use terms::{RegionId, UnixMillis};
use toml::{Table, Value};

use super::Line;
use crate::cli::{Exit, Failure};
use crate::config;

/// Days before a map's end from which on somebody should see to a new one.
const MAP_DAYS_MIN: i64 = 30;

/// A server that is, or is to be.
pub(super) struct Patient {
    pub(super) config: PathBuf,
    /// Every file that the configuration names, and itself.
    pub(super) told_by: Vec<PathBuf>,
    pub(super) map: std::sync::Arc<RegionMap>,
    pub(super) annexes: Vec<Annex>,
    pub(super) admin: SocketAddr,
    pub(super) require_sandbox: bool,
    pub(super) server: Server,
    /// Where the certificates are, and the region that the server's own must name. None:
    /// plaintext.
    pub(super) tls: Option<(Files, RegionId)>,
    /// What a gateway shows to callers.
    pub(super) callers: Option<CallerFiles>,
}

/// Which of the two it is, and what that one is told.
pub(super) enum Server {
    Gateway(Box<gateway::Settings>),
    Shard(Box<shard::Settings>),
}

impl Patient {
    /// Reads a configuration as the server would: whatever keeps that one from starting is said.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        // Which of the two it is. What cannot be read here is named by the strict reading below.
        let table: Table =
            fs::read_to_string(path).ok().and_then(|text| text.parse().ok()).unwrap_or_default();
        let told_by = told_by(path, &table);
        Ok(if table.contains_key("shard") {
            let config = config::shard::read(path)?;
            let region = config.settings.region.clone();
            Self {
                config: path.to_owned(),
                told_by,
                map: config.map,
                annexes: vec![config.annex],
                admin: config.admin_listen,
                require_sandbox: config.require_sandbox,
                server: Server::Shard(Box::new(config.settings)),
                tls: config.tls.map(|files| (files, region)),
                callers: None,
            }
        } else if table.is_empty() || table.contains_key("annexes") || table.contains_key("name") {
            let config = config::gateway::read(path)?;
            Self {
                config: path.to_owned(),
                told_by,
                map: config.map,
                annexes: config.annexes,
                admin: config.admin_listen,
                require_sandbox: config.require_sandbox,
                server: Server::Gateway(Box::new(config.settings)),
                tls: config.tls,
                callers: config.listener,
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

    pub(super) const fn shard(&self) -> Option<&shard::Settings> {
        match &self.server {
            Server::Shard(settings) => Some(settings),
            Server::Gateway(_) => None,
        }
    }

    pub(super) const fn gateway(&self) -> Option<&gateway::Settings> {
        match &self.server {
            Server::Gateway(settings) => Some(settings),
            Server::Shard(_) => None,
        }
    }

    /// Its own name, as its certificate must have it.
    pub(super) fn name(&self) -> &str {
        match &self.server {
            Server::Gateway(settings) => &settings.name,
            Server::Shard(settings) => settings.shard.as_str(),
        }
    }

    pub(super) const fn kind(&self) -> PeerKind {
        match &self.server {
            Server::Gateway(_) => PeerKind::Gateway,
            Server::Shard(_) => PeerKind::Shard,
        }
    }

    /// For how long the map may still be used.
    pub(super) fn map_age(&self, now: UnixMillis) -> Line {
        let map = format!("{} {}", self.map.name(), self.map.epoch().number);
        let Some(end) = self.map.valid_until() else {
            return Line::ok("map", format!("{map} has no end"));
        };
        let (year, month, day) = end.civil();
        let end_text = format!("{map} is valid until {year:04}-{month:02}-{day:02}");
        let left = i64::from(end.day()) - i64::from(Date::of(now).day());
        let cure = "hand out a map with a later `valid_until`";
        if self.map.expired(Date::of(now)) {
            let what = format!("{end_text}, which is past: what rests on a clause is refused");
            return Line::bad("map", what, cure);
        }
        let what = format!("{end_text}, {left} days from now");
        if left < MAP_DAYS_MIN { Line::warn("map", what, cure) } else { Line::ok("map", what) }
    }
}

/// The configuration and every file that it names. The servers' own reading says what is wrong
/// with one; here only the paths are taken. Folders of a shard are looked at by themselves.
fn told_by(config: &Path, root: &Table) -> Vec<PathBuf> {
    const PROOFS: &[&str] = &["certificate", "key", "authorities", "revoked"];
    let below = |table: Option<&'_ Table>, key| table?.get(key)?.as_table().cloned();
    let (tls, callers) = (below(Some(root), "tls"), below(Some(root), "callers"));
    let tokens = below(callers.as_ref(), "tokens");
    let places: [(Option<&Table>, &[&str]); 4] = [
        (Some(root), &["map", "map_note", "map_packs", "annex", "annexes", "geoip"]),
        (tls.as_ref(), PROOFS),
        (callers.as_ref(), PROOFS),
        (tokens.as_ref(), &["jwks", "jwks_ca"]),
    ];
    let named = places.into_iter().flat_map(|(table, keys)| {
        keys.iter().filter_map(move |key| table?.get(*key)).flat_map(texts)
    });
    // An address is no file.
    let named = named.filter(|text| !text.contains("://"));
    let folder = config.parent().unwrap_or_else(|| Path::new(""));
    let mut all: Vec<PathBuf> = named.map(|text| folder.join(text)).collect();
    all.push(config.to_owned());
    all.sort();
    all.dedup();
    all
}

/// A text, or all texts of a list.
fn texts(value: &Value) -> Vec<&str> {
    match value.as_array() {
        Some(list) => list.iter().filter_map(Value::as_str).collect(),
        None => value.as_str().into_iter().collect(),
    }
}
