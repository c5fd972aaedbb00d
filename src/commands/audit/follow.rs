//! `audit follow`: mirrors and verifies until a signal stops it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use audit::follow::{Alert, AlertKind, SHARDS_MAX, Settings, Shard, follow};
use clap::Args;
use link::host::clock::SystemClock;
use serde_json::json;

use crate::commands::audit::inputs::{PolicyFile, wrong};
use crate::commands::audit::shards::{Audited, Found};
use crate::error::Failure;
use crate::files::make_folder;
use crate::serve::{self, Stop};
use crate::terminal::{say, warn};

/// Seconds that an option may name at the most: a year.
const SECONDS_MAX: u64 = 366 * 24 * 60 * 60;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    found: Found,
    #[command(flatten)]
    policy: PolicyFile,
    /// Seconds between two checks of a shard
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = seconds())]
    every_s: u64,
    /// Seconds without a completed check of a shard before an alert
    #[arg(long, value_name = "S", default_value_t = 300, value_parser = seconds())]
    away_s: u64,
    /// Seconds without a new entry before an alert [default: no alert]
    #[arg(long, value_name = "S", value_parser = seconds())]
    still_s: Option<u64>,
    /// Seconds after which a persistent alert is repeated
    #[arg(long, value_name = "S", default_value_t = 3600, value_parser = seconds())]
    again_s: u64,
    /// File for metrics in Prometheus's text format, written every five seconds
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
    /// Print JSON, one object on each line
    #[arg(long)]
    json: bool,
    /// Folder of the mirrors
    #[arg(value_name = "DIR")]
    place: PathBuf,
}

fn seconds() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=SECONDS_MAX)
}

/// Follows until a signal comes. Alerts are lines on standard output.
pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let place = &options.place;
    make_folder(place)?;
    let settings = Settings {
        place: place.clone(),
        policy: options.policy.read()?,
        entries_max: options.found.max_entries,
        every: Duration::from_secs(options.every_s),
        away_max: Duration::from_secs(options.away_s),
        still_max: options.still_s.map(Duration::from_secs),
        again_after: Duration::from_secs(options.again_s),
        metrics: options.metrics.clone(),
    };
    serve::block_on(async {
        let stop = Stop::on_signals()?;
        let gateway = options.found.gateway().await?;
        let Audited { shards, lacking } = options.found.shards(gateway.as_ref()).await?;
        if shards.len() > SHARDS_MAX {
            return Err(wrong(format!("there are more than {SHARDS_MAX} shards")));
        }
        let shards = shards.into_iter().map(|shard| Shard {
            name: shard.url,
            named: shard.named,
            ledger: shard.ledger,
        });
        let json = options.json;
        for text in lacking {
            tell(json, &Alert { kind: AlertKind::Unreachable, shard: "gateway".to_owned(), text });
        }
        let mut alert = move |alert: &Alert| tell(json, alert);
        let clock = Arc::new(SystemClock);
        follow(shards.collect(), settings, clock, &mut alert, stop.asked()).await;
        Ok(())
    })
}

fn tell(json: bool, alert: &Alert) {
    let Alert { kind, shard, text } = alert;
    let said = if json {
        say(json!({"alert": kind.as_str(), "shard": shard, "text": text}))
    } else {
        say(format!("{}: {shard}: {text}", kind.as_str()))
    };
    if said.is_err() {
        // Standard output is closed; the alert must still be printed.
        warn(format!("{}: {shard}: {text}", kind.as_str()));
    }
}
