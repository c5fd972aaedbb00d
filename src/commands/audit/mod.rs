//! `bailiwick audit`: mirrors, verifies and compares placement logs, and reports on them.
//! option.

mod entries;
mod follow;
mod inputs;
mod mirror;
mod outcome;
mod receipt;
mod reconcile;
mod report;
mod shards;
mod verify;

use clap::{Args, Subcommand};

use crate::error::Failure;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Copy the logs of shards, and verify each entry against the signed checkpoint
    Mirror(mirror::Options),
    /// Verify mirrored logs offline: every file, hash and signature; and the moves between two of them
    Verify(verify::Verify),
    /// Print the entries of a mirrored log
    Entries(entries::Options),
    /// Verify a receipt offline
    Receipt(receipt::Options),
    /// Compare a shard's log with its store: the number of records, and samples of both
    Reconcile(reconcile::Options),
    /// Continuously mirror and verify logs; print alerts
    Follow(follow::Options),
    /// Write a report on mirrored logs and maps, as HTML, CSV and JSON
    Report(report::Options),
    /// Compare two mirrors of one log
    Diff(verify::Diff),
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Mirror(options) => mirror::run(options),
        Command::Verify(options) => verify::verify(options),
        Command::Entries(options) => entries::run(options),
        Command::Receipt(options) => receipt::run(options),
        Command::Reconcile(options) => reconcile::run(options),
        Command::Follow(options) => follow::run(options),
        Command::Report(options) => report::run(options),
        Command::Diff(options) => verify::diff(options),
    }
}
