//! A person moves from one region to another, by the binary and the SDK: records, attributes and versions
//! come along, the old home says where they are, either shard is killed on the way, and an auditor finds
//! the same story in both logs and stores.

#![expect(clippy::indexing_slicing, reason = "what fails here fails the test")]

use std::time::Duration;

use client::{Access, Client, api};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::support::load::{ONCE, PATIENT, evidence, get, put};
use crate::support::maps::text;
use crate::support::process::{Finished, run, wait_until};
use crate::support::{Deployment, Options};

const REGIONS: [&str; 2] = ["eu-fra", "ru-msk"];
const GERMAN: [&str; 4] = ["--evidence", "residence=DE", "--evidence", "citizenship=DE"];
/// Time in which a move must end.
const MOVED_WITHIN: Duration = Duration::from_secs(180);

/// The sample map, in which profiles have an attribute; each shard knows where the other is.
pub(crate) fn options() -> Options {
    let usual = Options::default();
    let reads = "reads = \"counted\"\n";
    let attribute = "list = true\n\n[[collections.attributes]]\nname = \"city\"\ntype = \"string\"\n\
                     index = \"exact\"\n";
    let map = usual.map.replacen(reads, &format!("{reads}{attribute}"), 1);
    let shard_tables = "peer_annexes = [\"annex-eu-fra.toml\", \"annex-ru-msk.toml\"]\n".to_owned();
    Options { regions: REGIONS.to_vec(), map, shard_tables, ..usual }
}

fn record(subject: &str, key: &str, body: &[u8]) -> api::PutRecordRequest {
    let value = Some(api::attribute::Value::StringValue("Moscow".to_owned()));
    let attributes = vec![api::Attribute { name: "city".to_owned(), value }];
    api::PutRecordRequest { attributes, ..put(subject, key, body, &evidence("RU")) }
}

/// A command about a subject in ru-msk.
fn command(url: &str, words: [&str; 2], subject: &str, more: &[&str]) -> Finished {
    let of = ["--gateway", url, "--subject", subject, "--domicile", "ru-msk", "--json"];
    run(&[&words[..], &of, more].concat())
}

fn relocate(url: &str, subject: &str, more: &[&str]) -> Finished {
    let to = ["--to", "eu-fra", "--reason", "the person has moved"];
    command(url, ["subject", "relocate"], subject, &[&to[..], &GERMAN, more].concat())
}

#[track_caller]
fn json(done: &Finished, code: i32) -> Value {
    assert_eq!(done.code, code, "{done:?}");
    serde_json::from_str(&done.stdout).expect("JSON")
}

/// Both logs are mirrored and verified, and each store agrees with its own.
pub(crate) fn audit(deployment: &Deployment, moves: u64) {
    let mirror = deployment.root().join("mirror");
    let urls = REGIONS.map(|region| {
        deployment.wait_signed(region);
        format!("http://127.0.0.1:{}", deployment.audit_port(region))
    });
    let shards = urls.iter().flat_map(|url| ["--shard", url.as_str()]);
    let mirror_all: Vec<&str> = ["audit", "mirror"].into_iter().chain(shards).collect();
    let done = run(&[&mirror_all[..], &[text(&mirror)]].concat());
    assert_eq!(done.code, 0, "{done:?}");
    let done = run(&["audit", "verify", text(&mirror)]);
    assert_eq!(done.code, 0, "{done:?}");
    // Both logs tell of the same moves.
    let logs = REGIONS.map(|region| mirror.join(format!("{region}.s1.1")));
    let done = run(&["audit", "verify", "--json", "--pair", text(&logs[0]), text(&logs[1])]);
    assert_eq!(json(&done, 0)["moves"], moves);
    for url in &urls {
        let done = run(&["audit", "reconcile", "--shard", url, text(&mirror)]);
        assert_eq!(done.code, 0, "{done:?}");
    }
}

/// The entries of a region's mirrored log of that kind which are about a subject as a whole and name the
/// other log, as JSON.
fn ends(deployment: &Deployment, region: &str, kind: &str) -> Vec<Value> {
    let log = deployment.root().join("mirror").join(format!("{region}.s1.1"));
    let done = run(&["audit", "entries", text(&log), "--kind", kind, "--json"]);
    assert_eq!(done.code, 0, "{done:?}");
    let all = done.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    all.filter(|entry| entry.to_string().contains("/s1/1")).collect()
}

