//! Servers as their operators meet them: pages, drains, signals, folders that are not theirs, and
//! a store that is lost.

use std::fs;
use std::time::Duration;

use crate::support::process::{Server, get, run, wait_until};
use crate::support::{Deployment, Options};
use rustix::process::Signal;

/// Time in which what is waited for must come about.
const WAIT_MAX: Duration = Duration::from_secs(60);

fn one(engine: &'static str) -> Deployment {
    Deployment::start(&Options { regions: vec!["eu-fra"], engine, ..Options::default() })
}

fn put(deployment: &Deployment, key: &str) -> crate::support::process::Finished {
    run(&[
        "record",
        "put",
        "--gateway",
        &deployment.gateway_url(),
        "--subject",
        "u-1",
        "--collection",
        "profiles",
        "--key",
        key,
        "--body",
        "x",
        "--evidence",
        "residence=DE",
        "--create-subject",
        "--deadline-ms",
        "60000",
    ])
}

#[test]
fn both_servers_have_pages_say_that_they_are_plaintext_and_drain() {
    let mut deployment = one("sled");
    assert_eq!(put(&deployment, "main").code, 0);
    for (name, admin) in
        [("gateway", deployment.gateway().admin()), ("eu-fra", deployment.shard("eu-fra").admin())]
    {
        for path in ["/livez", "/readyz", "/metrics"] {
            let (status, page) = get(admin, path).expect("a page");
            assert_eq!(status, 200, "{name} {path}: {page}");
        }
        let (_, page) = get(admin, "/readyz").expect("a page");
        assert!(page.contains("tls: off") && page.contains("sandbox: on"), "{name}: {page}");
        let (_, page) = get(admin, "/metrics").expect("a page");
        assert!(page.contains("bailiwick_") && page.ends_with("# EOF\n"), "{name}: {page}");
        let stderr = deployment.stderr(name);
        assert!(stderr.contains("plaintext"), "{name}: {stderr}");
        for line in stderr.lines() {
            assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{name}: {line}");
        }
    }
    // The shard while a session is open, and the gateway while its shard is away.
    assert_eq!(deployment.shard("eu-fra").stop(), 0);
    assert_eq!(deployment.gateway().stop(), 0);
    assert!(deployment.stderr("eu-fra").contains("drained"));
    assert!(deployment.stderr("gateway").contains("drained"));
}

#[test]
fn a_folder_has_one_shard_and_only_its_own() {
    for engine in ["sled", "fjall"] {
        let mut deployment = one(engine);
        let config = deployment.root().join("shard-eu-fra.toml");
        // It waits a while for the other to end.
        let second = run(&["shard", "--config", config.to_str().expect("text")]);
        assert_eq!(second.code, 69, "{}", second.stderr);
        assert!(second.stderr.contains("held by another process"), "{}", second.stderr);
        assert_eq!(deployment.shard("eu-fra").stop(), 0);
        // The shard of another region, with folders of its own but for the store.
        let text = fs::read_to_string(&config).expect("a configuration");
        let text = text
            .replace("region = \"eu-fra\"", "region = \"ru-msk\"")
            .replace("annex-eu-fra", "annex-ru-msk")
            .replace("/eu-fra/anchor", "/other/anchor")
            .replace("/eu-fra/keys", "/other/keys");
        let other = deployment.root().join("other.toml");
        fs::write(&other, text).expect("a configuration can be written");
        let foreign = run(&["shard", "--config", other.to_str().expect("text")]);
        assert_eq!(foreign.code, 65, "{}", foreign.stderr);
        assert!(foreign.stderr.contains("ru-msk"), "{}", foreign.stderr);
        // Nothing was done to it.
        deployment.restart("eu-fra");
        assert_eq!(put(&deployment, "main").code, 0);
    }
}

#[test]
fn a_lost_store_is_refused_until_somebody_accepts_the_loss() {
    let mut deployment = one("sled");
    assert_eq!(put(&deployment, "main").code, 0);
    deployment.shard("eu-fra").stop();
    fs::remove_dir_all(deployment.data_dir("eu-fra")).expect("a folder");
    let config = deployment.root().join("shard-eu-fra.toml");
    let config = config.to_str().expect("text");
    let refused = run(&["shard", "--config", config]);
    assert_eq!(refused.code, 65, "{}", refused.stderr);
    assert!(refused.stderr.contains("shard recover --accept-loss"), "{}", refused.stderr);
    // Not without the words.
    assert_eq!(run(&["shard", "recover", "--config", config]).code, 2);
    let recovered = run(&["shard", "recover", "--accept-loss", "--config", config]);
    assert_eq!(recovered.code, 0, "{}", recovered.stderr);
    assert!(recovered.stdout.contains("sample/eu-fra/s1/1 ends"), "{}", recovered.stdout);
    assert!(recovered.stdout.contains("sample/eu-fra/s1/2 begins"), "{}", recovered.stdout);
    deployment.restart("eu-fra");
    let put = put(&deployment, "main");
    assert_eq!(put.code, 0, "{}", put.stderr);
    assert!(put.stdout.contains("sample/eu-fra/s1/2 entry"), "{}", put.stdout);
}

