//! Random histories of many callers, against a model that does one thing after the other: each record is
//! linearizable through failures of the disk, crashes and retries, and in the end records, indexes,
//! lists, counts, feed and log agree.
//!
//! A seed gives what is asked and when the disk fails, not how the threads of the shard take turns. So a
//! history that fails is printed whole, and `tests/long/histories 1 SEED` runs its seed again.

#![expect(clippy::panic, reason = "a test that cannot go on fails")]

mod calls;
mod checker;
mod drawn;
mod faulty;
mod model;
mod run;

use model::{Model, Rule};
use run::Ran;

/// Seeds of the test command; `HISTORIES` says otherwise.
const SEEDS: u64 = 48;

/// The number that a variable of the environment has.
#[expect(clippy::disallowed_methods, reason = "a switch of this test")]
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

async fn checked(seed: u64) -> Ran {
    let again = format!("tests/long/histories 1 {seed}");
    let ran = run::run(seed).await;
    for (record, history) in ran.histories.iter().enumerate() {
        if let Err(report) = checker::check(Model::default(), &run::begin(), history) {
            panic!("seed {seed}, record {record}: {report}\n{again}");
        }
    }
    ran
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_of_every_history_is_linearizable() {
    let first = number("HISTORIES_FIRST").unwrap_or(1);
    let count = number("HISTORIES").unwrap_or(SEEDS);
    let mut sum = Ran::default();
    for seed in first..first + count {
        println!("seed {seed}");
        sum.add(checked(seed).await);
    }
    let Ran { calls, unknown, refused, starts, expired, replayed, .. } = sum;
    println!(
        "{count} histories from seed {first}: {calls} calls, {unknown} with an unknown outcome, \
         {refused} not taken, {replayed} retries of what was done, {expired} expiries, {starts} starts"
    );
    // Each path was taken.
    if count >= SEEDS {
        assert!(unknown > 0 && refused > 0 && replayed > 0 && expired > 0 && starts > 2 * count);
    }
}

/// A model without one of its rules is another model, and some history shows it.
#[tokio::test(flavor = "multi_thread")]
async fn the_histories_need_every_rule_of_the_model() {
    let mut left = Rule::ALL.to_vec();
    for seed in 1_000.. {
        let histories = checked(seed).await.histories;
        left.retain(|rule| {
            let model = Model { broken: Some(*rule) };
            histories.iter().all(|history| checker::check(model, &run::begin(), history).is_ok())
        });
        if left.is_empty() {
            return;
        }
        assert!(seed < 1_060, "no history needs {left:?}");
    }
}
