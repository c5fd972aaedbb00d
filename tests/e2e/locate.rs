//! Subjects found by their ids alone, among real processes: in several regions and shards, with one out
//! of reach, across a border, after an erasure; and what goes to a region does not tell the id.

#![expect(clippy::indexing_slicing, reason = "a test that goes astray may panic")]

use std::collections::HashSet;
use std::time::Duration;

use client::{Client, api};
use serde_json::Value;
use terms::{Slot, SubjectId, TenantId};
use tokio::runtime::Runtime;

use crate::leaks::tap::Tap;
use crate::support::load::{ONCE, PATIENT, evidence, put};
use crate::support::maps::text;
use crate::support::process::{Finished, run};
use crate::support::{Deployment, Options, shards};

/// The sample map, whose tenant may look for subjects.
fn options() -> Options {
    let usual = Options::default();
    let tenant = "[[tenants]]\nname = \"sample\"\n";
    assert!(usual.map.contains(tenant));
    let map = usual.map.replacen(tenant, &format!("{tenant}locate = true\n"), 1);
    Options { map, ..usual }
}

fn store(runtime: &Runtime, url: &str, people: &[(&str, &str)]) {
    runtime.block_on(async {
        let client = Client::connect(url, PATIENT).await.expect("a gateway");
        for (person, country) in people {
            let done = client.put(&put(person, "main", b"body", &evidence(country))).await;
            done.expect("a put");
        }
    });
}

fn locate(url: &str, subject: &str) -> Finished {
    run(&["subject", "locate", "--gateway", url, "--subject", subject, "--json"])
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).expect("JSON")
}

/// The count of an entry, wherever it stands.
fn count_of(entry: &Value) -> Option<u64> {
    entry["count"].as_u64().or_else(|| entry["details"]["count"].as_u64())
}

#[track_caller]
fn found(done: &Finished) -> Value {
    json(&done.stdout)
}

/// How long an answer of five regions takes. Nothing is asked of it: machines differ.
async fn measure(url: &str) -> (Duration, Duration) {
    let client = Client::connect(url, ONCE).await.expect("a gateway");
    let request = api::LocateSubjectRequest { subject_id: "anna".to_owned() };
    let mut times = Vec::new();
    for _ in 0..200 {
        let began = tokio::time::Instant::now();
        assert!(client.locate_subject(&request).await.expect("an answer").complete);
        times.push(began.elapsed());
    }
    times.sort_unstable();
    (times[100], times[199])
}

fn at(domicile: &str, collections: &[&str]) -> Value {
    serde_json::json!({"domicile": domicile, "collections": collections})
}

#[test]
fn a_subject_is_found_where_it_lies_and_not_after_its_erasure() {
    let mut deployment = Deployment::start(&options());
    let runtime = Runtime::new().expect("a runtime");
    let url = deployment.gateway_url();
    store(&runtime, &url, &[("anna", "DE"), ("boris", "RU"), ("twice", "DE"), ("twice", "RU")]);
    let whole = |domiciles: &[Value]| serde_json::json!({"domiciles": domiciles, "complete": true, "unreachable": [], "withheld": []});
    let done = locate(&url, "anna");
    assert_eq!((done.code, found(&done)), (0, whole(&[at("eu-fra", &["profiles"])])));
    assert_eq!(found(&locate(&url, "boris")), whole(&[at("ru-msk", &["profiles"])]));
    let both = [at("eu-fra", &["profiles"]), at("ru-msk", &["profiles"])];
    assert_eq!(found(&locate(&url, "twice")), whole(&both));
    assert_eq!(found(&locate(&url, "nobody")), whole(&[]));
    let shown = run(&["subject", "locate", "--gateway", &url, "--subject", "nobody"]);
    assert_eq!(shown.stdout, "no region holds this subject\n");

    let (median, slowest) = runtime.block_on(measure(&url));
    println!("a locate among five regions: median {median:?}, slowest {slowest:?}");
    let erase = ["subject", "erase", "--gateway", &url, "--subject", "anna", "--reason", "asked"];
    let erased = run(&[&erase[..], &["--domicile", "eu-fra"]].concat());
    assert_eq!(erased.code, 0, "{erased:?}");
    assert_eq!(found(&locate(&url, "anna")), whole(&[]));

    // A region that is down is named, and keeps no other from answering.
    deployment.shard("ru-msk").kill();
    deployment.wait_session("ru-msk", false);
    let done = locate(&url, "twice");
    assert_eq!(done.code, 69, "{done:?}");
    let missing = serde_json::json!([{"region": "ru-msk", "reason": "REGION_UNAVAILABLE"}]);
    let found = found(&done);
    assert_eq!((&found["complete"], &found["unreachable"]), (&serde_json::json!(false), &missing));
    assert_eq!(found["domiciles"], serde_json::json!([at("eu-fra", &["profiles"])]));
    assert!(done.stderr.contains("ru-msk (REGION_UNAVAILABLE)"), "{done:?}");
}

