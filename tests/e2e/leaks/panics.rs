//! A panic of the real binary says where it was and nothing of what it was about: its payload may
//! hold anything.
//!
//! The binary is made to panic from outside: it is refused its first worker thread, as on a machine
//! that has no more, and the runtime then panics with what the kernel said. So this goes the way of
//! every other panic, through the hook that `main` installs before all else.

use std::fs;
use std::process::{Command, Output};

use super::REGION;
use crate::support::{Deployment, Options};

/// What the payload of that panic says.
const PAYLOAD: &[&str] = &["OS can't spawn", "Resource temporarily unavailable", "os error"];

/// Runs the binary; its main thread can start this many threads.
fn starved(threads: u32, arguments: &[&str]) -> Output {
    let from = threads + 1;
    let output = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "-e"])
        .arg(format!("inject=clone,clone3:error=EAGAIN:when={from}+"))
        .arg(env!("CARGO_BIN_EXE_bailiwick"))
        .args(arguments)
        .output();
    output.expect("strace is installed")
}

/// What it says of its panic, and nothing of the payload.
fn said(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(101), "it panicked: {stderr}");
    for part in PAYLOAD {
        assert!(!stderr.contains(part), "{stderr}");
    }
    stderr
}

#[test]
fn a_command_that_panics_says_where_and_not_why() {
    let record = ["--subject", "anna", "--collection", "profiles", "--key", "main"];
    let gateway = ["--gateway", "http://127.0.0.1:9"];
    let output = starved(0, &[&["record", "get"], &record[..], &gateway].concat());
    let stderr = said(&output);
    assert!(stderr.starts_with("thread main panicked at "), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn a_server_that_panics_logs_where_and_not_why() {
    let mut deployment =
        Deployment::start(&Options { regions: vec![REGION], ..Options::default() });
    assert_eq!(deployment.gateway().stop(), 0);
    let config = deployment.root().join("gateway.toml");
    let text = fs::read_to_string(&config).expect("a configuration");
    // A server with one thread starts no worker.
    fs::write(&config, format!("threads = 2\n{text}")).expect("a configuration can be written");
    // One thread is there before the runtime: the one that tries the sandbox.
    let output = starved(1, &["gateway", "--config", config.to_str().expect("text")]);
    let stderr = said(&output);
    let line = stderr.lines().find(|line| line.contains("a thread panicked"));
    let line: serde_json::Value =
        serde_json::from_str(line.expect("such a line")).expect("a line of JSON");
    assert_eq!(line["thread"], "main");
    assert!(line["file"].as_str().is_some_and(|file| file.contains("tokio")), "{line}");
    assert!(line["line"].as_u64() > Some(0), "{line}");
}
