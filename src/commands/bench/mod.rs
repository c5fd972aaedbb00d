//! `bailiwick bench`: puts, gets and streams through a gateway and a shard as two processes, beside
//! a bare tonic pair that does nothing but forward, in one run on one machine, in turns.
//!
//! Only ratios within one run mean anything: machines differ and are noisy, and the load generator
//! takes its part of the same cores. So TLS with tokens is measured beside plaintext (`--secure`),
//! and a tenant beside a neighbour at its limit next to the same tenant alone (`--neighbours`).

pub(crate) mod bare;
mod compare;
mod fence;
mod load;
mod processes;
mod rounds;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use crate::commands::{Exit, Failure};
use crate::serve;
use crate::terminal;
use crate::terminal::table::Table;
use crate::terminal::{say, warn};

use load::{Load, Measured};
use processes::{Pair, Served, Setup};
use rounds::{Round, Rounds};

/// Options of `bailiwick bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
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
    /// Engines of the shard.
    #[arg(long, value_delimiter = ',', default_value = "sled,fjall")]
    engines: Vec<String>,
    /// Bytes of each body.
    #[arg(long, default_value_t = 512)]
    body: usize,
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

/// One line of the result. Of several rounds, figures are medians.
#[derive(Debug, Serialize)]
struct Line {
    what: String,
    in_flight: usize,
    per_second: f64,
    /// The slowest and the fastest round.
    spread: Option<(f64, f64)>,
    p50_ms: f64,
    p99_ms: f64,
    failed: u64,
    /// Rate against the bare pair's in the same round.
    ratio: Option<f64>,
    /// Microseconds of processor time a call: of the load generator, of the process that it calls
    /// (forwarder, gateway), and of the one behind that (echo, shard).
    cpu_us: Option<[f64; 3]>,
    /// What a call costs, against the same in plaintext, or without a neighbour.
    cost: Option<f64>,
    /// Whether `--at-most` concerns it.
    #[serde(skip)]
    judged: bool,
    /// Megabytes resident after the measurement: gateway, shard.
    resident_mib: Option<(u64, u64)>,
}

/// Runs all measurements and prints them.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let lines = serve::block_on(async {
        let lines = in_folder(options).await;
        lines.map_err(|error| Failure::new(Exit::Unavailable, error))
    })?;
    if options.json {
        let json = serde_json::to_string(&lines);
        say(json.map_err(|error| Failure::new(Exit::Failed, error))?)?;
    } else {
        say(table(&lines))?;
    }
    judge(&lines, options.at_most)
}

async fn in_folder(options: &Options) -> Result<Vec<Line>> {
    let load = Load { seconds: Duration::from_secs(options.seconds), body: options.body };
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
    let mut lines = Vec::new();
    for in_flight in &options.in_flight {
        for engine in &options.engines {
            let pair = Pair::start()?;
            let setup = Setup { engine, secure: false, limits: "" };
            let served = Served::start(&options.folder, setup)?;
            let mut all = Rounds::default();
            for round in 1..=options.rounds {
                let of = options.rounds;
                warn(format!("{engine}, {in_flight} in flight: round {round} of {of}"));
                all.measure(load, (&pair, &served), *in_flight, round).await?;
            }
            let name = |what: &str| format!("{engine}: {what}");
            let line =
                |what: String, own: &[Round], bare| rounds::line(what, *in_flight, own, bare);
            lines.push(line(name("bare pair, unary"), &all.bare_put, None));
            lines.push(line(name("bare pair, stream"), &all.bare_stream, None));
            let put = line(name("put"), &all.put, Some(&all.bare_put));
            lines.push(Line { resident_mib: Some(served.resident_mib()), ..put });
            lines.push(line(name("get"), &all.get, Some(&all.bare_put)));
            lines.push(line(name("StreamPut"), &all.stream, Some(&all.bare_stream)));
        }
    }
    Ok(lines)
}

fn line(what: &str, in_flight: usize, measured: &Measured) -> Line {
    Line {
        what: what.to_owned(),
        in_flight,
        per_second: measured.per_second,
        spread: None,
        p50_ms: measured.p50_ms,
        p99_ms: measured.p99_ms,
        failed: measured.failed,
        ratio: None,
        cpu_us: None,
        cost: None,
        judged: false,
        resident_mib: None,
    }
}

/// Whether what costs more than it may is too dear, and which it is.
fn judge(lines: &[Line], at_most: Option<f64>) -> Result<(), Failure> {
    let Some(most) = at_most else { return Ok(()) };
    let judged = lines.iter().filter(|line| line.judged);
    let costs = judged.filter_map(|line| line.cost.map(|cost| (line, cost)));
    let dear: Vec<String> = costs
        .filter(|(_, cost)| *cost > most)
        .map(|(line, cost)| format!("{}, {} in flight: {cost:.2}", line.what, line.in_flight))
        .collect();
    if dear.is_empty() {
        return Ok(());
    }
    Err(Failure::said(Exit::Failed, format!("above {most}: {}", dear.join("; "))))
}

fn table(lines: &[Line]) -> Table {
    let headings = [
        "what",
        "in flight",
        "per second",
        "slowest, fastest",
        "p50 ms",
        "p99 ms",
        "failed",
        "ratio to the bare pair",
        "CPU us a call: load, front, back",
        "cost beside the first",
        "MiB: gateway, shard",
    ];
    let mut table = terminal::table(&headings);
    for line in lines {
        table.add_row([
            line.what.clone(),
            line.in_flight.to_string(),
            format!("{:.0}", line.per_second),
            line.spread.map_or_else(String::new, |(low, high)| format!("{low:.0}, {high:.0}")),
            format!("{:.2}", line.p50_ms),
            format!("{:.2}", line.p99_ms),
            line.failed.to_string(),
            line.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            line.cpu_us.map_or_else(String::new, |[a, b, c]| format!("{a:.0}, {b:.0}, {c:.0}")),
            line.cost.map_or_else(String::new, |cost| format!("{cost:.2}")),
            line.resident_mib.map_or_else(String::new, |(g, s)| format!("{g}, {s}")),
        ]);
    }
    table.align_numbers();
    table
}
