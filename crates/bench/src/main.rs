//! `bailiwick-bench`: puts, gets and streams through a gateway and a shard as two processes, beside a
//! bare tonic pair that only forwards, in one run on one machine, in turns. It is not shipped.
//!
//! Only ratios within one run mean anything: machines differ and are noisy, and the load generator
//! takes its part of the same cores. So TLS with tokens is measured beside plaintext (`--secure`),
//! and a tenant beside a neighbour at its limit next to the same tenant alone (`--neighbours`).

#![expect(clippy::disallowed_methods, reason = "a program of its own prints its figures")]

mod bare;
mod compare;
mod line;
mod load;
mod processes;
mod rounds;
mod secure;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};

use line::{Line, judge, table};
use load::Load;
use processes::{Pair, Programs, Served, Setup};
use rounds::{Round, Rounds};

/// The exit code when nothing could be measured.
const UNAVAILABLE: u8 = 69;

#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One process of the bare pair
    #[command(hide = true)]
    Peer(bare::Options),
}

/// Puts, gets and streams through a gateway and a shard, beside a bare tonic pair, on this machine.
#[derive(Debug, clap::Args)]
struct Options {
    /// Seconds of each measurement, after a warm-up of a third of it.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Rounds of all measurements beside the bare pair.
    #[arg(long, value_name = "N", default_value_t = 5,
          value_parser = clap::value_parser!(u64).range(5..=100))]
    rounds: u64,
    /// Calls in flight, one measurement for each.
    #[arg(long, value_delimiter = ',', default_value = "64,256")]
    in_flight: Vec<usize>,
    /// The `bailiwick` binary to measure [default: the one beside this program].
    #[arg(long, value_name = "FILE")]
    bailiwick: Option<PathBuf>,
    /// Engines of the shard.
    #[arg(long, value_delimiter = ',', default_value = "sled,fjall")]
    engines: Vec<String>,
    /// Bytes of each body.
    #[arg(long, default_value_t = 512)]
    body: usize,
    /// Lanes of the SDK; 0: each of its puts is a call.
    #[arg(long, default_value_t = client::Settings::DEFAULT.lanes)]
    lanes: usize,
    /// Folder for the stores; it must be on the disk that is meant, and is emptied afterwards.
    #[arg(long, default_value = "bailiwick-bench")]
    folder: PathBuf,
    /// Measure puts with TLS and tokens beside puts in plaintext, in turns.
    #[arg(long, conflicts_with = "neighbours")]
    secure: bool,
    /// Measure one tenant's puts alone, and beside another tenant at its limit.
    #[arg(long)]
    neighbours: bool,
    /// Exit with 1 if a cost is above this: of TLS and tokens over all turns, or of a neighbour that
    /// is at its limit.
    #[arg(long, value_name = "COST")]
    at_most: Option<f64>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match run() {
        Ok((lines, options)) => match judge(&lines, options.at_most) {
            Ok(()) => ExitCode::SUCCESS,
            Err(above) => {
                warn(above);
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            warn(format!("{error:#}"));
            UNAVAILABLE.into()
        }
    }
}

/// Runs all measurements and prints them.
fn run() -> Result<(Vec<Line>, Options)> {
    let Arguments { options, command } = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if let Some(Command::Peer(peer)) = command {
        runtime.block_on(bare::serve(peer))?;
        return Ok((Vec::new(), options));
    }
    let lines = runtime.block_on(in_folder(&options))?;
    let text =
        if options.json { serde_json::to_string(&lines)? } else { table(&lines).to_string() };
    writeln!(std::io::stdout(), "{text}")?;
    Ok((lines, options))
}

/// Prints a line to standard error.
fn warn(text: impl std::fmt::Display) {
    drop(writeln!(std::io::stderr(), "{text}"));
}

async fn in_folder(options: &Options) -> Result<Vec<Line>> {
    let seconds = Duration::from_secs(options.seconds);
    let load = Load { seconds, body: options.body, lanes: options.lanes };
    ensure!(!options.folder.exists(), "{} exists: name a new folder", options.folder.display());
    std::fs::create_dir_all(&options.folder).context("the folder cannot be made")?;
    let measured = if options.secure {
        compare::secure(options, &load).await
    } else if options.neighbours {
        compare::neighbours(options, &load).await
    } else {
        measure(options, &load).await
    };
    std::fs::remove_dir_all(&options.folder).context("the folder cannot be removed")?;
    measured
}

/// Rounds of everything, the pair and Bailiwick in turns: machines change their speed while they
/// are measured, and both feel it. Each process lives through all rounds.
async fn measure(options: &Options, load: &Load) -> Result<Vec<Line>> {
    let programs = Programs::find(options.bailiwick.as_deref())?;
    let mut lines = Vec::new();
    for in_flight in &options.in_flight {
        for engine in &options.engines {
            let pair = Pair::start(&programs)?;
            let setup = Setup { engine, secure: false, limits: "" };
            let served = Served::start(&programs, &options.folder, setup)?;
            let mut all = Rounds::default();
            for round in 1..=options.rounds {
                let of = options.rounds;
                warn(format!("{engine}, {in_flight} in flight: round {round} of {of}"));
                all.measure(load, &pair, &served, *in_flight, round).await?;
            }
            let name = |what: &str| format!("{engine}: {what}");
            let line =
                |what: String, own: &[Round], bare| rounds::line(what, *in_flight, own, bare);
            lines.push(line(name("bare pair, unary"), &all.bare_put, None));
            lines.push(line(name("bare pair, stream"), &all.bare_stream, None));
            let put = line(name("put"), &all.put, Some(&all.bare_put));
            lines.push(Line { resident_mib: Some(served.resident_mib()), ..put });
            lines.push(line(name("SDK put"), &all.sdk_put, Some(&all.bare_put)));
            lines.push(line(name("get"), &all.get, Some(&all.bare_put)));
            lines.push(line(name("StreamPut"), &all.stream, Some(&all.bare_stream)));
        }
    }
    Ok(lines)
}
