//! `bailiwick-bench`: puts, gets and streams through a gateway and a shard as two processes, beside a
//! bare tonic pair that only forwards, and beside etcd and PostgreSQL if asked, in one run on one
//! machine, in turns; or against a deployment that runs already. It is not shipped.
//!
//! Only ratios within one run mean anything: machines differ and are noisy, and the load generator
//! takes its part of the same cores. So TLS with tokens is measured beside plaintext (`--secure`),
//! and a tenant beside a neighbour at its limit next to the same tenant alone (`--neighbours`).

#![expect(clippy::disallowed_methods, reason = "a program of its own prints its figures")]

mod bare;
mod compare;
mod growth;
mod line;
mod lists;
mod load;
mod measured;
mod overload;
mod peers;
mod processes;
mod remote;
mod rounds;
mod sample;
mod secure;
mod system;
mod verify;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};

use line::{Line, judge, table};
use load::Load;
use peers::Peer;
use peers::postgresql::{Postgresql, ROW};
use processes::{POSTGRES, Pair, Programs, Served, Setup};
use rounds::{Kind, Rounds, Turns};
use secure::Caller;

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
    /// Rounds of all measurements, Bailiwick and the others in turns.
    #[arg(long, value_name = "N", default_value_t = 5,
          value_parser = clap::value_parser!(u64).range(1..=100))]
    rounds: u64,
    /// Calls in flight, one measurement for each.
    #[arg(long, value_delimiter = ',', default_value = "64,256")]
    in_flight: Vec<usize>,
    /// Kinds of calls.
    #[arg(long, value_delimiter = ',', default_value = "put,sdk,get,stream")]
    calls: Vec<Kind>,
    /// Unary calls a second, at that rate whatever the answers take (open loop); latency counts
    /// from when a call was due [default: as many as are allowed in flight].
    #[arg(long, value_name = "PER_SECOND",
          value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    rate: Option<u64>,
    /// Lanes of the SDK; 0: each of its puts is a call.
    #[arg(long, default_value_t = client::Settings::DEFAULT.lanes)]
    lanes: usize,
    /// The `bailiwick` binary to measure [default: the one beside this program].
    #[arg(long, value_name = "FILE")]
    bailiwick: Option<PathBuf>,
    /// Engines of the shard. `postgres` gets a server of its own, or that of `--peers postgresql`.
    #[arg(long, value_delimiter = ',', default_value = "sled,fjall")]
    engines: Vec<String>,
    /// Bytes of each body, one measurement for each.
    #[arg(long, value_delimiter = ',', default_value = "512")]
    body: Vec<usize>,
    /// Also measure a bare pair that is tuned as Bailiwick's processes are.
    #[arg(long)]
    tuned: bool,
    /// Also measure these; a missing one is installed from Debian's packages.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<peers::Name>,
    /// Folder for the stores; it must be on the disk that is meant, and is emptied afterwards.
    #[arg(long, default_value = "bailiwick-bench")]
    folder: PathBuf,
    /// Measure puts with TLS and tokens beside puts in plaintext, in turns.
    #[arg(long, conflicts_with = "neighbours")]
    secure: bool,
    /// Measure one tenant's puts alone, and beside another tenant at its limit.
    #[arg(long)]
    neighbours: bool,
    /// Fill one store up to each of these numbers of records, and measure puts, gets and a start there.
    #[arg(long, value_name = "RECORDS", value_delimiter = ',',
          conflicts_with_all = ["secure", "neighbours"])]
    grow: Vec<u64>,
    /// Store so many persons with ten records each, and measure lists by their attributes, a count, and
    /// puts with three indexed attributes next to puts without.
    #[arg(long, value_name = "PERSONS", conflicts_with_all = ["secure", "neighbours", "grow"],
          value_parser = clap::value_parser!(u64).range(20..=10_000_000))]
    lists: Option<u64>,
    /// Measure puts at so many times the peak rate for `--seconds`, and what comes before and after.
    #[arg(long, value_name = "TIMES",
          conflicts_with_all = ["secure", "neighbours", "grow", "lists"])]
    overload: Option<f64>,
    /// In an overload, run gateway and shard on these cores alone, as `taskset -c` takes them.
    #[arg(long, value_name = "LIST", requires = "overload")]
    server_cores: Option<String>,
    #[command(flatten)]
    remote: remote::Options,
    /// Exit with 1 if a cost is above this: of TLS and tokens over all turns, of a neighbour that is at
    /// its limit, of indexes in the last round, of a write on PostgreSQL beside an insert of a row, or of
    /// puts that are sent again.
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
    let is_tuned = matches!(&command, Some(Command::Peer(peer)) if peer.tuned);
    // As `bailiwick` does on two cores.
    let mut runtime = if is_tuned {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    let runtime = runtime.enable_all().build()?;
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
    let load = Load {
        seconds: Duration::from_secs(options.seconds),
        body: options.body.first().copied().unwrap_or(512),
        rate: options.rate,
        lanes: options.lanes,
        records: options.remote.records(),
    };
    if let Some(caller) = options.remote.caller()? {
        return remote(options, &load, &caller).await;
    }
    ensure!(!options.folder.exists(), "{} exists: name a new folder", options.folder.display());
    std::fs::create_dir_all(&options.folder).context("the folder cannot be made")?;
    let measured = if options.secure {
        compare::secure(options, &load).await
    } else if options.neighbours {
        compare::neighbours(options, &load).await
    } else if let Some(times) = options.overload {
        overload::overload(options, &load, times).await
    } else if let Some(persons) = options.lists {
        lists::lists(options, &load, persons).await
    } else if !options.grow.is_empty() {
        growth::growth(options, &load).await
    } else {
        measure(options, &load).await
    };
    std::fs::remove_dir_all(&options.folder).context("the folder cannot be removed")?;
    measured
}

