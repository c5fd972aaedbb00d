//! The metrics of a process that follows shards, as a file in Prometheus's text format: for the
//! textfile collector of a node exporter, so that nothing here listens.

use std::fmt;
use std::io;
use std::path::Path;

use crate::file::replace;

/// What the name of every metric begins with.
pub const METRICS_PREFIX: &str = "bailiwick_audit_";

/// One line of a metric: its labels and its value.
#[derive(Debug)]
pub(super) struct Line {
    labels: String,
    value: u64,
}

// === impl Line ===

impl Line {
    pub(super) fn new(labels: &[(&str, &str)], value: u64) -> Self {
        let labels = labels.iter().map(|(name, text)| format!("{name}=\"{}\"", escaped(text)));
        Self { labels: labels.collect::<Vec<_>>().join(","), value }
    }
}

/// A label's value as the format wants it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// All metrics.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    pub(super) up: Vec<Line>,
    pub(super) answered: Vec<Line>,
    pub(super) looks: Vec<Line>,
    pub(super) sizes: Vec<Line>,
    pub(super) alerts: Vec<Line>,
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { up, answered, looks, sizes, alerts } = self;
        for (name, kind, help, lines) in [
            ("up", "gauge", "1 if the last look at the shard was completed", up),
            (
                "answered_seconds",
                "gauge",
                "When a look at the shard was last completed, since 1970",
                answered,
            ),
            ("looks_total", "counter", "Looks at the shard", looks),
            ("log_entries", "gauge", "Entries of the log that are mirrored", sizes),
            ("alerts_total", "counter", "Alerts that were raised", alerts),
        ] {
            writeln!(f, "# HELP {METRICS_PREFIX}{name} {help}")?;
            writeln!(f, "# TYPE {METRICS_PREFIX}{name} {kind}")?;
            for Line { labels, value } in lines {
                writeln!(f, "{METRICS_PREFIX}{name}{{{labels}}} {value}")?;
            }
        }
        Ok(())
    }
}

/// Writes them. Collectors read what ends in `.prom`, so they never see half a file.
pub(super) fn write(path: &Path, metrics: &Metrics) -> io::Result<()> {
    replace(path, metrics.to_string().as_bytes(), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_labels_and_its_value() {
        let up = vec![Line::new(&[("shard", "a\"\\\n")], 1)];
        let text = Metrics { up, ..Metrics::default() }.to_string();
        assert!(text.starts_with(
            "# HELP bailiwick_audit_up 1 if the last look at the shard was completed\n\
             # TYPE bailiwick_audit_up gauge\n\
             bailiwick_audit_up{shard=\"a\\\"\\\\\\n\"} 1\n"
        ));
    }
}
