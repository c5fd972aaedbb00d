//! `bailiwick doctor`: checks what a server needs, and suggests fixes. It changes nothing. Each
//! check is a function that returns one line, or one for each finding.

mod certificates;
mod folders;
mod live;
mod machine;
mod peers;
pub(crate) mod report;
mod revocations;
mod store;
pub(crate) mod target;
mod tokens;
mod witnesses;

use std::path::PathBuf;

use clap::Args;
use link::host::clock::SystemClock;
use serde_json::json;
use terms::{Clock as _, UnixMillis};

use crate::commands::doctor::target::Patient;
use crate::commands::{Exit, Failure};
use crate::terminal::table::Table;
use crate::terminal::{self, Output};

/// Milliseconds of a day.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Configuration file of a gateway or a shard
    #[arg(long, value_name = "FILE", required_unless_present = "live", conflicts_with = "live")]
    config: Option<PathBuf>,
    #[command(flatten)]
    live: live::Options,
    /// Print JSON, one line for each
    #[arg(long)]
    json: bool,
}

/// How a thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ok,
    /// It works, and it may not for long, or not as well as it should.
    Warn,
    /// It does not work, or it does not protect.
    Bad,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// What a check found.
#[derive(Debug)]
struct Line {
    state: State,
    check: &'static str,
    what: String,
    /// What to do about it; empty when there is nothing to do.
    cure: String,
}

impl Line {
    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { state: State::Ok, check, what: what.into(), cure: String::new() }
    }

    fn warn(check: &'static str, what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { state: State::Warn, check, what: what.into(), cure: cure.into() }
    }

    fn bad(check: &'static str, what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { state: State::Bad, check, what: what.into(), cure: cure.into() }
    }

    /// The same, milder: for what is no failure here.
    fn softened(mut self, soften: bool) -> Self {
        if soften && self.state == State::Bad {
            self.state = State::Warn;
        }
        self
    }

    fn text(&self) -> String {
        let Self { state, check, what, cure } = self;
        let state = state.as_str();
        let then = if cure.is_empty() { "" } else { "; " };
        plain(&format!("{state:<4}  {check:<13} {what}{then}{cure}"))
    }

    fn json(&self) -> String {
        let Self { state, check, what, cure } = self;
        json!({"check": check, "state": state.as_str(), "what": what, "cure": cure}).to_string()
    }
}

/// Looks at everything, and fails at the end if anything is bad.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let lines = match &options.config {
        Some(config) => of_config(config)?,
        None => crate::serve::block_on(live::all(&options.live))?,
    };
    let mut output = Output::new();
    if options.json {
        lines.iter().try_for_each(|line| output.line(line.json()))?;
    } else if options.config.is_none() {
        output.line(table(&lines))?;
    } else {
        lines.iter().try_for_each(|line| output.line(line.text()))?;
    }
    output.flush()?;
    match lines.iter().filter(|line| line.state == State::Bad).count() {
        0 => Ok(()),
        bad => Err(Failure::said(Exit::Failed, format!("{bad} of {} are bad", lines.len()))),
    }
}

/// Every check of a deployment as a row.
fn table(lines: &[Line]) -> Table {
    let mut table = terminal::table(&["state", "check", "what", "what to do"]);
    for Line { state, check, what, cure } in lines {
        table.add_row([state.as_str(), check, &plain(what), &plain(cure)]);
    }
    table
}

/// A text that may hold anything, such as a path or an error, as part of one line.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What is said of a configuration and its server.
fn of_config(config: &std::path::Path) -> Result<Vec<Line>, Failure> {
    // Before the keys are looked at: this process will have held them.
    let memory = machine::memory();
    let patient = Patient::read(config)?;
    let now = SystemClock.now();
    let page = peers::page(&patient);
    let (store, held) = store::look(&patient, page.is_some());
    let map = held.unwrap_or_else(|| std::sync::Arc::clone(&patient.map));
    let mut lines = vec![patient.map_age(&map, now), machine::clock(&patient, now)];
    lines.push(machine::sandbox(&patient));
    lines.extend([memory, machine::swap(), machine::file_limit()]);
    lines.extend(folders::all(&patient));
    lines.extend(store);
    lines.extend(patient.evidence.clone().map(|what| Line::ok("evidence", what)));
    let (found, tls) = certificates::all(&patient, now);
    lines.extend(found);
    lines.extend(revocations::all(&patient, now));
    let asked = async {
        let keys = tokens::keys(&patient).await;
        let shards = peers::shards(&patient, tls).await;
        Ok((keys, shards, witnesses::all(&patient).await))
    };
    let (keys, shards, witnesses) = crate::serve::block_on(asked)?;
    lines.extend(keys);
    lines.push(peers::itself(&patient, page.as_ref()));
    lines.extend(store::endings(&map, page.as_ref(), now));
    lines.extend(shards);
    lines.extend(witnesses);
    Ok(lines)
}

/// Whole days from one moment to a later one.
fn days(from: UnixMillis, to: UnixMillis) -> u64 {
    to.0.saturating_sub(from.0) / DAY_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line() {
        let line = Line::bad("disk", "no\nroom \u{1b}[31m", "make some");
        assert_eq!(line.text(), "bad   disk          no room  [31m; make some");
        assert_eq!(Line::ok("disk", "room").text(), "ok    disk          room");
        let json = r#"{"check":"disk","state":"ok","what":"room","cure":""}"#;
        assert_eq!(Line::ok("disk", "room").json(), json);
    }

    #[test]
    fn only_what_is_bad_is_softened() {
        assert_eq!(Line::bad("a", "b", "c").softened(true).state, State::Warn);
        assert_eq!(Line::bad("a", "b", "c").softened(false).state, State::Bad);
        assert_eq!(Line::ok("a", "b").softened(true).state, State::Ok);
    }
}
