//! One person's data by the binary: shown, exported into a folder, blocked, erased with a receipt
//! that an auditor checks; and the store still agrees with the log.

#![expect(clippy::indexing_slicing, reason = "a test that goes astray may panic")]

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::load::{PATIENT, evidence, put};
use crate::support::maps::text;
use crate::support::process::{Finished, json, run};
use crate::support::{Deployment, Options};
use client::{Client, api};
use tokio::runtime::Runtime;

/// A body with what a page must not take for its own.
const HOSTILE: &[u8] = b"<script>alert('anna')</script>";

fn subject(url: &str, command: &str, of: &str, more: &[&str]) -> Finished {
    let usual = ["subject", command, "--gateway", url, "--subject", of, "--domicile", "eu-fra"];
    run(&[&usual[..], &["--json"], more].concat())
}

#[track_caller]
fn refused(done: &Finished, reason: &str) {
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stderr.contains(reason), "{done:?}");
}

/// Records of two collections for a person, and of another person.
fn store(runtime: &Runtime, url: &str) {
    runtime.block_on(async {
        let client = Client::connect(url, PATIENT).await.expect("a gateway");
        for person in ["anna", "boris"] {
            for n in 0..30 {
                let request = put(person, &format!("k-{n}"), HOSTILE, &evidence("DE"));
                client.put(&request).await.expect("a put");
            }
            let messages = "messages".to_owned();
            let large = put(person, "large", &vec![0xff; 200_000], &evidence("DE"));
            let large = api::PutRecordRequest { collection: messages, ..large };
            client.put(&large).await.expect("a put");
        }
    });
}

/// An attachment of the first of them.
fn attach(deployment: &Deployment, url: &str) {
    let file = deployment.root().join("film");
    fs::write(&file, film()).expect("it can be written");
    let place = ["--subject", "anna", "--domicile", "eu-fra", "--collection", "profiles"];
    let what = ["--key", "film", "--file", text(&file), "--gateway", url, "--json"];
    let done = run(&[&["attachment", "put"], &place[..], &what[..]].concat());
    assert_eq!(done.code, 0, "{done:?}");
}

fn film() -> Vec<u8> {
    (0..2_500_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect()
}

fn read(folder: &Path, name: &str) -> Value {
    let text = fs::read_to_string(folder.join(name)).expect("a file");
    serde_json::from_str(&text).expect("JSON")
}

fn check_folder(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;

    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(folder), mode(&folder.join("subject.json"))), (0o700, 0o600));
    assert_eq!(read(folder, "subject.json")["subject"], "anna");
    let records = read(folder, "records.json");
    let records = records.as_array().expect("a list");
    assert_eq!(records.len(), 32);
    for record in records {
        let body = fs::read(folder.join(record["body_file"].as_str().expect("a name")));
        let wanted = match record["key"].as_str() {
            Some("large") => vec![0xff; 200_000],
            Some("film") => film(),
            _ => HOSTILE.to_vec(),
        };
        assert!(body.expect("a body") == wanted);
    }
    let page = fs::read_to_string(folder.join("index.html")).expect("a page");
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script"));
    assert!(page.contains("Ваши данные"));
}

/// All records are encrypted under new keys, with a receipt.
fn rotate_key(deployment: &Deployment, url: &str) {
    let receipt = deployment.root().join("receipt-of-keys.json");
    let why = ["--reason", "a key may have leaked"];
    let id = ["--request-id", "6ff7e2ea-1ec5-4c1c-9d2c-0d0a3c1f9a11"];
    let rotate =
        |more: &[&str]| subject(url, "rotate-key", "anna", &[&why[..], &id, more].concat());
    assert_eq!(json(&rotate(&["--validate-only"]))["record_count"], 32);
    assert!(json(&subject(url, "show", "anna", &[])).get("key_rotate_time").is_none());
    let done = json(&rotate(&["--receipt", text(&receipt)]));
    assert_eq!((&done["record_count"], &done["proof"]), (&32.into(), &"receipt".into()));
    assert_eq!(json(&rotate(&[]))["replayed"], true);
    assert!(json(&subject(url, "show", "anna", &[]))["key_rotate_time"].is_string());
}

