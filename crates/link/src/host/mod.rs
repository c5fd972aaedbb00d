//! The machine: its sandbox, clock, limits, files and tasks.

pub mod clock;
pub mod file_watch;
pub mod files;
pub mod rlimit;
pub mod sandbox;
pub(crate) mod seccomp;
pub mod supervise;
