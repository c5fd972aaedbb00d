//! `bailiwick health`: whether a server of this machine is ready, for its supervisor.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use toml::Table;

use crate::error::{Exit, Failure};
use crate::files::text;
use crate::serve::readyz::probe;
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
    let table: Table =
        text(&options.config)?.parse().map_err(|error| wrong(format!("is not TOML: {error}")))?;
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
