//! `audit verify` and `audit diff`: mirrored logs, offline; of two places, the moves and copies between
//! them too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use audit::diff::{Diff as Found, diff as compare};
use audit::mirror::old_heads;
use audit::pair::{Log, Paired, pair};
use audit::{Against, Folder, Maps, Policy, Verified, verify as verify_log};
use clap::Args;
use ledger::entry::{MapRef, Minute};
use serde_json::{Map, Value, json};
use terms::with_causes;

use crate::commands::audit::inputs::{MapSigners, MaxAge, PolicyFile, logs, time, wrong};
use crate::commands::audit::outcome::{Outcome, on_trust};
use crate::error::{Exit, Failure};
use crate::terminal::table::Table;
use crate::terminal::{say, table, warn};

#[derive(Debug, Args)]
pub(super) struct Verify {
    #[command(flatten)]
    policy: PolicyFile,
    #[command(flatten)]
    age: MaxAge,
    #[command(flatten)]
    signers: MapSigners,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Check the moves and copies between the shards of two folders too: every MOVE_OUT must have its
    /// MOVE_IN in the other log, and the other way round; every COPY_IN its COPY_OUT and its version
    #[arg(long, num_args = 2, value_names = ["DIR", "DIR"], conflicts_with = "place")]
    pair: Vec<PathBuf>,
    /// Folder of one log, or of several
    #[arg(value_name = "DIR", required_unless_present = "pair")]
    place: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Diff {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Folder of a log
    #[arg(value_name = "DIR")]
    first: PathBuf,
    /// Folder of the same log, mirrored elsewhere
    #[arg(value_name = "DIR")]
    second: PathBuf,
}

/// Verifies every log in a folder, or in two, and says of each what is wrong first.
pub(super) fn verify(options: &Verify) -> Result<(), Failure> {
    let policy = options.policy.read()?;
    let places: Vec<&PathBuf> = options.pair.iter().chain(&options.place).collect();
    let (mut all, mut outcome) = (Vec::new(), Outcome::default());
    for place in places {
        all.push(Place::verified(options, place, policy.as_ref(), &mut outcome)?);
    }
    let whole = all.iter().all(|place| place.good.len() == place.logs);
    let paired = match all.as_slice() {
        // Of a log that is not whole, nothing more is to be said.
        [first, second] if whole => Some(between(first, second, &mut outcome)?),
        [_, _] => {
            warn("NOT CHECKED: moves and copies between the two, because not every log is whole");
            None
        }
        _ => None,
    };
    if options.json {
        let logs = all.iter().flat_map(|place| &place.good);
        let logs = logs.map(|(log, verified)| object(log, verified)).collect::<Vec<_>>();
        let findings = &outcome.findings;
        let mut value = json!({
            "logs": logs, "findings": findings,
            "map_signatures_checked": all.iter().all(|place| place.maps.with_keys()),
        });
        if let (Some(paired), Some(object)) = (&paired, value.as_object_mut()) {
            object.insert("moves".to_owned(), paired.moves.into());
            object.insert("moves_not_mirrored".to_owned(), paired.not_mirrored.into());
            object.insert("copies".to_owned(), paired.copies.into());
            object.insert("copies_not_mirrored".to_owned(), paired.copies_not_mirrored.into());
            object.insert("copies_under_way".to_owned(), paired.copies_under_way.into());
            object.insert("copies_behind".to_owned(), paired.copies_behind.into());
        }
        say(value)?;
    } else {
        for (log, verified) in all.iter().flat_map(|place| &place.good) {
            say(format!("{}\n{}", log.path().display(), rows(verified)))?;
        }
        if let Some(paired) = &paired {
            say(format!("moves between the two that both logs tell alike: {}", paired.moves))?;
            say(format!(
                "copies that both logs tell alike: {}; of a version that the home no longer has: {}; sent, \
                 and not taken in the logs that are here, or overtaken: {}",
                paired.copies, paired.copies_behind, paired.copies_under_way
            ))?;
        }
    }
    outcome.end()
}

/// The logs of one folder that are whole, and what they are compared with.
struct Place {
    good: Vec<(Folder, Verified)>,
    /// How many logs there are.
    logs: usize,
    maps: Maps,
}

impl Place {
    /// Verifies every log in a folder.
    fn verified(
        options: &Verify,
        place: &Path,
        policy: Option<&Policy>,
        outcome: &mut Outcome,
    ) -> Result<Self, Failure> {
        let (logs, maps) = (logs(place)?, options.signers.maps(place)?);
        let against = Against { policy, maps: Some(&maps) };
        let (count, mut good) = (logs.len(), Vec::new());
        for log in logs {
            match verify_log(&log, against, &mut |_, _| {}) {
                Ok(verified) => {
                    outcome.findings.extend(broken(&log, &verified));
                    let origin = &verified.checkpoint.origin;
                    outcome.findings.extend(options.age.judge(origin, verified.cosigned_at));
                    if verified.on_trust {
                        on_trust(origin, &verified.vkey);
                    }
                    outcome.findings.extend(misnamed(&log, origin));
                    outcome.standing_of(&log);
                    good.push((log, verified));
                }
                Err(finding) => {
                    outcome.findings.push(format!("{}/{finding}", log.path().display()));
                    outcome.standing_of(&log);
                }
            }
        }
        if good.len() == count {
            // Between logs there is more to check, once each of them is known to be whole.
            outcome.findings.extend(across(&good, &maps));
            match heads(place) {
                Ok(findings) => outcome.findings.extend(findings),
                Err(failure) => outcome.failure(failure),
            }
        }
        not_compared(&good, &maps);
        Ok(Self { good, logs: count, maps })
    }

