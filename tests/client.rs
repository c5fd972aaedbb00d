//! The commands that call a gateway, over TLS, with a certificate or a token, as an operator types
//! them.

#![expect(clippy::indexing_slicing, reason = "a test that goes astray may panic")]

#[expect(dead_code, reason = "each test file uses its own part")]
mod support;

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use support::process::{Finished, run};
use support::secure::CALLER;
use support::{Deployment, Options};

/// A deployment with TLS and one region, and what callers of it have.
struct Rig {
    deployment: Deployment,
    ca: PathBuf,
    token: PathBuf,
}

impl Rig {
    fn start() -> Self {
        let options = Options { regions: vec!["eu-fra"], tls: true, ..Options::default() };
        let deployment = Deployment::start(&options);
        let ca = deployment.root().join("tls/authorities.pem");
        let token = deployment.root().join("token");
        fs::write(&token, deployment.secured().token(&json!({}))).expect("a file");
        Self { deployment, ca, token }
    }

    /// `bailiwick record ARGUMENTS` with these options of the caller.
    fn record(&self, arguments: &[&str], caller: &[&str]) -> Finished {
        let url = self.deployment.gateway_url();
        let place = ["--gateway", &url, "--collection", "messages", "--key", "main", "--json"];
        run(&[&["record"], arguments, &place, caller].concat())
    }

    fn put(&self, subject: &str, caller: &[&str]) -> Finished {
        let put = ["put", "--subject", subject, "--body", "hello", "--evidence", "residence=DE"];
        self.record(&[&put[..], &["--create-subject"]].concat(), caller)
    }

    fn get(&self, subject: &str, caller: &[&str]) -> Finished {
        self.record(&["get", "--subject", subject, "--domicile", "eu-fra"], caller)
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("an answer in JSON")
}

#[test]
fn a_caller_is_known_by_its_token_or_its_certificate() {
    let rig = Rig::start();
    let (ca, token) = (rig.ca.to_str().expect("text"), rig.token.to_str().expect("text"));
    let folder = rig.deployment.secured().folder(CALLER);
    let file = |name: &str| folder.join(name).to_str().expect("text").to_owned();
    let (certificate, key) = (file("certificate.pem"), file("key.pem"));
    let by_token = ["--ca", ca, "--token-file", token];
    let by_certificate = ["--ca", ca, "--certificate", &certificate, "--key-file", &key];

    let put = rig.put("p-1", &by_token);
    assert_eq!(put.code, 0, "{put:?}");
    assert_eq!(parsed(&put.stdout)["domicile"], "eu-fra");
    let got = rig.get("p-1", &by_certificate);
    assert_eq!(got.code, 0, "{got:?}");
    assert_eq!(parsed(&got.stdout)["body_utf8"], "hello");

    // With an ingress listed, the placement is asked for first; no law minds this gateway.
    let listed = format!("ru-msk={}", rig.deployment.gateway_url());
    let put = rig.record(
        &["put", "--subject", "p-2", "--body", "hello", "--evidence", "residence=DE"],
        &[&by_token[..], &["--create-subject", "--ingress", &listed]].concat(),
    );
    assert_eq!(put.code, 0, "{put:?}");

    let path = rig.deployment.root().join("rows.jsonl");
    let row = json!({"id": "p-3", "collection": "messages",
                     "evidence": [{"kind": "residence", "value": "DE"}]});
    fs::write(&path, row.to_string()).expect("a file");
    let rows = path.to_str().expect("text");
    let url = rig.deployment.gateway_url();
    let import = ["import", "--gateway", &url, "--json", rows];
    let import = run(&[&import[..], &by_token].concat());
    assert_eq!(import.code, 0, "{import:?}");
    assert_eq!(parsed(&import.stdout)["placed"]["eu-fra"], 1);

    who_is_not_known_gets_nothing(&rig, ca, token);
}

/// What a caller is told who lacks something.
fn who_is_not_known_gets_nothing(rig: &Rig, ca: &str, token: &str) {
    let nobody = rig.get("p-1", &["--ca", ca]);
    assert_eq!(nobody.code, 1, "{nobody:?}");
    assert_eq!(parsed(&nobody.stderr)["error"]["reason"], "IDENTITY_MISSING");

    // The platform's authorities, and another authority: this is not the gateway that is meant.
    let other = rig.deployment.secured().authority("callers").join("authority.pem");
    let other = other.to_str().expect("text");
    let fake = rig.get("p-1", &["--ca", other, "--token-file", token]);
    assert_eq!(fake.code, 69, "{fake:?}");
    assert!(fake.stderr.contains("no TLS with the gateway"), "{fake:?}");

    let secret = "not.a.token";
    let bad = rig.deployment.root().join("bad-token");
    fs::write(&bad, secret).expect("a file");
    let bad = rig.get("p-1", &["--ca", ca, "--token-file", bad.to_str().expect("text")]);
    assert_eq!(bad.code, 1, "{bad:?}");
    assert_eq!(parsed(&bad.stderr)["error"]["reason"], "IDENTITY_INVALID");
    assert!(!bad.stderr.contains(secret) && !bad.stdout.contains(secret));

    let missing = rig.get("p-1", &["--ca", "nowhere.pem"]);
    assert_eq!(missing.code, 64, "{missing:?}");
    let missing = rig.get("p-1", &["--ca", ca, "--token-file", "nowhere"]);
    assert_eq!(missing.code, 64, "{missing:?}");
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_sent() {
    let get = ["record", "get", "--subject", "p", "--collection", "messages", "--key", "k"];
    let with = |more: &[&str]| run(&[&get[..], more].concat());
    let plain = with(&["--gateway", "http://192.0.2.1:7400"]);
    assert_eq!(plain.code, 64, "{plain:?}");
    assert!(plain.stderr.contains("plaintext"), "{plain:?}");
    assert_eq!(with(&["--certificate", "a.pem"]).code, 2);
    assert_eq!(with(&["--key-file", "a.pem"]).code, 2);
    let put = ["record", "put", "--subject", "p", "--collection", "messages", "--key", "k"];
    let listed = ["--body", "x", "--ingress"];
    assert_eq!(run(&[&put[..], &listed, &["nonsense"]].concat()).code, 2);
}
