//! `bailiwick shard move-slots`: moves slots from a running shard to another one of its region.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use client::new_request_id;
use link::host::clock::SystemEntropy;
use serde_json::json;
use shard::{SlotsRequest, SlotsStatus};
use tokio::time::sleep;

use super::block_on;
use crate::config;
use crate::error::{Exit, Failure};
use crate::terminal;

/// Time in which a shard answers.
const WITHIN: Duration = Duration::from_secs(30);
/// Time between two questions how far it is.
const ASK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The configuration of the shard that has the slots, a TOML file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The name of that shard, to be sure
    #[arg(long, value_name = "SHARD")]
    from: Option<String>,
    /// The shard that is to have them. Without it, the command shows how far moves are
    #[arg(long, value_name = "SHARD", conflicts_with = "cancel")]
    to: Option<String>,
    /// Which slots, such as `512-767,900`. Without it: those that the shard serves and the annex gives to
    /// the other one
    #[arg(long, value_name = "SLOTS", requires = "to")]
    slots: Option<String>,
    /// Give up the moves of all slots that were not given away yet
    #[arg(long)]
    cancel: bool,
    /// Wait until all moves from the shard have ended, and show how far they are
    #[arg(long)]
    watch: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Asks the shard, and shows what it says.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { config, from, to, slots, cancel, watch, json } = arguments;
    let settings = settings(config, from.as_deref())?;
    let request = match (to, cancel) {
        (Some(to), _) => SlotsRequest::Move { to: to.clone(), slots: slots.clone() },
        (None, true) => SlotsRequest::Cancel,
        (None, false) => SlotsRequest::Status,
    };
    let mut status = ask(&settings, request)?;
    let mut shown = None;
    while *watch && !status.is_done() {
        if shown.as_ref() != Some(&status) {
            show(&status, *json)?;
            shown = Some(status);
        }
        block_on(async {
            sleep(ASK_EVERY).await;
            Ok(())
        })?;
        status = ask(&settings, SlotsRequest::Status)?;
    }
    show(&status, *json)
}

fn settings(path: &Path, from: Option<&str>) -> Result<shard::Settings, Failure> {
    let settings = config::shard::read(path)?.settings;
    let own = settings.shard.as_str();
    match from.filter(|from| *from != own) {
        None => Ok(settings),
        Some(from) => {
            let text = format!(
                "the configuration is of shard {own}, and not of {from}: run this on the machine of \
                 {from}, with its configuration"
            );
            Err(Failure::said(Exit::Config, text))
        }
    }
}

fn ask(settings: &shard::Settings, request: SlotsRequest) -> Result<SlotsStatus, Failure> {
    let id = new_request_id(&SystemEntropy);
    let id = id.map_err(|error| Failure::new(Exit::Unavailable, error))?.to_string();
    let asked = block_on(async {
        settings.ask_about_slots(id, request, WITHIN).await.map_err(super::shard::error)
    });
    asked?.ok_or_else(|| {
        let text = "the shard has not answered in time: see that it runs with this configuration. It \
                    may still do what was asked: run `bailiwick shard move-slots` without `--to` \
                    before you ask again";
        Failure::said(Exit::Unavailable, text)
    })
}

fn show(status: &SlotsStatus, json: bool) -> Result<(), Failure> {
    let SlotsStatus { serves, ordered, frozen, left, given_up, coming, halted } = status;
    if json {
        return terminal::say(json!({
            "serves": serves, "ordered": ordered, "frozen": frozen, "left": left,
            "given_up": given_up, "coming": coming, "halted": halted,
        }));
    }
    let mut output = terminal::Output::new();
    for (what, slots) in [
        ("serves", serves),
        ("to be moved", ordered),
        ("being copied, and not written", frozen),
        ("given away, with rows left here", left),
        ("given up, and to be discarded there", given_up),
        ("coming", coming),
    ] {
        if !slots.is_empty() {
            output.line(format!("{what}: {slots}"))?;
        }
    }
    for why in halted {
        output.line(format!("does not go on: {why}"))?;
    }
    if status.is_done() {
        output.line("no slot goes from this shard".to_owned())?;
    }
    output.flush()
}
