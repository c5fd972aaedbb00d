//! Faults against real processes: power cut of a shard under load, a region that is down, a drain
//! under load, a stream cut in the middle, a flush that fails, a disk that is full. After each,
//! every acknowledged record is there, each has its entry, and the log is the signed one.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::support::disk::SmallDisk;
use crate::support::load::{Acked, ONCE, PATIENT, Writers, evidence, get, put};
use crate::support::process::{get as page, pause, wait_until};
use crate::support::{Deployment, Options, stored};
use client::{Client, Settings, api};
use rustix::process::Signal;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// How many times the shard is killed.
const KILLS: u64 = 50;
/// Writers at work while it is.
const WRITERS: u64 = 64;

fn one_region(region: &'static str, engine: &'static str) -> Options {
    Options { regions: vec![region], engine, ..Options::default() }
}

fn runtime() -> Runtime {
    Runtime::new().expect("a runtime")
}

/// Every acknowledged write is there under its key, and its entry stands at the index that its
/// receipt names, in a log whose signed checkpoint is the root of its entries.
fn check(deployment: &mut Deployment, region: &str, engine: engine::Kind, acked: &[Acked]) {
    let (url, runtime) = (deployment.gateway_url(), runtime());
    runtime.block_on(async {
        let client = Client::connect(&url, PATIENT).await.expect("a gateway");
        for write in acked {
            let record = get(&client, &write.subject, region, &write.key).await;
            let record = record.expect("an acknowledged record");
            assert!(record.body == write.body, "another body than was acknowledged");
        }
    });
    assert_eq!(deployment.shard(region).stop(), 0);
    let data = deployment.data_dir(region);
    let entries = stored::entries(&data, engine, 1);
    let mut edge = ledger::Edge::new();
    for entry in &entries {
        edge.append(ledger::hash::leaf_hash(entry), &mut Vec::new());
    }
    let anchor = deployment.anchor_dir(region).join(format!("{region}-s1.checkpoint"));
    let signed = stored::checkpoint(&anchor, &stored::log_key(&entries));
    assert_eq!((signed.size, signed.root), (edge.size(), edge.root()));
    for write in acked {
        let at = usize::try_from(write.index).expect("a small log");
        assert!(entries.get(at) == Some(&write.entry), "the receipt's entry at its index");
    }
}

#[test]
fn a_shard_killed_under_load_loses_nothing_that_was_acknowledged() {
    // The moments of the kills follow from this seed; another one is another test.
    let mut seed = 20_261_123_u64;
    for (engine, name, kills) in
        [(engine::Kind::Sled, "sled", KILLS / 2), (engine::Kind::Fjall, "fjall", KILLS / 2)]
    {
        let mut deployment = Deployment::start(&one_region("eu-fra", name));
        let runtime = runtime();
        let writers = Writers::start(&runtime, &deployment.gateway_url(), WRITERS);
        for _ in 0..kills {
            writers.wait_acked(10);
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            pause(Duration::from_millis(20 + (seed >> 33) % 180));
            deployment.shard("eu-fra").kill();
            deployment.restart("eu-fra");
        }
        let acked = writers.stop(&runtime);
        assert!(acked.len() > 200, "{} writes were acknowledged", acked.len());
        check(&mut deployment, "eu-fra", engine, &acked);
    }
}

#[test]
fn a_region_that_is_down_is_refused_at_once_and_no_other_feels_it() {
    let regions = vec!["eu-fra", "ru-msk"];
    let mut deployment = Deployment::start(&Options { regions, ..Options::default() });
    deployment.shard("ru-msk").kill();
    deployment.wait_session("ru-msk", false);
    let (url, runtime) = (deployment.gateway_url(), runtime());
    runtime.block_on(async {
        let client = Client::connect(&url, ONCE).await.expect("a gateway");
        for n in 0..50 {
            let down = put(&format!("r{n}"), "k", b"x", &evidence("RU"));
            let error = client.put(&down).await.err().expect("the region is down");
            let refused = error.refused().expect("a refusal");
            assert_eq!(refused.reason, "REGION_UNAVAILABLE");
            assert!(refused.retry_after.is_some(), "it comes with RetryInfo");
            assert_eq!(refused.metadata.get("region").map(String::as_str), Some("ru-msk"));
            let up = put(&format!("e{n}"), "k", b"x", &evidence("DE"));
            let done = client.put(&up).await.expect("the other region serves");
            assert_eq!(done.answer.subject.expect("a subject").domicile, "eu-fra");
            // Nothing of the refused one is anywhere else.
            let elsewhere = get(&client, &format!("r{n}"), "eu-fra", "k").await;
            assert_eq!(elsewhere.err().as_deref(), Some("SUBJECT_UNKNOWN"));
        }
    });
    deployment.restart("ru-msk");
    runtime.block_on(async {
        let client = Client::connect(&url, PATIENT).await.expect("a gateway");
        let late = put("r0", "k", b"x", &evidence("RU"));
        assert!(!client.put(&late).await.expect("it serves again").replayed);
    });
}

