//! A shard is killed again and again while its region's key rotates and logged reads are under way,
//! with many writers and readers at work.

#![expect(clippy::indexing_slicing, reason = "a test that goes astray may panic")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::support::load::{ONCE, PATIENT, Writers, evidence, get, put};
use crate::support::maps::text;
use crate::support::process::{pause, run, wait_until};
use crate::support::{Deployment, Options, stored};
use client::{Client, api};
use ledger::entry::{Entry, Kind};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

const REGION: &str = "eu-fra";
/// Kills in one run of each engine; `KILLS` says otherwise.
const KILLS: u64 = 3;
/// Where the moments of the kills come from; `SEED` says otherwise.
const SEED: u64 = 20_261_130;
/// Subjects that every rotation wraps again.
const SUBJECTS: u64 = 1_500;
const WRITERS: u64 = 32;
const READERS: u64 = 32;
/// The longest time from the start of a rotation to the kill.
const KILL_WITHIN_MS: u64 = 3_000;
/// Time in which all subjects are wrapped again.
const REWRAPPED_WITHIN: Duration = Duration::from_secs(300);

#[expect(clippy::disallowed_methods, reason = "switches of this test")]
fn switch(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Numbers that a seed gives.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % n
    }
}

fn subject(n: u64) -> String {
    format!("held-{n}")
}

/// Stores a record of each subject.
fn store(runtime: &Runtime, url: &str, collection: &'static str, subjects: u64) -> Vec<u64> {
    let stored = (0..16).map(|part| {
        let url = url.to_owned();
        runtime.spawn(async move {
            let client = Client::connect(&url, PATIENT).await.expect("a gateway");
            let mut indexes = Vec::new();
            for n in (part..subjects).step_by(16) {
                let request = put(&subject(n), "main", subject(n).as_bytes(), &evidence("DE"));
                let request =
                    api::PutRecordRequest { collection: collection.to_owned(), ..request };
                let done = client.put(&request).await.expect("it is stored").answer;
                indexes.push((n, done.receipt.expect("a receipt").index));
            }
            indexes
        })
    });
    let stored: Vec<JoinHandle<Vec<(u64, u64)>>> = stored.collect();
    let parts = stored.into_iter().map(|task| runtime.block_on(task).expect("no panic"));
    let mut all: Vec<(u64, u64)> = parts.flatten().collect();
    all.sort_unstable();
    all.into_iter().map(|(_, index)| index).collect()
}

/// Readers that read subjects' records until they are stopped: what each was answered, by subject.
struct Readers {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<BTreeMap<u64, u64>>>,
}

impl Readers {
    fn start(runtime: &Runtime, url: &str, collection: &'static str, subjects: u64) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let tasks = (0..READERS).map(|reader| {
            let (url, stop, answered) = (url.to_owned(), Arc::clone(&stop), Arc::clone(&answered));
            runtime.spawn(async move {
                let client = Client::connect(&url, ONCE).await.expect("a gateway");
                let mut counts = BTreeMap::new();
                let mut n = reader;
                while !stop.load(Ordering::Relaxed) {
                    n = (n + READERS) % subjects;
                    if read(&client, n, collection).await {
                        *counts.entry(n).or_default() += 1;
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    // A call fails at once when its runtime ends: the task must end with it.
                    tokio::task::yield_now().await;
                }
                counts
            })
        });
        let tasks = tasks.collect();
        Self { stop, answered, tasks }
    }

    fn wait_answered(&self, more: u64) {
        let answered = || self.answered.load(Ordering::Relaxed);
        let enough = answered() + more;
        wait_until("records are read", Duration::from_secs(180), || answered() >= enough);
    }

    fn stop(self, runtime: &Runtime) -> BTreeMap<u64, u64> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = BTreeMap::new();
        for task in self.tasks {
            for (n, count) in runtime.block_on(task).expect("a reader does not panic") {
                *all.entry(n).or_default() += count;
            }
        }
        all
    }
}

