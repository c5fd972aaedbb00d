//! `bailiwick audit`: placement logs, for an auditor who trusts no process. docs/cli.md has every
//! option.

mod check;
mod follow;
mod maps;
mod mirror;
mod outcome;
mod receipt;
mod reconcile;
mod report;
mod shards;
mod show;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use audit::{Folder, Maps, Policy};
use clap::{Args, Subcommand};
use ledger::Signers;
use ledger::entry::Minute;
use link::host::clock::SystemClock;
use terms::Clock as _;

use crate::commands::audit::show::minute;
use crate::commands::{Exit, Failure};
use crate::terminal;
pub(crate) use shards::url_of;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Copy the logs of shards, and verify each entry against the signed checkpoint
    Mirror(mirror::Options),
    /// Verify mirrored logs offline: every file, hash and signature
    Verify(check::Verify),
    /// Print the entries of a mirrored log
    Entries(show::Options),
    /// Verify a receipt offline
    Receipt(receipt::Options),
    /// Compare a shard's log with its store: the number of records, and samples of both
    Reconcile(reconcile::Options),
    /// Continuously mirror and verify logs; print alerts
    Follow(follow::Options),
    /// Write a report on mirrored logs and maps, as HTML, CSV and JSON
    Report(report::Options),
    /// Compare two mirrors of one log
    Diff(check::Diff),
}

/// Whom to believe.
#[derive(Debug, Args)]
struct PolicyFile {
    /// C2SP tlog-policy with the keys of logs and witnesses, received by another route than the
    /// logs [default: the keys in the mirrors]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

/// Whose signatures count on region maps.
#[derive(Debug, Args)]
struct MapSigners {
    /// Public key of a map signer; at least two [default: signatures are not checked]
    #[arg(long = "map-signer", value_name = "KEY")]
    keys: Vec<String>,
}

impl MapSigners {
    /// The maps beside mirrored logs, with what these keys have signed.
    fn maps(&self, place: &Path) -> Result<Maps, Failure> {
        let config = |text: String| Failure::said(Exit::Config, text);
        let signers = match self.keys.as_slice() {
            [] => None,
            keys => Some(
                Signers::parse(keys.iter().map(String::as_str))
                    .map_err(|error| config(format!("--map-signer: {error}")))?,
            ),
        };
        Maps::beside(place, signers.as_ref()).map_err(|(path, error)| {
            Failure::said(Exit::Data, format!("{}: cannot be read ({error})", path.display()))
        })
    }
}

/// The logs in a folder of mirrors; there must be one.
fn logs(place: &Path) -> Result<Vec<Folder>, Failure> {
    let data = |text: String| Failure::said(Exit::Data, text);
    let logs = Folder::logs(place).map_err(|error| data(shards::folder_said(&error)))?;
    if logs.is_empty() {
        return Err(data(format!("{}: there is no log in it", place.display())));
    }
    Ok(logs)
}

/// How old a quorum's cosignatures may be.
#[derive(Debug, Args)]
struct MaxAge {
    /// Maximum age in seconds of the cosignatures of a quorum [default: unlimited]
    #[arg(long, value_name = "S", requires = "policy")]
    max_age_s: Option<u64>,
}

// === impl MaxAge ===

impl MaxAge {
    /// What is wrong with a log whose quorum cosigned it at that time.
    fn judge(&self, origin: &str, cosigned_at: Option<u64>) -> Option<String> {
        let most = self.max_age_s?;
        let now = SystemClock.now().0 / 1000;
        match cosigned_at {
            None => Some(format!("{origin}: no quorum of witnesses has cosigned it")),
            Some(at) if now.saturating_sub(at) > most => {
                let age = now.saturating_sub(at);
                Some(format!("{origin}: FROZEN: its quorum cosigned it {age} s ago"))
            }
            Some(_) => None,
        }
    }
}

/// A time in seconds since 1970, in words.
fn time(seconds: Option<u64>) -> String {
    let minute = seconds.and_then(|seconds| u32::try_from(seconds / 60).ok());
    minute.map_or_else(|| "never".to_owned(), |minute| Minute(minute).to_string())
}

// === impl PolicyFile ===

impl PolicyFile {
    fn read(&self) -> Result<Option<Policy>, Failure> {
        let Some(path) = &self.policy else { return Ok(None) };
        let text = text(path, audit::policy::POLICY_BYTES_MAX)?;
        Policy::parse(&text)
            .map(Some)
            .map_err(|error| Failure::said(Exit::Config, format!("{}: {error}", path.display())))
    }
}

/// Does what was typed.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Mirror(options) => mirror::run(options),
        Command::Verify(options) => check::verify(options),
        Command::Entries(options) => show::run(options),
        Command::Receipt(options) => receipt::run(options),
        Command::Reconcile(options) => reconcile::run(options),
        Command::Follow(options) => follow::run(options),
        Command::Report(options) => report::run(options),
        Command::Diff(options) => check::diff(options),
    }
}

/// A file's bytes, if it has no more than `max`.
fn bytes(path: &Path, max: usize) -> Result<Vec<u8>, Failure> {
    let wrong = |what: String| Failure::said(Exit::Config, format!("{}: {what}", path.display()));
    let unread = |error| wrong(format!("cannot be read ({error})"));
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unread)?;
    file.take(limit).read_to_end(&mut bytes).map_err(unread)?;
    if bytes.len() > max { Err(wrong(format!("has more than {max} bytes"))) } else { Ok(bytes) }
}

fn text(path: &Path, max: usize) -> Result<String, Failure> {
    String::from_utf8(bytes(path, max)?)
        .map_err(|_| Failure::said(Exit::Config, format!("{}: is not UTF-8", path.display())))
}

/// Data that are not as they must be.
fn wrong(what: impl std::fmt::Display) -> Failure {
    Failure::said(Exit::Failed, what)
}

/// A sentence for each thing that is wrong, on standard error; then the command has failed.
fn all_well(findings: &[String]) -> Result<(), Failure> {
    findings.iter().for_each(terminal::warn);
    match findings.len() {
        0 => Ok(()),
        1 => Err(wrong("1 thing is wrong")),
        count => Err(wrong(format!("{count} things are wrong"))),
    }
}