#[test]
fn a_drain_under_load_answers_what_it_took() {
    let mut deployment = Deployment::start(&one_region("eu-fra", "sled"));
    let runtime = runtime();
    let writers = Writers::start(&runtime, &deployment.gateway_url(), WRITERS);
    for _ in 0..5 {
        writers.wait_acked(20);
        assert_eq!(deployment.shard("eu-fra").stop(), 0);
        deployment.shard("eu-fra").start();
        deployment.shard("eu-fra").wait_ready();
    }
    deployment.wait_session("eu-fra", true);
    assert_eq!(writers.unknown(), 0, "a drain leaves no outcome open");
    let acked = writers.stop(&runtime);
    check(&mut deployment, "eu-fra", engine::Kind::Sled, &acked);
}

#[test]
fn a_stream_cut_in_the_middle_harms_nobody() {
    let mut deployment = Deployment::start(&one_region("eu-fra", "sled"));
    let (url, runtime) = (deployment.gateway_url(), runtime());
    let acked = runtime.block_on(async {
        let mut acked = Vec::new();
        for round in 0..20 {
            let client = Client::connect(&url, PATIENT).await.expect("a gateway");
            let (puts, mut answers) = client.stream_put(64).await.expect("a stream");
            let sent = Arc::new(AtomicU64::new(0));
            let counter = Arc::clone(&sent);
            let sender = tokio::spawn(async move {
                for n in 0..1_000 {
                    let key = format!("k{round}-{n}");
                    let request = put("anna", &key, key.as_bytes(), &evidence("DE"));
                    if puts.send(request).await.is_err() {
                        return;
                    }
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            });
            for _ in 0..50 * (round + 1) {
                let Ok(Some(answer)) = answers.next().await else { break };
                let done = answer.outcome.expect("a put is done");
                let key = format!("k{round}-{}", answer.index);
                acked.push(Acked::of("anna", &key, key.as_bytes(), &done));
            }
            // Cut: both halves, the connection, the caller.
            sender.abort();
            drop((answers, client));
        }
        acked
    });
    assert!(acked.len() >= 1_000);
    check(&mut deployment, "eu-fra", engine::Kind::Sled, &acked);
}

/// Puts of one client, which travel together.
async fn together(client: Client, writers: u64, puts: u64) -> Vec<Acked> {
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        let client = client.clone();
        tasks.spawn(async move {
            let mut acked = Vec::new();
            for n in 0..puts {
                let (subject, key) = (format!("w{writer}"), format!("k{n}"));
                let body = format!("{writer}:{n}").into_bytes();
                let done = client.put(&put(&subject, &key, &body, &evidence("DE"))).await;
                let done = done.expect("it is done in the end");
                assert_eq!(done.version, 1, "a retry has no second effect");
                acked.push(Acked::of(&subject, &key, &body, &done));
            }
            acked
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

#[test]
fn puts_that_travel_together_are_settled_when_gateway_or_shard_is_killed() {
    let mut deployment = Deployment::start(&one_region("eu-fra", "fjall"));
    let (url, runtime) = (deployment.gateway_url(), runtime());
    // Each of them has the time of all restarts.
    let settings =
        Settings { deadline: Duration::from_secs(900), attempts_max: 10_000, ..Settings::DEFAULT };
    let client = runtime.block_on(Client::connect(&url, settings)).expect("a gateway");
    let puts = runtime.spawn(together(client, 200, 30));
    let streamed = |deployment: &mut Deployment| {
        let page = crate::support::process::get(deployment.gateway().admin(), "/metrics");
        let page = page.map_or_else(String::new, |(_, page)| page);
        let line = "bailiwick_calls_total{method=\"StreamPutItem\",reason=\"OK\"}";
        page.lines().find_map(|found| found.strip_prefix(line)?.trim().parse::<u64>().ok())
    };
    let mut on_lanes = 0;
    for round in 0..6 {
        pause(Duration::from_millis(200));
        on_lanes += streamed(&mut deployment).unwrap_or(0);
        if round % 3 == 2 {
            deployment.shard("eu-fra").kill();
            deployment.restart("eu-fra");
        } else {
            deployment.gateway().kill();
            deployment.gateway().restart();
            deployment.wait_session("eu-fra", true);
        }
    }
    let acked = runtime.block_on(puts).expect("no panic");
    assert_eq!(acked.len(), 6_000);
    on_lanes += streamed(&mut deployment).unwrap_or(0);
    assert!(on_lanes > 1_000, "{on_lanes} puts were on lanes");
    check(&mut deployment, "eu-fra", engine::Kind::Fjall, &acked);
}

#[test]
fn a_failed_flush_poisons_the_shard_and_a_restart_has_everything() {
    for (engine, name) in [(engine::Kind::Sled, "sled"), (engine::Kind::Fjall, "fjall")] {
        let mut deployment = Deployment::start(&one_region("eu-fra", name));
        let runtime = runtime();
        let writers = Writers::start(&runtime, &deployment.gateway_url(), 16);
        writers.wait_acked(50);
        // From now on the kernel says EIO to every flush of this process.
        let pid = deployment.shard("eu-fra").pid().to_string();
        let tracer = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-p", &pid, "-e", "trace=fdatasync,fsync"])
            .args(["-e", "inject=fdatasync,fsync:error=EIO"])
            .spawn();
        let mut tracer = tracer.expect("strace is installed: apt-get install strace");
        let code = deployment.shard("eu-fra").wait_end();
        tracer.wait().expect("the tracer ends with it");
        assert_eq!(code, 75, "{}", deployment.stderr("eu-fra"));
        deployment.restart("eu-fra");
        let acked = writers.stop(&runtime);
        assert!(!acked.is_empty());
        check(&mut deployment, "eu-fra", engine, &acked);
    }
}

#[test]
fn a_full_disk_refuses_writes_loses_nothing_and_recovers() {
    let disk = SmallDisk::mount(160);
    let mut options = one_region("eu-fra", "sled");
    options.homes.insert("eu-fra", disk.path().join("home"));
    options.disk_reserve_mb = 48;
    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![0; 40 << 20]).expect("the disk is empty yet");
    let mut deployment = Deployment::start(&options);
    let (url, runtime) = (deployment.gateway_url(), runtime());
    let mut acked = Vec::new();
    let body = vec![7; 256 << 10];
    runtime.block_on(async {
        let client = Client::connect(&url, ONCE).await.expect("a gateway");
        let refused = loop {
            let key = format!("k{}", acked.len());
            match client.put(&put("anna", &key, &body, &evidence("DE"))).await {
                Ok(done) => acked.push(Acked::of("anna", &key, &body, &done)),
                Err(error) => break error,
            }
            assert!(acked.len() < 2_000, "the disk never fills");
        };
        let refused = refused.refused().expect("a refusal").clone();
        assert_eq!(refused.reason, "DISK_RESERVE");
        assert!(refused.retry_after.is_some());
        assert!(acked.len() > 20, "{} writes fitted", acked.len());
        // Deletions live on the reserve; reads need nothing.
        let last = acked.pop().expect("one was acknowledged");
        let delete = crate::support::load::delete(&last.subject, "eu-fra", &last.key);
        client.delete(&delete).await.expect("a deletion");
        assert!(get(&client, &last.subject, "eu-fra", &last.key).await.is_err());
    });
    let mut ready = || page(deployment.shard("eu-fra").admin(), "/readyz").expect("a page").1;
    assert!(ready().contains("disk: ") && ready().contains("writes are refused"));
    fs::remove_file(&ballast).expect("the ballast is there");
    runtime.block_on(async {
        let client = Client::connect(&url, PATIENT).await.expect("a gateway");
        let done = client.put(&put("anna", "after", &body, &evidence("DE"))).await;
        acked.push(Acked::of("anna", "after", &body, &done.expect("space has returned")));
    });
    assert!(!ready().contains("disk: "));
    check(&mut deployment, "eu-fra", engine::Kind::Sled, &acked);
}

#[test]
fn an_outcome_that_is_not_known_is_settled_by_the_same_request() {
    let mut deployment = Deployment::start(&one_region("eu-fra", "sled"));
    let (url, runtime) = (deployment.gateway_url(), runtime());
    // Single attempts against a shard that is killed again and again, until some outcomes are open.
    let open = Arc::new(std::sync::Mutex::new(Vec::<api::PutRecordRequest>::new()));
    let stop = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..32)
        .map(|writer| {
            let (url, open, stop) = (url.clone(), Arc::clone(&open), Arc::clone(&stop));
            runtime.spawn(async move {
                let client = Client::connect(&url, ONCE).await.expect("a gateway");
                let mut n = 0;
                while !stop.load(Ordering::Relaxed) {
                    n += 1;
                    let mut request =
                        put(&format!("w{writer}"), &format!("k{n}"), b"x", &evidence("DE"));
                    request.if_version = Some(0);
                    let Err(error) = client.put(&request).await else { continue };
                    match error.refused().map(|refused| refused.reason.as_str()) {
                        Some("WRITE_OUTCOME_UNKNOWN") => {
                            open.lock().expect("no panic").push(request);
                        }
                        Some("REGION_UNAVAILABLE" | "SHUTTING_DOWN") => {
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                        other => panic!("neither unknown nor unavailable: {other:?} {error}"),
                    }
                }
            })
        })
        .collect();
    wait_until("some outcomes are open", Duration::from_secs(400), || {
        pause(Duration::from_millis(150));
        deployment.shard("eu-fra").kill();
        deployment.restart("eu-fra");
        open.lock().expect("no panic").len() > 40
    });
    stop.store(true, Ordering::Relaxed);
    runtime.block_on(async {
        for task in tasks {
            task.await.expect("no panic");
        }
        let client = Client::connect(&url, PATIENT).await.expect("a gateway");
        let (mut before, mut now) = (0, 0);
        let open = std::mem::take(&mut *open.lock().expect("no panic"));
        for request in open {
            let done = client.put(&request).await.expect("the same request settles it");
            assert_eq!(done.version, 1, "it has one effect, whichever time it was");
            if done.replayed { before += 1 } else { now += 1 }
        }
        assert!(before + now > 40, "{before} had happened, {now} had not");
    });
}

#[test]
fn a_shard_that_is_stopped_takes_nothing_from_other_regions() {
    const SEATS: usize = 64;
    let options = Options { regions: vec!["eu-fra", "us-iad"], ..Options::default() };
    let mut deployment = Deployment::start(&options);
    let config = deployment.root().join("gateway.toml");
    let text = fs::read_to_string(&config).expect("a configuration");
    fs::write(&config, format!("in_flight_max = {SEATS}\n{text}")).expect("it can be written");
    deployment.gateway().restart();
    for region in &options.regions {
        deployment.wait_session(region, true);
    }
    deployment.shard("us-iad").signal(Signal::STOP);
    let (url, runtime) = (deployment.gateway_url(), runtime());
    let (busy, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    runtime.block_on(async {
        let client = Client::connect(&url, ONCE).await.expect("a gateway");
        let mut stalled = JoinSet::new();
        for n in 0..SEATS * 4 {
            let (client, busy, count) = (client.clone(), Arc::clone(&busy), Arc::clone(&refused));
            stalled.spawn(async move {
                let request = put(&format!("us-{n}"), "main", b"x", &evidence("US"));
                let error = client.put(&request).await.err().expect("the shard is stopped");
                let refused = error.refused().expect("a reason");
                if refused.reason == "SHARD_BUSY" {
                    busy.fetch_add(1, Ordering::Relaxed);
                }
                count.fetch_add(1, Ordering::Relaxed);
            });
        }
        // No more than the seats can wait. All others are refused: those beyond the region's share,
        // and, of requests that a stream brings at once, those beyond the tenant's seats.
        while refused.load(Ordering::Relaxed) < u64::try_from(SEATS * 3).expect("few") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(busy.load(Ordering::Relaxed) > 0, "the region has a share");
        for n in 0..50 {
            let request = put(&format!("de-{n}"), "main", b"x", &evidence("DE"));
            client.put(&request).await.expect("another region is served");
        }
        while let Some(done) = stalled.join_next().await {
            done.expect("a reason, whatever it is");
        }
    });
    deployment.shard("us-iad").signal(Signal::CONT);
    deployment.wait_session("us-iad", true);
    runtime.block_on(async {
        let client = Client::connect(&url, PATIENT).await.expect("a gateway");
        let request = put("us-later", "main", b"x", &evidence("US"));
        client.put(&request).await.expect("it goes on");
    });
}
