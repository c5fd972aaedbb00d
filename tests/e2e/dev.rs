//! `bailiwick dev`: shows itself, keeps what it was given, drains when it is told to, and refuses
//! a folder that another one has.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::process::{Finished, Server, json, run, wait_until};
use rustix::process::Signal;
use serde_json::Value;

const READY_MAX: Duration = Duration::from_secs(180);

/// Starts `dev` on a free port and waits until it says that it is ready.
fn dev(folder: &Path, more: &[&str], output: &str) -> (Server, String) {
    let data = folder.join("data");
    let data = data.to_str().expect("text");
    let mut arguments = vec!["dev", "--data", data, "--listen", "127.0.0.1:0"];
    arguments.extend(more);
    let mut server = Server::of(&arguments, &folder.join(output));
    server.start();
    wait_until("dev is ready", READY_MAX, || server.stdout().contains("Ctrl-C drains"));
    let text = server.stdout();
    assert!(text.contains("ready in ") && text.contains(" ms"), "{text}");
    assert!(text.contains("Protections are off"), "{text}");
    let line = text.lines().find_map(|line| line.strip_prefix("gateway "));
    let url = line.expect("it says where the gateway is").to_owned();
    (server, url)
}

fn record(url: &str, command: &str, more: &[&str]) -> Finished {
    let mut arguments = vec!["record", command, "--gateway", url, "--collection", "profiles"];
    arguments.extend(["--subject", "u-1", "--key", "main", "--json"]);
    arguments.extend(more);
    run(&arguments)
}

#[test]
fn try_shows_itself_again_and_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let data = data.to_str().expect("text");
    for (engine, version) in [("sled", "1"), ("sled", "2")] {
        let arguments =
            ["dev", "--try", "--data", data, "--listen", "127.0.0.1:0", "--engine", engine];
        let Finished { code, stdout, stderr } = run(&arguments);
        assert_eq!(code, 0, "{stdout}{stderr}");
        for region in ["ru-msk", "eu-fra", "kz-ala", "in-bom", "us-iad"] {
            let row = |line: &&str| {
                let cells: Vec<&str> = line.split('┆').map(str::trim).collect();
                cells.get(3) == Some(&region) && cells.get(5) == Some(&version)
            };
            assert_eq!(stdout.lines().filter(row).count(), 1, "{region}: {stdout}");
        }
        assert_eq!(stdout.matches("read back, byte for byte").count(), 5, "{stdout}");
        assert_eq!(stdout.matches("receipt verified").count(), 5, "{stdout}");
        assert!(stdout.contains("JURISDICTION_UNDETERMINED"), "{stdout}");
        assert!(stdout.contains("cure: send evidence that names a country"), "{stdout}");
        assert_eq!(stdout.contains("from an earlier run"), version == "2", "{stdout}");
        assert!(stdout.contains("ready in ") && stdout.contains("drained"), "{stdout}");
    }
    let done = run(&["dev", "--try", "--json", "--data", data, "--listen", "127.0.0.1:0"]);
    let first = done.stdout.lines().next().expect("a line");
    let first: Value = serde_json::from_str(first).expect("JSON");
    for one in first["regions"].as_array().expect("regions") {
        let region = one["region"].as_str().expect("text");
        let is = |key: &str, of: &str| {
            let begins = format!("sample/{region}/{of}+");
            one[key].as_str().is_some_and(|vkey| vkey.starts_with(&begins))
        };
        assert!(is("log_key", "s1/1") && is("transit_identity", "transit"), "{one}");
    }
}

