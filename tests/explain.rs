//! `bailiwick explain` gives the expected answer on every row of the evidence set, in both forms.

#[expect(dead_code, reason = "no server is started here")]
mod support;

use std::fs;

use serde_json::Value;
use support::file;
use support::process::{Finished, run};

const ROWS: usize = 3_000;
/// The day on which the expected answers were made.
const DAY: &str = "2026-11-23";

fn explain(more: &[&str]) -> Finished {
    let (map, geoip) = (file("deploy/sample/map.toml"), file("tests/evidence/ip-country.mmdb"));
    let (map, geoip) = (map.to_str().expect("text"), geoip.to_str().expect("text"));
    let mut arguments = vec!["explain", "--map", map, "--geoip", geoip, "--as-of", DAY];
    arguments.extend(more);
    run(&arguments)
}

fn people() -> (String, Vec<Value>) {
    let path = file("tests/evidence/people.jsonl");
    let text = fs::read_to_string(&path).expect("there is an evidence set");
    let rows: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a row")).collect();
    assert_eq!(rows.len(), ROWS);
    (path.to_str().expect("text").to_owned(), rows)
}

#[test]
fn every_row_is_answered_as_expected_in_json() {
    let (path, rows) = people();
    let Finished { code, stdout, stderr } = explain(&["--json", &path]);
    assert_eq!((code, &*stderr), (0, ""));
    assert_eq!(stdout.lines().count(), ROWS);
    for (row, line) in rows.iter().zip(stdout.lines()) {
        let answer: Value = serde_json::from_str(line).expect("an answer is JSON");
        assert_eq!(answer["id"], row["id"]);
        for key in ["jurisdictions", "region", "mirrors", "refuse"] {
            assert_eq!(answer.get(key), row["expect"].get(key), "{key} of {}", row["id"]);
        }
        assert!(answer["findings"].is_array(), "{answer}");
        let reasons = answer["reasons"].as_array().expect("reasons");
        assert!(reasons.iter().all(|reason| reason.as_str().is_some_and(|r| !r.is_empty())));
        let jurisdictions = answer["jurisdictions"].as_array().expect("a list").len();
        assert!(reasons.len() > jurisdictions, "a sentence for each law and one more: {answer}");
        assert_eq!(answer.get("cure").is_some(), answer.get("refuse").is_some(), "{answer}");
    }
}

#[test]
fn every_row_is_answered_as_expected_in_the_table() {
    let (path, rows) = people();
    let Finished { code, stdout, stderr } = explain(&[&path]);
    assert_eq!((code, &*stderr), (0, ""));
    let cells = |line: &str| -> Vec<String> {
        line.split(['│', '┆']).map(|cell| cell.trim().to_owned()).collect()
    };
    // A row begins with a line that has an id; what follows are more lines of its cells.
    let firsts = stdout.lines().map(cells).filter(|cells| cells.len() > 6 && !cells[1].is_empty());
    let firsts: Vec<Vec<String>> = firsts.skip(1).collect();
    assert_eq!(firsts.len(), ROWS);
    let texts = |value: &Value| -> String {
        let all = value.as_array().map(Vec::as_slice).unwrap_or_default();
        all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    for (row, cells) in rows.iter().zip(&firsts) {
        let expect = &row["expect"];
        let region = expect.get("region").or_else(|| expect.get("refuse")).and_then(Value::as_str);
        assert_eq!(row["id"], *cells[1]);
        assert_eq!(texts(&expect["jurisdictions"]), cells[2], "{}", row["id"]);
        assert_eq!(region, Some(&*cells[3]), "{}", row["id"]);
        assert_eq!(texts(&expect["mirrors"]), cells[4], "{}", row["id"]);
    }
}

#[test]
fn a_bad_line_is_answered_in_its_place_and_the_others_are_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rows.jsonl");
    let rows = concat!(
        r#"{"id":"a","collection":"profiles","evidence":[{"kind":"residence","value":"RU"}]}"#,
        "\n\nnot json\n",
        r#"{"id":"b","collection":"profiles","evidence":[{"kind":"blood","value":"secret"}]}"#,
        "\n",
        r#"{"id":"c","collection":"nothing","evidence":[]}"#,
        "\n",
        r#"{"id":"d","collection":"profiles","evidence":[{"kind":"ip","value":"secret"}]}"#,
        "\n",
        r#"{"id":"e","collection":"profiles","evidence":[]}"#,
    );
    fs::write(&path, rows).expect("a file");
    let Finished { code, stdout, stderr } = explain(&["--json", path.to_str().expect("text")]);
    assert_eq!(code, 1);
    let answers: Vec<Value> =
        stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let said: Vec<&str> = answers
        .iter()
        .map(|answer| {
            let region = answer.get("region").or_else(|| answer.get("refuse"));
            region
                .or_else(|| answer["error"].get("reason"))
                .and_then(Value::as_str)
                .expect("an outcome")
        })
        .collect();
    let expected = [
        "ru-msk",
        "FIELD_INVALID",
        "EVIDENCE_KIND_UNKNOWN",
        "COLLECTION_UNKNOWN",
        "EVIDENCE_MALFORMED",
        "JURISDICTION_UNDETERMINED",
    ];
    assert_eq!(said, expected);
    assert_eq!(answers[1]["line"], 3);
    assert_eq!(answers[2]["error"]["field"], "evidence[0].kind");
    assert!(stderr.contains("rows.jsonl:3: FIELD_INVALID"), "{stderr}");
    assert!(stderr.contains("4 lines were not ruled upon"), "{stderr}");
    assert!(!stdout.contains("secret") && !stderr.contains("secret"), "{stdout}{stderr}");
}

#[test]
fn a_day_on_which_a_law_is_not_in_force_is_another_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rows.jsonl");
    let row = r#"{"id":"a","collection":"profiles","evidence":[{"kind":"residence","value":"RU"},{"kind":"citizenship","value":"RU"}]}"#;
    fs::write(&path, row).expect("a file");
    let path = path.to_str().expect("text");
    let attached = |day: &str| {
        let map = file("deploy/sample/map.toml");
        let map = map.to_str().expect("text");
        let answer = run(&["explain", "--map", map, "--as-of", day, "--json", path]);
        assert_eq!(answer.code, 0, "{}", answer.stderr);
        let answer: Value = serde_json::from_str(&answer.stdout).expect("JSON");
        answer["jurisdictions"].clone()
    };
    assert_eq!(attached(DAY), serde_json::json!(["RU"]));
    assert_eq!(attached("1990-01-01"), serde_json::json!([]));
}