fn export(deployment: &Deployment, url: &str) {
    let folder = deployment.root().join("export");
    let done = subject(url, "export", "anna", &["--purpose", "asked", "--out", text(&folder)]);
    assert_eq!(json(&done)["record_count"], 32);
    check_folder(&folder);
    let again = subject(url, "export", "anna", &["--purpose", "asked", "--out", text(&folder)]);
    assert_eq!(again.code, 1, "{again:?}");
    let nothing = deployment.root().join("nothing");
    let unknown = ["--purpose", "asked", "--out", text(&nothing)];
    refused(&subject(url, "export", "nobody", &unknown), "SUBJECT_UNKNOWN");
    assert!(!nothing.exists() && !deployment.root().join("nothing.partial").exists());
}

fn block(url: &str) {
    let until = ["--until", "2099-01-01T00:00:00Z", "--reason", "a court orders it"];
    assert_eq!(json(&subject(url, "block", "anna", &until))["replayed"], false);
    assert_eq!(json(&subject(url, "show", "anna", &[]))["state"], "blocked");
    refused(&subject(url, "erase", "anna", &["--reason", "asked"]), "SUBJECT_BLOCKED");
    let lifted = subject(url, "unblock", "anna", &["--reason", "the court allows it"]);
    assert_eq!(json(&lifted)["replayed"], false);
}

/// One collection goes, with a receipt; the rest stays, and what comes then has no history.
fn erase_collection(deployment: &Deployment, runtime: &Runtime, url: &str) {
    let receipt = deployment.root().join("receipt-of-messages.json");
    let of = ["--reason", "asked", "--collection", "messages"];
    let kept = ["--receipt", text(&receipt)];
    let done = json(&subject(url, "erase", "anna", &[&of[..], &kept].concat()));
    assert_eq!((&done["record_count"], &done["proof"]), (&1.into(), &"receipt".into()));
    refused(&subject(url, "erase", "anna", &of), "RECORD_NOT_FOUND");
    let shown = json(&subject(url, "show", "anna", &[]));
    assert_eq!(shown["collections"].as_array().expect("a list").len(), 1);
    assert_eq!(shown["erased_collections"][0]["collection"], "messages");
    runtime.block_on(async {
        let client = Client::connect(url, PATIENT).await.expect("a gateway");
        let again = put("anna", "large", b"new", &[]);
        let subject = Some(api::SubjectRef { id: "anna".into(), domicile: "eu-fra".into() });
        let collection = "messages".to_owned();
        let again = api::PutRecordRequest { collection, subject, create_subject: false, ..again };
        assert_eq!(client.put(&again).await.expect("a put").version, 1);
    });
}

/// Reads of a collection whose reads are logged are told.
fn accesses(runtime: &Runtime, url: &str) {
    let of = |client: Client| async move {
        let request = put("boris", "card", b"x", &evidence("DE"));
        let collection = "payments".to_owned();
        client.put(&api::PutRecordRequest { collection, ..request }).await.expect("a put");
        for _ in 0..3 {
            let request = api::GetRecordRequest {
                subject: Some(api::SubjectRef { id: "boris".into(), domicile: "eu-fra".into() }),
                collection: "payments".to_owned(),
                key: "card".to_owned(),
                purpose: "a complaint".to_owned(),
                ..Default::default()
            };
            client.get(&request).await.expect("a record");
            // Without a purpose nothing is read, whether it is there or not.
            for key in ["card", "none"] {
                let (key, purpose) = (key.to_owned(), String::new());
                let silent = api::GetRecordRequest { key, purpose, ..request.clone() };
                let error = client.get(&silent).await.err().expect("it says no purpose");
                let reason = error.refused().map(|refused| refused.reason.clone());
                assert_eq!(reason.as_deref(), Some("FIELD_MISSING"));
            }
        }
    };
    runtime.block_on(async { of(Client::connect(url, PATIENT).await.expect("a gateway")).await });
    let shown = json(&subject(url, "show", "boris", &[]));
    let read = &shown["accesses"][0];
    assert_eq!((&read["collection"], &read["role"]), (&"payments".into(), &"reader".into()));
    assert_eq!(
        (&read["read_count"], shown["accesses"].as_array().map(Vec::len)),
        (&3.into(), Some(1))
    );
    assert_eq!((&read["kind"], &read["purpose"]), (&"records".into(), &"a complaint".into()));
    // A list of the whole collection had the record, too.
    let list = ["record", "list", "--gateway", url, "--collection", "payments"];
    let listed = run(&[&list[..], &["--region", "eu-fra", "--purpose", "a census"]].concat());
    assert_eq!(listed.code, 0, "{listed:?}");
    let shown = json(&subject(url, "show", "boris", &[]));
    let read = &shown["accesses"][1];
    assert_eq!((&read["kind"], &read["purpose"]), (&"pages".into(), &"a census".into()));
    assert_eq!(read["read_count"], 1);
}

