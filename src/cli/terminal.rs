//! Standard output and standard error: the one place that prints.

use std::fmt;
use std::io::{self, StdoutLock, Write};

use super::table::Table;
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

/// Prints bytes to standard output as they are.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut output = Output::new();
    output.0.write_all(bytes).map_err(closed)?;
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
    Table::new(headings, width())
}

/// Characters of a line, if standard output is a terminal.
fn width() -> Option<usize> {
    // Some say that they have none.
    comfy_table::Table::new().width().map(usize::from).filter(|columns| *columns > 0)
}
