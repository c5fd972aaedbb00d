//! A region whose shard keeps its records in PostgreSQL: used, killed, audited, and checked.

mod convert;
mod streams;
mod takeovers;

use std::fs;
use std::path::Path;

use crate::lists::{self, in_one_order};
use crate::support::load::{PATIENT, Writers, delete, evidence, get, put};
use crate::support::maps::text;
use crate::support::postgres::Server;
use crate::support::process::{Finished, run};
use crate::support::{Deployment, Options, secret};
use client::{Client, api};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
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

/// Lists, pages, counts and scans over two regions, each with a database of its own; one of them dies.
#[test]
fn records_of_two_regions_come_in_one_order() {
    let server = Server::start();
    for name in ["eu_fra", "ru_msk"] {
        server.database(name);
    }
    let database = Some(server.url("REGION"));
    in_one_order(&Options { engine: "postgres", database, ..lists::options() });
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