/// The receipts of the move, each verified with the key of its log alone, and with no other.
fn proven(deployment: &Deployment, url: &str) {
    let (folder, mirror) = (deployment.root().join("receipts"), deployment.root().join("mirror"));
    let more = ["--receipts", text(&folder)];
    let shown = json(&command(url, ["operation", "show"], "anna", &more), 0);
    assert!(shown["receipt"]["move_in"]["tlog_proof"].is_string());
    audit(deployment, 1);
    for (name, region, other) in [("move_out", "ru-msk", "eu-fra"), ("move_in", "eu-fra", "ru-msk")]
    {
        let file = folder.join(format!("{name}.json"));
        let verify = |region: &str| {
            let key = mirror.join(format!("{region}.s1.1")).join("vkey");
            run(&["audit", "receipt", "--key-file", text(&key), text(&file), "--json"])
        };
        let valid = json(&verify(region), 0);
        assert_eq!(valid["valid"], true);
        assert!(valid["entry"].to_string().contains(&format!("/{other}/s1/1")));
        assert_ne!(verify(other).code, 0);
    }
}

/// A client that lists the new home goes on there, once; one that does not is told.
async fn follows(url: &str) {
    let access = Access { homes: vec!["eu-fra".to_owned()], ..Access::default() };
    let follows = Client::connect_with(url, ONCE, access).await.expect("a gateway");
    let found = get(&follows, "anna", "ru-msk", "k-8").await.expect("it goes on");
    assert_eq!(&*found.body, b"body 8");
    let request = api::PutRecordRequest {
        subject: Some(api::SubjectRef { id: "anna".to_owned(), domicile: "ru-msk".to_owned() }),
        create_subject: false,
        evidence: Vec::new(),
        ..record("anna", "k-8", b"at the new home")
    };
    let written = follows.put(&request).await.expect("it goes on");
    assert_eq!(written.version, 2);
    assert_eq!(written.subject.as_ref().map(|of| of.domicile.as_str()), Some("eu-fra"));
}

