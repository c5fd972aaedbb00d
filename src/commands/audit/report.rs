//! `audit report`: writes a report on mirrored logs and maps.

use std::path::{Path, PathBuf};

use ::report::{Entries, Input, Language, LogFacts, LogInput, Operator, Report};
use audit::mirror::contradicted_head;
use audit::{Against, Finding, Folder, Maps, Verified, verify as verify_log};
use clap::Args;
use ledger::entry::Entry;
use ledger::{Checkpoint, Hash};
use link::host::clock::SystemClock;
use serde_json::{Value, json};
use terms::{Clock as _, with_causes};

use crate::arguments::minute;
use crate::commands::audit::inputs::{MapSigners, PolicyFile, logs};
use crate::commands::audit::verify::{broken, first_map};
use crate::error::{Exit, Failure};
use crate::files::{make_folder, write as write_file};
use crate::terminal::{say, warn};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    policy: PolicyFile,
    /// First day or minute of the report
    #[arg(long, value_name = "TIME", value_parser = minute)]
    from: u64,
    /// First day or minute after the report
    #[arg(long, value_name = "TIME", value_parser = minute)]
    until: u64,
    /// Language: en or ru
    #[arg(long, value_name = "CODE", default_value = "en", value_parser = language)]
    language: Language,
    /// Legal name of the deployment's operator
    #[arg(long, value_name = "NAME")]
    operator: Option<String>,
    /// Postal address of the operator
    #[arg(long, value_name = "ADDRESS")]
    operator_address: Option<String>,
    /// Number of the report
    #[arg(long, value_name = "NUMBER")]
    number: Option<String>,
    #[command(flatten)]
    signers: MapSigners,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Folder for report.html, report.csv and report.json
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Folder of the mirrors, with `maps` in it
    #[arg(value_name = "DIR")]
    place: PathBuf,
}

fn language(code: &str) -> Result<Language, &'static str> {
    Language::parse(code).ok_or("is neither en nor ru")
}

/// Verifies every log, reads them and the maps, and writes the three files.
pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let config = |text: &str| Failure::said(Exit::Config, text);
    if options.until <= options.from {
        return Err(config("--until must be later than --from"));
    }
    let policy = options.policy.read()?;
    let (folders, maps) = (logs(&options.place)?, options.signers.maps(&options.place)?);
    let against = Against { policy: policy.as_ref(), maps: Some(&maps) };
    let verified: Vec<_> =
        folders.iter().map(|folder| verify_log(folder, against, &mut |_, _| {})).collect();
    let good: Vec<&Verified> = verified.iter().flatten().collect();
    let mut logs = Vec::new();
    for (folder, verified) in folders.iter().zip(&verified) {
        let mut log = log(folder, verified)?;
        let beside = beside(&options.place, folder, verified, &good, &maps)?;
        // A verification may have found it just now.
        let new = beside.into_iter().filter(|found| !log.facts.findings.contains(found));
        let new: Vec<String> = new.collect();
        new.iter().for_each(|found| warn(format!("{}: {found}", folder.path().display())));
        log.facts.findings.extend(new);
        logs.push(log);
    }
    let deployment = |log: &LogInput<'_>| {
        log.facts.origin.split('/').next().map(str::to_owned).unwrap_or_default()
    };
    let own = logs.first().map(deployment).unwrap_or_default();
    if logs.iter().any(|log| deployment(log) != own) {
        return Err(config("the logs are of two deployments: use one folder for each"));
    }
    let short = |minute: u64| u32::try_from(minute).unwrap_or(u32::MAX);
    let report = Report::new(Input {
        deployment: own,
        number: options.number.clone(),
        period: short(options.from)..short(options.until),
        generated: short(SystemClock.now().minute()),
        operator: Operator {
            name: options.operator.clone(),
            address: options.operator_address.clone(),
        },
        logs,
        maps: &maps,
    });
    write(options, &report)
}

