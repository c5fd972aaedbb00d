//! `bailiwick doctor`: prints the findings of every check, and fails if any is bad.

use std::path::PathBuf;

use clap::Args;

use crate::arguments::access;
use crate::doctor::{Line, Live, State, of_deployment, of_server};
use crate::error::{Exit, Failure};
use crate::serve;
use crate::terminal::table::Table;
use crate::terminal::{self, Output};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Configuration file of a gateway or a shard
    #[arg(long, value_name = "FILE", required_unless_present = "live", conflicts_with = "live")]
    config: Option<PathBuf>,
    /// Check a running deployment through its gateway: placements (dry runs), shards, clocks,
    /// certificates, auditor listeners
    #[arg(long, requires = "gateway")]
    live: bool,
    /// The gateway
    #[arg(long, value_name = "URL", requires = "live")]
    gateway: Option<String>,
    /// Store a marked test record in this collection for each region, read it back, verify its
    /// receipt and delete it. The test subject `bailiwick-doctor` stays
    #[arg(long, value_name = "COLLECTION", requires = "live")]
    test_collection: Option<String>,
    #[command(flatten)]
    access: access::Options,
    /// Print JSON, one line for each
    #[arg(long)]
    json: bool,
}

/// Runs every check.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let lines = match &options.config {
        Some(config) => of_server(config)?,
        None => serve::block_on(async {
            of_deployment(Live {
                gateway: options.gateway.clone().unwrap_or_default(),
                access: options.access.read().await?,
                test_collection: options.test_collection.clone(),
            })
            .await
        })?,
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
    for line in lines {
        table.add_row(line.cells());
    }
    table
}
