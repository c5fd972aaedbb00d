//! `bailiwick map`: a region map from its first draft to the day on which it is replaced.
//! docs/ops-guide.md is a day with it, docs/map-reference.md what may stand in it.

mod draft;
mod files;
mod live;
mod plan;
mod sign;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use link::host::clock::SystemClock;
use terms::Clock as _;

use crate::commands::{Exit, Failure};
use crate::terminal;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say everything that is wrong with a map, or worth knowing before it is signed
    Check(draft::Check),
    /// Write a map in one form; comments stay
    Fmt(draft::Format),
    /// Print the JSON Schema of maps, annexes or packs, for editors
    Schema(draft::Schema),
    /// Rule on people with known answers: for the pipeline of a repository of maps
    Test(plan::Test),
    /// Say what a map would change: in words, for which people, and for whom of those stored
    Plan(plan::Plan),
    /// Make the key of a person who signs maps
    Key(sign::Key),
    /// Sign a map, or add a second signature
    Sign(sign::Sign),
    /// Sign a region's annex, for a map that names its operators' keys
    SignAnnex(sign::SignAnnex),
    /// Give a signed map to every shard
    Apply(live::Apply),
    /// Say which map each process holds
    Status(live::Status),
    /// List the maps that a region has taken, with their signers
    History(live::History),
    /// Print the map in force, or an earlier one
    Get(live::Get),
    /// Write an earlier map anew as the next one, to be signed and applied
    Revert(live::Revert),
}

/// The statute packs that a command reads beside those of this program.
#[derive(Debug, Args)]
pub(crate) struct Packs {
    /// A statute pack beside those of this program; may be repeated
    #[arg(long = "pack", value_name = "FILE")]
    packs: Vec<PathBuf>,
}

/// Does what was typed.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Check(options) => draft::check(options),
        Command::Fmt(options) => draft::format(options),
        Command::Schema(options) => draft::schema(options),
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

fn day(text: &str) -> Result<atlas::Date, &'static str> {
    atlas::Date::parse(text).ok_or("is not a day such as 2026-11-25")
}

/// The day on which the rules are judged where no other was asked for.
fn today() -> atlas::Date {
    atlas::Date::of(SystemClock.now())
}

/// A digest as maps write it.
fn digest(digest: &[u8]) -> String {
    digest.iter().fold(String::from("sha256:"), |text, byte| format!("{text}{byte:02x}"))
}
