//! From the store to the log: a record is the entry that it names.

use std::collections::BTreeSet;

use client::api;
use ledger::Statement;
use ledger::entry::Entry;

use super::logs::writes;
use super::{Logs, Question, Reconciled, SAMPLE_MAX, Sums, check};

/// Compares the records that the shard has drawn with the entries that they name.
pub(super) fn compare(
    logs: &Logs,
    question: &Question,
    answer: &api::LedgerReconcile,
    sums: &Sums,
    done: &mut Reconciled,
) {
    let wanted = u64::from(question.rows.min(SAMPLE_MAX)).min(answer.records);
    let got = u64::try_from(answer.rows.len()).unwrap_or(u64::MAX);
    if got != wanted {
        done.wrong(format!(
            "the shard has named {got} records; of those that it counts, it must name {wanted}"
        ));
    }
    let (mut places, mut names) = (BTreeSet::new(), BTreeSet::new());
    for row in &answer.rows {
        // The name without version and digest: two versions of one record are no two records.
        let name = Statement::decode(&row.statement);
        let name = name.map(|s| (s.tenant, s.subject, s.collection, s.key));
        let twice = !places.insert((row.origin.as_str(), row.index))
            || name.is_ok_and(|name| !names.insert(name));
        let judged = if twice {
            Err("and another one of those that are named is the same record".to_owned())
        } else {
            judge(logs, row, answer.start_size, sums)
        };
        match judged {
            Ok(superseded) => {
                done.rows += 1;
                done.rows_superseded += u64::from(superseded);
            }
            Err(what) => {
                let (origin, index) = (crate::shown(&row.origin), row.index);
                done.wrong(format!("a record names {origin} entry {index}, {what}"));
            }
        }
    }
}

/// Whether a row is the entry that it names; and whether that was superseded while the shard
/// counted.
fn judge(
    logs: &Logs,
    row: &api::OpenedEntry,
    start_size: u64,
    sums: &Sums,
) -> Result<bool, String> {
    let place = logs.place(&row.origin, row.index).ok_or("a log that is not mirrored")?;
    let seen = sums.seen.get(&place).ok_or("which that log does not have")?;
    check(&row.origin, row, &seen.entry)?;
    let entry = Entry::decode(&seen.entry).map_err(|error| error.to_string())?;
    if !writes(&entry) {
        return Err(format!("which is {} and no write of a record", entry.kind));
    }
    let newest = logs.newest_number();
    if place.0 == newest && place.1 >= start_size {
        return Err("which was written after the count began".to_owned());
    }
    match seen.superseded {
        None => Ok(false),
        // What was written while the shard walked may or may not have been seen: it is counted, and
        // beyond the end of the walk nothing supersedes.
        Some((_, (log, index))) if log == newest && index >= start_size => Ok(true),
        Some((kind, (log, index))) => {
            Err(format!("and entry {index} of {} says {kind} of it", logs.origin(log)))
        }
    }
}
