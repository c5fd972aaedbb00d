//! `audit mirror`: the logs of shards, copied and checked.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use audit::mirror::{KeyFrom, Pulled, pull};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::shards::{Found, Shard, not_mirrored};
use super::{Exit, Failure, PolicyFile, all_well, maps};
use crate::cli::terminal::{say, table, warn};
use crate::serve;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    found: Found,
    #[command(flatten)]
    policy: PolicyFile,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    /// The folder of the mirrors; each log has a folder of its own in it
    #[arg(value_name = "DIR")]
    place: PathBuf,
}

/// Mirrors every log of every shard. A shard that fails does not keep the others from it.
pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let policy = options.policy.read()?;
    let place = &options.place;
    std::fs::create_dir_all(place).map_err(|error| {
        let text = format!("{}: cannot be made ({error})", place.display());
        Failure::said(Exit::Unavailable, text)
    })?;
    serve::block_on(async {
        let gateway = options.found.gateway().await?;
        let shards = options.found.shards(gateway.as_ref()).await?;
        let (mut logs, mut findings, mut failed) = (Vec::new(), Vec::new(), None);
        for Shard { url, ledger } in shards {
            let bar = bar();
            let mut progress = |origin: &str, done, total| {
                bar.set_length(total);
                bar.set_position(done);
                bar.set_message(origin.to_owned());
            };
            let pulled = pull(&ledger, place, policy.as_ref(), &mut progress).await;
            bar.finish_and_clear();
            match pulled {
                Ok(pulled) => logs.extend(pulled),
                Err(error) => {
                    let failure = not_mirrored(&url, &error);
                    warn(&failure);
                    failed = failed.or(Some(failure.exit));
                }
            }
        }
        findings.extend(broken(&logs));
        if let Some(gateway) = &gateway {
            findings.extend(maps::mirror(gateway, place, &logs).await?);
        }
        if options.json {
            say(objects(&logs))?
        } else {
            say(rows(&logs))?
        }
        logs.iter().filter(|log| log.key_from == KeyFrom::Shard).for_each(on_trust);
        match failed {
            Some(exit) => {
                findings.iter().for_each(warn);
                Err(Failure::said(exit, "not every shard was mirrored"))
            }
            None => all_well(&findings),
        }
    })
}

fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    let form = "{bar:30} {pos}/{len} entries, {per_sec}, {eta} left: {msg}";
    if let Ok(style) = ProgressStyle::with_template(form) {
        bar.set_style(style);
    }
    bar
}

/// The rules that new entries break, and what new periods say of old ones and should not.
fn broken(logs: &[Pulled]) -> Vec<String> {
    let rules = logs.iter().flat_map(|log| {
        log.findings.iter().map(|broken| format!("{}: {broken}", log.folder.path().display()))
    });
    let history = logs.iter().filter_map(|log| log.history.as_ref().map(ToString::to_string));
    rules.chain(history).collect()
}

fn on_trust(log: &Pulled) {
    warn(format!(
        "{}: its key was taken on trust, since nobody has named it before: compare {} with what \
         the region's operators say",
        log.checkpoint.origin, log.vkey
    ));
}

const fn key_from(log: &Pulled) -> &'static str {
    match log.key_from {
        KeyFrom::Policy => "policy",
        KeyFrom::Mirror => "mirror",
        KeyFrom::Shard => "shard",
    }
}

fn rows(logs: &[Pulled]) -> comfy_table::Table {
    let mut table = table(&["log", "entries", "new", "root", "key known from", "cosigned by"]);
    for log in logs {
        let at = &log.checkpoint;
        table.add_row([
            at.origin.clone(),
            at.size.to_string(),
            at.size.saturating_sub(log.before).to_string(),
            at.root.to_base64(),
            key_from(log).to_owned(),
            log.witnesses.join(", "),
        ]);
    }
    table
}

fn objects(logs: &[Pulled]) -> serde_json::Value {
    let objects = logs.iter().map(|log| {
        let at = &log.checkpoint;
        json!({
            "origin": at.origin, "size": at.size, "root": at.root.to_base64(),
            "new": at.size.saturating_sub(log.before), "vkey": log.vkey,
            "key_from": key_from(log), "witnesses": log.witnesses,
            "folder": log.folder.path().display().to_string(),
        })
    });
    json!({"logs": objects.collect::<Vec<_>>()})
}
