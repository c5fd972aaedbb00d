//! The health page of a server, as a process of the same machine reads it.

use std::fs;
use std::path::Path;

use link::net::admin_probe::Probe;
use toml::{Table, Value};

/// How the pages of a server are reached, as its configuration says. None: it does not say where.
pub(crate) fn probe(config: &Path, table: &Table) -> Option<Probe> {
    let admin = table.get("admin_listen")?.as_str()?.parse().ok()?;
    let beside = |path: &str| config.parent().unwrap_or_else(|| Path::new("")).join(path);
    let named = |table: &str, key: &str, all: &Table| {
        all.get(table).and_then(|table| table.get(key)?.as_str()).map(beside)
    };
    let plaintext = table.get("plaintext_metrics").and_then(Value::as_bool).unwrap_or(false);
    let secure = table.contains_key("metrics") && !plaintext;
    let own = || named("metrics", "certificate", table);
    let certificate = secure.then(|| own().or_else(|| named("tls", "certificate", table)));
    // The client may not be allowed to read it: the page's first line is for all.
    let token = named("metrics", "token_file", table).filter(|file| fs::File::open(file).is_ok());
    Some(Probe { admin, certificate: certificate.flatten(), token })
}
