//! From the log to the store: every entry that was asked for is opened, or something says why not.

use std::collections::BTreeMap;

use client::api;

use super::{Logs, Place, Question, Reconciled, Sums, check};

/// Compares the entries that were asked for with what was answered for each.
pub(super) fn compare(
    logs: &Logs,
    question: &Question,
    answer: &api::LedgerReconcile,
    sums: &Sums,
    done: &mut Reconciled,
) {
    let origin = &question.origin;
    if answer.opened.len() != question.indexes.len() {
        done.wrong("the shard did not answer for every entry that it was asked for");
    }
    let mut unopened: Vec<Place> = Vec::new();
    for (index, opened) in question.indexes.iter().zip(&answer.opened) {
        let of_newest = opened.origin.is_empty() || opened.origin == *origin;
        if !of_newest || opened.index != *index {
            done.wrong(format!(
                "{origin} entry {index} was asked for, and another one was answered"
            ));
            continue;
        }
        let place = (logs.newest_number(), *index);
        let Some(seen) = sums.seen.get(&place) else {
            done.wrong(format!("{origin} entry {index} is not in the mirror"));
            continue;
        };
        if !opened.opening.is_empty() {
            match check(origin, opened, &seen.entry) {
                Ok(()) => done.opened += 1,
                Err(what) => {
                    done.wrong(format!("{origin} entry {index} was opened, and {what}"));
                }
            }
        } else if seen.superseded.is_some() {
            done.superseded += 1;
        } else {
            unopened.push(place);
        }
    }
    erased(logs, unopened, sums, done);
}

/// Excuses entries without an opening by the erasures after them, each of which excuses no more
/// than it counts. The latest entries go first: an erasure that serves one serves all before it.
fn erased(logs: &Logs, mut unopened: Vec<Place>, sums: &Sums, done: &mut Reconciled) {
    unopened.sort_unstable_by(|a, b| b.cmp(a));
    let mut used: BTreeMap<[u8; 16], u64> = BTreeMap::new();
    for place in unopened {
        let tenant = sums.seen.get(&place).and_then(|seen| seen.tenant);
        let used = tenant.map(|tenant| (sums.erased_after(&tenant, place), used.entry(tenant)));
        if let Some((most, used)) = used {
            let used = used.or_default();
            if *used < most {
                *used += 1;
                done.perhaps_erased += 1;
                continue;
            }
        }
        let (log, index) = place;
        done.wrong(format!(
            "{} entry {index} has no opening any more, and no later entry says that its record was \
             replaced, deleted, moved or erased",
            logs.origin(log)
        ));
    }
}
