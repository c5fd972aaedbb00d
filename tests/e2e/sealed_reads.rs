//! Exports, lists and scans of sealed bodies through real processes, by the client and the command line. The
//! memory of the gateway must hold nothing of what they read.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use client::{Client, Error, ExportPart, api};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::sealed::{LOOKS, REGION, ROUND_MAX, holds, identity, plain, refused, subject, wanting};
use crate::support::load::{PATIENT, evidence, put};
use crate::support::process::{Finished, run, wait_until};
use crate::support::{Deployment, Options};

const MARKER: &str = "read-marker-c9e3";
/// Records of the person: so many, and so large, that their export has several pages.
const RECORDS: usize = 6;
const REPEATED: usize = 60_000;

fn body(n: usize) -> Vec<u8> {
    format!("{n} {}", MARKER.repeat(REPEATED)).into_bytes()
}

async fn fill(client: &Client) {
    for n in 0..RECORDS {
        let request = put("anna", &format!("key-{n}"), &body(n), &evidence("DE"));
        client.put(&request).await.expect("a put");
    }
}

/// The bodies of an export that has come to its end.
async fn exported(client: &Client) -> Result<Vec<Vec<u8>>, Error> {
    let request = api::ExportSubjectRequest {
        subject: subject("anna"),
        purpose: "the person asked".to_owned(),
        ..Default::default()
    };
    let mut export = client.export_subject(request).await?;
    let (mut bodies, mut ended) = (Vec::new(), false);
    while let Some(part) = export.next().await? {
        match part {
            ExportPart::Subject(told) => assert_eq!(told.collections.len(), 1),
            ExportPart::Record(record) => {
                assert!(!record.sealed);
                bodies.push(record.body.to_vec());
            }
            ExportPart::End(records) => {
                assert_eq!(usize::try_from(records).ok(), Some(bodies.len()));
                ended = true;
            }
        }
    }
    assert!(ended, "it has an end");
    bodies.sort();
    Ok(bodies)
}

fn list(regions: &[&str]) -> api::ListRecordsRequest {
    api::ListRecordsRequest {
        collection: "profiles".to_owned(),
        subject: if regions.is_empty() { subject("anna") } else { None },
        regions: regions.iter().map(|region| (*region).to_owned()).collect(),
        view: api::RecordView::Whole.into(),
        page_size: 2,
        ..Default::default()
    }
}

async fn listed(client: &Client, request: api::ListRecordsRequest) -> Vec<Vec<u8>> {
    let mut records = client.list(request);
    let mut bodies = Vec::new();
    while let Some(record) = records.next().await.expect("a record") {
        assert!(!record.sealed);
        bodies.push(record.body.to_vec());
    }
    bodies.sort();
    bodies
}

fn scan() -> api::ScanRecordsRequest {
    api::ScanRecordsRequest {
        collection: "profiles".to_owned(),
        region: REGION.to_owned(),
        purpose: "a search index".to_owned(),
        view: api::RecordView::Whole.into(),
        ..Default::default()
    }
}

async fn scanned(client: &Client) -> Vec<Vec<u8>> {
    let mut scan = client.scan(&scan()).await.expect("a scan");
    let mut bodies = Vec::new();
    while let Some(record) = scan.next().await.expect("a record") {
        bodies.push(record.body.to_vec());
    }
    bodies.sort();
    bodies
}

#[test]
fn a_gateway_holds_nothing_of_sealed_exports_lists_and_scans() {
    let mut deployment = wanting();
    let runtime = Runtime::new().expect("a runtime");
    let gateway = deployment.gateway().pid();
    let open = runtime.block_on(plain(&deployment, PATIENT));
    let client = open.sealed([identity(&deployment, REGION)]).expect("an identity");
    let all: Vec<Vec<u8>> = (0..RECORDS).map(body).collect();
    runtime.block_on(fill(&client));
    let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (ends, done) = (Arc::clone(&stop), Arc::clone(&rounds));
    let traffic = runtime.spawn(async move {
        while !ends.load(Ordering::Relaxed) {
            assert!(exported(&client).await.expect("an export") == all, "an export is whole");
            assert!(listed(&client, list(&[])).await == all, "a person's list");
            assert!(listed(&client, list(&[REGION])).await == all, "a collection's list");
            assert!(scanned(&client).await == all, "a scan");
            done.fetch_add(1, Ordering::Relaxed);
        }
    });
    let mut found = false;
    for look in 1..=LOOKS {
        wait_until("reads go on", ROUND_MAX, || rounds.load(Ordering::Relaxed) >= look);
        found = found || holds(gateway, MARKER);
    }
    stop.store(true, Ordering::Relaxed);
    runtime.block_on(traffic).expect("every read is answered");
    assert!(!found, "it was read on its way");
    // The same search finds what is there.
    assert!(holds(gateway, "\"profiles\""));
}