    /// The logs that are whole.
    fn mirrored(&self) -> Vec<Log<'_>> {
        let good = self.good.iter();
        good.map(|(folder, verified)| Log { folder, checkpoint: &verified.checkpoint }).collect()
    }
}

/// Compares the moves and copies between the shards of two folders.
fn between(first: &Place, second: &Place, outcome: &mut Outcome) -> Result<Paired, Failure> {
    let (one, two) = (first.mirrored(), second.mirrored());
    comparable(&one, &two)?;
    let paired = pair(&one, &two);
    let paired = paired.map_err(|error| Failure::said(Exit::Data, with_causes(&error)))?;
    outcome.findings.extend(paired.findings.iter().cloned());
    if paired.more > 0 {
        outcome.findings.push(format!("{} more moves or copies do not agree", paired.more));
    }
    for (what, entries) in [("moves", paired.not_mirrored), ("copies", paired.copies_not_mirrored)]
    {
        if entries > 0 {
            warn(format!(
                "NOT CHECKED: {entries} entries of {what}, whose other side is not in these mirrors: \
                 mirror both logs again"
            ));
        }
    }
    Ok(paired)
}

/// Logs of two places of one deployment can be compared. One that is in both would be compared with itself.
fn comparable(one: &[Log<'_>], two: &[Log<'_>]) -> Result<(), Failure> {
    let config = |text: String| Failure::said(Exit::Config, text);
    let origins = |logs: &[Log<'_>]| -> Vec<String> {
        logs.iter().map(|log| log.checkpoint.origin.clone()).collect()
    };
    let (one, two) = (origins(one), origins(two));
    if let Some(both) = one.iter().find(|origin| two.contains(origin)) {
        let both = audit::shown(both);
        return Err(config(format!("--pair: {both} is in both folders: name two other ones")));
    }
    let deployment = |origin: &String| origin.split('/').next().map(str::to_owned);
    let mut all = one.iter().chain(&two).map(deployment);
    let first = all.next();
    if all.any(|other| first.as_ref() != Some(&other)) {
        return Err(config("--pair: the folders hold logs of two deployments".to_owned()));
    }
    Ok(())
}

/// A folder whose name is that of another log: one who queries it by its name is told of the wrong one.
fn misnamed(log: &Folder, origin: &str) -> Option<String> {
    let name = log.path().file_name()?.to_str()?;
    let own = Folder::of_log(Path::new(""), origin)?;
    let period = name.rsplit_once('.').and_then(|(_, period)| period.parse::<u32>().ok());
    let is_of_a_log = period.is_some() && name.matches('.').count() == 2;
    let other = is_of_a_log && own.path().file_name().and_then(|own| own.to_str()) != Some(name);
    let (path, origin) = (log.path().display(), audit::shown(origin));
    other.then(|| format!("{path}: its name is another log's, and it holds {origin}"))
}

/// The rules that a log's entries break.
pub(super) fn broken(log: &Folder, verified: &Verified) -> Vec<String> {
    let path = log.path().display();
    let mut all: Vec<String> =
        verified.broken.iter().map(|finding| format!("{path}/{finding}")).collect();
    if verified.broken_more > 0 {
        all.push(format!("{path}: {} more entries break a rule", verified.broken_more));
    }
    all
}

/// What the maps of periods say of each other, by log.
fn across(good: &[(Folder, Verified)], maps: &Maps) -> Vec<String> {
    let of = |(log, verified): &(Folder, Verified)| {
        let wrong = first_map(verified, good.iter().map(|(_, other)| other), maps)?;
        Some(format!("{}: {wrong}", log.path().display()))
    };
    good.iter().filter_map(of).collect()
}

