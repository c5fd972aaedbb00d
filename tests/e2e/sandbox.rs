//! Real servers behind the kernel's fence: what `strace` sees a gateway open, what the kernel says
//! of both, and that everything works inside.

mod watched;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::support::load::{ONCE, PATIENT, Writers, evidence, get, put};
use crate::support::process::{get as page, init_shard, run, wait_until};
use crate::support::secure::{now, replace};
use crate::support::{Deployment, Options};
use client::{Access, Client, Settings};
use serde_json::json;
use tokio::runtime::Runtime;
use watched::{CALLS, Watched, check_never_wrote};

/// Time in which a server is ready, or drained.
const READY_MAX: Duration = Duration::from_secs(180);

fn one(engine: &'static str) -> Deployment {
    Deployment::start(&Options { regions: vec!["eu-fra"], engine, ..Options::default() })
}

/// Puts a line at the top of a configuration.
fn configure(deployment: &Deployment, name: &str, line: &str) -> PathBuf {
    let path = deployment.root().join(format!("{name}.toml"));
    let text = fs::read_to_string(&path).expect("a configuration");
    fs::write(&path, format!("{line}\n{text}")).expect("a configuration can be written");
    path
}

/// A line of the page of a process in /proc.
fn of_process(pid: u32, page: &str, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/{page}")).expect("a page of a process");
    let line = text.lines().find(|line| line.starts_with(name));
    line.expect("the page has such a line").to_owned()
}

