//! Mixed load for a long time: reads in the majority, puts, deletes and a StreamPut, bodies from
//! 0 B to 64 KiB, while region maps are applied and certificates are renewed.
//!
//! What must hold: every kind of call goes on all the time (no session hangs), no call fails in a
//! way that a caller may not retry, and the resident memory of every process stays flat.
//! `tests/long/mixed` runs it; the test command does not.

#[expect(dead_code, reason = "each test file uses its own part")]
#[path = "../e2e/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use client::{Access, Client, Settings};
use serde_json::json;
use support::load::{delete, evidence, get, put};
use support::maps::next;
use support::process::pause;
use support::secure::now;
use support::{Deployment, Options};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// Seconds of load unless `BAILIWICK_LONG_SECONDS` says otherwise.
const SECONDS: u64 = 1_200;
/// Tasks of each kind of call.
const GETTERS: u64 = 24;
const PUTTERS: u64 = 4;
const DELETERS: u64 = 1;
/// Records that a StreamPut has under way.
const AHEAD: usize = 64;
/// Keys that each subject has. Few, so that records are overwritten and the store stops growing.
const KEYS: u64 = 200;
const SUBJECTS: u64 = 8;
/// Every kind of call must make progress within this time.
const STUCK_AFTER: Duration = Duration::from_secs(30);
/// Memory that a process may gain between the first third and the end: a share, and a constant.
const GROWTH_PERCENT_MAX: u64 = 25;
const GROWTH_KIB_MAX: u64 = 48 << 10;
/// As a backend service would: what may be sent again is.
const RETRYING: Settings =
    Settings { deadline: Duration::from_secs(60), attempts_max: 20, ..Settings::DEFAULT };

/// Calls of each kind so far, and what failed.
#[derive(Default)]
struct Done {
    stop: AtomicBool,
    gets: AtomicU64,
    puts: AtomicU64,
    deletes: AtomicU64,
    streamed: AtomicU64,
    body_bytes: AtomicU64,
    failed: std::sync::Mutex<BTreeMap<String, u64>>,
}

impl Done {
    fn over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn fail(&self, kind: &str, error: &str) {
        let mut failed = self.failed.lock().expect("no panic under the lock");
        *failed.entry(format!("{kind}: {error}")).or_default() += 1;
    }

    fn counts(&self) -> [(&'static str, u64); 4] {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("get", read(&self.gets)),
            ("put", read(&self.puts)),
            ("delete", read(&self.deletes)),
            ("StreamPut", read(&self.streamed)),
        ]
    }
}

/// The size of the `n`-th body: every residue of a KiB, and every size class up to 64 KiB.
const fn size(n: u64) -> usize {
    ((n * 1_031) % (64 * 1_024 + 1)) as usize
}

fn subject(n: u64) -> String {
    format!("long-{}", n % SUBJECTS)
}

fn key(n: u64) -> String {
    format!("k{}", (n / SUBJECTS) % KEYS)
}

async fn gets(client: Client, first: u64, done: Arc<Done>) {
    for n in (first..).step_by(7) {
        if done.over() {
            return;
        }
        match get(&client, &subject(n), "eu-fra", &key(n)).await {
            Ok(record) => {
                done.body_bytes.fetch_add(record.body.len() as u64, Ordering::Relaxed);
            }
            // A deleter was faster, or nobody has put it yet.
            Err(reason) if reason == "RECORD_NOT_FOUND" || reason == "SUBJECT_UNKNOWN" => {}
            Err(error) => done.fail("get", &error),
        }
        done.gets.fetch_add(1, Ordering::Relaxed);
    }
}

async fn puts(client: Client, first: u64, done: Arc<Done>) {
    for n in (first..).step_by(3) {
        if done.over() {
            return;
        }
        let body = vec![b'x'; size(n)];
        if let Err(error) = client.put(&put(&subject(n), &key(n), &body, &evidence("DE"))).await {
            done.fail("put", &error.to_string());
        }
        done.puts.fetch_add(1, Ordering::Relaxed);
    }
}

