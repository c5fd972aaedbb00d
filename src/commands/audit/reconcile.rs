//! `audit reconcile`: compares a shard's log with its store.

use std::path::PathBuf;
use std::time::Duration;

use audit::mirror::{self, Pull, pull};
use audit::reconcile::{Error, Logs, Question, Reconciled, SAMPLE_MAX, reconcile};
use audit::{Against, Policy, verify};
use clap::Args;
use link::host::clock::SystemEntropy;
use serde_json::json;
use terms::Entropy as _;
use tokio::time::{Instant, sleep};

use crate::commands::audit::inputs::{PolicyFile, wrong};
use crate::commands::audit::outcome::{Outcome, on_trust};
use crate::commands::audit::shards::{Audited, Found, Shard, failed, not_mirrored};
use crate::commands::audit::verify::broken;
use crate::error::{Exit, Failure};
use crate::serve;
use crate::terminal::table::Table;
use crate::terminal::{say, table, warn};

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
    /// Number of entries that the shard must open, and of records that it must name
    #[arg(long, value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(0..=i64::from(SAMPLE_MAX)))]
    sample: u32,
    /// Random seed for the sample [default: random]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Folder of the mirrors; they are updated first
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
    let (all, outcome) = serve::block_on(async {
        let gateway = options.found.gateway().await?;
        let Audited { shards, lacking } = options.found.shards(gateway.as_ref()).await?;
        let mut outcome = Outcome::of(lacking);
        let mut all = Vec::new();
        // One that fails does not keep the others from being compared.
        for shard in &shards {
            match one(options, policy.as_ref(), seed, shard, &mut outcome).await {
                Ok(done) => all.push(done),
                Err(failure) => outcome.failure(failure),
            }
        }
        Ok((all, outcome))
    })?;
    if options.json {
        say(objects(&all, &outcome.findings))?;
    } else {
        all.iter().try_for_each(|done| say(rows(done)))?;
    }
    outcome.end()
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
    shard: &Shard,
    outcome: &mut Outcome,
) -> Result<Done, Failure> {
    let (place, Shard { url, ledger, .. }) = (&options.place, shard);
    let into = shard.into(place, policy);
    let Pull { logs: pulled, errors } = pull(ledger, &into, &mut |_, _, _| {}).await;
    errors.iter().for_each(|error| outcome.error(url, error));
    for log in &pulled {
        // What the log states is only as good as the mirror. Broken rules are reported, and do not
        // stop the comparison.
        let verified = verify(&log.folder, Against { policy, maps: None }, &mut |_, _| {})
            .map_err(|finding| wrong(format!("{}/{finding}", log.folder.path().display())))?;
        outcome.findings.extend(broken(&log.folder, &verified));
        outcome.findings.extend(log.history.as_ref().map(ToString::to_string));
        if log.on_trust {
            on_trust(&log.checkpoint.origin, &log.vkey);
        }
    }
    // The newest of those that were pulled just now, by its period: no answer chooses it.
    let newest = pulled.last().map(|log| log.checkpoint.origin.clone());
    let newest = newest.ok_or_else(|| unread(&Error::NoLog))?;
    let logs = Logs::of_shard(place, &newest).map_err(|error| unread(&error))?;
    let question = Question::draw(&logs, options.sample, seed).map_err(|error| unread(&error))?;
    if options.sample > 0 {
        warn(format!("{url}: the shard opens entries; its answers stay in this process"));
    }
    let answer = ledger.reconcile(question.message()).await;
    let answer = answer.map_err(|error| failed(url, &error))?;
    // The log has grown meanwhile: by what was written, and by the note of this very question. It
    // is signed a moment later.
    let until = Instant::now() + SIGNED_WAIT_MAX;
    let reconciled = loop {
        let pulled = pull(ledger, &into, &mut |_, _, _| {}).await;
        for error in &pulled.errors {
            if !matches!(error, mirror::Error::Alarm(_)) {
                return Err(not_mirrored(url, error));
            }
            // What was reported the first time is not reported again; what is new is.
            outcome.error(url, error);
        }
        let logs = Logs::of_shard(place, &newest).map_err(|error| unread(&error))?;
        match reconcile(&logs, &question, &answer) {
            Err(Error::Behind { .. }) if Instant::now() < until => sleep(SIGNED_WAIT).await,
            done => break done.map_err(|error| unread(&error))?,
        }
    };
    let name = logs.name().to_owned();
    let findings = reconciled.findings.iter().map(|finding| format!("{name}: {finding}"));
    outcome.findings.extend(findings);
    if reconciled.more > 0 {
        outcome.findings.push(format!("{name}: {} more of this kind", reconciled.more));
    }
    Ok(Done { name, seed, reconciled })
}

fn unread(error: &Error) -> Failure {
    let exit = match error {
        Error::Folder { .. } | Error::NoLog => Exit::Data,
        Error::Behind { .. }
        | Error::NewPeriod(_)
        | Error::OtherLog(_)
        | Error::Older { .. }
        | Error::Answer(_) => Exit::Failed,
    };
    Failure::said(exit, error)
}

fn expected(done: &Reconciled) -> String {
    match done.spread {
        0 => done.expected.to_string(),
        spread => format!("{} to {}", done.expected.saturating_sub(spread), done.expected),
    }
}

fn rows(done: &Done) -> Table {
    let mut table = table(&[]);
    let r = &done.reconciled;
    for (name, value) in [
        ("shard", done.name.clone()),
        ("records in the store", r.records.to_string()),
        ("records in the log", expected(r)),
        (
            "copies in the store",
            r.copies_held.map_or_else(|| "not counted".to_owned(), |n| n.to_string()),
        ),
        ("copies in the log", r.copies.to_string()),
        ("entries opened", r.opened.to_string()),
        ("superseded meanwhile", r.superseded.to_string()),
        ("not opened, perhaps erased", r.perhaps_erased.to_string()),
        ("records that match their entries", r.rows.to_string()),
        ("of these, superseded meanwhile", r.rows_superseded.to_string()),
        ("seed", done.seed.to_string()),
        ("log and store", r.verdict()),
    ] {
        table.add_row([name.to_owned(), value]);
    }
    table
}

fn objects(all: &[Done], findings: &[String]) -> serde_json::Value {
    let shards = all.iter().map(|done| {
        let r = &done.reconciled;
        let findings: Vec<String> = r.findings.iter().map(ToString::to_string).collect();
        json!({
            "shard": done.name, "seed": done.seed, "records": r.records, "expected": r.expected,
            "copies": r.copies_held, "copies_expected": r.copies, "spread": r.spread, "opened": r.opened, "superseded": r.superseded,
            "perhaps_erased": r.perhaps_erased, "rows": r.rows,
            "rows_superseded": r.rows_superseded, "unsampled": r.unsampled,
            "verdict": r.verdict(), "findings": findings, "findings_more": r.more,
        })
    });
    json!({"shards": shards.collect::<Vec<_>>(), "findings": findings})
}
