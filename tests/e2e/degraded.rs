//! Shards in trouble that is no failed flush: a disk that cannot be measured, a checkpoint folder
//! that is gone, a damaged block, a disk that is full. None ends the process; what can be served is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::disk::SmallDisk;
use crate::support::load::{ONCE, PATIENT, delete, evidence, get, put};
use crate::support::process::{get as page, run, wait_until};
use crate::support::{Deployment, Options};
use client::Client;
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Runtime;

/// Time in which what is waited for must come about.
const WAIT_MAX: Duration = Duration::from_secs(180);
const MIB: u64 = 1 << 20;

fn one(engine: &'static str) -> Options {
    Options { regions: vec!["eu-fra"], engine, ..Options::default() }
}

/// The operators' page of the shard.
fn readyz(deployment: &mut Deployment) -> (u16, String) {
    page(deployment.shard("eu-fra").admin(), "/readyz").expect("it answers")
}

/// The value of a metric of the shard.
fn metric(deployment: &mut Deployment, name: &str) -> f64 {
    let (_, page) = page(deployment.shard("eu-fra").admin(), "/metrics").expect("it answers");
    let line = page.lines().find_map(|line| line.strip_prefix(&format!("bailiwick_{name} ")));
    line.and_then(|value| value.parse().ok()).expect("the metric is there")
}

/// One put, and the reason with which it was refused.
async fn try_put(client: &Client, key: &str, body: &[u8]) -> Result<(), String> {
    match client.put(&put("anna", key, body, &evidence("DE"))).await {
        Ok(_) => Ok(()),
        Err(error) => Err(error.refused().expect("a refusal").reason.clone()),
    }
}

/// A tracer that lets a system call fail, until it is dropped.
struct Injection(Child);

impl Injection {
    fn start(pid: u32, call: &str, error: &str) -> Self {
        let inject = format!("inject={call}:error={error}");
        let tracer = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-p", &pid.to_string()])
            .args(["-e", &format!("trace={call}"), "-e", &inject])
            .spawn();
        Self(tracer.expect("strace is installed: apt-get install strace"))
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), Signal::INT).ok();
        self.0.wait().ok();
    }
}

#[test]
fn a_disk_that_cannot_be_measured_refuses_writes_and_ends_nothing() {
    for engine in ["sled", "fjall"] {
        let mut deployment = Deployment::start(&one(engine));
        let runtime = Runtime::new().expect("a runtime");
        let pid = deployment.shard("eu-fra").pid();
        let client = runtime.block_on(Client::connect(&deployment.gateway_url(), ONCE));
        let client = client.expect("a gateway");
        runtime.block_on(try_put(&client, "before", b"x")).expect("a put");
        let injection = Injection::start(pid, "statfs", "EIO");
        let mut n = 0;
        wait_until("a put is refused", WAIT_MAX, || {
            n += 1;
            let refused = runtime.block_on(try_put(&client, &format!("k{n}"), b"x")).err();
            refused.is_some_and(|reason| {
                assert_eq!(reason, "DISK_RESERVE");
                true
            })
        });
        let read = runtime.block_on(get(&client, "anna", "eu-fra", "before"));
        assert_eq!(read.expect("it is served").body, "x");
        drop(injection);
        wait_until("puts are taken again", WAIT_MAX, || {
            runtime.block_on(try_put(&client, "after", b"x")).is_ok()
        });
        assert_eq!(deployment.shard("eu-fra").pid(), pid);
        assert!(deployment.shard("eu-fra").runs());
        assert_eq!(deployment.shard("eu-fra").stop(), 0);
    }
}

#[test]
fn a_checkpoint_folder_that_is_removed_is_noticed_at_the_next_checkpoint() {
    let mut deployment = Deployment::start(&one("sled"));
    let runtime = Runtime::new().expect("a runtime");
    let client = runtime.block_on(Client::connect(&deployment.gateway_url(), ONCE));
    let client = client.expect("a gateway");
    let anchor = deployment.anchor_dir("eu-fra");
    let aside = deployment.root().join("aside");
    fs::rename(&anchor, &aside).expect("a folder can be moved");
    runtime.block_on(try_put(&client, "one", b"x")).expect("writes are durable all the same");
    wait_until("the shard says so", WAIT_MAX, || {
        let (status, page) = readyz(&mut deployment);
        status == 503 && page.contains("checkpoint: ") && page.contains("it was removed")
    });
    assert!(metric(&mut deployment, "shard_checkpoint_failures_total") > 0.0);
    fs::rename(&aside, &anchor).expect("a folder can be moved");
    wait_until("it is ready again", WAIT_MAX, || readyz(&mut deployment).0 == 200);
    runtime.block_on(try_put(&client, "two", b"x")).expect("a put");
    assert_eq!(deployment.shard("eu-fra").stop(), 0);
    let stderr = deployment.stderr("eu-fra");
    assert_eq!(stderr.matches("no checkpoint can be stored").count(), 1, "{stderr}");
    deployment.shard("eu-fra").start();
    deployment.shard("eu-fra").wait_ready();
}

