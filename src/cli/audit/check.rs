//! `audit verify` and `audit diff`: mirrored logs, offline.

use std::path::{Path, PathBuf};

use audit::diff::{Diff as Found, diff as compare};
use audit::mirror::old_heads;
use audit::{Folder, Verified, verify as verify_log};
use clap::Args;
use ledger::entry::Minute;
use serde_json::{Map, Value, json};

use super::{Exit, Failure, PolicyFile, all_well, wrong};
use crate::cli::terminal::{say, table};

#[derive(Debug, Args)]
pub(super) struct Verify {
    #[command(flatten)]
    policy: PolicyFile,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    /// The folder of a log, or of several
    #[arg(value_name = "DIR")]
    place: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Diff {
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    /// The folder of a log
    #[arg(value_name = "DIR")]
    first: PathBuf,
    /// The folder of the same log, from elsewhere
    #[arg(value_name = "DIR")]
    second: PathBuf,
}

/// Verifies every log in a folder, and says of each what is wrong first.
pub(super) fn verify(options: &Verify) -> Result<(), Failure> {
    let policy = options.policy.read()?;
    let place = &options.place;
    let logs = Folder::logs(place)
        .map_err(|error| Failure::said(Exit::Config, super::shards::folder_said(&error)))?;
    if logs.is_empty() {
        let text = format!("{}: there is no log in it", place.display());
        return Err(Failure::said(Exit::Config, text));
    }
    let (mut good, mut findings) = (Vec::new(), Vec::new());
    for log in &logs {
        match verify_log(log, policy.as_ref(), &mut |_, _| {}) {
            Ok(verified) => good.push((log, verified)),
            Err(finding) => findings.push(format!("{}/{finding}", log.path().display())),
        }
    }
    if findings.is_empty() {
        // Between logs there is more to check, once each of them is known to be whole.
        findings.extend(heads(place)?);
    }
    if options.json {
        let logs = good.iter().map(|(log, verified)| object(log, verified));
        say(json!({"logs": logs.collect::<Vec<_>>(), "findings": findings}))?;
    } else {
        for (log, verified) in &good {
            say(format!("{}\n{}", log.path().display(), rows(verified)))?;
        }
    }
    all_well(&findings)
}

/// What new periods say of old ones, and should not.
fn heads(place: &Path) -> Result<Vec<String>, Failure> {
    let heads = old_heads(place).map_err(|error| {
        Failure::said(
            Exit::Data,
            format!("{}: {}", place.display(), super::shards::folder_said(&error)),
        )
    })?;
    Ok(heads.iter().map(ToString::to_string).collect())
}

fn times(verified: &Verified) -> Option<(String, String)> {
    let (first, last) = verified.minutes?;
    Some((Minute(first).to_string(), Minute(last).to_string()))
}

fn rows(verified: &Verified) -> comfy_table::Table {
    let mut table = table(&[]);
    let at = &verified.checkpoint;
    let counts = verified.counts.iter().map(|(kind, count)| format!("{kind} {count}"));
    let times = times(verified).map_or_else(String::new, |(a, b)| format!("{a} to {b}"));
    let key = if verified.key_by_policy {
        format!("{} (as the policy says)", verified.vkey)
    } else {
        format!("{} (as it lies beside the log)", verified.vkey)
    };
    let witnesses = verified.witnesses.join(", ");
    for (name, value) in [
        ("log", at.origin.clone()),
        ("entries", at.size.to_string()),
        ("root", at.root.to_base64()),
        ("key", key),
        ("cosigned by", if witnesses.is_empty() { "nobody".to_owned() } else { witnesses }),
        ("from, to (UTC)", times),
        ("by kind", counts.collect::<Vec<_>>().join(", ")),
        ("ended", if verified.sealed { "yes" } else { "no" }.to_owned()),
        ("verified", "every file, hash and signature".to_owned()),
    ] {
        table.add_row([name.to_owned(), value]);
    }
    table
}

fn object(log: &Folder, verified: &Verified) -> Value {
    let at = &verified.checkpoint;
    let counts = verified.counts.iter();
    let counts: Map<String, Value> =
        counts.map(|(kind, count)| (kind.as_str().to_owned(), (*count).into())).collect();
    let (first, last) = times(verified).unzip();
    json!({
        "folder": log.path().display().to_string(), "origin": at.origin, "size": at.size,
        "root": at.root.to_base64(), "vkey": verified.vkey,
        "key_by_policy": verified.key_by_policy, "witnesses": verified.witnesses,
        "first_time": first, "last_time": last, "counts": counts, "sealed": verified.sealed,
    })
}

/// Compares two mirrors, each of which is verified first: what one of them lacks is no evidence
/// against the log.
pub(super) fn diff(options: &Diff) -> Result<(), Failure> {
    let (first, second) = (Folder::at(&options.first), Folder::at(&options.second));
    for folder in [&first, &second] {
        verify_log(folder, None, &mut |_, _| {})
            .map_err(|finding| wrong(format!("{}/{finding}", folder.path().display())))?;
    }
    let found = compare(&first, &second).map_err(wrong)?;
    match found {
        Found::Same(at) if options.json => {
            say(json!({"result": "same", "origin": at.origin, "size": at.size}))
        }
        Found::Same(at) => say(format!("both hold {} with {} entries", at.origin, at.size)),
        Found::Extends { second_is_longer, from, to } if options.json => say(json!({
            "result": "extends", "longer": if second_is_longer { 2 } else { 1 },
            "from": from, "to": to,
        })),
        Found::Extends { second_is_longer, from, to } => {
            let longer = if second_is_longer { &options.second } else { &options.first };
            say(format!(
                "{} goes further, with {to} entries, and begins with all {from} of the other",
                longer.display()
            ))
        }
        Found::SplitView(split) => {
            if options.json {
                say(json!({
                    "result": "split_view", "first_entry": split.first,
                    "checkpoints": split.notes,
                }))?;
            } else {
                let [a, b] = &split.notes;
                say(format!("{a}\n{b}"))?;
            }
            let first = split.first.map_or_else(
                || "no entry differs: verify both mirrors".to_owned(),
                |first| format!("entry {first} is the first that differs"),
            );
            Err(wrong(format!(
                "SPLIT VIEW: the log's key has signed two checkpoints that contradict each other; \
                 {first}"
            )))
        }
    }
}