#[test]
fn a_region_that_is_down_is_said_so_and_comes_back() {
    let mut deployment = one("fjall");
    deployment.shard("eu-fra").kill();
    deployment.wait_session("eu-fra", false);
    let away = put(&deployment, "main");
    assert_eq!(away.code, 1, "{}", away.stderr);
    assert!(away.stderr.starts_with("REGION_UNAVAILABLE"), "{}", away.stderr);
    deployment.restart("eu-fra");
    assert_eq!(put(&deployment, "main").code, 0);
    deployment.gateway().signal(Signal::INT);
    assert_eq!(deployment.gateway().wait_end(), 0);
}

#[test]
fn a_second_signal_does_not_wait() {
    let mut deployment = one("sled");
    assert_eq!(put(&deployment, "main").code, 0);
    // A shard that says nothing more keeps a call in flight, and with it the drain.
    deployment.shard("eu-fra").signal(Signal::STOP);
    let url = deployment.gateway_url();
    let arguments = ["record", "get", "--gateway", &url, "--subject", "u-1", "--domicile"];
    let more = ["eu-fra", "--collection", "profiles", "--key", "main", "--deadline-ms", "60000"];
    let arguments = [&arguments[..], &more].concat();
    let mut call = Server::of(&arguments, &deployment.root().join("call"));
    call.start();
    let admin = deployment.gateway().admin();
    let page = |path: &str| get(admin, path).expect("a page");
    wait_until("a call is in flight", WAIT_MAX, || {
        page("/metrics").1.contains("bailiwick_calls_in_flight 1\n")
    });
    deployment.gateway().signal(Signal::TERM);
    wait_until("it drains", WAIT_MAX, || page("/readyz").0 == 503);
    assert!(deployment.gateway().runs(), "it did not wait for the call");
    deployment.gateway().signal(Signal::TERM);
    assert_eq!(deployment.gateway().wait_end(), 130);
    assert!(deployment.stderr("gateway").contains("second signal"));
}

#[test]
fn a_running_gateway_reads_its_ip_database_again_and_keeps_it_when_the_new_one_is_no_good() {
    let mut deployment = one("sled");
    let database = deployment.root().join("addresses.mmdb");
    let good =
        fs::read(crate::support::file("tests/evidence/ip-country.mmdb")).expect("a database");
    fs::write(&database, &good).expect("a file");
    let config = deployment.root().join("gateway.toml");
    let text = fs::read_to_string(&config).expect("a configuration");
    let line = text.lines().find(|line| line.starts_with("geoip")).expect("it has a database");
    fs::write(&config, text.replace(line, "geoip = \"addresses.mmdb\"")).expect("a file");
    deployment.gateway().restart();
    deployment.gateway().wait_ready();
    let admin = deployment.gateway().admin();
    let says = |what: &str| {
        wait_until(what, WAIT_MAX, || {
            get(admin, "/readyz").is_some_and(|(_, page)| page.contains(what))
        });
    };
    let placed = |region: &str| {
        let finished = run(&[
            "record",
            "put",
            "--gateway",
            &deployment.gateway_url(),
            "--subject",
            region,
            "--collection",
            "profiles",
            "--key",
            "main",
            "--body",
            "x",
            "--evidence",
            "ip=2a01:7a7:2:335c:5eda:92d8:64ac:5db9",
            "--create-subject",
            "--validate-only",
            "--deadline-ms",
            "60000",
        ]);
        assert!(
            finished.stdout.contains(region) || finished.stderr.contains(region),
            "{finished:?}"
        );
    };
    says("ip_database: Bailiwick-Test-Country/");
    placed("eu-fra");
    let edited = |from: &[u8], to: &[u8]| {
        let at = good.windows(from.len()).position(|found| found == from).expect("it is there");
        let mut edited = good.clone();
        edited.splice(at..at + from.len(), to.iter().copied());
        edited
    };
    fs::write(&database, edited(b"Gcountry", b"Gxountry")).expect("a file");
    says("ip_database: the file cannot be used");
    placed("eu-fra");
    fs::write(&database, edited(b"Bailiwick-Test-Country", b"Bailiwick-Next-Country"))
        .expect("a file");
    says("ip_database: Bailiwick-Next-Country/");
    placed("eu-fra");
    assert!(deployment.stderr("gateway").contains("of another kind"));
}
