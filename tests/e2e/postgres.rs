//! A region whose shard keeps its records in PostgreSQL: used, killed, audited, and checked.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::load::{PATIENT, Writers, delete, evidence, get, put};
use crate::support::maps::text;
use crate::support::postgres::Server;
use crate::support::process::{
    Finished, Server as Process, free_port, get as page, run, wait_until,
};
use crate::support::search::copy;
use crate::support::{Deployment, Options, secret};
use client::{Client, api};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustix::process::Signal;
use tokio::runtime::Runtime;

const REGION: &str = "eu-fra";

fn options(server: &Server) -> Options {
    let database = Some(server.database("people"));
    Options { regions: vec![REGION], engine: "postgres", database, ..Options::default() }
}

#[track_caller]
fn well(done: &Finished) {
    assert_eq!(done.code, 0, "{done:?}");
}

/// Mirrors the log of the shard that runs, verifies it, and compares it with the store.
fn audit(deployment: &Deployment, folder: &Path) {
    deployment.wait_signed(REGION);
    let url = format!("http://127.0.0.1:{}", deployment.audit_port(REGION));
    well(&run(&["audit", "mirror", "--shard", &url, text(folder)]));
    well(&run(&["audit", "verify", text(folder)]));
    well(&run(&["audit", "reconcile", "--shard", &url, text(folder)]));
}

fn doctor(deployment: &Deployment) -> Finished {
    let config = deployment.root().join(format!("shard-{REGION}.toml"));
    run(&["doctor", "--config", text(&config)])
}

#[test]
fn records_are_put_read_listed_deleted_and_audited() {
    let server = Server::start();
    let mut deployment = Deployment::start(&options(&server));
    let runtime = Runtime::new().expect("a runtime");
    let url = deployment.gateway_url();
    let client = runtime.block_on(Client::connect(&url, PATIENT)).expect("a gateway");
    let large = vec![7; 300_000];
    let keys = async |subject: &str| {
        let request = api::ListRecordsRequest {
            collection: "profiles".to_owned(),
            subject: Some(api::SubjectRef { id: subject.to_owned(), domicile: REGION.to_owned() }),
            ..Default::default()
        };
        let page = client.list_page(&request).await.expect("a page");
        let keys = page.records.iter().map(|record| record.key.clone());
        // Their order is that of their rows, which are keyed hashes.
        let mut keys = keys.collect::<Vec<_>>();
        keys.sort();
        keys
    };
    runtime.block_on(async {
        for (key, body) in [
            ("main", b"a body of this test".as_slice()),
            ("photo", &*large),
            ("third", b"x".as_slice()),
        ] {
            client
                .put(&put("person-of-this-test", key, body, &evidence("DE")))
                .await
                .expect("it is stored");
        }
        let photo = get(&client, "person-of-this-test", REGION, "photo").await.expect("a record");
        assert!(photo.body == large);
        client
            .delete(&delete("person-of-this-test", REGION, "third"))
            .await
            .expect("it is deleted");
        assert_eq!(keys("person-of-this-test").await, ["main", "photo"]);
    });
    deployment.restart(REGION);
    runtime.block_on(async {
        let main = get(&client, "person-of-this-test", REGION, "main").await.expect("a record");
        assert_eq!(main.body, b"a body of this test".as_slice());
        let gone = get(&client, "person-of-this-test", REGION, "third").await.err();
        assert_eq!(gone.as_deref(), Some("RECORD_NOT_FOUND"));
        assert_eq!(keys("person-of-this-test").await, ["main", "photo"]);
    });
    audit(&deployment, &deployment.root().join("mirror"));
    let said = doctor(&deployment);
    assert!(said.stdout.contains("writes to it"), "{said:?}");
    assert_eq!(deployment.shard(REGION).stop(), 0);
    let said = doctor(&deployment);
    assert!(said.stdout.contains("no process writes to it"), "{said:?}");
    assert!(said.stdout.contains("it passes every check of a start"), "{said:?}");
    // Nothing of a person is in the database as it was given.
    let dump = server.sql(
        "people",
        "select encode(key, 'escape') || encode(value, 'escape') from bailiwick.rows",
    );
    assert!(!dump.contains("of this test") && !dump.contains("of-this-test"));
}

