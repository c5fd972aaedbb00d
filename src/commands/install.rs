//! `bailiwick completions` and `bailiwick man`: files that a package installs with the binary.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::{Shell, generate};

use crate::error::{Exit, Failure};
use crate::terminal;

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Folder for the pages, one for each command; created if missing
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Prints a script for a shell.
pub(super) fn completions(options: &Completions, mut command: Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    generate(options.shell, &mut command, "bailiwick", &mut script);
    terminal::print(&script)
}

/// Writes the manual pages.
pub(super) fn man(options: &Man, command: Command) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        let text = format!("{} cannot be written ({error})", options.folder.display());
        Failure::said(Exit::Unavailable, text)
    };
    fs::create_dir_all(&options.folder).map_err(failed)?;
    clap_mangen::generate_to(command, &options.folder).map_err(failed)
}