/// Rounds of everything, the others and Bailiwick in turns: machines change their speed while they
/// are measured, and all feel it. Each process lives through all rounds.
async fn measure(options: &Options, load: &Load) -> Result<Vec<Line>> {
    let programs = Programs::find(options.bailiwick.as_deref())?;
    let start_peer = |name: &peers::Name| Peer::start(*name, &options.folder);
    let peers = options.peers.iter().map(start_peer).collect::<Result<Vec<_>>>()?;
    let server = options.server(&peers)?;
    let mut lines = Vec::new();
    for (in_flight, engine, body) in options.combinations() {
        let pair = Pair::start(&programs, false)?;
        let tuned = options.tuned.then(|| Pair::start(&programs, true)).transpose()?;
        let setup = Setup { engine, server: server.as_ref(), secure: false, limits: "" };
        let served = Served::start(&programs, &options.folder, setup)?;
        let turns = Turns {
            kinds: &options.calls,
            pair: Some(&pair),
            tuned: tuned.as_ref(),
            peers: &peers,
            caller: served.caller()?,
            access: served.access()?,
            cpu: &|| Some(served.cpu()),
        };
        let title = options.title(&format!("{engine}: "), body);
        let mut all = Rounds::new(title, in_flight);
        let load = Load { body, ..load.clone() };
        for round in 1..=options.rounds {
            let of = options.rounds;
            warn(format!("{engine}, {body} B, {in_flight} in flight: round {round} of {of}"));
            all.measure(&load, &turns, round).await?;
        }
        let resident_mib = Some(served.resident_mib());
        let mut all: Vec<Line> =
            all.lines().into_iter().map(|line| Line { resident_mib, ..line }).collect();
        if engine == POSTGRES {
            beside_inserts(&mut all);
        }
        lines.extend(all);
    }
    Ok(lines)
}

/// The cost of a write on PostgreSQL: the rate at which pgbench inserts single rows on the same server
/// over its own.
fn beside_inserts(lines: &mut [Line]) {
    let row = lines.iter().find(|line| line.what.ends_with(ROW)).map(|line| line.per_second);
    let Some(row) = row else { return };
    for kind in [Kind::Put, Kind::Sdk, Kind::Stream] {
        let of_kind = |line: &&mut Line| line.what.ends_with(&format!(": {}", kind.name()));
        for line in lines.iter_mut().filter(of_kind) {
            (line.cost, line.judged) = (Some(row / line.per_second), true);
        }
    }
}

/// Rounds against a deployment that runs already.
async fn remote(options: &Options, load: &Load, caller: &Caller) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for in_flight in &options.in_flight {
        for body in &options.body {
            let turns = Turns {
                kinds: &options.calls,
                pair: None,
                tuned: None,
                peers: &[],
                caller: caller.clone(),
                access: options.remote.access().await?,
                cpu: &|| None,
            };
            let mut all = Rounds::new(options.title("", *body), *in_flight);
            let load = Load { body: *body, ..load.clone() };
            for round in 1..=options.rounds {
                all.measure(&load, &turns, round).await?;
            }
            lines.extend(all.lines());
        }
    }
    Ok(lines)
}

impl Options {
    /// The server for the engine `postgres`: one of the peers, or another.
    fn server(&self, peers: &[Peer]) -> Result<Option<Arc<Postgresql>>> {
        let there = peers.iter().find_map(Peer::postgresql).cloned();
        if there.is_some() || !self.engines.iter().any(|engine| engine == POSTGRES) {
            return Ok(there);
        }
        Ok(Some(Arc::new(Postgresql::start(&self.folder)?)))
    }

    /// What is measured apart from the rest: numbers in flight, engines, sizes of bodies.
    fn combinations(&self) -> Vec<(usize, &str, usize)> {
        let mut all = Vec::new();
        for in_flight in &self.in_flight {
            for engine in &self.engines {
                all.extend(self.body.iter().map(|body| (*in_flight, engine.as_str(), *body)));
            }
        }
        all
    }

    /// What stands before the names of measurements.
    fn title(&self, engine: &str, body: usize) -> String {
        let size = if self.body.len() > 1 { format!("{body} B: ") } else { String::new() };
        let rate = self.rate.map_or_else(String::new, |rate| format!("{rate}/s: "));
        format!("{engine}{size}{rate}")
    }
}
