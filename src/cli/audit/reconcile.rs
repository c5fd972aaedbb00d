//! `audit reconcile`: a shard's log against its store.

use std::path::PathBuf;
use std::time::Duration;

use audit::mirror::pull;
use audit::reconcile::{Error, Logs, Reconciled, SAMPLE_MAX, reconcile};
use audit::{Policy, verify};
use clap::Args;
use client::api;
use ledger::note::Verifier;
use link::system::SystemEntropy;
use serde_json::json;
use terms::Entropy as _;
use tokio::time::{Instant, sleep};

use super::shards::{Found, Shard, failed, not_mirrored};
use super::{Exit, Failure, PolicyFile, all_well};
use crate::cli::terminal::{say, table, warn};
use crate::serve;

/// Time for which it is waited until the log has signed what it answered.
const SIGNED_WAIT_MAX: Duration = Duration::from_secs(60);
/// Time between two looks whether it has.
const SIGNED_WAIT: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    found: Found,
    #[command(flatten)]
    policy: PolicyFile,
    /// Entries that the shard is to open, and records that it is to name: so many of each
    #[arg(long, value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(0..=i64::from(SAMPLE_MAX)))]
    sample: u32,
    /// What draws the sample: the same number draws the same one [default: chance]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    /// The folder of the mirrors; they are brought up to date first
    #[arg(value_name = "DIR")]
    place: PathBuf,
}

/// What came of one shard.
struct Done {
    name: String,
    seed: u64,
    reconciled: Reconciled,
}

/// Reconciles every shard.
pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let policy = options.policy.read()?;
    let seed = options.seed.map_or_else(chance, Ok)?;
    let all = serve::block_on(async {
        let gateway = options.found.gateway().await?;
        let mut all = Vec::new();
        for shard in options.found.shards(gateway.as_ref()).await? {
            all.push(one(options, policy.as_ref(), seed, &shard).await?);
        }
        Ok(all)
    })?;
    if options.json {
        say(objects(&all))?;
    } else {
        all.iter().try_for_each(|done| say(rows(done)))?;
    }
    let findings = all.iter().flat_map(|done| {
        done.reconciled.findings.iter().map(|finding| format!("{}: {finding}", done.name))
    });
    all_well(&findings.collect::<Vec<_>>())
}

/// The sample must not be one that the shard could have guessed.
fn chance() -> Result<u64, Failure> {
    let mut bytes = [0; 8];
    let drawn = SystemEntropy.fill(&mut bytes);
    drawn.map_err(|error| Failure::new(Exit::Unavailable, error))?;
    Ok(u64::from_be_bytes(bytes))
}

async fn one(
    options: &Options,
    policy: Option<&Policy>,
    seed: u64,
    Shard { url, ledger }: &Shard,
) -> Result<Done, Failure> {
    let place = &options.place;
    let update = async || {
        let pulled = pull(ledger, place, policy, &mut |_, _, _| {}).await;
        pulled.map_err(|error| not_mirrored(url, &error))
    };
    let pulled = update().await?;
    for log in &pulled {
        // What the log says is only as good as the mirror.
        verify(&log.folder, policy, &mut |_, _| {}).map_err(|finding| {
            super::wrong(format!("{}/{finding}", log.folder.path().display()))
        })?;
    }
    let vkey = &ledger.checkpoint("").await.map_err(|error| failed(url, &error))?.vkey;
    let newest = Verifier::from_vkey(vkey)
        .map_err(|error| super::wrong(format!("{url}: its key: {error}")))?;
    let logs = Logs::of_shard(place, newest.name()).map_err(|error| unread(&error))?;
    let asked = logs.draw(options.sample, seed).map_err(|error| unread(&error))?;
    let question =
        api::LedgerReconcileRequest { indexes: asked.clone(), rows: options.sample, seed };
    if options.sample > 0 {
        warn(format!("{url}: the shard opens entries; what it answers stays in this process"));
    }
    let answer = ledger.reconcile(question).await.map_err(|error| failed(url, &error))?;
    // The log has grown meanwhile: by what was written, and by the note of this very question. It
    // is signed a moment later.
    let until = Instant::now() + SIGNED_WAIT_MAX;
    let reconciled = loop {
        update().await?;
        let logs = Logs::of_shard(place, newest.name()).map_err(|error| unread(&error))?;
        match reconcile(&logs, &asked, &answer) {
            Err(Error::Behind { .. }) if Instant::now() < until => sleep(SIGNED_WAIT).await,
            done => break done.map_err(|error| unread(&error))?,
        }
    };
    Ok(Done { name: logs.name().to_owned(), seed, reconciled })
}

fn unread(error: &Error) -> Failure {
    let exit = match error {
        Error::Folder { .. } | Error::Entry { .. } | Error::NoLog => Exit::Data,
        Error::Behind { .. } | Error::Answer(_) => Exit::Failed,
    };
    Failure::said(exit, error)
}

fn expected(done: &Reconciled) -> String {
    match done.spread {
        0 => done.expected.to_string(),
        spread => format!("{} to {}", done.expected.saturating_sub(spread), done.expected),
    }
}

fn rows(done: &Done) -> comfy_table::Table {
    let mut table = table(&[]);
    let r = &done.reconciled;
    let well = if r.findings.is_empty() { "yes" } else { "NO" };
    for (name, value) in [
        ("shard", done.name.clone()),
        ("records in the store", r.records.to_string()),
        ("records by the log", expected(r)),
        ("entries opened", r.opened.to_string()),
        ("superseded meanwhile", r.superseded.to_string()),
        ("not opened, perhaps erased", r.perhaps_erased.to_string()),
        ("records that are their entries", r.rows.to_string()),
        ("seed", done.seed.to_string()),
        ("log and store agree", well.to_owned()),
    ] {
        table.add_row([name.to_owned(), value]);
    }
    table
}

fn objects(all: &[Done]) -> serde_json::Value {
    let shards = all.iter().map(|done| {
        let r = &done.reconciled;
        let findings: Vec<String> = r.findings.iter().map(ToString::to_string).collect();
        json!({
            "shard": done.name, "seed": done.seed, "records": r.records, "expected": r.expected,
            "spread": r.spread, "opened": r.opened, "superseded": r.superseded,
            "perhaps_erased": r.perhaps_erased, "rows": r.rows, "findings": findings,
        })
    });
    json!({"shards": shards.collect::<Vec<_>>()})
}