#[test]
fn a_list_of_several_regions_is_sealed_to_each() {
    let options = Options { regions: vec!["eu-fra", "ru-msk"], ..Options::default() };
    let deployment = Deployment::start(&options);
    Runtime::new().expect("a runtime").block_on(async {
        let open = plain(&deployment, PATIENT).await;
        let [one, other] = ["eu-fra", "ru-msk"].map(|region| identity(&deployment, region));
        let client = open.sealed([one.clone(), other]).expect("identities");
        for (who, from) in [("anna", "DE"), ("boris", "RU")] {
            client.put(&put(who, "main", who.as_bytes(), &evidence(from))).await.expect("a put");
        }
        let both = list(&["eu-fra", "ru-msk"]);
        assert_eq!(listed(&client, both.clone()).await, [b"anna".to_vec(), b"boris".to_vec()]);
        // Without the key of one of them nothing is asked.
        let one = open.sealed([one]).expect("an identity");
        let refused = one.list_page(&both).await.err().expect("it is refused");
        assert!(matches!(refused, Error::NotSealed(client::NotSealed::Region)), "{refused}");
    });
}

fn command(deployment: &Deployment, words: &[&str], more: &[&str]) -> Finished {
    let url = deployment.gateway_url();
    let common = ["--gateway", &url, "--subject", "anna", "--json"];
    run(&[words, &common, more].concat())
}

#[track_caller]
fn json(done: &Finished) -> Value {
    assert_eq!(done.code, 0, "{done:?}");
    serde_json::from_str(&done.stdout).expect("JSON")
}

#[track_caller]
fn is_not_sealed(done: &Finished) {
    assert_ne!(done.code, 0, "{done:?}");
    assert!(done.stderr.contains("TRANSIT_NOT_SEALED"), "{done:?}");
    assert!(done.stderr.contains("--transit-identity"), "{done:?}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

#[test]
fn the_command_line_writes_reads_and_exports_sealed_bodies() {
    let deployment = wanting();
    let vkey = identity(&deployment, REGION);
    let sealing = ["--transit-identity", &vkey, "--tenant", "sample"];
    let record = ["--collection", "profiles", "--key", "main"];
    let put = ["--create-subject", "--evidence", "residence=DE", "--body", "hello"];
    let put = [&record[..], &put].concat();
    is_not_sealed(&command(&deployment, &["record", "put"], &put));
    let done = command(&deployment, &["record", "put"], &[&put[..], &sealing].concat());
    assert_eq!(json(&done)["version"], 1);
    let get = [&record[..], &["--domicile", REGION]].concat();
    is_not_sealed(&command(&deployment, &["record", "get"], &get));
    let done = command(&deployment, &["record", "get"], &[&get[..], &sealing].concat());
    assert!(done.stdout.contains("hello"), "{done:?}");
    let list = ["--collection", "profiles", "--domicile", REGION, "--view", "whole"];
    is_not_sealed(&command(&deployment, &["record", "list"], &list));
    let done = command(&deployment, &["record", "list"], &[&list[..], &sealing].concat());
    assert!(done.stdout.contains("hello"), "{done:?}");

    let folder = deployment.root().join("export");
    let export = ["--domicile", REGION, "--out", text(&folder)];
    is_not_sealed(&command(&deployment, &["subject", "export"], &export));
    // A key that the caller does not know by another way gives nothing.
    let other = vkey.replace("eu-fra", "ru-msk");
    let wrong = ["--transit-identity", &other, "--tenant", "sample"];
    let done = command(&deployment, &["subject", "export"], &[&export[..], &wrong].concat());
    assert_ne!(done.code, 0, "{done:?}");
    // Nor does another tenant's name: the question is bound to it.
    let wrong = ["--transit-identity", &vkey, "--tenant", "another"];
    let done = command(&deployment, &["subject", "export"], &[&export[..], &wrong].concat());
    assert!(done.stderr.contains("TRANSIT_SEAL_INVALID"), "{done:?}");
    assert!(!folder.exists() && !folder.with_extension("partial").exists());
    let done = command(&deployment, &["subject", "export"], &[&export[..], &sealing].concat());
    assert_eq!(json(&done)["record_count"], 1);
    let written = fs::read_to_string(folder.join("bodies/000001.txt")).expect("a body");
    assert_eq!(written, "hello");
    let page = fs::read_to_string(folder.join("index.html")).expect("a page");
    assert!(page.contains("hello") && folder.join("records.json").exists());
    // What comes in plain is refused by the client, whatever the gateway says.
    Runtime::new().expect("a runtime").block_on(async {
        let open = plain(&deployment, PATIENT).await;
        assert_eq!(refused(exported(&open).await), "TRANSIT_NOT_SEALED");
    });
}