#[test]
fn what_was_put_is_there_after_a_restart_and_nobody_else_has_the_folder() {
    for engine in ["sled", "fjall"] {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut server, url) = dev(folder.path(), &["--engine", engine], "first");
        let body = "Привет\n\u{1}";
        let put = record(
            &url,
            "put",
            &["--body", body, "--evidence", "residence=DE", "--create-subject"],
        );
        let put = json(&put);
        assert_eq!((&put["domicile"], &put["version"]), (&"eu-fra".into(), &1.into()));
        let data = folder.path().join("data");
        let data = data.to_str().expect("text");
        let second = run(&["dev", "--data", data, "--listen", "127.0.0.1:0", "--engine", engine]);
        assert!(second.code == 69 && second.stderr.contains("held by another"), "{second:?}");
        server.signal(Signal::INT);
        assert_eq!(server.wait_end(), 0, "{}", server.stderr());
        assert!(server.stdout().contains("drained"), "{}", server.stdout());
        let (mut server, url) = dev(folder.path(), &["--engine", engine], "second");
        let got = json(&record(&url, "get", &["--domicile", "eu-fra"]));
        assert_eq!((&got["body_utf8"], &got["version"]), (&body.into(), &1.into()));
        assert_eq!(got["etag"], put["etag"]);
        assert_eq!(server.stop(), 0);
    }
}

#[test]
fn a_record_is_put_read_and_deleted_by_hand() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut server, url) = dev(folder.path(), &[], "dev");
    let id = "6f2b7b0e-1c1a-4a0e-9a50-0c1ff1f6d2aa";
    let new = ["--body", "x", "--evidence", "residence=RU", "--create-subject", "--request-id", id];
    let dry = json(&record(&url, "put", &[&new[..], &["--validate-only"]].concat()));
    assert_eq!((&dry["validated_only"], &dry["receipt"]), (&true.into(), &Value::Null));
    let put = json(&record(&url, "put", &new));
    assert_eq!((&put["domicile"], &put["replayed"]), (&"ru-msk".into(), &false.into()));
    assert!(put["receipt"]["origin"].as_str().is_some_and(|o| o.contains("/ru-msk/")), "{put}");
    let again = json(&record(&url, "put", &new));
    assert_eq!((&again["version"], &again["replayed"]), (&1.into(), &true.into()));
    // As JSON too, for callers without gRPC.
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--header", "content-type: application/json", "--data"]);
    curl.arg(r#"{"collection":"profiles","regions":["ru-msk"]}"#);
    let counted = curl.arg(format!("{url}/bailiwick.v1.Records/Count")).output();
    let counted = counted.expect("curl can be started").stdout;
    let counted: Value = serde_json::from_slice(&counted).expect("JSON");
    assert_eq!(counted["count"], "1", "{counted}");
    let error = |finished: Finished, code: i32| -> Value {
        assert_eq!((finished.code, &*finished.stdout), (code, ""), "{}", finished.stderr);
        let error: Value = serde_json::from_str(&finished.stderr).expect("JSON");
        error["error"].clone()
    };
    let refused = error(
        record(&url, "put", &["--body", "y", "--domicile", "ru-msk", "--if-version", "7"]),
        1,
    );
    assert_eq!(refused["reason"], "VERSION_MISMATCH");
    assert!(refused["call_id"].is_string() && refused["cure"].is_string(), "{refused}");
    let refused = error(record(&url, "put", &["--body", "y", "--evidence", "blood=DE"]), 1);
    assert_eq!(refused["field"], "evidence[0].kind");
    let refused = error(record(&url, "get", &[]), 1);
    assert_eq!(refused["reason"], "DOMICILE_REQUIRED");
    let deleted = json(&record(&url, "delete", &["--domicile", "ru-msk", "--if-version", "1"]));
    assert_eq!(deleted["version"], 2);
    let refused = error(record(&url, "get", &["--domicile", "ru-msk"]), 1);
    assert_eq!(refused["reason"], "RECORD_NOT_FOUND");
    assert_eq!(server.stop(), 0);
    let away = error(record(&url, "get", &["--domicile", "ru-msk"]), 69);
    assert!(
        away["message"].as_str().is_some_and(|text| text.contains("nothing answers")),
        "{away}"
    );
}
