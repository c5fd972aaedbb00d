//! What may be called only where is held by clippy: `clippy.toml` at the root,
//! `crates/gateway/clippy.toml` (no disk) and `crates/pure.clippy.toml` (nothing of the outside;
//! terms, atlas, evidence, ledger, sealed and wire link it). This shows that clippy reads them, crate by
//! crate, and finds what breaks them.

#![expect(clippy::indexing_slicing, reason = "a test that goes astray may panic")]

use std::process::Command;

use toml::{Table, Value};

use crate::root;

/// Crates that know nothing of disk, network, clock and threads.
const PURE: &[&str] = &["terms", "atlas", "evidence", "ledger", "sealed", "wire"];

/// Lines that no crate may have.
const NOWHERE: &[&str] = &[
    "std::time::SystemTime::now();",
    "{ use std::time as t; t::Instant::now() };",
    "std::thread::sleep(std::time::Duration::ZERO);",
    "std::env::var(\"A\").ok();",
    "std::env::vars_os();",
    "{ use std::io; io::stdout() };",
    "std::io::stderr();",
    "std::panic::set_hook(Box::new(|_| ()));",
    "drop(std::panic::take_hook());",
];
/// Lines that no crate without a disk may have.
const NO_DISK: &[&str] = &[
    "{ use std::fs as f; f::read(\"a\").ok() };",
    "std::fs::write(\"a\", \"b\").ok();",
    "std::fs::create_dir_all(\"a\").ok();",
    "std::fs::rename(\"a\", \"b\").ok();",
    "std::fs::File::create(\"a\").ok();",
    "std::fs::OpenOptions::new();",
    "std::os::unix::fs::symlink(\"a\", \"b\").ok();",
    "std::process::Command::new(\"a\");",
];
/// Lines that no pure crate may have.
const NOTHING_OUTSIDE: &[&str] = &[
    "std::net::TcpStream::connect(\"a\").ok();",
    "std::net::TcpListener::bind(\"a\").ok();",
    "std::net::UdpSocket::bind(\"a\").ok();",
    "fn a(_: impl std::net::ToSocketAddrs) {}",
    "std::thread::spawn(|| ());",
    "let _: Option<std::time::SystemTime> = None;",
    "let _: Option<std::time::Instant> = None;",
];

/// The lines of `lines` that clippy passes under the configuration of `folder`.
fn passed<'a>(folder: &str, lines: &[&'a str]) -> Vec<&'a str> {
    let scratch = tempfile::tempdir().expect("a folder");
    let source = scratch.path().join("a.rs");
    let text = format!("#![allow(unused)]\nfn f() {{\n{}\n}}\n", lines.join("\n"));
    std::fs::write(&source, text).expect("a file");
    let clippy = Command::new("clippy-driver")
        .args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "--error-format=short"])
        .args(["-Wclippy::disallowed_methods", "-Wclippy::disallowed_types"])
        .arg("--out-dir")
        .args([scratch.path(), &source])
        .env("CLIPPY_CONF_DIR", root().join(folder))
        .current_dir(root())
        .output()
        .expect("clippy runs");
    let said = String::from_utf8(clippy.stderr).expect("text");
    assert!(clippy.status.success(), "the lines are no Rust:\n{said}");
    let found = |at: usize| {
        let place = format!("a.rs:{}:", at + 3);
        said.lines().any(|line| line.contains(&place) && line.contains("disallowed"))
    };
    (0..lines.len()).filter(|at| !found(*at)).map(|at| lines[at]).collect()
}

#[test]
fn a_call_that_is_not_allowed_is_found_in_every_crate() {
    let none: Vec<&str> = Vec::new();
    for name in crate::walls::walls().into_keys() {
        let folder = if name == "bailiwick" { String::new() } else { format!("crates/{name}") };
        let own = root().join(&folder).join("clippy.toml").exists();
        let pure = PURE.contains(&name.as_str());
        assert_eq!(own, pure || name == "gateway" || name == "bailiwick", "{name}");
        if own {
            assert_eq!(passed(&folder, NOWHERE), none, "{name}");
            // The root's configuration is that of every crate without one: they may use a disk.
            let disk = passed(&folder, NO_DISK);
            assert_eq!(disk, if name == "bailiwick" { NO_DISK.to_vec() } else { none.clone() });
            let outside = passed(&folder, NOTHING_OUTSIDE);
            assert_eq!(outside, if pure { none.clone() } else { NOTHING_OUTSIDE.to_vec() });
        }
    }
}

/// A crate with a configuration of its own does not read the root's: it must say the same again.
#[test]
fn what_holds_everywhere_stands_in_each_configuration() {
    let read = |place: &str| {
        let text = std::fs::read_to_string(root().join(place)).expect("a configuration");
        text.parse::<Table>().expect("TOML")
    };
    let paths = |value: &Value| {
        let items = value.as_array().into_iter().flatten();
        items.map(|item| item["path"].as_str().expect("a path").to_owned()).collect::<Vec<_>>()
    };
    let everywhere = read("clippy.toml");
    for place in ["crates/gateway/clippy.toml", "crates/pure.clippy.toml"] {
        let own = read(place);
        for (key, value) in &everywhere {
            if !value.is_array() {
                assert_eq!(own.get(key), Some(value), "{place}: {key}");
                continue;
            }
            let there = paths(&own[key]);
            // The gateway makes the errors that callers see.
            let makes_status = |path: &str| {
                place.contains("gateway")
                    && ["tonic::", "tonic_types::"].iter().any(|c| path.starts_with(c))
            };
            let gone = paths(value).into_iter().filter(|path| !there.contains(path));
            let gone: Vec<String> = gone.filter(|path| !makes_status(path)).collect();
            assert!(gone.is_empty(), "{place}: {key} lacks {gone:?}");
        }
    }
}