#[test]
fn a_shard_and_a_server_that_are_killed_under_load_lose_nothing() {
    let mut server = Server::start();
    let mut deployment = Deployment::start(&options(&server));
    let runtime = Runtime::new().expect("a runtime");
    let writers = Writers::start(&runtime, &deployment.gateway_url(), 16);
    for round in 0..6 {
        writers.wait_acked(100);
        if round % 2 == 0 {
            deployment.restart(REGION);
        } else {
            server.kill();
            server.run();
        }
    }
    writers.wait_acked(100);
    let acked = writers.stop(&runtime);
    let url = deployment.gateway_url();
    runtime.block_on(async {
        let client = Client::connect(&url, PATIENT).await.expect("a gateway");
        for write in &acked {
            let record = get(&client, &write.subject, REGION, &write.key).await;
            assert!(record.expect("an acknowledged record").body == write.body);
        }
    });
    let folder = deployment.root().join("mirror");
    audit(&deployment, &folder);
    let log = folder.join(format!("{REGION}.s1.1"));
    let entries = fs::read_dir(log.join("tile")).expect("tiles").count();
    assert!(entries > 0);
    assert!(acked.len() > 600, "{} were acknowledged", acked.len());
    assert_eq!(deployment.shard(REGION).stop(), 0);
}

/// What is wrong with a configuration is said before anything is opened.
#[test]
fn a_configuration_of_a_database_is_checked() {
    let server = Server::start();
    let deployment = Deployment::configure(&options(&server));
    let config = deployment.root().join(format!("shard-{REGION}.toml"));
    let before = fs::read_to_string(&config).expect("a configuration");
    let said = |from: &str, to: &str| {
        assert!(before.contains(from), "{before}");
        fs::write(&config, before.replace(from, to)).expect("it can be written");
        let done = run(&["shard", "show-key", "--config", text(&config)]);
        (done.code, done.stderr)
    };
    for (from, to, code) in [
        ("postgresql://bailiwick@", "postgresql://bailiwick:secret@", "VALUE_INVALID"),
        ("@127.0.0.1", "@192.0.2.7", "PLAINTEXT_REFUSED"),
        ("[postgres]", "data = \"x\"\n[postgres]", "KEY_UNUSED"),
        ("engine = \"postgres\"", "engine = \"fjall\"\ndata = \"x\"", "KEY_UNUSED"),
        ("\"database-password\"", "\"nothing-here\"", "FILE_UNREADABLE"),
    ] {
        let (exit, stderr) = said(from, to);
        assert!(exit == 64 && stderr.contains(code), "{to}: {exit} {stderr}");
        assert!(!stderr.contains("secret"), "{stderr}");
    }
    let (exit, _) = said("plaintext = true\n[postgres]", "plaintext = true\n[postgres]");
    assert_eq!(exit, 0);
}

/// Takeovers in one run; `TAKEOVERS` says otherwise.
const TAKEOVERS: usize = 4;
/// Time from the end of a writer until the next one is ready. On a quiet machine it is below three
/// seconds; tests share theirs.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(8);

/// Another process of the same shard, on a host of its own: its keys and its last checkpoint are
/// copies. The annex names both.
fn second(deployment: &Deployment) -> Process {
    let root = deployment.root();
    let home = root.join("second");
    copy(&root.join(REGION), &home);
    for folder in ["anchor", "keys"] {
        use std::os::unix::fs::PermissionsExt as _;
        let closed = fs::Permissions::from_mode(0o700);
        fs::set_permissions(home.join(folder), closed).expect("chmod");
    }
    let (port, admin, audit) = (free_port(), free_port(), free_port());
    let annex = root.join(format!("annex-{REGION}.toml"));
    let text = fs::read_to_string(&annex).expect("an annex");
    let standbys = format!("standbys = [\"http://127.0.0.1:{port}\"]\naudit = ");
    fs::write(&annex, text.replace("audit = ", &standbys)).expect("it can be written");
    let first = fs::read_to_string(root.join(format!("shard-{REGION}.toml"))).expect("a file");
    let lines = first.lines().map(|line| match line.split_once(" = ") {
        Some(("listen", _)) => format!("listen = \"127.0.0.1:{port}\""),
        Some(("admin_listen", _)) => format!("admin_listen = \"127.0.0.1:{admin}\""),
        Some(("audit_listen", _)) => format!("audit_listen = \"127.0.0.1:{audit}\""),
        Some((key @ ("anchor" | "keys"), _)) => format!("{key} = \"{}/{key}\"", home.display()),
        _ => line.to_owned(),
    });
    let config = root.join("shard-second.toml");
    fs::write(&config, lines.collect::<Vec<_>>().join("\n")).expect("it can be written");
    Process::new("shard", "second", &config, admin)
}

fn is_ready(process: &Process) -> bool {
    page(process.admin(), "/readyz").is_some_and(|(status, _)| status == 200)
}

