//! `bailiwick import` again and again: with other content, with bad lines, with a region that is
//! away, through a shard that is killed and a gateway that is started anew.

#![expect(clippy::indexing_slicing, reason = "a test that goes astray may panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::process::{Finished, Server, run, wait_until};
use crate::support::{Deployment, Options, file};
use serde_json::{Value, json};

/// Time in which an import must have stored something.
const START_MAX: Duration = Duration::from_secs(120);

/// The first rows of the evidence set, and what they are expected to become.
fn rows(count: usize) -> (String, Value) {
    let text = fs::read_to_string(file("tests/evidence/people.jsonl")).expect("an evidence set");
    let lines: Vec<&str> = text.lines().take(count).collect();
    let (mut placed, mut refused) = (BTreeMap::new(), BTreeMap::new());
    for line in &lines {
        let row: Value = serde_json::from_str(line).expect("a row");
        let expect = &row["expect"];
        let (counts, name) = match expect.get("region") {
            Some(region) => (&mut placed, region),
            None => (&mut refused, &expect["refuse"]),
        };
        *counts.entry(name.as_str().expect("a name").to_owned()).or_insert(0_u64) += 1;
    }
    (lines.join("\n"), json!({"placed": placed, "refused": refused}))
}

fn import(deployment: &Deployment, path: &Path, more: &[&str]) -> Finished {
    let url = deployment.gateway_url();
    let mut arguments = vec!["import", "--gateway", &url, "--json", path.to_str().expect("text")];
    arguments.extend(more);
    run(&arguments)
}

fn counts(finished: &Finished) -> Value {
    assert_eq!(finished.stdout.lines().count(), 1, "{finished:?}");
    serde_json::from_str(&finished.stdout).expect("JSON")
}

/// The newest version of an imported row's record.
fn record(deployment: &Deployment, row: &Value) -> Value {
    let url = deployment.gateway_url();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let (id, region) = (text(&row["id"]), text(&row["expect"]["region"]));
    let collection = text(&row["collection"]);
    let mut arguments = vec!["record", "get", "--gateway", &url, "--key", "main", "--json"];
    arguments.extend(["--subject", &id, "--domicile", &region, "--collection", &collection]);
    // Reads of some collections are logged.
    arguments.extend(["--purpose", "a comparison"]);
    let got = run(&arguments);
    serde_json::from_str(&got.stdout).expect("JSON")
}

#[test]
fn a_second_import_changes_nothing_and_other_content_leaves_what_is_there() {
    let deployment = Deployment::start(&Options::default());
    let (text, expected) = rows(400);
    let path = deployment.root().join("people.jsonl");
    fs::write(&path, &text).expect("a file");
    for _ in 0..2 {
        let done = import(&deployment, &path, &[]);
        assert_eq!((done.code, counts(&done)), (0, expected.clone()), "{}", done.stderr);
        assert_eq!(done.stderr, "");
    }
    // Other content under the same ids is another request, to which the record that is there is
    // the answer: as next week, when nobody remembers the first one.
    let other = text.replace("\"collection\"", "\"note\": \"later\", \"collection\"");
    fs::write(&path, other).expect("a file");
    let done = import(&deployment, &path, &[]);
    let placed = expected["placed"].as_object().expect("counts").values().filter_map(Value::as_u64);
    let mut refused = expected["refused"].clone();
    refused["RECORD_EXISTS"] = placed.sum::<u64>().into();
    let wanted = json!({"placed": {}, "refused": refused});
    assert_eq!((done.code, counts(&done)), (1, wanted), "{}", done.stderr);
    let line = text.lines().next().expect("a row");
    let row: Value = serde_json::from_str(line).expect("JSON");
    let record = record(&deployment, &row);
    let (body, _) = line.rsplit_once(", \"expect\"").expect("a row says what to expect");
    assert_eq!(record["body_utf8"], format!("{body}}}"));
    assert_eq!(record["version"], 1);
}