#[test]
fn what_is_told_is_counted_in_the_log() {
    let regions = vec!["eu-fra"];
    let mut deployment = Deployment::start(&Options { regions, ..options() });
    let runtime = Runtime::new().expect("a runtime");
    let url = deployment.gateway_url();
    store(&runtime, &url, &[("anna", "DE")]);
    for _ in 0..3 {
        assert_eq!(
            found(&locate(&url, "anna"))["domiciles"],
            serde_json::json!([at("eu-fra", &["profiles"])])
        );
        locate(&url, "nobody");
    }
    // Counters are written at the latest when the shard ends.
    deployment.shard("eu-fra").stop();
    deployment.restart("eu-fra");
    deployment.wait_signed("eu-fra");
    let shard = format!("http://127.0.0.1:{}", deployment.audit_port("eu-fra"));
    let mirror = deployment.root().join("mirror");
    let mirrored = run(&["audit", "mirror", "--shard", &shard, text(&mirror)]);
    assert_eq!(mirrored.code, 0, "{mirrored:?}");
    let log = mirror.join("eu-fra.s1.1");
    let listed = run(&["audit", "entries", text(&log), "--kind", "COUNT", "--json"]);
    let counted: Vec<Value> = listed.stdout.lines().map(json).collect();
    assert!(counted.iter().all(|entry| entry["collection"] == "profiles"), "{counted:?}");
    // A minute may have ended in between: then there are two.
    let sum: u64 = counted.iter().filter_map(count_of).sum();
    assert_eq!(sum, 3, "{counted:?}");
    let verified = run(&["audit", "verify", text(&mirror)]);
    assert_eq!(verified.code, 0, "{verified:?}");
}

#[test]
fn a_map_that_does_not_allow_it_refuses_before_anything_is_asked() {
    let regions = vec!["eu-fra"];
    let deployment = Deployment::start(&Options { regions, ..Options::default() });
    let runtime = Runtime::new().expect("a runtime");
    let url = deployment.gateway_url();
    store(&runtime, &url, &[("anna", "DE")]);
    for subject in ["anna", "nobody"] {
        let done = locate(&url, subject);
        assert_eq!(done.code, 1, "{done:?}");
        assert!(done.stderr.contains("LOCATE_NOT_ALLOWED"), "{done:?}");
    }
}

