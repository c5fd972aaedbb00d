//! Standard output and standard error: the only code that prints. Text from maps, peers and files
//! is escaped, because it may contain invisible characters.

#![expect(clippy::disallowed_methods, reason = "what a person reads is printed here")]

pub(crate) mod answers;
mod progress;
pub(crate) mod rows;
pub(crate) mod slots;
pub(crate) mod table;

use std::fmt;
use std::io::{self, IsTerminal as _, StdoutLock, Write};

use terms::escape_hidden;

use crate::error::{Exit, Failure};
use crate::terminal::table::Table;

pub(crate) use progress::progress;

/// Standard output, for as long as a command prints. What it holds back is written when it is
/// dropped or flushed.
pub(crate) struct Output(io::BufWriter<StdoutLock<'static>>);

impl Output {
    pub(crate) fn new() -> Self {
        Self(io::BufWriter::new(io::stdout().lock()))
    }

    /// Prints a line.
    pub(crate) fn line(&mut self, text: impl fmt::Display) -> Result<(), Failure> {
        writeln!(self.0, "{}", escape_hidden(&text.to_string())).map_err(closed)
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

/// Prints a file to standard output: byte for byte, unless that is a terminal.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut output = Output::new();
    let shown = str::from_utf8(bytes).ok().filter(|_| io::stdout().is_terminal());
    let shown = shown.map(escape_hidden);
    let bytes = shown.as_ref().map_or(bytes, |text| text.as_bytes());
    output.0.write_all(bytes).map_err(closed)?;
    output.flush()
}

/// Prints a line to standard error. A failure is ignored.
pub(crate) fn warn(text: impl fmt::Display) {
    drop(writeln!(io::stderr().lock(), "{}", escape_hidden(&text.to_string())));
}

fn closed(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        // The reader has enough (`| head`).
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
