//! What a person at a terminal sees: tables that fit, no warnings of libraries, no colour where none
//! is wanted, addresses where nothing answers, completions and manual pages.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::file;
use crate::support::process::{Finished, Server, free_port, init_shard, run, wait_until};
use serde_json::{Value, json};

/// Time in which `dev` must be ready.
const READY_MAX: Duration = Duration::from_secs(180);
const BINARY: &str = env!("CARGO_BIN_EXE_bailiwick");

/// Runs a command on a terminal of so many columns: what stands on it afterwards.
fn on_terminal(columns: usize, arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
    let mut words = vec![BINARY.to_owned()];
    words.extend(arguments.iter().map(|word| format!("'{word}'")));
    let command = format!("stty cols {columns} rows 50; {}", words.join(" "));
    let done = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .env_remove("NO_COLOR")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("script can be started");
    let text = String::from_utf8(done.stdout).expect("text").replace('\r', "");
    (done.status.code().expect("no signal ended it"), text)
}

#[test]
fn try_fits_narrow_terminals_and_prints_no_warning_of_a_library() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let data = data.to_str().expect("text");
    for columns in [60, 80] {
        let arguments = ["dev", "--try", "--data", data, "--listen", "127.0.0.1:0"];
        let (code, text) = on_terminal(columns, &arguments, &[]);
        assert_eq!(code, 0, "{text}");
        assert!(!text.contains("tracing") && !text.contains("ansi"), "{text}");
        // Rows as lists: every word whole, each beside its heading.
        assert!(text.contains("region") && text.contains("kz-ala"), "{text}");
        let head = text.split("Somebody of whom").next().expect("the persons");
        let wide = head.lines().find(|line| line.chars().count() > columns);
        assert_eq!(wide, None, "{columns}: {text}");
    }
}

#[test]
fn explain_fits_narrow_terminals() {
    let rows = fs::read_to_string(file("tests/evidence/people.jsonl")).expect("an evidence set");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rows.jsonl");
    let first: Vec<&str> = rows.lines().take(40).collect();
    fs::write(&path, first.join("\n")).expect("a file");
    let map = file("deploy/sample/map.toml");
    let (map, path) = (map.to_str().expect("text"), path.to_str().expect("text"));
    for columns in [60, 80, 200] {
        let (code, text) = on_terminal(columns, &["explain", "--map", map, path], &[]);
        assert_eq!(code, 0, "{text}");
        let wide = text.lines().find(|line| line.chars().count() > columns);
        assert_eq!(wide, None, "{columns}: {text}");
        for word in ["p-00039", "jurisdictions", "JURISDICTION_UNDETERMINED"] {
            assert!(text.contains(word), "{columns}, {word}: {text}");
        }
    }
}

#[test]
fn no_color_is_heeded() {
    let (_, coloured) = on_terminal(80, &["--help"], &[("TERM", "xterm-256color")]);
    assert!(coloured.contains('\u{1b}'), "a terminal gets colours: {coloured:?}");
    let plain = [("TERM", "xterm-256color"), ("NO_COLOR", "1")];
    let (_, text) = on_terminal(80, &["--help"], &plain);
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn where_nothing_answers_the_address_is_named() {
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    let folder = tempfile::tempdir().expect("a folder");
    let rows = folder.path().join("rows.jsonl");
    fs::write(&rows, "").expect("a file");
    let rows = rows.to_str().expect("text");
    let record = ["--subject", "a", "--collection", "profiles", "--key", "main"];
    let get = [&["record", "get", "--domicile", "eu-fra"][..], &record].concat();
    for command in [&get[..], &["import", rows], &["map", "status"], &["map", "get"]] {
        let done = run(&[command, &["--gateway", &url]].concat());
        assert_eq!(done.code, 69, "{done:?}");
        let named = format!("{url}: nothing answers");
        assert_eq!(done.stderr.matches(&named).count(), 1, "{done:?}");
    }
}

#[test]
fn health_says_whether_a_server_is_ready() {
    let folder = tempfile::tempdir().expect("a folder");
    let (listen, admin) = (free_port(), free_port());
    let sample = |name: &str| file("deploy/sample").join(name).display().to_string();
    let text = format!(
        "region = \"eu-fra\"\nshard = \"s1\"\nlisten = \"127.0.0.1:{listen}\"\n\
         admin_listen = \"127.0.0.1:{admin}\"\nplaintext = true\nmap = \"{}\"\nannex = \"{}\"\n\
         data = \"data\"\nanchor = \"anchor\"\nkeys = \"keys\"\nengine = \"fjall\"\n",
        sample("map.toml"),
        sample("annex/eu-fra.toml"),
    );
    let config = folder.path().join("shard.toml");
    fs::write(&config, text).expect("a file");
    let health = ["health", "--config", config.to_str().expect("text")];
    let away = run(&health);
    assert_eq!(away.code, 69, "{away:?}");
    assert!(away.stderr.contains(&format!("127.0.0.1:{admin}")), "{away:?}");
    init_shard(&config);
    let mut shard = Server::new("shard", "eu-fra", &config, admin);
    shard.start();
    shard.wait_ready();
    let Finished { code, stdout, .. } = run(&[&health[..], &["--json"]].concat());
    assert!(code == 0 && stdout.contains("\"ready\":true"), "{stdout}");
    assert_eq!(shard.stop(), 0);
    fs::write(&config, "admin_listen = 7\n").expect("a file");
    assert_eq!(run(&health).code, 64);
}

#[test]
fn completions_complete_and_every_command_has_a_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("bailiwick.bash");
    let bash = run(&["completions", "bash"]);
    assert_eq!((bash.code, &*bash.stderr), (0, ""));
    fs::write(&script, &bash.stdout).expect("a file");
    let complete = "source \"$1\"; COMP_WORDS=(bailiwick rec); COMP_CWORD=1; \
                    _bailiwick bailiwick rec bailiwick; echo \"${COMPREPLY[@]}\"";
    let done = Command::new("bash").args(["-c", complete, "bash"]).arg(&script).output();
    let done = done.expect("a shell can be started");
    assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), "record", "{done:?}");
    for shell in ["zsh", "fish"] {
        let done = run(&["completions", shell]);
        assert!(done.code == 0 && done.stdout.contains("bailiwick"), "{shell}");
    }
    let pages = folder.path().join("man1");
    let done = run(&["man", pages.to_str().expect("text")]);
    assert_eq!((done.code, &*done.stderr), (0, ""));
    let page = |name: &str| fs::read_to_string(pages.join(name)).expect("a page");
    assert!(page("bailiwick.1").contains("bailiwick\\-explain(1)"));
    assert!(page("bailiwick-map-plan.1").contains("\\-\\-stored"));
}

