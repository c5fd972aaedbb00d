//! The commands that call a gateway, over TLS, with a certificate or a token, as an operator types
//! them; and the SDK, where a law minds by which gateway a body comes in.

#![expect(clippy::indexing_slicing, reason = "a test that goes astray may panic")]

use std::fs;
use std::path::PathBuf;

use crate::support::load::{PATIENT, evidence, get, put};
use crate::support::process::{Finished, Server, free_port, run};
use crate::support::secure::CALLER;
use crate::support::{Deployment, Options, stored};
use client::{Access, Client, Error, Ingress, NotFollowed, Proof, api};
use serde_json::{Value, json};
use terms::{Detail, Reason};
use tokio::runtime::Runtime;

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
    assert_eq!(parsed(&put.stdout)["proof"], "receipt");
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

    a_retry_of_what_was_written_over_is_not_proven(&rig, &by_token);
    who_is_not_known_gets_nothing(&rig, ca, token);
}

/// What is said of a write whose opening is gone.
fn a_retry_of_what_was_written_over_is_not_proven(rig: &Rig, caller: &[&str]) {
    let put = |more: &[&str]| {
        let put = ["put", "--subject", "p-1", "--body", "again", "--domicile", "eu-fra"];
        let done = rig.record(&[&put[..], more].concat(), caller);
        assert_eq!(done.code, 0, "{done:?}");
        let done = parsed(&done.stdout);
        (done["proof"].clone(), done["replayed"].clone(), done["version"].clone())
    };
    let kept = ["--request-id", "7f5cd1b8-3f6a-4b62-9d1f-0c5f8a1f5a11"];
    assert_eq!(put(&kept), (json!("receipt"), json!(false), json!(2)));
    assert_eq!(put(&kept), (json!("receipt"), json!(true), json!(2)));
    assert_eq!(put(&[]), (json!("receipt"), json!(false), json!(3)));
    assert_eq!(put(&kept), (json!("unproven"), json!(true), json!(2)));
    assert_eq!(put(&["--validate-only"]), (Value::Null, json!(false), json!(4)));
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

/// A gateway inside the territory of ru-msk, beside the deployment's own one in eu-fra.
struct Home {
    url: String,
    _server: Server,
}

impl Home {
    /// Starts it as an operator would: with a certificate of the region's authority, and its
    /// address in the region's annex, which is read when the others start again.
    fn start(deployment: &mut Deployment) -> Self {
        let (port, admin) = (free_port(), free_port());
        let url = format!("https://127.0.0.1:{port}");
        let (root, abroad) = (deployment.root().to_path_buf(), deployment.gateway_url());
        let change = |from: &str, to: &str, changes: &[(&str, &str)]| {
            let mut text = fs::read_to_string(root.join(from)).expect("a file");
            for (old, new) in changes {
                assert!(text.contains(old), "{from}: {old}");
                text = text.replace(old, new);
            }
            fs::write(root.join(to), text).expect("a file");
        };
        let region = "region = \"ru-msk\"\n";
        let named = format!("{region}ingress = \"{url}\"\n");
        change("annex-ru-msk.toml", "annex-ru-msk.toml", &[(region, &named)]);
        deployment.secured().issue("ru-msk", &["--gateway", "gateway-2"], "gateway-2");
        let of = |port| format!("\"127.0.0.1:{port}\"");
        let old_port = abroad.rsplit(':').next().expect("a port");
        let old_admin = deployment.gateway().admin();
        let changes = [
            ("\"gateway-1\"", "\"gateway-2\""),
            (&of(old_port.to_owned()), &of(port.to_string())),
            (&of(old_admin.to_string()), &of(admin.to_string())),
            ("region = \"eu-fra\"", "region = \"ru-msk\""),
            ("tls/gateway/", "tls/gateway-2/"),
        ];
        change("gateway.toml", "gateway-2.toml", &changes);
        deployment.shard("ru-msk").restart();
        deployment.gateway().restart();
        let mut server = Server::new("gateway", "gateway-2", &root.join("gateway-2.toml"), admin);
        server.start();
        server.wait_ready();
        ["eu-fra", "ru-msk"].iter().for_each(|region| deployment.wait_session(region, true));
        Self { url, _server: server }
    }

    /// Lists it, with nobody's authority but its region's.
    fn listed(&self, deployment: &Deployment) -> Vec<Ingress> {
        let authority = deployment.secured().authority("ru-msk").join("authority.pem");
        let authorities = Some(fs::read(authority).expect("an authority"));
        vec![Ingress { region: "ru-msk".to_owned(), url: self.url.clone(), authorities }]
    }
}

/// The records that a region's log says were placed. Ends the shard.
fn placed(deployment: &mut Deployment, region: &str) -> usize {
    assert_eq!(deployment.shard(region).stop(), 0);
    let entries = stored::entries(&deployment.data_dir(region), engine::Kind::Sled, 1);
    let kind = |entry: &Vec<u8>| ledger::entry::Entry::decode(entry).expect("an entry").kind;
    entries.iter().filter(|entry| kind(entry) == ledger::entry::Kind::Place).count()
}

#[test]
fn a_body_goes_to_the_gateway_inside_the_territory_that_a_law_wants() {
    let mut options =
        Options { regions: vec!["eu-fra", "ru-msk"], tls: true, ..Options::default() };
    let law = "id = \"ru-152fz\"\n";
    assert!(options.map.contains(law));
    options.map = options.map.replace(law, &format!("{law}ingress = \"in-territory\"\n"));
    let mut deployment = Deployment::start(&options);
    let home = Home::start(&mut deployment);
    let secured = deployment.secured();
    let access = secured.with_token(&secured.token(&json!({"territory": "RU"})));
    let listing = Access { ingresses: home.listed(&deployment), ..access.clone() };
    let url = deployment.gateway_url();
    let connect = async |url: &str, access: &Access| {
        Client::connect_with(url, PATIENT, access.clone()).await.expect("a gateway").first_time()
    };
    Runtime::new().expect("a runtime").block_on(async {
        // The gateway abroad says where the body belongs when it is asked,
        let abroad = connect(&url, &access).await;
        let question = api::ResolvePlacementRequest {
            collection: "profiles".to_owned(),
            evidence: evidence("RU"),
            ..Default::default()
        };
        let ruling = abroad.resolve(&question).await.expect("a ruling");
        let Some(api::ruling::Outcome::Placement(placement)) = ruling.outcome else {
            panic!("it is placed")
        };
        assert_eq!((placement.region.as_str(), placement.ingress_required), ("ru-msk", true));
        assert_eq!(placement.ingress, home.url);
        // and when it gets it all the same.
        let direct = put("anna", "main", b"direct", &evidence("RU"));
        let error = abroad.put(&direct).await.err().expect("it is refused");
        assert!(
            matches!(&error, Error::NotFollowed { why: NotFollowed::Unlisted, .. }),
            "{error:?}"
        );
        let refused = error.refused().expect("a reason");
        assert_eq!(refused.known(), Some(Reason::WrongIngress));
        assert_eq!(refused.detail(Detail::Region), Some("ru-msk"));
        assert_eq!(refused.detail(Detail::Ingress), Some(home.url.as_str()));
        // On a stream, too, which has one gateway.
        let (puts, mut answers) = abroad.stream_put(1).await.expect("a stream");
        puts.send(put("anna", "main", b"streamed", &evidence("RU"))).await.expect("it is sent");
        let answer = answers.next().await.expect("an answer").expect("an answer");
        let error = answer.outcome.err().expect("it is refused");
        assert!(matches!(&error, Error::NotFollowed { why: NotFollowed::Stream, .. }), "{error:?}");
        assert_eq!(error.refused().and_then(|no| no.ingress()), Some(home.url.as_str()));

        // Whoever lists the gateway at home has the body taken there.
        let following = connect(&url, &listing).await;
        let request = put("anna", "main", b"at home", &evidence("RU"));
        let done = following.put_resolved(&request).await.expect("it is stored");
        assert!(matches!(done.proof, Proof::Receipt(_)), "{:?}", done.proof);
        assert_eq!((done.version, done.replayed), (1, false));
        let receipt = done.answer.receipt.expect("a receipt");
        assert!(receipt.origin.starts_with("sample/ru-msk/s1/"), "{}", receipt.origin);
        let inside = connect(&home.url, &access).await;
        let found = get(&inside, "anna", "ru-msk", "main").await.expect("it is there");
        assert_eq!((&*found.body, found.version), (&b"at home"[..], 1));
    });
    assert_eq!((placed(&mut deployment, "ru-msk"), placed(&mut deployment, "eu-fra")), (1, 0));
}