#[test]
#[expect(clippy::too_many_lines, reason = "one case after another")]
fn a_person_moves_and_both_logs_say_so() {
    let deployment = Deployment::start(&options());
    let runtime = Runtime::new().expect("a runtime");
    let url = deployment.gateway_url();
    let client = runtime.block_on(Client::connect(&url, ONCE)).expect("a gateway");
    runtime.block_on(async {
        for n in 0..20 {
            let request = record("anna", &format!("k-{n}"), format!("body {n}").as_bytes());
            client.put(&request).await.expect("a put");
        }
        client.put(&record("boris", "k", b"stays")).await.expect("a put");
    });
    // The new evidence places all of it elsewhere: a reassessment says so, and changes nothing.
    let told = ["--reason", "the person has moved"];
    let told = command(&url, ["subject", "reassess"], "anna", &[&told[..], &GERMAN].concat());
    assert_eq!(json(&told, 3)["collections"][0]["region"], "eu-fra");
    let dry = json(&relocate(&url, "anna", &["--validate-only"]), 0);
    assert_eq!((&dry["region"], &dry["validated_only"]), (&"eu-fra".into(), &true.into()));
    let none = command(&url, ["operation", "show"], "anna", &[]);
    assert!(none.code == 1 && none.stderr.contains("RECORD_NOT_FOUND"), "{none:?}");
    // The help is for moves, not for records.
    assert!(none.stderr.contains("bailiwick operation list"), "{none:?}");

    let moved = json(&relocate(&url, "anna", &["--watch"]), 0);
    assert_eq!((&moved["state"], &moved["domicile"]), (&"DONE".into(), &"ru-msk".into()));
    let shown = json(&command(&url, ["operation", "show"], "anna", &[]), 0);
    assert_eq!((&shown["state"], &shown["record_count"]), (&"DONE".into(), &20.into()));
    proven(&deployment, &url);
    let listed = run(&["operation", "list", "--gateway", &url, "--domicile", "ru-msk", "--json"]);
    assert_eq!(json(&listed, 0)["operations"], Value::Array(Vec::new()));
    let everywhere = json(&run(&["operation", "list", "--gateway", &url, "--json"]), 69);
    assert_eq!(everywhere["operations"], Value::Array(Vec::new()));
    // The other regions of the map do not run here.
    assert_eq!(everywhere["unreachable"], serde_json::json!(["in-bom", "kz-ala", "us-iad"]));
    let cancelled = command(&url, ["operation", "cancel"], "anna", &["--reason", "too late"]);
    assert!(cancelled.stderr.contains("SUBJECT_MOVED"), "{cancelled:?}");
    let located = runtime.block_on(async {
        let first = get(&client, "anna", "eu-fra", "k-7").await.expect("it is at its new home");
        assert_eq!((&*first.body, first.version), (&b"body 7"[..], 1));
        let value = Some(api::attribute::Value::StringValue("Moscow".to_owned()));
        assert!(first.attributes[0].value == value);
        // Found by its attribute, and by no one's in the old home.
        let of = |region: &str| api::ListRecordsRequest {
            collection: "profiles".to_owned(),
            regions: vec![region.to_owned()],
            filter: "city = \"Moscow\"".to_owned(),
            ..Default::default()
        };
        let count = async |region| {
            let mut records = client.list(of(region));
            let mut count = 0;
            while let Some(page) = records.next_page().await.expect("a page") {
                count += page.len();
            }
            count
        };
        assert_eq!((count("eu-fra").await, count("ru-msk").await), (20, 1));
        let next = api::PutRecordRequest {
            subject: Some(api::SubjectRef { id: "anna".to_owned(), domicile: "eu-fra".to_owned() }),
            create_subject: false,
            evidence: Vec::new(),
            ..record("anna", "k-7", b"written there")
        };
        assert_eq!(client.put(&next).await.expect("a put").version, 2);
        let old = api::SubjectRef { id: "anna".to_owned(), domicile: "ru-msk".to_owned() };
        let old = api::PutRecordRequest { subject: Some(old), ..next.clone() };
        let old = api::PutRecordRequest { request_id: crate::support::load::request_id(), ..old };
        client.put(&old).await.err().expect("it has moved")
    });
    let refused = located.refused().expect("a refusal");
    assert_eq!(refused.reason, "SUBJECT_MOVED");
    assert_eq!(refused.metadata.get("region").map(String::as_str), Some("eu-fra"));
    runtime.block_on(follows(&url));
    let old = runtime.block_on(get(&client, "anna", "ru-msk", "k-7"));
    assert_eq!(old.err().expect("it has moved"), "SUBJECT_MOVED");
    audit(&deployment, 1);
    let (out, into) =
        (ends(&deployment, "ru-msk", "MOVE_OUT"), ends(&deployment, "eu-fra", "MOVE_IN"));
    assert_eq!((out.len(), into.len()), (1, 1), "{out:?} {into:?}");
}

#[test]
fn a_move_goes_on_when_either_shard_is_killed() {
    let mut deployment = Deployment::start(&options());
    let runtime = Runtime::new().expect("a runtime");
    let url = deployment.gateway_url();
    let client = runtime.block_on(Client::connect(&url, PATIENT)).expect("a gateway");
    let body = |n: u32| vec![n.to_le_bytes()[0]; 30_000];
    for (round, killed) in ["ru-msk", "eu-fra", "ru-msk", "eu-fra"].into_iter().enumerate() {
        let person = format!("p-{round}");
        runtime.block_on(async {
            for n in 0..120 {
                let request = record(&person, &format!("k-{n}"), &body(n));
                client.put(&request).await.expect("a put");
            }
        });
        let ordered = json(&relocate(&url, &person, &[]), 0);
        assert_eq!(ordered["region"], "eu-fra");
        deployment.shard(killed).kill();
        deployment.restart(killed);
        wait_until("the move ends", MOVED_WITHIN, || {
            let shown = command(&url, ["operation", "show"], &person, &[]);
            shown.code == 0 && json(&shown, 0)["state"] == "DONE"
        });
        runtime.block_on(async {
            for n in 0..120 {
                let found = get(&client, &person, "eu-fra", &format!("k-{n}")).await;
                assert!(found.expect("it has come").body == body(n), "{person} {n}");
            }
            let old = get(&client, &person, "ru-msk", "k-0").await;
            assert_eq!(old.err().expect("it has moved"), "SUBJECT_MOVED");
        });
    }
    audit(&deployment, 4);
    let (out, into) =
        (ends(&deployment, "ru-msk", "MOVE_OUT"), ends(&deployment, "eu-fra", "MOVE_IN"));
    assert_eq!((out.len(), into.len()), (4, 4));
}