/// The objects that a command prints.
fn objects(arguments: &[&str]) -> Vec<Value> {
    let done = run(arguments);
    assert_eq!(done.code, 0, "{done:?}");
    done.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn certificates_and_signatures_are_told_in_json() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let (authority, issued) = (at("authority"), at("issued"));
    let init = ["pki", "init", "--region", "eu-fra", "--trust-domain", "sample", "--json"];
    let made = objects(&[&init[..], &["--out", &authority]].concat());
    assert!(made[0]["pin"].as_str().is_some_and(|pin| pin.starts_with("sha256:")), "{made:?}");
    let issue = ["pki", "issue", "--authority", &authority, "--shard", "s1", "--json"];
    let made = objects(&[&issue[..], &["--out", &issued]].concat());
    let name = "spiffe://sample/region/eu-fra/shard/s1";
    assert_eq!(made[0]["name"], name);
    let certificate = made[0]["certificate"].as_str().expect("a path").to_owned();
    let shown = objects(&["pki", "show", &certificate, "--json"]);
    assert_eq!((&shown[0]["kind"], &shown[0]["names"][0]), (&"certificate".into(), &name.into()));
    let revoke = ["pki", "revoke", "--authority", &authority, "--certificate", &certificate];
    let list = objects(&[&revoke[..], &["--json"]].concat());
    assert_eq!(list[0]["revoked"], 1);
    let shown =
        objects(&["pki", "show", list[0]["revoked_list"].as_str().expect("a path"), "--json"]);
    assert_eq!(shown[0]["revoked"].as_array().map(Vec::len), Some(1));

    let (key, map) = (at("anna.key"), at("map.toml"));
    fs::copy(file("deploy/sample/map.toml"), &map).expect("a copy");
    let made = objects(&["map", "key", "anna", "--out", &key, "--json"]);
    assert_eq!(made[0]["name"], "anna");
    let signed = objects(&["map", "sign", &map, "--key", &key, "--against", &map, "--json"]);
    assert_eq!((&signed[0]["signed_by"], &signed[0]["signatures"]), (&"anna".into(), &1.into()));
    assert_eq!(
        (&signed[0]["would_not_be_taken"], &signed[0]["widens"]),
        (&Value::Null, &json!([]))
    );
}

#[test]
fn dev_is_told_in_json() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let data = data.to_str().expect("text");
    let dev = ["dev", "--try", "--json", "--data", data, "--listen", "127.0.0.1:0"];
    let told = objects(&dev);
    assert_eq!(told.len(), 7, "what is ready, five persons, and a refusal: {told:?}");
    assert_eq!(told[0]["regions"].as_array().map(Vec::len), Some(5));
    assert!(told[1..6].iter().all(|person| person["read_back"] == true), "{told:?}");
    assert_eq!(told[6]["refuse"], "JURISDICTION_UNDETERMINED");
}

#[test]
fn a_hint_of_dev_works_as_it_stands() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let data = data.to_str().expect("text");
    let mut dev =
        Server::of(&["dev", "--data", data, "--listen", "127.0.0.1:0"], &folder.path().join("out"));
    dev.start();
    wait_until("dev is ready", READY_MAX, || dev.stdout().contains("Ctrl-C drains"));
    let text = dev.stdout();
    let (_, hints) = text.split_once("In another terminal:\n").expect("hints");
    let (hint, _) = hints.split_once("\n  curl").expect("what needs no other program");
    let done = Command::new("bash").args(["-euc", hint]).current_dir(folder.path()).output();
    let done = done.expect("a shell can be started");
    assert!(done.status.success(), "{hint}: {done:?}");
    let audit = hints.lines().find(|line| line.contains("audit mirror")).expect("a hint");
    let done = Command::new("bash").args(["-euc", audit]).current_dir(folder.path()).output();
    let done = done.expect("a shell can be started");
    assert!(done.status.success(), "{audit}: {done:?}");
    assert_eq!(dev.stop(), 0);
}
