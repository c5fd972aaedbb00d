//! Watches by the SDK and by the binary: what changes while others write, and after the gateway and the
//! shard have gone and come back.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::load::{PATIENT, delete, evidence, put};
use crate::support::process::wait_until;
use crate::support::{Deployment, Options};
use client::{Client, Watch, api};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// The sample map, in which the changes of profiles are kept for an hour.
fn options() -> Options {
    let usual = Options::default();
    let reads = "reads = \"counted\"\n";
    let map = usual.map.replacen(reads, &format!("{reads}feed = \"1h\"\n"), 1);
    Options { regions: vec!["eu-fra"], map, ..usual }
}

fn request() -> api::WatchRecordsRequest {
    api::WatchRecordsRequest {
        collection: "profiles".to_owned(),
        region: "eu-fra".to_owned(),
        ..Default::default()
    }
}

fn german(subject: &str, key: &str) -> api::PutRecordRequest {
    put(subject, key, b"hello", &evidence("DE"))
}

/// The next changes, whatever comes between.
async fn next(watch: &mut Watch) -> Vec<api::RecordChange> {
    let changes = async {
        loop {
            let answer = watch.next().await.expect("an answer");
            if !answer.changes.is_empty() {
                return answer.changes;
            }
        }
    };
    timeout(Duration::from_secs(120), changes).await.expect("changes in time")
}

fn reason(error: client::Error) -> String {
    error.refused().expect("a refusal").reason.clone()
}

#[test]
fn a_watch_goes_on_after_gateway_and_shard_were_gone() {
    let mut deployment = Deployment::start(&options());
    let runtime = Runtime::new().expect("a runtime");
    let url = deployment.gateway_url();
    let client = runtime.block_on(Client::connect(&url, PATIENT)).expect("a gateway");
    let mut watch = client.watch(request());
    runtime.block_on(async {
        let first = watch.next().await.expect("a first answer, at once");
        assert!(first.changes.is_empty() && !first.cursor.is_empty());
        client.put(&german("p-1", "a")).await.expect("a put");
        let told = next(&mut watch).await;
        let record = told[0].record.clone().expect("a record");
        assert_eq!((told.len(), record.key.as_str(), record.version), (1, "a", 1));
        assert_eq!(record.subject.expect("a subject").domicile, "eu-fra");
        assert!(record.body.is_empty() && told[0].kind() == api::ChangeKind::Written);
    });
    deployment.restart("eu-fra");
    runtime.block_on(async {
        client.put(&german("p-1", "b")).await.expect("a put");
        client.delete(&delete("p-1", "eu-fra", "a")).await.expect("a deletion");
        let mut seen = BTreeMap::new();
        while seen.len() < 2 {
            for change in next(&mut watch).await {
                let kind = change.kind();
                let record = change.record.expect("a record");
                seen.insert(record.key, (record.version, kind));
            }
        }
        assert!(seen.get("a") == Some(&(2, api::ChangeKind::Deleted)));
        assert!(seen.get("b") == Some(&(1, api::ChangeKind::Written)));
        // Another watch with the same cursor; and what is refused.
        let cursor = watch.cursor().to_owned();
        client.put(&german("p-2", "c")).await.expect("a put");
        let mut later =
            client.watch(api::WatchRecordsRequest { cursor: cursor.clone(), ..request() });
        assert_eq!(next(&mut later).await.len(), 1);
        let of = |change: &dyn Fn(&mut api::WatchRecordsRequest)| {
            let mut request = request();
            change(&mut request);
            request
        };
        for (refused, wanted) in [
            (of(&|r| "messages".clone_into(&mut r.collection)), "FEED_REQUIRED"),
            (of(&|r| r.region.clear()), "FIELD_MISSING"),
            (of(&|r| "nowhere".clone_into(&mut r.region)), "DOMICILE_UNKNOWN"),
            (of(&|r| r.cursor = format!("{cursor}00")), "PAGE_TOKEN_INVALID"),
            (of(&|r| "ru-msk".clone_into(&mut r.region)), "REGION_UNAVAILABLE"),
            (of(&|r| "ü".clone_into(&mut r.purpose)), "FIELD_INVALID"),
        ] {
            let once = client::Settings { attempts_max: 1, ..PATIENT };
            let client = Client::connect(&url, once).await.expect("a gateway");
            let refused = client.watch(refused).next().await.err().expect("it is refused");
            assert_eq!(reason(refused), wanted);
        }
    });
}

#[test]
fn an_operator_reads_changes_as_they_come() {
    let deployment = Deployment::start(&options());
    let url = deployment.gateway_url();
    let runtime = Runtime::new().expect("a runtime");
    let client = runtime.block_on(Client::connect(&url, PATIENT)).expect("a gateway");
    runtime.block_on(client.put(&german("p-1", "main"))).expect("a put");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bailiwick"));
    command.args(["record", "watch", "--collection", "profiles", "--json", "--gateway", &url]);
    command.args(["--subject", "p-1", "--domicile", "eu-fra"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary can be started");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut line = || -> Value {
        let line = lines.next().expect("a line").expect("text");
        serde_json::from_str(&line).expect("JSON")
    };
    assert!(line()["cursor"].is_string());
    runtime.block_on(async {
        client.put(&german("p-2", "other")).await.expect("a put");
        client.put(&german("p-1", "new")).await.expect("a put");
    });
    let told = line();
    assert_eq!((&told["change"], &told["key"]), (&"written".into(), &"new".into()));
    assert_eq!((&told["subject"], &told["version"]), (&"p-1".into(), &1.into()));
    assert!(told.get("body").is_none());
    assert!(line()["cursor"].is_string());
    child.kill().expect("it can be ended");
    child.wait().expect("it ends");
}

#[test]
fn every_acknowledged_write_is_told_though_the_shard_is_killed_again_and_again() {
    const WRITES: usize = 300;
    let mut deployment = Deployment::start(&options());
    let runtime = Runtime::new().expect("a runtime");
    let url = deployment.gateway_url();
    let client = runtime.block_on(Client::connect(&url, PATIENT)).expect("a gateway");
    let mut watch = client.watch(request());
    runtime.block_on(watch.next()).expect("a first answer");
    let done = Arc::new(AtomicUsize::new(0));
    let (written, writer) = (Arc::clone(&done), client);
    let writing = runtime.spawn(async move {
        for n in 0..WRITES {
            writer.put(&german(&format!("p-{}", n % 7), &format!("k-{n}"))).await.expect("a put");
            written.store(n + 1, Ordering::Relaxed);
        }
    });
    let watching = runtime.spawn(async move {
        let mut seen = BTreeMap::new();
        while seen.len() < WRITES {
            for change in next(&mut watch).await {
                let record = change.record.expect("a record");
                seen.insert(record.key, record.version);
            }
        }
        seen
    });
    for part in 1..4 {
        let wanted = WRITES * part / 4;
        wait_until("more writes", Duration::from_secs(180), || {
            done.load(Ordering::Relaxed) >= wanted
        });
        deployment.restart("eu-fra");
    }
    let seen = runtime.block_on(async {
        writing.await.expect("no panic");
        timeout(Duration::from_secs(180), watching).await.expect("in time").expect("no panic")
    });
    assert_eq!(seen.len(), WRITES);
    assert!(seen.values().all(|version| *version == 1));
}
