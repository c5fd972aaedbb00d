//! Backups in the bucket of an S3-compatible server: made, verified and restored; cut off, refused, damaged;
//! and never sent to a server that the region map does not list.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use client::Client;
use link::testing::TlsFront;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::backups::under_writers;
use crate::support::load::{PATIENT, evidence, get, put};
use crate::support::maps::{apply, next, text};
use crate::support::objects::{BUCKET, CREDENTIALS, ObjectServer, Trouble, flip};
use crate::support::process::{BINARY, Finished, json, run, wait_until};
use crate::support::secure::Secured;
use crate::support::{Deployment, Options, secret};

const REGION: &str = "eu-fra";
/// Bytes of a record's body, and records that make more than two parts of an upload.
const LARGE_BYTES: usize = 1 << 20;
const LARGE: u64 = 40;
/// Time in which something must have happened on a slow machine.
const WITHIN: Duration = Duration::from_secs(120);

/// One region whose map lists `listed`, and whose configuration names `endpoint`.
fn options(listed: Option<&str>, endpoint: &str) -> Options {
    let whole = Options::default();
    let region = "name = \"eu-fra\"\nterritory = \"DE\"\n";
    assert!(whole.map.contains(region));
    let map = match listed {
        Some(url) => {
            whole.map.replace(region, &format!("{region}backup_endpoints = [\"{url}\"]\n"))
        }
        None => whole.map.clone(),
    };
    let shard_tables = format!(
        "[backup_bucket]\nendpoint = \"{endpoint}\"\nbucket = \"{BUCKET}\"\nprefix = \"{REGION}/s1\"\n\
         credentials_file = \"bucket-credentials\"\nscratch = \"scratch\"\n"
    );
    Options { regions: vec![REGION], engine: "fjall", map, shard_tables, ..whole }
}

fn start(options: &Options) -> Deployment {
    let deployment = Deployment::start(options);
    secret(&deployment.root().join("bucket-credentials"), CREDENTIALS);
    deployment
}

fn served(server: &ObjectServer) -> Deployment {
    start(&options(Some(&server.url()), &server.url()))
}

fn config(deployment: &Deployment) -> PathBuf {
    deployment.root().join(format!("shard-{REGION}.toml"))
}

fn shard(deployment: &Deployment, arguments: &[&str]) -> Finished {
    let config = config(deployment);
    run(&[&["shard"][..], arguments, &["--config", text(&config), "--json"]].concat())
}

fn backup(deployment: &Deployment) -> Finished {
    shard(deployment, &["backup", "--out", "s3:"])
}