#[test]
fn a_person_is_shown_exported_blocked_and_erased() {
    let options = Options { regions: vec!["eu-fra"], ..Options::default() };
    let mut deployment = Deployment::start(&options);
    let runtime = Runtime::new().expect("a runtime");
    let url = deployment.gateway_url();
    store(&runtime, &url);
    attach(&deployment, &url);
    let shown = json(&subject(&url, "show", "anna", &["--purpose", "the person asks"]));
    assert_eq!((&shown["state"], &shown["territory"]), (&"live".into(), &"DE".into()));
    assert_eq!(shown["collections"].as_array().expect("a list").len(), 2);
    rotate_key(&deployment, &url);
    export(&deployment, &url);
    block(&url);
    erase_collection(&deployment, &runtime, &url);
    accesses(&runtime, &url);

    let receipt = deployment.root().join("receipt.json");
    let why = ["--reason", "asked", "--ground", "demand"];
    let dry = subject(&url, "erase", "anna", &[&why[..], &["--validate-only"]].concat());
    assert_eq!(json(&dry)["record_count"], 32);
    let term = &json(&dry)["terms"][0];
    assert_eq!((&term["statute"], &term["ground"]), (&"eu-gdpr".into(), &"demand".into()));
    assert!(term["due_time"].is_string());
    unkept(&deployment, &url);
    let done = subject(&url, "erase", "anna", &["--reason", "asked", "--receipt", text(&receipt)]);
    let done = json(&done);
    assert_eq!((&done["record_count"], &done["proof"]), (&32.into(), &"receipt".into()));
    refused(&subject(&url, "erase", "anna", &["--reason", "asked"]), "SUBJECT_ERASED");
    assert_eq!(json(&subject(&url, "show", "anna", &[]))["state"], "erased");

    // The auditor: the receipt is proven, the log is whole, and the store agrees with it.
    deployment.wait_signed("eu-fra");
    let shard = format!("http://127.0.0.1:{}", deployment.audit_port("eu-fra"));
    let mirror = deployment.root().join("mirror");
    let mirrored = run(&["audit", "mirror", "--shard", &shard, text(&mirror)]);
    assert_eq!(mirrored.code, 0, "{mirrored:?}");
    let verified = run(&["audit", "verify", text(&mirror)]);
    assert_eq!(verified.code, 0, "{verified:?}");
    let agreed = run(&["audit", "reconcile", "--shard", &shard, text(&mirror)]);
    assert_eq!(agreed.code, 0, "{agreed:?}");
    let log = mirror.join("eu-fra.s1.1");
    for (kind, count) in [("ERASE", 4), ("EXPORT", 1), ("BLOCK", 1), ("UNBLOCK", 1)] {
        let listed = run(&["audit", "entries", text(&log), "--kind", kind, "--json"]);
        assert_eq!(listed.stdout.lines().count(), count, "{kind} {listed:?}");
    }
    let key = log.join("vkey");
    let checked = run(&["audit", "receipt", text(&receipt), "--key-file", text(&key)]);
    assert_eq!(checked.code, 0, "{checked:?}");

    // A receipt is given once, and what is none is not written.
    let id = ["--reason", "asked", "--request-id", "6ff7e2ea-1ec5-4c1c-9d2c-0d0a3c1f9a12"];
    json(&subject(&url, "erase", "boris", &id));
    let late = deployment.root().join("late.json");
    let again = subject(&url, "erase", "boris", &[&id[..], &["--receipt", text(&late)]].concat());
    assert!(again.code == 1 && again.stderr.contains("not given again"), "{again:?}");
    assert!(!late.exists());

    // What may be sent again is told with the request id that was drawn.
    deployment.shard("eu-fra").kill();
    deployment.wait_session("eu-fra", false);
    let brief = ["--reason", "asked", "--deadline-ms", "500"];
    let failed = subject(&url, "erase", "carl", &brief);
    let told: Value = serde_json::from_str(failed.stderr.trim()).expect("JSON");
    assert!(failed.code != 0 && told["error"]["request_id"].is_string(), "{failed:?}");
}

