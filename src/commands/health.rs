//! `bailiwick health`: tells a supervisor whether a server on this machine is ready.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use toml::Table;

use crate::commands::{Exit, Failure};
use crate::terminal;

/// Time in which a server that is there answers.
const ANSWER: Duration = Duration::from_secs(3);
/// Bytes of a page at the most.
const PAGE_BYTES_MAX: u64 = 64 * 1024;

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
    let admin = table.get("admin_listen").and_then(|value| value.as_str()?.parse().ok());
    let admin: SocketAddr = admin.ok_or_else(|| {
        wrong("`admin_listen` is not an address and port such as 127.0.0.1:7401".to_owned())
    })?;
    let Some(page) = page(admin) else {
        let text = format!("nothing answers at {admin}: is the server of {path} running?");
        return Err(Failure::said(Exit::Unavailable, text));
    };
    let ready = page.starts_with("HTTP/1.1 200 ");
    let body = page.split_once("\r\n\r\n").map_or("", |(_, body)| body).trim_end();
    if options.json {
        terminal::say(json!({"ready": ready, "page": body}))?;
    } else {
        terminal::say(body)?;
    }
    if ready { Ok(()) } else { Err(Failure::said(Exit::Failed, "")) }
}

/// What a server says at `/readyz`, the head of the answer included. None: nothing answers.
pub(super) fn page(admin: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&admin, ANSWER).ok()?;
    stream.set_read_timeout(Some(ANSWER)).ok()?;
    stream.set_write_timeout(Some(ANSWER)).ok()?;
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .ok()?;
    let mut text = String::new();
    stream.take(PAGE_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.starts_with("HTTP/1.1 ").then_some(text)
}
