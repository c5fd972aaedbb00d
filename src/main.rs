//! The `bailiwick` binary: wiring only. Every decision is made in a crate under `crates/`.

mod cli;
mod config;
mod dev;
mod serve;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before there is anything that could panic: see there.
    link::telemetry::silence_panics();
    cli::main()
}
