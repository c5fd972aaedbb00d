//! `bailiwick health`: tells a supervisor whether a server on this machine is ready.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use link::net::admin_probe::Probe;
use serde_json::json;
use toml::{Table, Value};

use crate::commands::{Exit, Failure};
use crate::terminal;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The server's configuration file, which names its health address
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Fails unless the server says that it is ready.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let path = options.config.display();
    let wrong = |problem: String| Failure::said(Exit::Config, format!("{path}: {problem}"));
    let text = fs::read_to_string(&options.config)
        .map_err(|error| wrong(format!("cannot be read ({error}); name a readable file")))?;
    let table: Table = text.parse().map_err(|error| wrong(format!("is not TOML: {error}")))?;
    let probe = probe(&options.config, &table).ok_or_else(|| {
        wrong("`admin_listen` is not an address and port such as 127.0.0.1:7401".to_owned())
    })?;
    let admin = probe.admin;
    let page = probe.ready_page().map_err(|error| {
        let text =
            format!("nothing answers at {admin} ({error}): is the server of {path} running?");
        Failure::said(Exit::Unavailable, text)
    })?;
    let ready = page.starts_with("HTTP/1.1 200 ");
    let body = page.split_once("\r\n\r\n").map_or("", |(_, body)| body).trim_end();
    if options.json {
        terminal::say(json!({"ready": ready, "page": body}))?;
    } else {
        terminal::say(body)?;
    }
    if ready { Ok(()) } else { Err(Failure::said(Exit::Failed, "")) }
}

/// How the pages of a server are reached, as its configuration says. None: it does not say where.
pub(super) fn probe(config: &Path, table: &Table) -> Option<Probe> {
    let admin = table.get("admin_listen")?.as_str()?.parse().ok()?;
    let beside = |path: &str| config.parent().unwrap_or(Path::new("")).join(path);
    let named = |table: &str, key: &str, all: &Table| {
        all.get(table).and_then(|table| table.get(key)?.as_str()).map(beside)
    };
    let plaintext = table.get("plaintext_metrics").and_then(Value::as_bool).unwrap_or(false);
    let secure = table.contains_key("metrics") && !plaintext;
    let own = || named("metrics", "certificate", table);
    let certificate = secure.then(|| own().or_else(|| named("tls", "certificate", table)));
    // Whoever asks may not be allowed to read it: the page's first line is for everybody.
    let token = named("metrics", "token_file", table).filter(|file| fs::File::open(file).is_ok());
    Some(Probe { admin, certificate: certificate.flatten(), token })
}
