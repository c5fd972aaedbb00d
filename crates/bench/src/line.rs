//! The lines of the result, and whether their costs may pass.

use anyhow::{Result, bail};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use crate::measured::{Latency, Measured};

/// One line of the result. Of several rounds, figures are medians.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Line {
    pub(crate) what: String,
    pub(crate) in_flight: usize,
    pub(crate) per_second: f64,
    /// The slowest and the fastest round.
    pub(crate) spread: Option<(f64, f64)>,
    /// From the moment when a call was due. Not of streams.
    #[serde(flatten)]
    pub(crate) latency: Latency,
    pub(crate) failed: u64,
    /// Rate against the bare pair's in the same round.
    pub(crate) ratio: Option<f64>,
    /// Microseconds of processor time a call: of the load generator, of the process that it calls
    /// (forwarder, gateway), and of the one behind that (echo, shard).
    pub(crate) cpu_us: Option<[f64; 3]>,
    /// Processor time of the two processes that serve, against the bare pair's in the same round.
    pub(crate) server_ratio: Option<f64>,
    /// The same against the pair that is tuned as Bailiwick is.
    pub(crate) server_ratio_tuned: Option<f64>,
    /// What a call costs, against the same in plaintext, without a neighbour, without attributes, or
    /// when it was made first; a write on PostgreSQL against an insert of a row.
    pub(crate) cost: Option<f64>,
    /// Whether `--at-most` concerns it.
    #[serde(skip)]
    pub(crate) judged: bool,
    /// Megabytes resident after the measurement, or at most in an overload: gateway, shard.
    pub(crate) resident_mib: Option<(u64, u64)>,
    /// Records that the store held before it.
    pub(crate) records: Option<u64>,
    /// Megabytes of the shard's folders after it.
    pub(crate) disk_mib: Option<u64>,
    /// Seconds from the start of a shard that was killed until it listens.
    pub(crate) start_s: Option<f64>,
}

impl Line {
    /// One measurement.
    pub(crate) fn new(what: &str, in_flight: usize, measured: &Measured) -> Self {
        Self {
            what: what.to_owned(),
            in_flight,
            per_second: measured.per_second,
            latency: measured.latency,
            failed: measured.failed,
            ..Self::default()
        }
    }
}

/// Fails if a cost that is judged is above `at_most`, and names it.
pub(crate) fn judge(lines: &[Line], at_most: Option<f64>) -> Result<()> {
    let Some(most) = at_most else { return Ok(()) };
    let judged = lines.iter().filter(|line| line.judged);
    let costs = judged.filter_map(|line| line.cost.map(|cost| (line, cost)));
    let above: Vec<String> = costs
        .filter(|(_, cost)| *cost > most)
        .map(|(line, cost)| format!("{}, {} in flight: {cost:.2}", line.what, line.in_flight))
        .collect();
    if above.is_empty() { Ok(()) } else { bail!("above {most}: {}", above.join("; ")) }
}

/// The lines as a table.
pub(crate) fn table(lines: &[Line]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header([
        "what",
        "in flight",
        "per second",
        "slowest, fastest",
        "p50, p99, p99.9, max ms",
        "failed",
        "rate / bare pair",
        "CPU us a call: load, front, back",
        "server CPU / bare, tuned pair",
        "cost beside the first",
        "MiB: gateway, shard",
        "records; MiB on disk, start s",
    ]);
    for line in lines {
        table.add_row([
            line.what.clone(),
            line.in_flight.to_string(),
            format!("{:.0}", line.per_second),
            line.spread.map_or_else(String::new, |(low, high)| format!("{low:.0}, {high:.0}")),
            latency(&line.latency),
            line.failed.to_string(),
            line.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            line.cpu_us.map_or_else(String::new, |[a, b, c]| format!("{a:.0}, {b:.0}, {c:.0}")),
            [line.server_ratio, line.server_ratio_tuned]
                .map(|ratio| ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")))
                .join(", ")
                .trim_matches([',', ' '])
                .to_owned(),
            line.cost.map_or_else(String::new, |cost| format!("{cost:.2}")),
            line.resident_mib.map_or_else(String::new, |(g, s)| format!("{g}, {s}")),
            growth(line),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn growth(line: &Line) -> String {
    let records = line.records.map_or_else(String::new, |records| records.to_string());
    match (line.disk_mib, line.start_s) {
        (Some(disk), Some(start)) => format!("{records}; {disk}, {start:.2}"),
        _ => records,
    }
}

fn latency(of: &Latency) -> String {
    let Latency { p50_ms, p99_ms, p999_ms, max_ms } = of;
    if p99_ms.is_nan() {
        return format!("mean {p50_ms:.2}");
    }
    format!("{p50_ms:.2}, {p99_ms:.2}, {p999_ms:.2}, {max_ms:.1}")
}
