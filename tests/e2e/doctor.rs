//! `bailiwick doctor` on real deployments: well, and with one thing after the other broken.

mod live;
mod secured;

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::support::process::{Finished, run};
use crate::support::{Deployment, Options, search};
use atlas::Date;
use serde_json::Value;
use terms::UnixMillis;

/// With one shard, and nothing that lies outside of its folder: what can be changed there by whom
/// is not for these tests.
fn deployment(options: Options) -> Deployment {
    let own = Options { regions: vec!["eu-fra"], engine: "fjall", geoip: false, ..options };
    Deployment::start(&own)
}

fn config(deployment: &Deployment, name: &str) -> PathBuf {
    deployment.root().join(format!("{name}.toml"))
}

fn text_of(path: &Path) -> &str {
    path.to_str().expect("text")
}

fn doctor(config: &Path) -> Finished {
    run(&["doctor", "--json", "--config", config.to_str().expect("text")])
}

/// The findings, as (check, state, what and cure).
fn findings(finished: &Finished) -> Vec<(String, String, String)> {
    let line = |line: &str| {
        let found: Value = serde_json::from_str(line).expect("a line is JSON");
        let text = |key: &str| found.get(key).and_then(Value::as_str).expect("a text").to_owned();
        (text("check"), text("state"), format!("{}; {}", text("what"), text("cure")))
    };
    finished.stdout.lines().map(line).collect()
}

/// Expects exactly one bad finding of this check that says all of these, beside no other bad
/// check but those of `also`.
#[track_caller]
fn bad(config: &Path, check: &str, says: &[&str], also: &[&str]) {
    let finished = doctor(config);
    assert_eq!(finished.code, 1, "{finished:?}");
    let found = findings(&finished);
    let bad: Vec<_> = found.iter().filter(|(_, state, _)| state == "bad").collect();
    let of_check: Vec<_> = bad.iter().filter(|(name, _, _)| name == check).collect();
    assert_eq!(of_check.len(), 1, "{check}: {found:#?}");
    let text = of_check.first().map(|(_, _, text)| text).expect("one");
    for part in says {
        assert!(text.contains(part), "{part}: {text}");
    }
    for (name, _, text) in bad {
        assert!(name == check || also.contains(&name.as_str()), "{name}: {text}");
    }
}

fn set(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode can be set");
}

#[test]
fn all_is_well_with_servers_that_run_and_nothing_is_changed() {
    let deployment = deployment(Options::default());
    // The map names four regions whose shards do not run here.
    let (gateway, shard) = (config(&deployment, "gateway"), config(&deployment, "shard-eu-fra"));
    let snapshot = || {
        let mut all = BTreeMap::new();
        for folder in [deployment.keys_dir("eu-fra"), deployment.anchor_dir("eu-fra")] {
            search::files(&folder, &mut |path, bytes| {
                let found = fs::metadata(path).expect("a file");
                let mode = found.permissions().mode();
                // The anchor is signed anew while the shard runs: its content is its own.
                let content =
                    if path.starts_with(deployment.keys_dir("eu-fra")) { bytes } else { &[] };
                all.insert(path.to_owned(), (mode, content.to_vec()));
            });
        }
        all
    };
    let before = snapshot();
    let finished = doctor(&shard);
    assert_eq!(finished.code, 0, "{finished:?}");
    let checks: Vec<String> = findings(&finished).into_iter().map(|(check, _, _)| check).collect();
    let all = [
        "map",
        "clock",
        "sandbox",
        "core files",
        "swap",
        "file limit",
        "configuration",
        "secrets",
        "disk",
        "folders",
        "keys",
        "store",
        "certificates",
        "server",
        "ends",
    ];
    assert_eq!(checks, all);
    let found = findings(&finished);
    let of = |check: &str| found.iter().find(|(name, _, _)| name == check).expect("a finding");
    for (check, says) in [
        ("sandbox", "a test write was refused"),
        ("secrets", "readable by their owner only"),
        ("keys", "the keyring of eu-fra opens"),
        ("server", "it runs; sandbox: on (landlock abi "),
    ] {
        let (_, state, text) = of(check);
        assert!(state == "ok" && text.contains(says), "{check}: {state}: {text}");
    }
    assert_eq!(snapshot(), before);

    let finished = doctor(&gateway);
    let shards: Vec<_> = findings(&finished).into_iter().filter(|f| f.0 == "shards").collect();
    assert_eq!(shards.len(), 5, "{finished:?}");
    for (_, state, text) in shards {
        assert_eq!(state == "ok", text.starts_with("eu-fra/s1 at "), "{state}: {text}");
    }
    // As text: a line each, and what is bad is counted.
    let text = run(&["doctor", "--config", gateway.to_str().expect("text")]);
    assert_eq!(text.code, 1);
    assert!(text.stdout.lines().any(|line| line.starts_with("ok    sandbox       Landlock")));
    assert!(text.stderr.starts_with("4 of "), "{}", text.stderr);
}