#[test]
fn a_caller_abroad_is_told_the_same_of_whom_a_law_hides_and_of_nobody() {
    let deployment = Deployment::start(&Options { territory: Some("US"), ..options() });
    let runtime = Runtime::new().expect("a runtime");
    let url = deployment.gateway_url();
    store(&runtime, &url, &[("anna", "DE"), ("boris", "RU"), ("uma", "US")]);
    let (hidden, nobody) = (found(&locate(&url, "boris")), found(&locate(&url, "nobody")));
    assert_eq!(hidden, nobody);
    assert_eq!(hidden["complete"], serde_json::json!(false));
    let withheld = hidden["withheld"].as_array().expect("a list");
    assert!(withheld.contains(&serde_json::json!("ru-msk")), "{hidden}");
    assert!(!withheld.contains(&serde_json::json!("us-iad")), "{hidden}");
    let own = found(&locate(&url, "uma"));
    assert_eq!(own["domiciles"], serde_json::json!([at("us-iad", &["profiles"])]));
    // A get gives the same answer for a hidden subject and for none: a locate tells no more.
    let get = |subject: &str| {
        let of = ["record", "get", "--gateway", &url, "--subject", subject, "--key", "main"];
        let place = ["--domicile", "ru-msk", "--collection", "profiles"];
        run(&[&of[..], &place].concat())
    };
    let (one, other) = (get("boris"), get("nobody"));
    assert!(one.code == 1 && one.stderr.contains("EGRESS_NOT_COVERED"), "{one:?}");
    assert!(other.stderr.contains("EGRESS_NOT_COVERED"), "{other:?}");
}

#[test]
fn a_subject_is_found_in_the_shard_of_its_region_that_has_its_slot() {
    let regions = vec!["eu-fra"];
    let mut deployment = Deployment::configure(&Options { regions: regions.clone(), ..options() });
    let mut second = shards::split(&deployment, "eu-fra");
    second.start();
    deployment.serve(&regions);
    second.wait_ready();
    let runtime = Runtime::new().expect("a runtime");
    let url = deployment.gateway_url();
    let upper = |subject: &String| {
        let tenant = TenantId::parse("sample").expect("a tenant");
        Slot::of(&tenant, &SubjectId::parse(subject).expect("an id")).number() > 511
    };
    let (mut lower_seen, mut upper_seen) = (0, 0);
    for subject in (0..16).map(|n| format!("person-{n}")) {
        store(&runtime, &url, &[(&subject, "DE")]);
        let place = found(&locate(&url, &subject))["domiciles"].clone();
        assert_eq!(place, serde_json::json!([at("eu-fra", &["profiles"])]), "{subject}");
        let seen = if upper(&subject) { &mut upper_seen } else { &mut lower_seen };
        *seen += 1;
    }
    assert!(lower_seen > 0 && upper_seen > 0);
}

#[test]
fn what_goes_to_a_region_does_not_tell_the_id() {
    let regions = vec!["eu-fra", "ru-msk"];
    let mut deployment = Deployment::start(&Options { regions, ..options() });
    let runtime = Runtime::new().expect("a runtime");
    let url = deployment.gateway_url();
    let subject = "locatedq7zx-anna";
    store(&runtime, &url, &[(subject, "DE")]);
    let tap = Tap::between(&runtime, &mut deployment, "ru-msk");
    let url = deployment.gateway_url();
    runtime.block_on(async {
        let client = Client::connect(&url, ONCE).await.expect("a gateway");
        let mut said = tap.bytes().len();
        let mut seen: HashSet<Vec<u8>> = HashSet::new();
        for _ in 0..20 {
            let request = api::LocateSubjectRequest { subject_id: subject.to_owned() };
            let found = client.locate_subject(&request).await.expect("an answer");
            assert_eq!(found.domiciles.len(), 1);
            let bytes = tap.bytes();
            let new = &bytes[said..];
            said = bytes.len();
            // The question is there: 62 bytes behind the number of their field and their length. No
            // eight of them were seen before.
            let question = new.windows(2).position(|two| two == [0x0a, 62]).expect("a question");
            let question = &new[question + 2..question + 64];
            assert!(question.windows(8).all(|part| seen.insert(part.to_vec())));
        }
        // Nor does the same id in a put, which the tap would show.
        let request = put("locatedq7zx-boris", "main", b"body", &evidence("RU"));
        client.put(&request).await.expect("a put");
    });
    let bytes = tap.bytes();
    let holds = |part: &str| bytes.windows(part.len()).any(|window| window == part.as_bytes());
    assert!(holds("locatedq7zx-boris"), "the tap is broken");
    assert!(!holds(subject), "the id goes to a region that does not hold it");
}