#[track_caller]
fn is_fenced(pid: u32, admin: u16) {
    assert_eq!(of_process(pid, "status", "NoNewPrivs").split_whitespace().last(), Some("1"));
    // Every thread, not only the first.
    for thread in fs::read_dir(format!("/proc/{pid}/task")).expect("threads") {
        let status = thread.expect("a thread").path().join("status");
        let text = fs::read_to_string(status).expect("a page of a thread");
        assert!(text.contains("NoNewPrivs:\t1\n"), "{text}");
    }
    let limit = of_process(pid, "limits", "Max core file size");
    let limits: Vec<&str> = limit.split_whitespace().skip(4).take(2).collect();
    assert_eq!(limits, ["0", "0"], "{limit}");
    for path in ["/livez", "/readyz"] {
        let (status, text) = page(admin, path).expect("a page");
        let fact = text.lines().find(|line| line.starts_with("sandbox: ")).expect("a fact");
        assert_eq!(status, 200);
        let rest = fact.strip_prefix("sandbox: on (landlock abi ").expect(fact);
        assert!(
            rest.ends_with("), no file attributes, no new privileges, undumpable, no core files"),
            "{fact}"
        );
    }
    let (_, metrics) = page(admin, "/metrics").expect("a page");
    for fence in ["landlock", "no_attributes", "no_new_privileges", "undumpable", "no_core_files"] {
        let line = format!("bailiwick_sandbox{{fence=\"{fence}\"}} 1\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

#[test]
fn with_the_sandbox_required_records_are_put_and_read_on_both_engines() {
    for engine in ["sled", "fjall"] {
        let mut deployment = one(engine);
        configure(&deployment, "gateway", "require_sandbox = true");
        configure(&deployment, "shard-eu-fra", "require_sandbox = true");
        let runtime = Runtime::new().expect("a runtime");
        // From nothing: the folders are made before the fence is there.
        let home = deployment.root().join("eu-fra");
        deployment.shard("eu-fra").stop();
        fs::remove_dir_all(&home).expect("the shard's folders");
        init_shard(&deployment.root().join("shard-eu-fra.toml"));
        deployment.shard("eu-fra").restart();
        deployment.gateway().restart();
        deployment.wait_session("eu-fra", true);
        let writers = Writers::start(&runtime, &deployment.gateway_url(), 8);
        writers.wait_acked(50);
        // And from a store that is there, after a power cut.
        deployment.restart("eu-fra");
        writers.wait_acked(50);
        let acked = writers.stop(&runtime);
        assert!(acked.len() > 50, "{engine}: only {} records", acked.len());
        let url = deployment.gateway_url();
        runtime.block_on(async {
            let client = Client::connect(&url, PATIENT).await.expect("a gateway");
            for record in &acked {
                let read = get(&client, &record.subject, "eu-fra", &record.key).await;
                assert_eq!(read.expect("a record").body, record.body, "{engine}");
            }
        });
        for (name, pid, admin) in [
            ("gateway", deployment.gateway().pid(), deployment.gateway().admin()),
            ("eu-fra", deployment.shard("eu-fra").pid(), deployment.shard("eu-fra").admin()),
        ] {
            is_fenced(pid, admin);
            assert!(deployment.stderr(name).contains("the sandbox holds"), "{name}");
        }
        assert_eq!(deployment.gateway().stop(), 0);
        assert_eq!(deployment.shard("eu-fra").stop(), 0);
    }
}

// === a gateway, watched ===

#[test]
fn a_gateway_under_load_opens_no_file_for_writing_and_is_refused_when_it_tries() {
    let mut deployment = one("fjall");
    let config = configure(&deployment, "gateway", "require_sandbox = true");
    let admin = deployment.gateway().admin();
    assert_eq!(deployment.gateway().stop(), 0);
    let watched = Watched::start(&config, CALLS);
    wait_until("the gateway is ready", READY_MAX, || {
        page(admin, "/readyz").is_some_and(|(status, _)| status == 200)
    });
    deployment.wait_session("eu-fra", true);
    let runtime = Runtime::new().expect("a runtime");
    let writers = Writers::start(&runtime, &deployment.gateway_url(), 8);
    writers.wait_acked(200);
    let acked = writers.stop(&runtime);
    assert!(acked.len() > 50, "only {} records: that is no load", acked.len());
    let url = deployment.gateway_url();
    runtime.block_on(async {
        let once = Settings { attempts_max: 1, ..PATIENT };
        let client = Client::connect(&url, once).await.expect("a gateway");
        for record in acked.iter().take(100) {
            get(&client, &record.subject, "eu-fra", &record.key).await.expect("a record");
        }
    });
    let seen = watched.stop();
    check_never_wrote(&seen);
    // The watch itself can see: the same binary's files that were opened to read are there.
    assert!(seen.iter().any(|line| line.contains("gateway.toml") && line.contains("O_RDONLY")));
}

/// Callers that put and get over connections of their own, each anew for every record, until they
/// have stored so many.
async fn callers(url: &str, access: &Access, records: usize) {
    let each = (0..8).map(|caller| {
        let (url, access) = (url.to_owned(), access.clone());
        tokio::spawn(async move {
            let subject = format!("caller-{caller}");
            for n in 0..records / 8 {
                let client = Client::connect_with(&url, ONCE, access.clone()).await;
                let client = client.expect("a gateway");
                let key = format!("k{n}");
                let request = put(&subject, &key, key.as_bytes(), &evidence("DE"));
                client.put(&request).await.expect("a put");
                let record = get(&client, &subject, "eu-fra", &key).await.expect("a record");
                assert_eq!(record.body, key.as_bytes());
            }
        })
    });
    for caller in each.collect::<Vec<_>>() {
        caller.await.expect("no panic");
    }
}

#[test]
fn a_gateway_with_tls_and_tokens_opens_no_file_for_writing_when_its_certificates_change() {
    let options = Options { regions: vec!["eu-fra"], tls: true, ..Options::default() };
    let mut deployment = Deployment::start(&options);
    let config = configure(&deployment, "gateway", "require_sandbox = true");
    let admin = deployment.gateway().admin();
    assert_eq!(deployment.gateway().stop(), 0);
    let watched = Watched::start(&config, CALLS);
    wait_until("the gateway is ready", READY_MAX, || {
        page(admin, "/readyz").is_some_and(|(status, _)| status == 200)
    });
    deployment.wait_session("eu-fra", true);
    let secured = deployment.secured();
    let runtime = Runtime::new().expect("a runtime");
    let url = deployment.gateway_url();
    let access = secured.with_token(&secured.token(&json!({ "exp": now() + 3_600 })));
    runtime.block_on(callers(&url, &access, 80));

    // While they call: another certificate, another list, and another document of keys.
    let ends = || {
        let (_, text) = page(admin, "/metrics").expect("a page");
        let names = ["certificate_expires_seconds ", "listener_certificate_expires_seconds "];
        names.map(|name| {
            let name = format!("bailiwick_{name}");
            text.lines().find(|line| line.starts_with(&name)).expect("such a line").to_owned()
        })
    };
    let before = ends();
    secured.issue("eu-fra", &["--gateway", "gateway-1", "--days", "20"], "gateway-renewed");
    let (running, during) = (url.clone(), access.clone());
    let load = runtime.spawn(async move { callers(&running, &during, 160).await });
    secured.put_in_place("gateway-renewed", "gateway");
    wait_until("both certificates are read", READY_MAX, || {
        ends().iter().zip(&before).all(|(now, before)| now != before)
    });
    secured.revoke("callers", "backend");
    let jwks = deployment.root().join("tls/jwks.json");
    let text = fs::read_to_string(&jwks).expect("a text");
    let mut keys: serde_json::Value = serde_json::from_str(&text).expect("keys");
    let mut another = keys["keys"][0].clone();
    another["kid"] = json!("k2");
    keys["keys"].as_array_mut().expect("a list").push(another);
    replace(&jwks, keys.to_string().as_bytes());
    let signed_anew = secured.token_by("k2", &json!({}));
    wait_until("the new key is read", READY_MAX, || {
        runtime.block_on(async {
            let access = secured.with_token(&signed_anew);
            let client = Client::connect_with(&url, ONCE, access).await.expect("a gateway");
            client.put(&put("caller-0", "new", b"x", &evidence("DE"))).await.is_ok()
        })
    });
    runtime.block_on(load).expect("no panic");
    runtime.block_on(callers(&url, &access, 80));

    let seen = watched.stop();
    check_never_wrote(&seen);
    // All of it was read again in the traced time, from inside.
    let fenced = seen.iter().position(|line| line.contains("landlock_restrict_self("));
    let inside = seen.get(fenced.expect("a fence")..).expect("more");
    for name in ["tls/gateway/key.pem", "callers/revoked.pem", "tls/jwks.json"] {
        let read = |line: &&String| line.contains(name) && line.contains("O_RDONLY");
        assert!(inside.iter().filter(read).count() >= 2, "{name} was not read again");
    }
}

// === a shard, and starts that are refused ===

#[test]
fn a_shard_cannot_write_outside_of_its_folders() {
    let mut deployment = one("sled");
    let outside = deployment.root().join("outside");
    fs::create_dir(&outside).expect("a folder");
    assert_eq!(deployment.shard("eu-fra").stop(), 0);
    // The anchor leads outside: its folder is granted, what a link in it points at is not.
    let anchor = deployment.anchor_dir("eu-fra");
    let moved = outside.join("anchor");
    let named = |file: &fs::DirEntry| file.path().extension().is_some_and(|e| e == "checkpoint");
    let mut files = fs::read_dir(&anchor).expect("a folder").map(|file| file.expect("a file"));
    let file = files.find(named).expect("a checkpoint");
    fs::rename(file.path(), &moved).expect("a file can be moved");
    std::os::unix::fs::symlink(&moved, file.path()).expect("a link can be made");
    let config = deployment.root().join("shard-eu-fra.toml");
    let refused = run(&["shard", "--config", config.to_str().expect("text")]);
    assert_ne!(refused.code, 0, "{}", refused.stderr);
    let said = refused.stderr.to_lowercase();
    assert!(said.contains("permission denied"), "{}", refused.stderr);
    // With the file in its place, it goes on.
    fs::remove_file(file.path()).expect("a link can be removed");
    fs::rename(&moved, file.path()).expect("a file can be moved");
    deployment.restart("eu-fra");
    is_fenced(deployment.shard("eu-fra").pid(), deployment.shard("eu-fra").admin());
}

/// What a kernel without Landlock answers.
const NO_LANDLOCK: &str = "inject=landlock_create_ruleset:error=ENOSYS";

#[test]
fn without_landlock_a_server_that_requires_it_does_not_start_and_another_says_so() {
    let mut deployment = one("sled");
    assert_eq!(deployment.gateway().stop(), 0);
    assert_eq!(deployment.shard("eu-fra").stop(), 0);
    let own = [("gateway", "gateway"), ("shard", "shard-eu-fra")];
    for (command, name) in own {
        let config = configure(&deployment, name, "require_sandbox = true");
        let refused = Command::new("strace")
            .args(["-f", "-e", NO_LANDLOCK, "-o", "/dev/null", env!("CARGO_BIN_EXE_bailiwick")])
            .args([command, "--config"])
            .arg(&config)
            .output()
            .expect("strace is installed");
        let stderr = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(64), "{stderr}");
        assert!(stderr.contains("`require_sandbox` is true"), "{stderr}");
        assert!(stderr.contains("off (the kernel has no Landlock)"), "{stderr}");
    }
    let text = fs::read_to_string(deployment.root().join("gateway.toml")).expect("a text");
    let text = text.replace("require_sandbox = true", "require_sandbox = false");
    let config = deployment.root().join("gateway.toml");
    fs::write(&config, text).expect("a configuration can be written");
    let admin = deployment.gateway().admin();
    let watched = Watched::start(&config, NO_LANDLOCK);
    let mut ready = String::new();
    wait_until("the gateway answers", READY_MAX, || {
        page(admin, "/readyz").is_some_and(|(_, text)| {
            ready = text;
            ready.contains("sandbox: ")
        })
    });
    let fact = "sandbox: off (the kernel has no Landlock), no file attributes, no new privileges";
    assert!(ready.contains(fact), "{ready}");
    let (_, metrics) = page(admin, "/metrics").expect("a page");
    assert!(metrics.contains("bailiwick_sandbox{fence=\"landlock\"} 0\n"), "{metrics}");
    assert!(metrics.contains("bailiwick_sandbox{fence=\"undumpable\"} 1\n"), "{metrics}");
    watched.stop();
}

#[test]
fn a_word_that_is_no_yes_or_no_is_a_mistake() {
    let deployment = one("sled");
    for (name, command) in [("gateway", "gateway"), ("shard-eu-fra", "shard")] {
        let config = configure(&deployment, name, "require_sandbox = \"yes\"");
        let refused = run(&[command, "--config", config.to_str().expect("text")]);
        assert_eq!(refused.code, 64, "{}", refused.stderr);
        assert!(refused.stderr.contains("require_sandbox"), "{}", refused.stderr);
    }
}
