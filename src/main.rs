//! The `bailiwick` binary: wiring only. Every decision is made in a crate under `crates/`.

fn main() {}