/// What is wrong if the first map of a log does not follow the last one of the period before it.
pub(super) fn first_map<'a>(
    verified: &Verified,
    all: impl IntoIterator<Item = &'a Verified>,
    maps: &Maps,
) -> Option<String> {
    let old = verified.old_head.as_ref()?;
    let older = all.into_iter().find(|other| other.checkpoint.origin == old.origin)?;
    let wrong = maps.across(*older.maps.last()?, *verified.maps.first()?)?;
    Some(format!("its first region map, {wrong}"))
}

/// Says what was not compared with anything.
fn not_compared(good: &[(Folder, Verified)], maps: &Maps) {
    let mut missing: BTreeMap<MapRef, u64> = BTreeMap::new();
    for (map, entries) in good.iter().flat_map(|(_, verified)| &verified.maps_missing) {
        *missing.entry(*map).or_default() += entries;
    }
    for (MapRef { epoch, digest }, entries) in missing {
        let digest = hex::encode(digest);
        warn(format!(
            "NOT CHECKED: region map {epoch} (sha256:{digest}) is not in `maps`; {entries} entries \
             name it, and their laws and clauses were not compared"
        ));
    }
    if !maps.with_keys() && maps.all().next().is_some() {
        warn("NOT CHECKED: the signatures of region maps, because no --map-signer was given");
    }
}

/// What new periods say of old ones, and should not.
fn heads(place: &Path) -> Result<Vec<String>, Failure> {
    let heads = old_heads(place).map_err(|error| {
        Failure::said(Exit::Data, format!("{}: {}", place.display(), with_causes(&error)))
    })?;
    Ok(heads.iter().map(ToString::to_string).collect())
}

fn times(verified: &Verified) -> Option<(String, String)> {
    let (first, last) = verified.minutes?;
    Some((Minute(first).to_string(), Minute(last).to_string()))
}

fn rows(verified: &Verified) -> Table {
    let mut table = table(&[]);
    let at = &verified.checkpoint;
    let counts = verified.counts.iter().map(|(kind, count)| format!("{kind} {count}"));
    let times = times(verified).map_or_else(String::new, |(a, b)| format!("{a} to {b}"));
    let key = if verified.key_by_policy {
        format!("{} (from the policy)", verified.vkey)
    } else {
        format!("{} (from the mirror)", verified.vkey)
    };
    let witnesses = verified.witnesses.join(", ");
    let maps: Vec<String> = verified.maps.iter().map(|map| map.epoch.to_string()).collect();
    for (name, value) in [
        ("log", audit::shown(&at.origin)),
        ("entries", at.size.to_string()),
        ("root", at.root.to_base64()),
        ("key", key),
        ("cosigned by", if witnesses.is_empty() { "nobody".to_owned() } else { witnesses }),
        ("cosigned by a quorum at (UTC)", time(verified.cosigned_at)),
        ("from, to (UTC)", times),
        ("by kind", counts.collect::<Vec<_>>().join(", ")),
        ("ended", if verified.sealed { "yes" } else { "no" }.to_owned()),
        ("region maps", maps.join(", ")),
        ("verified", "every file that belongs to the checkpoint".to_owned()),
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
        "key_by_policy": verified.key_by_policy, "on_trust": verified.on_trust,
        "cosigned_at": verified.cosigned_at, "broken": verified.broken.len(),
        "broken_more": verified.broken_more, "witnesses": verified.witnesses,
        "maps": verified.maps.iter().map(|map| map.epoch).collect::<Vec<_>>(),
        "maps_missing": verified.maps_missing.iter().map(|(map, _)| map.epoch).collect::<Vec<_>>(),
        "first_time": first, "last_time": last, "counts": counts, "sealed": verified.sealed,
    })
}

/// Compares two mirrors, each of which is verified first: what one of them lacks is no evidence
/// against the log.
pub(super) fn diff(options: &Diff) -> Result<(), Failure> {
    let (first, second) = (Folder::at(&options.first), Folder::at(&options.second));
    // Broken rules are reported, and no reason not to compare: they may be the evidence.
    let mut outcome = Outcome::default();
    for folder in [&first, &second] {
        let verified = verify_log(folder, Against::default(), &mut |_, _| {})
            .map_err(|finding| wrong(format!("{}/{finding}", folder.path().display())))?;
        outcome.findings.extend(broken(folder, &verified));
    }
    if let Err(failure) = compared(options, &first, &second) {
        outcome.failure(failure);
    }
    outcome.end()
}

/// Prints how two mirrors stand to each other.
fn compared(options: &Diff, first: &Folder, second: &Folder) -> Result<(), Failure> {
    let found = compare(first, second).map_err(wrong)?;
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
                "{} has {to} entries, and extends all {from} of the other",
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