/// The files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// The largest table file of a fjall store.
fn largest_table(data: &Path) -> Option<(u64, PathBuf)> {
    let tables = files(data).into_iter().filter(|path| {
        path.parent().and_then(Path::file_name).is_some_and(|folder| folder == "tables")
    });
    let sized = tables.filter_map(|path| Some((fs::metadata(&path).ok()?.len(), path)));
    sized.max()
}

#[test]
fn one_damaged_block_is_data_loss_for_its_own_rows_and_for_no_others() {
    let mut deployment = Deployment::start(&one("fjall"));
    let (url, runtime) = (deployment.gateway_url(), Runtime::new().expect("a runtime"));
    let client = runtime.block_on(Client::connect(&url, PATIENT)).expect("a gateway");
    // Until a table is written, which happens when a write buffer of 64 MiB is full.
    let (body, mut count) = (vec![7; 512 << 10], 0);
    wait_until("a table is written", WAIT_MAX * 2, || {
        let key = format!("k{count}");
        runtime.block_on(try_put(&client, &key, &body)).expect("a put");
        count += 1;
        largest_table(&deployment.data_dir("eu-fra")).is_some_and(|(bytes, _)| bytes > 40 * MIB)
    });
    assert_eq!(deployment.shard("eu-fra").stop(), 0);
    // One byte in the middle of it: a body, since there is little else.
    let (bytes, table) = largest_table(&deployment.data_dir("eu-fra")).expect("a table");
    let mut text = fs::read(&table).expect("a table");
    let at = usize::try_from(bytes / 2).expect("a small file");
    *text.get_mut(at).expect("a byte") ^= 0x10;
    fs::write(&table, text).expect("a table can be written");
    deployment.restart("eu-fra");

    let client = runtime.block_on(Client::connect(&url, ONCE)).expect("a gateway");
    let read_all = || {
        let mut damaged = Vec::new();
        for n in 0..count {
            let key = format!("k{n}");
            match runtime.block_on(get(&client, "anna", "eu-fra", &key)) {
                Ok(record) => assert!(record.body == body),
                Err(reason) => {
                    assert_eq!(reason, "STORED_DATA_DAMAGED");
                    damaged.push(key);
                }
            }
        }
        damaged
    };
    let damaged = read_all();
    assert!((1..=2).contains(&damaged.len()), "{damaged:?} of {count}");
    assert_eq!(read_all(), damaged);
    let broken = damaged.first().expect("one");
    // A write reads no body: it replaces or deletes what cannot be read, and others go on.
    runtime.block_on(try_put(&client, broken, b"new")).expect("a put reads no body");
    let mended = runtime.block_on(get(&client, "anna", "eu-fra", broken)).expect("a record");
    assert_eq!(mended.body.as_ref(), b"new");
    let gone = delete("anna", "eu-fra", broken);
    runtime.block_on(client.delete(&gone)).expect("a delete reads no body");
    runtime.block_on(try_put(&client, "new", b"new")).expect("a put");
    let (status, page) = readyz(&mut deployment);
    let name = table.file_name().and_then(|name| name.to_str()).expect("a name");
    assert!(status == 200 && page.contains("store: damaged") && page.contains(name), "{page}");
    assert!(metric(&mut deployment, "shard_damaged_reads_total") >= 2.0);
    assert_eq!(deployment.shard("eu-fra").stop(), 0);
    let stderr = deployment.stderr("eu-fra");
    assert_eq!(stderr.matches("does not read back: restore it").count(), 1, "{stderr}");
}

