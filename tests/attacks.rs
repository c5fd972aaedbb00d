//! The attackers' table: each attack against real processes over TLS is refused, the reason is in
//! a log or a metric without personal data, and nothing is stored.
//!
//! Between our processes: `attacks/processes.rs`. Callers: `attacks/callers.rs`. There is no List
//! yet, so no page token of another tenant can be tried; the row waits for List.

mod attacks {
    pub(crate) mod callers;
    pub(crate) mod processes;
}
#[expect(dead_code, reason = "each test file uses its own part")]
mod support;

use support::process::get;
use support::{Deployment, stored};

/// The sum of a metric over its labels, where a line has this text.
pub(crate) fn counted(admin: u16, metric: &str, of: &str) -> u64 {
    let (_, page) = get(admin, "/metrics").expect("the operators' page");
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let own = lines.filter(|line| line.contains(metric) && line.contains(of));
    own.map(|line| line.rsplit(' ').next().and_then(|value| value.parse::<u64>().ok()).unwrap_or(0))
        .sum()
}

/// How many records a region's log says were placed. Ends the shard.
pub(crate) fn placed(deployment: &mut Deployment, region: &str) -> usize {
    assert_eq!(deployment.shard(region).stop(), 0);
    let entries = stored::entries(&deployment.data_dir(region), engine::Kind::Sled, 1);
    let kinds = entries.iter().map(|entry| ledger::entry::Entry::decode(entry));
    kinds
        .filter(|entry| {
            let entry = entry.as_ref().expect("an entry");
            matches!(entry.kind, ledger::entry::Kind::Place | ledger::entry::Kind::Replace)
        })
        .count()
}

/// Nothing that a person or a token could be known by is in the logs of those processes.
pub(crate) fn says_nothing(deployment: &Deployment, processes: &[&str], secrets: &[&str]) {
    for process in processes {
        let log = deployment.stderr(process);
        for secret in secrets {
            assert!(!log.contains(secret), "{process} logged something that it must not");
        }
    }
}
