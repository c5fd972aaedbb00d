//! The input of a process: configurations, maps, annexes and the environment. All of it is read
//! and checked before a port is bound.

pub(crate) mod bucket;
mod callers;
pub(crate) mod gateway;
mod keyring;
pub(crate) mod log;
pub(crate) mod maps;
pub(crate) mod metrics;
mod reading;
pub(crate) mod schema;
pub(crate) mod shard;
pub(crate) mod store;
pub(crate) mod tls;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use atlas::RegionMap;
use atlas::toml::At;
use evidence::Sources;
use link::ops::logging::Level;
use terms::TenantId;

use crate::error::{Exit, Failure};
use reading::{Section, unread};

/// Time between a shard's checkpoints, when something is new.
pub(crate) const BEAT: Duration = Duration::from_millis(250);
/// Megabytes of memory for an engine's cache, unless the configuration says otherwise.
pub(crate) const CACHE_MB: u64 = 128;
/// Megabytes that stay free on a shard's disk, unless the configuration says otherwise.
pub(crate) const DISK_RESERVE_MB: u64 = 256;
const MB: u64 = 1 << 20;
/// The environment variable with the log level.
const LOG: &str = "BAILIWICK_LOG";

/// The tenant of that name; without a name the map's only one.
pub(crate) fn tenant(map: &RegionMap, name: Option<&TenantId>) -> Result<TenantId, Failure> {
    map.tenant_or_only(name)
        .map(|tenant| tenant.name().clone())
        .map_err(|problem| Failure::said(Exit::Config, format!("{problem}; name one by --tenant")))
}

/// What reads evidence, with the IP database of that file if one is named.
pub(crate) fn evidence_sources(geoip: Option<&Path>) -> Result<Sources, Failure> {
    let database = geoip.map(|path| fs::read(path).map_err(|error| unread(path, &error)));
    Sources::new(database.transpose()?).map_err(|refused| {
        let path = geoip.map(|path| path.display().to_string()).unwrap_or_default();
        let help = "give a database of countries in MaxMind's format";
        Failure::said(Exit::Config, format!("{path}: {refused}; {help}"))
    })
}

/// The log level: that of `BAILIWICK_LOG`, or `otherwise`.
pub(crate) fn log_level(otherwise: Level) -> Result<Level, Failure> {
    #[expect(clippy::disallowed_methods, reason = "this is the file that reads the environment")]
    let Ok(text) = std::env::var(LOG) else { return Ok(otherwise) };
    Level::parse(&text).ok_or_else(|| {
        let known: Vec<&str> = Level::ALL.iter().map(|level| level.as_str()).collect();
        Failure::said(Exit::Config, format!("{LOG} is none of {}: set one", known.join(", ")))
    })
}

/// The two addresses to listen on. Without a `[tls]` table, or with `plaintext = true`, both must be
/// on loopback; the one for health and metrics must be so unless `metrics` says otherwise.
fn listeners(root: &Section<'_>) -> (Option<SocketAddr>, Option<SocketAddr>) {
    let address = |key| root.parse(key, |text| text.parse::<SocketAddr>().ok());
    let (listen, admin_listen) = (address("listen"), address("admin_listen"));
    let plaintext = root.switch("plaintext");
    let secure = root.place("tls").is_some() && !plaintext;
    for (key, found) in [("listen", listen), ("admin_listen", admin_listen)] {
        let Some(At { it, at }) = found else { continue };
        if (secure && key == "listen") || (key == "admin_listen" && metrics::are_for_others(root)) {
            continue;
        }
        if let Err(refused) = link::net::listener::require_loopback(it, plaintext || secure) {
            let stated = root.place("plaintext").filter(|_| !plaintext && !secure);
            let at = stated.unwrap_or(at);
            let help = if key == "admin_listen" && (secure || plaintext) {
                "listen on 127.0.0.1 or [::1], add [metrics], or set `plaintext_metrics = true`"
            } else {
                "add a [tls] table, or set `plaintext = true` and listen on 127.0.0.1 or [::1]"
            };
            root.wrong(at, "PLAINTEXT_REFUSED", format!("`{key}`: {refused}"), help);
        }
    }
    (listen.map(|found| found.it), admin_listen.map(|found| found.it))
}
