//! `bailiwick keys`: generations of a region's key, at a shard that runs.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use client::new_request_id;
use link::host::clock::SystemEntropy;
use serde_json::json;
use shard::{Generation, KeyRequest};

use crate::config;
use crate::error::{Exit, Failure};
use crate::serve;
use crate::terminal::{say, table};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the generations, and how many subjects of the shard each wraps
    Status(Options),
    /// Add a generation. New subjects are wrapped under it, and all others in the background
    Rotate(Options),
    /// Take over the newer generations of another shard's keyring, which that shard has made
    Take {
        /// A copy of the keyring of another shard of the region
        #[arg(long, value_name = "FILE")]
        keyring: PathBuf,
        #[command(flatten)]
        options: Options,
    },
    /// Destroy an old generation that wraps no subject any more
    Destroy {
        /// Its number
        #[arg(long, value_name = "N")]
        generation: u32,
        #[command(flatten)]
        options: Options,
    },
}

#[derive(Debug, Args)]
struct Options {
    /// The configuration of the shard, a TOML file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Seconds to wait for the shard
    #[arg(long, value_name = "S", default_value_t = 30,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    wait_s: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs what was typed.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (options, request) = match &arguments.command {
        Command::Status(options) => (options, KeyRequest::Status),
        Command::Rotate(options) => (options, KeyRequest::Rotate),
        Command::Take { options, .. } => (options, KeyRequest::Take),
        Command::Destroy { generation, options } => (options, KeyRequest::Destroy(*generation)),
    };
    let settings = config::shard::read(&options.config)?.settings;
    let id = new_request_id(&SystemEntropy);
    let id = id.map_err(|error| Failure::new(Exit::Unavailable, error))?.to_string();
    if let Command::Take { keyring, .. } = &arguments.command {
        settings.give_keyring(keyring).map_err(serve::shard::error)?;
    }
    let within = Duration::from_secs(options.wait_s);
    let asked = serve::block_on(async {
        settings.ask_about_keys(id, request, within).await.map_err(serve::shard::error)
    });
    if matches!(arguments.command, Command::Take { .. }) {
        // The shard has removed it, or will not have it any more.
        settings.take_back_keyring().map_err(serve::shard::error)?;
    }
    match asked? {
        Some(generations) => options.show(&generations),
        None => Err(Failure::said(
            Exit::Unavailable,
            "the shard has not answered in time: see that it runs with this configuration. It may \
             still do what was asked: look with `bailiwick keys status` before you ask again",
        )),
    }
}

impl Options {
    fn show(&self, generations: &[Generation]) -> Result<(), Failure> {
        if self.json {
            let all = generations.iter().map(
                |it| json!({"number": it.number, "current": it.current, "subjects": it.subjects}),
            );
            return say(json!({"generations": all.collect::<Vec<_>>()}));
        }
        let mut table = table(&["generation", "subjects", "state"]);
        for Generation { number, current, subjects } in generations {
            let state = match (current, subjects) {
                (true, _) => "current",
                (false, 0) => "wraps nothing: it can be destroyed",
                (false, _) => "old: its subjects are being wrapped under the current one",
            };
            table.add_row([&number.to_string(), &subjects.to_string(), state]);
        }
        say(table)
    }
}