/// A receipt that cannot be kept is refused before anything is done: an erasure gives its receipt once.
fn unkept(deployment: &Deployment, url: &str) {
    let taken = deployment.root().join("taken.json");
    fs::write(&taken, "someone's").expect("room");
    let nowhere = deployment.root().join("no-folder/receipt.json");
    for (place, code) in [(&taken, 1), (&nowhere, 69)] {
        let kept = ["--receipt", text(place)];
        let erase = subject(url, "erase", "anna", &[&["--reason", "asked"], &kept[..]].concat());
        assert_eq!(erase.code, code, "{erase:?}");
        let block = ["--until", "2099-01-01T00:00:00Z"];
        let block = subject(url, "block", "anna", &[&block, &kept[..]].concat());
        assert_eq!(block.code, code, "{block:?}");
        let what = ["--subject", "anna", "--domicile", "eu-fra", "--collection", "profiles"];
        let what = [&["record", "put", "--gateway", url], &what[..], &["--key", "new"]].concat();
        let put = run(&[&what[..], &["--body", "hello"], &kept[..]].concat());
        assert_eq!(put.code, code, "{put:?}");
    }
    let shown = json(&subject(url, "show", "anna", &[]));
    assert_eq!(shown["state"], "live");
    let records = shown["collections"].as_array().expect("a list").iter();
    let records: u64 = records.filter_map(|of| of["record_count"].as_u64()).sum();
    assert_eq!(records, 32, "{shown}");
    assert_eq!(fs::read_to_string(&taken).expect("it is there"), "someone's");
}

#[test]
fn a_person_who_has_moved_is_reassessed() {
    let options = Options { regions: vec!["eu-fra"], ..Options::default() };
    let deployment = Deployment::start(&options);
    let runtime = Runtime::new().expect("a runtime");
    let url = deployment.gateway_url();
    store(&runtime, &url);
    let why = ["--reason", "the person has moved"];
    let moved = |country: &str, more: &[&str]| {
        let evidence = [format!("residence={country}"), format!("citizenship={country}")];
        let given = ["--evidence", &evidence[0], "--evidence", &evidence[1]];
        subject(&url, "reassess", "anna", &[&why[..], &given, more].concat())
    };
    // Within the union the records stay, and the same evidence passes in a put.
    let receipt = deployment.root().join("receipt.json");
    let done = json(&moved("FR", &["--receipt", text(&receipt)]));
    assert_eq!((&done["stands"], &done["replayed"]), (&true.into(), &false.into()));
    assert_eq!(done["collections"][0]["region"], "eu-fra");
    assert_eq!(done["proof"], "receipt");
    assert_eq!(json(&moved("FR", &[]))["replayed"], true);
    let known = json(&subject(&url, "show", "anna", &[]))["findings"].to_string();
    assert!(known.contains("FR") && !known.contains("DE"), "{known}");
    // Elsewhere they do not: that is said by the code, too, and nothing is changed.
    let elsewhere = moved("RU", &[]);
    assert_eq!(elsewhere.code, 3, "{elsewhere:?}");
    let told: Value = serde_json::from_str(&elsewhere.stdout).expect("JSON");
    assert_eq!((&told["stands"], &told["receipt"]), (&false.into(), &Value::Null));
    assert_eq!(told["collections"][0]["region"], "ru-msk");
    assert_eq!(json(&moved("FR", &[]))["replayed"], true);

    deployment.wait_signed("eu-fra");
    let shard = format!("http://127.0.0.1:{}", deployment.audit_port("eu-fra"));
    let mirror = deployment.root().join("mirror");
    let mirrored = run(&["audit", "mirror", "--shard", &shard, text(&mirror)]);
    assert_eq!(mirrored.code, 0, "{mirrored:?}");
    for command in [vec!["verify"], vec!["reconcile", "--shard", &shard]] {
        let done = run(&[&["audit"], &command[..], &[text(&mirror)]].concat());
        assert_eq!(done.code, 0, "{done:?}");
    }
    let log = mirror.join("eu-fra.s1.1");
    let listed = run(&["audit", "entries", text(&log), "--kind", "REASSESS", "--json"]);
    assert_eq!(listed.stdout.lines().count(), 3, "{listed:?}");
    let checked = run(&["audit", "receipt", text(&receipt), "--key-file", text(&log.join("vkey"))]);
    assert_eq!(checked.code, 0, "{checked:?}");
}
