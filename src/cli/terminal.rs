//! Standard output and standard error: the one place that prints.

use std::fmt;
use std::io::{self, IsTerminal, StdoutLock, Write};

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};

use super::{Exit, Failure};

/// Standard output, for as long as a command prints. What it holds back is written when it is
/// dropped or flushed.
pub(crate) struct Output(io::BufWriter<StdoutLock<'static>>);

impl Output {
    pub(crate) fn new() -> Self {
        Self(io::BufWriter::new(io::stdout().lock()))
    }

    /// Prints a line.
    pub(crate) fn line(&mut self, text: impl fmt::Display) -> Result<(), Failure> {
        writeln!(self.0, "{text}").map_err(closed)
    }

    /// Hands everything over to the system.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.0.flush().map_err(closed)
    }
}

/// Prints a text and a line feed to standard output, at once.
pub(crate) fn say(text: impl fmt::Display) -> Result<(), Failure> {
    let mut output = Output::new();
    output.line(text)?;
    output.flush()
}

/// Prints a line to standard error. There is nobody to tell when that fails.
pub(crate) fn warn(text: impl fmt::Display) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

fn closed(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        // Whoever read it has enough (`| head`): nothing to say about that.
        return Failure::said(Exit::Failed, "");
    }
    Failure::new(Exit::Failed, anyhow::Error::new(error).context("standard output is closed"))
}

/// An empty table with these headings. It fits a terminal's width; into a file or a pipe, each
/// line of a cell is one line.
pub(crate) fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    if !headings.is_empty() {
        table.set_header(headings);
    }
    let arrangement = if io::stdout().is_terminal() {
        ContentArrangement::Dynamic
    } else {
        ContentArrangement::Disabled
    };
    table.set_content_arrangement(arrangement);
    table
}