/// Starts a process that must wait, and waits until it does.
fn start_waiting(process: &mut Process) {
    process.start();
    let waits = |(status, text): (u16, String)| status != 200 && text.contains("waits for");
    wait_until("it waits", Duration::from_secs(30), || {
        page(process.admin(), "/readyz").is_some_and(waits)
    });
    assert!(page(process.admin(), "/livez").is_some_and(|(status, _)| status == 200));
}

/// The writer is killed or stopped under load, the other takes over and the gateway follows; one
/// that is woken does nothing and ends. No write is lost, none is there twice, and every term has
/// one writer.
#[test]
#[expect(clippy::disallowed_methods, reason = "a switch of this test, and time between processes")]
fn another_process_takes_over_from_one_that_is_killed_or_stopped() {
    let rounds = std::env::var("TAKEOVERS").ok().and_then(|text| text.parse().ok());
    let rounds: usize = rounds.unwrap_or(TAKEOVERS);
    let server = Server::start();
    let mut deployment = Deployment::configure(&options(&server));
    let mut other = second(&deployment);
    deployment.serve(&[REGION]);
    start_waiting(&mut other);
    let runtime = Runtime::new().expect("a runtime");
    let writers = Writers::start(&runtime, &deployment.gateway_url(), 16);
    let mut took = Vec::new();
    for round in 0..rounds {
        writers.wait_acked(50);
        let writer = deployment.shard(REGION);
        let began = Instant::now();
        let stopped = round % 4 >= 2;
        if stopped {
            writer.signal(Signal::STOP)
        } else {
            writer.kill()
        }
        wait_until("the other has taken over", TAKEN_OVER_WITHIN, || is_ready(&other));
        took.push(began.elapsed());
        writers.wait_acked(50);
        if stopped {
            writer.signal(Signal::CONT);
            assert_eq!(writer.wait_end(), 75, "a writer that was replaced ends");
        }
        // The next round ends the one that writes now.
        std::mem::swap(writer, &mut other);
        start_waiting(&mut other);
    }
    let slowest = took.iter().max().copied().unwrap_or_default();
    report(&took, slowest);
    let acked = writers.stop(&runtime);
    let config = deployment.root().join(format!("shard-{REGION}.toml"));
    let status = run(&["shard", "status", "--config", text(&config), "--json"]);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).expect("JSON");
    assert_eq!(status["state"], "writes");
    // One by `shard init`, one by the first start, and one by each takeover.
    assert!(status["term"].as_u64().expect("a number") >= rounds as u64 + 2);
    other.kill();
    let client = runtime.block_on(Client::connect(&deployment.gateway_url(), PATIENT));
    let client = client.expect("a gateway");
    runtime.block_on(async {
        for write in &acked {
            let record = get(&client, &write.subject, REGION, &write.key).await;
            assert!(record.expect("an acknowledged record").body == write.body);
        }
    });
    if rounds.is_multiple_of(2) {
        audit(&deployment, &deployment.root().join("mirror"));
    }
    assert!(acked.len() >= 100 * rounds, "{} were acknowledged", acked.len());
}

#[expect(clippy::print_stdout, reason = "the long run shows it")]
fn report(took: &[Duration], slowest: Duration) {
    let sum: Duration = took.iter().sum();
    let count = u32::try_from(took.len().max(1)).expect("few");
    println!("{} takeovers: {:?} on average, {slowest:?} at the most", took.len(), sum / count);
}

/// From engine to engine and back: the same rows, the same root, the same records.
#[test]
fn a_store_is_converted_through_all_engines_and_back() {
    let server = Server::start();
    let mut deployment =
        Deployment::start(&Options { regions: vec![REGION], ..Options::default() });
    let runtime = Runtime::new().expect("a runtime");
    let writers = Writers::start(&runtime, &deployment.gateway_url(), 8);
    writers.wait_acked(300);
    let acked = writers.stop(&runtime);
    assert_eq!(deployment.shard(REGION).stop(), 0);
    let root = deployment.root().to_path_buf();
    let config = root.join(format!("shard-{REGION}.toml"));
    let first = fs::read_to_string(&config).expect("a configuration");
    let kept = first.lines().filter(|line| {
        !["engine", "data", "cache_mb"].iter().any(|key| line.starts_with(&format!("{key} = ")))
    });
    let kept = kept.collect::<Vec<_>>().join("\n");
    let url = server.database("people");
    let stores = [
        format!("engine = \"fjall\"\ndata = \"{}/fjall\"\n", root.display()),
        format!(
            "engine = \"postgres\"\n[postgres]\nurl = \"{url}\"\npassword_file = \
             \"database-password\"\nplaintext = true\n"
        ),
        format!("engine = \"sled\"\ndata = \"{}/sled\"\n", root.display()),
    ];
    let mut from = config.clone();
    let mut said = Vec::new();
    for (n, store) in stores.iter().enumerate() {
        let to = root.join(format!("to-{n}.toml"));
        fs::write(&to, format!("{kept}\n{store}")).expect("it can be written");
        let done = run(&["shard", "convert", "--config", text(&from), "--to", text(&to)]);
        well(&done);
        let (_, sums) = done.stdout.split_once(" is a copy: ").expect("it says so");
        said.push(sums.split('\n').next().expect("a line").to_owned());
        let again = run(&["shard", "convert", "--config", text(&from), "--to", text(&to)]);
        assert_ne!(again.code, 0, "there is a store already: {again:?}");
        from = to;
    }
    assert!(said.iter().all(|sums| *sums == said[0]), "{said:?}");
    fs::copy(&from, &config).expect("it can be copied");
    deployment.restart(REGION);
    let client = runtime.block_on(Client::connect(&deployment.gateway_url(), PATIENT));
    let client = client.expect("a gateway");
    runtime.block_on(async {
        for write in &acked {
            let record = get(&client, &write.subject, REGION, &write.key).await;
            assert!(record.expect("an acknowledged record").body == write.body);
        }
    });
    audit(&deployment, &root.join("mirror"));
}