#[test]
fn a_bad_line_is_counted_and_named_and_the_others_go_on() {
    let options = Options { regions: vec!["eu-fra"], ..Options::default() };
    let deployment = Deployment::start(&options);
    let path = deployment.root().join("people.jsonl");
    let text = concat!(
        r#"{"id":"a","collection":"profiles","evidence":[{"kind":"residence","value":"DE"}]}"#,
        "\n{\"id\":\n",
        r#"{"id":"b","collection":"profiles","evidence":[{"kind":"residence","value":"secret"}]}"#,
        "\n",
        r#"{"id":"c","collection":"profiles","evidence":[]}"#,
        "\n",
        r#"{"id":"d","collection":"profiles","evidence":[{"kind":"blood","value":"secret"}]}"#,
        "\n",
    );
    // Longer than any body.
    let long = vec!["1e15"; 4_000_000].join(",");
    let long = format!(r#"{{"id":"e","collection":"profiles","evidence":[],"long":[{long}]}}"#);
    fs::write(&path, format!("{text}{long}\n")).expect("a file");
    let done = import(&deployment, &path, &[]);
    let refused = json!({
        "BODY_TOO_LARGE": 1,
        "EVIDENCE_KIND_UNKNOWN": 1,
        "EVIDENCE_MALFORMED": 1,
        "FIELD_INVALID": 1,
        "JURISDICTION_UNDETERMINED": 1,
    });
    assert_eq!(counts(&done), json!({"placed": {"eu-fra": 1}, "refused": refused}));
    assert_eq!(done.code, 1);
    for line in ["2: FIELD_INVALID", "3: EVIDENCE_MALFORMED", "6: BODY_TOO_LARGE"] {
        assert!(done.stderr.contains(&format!("people.jsonl:{line}")), "{line}: {}", done.stderr);
    }
    assert!(
        done.stderr.contains("4 lines failed for reasons other than a ruling"),
        "{}",
        done.stderr
    );
    assert!(!done.stderr.contains("secret"), "{}", done.stderr);
}

#[test]
fn a_region_that_is_away_for_good_is_counted_and_the_others_are_placed() {
    let options = Options { regions: vec!["eu-fra", "us-iad"], ..Options::default() };
    let deployment = Deployment::start(&options);
    let (text, expected) = rows(200);
    let path = deployment.root().join("people.jsonl");
    fs::write(&path, text).expect("a file");
    let done = import(&deployment, &path, &["--patience-s", "2"]);
    let (counts, placed) = (counts(&done), &expected["placed"]);
    assert_eq!(done.code, 1);
    assert_eq!(counts["placed"], json!({"eu-fra": placed["eu-fra"], "us-iad": placed["us-iad"]}));
    let away = ["in-bom", "kz-ala", "ru-msk"].iter().filter_map(|region| placed[region].as_u64());
    assert_eq!(counts["refused"]["REGION_UNAVAILABLE"], away.sum::<u64>());
}

#[test]
fn a_killed_shard_and_a_gateway_that_goes_away_lose_nothing() {
    let mut deployment = Deployment::start(&Options::default());
    let (text, expected) = rows(3_000);
    // Large enough to be still under way when the processes are killed.
    let padding = "x".repeat(8_000);
    let text = text.replace("\"collection\"", &format!("\"pad\": \"{padding}\", \"collection\""));
    let path = deployment.root().join("people.jsonl");
    fs::write(&path, text).expect("a file");
    let url = deployment.gateway_url();
    let path = path.to_str().expect("text");
    let arguments = ["import", "--gateway", &url, "--json", "--patience-s", "600", path];
    let mut running = Server::of(&arguments, &deployment.root().join("import"));
    let before = folder_bytes(&deployment.data_dir("ru-msk"));
    running.start();
    wait_until("something is stored", START_MAX, || {
        folder_bytes(&deployment.data_dir("ru-msk")) > before || !running.runs()
    });
    assert!(running.runs(), "the import was over before anything was killed");
    // The import cannot end before its shard is back, so the gateway breaks its streams.
    deployment.shard("ru-msk").kill();
    deployment.gateway().restart();
    deployment.restart("ru-msk");
    assert_eq!(running.wait_end(), 0, "{}", running.stderr());
    assert!(running.stderr().contains("is reopened"), "no stream broke: {}", running.stderr());
    let counts: Value = serde_json::from_str(&running.stdout()).expect("JSON");
    assert_eq!(counts, expected, "{}", running.stderr());
}

fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let bytes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => folder_bytes(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    });
    bytes.sum()
}