/// Writes the files, and says which.
fn write(options: &Options, report: &Report) -> Result<(), Failure> {
    let page = report.to_html(options.language);
    let files = [
        ("report.html", page.map_err(|error| Failure::new(Exit::Failed, error))?),
        ("report.csv", report.to_csv()),
        ("report.json", format!("{:#}\n", report.json())),
    ];
    let mut paths = Vec::new();
    for (name, text) in files {
        let path = options.out.join(name);
        make_folder(&options.out)?;
        write_file(&path, &text)?;
        paths.push(path.display().to_string());
    }
    let json = report.json();
    let of = |name: &str| json.get(name).and_then(Value::as_array).map_or(0, Vec::len);
    let (logs, maps, gaps) = (of("logs"), of("maps"), of("gaps"));
    let whole = json.pointer("/summary/logs_whole").and_then(Value::as_u64).unwrap_or(0);
    if options.json {
        return say(json!({
            "files": paths, "logs": logs, "logs_whole": whole, "maps": maps, "gaps": gaps,
        }));
    }
    say(format!(
        "{}: {logs} logs, {whole} of them fully verified, {maps} maps, {gaps} gaps that the report \
         names",
        options.out.display()
    ))
}

/// What contradicts a log beyond its own entries: what its mirror keeps as evidence, and what periods say of
/// each other. The report must not call it whole.
fn beside(
    place: &Path,
    folder: &Folder,
    verified: &Result<Verified, Finding>,
    good: &[&Verified],
    maps: &Maps,
) -> Result<Vec<String>, Failure> {
    let standing = folder.standing().map_err(|error| unread(folder, &error))?;
    let mut all: Vec<String> = standing.iter().map(ToString::to_string).collect();
    let Ok(verified) = verified else { return Ok(all) };
    all.extend(first_map(verified, good.iter().copied(), maps));
    match contradicted_head(place, folder) {
        Ok(found) => all.extend(found.map(|found| found.to_string())),
        Err(error) => all.push(with_causes(&error)),
    }
    Ok(all)
}

fn unread(folder: &Folder, error: &audit::folder::Error) -> Failure {
    let said = with_causes(error);
    Failure::said(Exit::Data, format!("{}/{said}", folder.path().display()))
}

/// A log, with what its verification came to. One that is not whole is in the report as such.
fn log<'f>(
    folder: &'f Folder,
    verified: &Result<Verified, Finding>,
) -> Result<LogInput<'f>, Failure> {
    let key = folder.key().map_err(|error| unread(folder, &error))?;
    let note = folder.note().map_err(|error| unread(folder, &error))?;
    let (mut witnesses, mut key_by_policy, mut maps_missing) = (Vec::new(), false, Vec::new());
    let (checkpoint, findings) = match verified {
        Ok(verified) => {
            broken(folder, verified).iter().for_each(warn);
            let mut findings: Vec<String> =
                verified.broken.iter().map(ToString::to_string).collect();
            if verified.broken_more > 0 {
                findings.push(format!("{} more entries break a rule", verified.broken_more));
            }
            (witnesses, key_by_policy) = (verified.witnesses.clone(), verified.key_by_policy);
            maps_missing = verified.maps_missing.iter().map(|(map, _)| *map).collect();
            (verified.checkpoint.clone(), findings)
        }
        Err(finding) => {
            let why = finding.to_string();
            warn(format!("{}/{why}", folder.path().display()));
            let unsigned =
                Checkpoint { origin: key.name().to_owned(), size: 0, root: Hash([0; 32]) };
            (folder.checkpoint(&key).unwrap_or(unsigned), vec![why])
        }
    };
    let mut parts = checkpoint.origin.split('/').skip(1);
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let (region, shard) = (part(), part());
    let size = checkpoint.size;
    // No other process writes to it while it is read.
    let held = folder.hold();
    let entries = folder.entries(size, 0, size).map(move |entry| {
        let _held = &held;
        let (index, bytes) = entry.map_err(|error| error.to_string())?;
        Ok((index, Entry::decode(&bytes).map_err(|error| error.to_string())?))
    });
    let facts = LogFacts {
        origin: checkpoint.origin,
        region,
        shard,
        vkey: key.vkey(),
        key_by_policy,
        checkpoint: note,
        size,
        root: checkpoint.root,
        witnesses,
        findings,
        maps_missing,
    };
    Ok(LogInput { facts, entries: Box::new(entries) as Entries<'f> })
}