#[test]
fn what_is_open_to_others_is_named_with_its_cure() {
    let deployment = deployment(Options::default());
    let shard = config(&deployment, "shard-eu-fra");
    let keyring = deployment.keys_dir("eu-fra").join("eu-fra.keyring");
    for (path, mode, restored, check, cure, also) in [
        (&keyring, 0o640, 0o600, "secrets", "chmod 600 ", "keys"),
        (&deployment.data_dir("eu-fra"), 0o755, 0o700, "folders", "chmod 700 ", ""),
        (&deployment.keys_dir("eu-fra"), 0o711, 0o700, "folders", "chmod 700 ", ""),
        (&shard, 0o666, 0o644, "configuration", "chmod go-w ", ""),
    ] {
        set(path, mode);
        let name = path.display().to_string();
        bad(&shard, check, &[&name, cure], &[also]);
        set(path, restored);
        assert_eq!(doctor(&shard).code, 0, "{name}");
    }
}

#[test]
fn lost_keys_a_wrong_clock_and_a_full_disk_are_bad() {
    let mut deployment = deployment(Options::default());
    let shard = config(&deployment, "shard-eu-fra");
    deployment.shard("eu-fra").stop();
    let keyring = deployment.keys_dir("eu-fra").join("eu-fra.keyring");
    let aside = deployment.root().join("aside");
    fs::rename(&keyring, &aside).expect("a file can be moved");
    // What a start would say, too.
    let store = &["store"];
    bad(&shard, "keys", &["there is a store, but no keyring of eu-fra", "restore"], store);
    fs::write(&keyring, "no keyring").expect("a file can be written");
    fs::set_permissions(&keyring, Permissions::from_mode(0o600)).expect("a mode can be set");
    bad(&shard, "keys", &["eu-fra.keyring", "not a key file"], store);
    fs::rename(&aside, &keyring).expect("a file can be moved");

    let folder = deployment.anchor_dir("eu-fra");
    let anchor = folder.join("eu-fra-s1.checkpoint");
    let file = File::options().append(true).open(&anchor).expect("a file");
    #[expect(clippy::disallowed_methods, reason = "a file's own time is of the real clock")]
    let now = SystemTime::now();
    file.set_modified(now + Duration::from_secs(3600)).expect("a time can be set");
    bad(&shard, "clock", &["was written 3", "set the clock"], &[]);
    file.set_modified(now).expect("a time can be set");

    let text = fs::read_to_string(&shard).expect("a configuration");
    let full = text.replace("disk_reserve_mb = 1\n", "disk_reserve_mb = 1073741824\n");
    fs::write(&shard, full).expect("a configuration can be written");
    bad(&shard, "disk", &["writes are refused", "free disk space"], &[]);
    fs::write(&shard, &text).expect("a configuration can be written");

    fs::rename(deployment.anchor_dir("eu-fra"), &aside).expect("a folder can be moved");
    bad(&shard, "folders", &["1 of data, anchor and keys", "restore"], store);
    fs::rename(&aside, deployment.anchor_dir("eu-fra")).expect("a folder can be moved");
    // It does not run, which is no failure of its own.
    let finished = doctor(&shard);
    assert_eq!(finished.code, 0, "{finished:?}");
    assert!(finished.stdout.contains("it does not run"), "{finished:?}");
    assert!(finished.stdout.contains("it passes every check of a start"), "{finished:?}");
}

