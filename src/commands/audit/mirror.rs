//! `audit mirror`: copies and verifies the logs of shards.

use std::path::PathBuf;

use audit::mirror::{KeyFrom, Pulled, fetch_maps, pull};
use clap::Args;
use serde_json::json;

use crate::commands::audit::inputs::{MaxAge, PolicyFile, time};
use crate::commands::audit::outcome::{Outcome, on_trust};
use crate::commands::audit::shards::{Audited, Found};
use crate::error::Failure;
use crate::files::{make_folder, unwritten};
use crate::serve;
use crate::terminal::table::Table;
use crate::terminal::{progress, say, table};

/// How the progress line looks.
const PROGRESS: &str = "{bar:30} {pos}/{len} entries, {per_sec}, {eta} left: {msg}";

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    found: Found,
    #[command(flatten)]
    policy: PolicyFile,
    #[command(flatten)]
    age: MaxAge,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Folder of the mirrors, with one folder for each log
    #[arg(value_name = "DIR")]
    place: PathBuf,
}

/// Mirrors every log of every shard. A shard that fails does not keep the others from it.
pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let policy = options.policy.read()?;
    let place = &options.place;
    make_folder(place)?;
    serve::block_on(async {
        let gateway = options.found.gateway().await?;
        let Audited { shards, lacking } = options.found.shards(gateway.as_ref()).await?;
        let mut logs = Vec::new();
        let mut outcome = Outcome::of(lacking);
        for shard in &shards {
            let bar = progress(PROGRESS);
            let mut progress = |origin: &str, done, total| {
                bar.set_length(total);
                bar.set_position(done);
                bar.set_message(origin.to_owned());
            };
            let into = shard.into(place, policy.as_ref());
            let pulled = pull(&shard.ledger, &into, &mut progress).await;
            bar.finish_and_clear();
            pulled.errors.iter().for_each(|error| outcome.error(&shard.url, error));
            logs.extend(pulled.logs);
        }
        // What entries break is in the files of findings by now.
        outcome.standing(place);
        for log in &logs {
            outcome.findings.extend(log.history.as_ref().map(ToString::to_string));
            outcome.findings.extend(options.age.judge(&log.checkpoint.origin, log.cosigned_at));
        }
        if let Some(gateway) = &gateway {
            match fetch_maps(gateway, place, &logs).await {
                Ok(findings) => outcome.findings.extend(findings),
                Err((path, error)) => outcome.failure(unwritten(&path, &error)),
            }
        }
        if options.json {
            say(objects(&logs, &outcome.findings))?
        } else {
            say(rows(&logs))?
        }
        let trusted = logs.iter().filter(|log| log.on_trust);
        trusted.for_each(|log| on_trust(&log.checkpoint.origin, &log.vkey));
        outcome.end()
    })
}

const fn key_from(log: &Pulled) -> &'static str {
    match log.key_from {
        KeyFrom::Policy => "policy",
        KeyFrom::Mirror => "mirror",
        KeyFrom::Shard => "shard",
    }
}

fn rows(logs: &[Pulled]) -> Table {
    let mut table =
        table(&["log", "entries", "new", "root", "key known from", "cosigned by", "last"]);
    for log in logs {
        let at = &log.checkpoint;
        table.add_row([
            at.origin.clone(),
            at.size.to_string(),
            at.size.saturating_sub(log.before).to_string(),
            at.root.to_base64(),
            key_from(log).to_owned(),
            log.witnesses.join(", "),
            log.cosigned_at.map_or_else(String::new, |at| time(Some(at))),
        ]);
    }
    table
}

fn objects(logs: &[Pulled], findings: &[String]) -> serde_json::Value {
    let objects = logs.iter().map(|log| {
        let at = &log.checkpoint;
        json!({
            "origin": at.origin, "size": at.size, "root": at.root.to_base64(),
            "new": at.size.saturating_sub(log.before), "vkey": log.vkey,
            "key_from": key_from(log), "on_trust": log.on_trust, "witnesses": log.witnesses,
            "cosigned_at": log.cosigned_at, "sealed": log.sealed,
            "folder": log.folder.path().display().to_string(),
        })
    });
    json!({"logs": objects.collect::<Vec<_>>(), "findings": findings})
}
