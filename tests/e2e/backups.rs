//! Backups by the binary, on every engine: under load, killed, on a full disk; restored, served and
//! audited.

#![expect(clippy::indexing_slicing, reason = "a test that goes astray may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Runtime;

use crate::support::disk::SmallDisk;
use crate::support::load::{PATIENT, Writers, evidence, get, put};
use crate::support::maps::text;
use crate::support::objects::CREDENTIALS;
use crate::support::postgres::Server;
use crate::support::process::{BINARY, Finished, json, run, wait_until};
use crate::support::{Deployment, Options, secret};
use client::Client;

const REGION: &str = "eu-fra";
/// Records that make a backup large enough to be met in the middle, and their bytes.
const LARGE: u64 = 120;
const LARGE_BYTES: usize = 1 << 20;

fn config(deployment: &Deployment) -> PathBuf {
    deployment.root().join(format!("shard-{REGION}.toml"))
}

fn backup(deployment: &Deployment, out: &Path) -> Finished {
    let config = config(deployment);
    run(&["shard", "backup", "--config", text(&config), "--out", text(out), "--json"])
}

/// The files of a folder by how they end.
fn names(folder: &Path, end: &str) -> Vec<PathBuf> {
    let Ok(files) = fs::read_dir(folder) else { return Vec::new() };
    let paths = files.map(|file| file.expect("a file").path());
    paths.filter(|path| path.to_string_lossy().ends_with(end)).collect()
}

/// Mirrors the log, or compares it with the store.
fn audit(deployment: &Deployment, command: &str, folder: &Path) -> Finished {
    deployment.wait_signed(REGION);
    let url = format!("http://127.0.0.1:{}", deployment.audit_port(REGION));
    run(&["audit", command, "--shard", &url, text(folder)])
}

/// Under 64 writers, into a folder or the bucket that the options name: what is restored elsewhere is the log at that size, with all its records.
pub(crate) fn under_writers(options: &Options, in_bucket: bool, lose: impl FnOnce(&Deployment)) {
    let mut deployment = Deployment::start(options);
    secret(&deployment.root().join("bucket-credentials"), CREDENTIALS);
    let runtime = Runtime::new().expect("a runtime");
    let folder = deployment.root().join("backups");
    let out = if in_bucket { PathBuf::from("s3:") } else { folder };
    let writers = Writers::start(&runtime, &deployment.gateway_url(), 64);
    writers.wait_acked(500);
    let made = json(&backup(&deployment, &out));
    writers.wait_acked(200);
    let acked = writers.stop(&runtime);
    let file = PathBuf::from(made["file"].as_str().expect("a file"));
    if !in_bucket {
        assert_eq!(names(&out, ".backup"), std::slice::from_ref(&file));
    }
    let config = config(&deployment);
    let verify = ["shard", "backup", "verify", "--config", text(&config), text(&file), "--json"];
    assert_eq!(json(&run(&verify)), made);
    let log = deployment.root().join("log");
    let mirrored = audit(&deployment, "mirror", &log);
    assert_eq!(mirrored.code, 0, "{mirrored:?}");
    assert_eq!(deployment.shard(REGION).stop(), 0);
    lose(&deployment);
    let restore = ["shard", "restore", "--config", text(&config), "--from", text(&file), "--json"];
    let restored = json(&run(&restore));
    assert_eq!((&restored["backup"], &restored["erased_again"]), (&made, &Value::from(0)));
    let again = run(&restore);
    assert!(again.code == 65 && again.stderr.contains("holds a store"), "{again:?}");
    let size = made["entries"].as_u64().expect("a number");
    assert!(restored["old_head"]["entries"].as_u64().expect("a number") > size);
    deployment.restart(REGION);
    let url = deployment.gateway_url();
    let kept = runtime.block_on(async {
        let client = Client::connect(&url, PATIENT).await.expect("a gateway");
        let mut kept = 0;
        for write in &acked {
            let found = get(&client, &write.subject, REGION, &write.key).await;
            // An entry that the backup has belongs to a record that it has, and no other does.
            let (is_kept, body) = (write.index < size, found.map(|record| record.body.to_vec()));
            assert_eq!(body.as_ref().ok(), is_kept.then_some(&write.body), "{body:?}");
            kept += u64::from(is_kept);
        }
        client.put(&put("later", "main", b"x", &evidence("DE"))).await.expect("it is stored");
        kept
    });
    assert!((500..acked.len() as u64).contains(&kept), "{kept} of {}", acked.len());
    // An auditor sees that a log was lost, that the next one names its head, and that the store has
    // what both say that it should have.
    for command in ["mirror", "reconcile"] {
        let done = audit(&deployment, command, &log);
        assert!(done.code == 1 && done.stderr.contains("s1/1: NO LONGER SHOWN"), "{done:?}");
        assert!(done.stderr.contains("\n1 thing is wrong"), "{done:?}");
        assert!(!done.stdout.contains("DO NOT AGREE"), "{done:?}");
    }
    let verified = run(&["audit", "verify", text(&log)]);
    assert_eq!(verified.code, 0, "{verified:?}");
    let next = log.join(format!("{REGION}.s1.2"));
    let entries = run(&["audit", "entries", "--kind", "RESTORE", text(&next)]);
    assert!(entries.stdout.contains(made["id"].as_str().expect("text")), "{entries:?}");
    assert_eq!(deployment.shard(REGION).stop(), 0);
}