#[test]
fn a_store_that_the_shard_would_refuse_is_bad_and_is_not_changed() {
    let mut deployment = deployment(Options::default());
    let shard = config(&deployment, "shard-eu-fra");
    deployment.shard("eu-fra").stop();
    let folder = deployment.anchor_dir("eu-fra");
    let anchor = folder.join("eu-fra-s1.checkpoint");
    let before = fs::read(&anchor).expect("an anchor");
    assert_eq!(doctor(&shard).code, 0);
    assert_eq!(fs::read(&anchor).expect("an anchor"), before, "nothing is signed");
    // A checkpoint of another log.
    let other = vec![b'x'; before.len()];
    fs::write(&anchor, &other).expect("a file can be written");
    bad(&shard, "store", &["checkpoint"], &[]);
    fs::write(&anchor, &before).expect("a file can be written");
    // Looked at again and again, it starts as before.
    assert_eq!(doctor(&shard).code, 0);
    deployment.shard("eu-fra").start();
    deployment.wait_session("eu-fra", true);
}

#[test]
fn the_map_in_force_and_what_of_it_ends_are_said() {
    // Ends in ten days, as its first clause does; an attestation has ended.
    let today = Date::of(UnixMillis(crate::support::secure::now() * 1000));
    let (soon, past) = (today.after_days(10), Date::from_day(u64::from(today.day()) - 3));
    let map = Options::default().map;
    let map = map.replacen(
        "[[regions]]\nname = \"eu-fra\"\nterritory = \"DE\"\n",
        &format!(
            "[[regions]]\nname = \"eu-fra\"\nterritory = \"DE\"\n\
             site = {{ attestation = \"x\", attestation_expires = {past} }}\n"
        ),
        1,
    );
    let map = format!("valid_until = {soon}\n{map}");
    let mut deployment = deployment(Options { map, ..Options::default() });
    let shard = config(&deployment, "shard-eu-fra");
    let says = |finished: &Finished| {
        let all = &finished.stdout;
        assert!(all.contains("10 days from now"), "{finished:?}");
        assert!(all.contains("the attestation of the site of eu-fra has ended"), "{finished:?}");
    };
    says(&doctor(&shard));
    let status = run(&["map", "status", "--gateway", &deployment.gateway_url()]);
    for part in ["the map sample 1 ends in", "the attestation of the site of eu-fra has ended"] {
        assert!(status.stdout.contains(part), "{part}: {status:?}");
    }
    for (name, process) in [("gateway", "gateway"), ("shard-eu-fra", "eu-fra")] {
        let port = admin_port(&config(&deployment, name));
        let page = crate::support::process::get(port, "/readyz").expect("a page").1;
        assert!(page.contains("ends_soon: the attestation of the site of eu-fra"), "{page}");
        let page = crate::support::process::get(port, "/metrics").expect("a page").1;
        let end = u64::from(soon.day() + 1) * 86_400;
        assert!(page.contains(&format!("bailiwick_map_expires_seconds {end}")), "{page}");
        assert!(page.contains("bailiwick_ending_soon 2"), "{page}");
        let log = deployment.stderr(process);
        let lines = log.lines().filter(|line| line.contains("the map sample 1 ends in"));
        assert_eq!(lines.count(), 1, "once a day: {log}");
    }
    deployment.shard("eu-fra").stop();
    says(&doctor(&shard));
}

/// The port of a server's page of health.
fn admin_port(config: &Path) -> u16 {
    let text = fs::read_to_string(config).expect("a configuration");
    let line = text.lines().find_map(|line| line.strip_prefix("admin_listen = "));
    let port = line.and_then(|line| line.trim_matches('"').rsplit(':').next());
    port.and_then(|port| port.parse().ok()).expect("a port")
}