/// A shard on a small disk under writers, until they are refused; then for some seconds more.
fn fill(deployment: &Deployment, disk: &Path, runtime: &Runtime) -> (u64, u64) {
    let (least, written) = (AtomicU64::new(u64::MAX), AtomicU64::new(0));
    let url = deployment.gateway_url();
    let body: Vec<u8> = (0..64_u32 << 10).flat_map(u32::to_le_bytes).collect();
    runtime.block_on(async {
        let client = Client::connect(&url, ONCE).await.expect("a gateway");
        let mut refused = 0;
        for n in 0..20_000 {
            match try_put(&client, &format!("k{n}"), &body).await {
                Ok(()) => {
                    written.fetch_add(1, Ordering::Relaxed);
                }
                Err(reason) => {
                    assert!(reason == "DISK_RESERVE" || reason == "SHARD_BUSY", "{reason}");
                    refused += 1;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            let stat = rustix::fs::statvfs(disk).expect("a disk");
            least.fetch_min(stat.f_bavail * stat.f_frsize, Ordering::Relaxed);
            if refused >= 250 {
                return;
            }
        }
        assert!(refused > 0, "the disk never fills");
    });
    (written.into_inner(), least.into_inner())
}

#[test]
fn a_full_disk_of_fjall_keeps_its_reserve_deletes_and_starts_again() {
    let disk = SmallDisk::mount(1_500);
    let mut options = one("fjall");
    options.homes.insert("eu-fra", disk.path().join("home"));
    options.disk_reserve_mb = 256;
    let mut deployment = Deployment::start(&options);
    let (url, runtime) = (deployment.gateway_url(), Runtime::new().expect("a runtime"));
    let (written, least) = fill(&deployment, disk.path(), &runtime);
    assert!(written > 400, "{written} writes fitted");
    assert!(least >= 160 * MIB, "the disk was down to {} MiB", least / MIB);
    let remove = |from: u64, count: u64| {
        let client = runtime.block_on(Client::connect(&url, PATIENT)).expect("a gateway");
        for n in from..from + count {
            let gone = delete("anna", "eu-fra", &format!("k{n}"));
            runtime.block_on(client.delete(&gone)).expect("deletions work on a full disk");
        }
    };
    remove(0, 20);
    // Full, it starts; still full, it deletes; and it ends well.
    assert_eq!(deployment.shard("eu-fra").stop(), 0);
    deployment.restart("eu-fra");
    remove(20, 20);
    assert!(deployment.shard("eu-fra").runs());
    assert_eq!(deployment.shard("eu-fra").stop(), 0);

    // With hardly a byte free it starts all the same, and reads.
    let stat = rustix::fs::statvfs(disk.path()).expect("a disk");
    let ballast = disk.path().join("ballast");
    let fill = stat.f_bavail * stat.f_frsize - 48 * MIB;
    fs::write(&ballast, vec![1; usize::try_from(fill).expect("small")]).expect("ballast");
    deployment.restart("eu-fra");
    let client = runtime.block_on(Client::connect(&url, ONCE)).expect("a gateway");
    runtime.block_on(get(&client, "anna", "eu-fra", "k100")).expect("it is served");
    assert_eq!(
        runtime.block_on(try_put(&client, "more", b"x")).err().as_deref(),
        Some("DISK_RESERVE")
    );
    fs::remove_file(&ballast).expect("the ballast is there");
}

#[test]
fn a_reserve_as_large_as_the_disk_is_a_mistake() {
    let disk = SmallDisk::mount(64);
    let mut options = one("sled");
    options.homes.insert("eu-fra", disk.path().join("home"));
    let mut deployment = Deployment::start(&options);
    assert_eq!(deployment.shard("eu-fra").stop(), 0);
    let config = deployment.root().join("shard-eu-fra.toml");
    let text = fs::read_to_string(&config).expect("a configuration");
    fs::write(&config, text.replace("disk_reserve_mb = 1\n", "disk_reserve_mb = 64\n"))
        .expect("a configuration can be written");
    let refused = run(&["shard", "--config", config.to_str().expect("text")]);
    assert_eq!(refused.code, 64, "{}", refused.stderr);
    assert!(refused.stderr.contains("disk_reserve_mb"), "{}", refused.stderr);
}

#[test]
fn the_commands_of_a_new_shard_say_what_they_did() {
    let mut deployment = Deployment::start(&one("sled"));
    let config = deployment.root().join("shard-eu-fra.toml");
    let config = config.to_str().expect("text").to_owned();
    // The keys are shown while it runs, as lines of a policy.
    let shown = run(&["shard", "show-key", "--config", &config]);
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    assert!(shown.stdout.starts_with("log sample/eu-fra/s1/1+"), "{}", shown.stdout);
    assert_eq!(shown.stdout.lines().count(), 1);
    let json = run(&["shard", "show-key", "--json", "--config", &config]).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let vkey = json["logs"][0]["vkey"].as_str().expect("a key");
    assert_eq!(shown.stdout.trim_end(), format!("log {vkey}"));
    let confirmed = run(&["shard", "confirm-clock", "--config", &config]);
    assert_eq!(confirmed.code, 0, "{}", confirmed.stderr);
    // It is made once.
    assert_eq!(deployment.shard("eu-fra").stop(), 0);
    let again = run(&["shard", "init", "--config", &config]);
    assert_eq!(again.code, 65, "{}", again.stderr);
    assert!(again.stderr.contains("holds a store already"), "{}", again.stderr);
    // Without anything, it does not begin anew.
    for folder in ["data", "anchor", "keys"] {
        fs::remove_dir_all(deployment.root().join("eu-fra").join(folder)).expect("a folder");
    }
    let refused = run(&["shard", "--config", &config]);
    assert_eq!(refused.code, 65, "{}", refused.stderr);
    assert!(refused.stderr.contains("shard init"), "{}", refused.stderr);
    let again = run(&["shard", "init", "--json", "--config", &config]);
    let made: serde_json::Value = serde_json::from_str(&again.stdout).expect("JSON");
    assert_eq!(made["keyring_made"], true);
}
