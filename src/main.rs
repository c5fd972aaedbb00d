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

/// The C library's allocator costs a put about a sixth more processor time, and keeps nearly twice the
/// memory of large bodies. Its settings stand in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Before there is anything that could panic: see there.
    link::ops::logging::silence_panics();
    commands::main()
}