#[test]
fn a_map_that_has_ended_is_bad() {
    let deployment = deployment(Options::default());
    let shard = config(&deployment, "shard-eu-fra");
    let path = deployment.root().join("map.toml");
    let text = fs::read_to_string(&path).expect("a map");
    let with = |until: &str| {
        let text = format!("valid_until = \"{until}\"\n{text}");
        fs::write(&path, text).expect("a map can be written");
    };
    with("2026-01-01");
    bad(&shard, "map", &["2026-01-01", "has passed", "apply a map"], &[]);
    with("2099-01-01");
    let finished = doctor(&shard);
    assert_eq!(finished.code, 0, "{finished:?}");
    assert!(finished.stdout.contains("days from now"), "{finished:?}");
}

#[test]
fn a_kernel_without_landlock_is_a_warning_unless_the_sandbox_is_required() {
    let deployment = deployment(Options::default());
    let shard = config(&deployment, "shard-eu-fra");
    let without = || {
        let output = Command::new("strace")
            .args(["-f", "-e", "inject=landlock_create_ruleset:error=ENOSYS", "-o", "/dev/null"])
            .args([env!("CARGO_BIN_EXE_bailiwick"), "doctor", "--json", "--config"])
            .arg(&shard)
            .output()
            .expect("strace is installed");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Finished {
            code: output.status.code().expect("no signal ended it"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    };
    for (required, code, expected) in [("false", 0, "warn"), ("true", 1, "bad")] {
        let text = fs::read_to_string(&shard).expect("a configuration");
        let rest = text.lines().filter(|line| !line.starts_with("require_sandbox"));
        let rest: Vec<&str> = rest.collect();
        let text = format!("require_sandbox = {required}\n{}\n", rest.join("\n"));
        fs::write(&shard, text).expect("a configuration can be written");
        let finished = without();
        assert_eq!(finished.code, code, "{finished:?}");
        let found = findings(&finished);
        let (_, state, text) = found.iter().find(|f| f.0 == "sandbox").expect("a finding");
        assert_eq!(state, expected, "{text}");
        assert!(text.contains("the kernel has no Landlock"), "{text}");
    }
}

#[test]
fn a_recovery_closes_its_memory_before_it_reads_keys() {
    let mut deployment = deployment(Options::default());
    deployment.shard("eu-fra").stop();
    let trace = deployment.root().join("trace");
    let output = Command::new("strace")
        .args(["-f", "-e", "trace=prctl,openat", "-o"])
        .arg(&trace)
        .args([env!("CARGO_BIN_EXE_bailiwick"), "shard", "recover", "--accept-loss", "--config"])
        .arg(config(&deployment, "shard-eu-fra"))
        .output()
        .expect("strace is installed");
    let trace = fs::read_to_string(trace).expect("a trace");
    let at = |part: &str| trace.lines().position(|line| line.contains(part));
    let key = at("eu-fra.keyring").expect("the keyring is read");
    assert!(at("PR_SET_DUMPABLE").is_some_and(|closed| closed < key), "{output:?}\n{trace}");
}

#[test]
fn what_is_no_configuration_is_64() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (text, says) in [
        ("", "has no `name`"),
        ("listen = 7\n", "neither `shard` nor `annexes`"),
        ("shard = \"s1\"\n", "has no `region`"),
        ("name = \"g\"\nnothing = 1\n", "`nothing` is not a key"),
        ("[", "TOML_SYNTAX"),
    ] {
        let path = folder.path().join("config.toml");
        fs::write(&path, text).expect("a file can be written");
        let finished = doctor(&path);
        assert_eq!(finished.code, 64, "{text}: {finished:?}");
        assert!(finished.stderr.contains(says), "{text}: {}", finished.stderr);
        assert_eq!(finished.stdout, "", "{text}");
    }
    let gone = doctor(&folder.path().join("gone.toml"));
    assert_eq!(gone.code, 64, "{gone:?}");
}
