//! The attackers' table: each attack against real processes over TLS is refused, the reason is in
//! a log and counted, without personal data, and nothing is stored.
//!
//! Between our processes: `attacks/processes.rs` for those who are not let in, and
//! `attacks/liars.rs` for true gateways that lie. Callers: `attacks/tokens.rs` for false proofs,
//! `attacks/callers.rs` for what a true one wants beyond its due. There is no List yet, so no page
//! token of another tenant can be tried; the row waits for List.

mod by_hand;
mod callers;
mod liars;
mod processes;
mod tokens;

use std::time::Duration;

use crate::support::process::{get, wait_until};
use crate::support::{Deployment, stored};
use ledger::entry::{Detail, Entry, Kind};
use serde_json::Value;

/// Time between two refusals, so that no process tells fewer of them than there are: it tells ten
/// a second, and counts the rest.
pub(crate) const PACE: Duration = Duration::from_millis(150);
/// Time in which a refusal is in the log.
const LOGGED_MAX: Duration = Duration::from_secs(60);

/// What a gateway logs of a call that it refuses.
pub(crate) const REFUSED: &str = "call refused";
/// What a shard logs of one.
pub(crate) const FENCE: &str = "a call was refused at a border";

/// The sum of a metric over its labels, where a line has this text.
pub(crate) fn counted(admin: u16, metric: &str, of: &str) -> u64 {
    let (_, page) = get(admin, "/metrics").expect("the operators' page");
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let own = lines.filter(|line| {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        name.strip_suffix("_total").unwrap_or(name) == format!("bailiwick_{metric}")
            && line.contains(of)
    });
    let values: Vec<u64> = own
        .map(|line| line.rsplit(' ').next().and_then(|value| value.parse().ok()))
        .map(|value| value.expect("a number"))
        .collect();
    assert!(!values.is_empty(), "there is no metric {metric} of {of}");
    values.iter().sum()
}

/// How far a process's log goes by now.
pub(crate) fn mark(deployment: &Deployment, process: &str) -> usize {
    deployment.stderr(process).len()
}

/// The lines of that message in a process's log from a mark on.
pub(crate) fn lines(deployment: &Deployment, process: &str, from: usize, of: &str) -> Vec<Value> {
    let log = deployment.stderr(process);
    let new = log.get(from..).expect("a log that grows").lines();
    let lines = new.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == of).collect()
}

/// Waits until there are such lines.
#[track_caller]
pub(crate) fn logged(deployment: &Deployment, process: &str, from: usize, of: &str) -> Vec<Value> {
    let mut found = Vec::new();
    wait_until(&format!("{process} logs {of:?}"), LOGGED_MAX, || {
        found = lines(deployment, process, from, of);
        !found.is_empty()
    });
    found
}

/// How many refusals of that reason lines of a log tell of, those that have no line included.
pub(crate) fn told(lines: &[Value], reason: &str) -> u64 {
    let own = lines.iter().filter(|line| line["reason"] == reason);
    own.map(|line| 1 + line["unsaid"].as_u64().unwrap_or(0)).sum()
}

/// What a process logs of certificates that it refuses: each of this cause, and none of another.
#[track_caller]
pub(crate) fn refused_for(deployment: &Deployment, process: &str, from: usize, cause: &str) {
    for line in logged(deployment, process, from, "a certificate was refused") {
        assert_eq!(line.get("cause").and_then(Value::as_str), Some(cause), "{line}");
    }
}

/// The kinds of the entries that a region's log has of what anybody stored or changed: neither its
/// beginning nor the counts of reads are among them. Ends the shard.
pub(crate) fn written(deployment: &mut Deployment, region: &str) -> Vec<Kind> {
    assert_eq!(deployment.shard(region).stop(), 0);
    let entries = stored::entries(&deployment.data_dir(region), engine::Kind::Sled, 1);
    let kinds = entries.iter().map(|entry| Entry::decode(entry).expect("an entry").kind);
    let kinds: Vec<Kind> = kinds.collect();
    assert_eq!(kinds.first(), Some(&Kind::Genesis), "it is a whole log");
    let own = [Kind::Genesis, Kind::Map, Kind::Key, Kind::Count, Kind::Refuse];
    kinds.into_iter().filter(|kind| !own.contains(kind)).collect()
}

/// How many refusals of that reason the placement log of a shard that has ended tells of.
pub(crate) fn in_the_log(deployment: &Deployment, region: &str, reason: &str) -> u64 {
    let entries = stored::entries(&deployment.data_dir(region), engine::Kind::Sled, 1);
    let entries = entries.iter().map(|entry| Entry::decode(entry).expect("an entry"));
    let refused = entries.filter(|entry| {
        entry.kind == Kind::Refuse && entry.details.contains(&Detail::Reason(reason.to_owned()))
    });
    let counts = refused
        .flat_map(|entry| entry.details)
        .map(|detail| if let Detail::Count(count) = detail { count } else { 0 });
    counts.sum()
}

/// Nothing that a person or a token could be known by is in the logs of those processes.
#[track_caller]
pub(crate) fn says_nothing(deployment: &Deployment, processes: &[&str], secrets: &[&str]) {
    for process in processes {
        let log = deployment.stderr(process);
        assert!(!log.is_empty(), "{process} logs nothing at all");
        for secret in secrets {
            assert!(!log.contains(secret), "{process} logged something that it must not");
        }
    }
}