/// Reads one record: whether it was answered. What is not must be good to ask again.
async fn read(client: &Client, n: u64, collection: &str) -> bool {
    let request = api::GetRecordRequest {
        subject: Some(api::SubjectRef { id: subject(n), domicile: REGION.to_owned() }),
        collection: collection.to_owned(),
        key: "main".to_owned(),
        purpose: "a test".to_owned(),
        ..Default::default()
    };
    match client.get(&request).await {
        Ok(record) => {
            assert!(record.body == subject(n).as_bytes(), "another body");
            true
        }
        Err(error) => {
            assert!(error.refused().is_some_and(|refused| refused.retryable), "{error}");
            tokio::time::sleep(Duration::from_millis(10)).await;
            false
        }
    }
}

/// The generations of the region's key: number, whether it is the current one, subjects.
pub(crate) fn generations(config: &Path, command: &[&str]) -> Option<Vec<(u64, bool, u64)>> {
    let usual = ["--config", text(config), "--json", "--wait-s", "60"];
    let done = run(&[&["keys"], command, &usual[..]].concat());
    if done.code != 0 {
        return None;
    }
    let said: Value = serde_json::from_str(&done.stdout).expect("JSON");
    let all = said["generations"].as_array().expect("a list").iter();
    let number = |value: &Value| value.as_u64().expect("a number");
    let current = |it: &Value| it["current"].as_bool().expect("a flag");
    Some(all.map(|it| (number(&it["number"]), current(it), number(&it["subjects"]))).collect())
}

/// Has the key rotated. A shard that is killed between taking the request and answering it leaves it
/// without an answer: then it is asked again.
pub(crate) fn rotate(config: &Path) {
    assert!((0..5).any(|_| generations(config, &["rotate"]).is_some()), "no rotation is answered");
}

/// Waits until the current generation wraps all, and destroys every other.
pub(crate) fn settle_keys(config: &Path) -> (u64, u64) {
    let mut last = Vec::new();
    wait_until("all are wrapped under the current generation", REWRAPPED_WITHIN, || {
        last = generations(config, &["status"]).expect("an answer");
        last.iter().all(|(_, current, subjects)| *current || *subjects == 0)
    });
    for (number, current, _) in last.clone() {
        if !current {
            let number = number.to_string();
            last = generations(config, &["destroy", "--generation", &number]).expect("an answer");
        }
    }
    assert_eq!(last.len(), 1, "{last:?}");
    let (number, _, subjects) = last.remove(0);
    (number, subjects)
}

/// Mirrors the log, verifies it, and compares it with the store.
fn audit(deployment: &Deployment) {
    deployment.wait_signed(REGION);
    let url = format!("http://127.0.0.1:{}", deployment.audit_port(REGION));
    let mirror = deployment.root().join("mirror");
    for command in [
        vec!["audit", "mirror", "--shard", &url, text(&mirror)],
        vec!["audit", "verify", text(&mirror)],
        vec!["audit", "reconcile", "--shard", &url, text(&mirror)],
    ] {
        let done = run(&command);
        assert_eq!(done.code, 0, "{done:?}");
    }
}

