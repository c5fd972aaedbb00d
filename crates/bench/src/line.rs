//! The lines of the result, and whether their costs may pass.

use anyhow::{Result, bail};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use crate::load::Measured;

/// One line of the result. Of several rounds, figures are medians.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) what: String,
    pub(crate) in_flight: usize,
    pub(crate) per_second: f64,
    /// The slowest and the fastest round.
    pub(crate) spread: Option<(f64, f64)>,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) failed: u64,
    /// Rate against the bare pair's in the same round.
    pub(crate) ratio: Option<f64>,
    /// Microseconds of processor time a call: of the load generator, of the process that it calls
    /// (forwarder, gateway), and of the one behind that (echo, shard).
    pub(crate) cpu_us: Option<[f64; 3]>,
    /// What a call costs, against the same in plaintext, or without a neighbour.
    pub(crate) cost: Option<f64>,
    /// Whether `--at-most` concerns it.
    #[serde(skip)]
    pub(crate) judged: bool,
    /// Megabytes resident after the measurement: gateway, shard.
    pub(crate) resident_mib: Option<(u64, u64)>,
}

impl Line {
    /// One measurement.
    pub(crate) fn new(what: &str, in_flight: usize, measured: &Measured) -> Self {
        Self {
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
        "p50 ms",
        "p99 ms",
        "failed",
        "ratio to the bare pair",
        "CPU us a call: load, front, back",
        "cost beside the first",
        "MiB: gateway, shard",
    ]);
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
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