async fn deletes(client: Client, first: u64, done: Arc<Done>) {
    for n in (first..).step_by(13) {
        if done.over() {
            return;
        }
        match client.delete(&delete(&subject(n), "eu-fra", &key(n))).await {
            Ok(_) => {}
            Err(error) => {
                let reason = error.refused().map(|refused| refused.reason.clone());
                match reason.as_deref() {
                    Some("RECORD_NOT_FOUND" | "SUBJECT_UNKNOWN") => {}
                    _ => done.fail("delete", &error.to_string()),
                }
            }
        }
        done.deletes.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One StreamPut after the other, each of some thousand records.
async fn streams(client: Client, done: Arc<Done>) {
    while !done.over() {
        let (puts, mut answers) = match client.stream_put(AHEAD).await {
            Ok(opened) => opened,
            Err(error) => {
                done.fail("StreamPut", &error.to_string());
                continue;
            }
        };
        let asked = Arc::clone(&done);
        let sender = tokio::spawn(async move {
            for n in 0..4_000 {
                let body = vec![b's'; size(n) / 16];
                let request = put(&subject(n), &format!("s{}", key(n)), &body, &evidence("DE"));
                if asked.over() || puts.send(request).await.is_err() {
                    return;
                }
            }
        });
        loop {
            match answers.next().await {
                Ok(Some(answer)) => {
                    if let Err(error) = answer.outcome {
                        done.fail("StreamPut item", &error.to_string());
                    }
                    done.streamed.fetch_add(1, Ordering::Relaxed);
                }
                Ok(None) => break,
                Err(error) => {
                    done.fail("StreamPut", &error.to_string());
                    break;
                }
            }
        }
        sender.await.expect("no panic");
    }
}

/// Kibibytes that a process holds.
fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

fn start_load(
    runtime: &Runtime,
    url: &str,
    access: &Access,
    done: &Arc<Done>,
) -> Vec<JoinHandle<()>> {
    let connect = || {
        let connected = Client::connect_with(url, RETRYING, access.clone());
        runtime.block_on(connected).expect("a gateway")
    };
    let mut tasks = Vec::new();
    let clients: Vec<Client> = (0..4).map(|_| connect()).collect();
    let of = |n: u64| clients.iter().cycle().nth(n as usize).expect("a client").clone();
    for n in 0..GETTERS {
        tasks.push(runtime.spawn(gets(of(n), n, Arc::clone(done))));
    }
    for n in 0..PUTTERS {
        tasks.push(runtime.spawn(puts(of(n), n, Arc::clone(done))));
    }
    for n in 0..DELETERS {
        tasks.push(runtime.spawn(deletes(of(n), n, Arc::clone(done))));
    }
    tasks.push(runtime.spawn(streams(of(0), Arc::clone(done))));
    tasks
}

/// Applies the next map: a collection more each time.
fn change_map(deployment: &Deployment, operator: &Client, runtime: &Runtime, map: &mut String) {
    let before = support::maps::version(map);
    *map = next(map, |map| {
        let plain = map.split("\n# added\n").next().expect("a text").to_owned();
        format!(
            "{plain}\n# added\n[[collections]]\nname = \"added-{before}\"\ncategory = \"x\"\nreads = \"logged\"\n"
        )
    });
    let path = deployment.root().join("next.toml");
    fs::write(&path, &*map).expect("a map can be written");
    deployment.people().sign(&path, &["anna", "boris"]);
    let note = fs::read_to_string(path.with_extension("note")).expect("a note");
    let signed = client::api::SignedRegionMap { text: map.clone(), note, packs: Vec::new() };
    let request = client::api::ApplyRegionMapRequest {
        map: Some(signed),
        expect_epoch: before,
        ..Default::default()
    };
    runtime.block_on(operator.apply_map(&request)).expect("the map is applied");
}

/// Renews the certificate of the gateway or of the shard.
fn renew(deployment: &Deployment, n: u64) {
    let (process, holder): (_, [&str; 2]) = if n.is_multiple_of(2) {
        ("gateway", ["--gateway", "gateway-1"])
    } else {
        ("eu-fra", ["--shard", "s1"])
    };
    let folder = format!("{process}-again-{n}");
    deployment.secured().issue("eu-fra", &holder, &folder);
    deployment.secured().put_in_place(&folder, process);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a long run takes real time, and is told how long")]
#[expect(clippy::print_stdout, reason = "what was measured")]
fn mixed_load_leaves_no_session_stuck_and_memory_flat() {
    let seconds = std::env::var("BAILIWICK_LONG_SECONDS").ok().and_then(|text| text.parse().ok());
    let total = Duration::from_secs(seconds.unwrap_or(SECONDS));
    let options = Options {
        tls: true,
        signed: true,
        engine: "fjall",
        regions: vec!["eu-fra"],
        ..Options::default()
    };
    let mut deployment = Deployment::start(&options);
    let pids = [deployment.gateway().pid(), deployment.shard("eu-fra").pid()];
    let runtime = Runtime::new().expect("a runtime");
    let url = deployment.gateway_url();
    let secured = deployment.secured();
    let expiry = now() + total.as_secs() + 3_600;
    let access = secured.with_token(&secured.token(&json!({ "exp": expiry })));
    let token = secured.token(&json!({ "roles": ["operator"], "exp": expiry }));
    let operator = Client::connect_with(&url, RETRYING, secured.with_token(&token));
    let operator = runtime.block_on(operator).expect("a gateway");
    let mut map = fs::read_to_string(deployment.root().join("map.toml")).expect("a map");

    let done = Arc::new(Done::default());
    let tasks = start_load(&runtime, &url, &access, &done);
    let start = Instant::now();
    let mut progress = done.counts().map(|(_, count)| (count, start));
    let mut resident: Vec<[u64; 2]> = Vec::new();
    let (mut maps, mut renewals, mut round) = (0_u64, 0_u64, 0_u64);
    while start.elapsed() < total {
        pause(Duration::from_secs(5));
        round += 1;
        for ((kind, count), seen) in done.counts().into_iter().zip(&mut progress) {
            if count > seen.0 {
                *seen = (count, Instant::now());
            }
            let still = seen.1.elapsed();
            assert!(still < STUCK_AFTER, "no {kind} for {still:?}, after {count} of them");
        }
        resident.push(pids.map(resident_kib));
        if round.is_multiple_of(4) {
            change_map(&deployment, &operator, &runtime, &mut map);
            maps += 1;
        }
        if round.is_multiple_of(7) {
            renew(&deployment, renewals);
            renewals += 1;
        }
        if round.is_multiple_of(12) {
            let (counts, kib) = (done.counts(), resident.last().expect("a reading"));
            println!("{:>5} s: {counts:?}, resident KiB {kib:?}", start.elapsed().as_secs());
        }
    }
    done.stop.store(true, Ordering::Relaxed);
    for task in tasks {
        runtime.block_on(task).expect("no panic");
    }
    let failed = done.failed.lock().expect("no panic under the lock").clone();
    println!(
        "{:?}, {} MiB read, {maps} maps, {renewals} renewals, failed: {failed:?}",
        done.counts(),
        done.body_bytes.load(Ordering::Relaxed) >> 20
    );
    assert!(failed.is_empty(), "calls failed: {failed:?}");
    flat(&resident);
}

/// Whether the median of the last third is not far above that of the second.
#[expect(clippy::print_stdout, reason = "what was measured")]
fn flat(resident: &[[u64; 2]]) {
    let third = resident.len() / 3;
    let median = |of: usize, part: &[[u64; 2]]| {
        let mut all: Vec<u64> = part.iter().map(|reading| reading[of]).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied().unwrap_or_default()
    };
    for (of, process) in ["gateway", "shard"].into_iter().enumerate() {
        let before = median(of, &resident[third..2 * third]);
        let after = median(of, &resident[2 * third..]);
        println!("{process}: resident {before} KiB in the second third, {after} KiB in the last");
        let most = before + before * GROWTH_PERCENT_MAX / 100 + GROWTH_KIB_MAX;
        assert!(after <= most, "{process} grows: {before} to {after} KiB");
    }
}