/// An authority of this test, and its certificate.
fn authority() -> (Issuer<'static, KeyPair>, String) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).expect("a certificate").pem();
    (Issuer::new(params, key), pem)
}

/// A certificate and its key, as files that their owner alone may read.
fn issue(issuer: &Issuer<'static, KeyPair>, name: &str, folder: &Path) -> [String; 2] {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, name);
    let certificate = params.signed_by(&key, issuer).expect("a certificate");
    [("pem", certificate.pem()), ("key", key.serialize_pem())].map(|(kind, pem)| {
        let path = folder.join(format!("{name}.{kind}"));
        secret(&path, &pem);
        text(&path).to_owned()
    })
}

/// The database is reached by TLS: its certificate is verified, and ours is shown.
#[test]
fn a_database_is_reached_by_tls() {
    let server = Server::start();
    let deployment = Deployment::configure(&options(&server));
    let root = deployment.root();
    let (issuer, authorities) = authority();
    let (_, others) = authority();
    for (name, pem) in [("right.pem", &authorities), ("wrong.pem", &others)] {
        fs::write(root.join(name), pem).expect("it can be written");
    }
    let [certificate, key] = issue(&issuer, "server", &server.data());
    fs::write(server.data().join("authorities.pem"), &authorities).expect("it can be written");
    [&certificate, &key].into_iter().for_each(|path| server.own(Path::new(path)));
    server.own(&server.data().join("authorities.pem"));
    // The owner of the database needs TLS and a certificate; the superuser of this test does not.
    let rules =
        "hostssl all bailiwick 127.0.0.1/32 cert\nhost all postgres 127.0.0.1/32 scram-sha-256\n";
    fs::write(server.data().join("pg_hba.conf"), rules).expect("it can be written");
    for (setting, value) in [
        ("ssl", "on"),
        ("ssl_cert_file", &*certificate),
        ("ssl_key_file", &*key),
        ("ssl_ca_file", "authorities.pem"),
    ] {
        server.sql("postgres", &format!("alter system set {setting} = '{value}'"));
    }
    server.reload();
    issue(&issuer, "bailiwick", root);
    let before = fs::read_to_string(root.join(format!("shard-{REGION}.toml"))).expect("a file");
    let (before, _) = before.split_once("[postgres]").expect("a table");
    let secured = |authorities: &str, more: &str| {
        let url = server.url("people").replace("127.0.0.1", "localhost");
        let config = root.join("secured.toml");
        let table = format!("[postgres]\nurl = \"{url}\"\n{authorities}{more}");
        fs::write(&config, format!("{before}{table}")).expect("it can be written");
        run(&["shard", "status", "--config", text(&config)])
    };
    let own = "certificate = \"bailiwick.pem\"\nkey = \"bailiwick.key\"\n";
    let done = secured("authorities = \"right.pem\"\n", own);
    assert!(done.code == 0 && done.stdout.contains("has ended"), "{done:?}");
    let done = secured("authorities = \"wrong.pem\"\n", own);
    assert!(done.code != 0 && done.stderr.contains("08006"), "{done:?}");
    let done = secured("authorities = \"right.pem\"\n", "");
    assert!(done.code != 0 && done.stderr.contains("SQLSTATE 28"), "{done:?}");
    let done = secured("plaintext = true\n", "");
    assert!(done.code != 0 && done.stderr.contains("SQLSTATE 28"), "{done:?}");
}
