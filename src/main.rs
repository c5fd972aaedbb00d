//! The `bailiwick` binary: wiring only. Every decision is made in a crate under `crates/`.

mod arguments;
mod commands;
mod config;
mod dev;
mod doctor;
mod error;
mod files;
mod serve;
mod terminal;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before there is anything that could panic: see there.
    link::ops::logging::silence_panics();
    commands::main()
}