#[test]
fn a_rotation_that_is_killed_again_and_again_leaves_all_readable_and_nothing_behind() {
    let (kills, mut dice) = (switch("KILLS", KILLS), Dice(switch("SEED", SEED)));
    for engine in ["sled", "fjall"] {
        let options = Options { regions: vec![REGION], engine, ..Options::default() };
        let mut deployment = Deployment::start(&options);
        let config = deployment.root().join(format!("shard-{REGION}.toml"));
        let (runtime, url) = (Runtime::new().expect("a runtime"), deployment.gateway_url());
        store(&runtime, &url, "profiles", SUBJECTS);
        let writers = Writers::start(&runtime, &url, WRITERS);
        let readers = Readers::start(&runtime, &url, "profiles", SUBJECTS);
        for round in 0..kills {
            let wait = Duration::from_millis(dice.below(KILL_WITHIN_MS));
            std::thread::scope(|scope| {
                scope.spawn(|| rotate(&config));
                pause(wait);
                deployment.shard(REGION).kill();
                deployment.restart(REGION);
            });
            if round % 4 == 3 {
                settle_keys(&config);
            }
            writers.wait_acked(20);
            readers.wait_answered(20);
        }
        let acked = writers.stop(&runtime);
        let read = readers.stop(&runtime).into_values().sum::<u64>();
        let (generation, subjects) = settle_keys(&config);
        assert_eq!(subjects, SUBJECTS + WRITERS);
        assert!(generation > kills, "each rotation made a generation");
        runtime.block_on(async {
            let client = Client::connect(&url, PATIENT).await.expect("a gateway");
            for write in &acked {
                let record = get(&client, &write.subject, REGION, &write.key).await;
                assert!(record.expect("an acknowledged record").body == write.body);
            }
            for n in 0..SUBJECTS {
                let record = get(&client, &subject(n), REGION, "main").await;
                assert!(record.expect("a record").body == subject(n).as_bytes());
            }
        });
        audit(&deployment);
        let acked = acked.len();
        println!("{engine}: {kills} kills, {generation} generations, {acked} puts, {read} gets");
    }
}

/// The entry of a logged read is durable before its answer: so there is none for an answer that was
/// never given, at the worst.
#[test]
fn no_logged_read_is_answered_without_its_entry() {
    const READ: u64 = 64;
    let (kills, mut dice) = (switch("KILLS", KILLS), Dice(switch("SEED", SEED)));
    for (kind, engine) in [(engine::Kind::Sled, "sled"), (engine::Kind::Fjall, "fjall")] {
        let options = Options { regions: vec![REGION], engine, ..Options::default() };
        let mut deployment = Deployment::start(&options);
        let (runtime, url) = (Runtime::new().expect("a runtime"), deployment.gateway_url());
        let indexes = store(&runtime, &url, "payments", READ);
        let readers = Readers::start(&runtime, &url, "payments", READ);
        for _ in 0..kills {
            readers.wait_answered(50);
            pause(Duration::from_millis(dice.below(200)));
            deployment.restart(REGION);
        }
        readers.wait_answered(50);
        let answered = readers.stop(&runtime);
        assert_eq!(deployment.shard(REGION).stop(), 0);
        // An entry names the write that was read.
        let mut noted: BTreeMap<u64, u64> = BTreeMap::new();
        for entry in stored::entries(&deployment.data_dir(REGION), kind, 1) {
            let entry = Entry::decode(&entry).expect("an entry");
            if entry.kind == Kind::Read {
                *noted.entry(entry.earlier.expect("the write")).or_default() += 1;
            }
        }
        for (n, index) in (0..).zip(&indexes) {
            let (answers, entries) = (answered.get(&n), noted.get(index));
            assert!(answers <= entries, "{n}: {answers:?} answers, {entries:?} entries");
        }
        let sum = |counts: &BTreeMap<u64, u64>| counts.values().sum::<u64>();
        let (answers, entries) = (sum(&answered), sum(&noted));
        println!("{engine}: {kills} kills, {answers} answers, {entries} entries");
    }
}

#[test]
fn a_copy_of_a_keyring_that_no_shard_takes_over_does_not_stay() {
    let options = Options { regions: vec![REGION], ..Options::default() };
    let deployment = Deployment::configure(&options);
    let config = deployment.root().join(format!("shard-{REGION}.toml"));
    let keyring = deployment.keys_dir(REGION).join(format!("{REGION}.keyring"));
    let take = ["keys", "take", "--config", text(&config), "--keyring", text(&keyring)];
    // The shard does not run.
    let done = run(&[&take[..], &["--wait-s", "1"]].concat());
    assert!(done.code != 0 && done.stderr.contains("has not answered in time"), "{done:?}");
    assert!(!keyring.with_extension("keyring.given").exists(), "a secret is left");
}
