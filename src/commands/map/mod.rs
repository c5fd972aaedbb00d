//! `bailiwick map`: a region map from its draft to its replacement.
//! explains how to use it, docs/map-reference.md has every key.

mod draft;
mod live;
mod plan;
mod shared;
mod sign;

use clap::{Args, Subcommand};

use crate::error::Failure;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Report every error and warning of a map
    Check(draft::Check),
    /// Rewrite a map in the canonical format, with its comments
    Fmt(draft::Format),
    /// Print the JSON Schema of a kind of file, for editors
    Schema(draft::Schema),
    /// List the built-in statute packs, or print the page of one, in Markdown
    Laws(draft::Laws),
    /// Rule on people with known answers: for the pipeline of a repository of maps
    Test(plan::Test),
    /// Describe what a map would change, for which people, and for how many stored subjects
    Plan(plan::Plan),
    /// Create the key of a signer
    Key(sign::Key),
    /// Sign a map, or add a second signature
    Sign(sign::Sign),
    /// Sign a region's annex, for a map that names its operators' keys
    SignAnnex(sign::SignAnnex),
    /// Apply a signed map to every shard
    Apply(live::Apply),
    /// Show which map each process uses
    Status(live::Status),
    /// List the maps that a region has accepted, with their signers
    History(live::History),
    /// Print the map in force, or an earlier one
    Get(live::Get),
    /// Write an earlier map as the next version, to be signed and applied
    Revert(live::Revert),
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Check(options) => draft::check(options),
        Command::Fmt(options) => draft::format(options),
        Command::Schema(options) => draft::schema(options),
        Command::Laws(options) => draft::laws(options),
        Command::Test(options) => plan::test(options),
        Command::Plan(options) => plan::plan(options),
        Command::Key(options) => sign::key(options),
        Command::Sign(options) => sign::sign(options),
        Command::SignAnnex(options) => sign::annex(options),
        Command::Apply(options) => live::apply(options),
        Command::Status(options) => live::status(options),
        Command::History(options) => live::history(options),
        Command::Get(options) => live::get(options),
        Command::Revert(options) => live::revert(options),
    }
}