/// A backup that has uploaded one part, and whose next one the server holds.
fn half_uploaded(deployment: &Deployment, server: &ObjectServer) -> Child {
    server.set(Trouble::Hold);
    let child = Command::new(BINARY)
        .args(["shard", "backup", "--config", text(&config(deployment)), "--out", "s3:"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary can be started");
    wait_until("a part is there, and the next is on its way", WITHIN, || server.held() == 1);
    child
}

/// The name of a backup in the bucket.
fn name(made: &Value) -> &str {
    made["file"].as_str().expect("a name")
}

/// The backups in the bucket, without the copies of the file of erasures.
fn backups(server: &ObjectServer) -> Vec<String> {
    let mut objects = server.objects(&format!("{REGION}/s1"));
    objects.retain(|object| !object.ends_with(".erasures"));
    objects
}

/// The key of the object of that name.
fn key(name: &str) -> String {
    format!("{REGION}/s1/{}", name.strip_prefix("s3:").expect("in the bucket"))
}

fn fill(runtime: &Runtime, deployment: &Deployment, from: u64, records: u64) {
    runtime.block_on(async {
        let client = Client::connect(&deployment.gateway_url(), PATIENT).await.expect("a gateway");
        for n in from..from + records {
            let body = vec![n.to_le_bytes()[0]; LARGE_BYTES];
            let request = put("person", &format!("k{n}"), &body, &evidence("DE"));
            client.put(&request).await.expect("it is stored");
        }
    });
}

/// The scratch folder is empty.
#[track_caller]
fn scratch_is_empty(deployment: &Deployment) {
    let scratch = fs::read_dir(deployment.root().join("scratch")).expect("a folder");
    assert_eq!(scratch.count(), 0);
}

/// Nothing is left on this machine, and nothing of uploads on the server.
#[track_caller]
fn nothing_is_left(deployment: &Deployment, server: &ObjectServer) {
    scratch_is_empty(deployment);
    assert_eq!(server.parts(), Vec::<String>::new());
}

#[test]
fn a_backup_in_a_bucket_is_restored_and_equals_the_log() {
    let server = ObjectServer::start();
    let options = options(Some(&server.url()), &server.url());
    under_writers(&options, true, |deployment| {
        // The backup, and a copy of the file of erasures.
        assert!((1..=120).contains(&server.good_for()), "{}", server.good_for());
        assert_eq!((backups(&server).len(), server.objects(&format!("{REGION}/s1")).len()), (1, 2));
        nothing_is_left(deployment, &server);
        fs::rename(deployment.data_dir(REGION), deployment.root().join("lost")).expect("renamed");
    });
}

#[test]
fn changes_since_a_backup_of_the_bucket_are_restored_and_one_flipped_bit_is_named() {
    let server = ObjectServer::start();
    let runtime = Runtime::new().expect("a runtime");
    let mut deployment = served(&server);
    fill(&runtime, &deployment, 0, 20);
    let whole = json(&backup(&deployment));
    fill(&runtime, &deployment, 20, 1);
    let since = ["backup", "--out", "s3:", "--since", name(&whole)];
    // A name has the second in which it was made.
    wait_until("another second", WITHIN, || {
        let done = shard(&deployment, &since);
        done.code == 0 || !done.stderr.contains("there already")
    });
    let objects = backups(&server);
    let changes = objects.iter().find(|object| !name(&whole).ends_with(object.as_str()));
    let changes = format!("s3:{}", changes.expect("a second backup"));
    let verified = json(&shard(&deployment, &["backup", "verify", &changes]));
    assert_eq!(verified["file"].as_str(), Some(&*changes));
    let size = |name: &str| fs::metadata(server.file(&key(name))).expect("an object").len();
    assert!(size(&changes) < size(name(&whole)) / 5);

    // A bit of either is found, and the backup and its chunk are named.
    for damaged in [name(&whole).to_owned(), changes.clone()] {
        let file = server.file(&key(&damaged));
        let kept = fs::read(&file).expect("an object");
        flip(&file);
        let done = shard(&deployment, &["backup", "verify", &changes]);
        assert!(done.code == 65 && done.stderr.contains(&damaged), "{done:?}");
        assert!(done.stderr.contains("chunk "), "{done:?}");
        fs::write(&file, kept).expect("it can be written");
    }

    assert_eq!(deployment.shard(REGION).stop(), 0);
    fs::rename(deployment.data_dir(REGION), deployment.root().join("lost")).expect("renamed");
    // With the machine, the file of erasures is lost: there is a copy of it with each backup.
    fs::rename(deployment.anchor_dir(REGION), deployment.root().join("lost-anchor"))
        .expect("renamed");
    let done = shard(&deployment, &["restore", "--from", &changes]);
    assert!(done.code == 65 && done.stderr.contains("--erasures"), "{done:?}");
    let copy = changes.replace(".backup", ".erasures");
    let restore = ["restore", "--from", &changes, "--erasures", &copy, "--accept-old-copies"];
    let restored = json(&shard(&deployment, &restore));
    assert_eq!(restored["backup"], verified);
    nothing_is_left(&deployment, &server);
    deployment.restart(REGION);
    runtime.block_on(async {
        let client = Client::connect(&deployment.gateway_url(), PATIENT).await.expect("a gateway");
        for n in 0..21_u64 {
            let found = get(&client, "person", REGION, &format!("k{n}")).await.expect("a record");
            assert!(found.body == vec![n.to_le_bytes()[0]; LARGE_BYTES], "k{n}");
        }
    });
}

#[test]
fn a_shard_that_does_not_run_is_backed_up_too() {
    let server = ObjectServer::start();
    let mut deployment = served(&server);
    assert_eq!(deployment.shard(REGION).stop(), 0);
    let made = json(&backup(&deployment));
    assert_eq!(json(&shard(&deployment, &["backup", "verify", name(&made)])), made);
    nothing_is_left(&deployment, &server);
}

#[test]
fn a_server_that_is_killed_leaves_no_backup_and_one_cut_connection_is_made_up_for() {
    let mut server = ObjectServer::start();
    let runtime = Runtime::new().expect("a runtime");
    let deployment = served(&server);
    fill(&runtime, &deployment, 0, LARGE);
    let child = half_uploaded(&deployment, &server);
    server.kill();
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(69), "{ended:?}");
    assert_eq!(server.objects(&format!("{REGION}/s1")), Vec::<String>::new());
    scratch_is_empty(&deployment);

    server.set(Trouble::Cut);
    server.serve();
    let made = json(&backup(&deployment));
    assert!(made["bytes"].as_u64().expect("a number") > LARGE * LARGE_BYTES as u64);
    assert_eq!(json(&shard(&deployment, &["backup", "verify", name(&made)])), made);
}

#[test]
fn an_upload_that_fails_is_aborted_and_an_object_that_differs_is_removed() {
    let server = ObjectServer::start();
    let runtime = Runtime::new().expect("a runtime");
    let deployment = served(&server);
    fill(&runtime, &deployment, 0, LARGE);
    server.set(Trouble::Refuse);
    let done = backup(&deployment);
    assert!(done.code == 69 && done.stderr.contains("403 Forbidden"), "{done:?}");
    assert_eq!(server.objects(&format!("{REGION}/s1")), Vec::<String>::new());
    nothing_is_left(&deployment, &server);

    server.set(Trouble::Damage);
    let done = backup(&deployment);
    assert!(done.code == 69 && done.stderr.contains("not the one that was sent"), "{done:?}");
    assert_eq!(server.objects(&format!("{REGION}/s1")), Vec::<String>::new());
    nothing_is_left(&deployment, &server);

    // The same server, without trouble: so it was the trouble.
    let made = json(&backup(&deployment));
    assert!(server.file(&key(name(&made))).exists());
}

#[test]
fn wrong_credentials_and_names_that_are_not_there_are_told() {
    let server = ObjectServer::start();
    let deployment = served(&server);
    let credentials = deployment.root().join("bucket-credentials");
    secret(&credentials, "backup-key\nanother-secret\n");
    let done = backup(&deployment);
    assert!(done.code == 69 && done.stderr.contains("403 Forbidden"), "{done:?}");
    assert!(!done.stderr.contains("another-secret"), "{done:?}");
    assert_eq!(server.objects(REGION), Vec::<String>::new());
    secret(&credentials, CREDENTIALS);
    let done = shard(&deployment, &["backup", "verify", "s3:no-such.backup"]);
    assert!(done.code == 69 && done.stderr.contains("no object of that name"), "{done:?}");
    let asked = server.asked();
    for bad in ["s3:../x", "s3:a/b", "s3:", "s3:.x"] {
        let done = shard(&deployment, &["backup", "verify", bad]);
        assert!(done.code == 65 && done.stderr.contains("its name"), "{done:?}");
    }
    // A file that others may read is no secret any more.
    fs::set_permissions(&credentials, std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .expect("chmod");
    let done = backup(&deployment);
    assert!(done.code == 64 && done.stderr.contains("bucket-credentials"), "{done:?}");
    assert_eq!(server.asked(), asked);
}

#[test]
fn a_server_that_the_map_does_not_list_is_sent_nothing() {
    let (server, other) = (ObjectServer::start(), ObjectServer::start());
    for listed in [None, Some(other.url())] {
        let deployment = start(&options(listed.as_deref(), &server.url()));
        for arguments in [
            &["backup", "--out", "s3:"][..],
            &["backup", "verify", "s3:x.backup"],
            &["restore", "--from", "s3:x.backup"],
        ] {
            let done = shard(&deployment, arguments);
            let why = done.stderr.contains("is not among the `backup_endpoints` of region eu-fra");
            assert!(done.code == 64 && why && done.stderr.contains(&server.url()), "{done:?}");
        }
    }
    assert_eq!((server.connected(), other.connected()), (0, 0));

    // A listed server that sends the shard on to another one.
    let deployment = served(&server);
    server.set(Trouble::Redirect(other.url()));
    let done = backup(&deployment);
    assert!(done.code == 69 && done.stderr.contains("307"), "{done:?}");
    assert!(server.asked() > 0);
    assert_eq!(other.connected(), 0);
}

/// The file of the configuration still lists the server; the map that was applied since does not.
#[test]
fn a_server_that_a_newer_map_has_dropped_is_sent_nothing() {
    let server = ObjectServer::start();
    let listed = options(Some(&server.url()), &server.url());
    let deployment = start(&Options { signed: true, ..listed });
    let whole = json(&backup(&deployment));
    let connected = server.connected();
    let line = format!("backup_endpoints = [\"{}\"]\n", server.url());
    let second = drop_server(&deployment, &line);
    wait_until("the map in force lists no server", WITHIN, || {
        let done = backup(&deployment);
        done.code == 64 && done.stderr.contains("in version 2 of the region map")
    });
    let back = fs::read_to_string(&second).expect("a map");
    let region = "name = \"eu-fra\"\nterritory = \"DE\"\n";
    let third = deployment.root().join("third.toml");
    let again = next(&back, |map| map.replace(region, &format!("{region}{line}")));
    fs::write(&third, again).expect("a map can be written");
    deployment.people().sign(&third, &["anna"]);
    let done = apply(&deployment.gateway_url(), &third, 2);
    assert!(done.code == 1 && done.stderr.contains("backup_endpoints"), "{done:?}");
    assert!(backup(&deployment).stderr.contains("in version 2 of the region map"));
    // Neither is the backup read since which only the changes are wanted.
    let done = shard(&deployment, &["backup", "--out", "s3:", "--since", name(&whole)]);
    assert!(done.code == 64 && done.stderr.contains("in version 2"), "{done:?}");
    assert_eq!(backups(&server).len(), 1);
    assert_eq!(server.connected(), connected);
}

/// Applies a map without the line that lists the server: its file.
fn drop_server(deployment: &Deployment, line: &str) -> PathBuf {
    let first = fs::read_to_string(deployment.root().join("map.toml")).expect("a map");
    assert!(first.contains(line));
    let second = deployment.root().join("second.toml");
    fs::write(&second, next(&first, |map| map.replace(line, ""))).expect("a map can be written");
    // It takes away: one person answers for it. One that adds needs two.
    deployment.people().sign(&second, &["anna"]);
    let done = apply(&deployment.gateway_url(), &second, 1);
    assert_eq!(done.code, 0, "{done:?}");
    second
}

#[test]
fn a_map_that_comes_into_force_during_an_upload_keeps_it_from_being_seen() {
    let server = ObjectServer::start();
    let runtime = Runtime::new().expect("a runtime");
    let listed = options(Some(&server.url()), &server.url());
    let deployment = start(&Options { signed: true, ..listed });
    fill(&runtime, &deployment, 0, LARGE);
    let child = half_uploaded(&deployment, &server);
    drop_server(&deployment, &format!("backup_endpoints = [\"{}\"]\n", server.url()));
    // Another command sees whether the shard has taken it. Until then it ends too, and uploads nothing.
    wait_until("the map in force lists no server", WITHIN, || {
        let done = shard(&deployment, &["backup", "--out", "s3:", "--since", "s3:none.backup"]);
        assert_ne!(done.code, 0, "{done:?}");
        done.stderr.contains("in version 2 of the region map")
    });
    server.set(Trouble::None);
    let ended = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success() && said.contains("version 2 of the region map"), "{said}");
    assert_eq!(server.objects(&format!("{REGION}/s1")), Vec::<String>::new());
    nothing_is_left(&deployment, &server);
}

#[test]
fn over_tls_the_server_must_have_the_certificate_of_an_authority_that_is_named() {
    let server = ObjectServer::start();
    let runtime = Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let regions = [REGION.to_owned(), "ru-msk".to_owned()];
    let secured = Secured::make(folder.path(), &regions, REGION);
    secured.issue(REGION, &["--shard", "objects"], "objects");
    let (certificate, pair) = secured.pair("objects");
    let front = runtime
        .block_on(TlsFront::start(certificate.as_bytes(), pair.as_bytes(), server.port()))
        .expect("a server");
    let url = format!("https://127.0.0.1:{}", front.port());
    let mut options = options(Some(&url), &url);
    options.shard_tables.push_str("authorities = \"objects.pem\"\n");
    let authority = |region: &str| {
        fs::read(folder.path().join(format!("pki/{region}/authority.pem"))).expect("an authority")
    };
    let deployment = start(&options);
    let named = deployment.root().join("objects.pem");
    fs::write(&named, authority("ru-msk")).expect("it can be written");
    let done = backup(&deployment);
    assert!(done.code == 69 && done.stderr.contains("TLS handshake failed"), "{done:?}");
    assert_eq!(server.asked(), 0);
    fs::write(&named, authority(REGION)).expect("it can be written");
    let made = json(&backup(&deployment));
    assert_eq!(json(&shard(&deployment, &["backup", "verify", name(&made)])), made);
}