fn embedded(engine: &'static str) {
    let options = Options { regions: vec![REGION], engine, ..Options::default() };
    under_writers(&options, false, |deployment| {
        fs::rename(deployment.data_dir(REGION), deployment.root().join("lost")).expect("renamed");
    });
}

#[test]
fn a_backup_under_load_is_restored_on_sled() {
    embedded("sled");
}

#[test]
fn a_backup_under_load_is_restored_on_fjall() {
    embedded("fjall");
}

#[test]
fn a_backup_under_load_is_restored_on_postgresql() {
    let (server, other) = (Server::start(), Server::start());
    let (database, empty) = (server.database("people"), other.database("people"));
    let before = database.clone();
    let database = Some(database);
    let options =
        Options { regions: vec![REGION], engine: "postgres", database, ..Options::default() };
    under_writers(&options, false, |deployment| {
        let config = config(deployment);
        let text = fs::read_to_string(&config).expect("a configuration");
        fs::write(&config, text.replace(&before, &empty)).expect("it can be written");
    });
}

/// A region with records that take a while to read.
fn filled() -> (Runtime, Deployment) {
    let options = Options { regions: vec![REGION], engine: "fjall", ..Options::default() };
    let deployment = Deployment::start(&options);
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let client = Client::connect(&deployment.gateway_url(), PATIENT).await.expect("a gateway");
        for n in 0..LARGE {
            let body = vec![n.to_le_bytes()[0]; LARGE_BYTES];
            let request = put("person", &format!("k{n}"), &body, &evidence("DE"));
            client.put(&request).await.expect("it is stored");
        }
    });
    (runtime, deployment)
}

/// Starts a backup, and waits until a part of it is written.
fn begun(deployment: &Deployment, out: &Path) -> Child {
    let config = config(deployment);
    let arguments = ["shard", "backup", "--config", text(&config), "--out", text(out)];
    let child = Command::new(BINARY)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary can be started");
    wait_until("a part is written", Duration::from_secs(120), || {
        let sizes = names(out, ".partial").into_iter();
        let mut sizes = sizes.filter_map(|path| fs::metadata(path).ok());
        sizes.any(|file| file.len() > 0)
    });
    child
}

#[test]
fn a_backup_that_is_killed_leaves_nothing_that_looks_like_one() {
    let (_runtime, mut deployment) = filled();
    let out = deployment.root().join("backups");
    // The command is killed: the shard serves on, and gives the next one.
    let mut child = begun(&deployment, &out);
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    assert_eq!((names(&out, ".backup").len(), names(&out, ".partial").len()), (0, 1));
    let made = json(&backup(&deployment, &out));
    assert!(made["bytes"].as_u64().expect("a number") > LARGE * LARGE_BYTES as u64);
    // The shard is killed: the command fails, and takes away what it had.
    let mut child = begun(&deployment, &out.join("second"));
    deployment.shard(REGION).kill();
    let ended = child.wait().expect("it ends");
    assert_eq!(ended.code(), Some(69));
    assert_eq!(fs::read_dir(out.join("second")).expect("a folder").count(), 0);
    deployment.restart(REGION);
}

#[test]
fn a_full_disk_ends_a_backup_and_nothing_else() {
    let (runtime, deployment) = filled();
    let disk = SmallDisk::mount(16);
    let done = backup(&deployment, disk.path());
    assert!(done.code == 69 && done.stderr.contains("No space left"), "{done:?}");
    assert_eq!(fs::read_dir(disk.path()).expect("a folder").count(), 0);
    runtime.block_on(async {
        let client = Client::connect(&deployment.gateway_url(), PATIENT).await.expect("a gateway");
        client.put(&put("later", "main", b"x", &evidence("DE"))).await.expect("it is stored");
    });
    json(&backup(&deployment, &deployment.root().join("backups")));
}

#[test]
fn a_backup_does_not_lie_in_the_folder_of_the_store() {
    let options = Options { regions: vec![REGION], engine: "fjall", ..Options::default() };
    let deployment = Deployment::start(&options);
    let done = backup(&deployment, &deployment.data_dir(REGION).join("backups"));
    assert!(done.code == 64 && done.stderr.contains("lies in the data folder"), "{done:?}");
}
