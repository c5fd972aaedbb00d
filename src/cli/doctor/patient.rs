//! Whom the doctor looks at: a gateway or a shard, by its configuration.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use atlas::{Annex, Date, RegionMap};
use link::peer::PeerKind;
use link::tls::{CallerFiles, Files};
use terms::UnixMillis;
use toml::Table;

use super::Line;
use crate::cli::{Exit, Failure};
use crate::config;

/// Days before a map's end from which on somebody should see to a new one.
const MAP_DAYS_MIN: i64 = 30;

/// A server that is, or is to be.
pub(super) struct Patient {
    pub(super) config: PathBuf,
    pub(super) map: std::sync::Arc<RegionMap>,
    pub(super) annexes: Vec<Annex>,
    pub(super) admin: SocketAddr,
    pub(super) require_sandbox: bool,
    /// None: a gateway.
    pub(super) shard: Option<shard::Settings>,
    pub(super) tls: Option<Files>,
    pub(super) callers: Option<CallerFiles>,
}

impl Patient {
    /// Reads a configuration as the server would: whatever keeps that one from starting is said.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        // Which of the two it is. What cannot be read here is named by the strict reading below.
        let table: Table =
            fs::read_to_string(path).ok().and_then(|text| text.parse().ok()).unwrap_or_default();
        Ok(if table.contains_key("shard") {
            let config = config::shard::read(path)?;
            Self {
                config: path.to_owned(),
                map: config.map,
                annexes: vec![config.annex],
                admin: config.admin_listen,
                require_sandbox: config.require_sandbox,
                shard: Some(config.settings),
                tls: config.tls,
                callers: None,
            }
        } else if table.is_empty() || table.contains_key("annexes") || table.contains_key("name") {
            let config = config::gateway::read(path)?;
            Self {
                config: path.to_owned(),
                map: config.map,
                annexes: config.annexes,
                admin: config.admin_listen,
                require_sandbox: config.require_sandbox,
                shard: None,
                tls: files(path, &table),
                callers: caller_files(path, &table),
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

    pub(super) const fn kind(&self) -> PeerKind {
        if self.shard.is_some() { PeerKind::Shard } else { PeerKind::Gateway }
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

// === files of TLS ===

// The servers' own reading has judged these tables by now; here only the paths are taken.

fn path_of(config: &Path, table: &Table, key: &str) -> Option<PathBuf> {
    let text = table.get(key)?.as_str()?;
    Some(config.parent().map_or_else(|| PathBuf::from(text), |folder| folder.join(text)))
}

fn files(config: &Path, root: &Table) -> Option<Files> {
    let tls = root.get("tls")?.as_table()?;
    let path = |key| path_of(config, tls, key);
    Some(Files {
        certificate: path("certificate")?,
        key: path("key")?,
        authorities: path("authorities")?,
        revoked: path("revoked"),
    })
}

fn caller_files(config: &Path, root: &Table) -> Option<CallerFiles> {
    let callers = root.get("callers")?.as_table()?;
    let tls = root.get("tls")?.as_table()?;
    let own = if callers.contains_key("certificate") { callers } else { tls };
    Some(CallerFiles {
        certificate: path_of(config, own, "certificate")?,
        key: path_of(config, own, "key")?,
        authorities: path_of(config, callers, "authorities"),
        revoked: path_of(config, callers, "revoked"),
    })
}
