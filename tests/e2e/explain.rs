//! `bailiwick explain` gives the expected answer on every row of the evidence set, in both forms.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use crate::support::file;
use crate::support::process::{Finished, run};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

const ROWS: usize = 3_000;
/// The day on which the expected answers were made.
const DAY: &str = "2026-11-23";

fn explain(more: &[&str]) -> Finished {
    let (map, geoip) = (file("tests/evidence/map.toml"), file("tests/evidence/ip-country.mmdb"));
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
        // Where a law fixes the place, nothing is left to choose; one that has a home has it among others.
        let open = answer.get("open").map(|open| open.as_array().expect("regions").len());
        assert!(open != Some(0) && !(open.is_some() && answer["region"] == "ru-msk"), "{answer}");
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
    // Headings stand above every 500 rows.
    let (headings, firsts): (Vec<_>, Vec<_>) = firsts.partition(|cells| cells[1] == "id");
    assert_eq!(headings.len(), ROWS.div_ceil(500));
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
    assert!(stderr.contains("4 lines could not be decided"), "{stderr}");
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
        let map = file("tests/evidence/map.toml");
        let map = map.to_str().expect("text");
        let answer = run(&["explain", "--map", map, "--as-of", day, "--json", path]);
        assert_eq!(answer.code, 0, "{}", answer.stderr);
        let answer: Value = serde_json::from_str(&answer.stdout).expect("JSON");
        answer["jurisdictions"].clone()
    };
    assert_eq!(attached(DAY), serde_json::json!(["RU"]));
    assert_eq!(attached("1990-01-01"), serde_json::json!([]));
}

/// The most memory that `explain` has held, in KiB, once it has answered all but the last rows of
/// the evidence set so many times over.
fn peak_kib(times: usize, more: &[&str]) -> u64 {
    let (path, _) = people();
    let text = fs::read_to_string(path).expect("there is an evidence set");
    let (map, geoip) = (file("tests/evidence/map.toml"), file("tests/evidence/ip-country.mmdb"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_bailiwick"))
        .args(["explain", "--as-of", DAY, "--map"])
        .arg(map)
        .arg("--geoip")
        .arg(geoip)
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary can be started");
    let (mut rows, answers) = (child.stdin.take(), child.stdout.take());
    let (done, wait) = mpsc::channel::<()>();
    // Standard input stays open until the memory was looked at.
    let writer = thread::spawn(move || {
        let rows = rows.as_mut().expect("a pipe");
        (0..times).for_each(|_| rows.write_all(text.as_bytes()).expect("it reads"));
        rows.flush().expect("it reads");
        wait.recv().expect("the other thread goes on");
    });
    let mut lines = BufReader::new(answers.expect("a pipe")).lines();
    let is_answer = |line: &String| ["p-0", "p-1", "p-2"].iter().any(|id| line.contains(id));
    let answered = lines.by_ref().map(|line| line.expect("text")).filter(is_answer);
    // The last table is not full, and some answers wait to be written.
    assert_eq!(answered.take(times * ROWS - 1_000).count(), times * ROWS - 1_000);
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB")).and_then(|n| n.parse().ok());
    done.send(()).expect("the other thread waits");
    lines.for_each(drop);
    writer.join().expect("it wrote all");
    assert!(child.wait().expect("it ends").success());
    peak.expect("a figure")
}

#[test]
fn a_long_file_needs_no_more_memory_than_a_short_one() {
    for more in [&[][..], &["--json"]] {
        let (short, long) = (peak_kib(1, more), peak_kib(20, more));
        assert!(long < short + short / 2, "{short} and {long} KiB at the most, {more:?}");
    }
}

#[test]
fn a_map_with_several_tenants_asks_for_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let map = fs::read_to_string(file("deploy/sample/map.toml")).expect("a map");
    let own = folder.path().join("map.toml");
    fs::write(&own, format!("{map}\n[[tenants]]\nname = \"another\"\n")).expect("a file");
    let rows = folder.path().join("rows.jsonl");
    let row =
        r#"{"id":"a","collection":"profiles","evidence":[{"kind":"residence","value":"DE"}]}"#;
    fs::write(&rows, row).expect("a file");
    let people = folder.path().join("people.toml");
    let person = "[[people]]\nname = \"a\"\ncollection = \"profiles\"\n\
                  evidence = [\"residence DE\"]\nexpect = { region = \"eu-fra\" }\n";
    fs::write(&people, person).expect("a file");
    let text = |path: &std::path::Path| path.to_str().expect("text").to_owned();
    let (own, rows, people) = (text(&own), text(&rows), text(&people));
    let data = text(&folder.path().join("data"));
    let tenants = "its tenants are: another, sample; name one by";

    let explain = ["explain", "--map", &own, &rows, "--json"];
    let dev = ["dev", "--map", &own, "--data", &data, "--listen", "127.0.0.1:0"];
    for command in [&explain[..], &dev] {
        let done = run(command);
        assert_eq!(done.code, 64, "{done:?}");
        assert!(done.stderr.contains(&format!("{tenants} --tenant")), "{done:?}");
    }
    assert!(!std::path::Path::new(&data).exists(), "nothing was opened");
    assert_eq!(run(&[&explain[..], &["--tenant", "another"]].concat()).code, 0);

    let done = run(&["map", "test", &own, &people]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stdout.contains(&format!("{tenants} `tenant = \"…\"`")), "{done:?}");
    let named = person.replace("collection", "tenant = \"sample\"\ncollection");
    fs::write(&people, named).expect("a file");
    let done = run(&["map", "test", &own, &people, "--json"]);
    assert_eq!(done.code, 0, "{done:?}");
    let answer: Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert_eq!((&answer["name"], &answer["passed"]), (&"a".into(), &true.into()));
}

#[test]
fn a_pack_of_ones_own_is_ruled_by() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a file");
        path.to_str().expect("text").to_owned()
    };
    let shipped = fs::read_to_string(file("crates/atlas/statutes/eu-gdpr.toml")).expect("a pack");
    let hex = |text: &str| -> String { hex::encode(Sha256::digest(text)) };
    let own = format!("{shipped}# another text\n");
    let map = fs::read_to_string(file("deploy/sample/map.toml")).expect("a map");
    let map = write("map.toml", &map.replace(&hex(&shipped), &hex(&own)));
    let pack = write("own.toml", &own);
    let row =
        r#"{"id":"a","collection":"profiles","evidence":[{"kind":"residence","value":"DE"}]}"#;
    let rows = write("rows.jsonl", row);
    let explain = ["explain", "--json", "--map", &map, &rows];
    let without = run(&explain);
    assert_eq!(without.code, 64, "{without:?}");
    let with = run(&[&explain[..], &["--pack", &pack]].concat());
    assert_eq!(with.code, 0, "{with:?}");
    let answer: Value = serde_json::from_str(&with.stdout).expect("JSON");
    assert_eq!((&answer["region"], &answer["jurisdictions"][0]), (&"eu-fra".into(), &"EEA".into()));
}
