//! Everything that a process reads from outside: configurations, maps, annexes and the environment.
//! All of it is read and checked before a port is bound.

mod callers;
pub(crate) mod gateway;
pub(crate) mod log;
pub(crate) mod maps;
pub(crate) mod metrics;
mod read;
pub(crate) mod shard;
pub(crate) mod tls;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use atlas::RegionMap;
use evidence::Sources;
use link::ops::logging::Level;
use terms::TenantId;

use crate::commands::{Exit, Failure};
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
        let cure = "give a database of countries in MaxMind's format";
        Failure::said(Exit::Config, format!("{path}: {refused}; {cure}"))
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
    let text = format!("{}: cannot be read ({error}); name a readable file", path.display());
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

/// The authorities of a server over HTTPS: a file that stands in the configuration at `at`.
fn authorities(section: &Section<'_>, at: usize, path: &Path) -> Option<Vec<u8>> {
    let read = link::host::file_watch::read(path);
    let pem = read.map_err(|error| unreadable(section, at, path, &error)).ok()?;
    if let Err(error) = link::net::https_client::check_authorities(&pem) {
        let problem = format!("{}: {error}", path.display());
        let cure = "name a bundle of authorities in PEM, and nothing else";
        section.file.wrong(at, "AUTHORITIES_INVALID", problem, cure);
        return None;
    }
    Some(pem)
}

fn unreadable(section: &Section<'_>, at: usize, path: &Path, error: &io::Error) {
    let problem = format!("{} cannot be read ({error})", path.display());
    let cure = "name a readable file; a relative path is relative to this file";
    section.file.wrong(at, "FILE_UNREADABLE", problem, cure);
}

/// What was read from another file; what is wrong with it is noted.
fn noted<T>(file: &File<'_>, path: &Path, read: Result<T, Vec<atlas::Diagnostic>>) -> Option<T> {
    read.map_err(|diagnostics| file.wrong_in(path, diagnostics)).ok()
}

/// The two addresses to listen on. Without a `[tls]` table, or with `plaintext = true`, both are
/// for loopback; the pages of health and metrics are so unless `metrics` says otherwise.
fn listeners(root: &Section<'_>) -> (Option<SocketAddr>, Option<SocketAddr>) {
    let address = |key| {
        let wanted = "an address and port such as 127.0.0.1:7400";
        root.parsed(key, wanted, |text| text.parse::<SocketAddr>().ok())
    };
    let (listen, admin_listen) = (address("listen"), address("admin_listen"));
    let plaintext = root.switch("plaintext");
    let secure = root.place("tls").is_some() && !plaintext;
    for (key, found) in [("listen", listen), ("admin_listen", admin_listen)] {
        let Some(At { it, at }) = found else { continue };
        if (secure && key == "listen") || (key == "admin_listen" && metrics::are_for_others(root)) {
            continue;
        }
        if let Err(refused) = link::net::listener::require_loopback(it, plaintext || secure) {
            let told = root.place("plaintext").filter(|_| !plaintext && !secure);
            let at = told.unwrap_or(at);
            let cure = if key == "admin_listen" && (secure || plaintext) {
                "listen on 127.0.0.1 or [::1], add [metrics], or set `plaintext_metrics = true`"
            } else {
                "add a [tls] table, or set `plaintext = true` and listen on 127.0.0.1 or [::1]"
            };
            root.file.wrong(at, "PLAINTEXT_REFUSED", format!("`{key}`: {refused}"), cure);
        }
    }
    (listen.map(|found| found.it), admin_listen.map(|found| found.it))
}
