//! The keys of an issuer of tokens change while a gateway runs: in a file, and at an address. What
//! is refused for its token is told to the log in few lines.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::load::{ONCE, evidence, put};
use crate::support::process::{get, pause, run, wait_until};
use crate::support::secure::{claims, replace};
use crate::support::{Deployment, Options};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use client::Client;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use link::testing::HttpsServer;
use rcgen::KeyPair;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::time::Instant;

/// Time in which a gateway must have read a file that has changed.
const READ_MAX: Duration = Duration::from_secs(60);
/// Time in which it must have asked an address again.
const ASKED_MAX: Duration = Duration::from_secs(180);

fn start() -> Deployment {
    Deployment::start(&Options { tls: true, regions: vec!["eu-fra"], ..Options::default() })
}

/// A key of the issuer's.
struct Key {
    kid: &'static str,
    signer: EncodingKey,
    jwk: Value,
}

impl Key {
    fn new(kid: &'static str) -> Self {
        let pair = KeyPair::generate().expect("a key");
        let signer = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).expect("P-256");
        let (_, point) = pair.public_key_raw().split_first().expect("a point");
        let (x, y) = point.split_at(32);
        let (x, y) = (BASE64URL.encode(x), BASE64URL.encode(y));
        let jwk =
            json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "kid": kid, "x": x, "y": y });
        Self { kid, signer, jwk }
    }

    fn token(&self) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.kid.to_owned());
        encode(
            &header,
            &claims(&json!({ "exp": crate::support::secure::now() + 3_600 })),
            &self.signer,
        )
        .expect("a token")
    }
}

fn document(keys: &[&Key]) -> Vec<u8> {
    let keys: Vec<&Value> = keys.iter().map(|key| &key.jwk).collect();
    json!({ "keys": keys }).to_string().into_bytes()
}

/// Why a put with that token is refused, if it is.
fn refused(runtime: &Runtime, deployment: &Deployment, token: &str) -> Option<String> {
    runtime.block_on(async {
        let access = deployment.secured().with_token(token);
        let url = deployment.gateway_url();
        let client = Client::connect_with(&url, ONCE, access).await.expect("a gateway");
        let done = client.put(&put("anna", "main", b"x", &evidence("DE"))).await;
        done.err().map(|error| error.refused().expect("a reason").reason.clone())
    })
}

#[test]
fn keys_in_a_file_are_replaced_while_the_gateway_runs() {
    let mut deployment = start();
    let runtime = Runtime::new().expect("a runtime");
    let first = deployment.secured().token(&json!({}));
    let (second, third) = (Key::new("k2"), Key::new("k3"));
    let why = |token: &str| refused(&runtime, &deployment, token);
    let place = |bytes: &[u8]| replace(&deployment.root().join("tls/jwks.json"), bytes);
    let invalid = Some("IDENTITY_INVALID".to_owned());
    assert_eq!((why(&first), why(&second.token())), (None, invalid.clone()));

    place(&document(&[&second]));
    wait_until("the new key is taken", READ_MAX, || why(&second.token()).is_none());
    assert_eq!(why(&first), invalid, "the old key is good no more");
    // What cannot be read changes nothing; the next one that can does.
    place(b"{");
    let broken = || deployment.stderr("gateway").contains("the issuer's keys cannot be used");
    wait_until("the broken file is seen", READ_MAX, broken);
    assert_eq!(why(&second.token()), None);
    place(&document(&[&second, &third]));
    wait_until("both keys are taken", READ_MAX, || why(&third.token()).is_none());
    assert_eq!(why(&second.token()), None);
    // An issuer whose keys were stolen has none.
    place(&document(&[]));
    wait_until("no key is left", READ_MAX, || why(&third.token()).is_some());
    assert_eq!((why(&third.token()), why(&second.token())), (invalid.clone(), invalid));

    let admin = deployment.gateway().admin();
    let (status, ready) = get(admin, "/readyz").expect("a page");
    assert_eq!((status, ready.contains("\ntoken_keys: 0\n")), (200, true), "{ready}");
    let (_, metrics) = get(admin, "/metrics").expect("a page");
    assert!(metrics.lines().any(|line| line == "bailiwick_token_keys 0"), "{metrics}");
}

/// Makes the gateway ask an issuer for its keys, and starts it again.
fn ask(deployment: &mut Deployment, server: &HttpsServer) {
    let config = deployment.root().join("gateway.toml");
    let text = fs::read_to_string(&config).expect("a configuration");
    let url = format!("https://127.0.0.1:{}/keys", server.port());
    let address = format!("jwks = \"{url}\"\njwks_ca = \"pki/eu-fra/authority.pem\"");
    let changed = text.replace("jwks = \"tls/jwks.json\"", &address);
    assert_ne!(text, changed);
    fs::write(config, changed).expect("a configuration can be written");
    deployment.gateway().restart();
    deployment.wait_session("eu-fra", true);
}

#[test]
fn keys_at_an_address_are_waited_for_and_replaced() {
    let mut deployment = start();
    let runtime = Runtime::new().expect("a runtime");
    let (old, new) = (Key::new("k1"), Key::new("k2"));
    deployment.secured().issue("eu-fra", &["--shard", "issuer"], "issuer");
    let (certificate, key) = deployment.secured().pair("issuer");
    let given = Arc::new(Mutex::new(None));
    let give = |keys: &[&Key]| *given.lock().expect("a document") = Some(document(keys));
    let answer = Arc::clone(&given);
    let server = runtime.block_on(async {
        let document = move || answer.lock().expect("a document").clone();
        HttpsServer::start(certificate.as_bytes(), key.as_bytes(), document).await
    });
    ask(&mut deployment, server.as_ref().expect("a server"));

    // The issuer is down: who has a token is asked to try again, who has a certificate is served.
    let admin = deployment.gateway().admin();
    let (status, ready) = get(admin, "/readyz").expect("a page");
    assert_eq!((status, ready.contains("\ntoken_keys: none")), (200, true), "{ready}");
    let why = |key: &Key| refused(&runtime, &deployment, &key.token());
    assert_eq!(why(&old).as_deref(), Some("KEYS_UNAVAILABLE"));
    runtime.block_on(async {
        let (chain, key) = deployment.secured().pair("backend");
        let access = deployment.secured().with_certificate((&chain, &key));
        let client = Client::connect_with(&deployment.gateway_url(), ONCE, access).await;
        let client = client.expect("a gateway");
        client.put(&put("anna", "main", b"x", &evidence("DE"))).await.expect("a put");
    });

    give(&[&old]);
    wait_until("the keys are read", ASKED_MAX, || why(&old).is_none());
    assert_eq!(why(&new).as_deref(), Some("IDENTITY_INVALID"));
    give(&[&new]);
    wait_until("the new key is taken", ASKED_MAX, || why(&new).is_none());
    assert_eq!(why(&old).as_deref(), Some("IDENTITY_INVALID"));
    give(&[]);
    let stranger = Key::new("k3");
    wait_until("no key is left", ASKED_MAX, || {
        // Whoever names a key that is not known has the issuer asked again.
        assert!(why(&stranger).is_some());
        why(&new).as_deref() == Some("IDENTITY_INVALID")
    });
}

#[test]
fn an_address_that_cannot_be_asked_is_refused_with_the_configuration() {
    let deployment = start();
    let text = fs::read_to_string(deployment.root().join("gateway.toml")).expect("a configuration");
    let config = deployment.root().join("gateway-other.toml");
    let ended = |lines: &str| {
        let changed = text.replace("jwks = \"tls/jwks.json\"", lines);
        fs::write(&config, changed).expect("a configuration can be written");
        run(&["gateway", "--config", config.to_str().expect("text")])
    };
    let good = [
        "jwks = \"tls/jwks.json\"",
        "jwks = \"https://issuer.example/keys\"",
        "jwks = \"https://issuer.example:8443/keys?of=all\"\njwks_max_age_s = 60",
    ];
    for lines in good {
        // It gets as far as its port, which the other one has.
        let done = ended(lines);
        assert!(done.code == 69 && done.stderr.contains("cannot listen on"), "{lines}: {done:?}");
    }
    let bad = [
        ("jwks = \"http://issuer.example/keys\"", "jwks"),
        ("jwks = \"https://\"", "jwks"),
        ("jwks = \"https://issuer.example:port/keys\"", "jwks"),
        ("jwks = \"https://issuer example/keys\"", "jwks"),
        ("jwks = \"https://name:pass-word@issuer.example/keys\"", "jwks"),
        ("jwks = \"tls/jwks.json\"\njwks_max_age_s = 59", "jwks_max_age_s"),
        ("jwks = \"tls/jwks.json\"\njwks_max_age_s = \"1d\"", "jwks_max_age_s"),
    ];
    for (lines, key) in bad {
        let done = ended(lines);
        let codes = ["VALUE_INVALID", "VALUE_TYPE", "LIMIT_RANGE"];
        let said = codes.iter().any(|code| done.stderr.starts_with(&format!("error[{code}]")))
            && done.stderr.contains(&format!("| {key} = "));
        assert!(done.code == 64 && said, "{lines}: {done:?}");
        assert!(!done.stderr.contains("pass-word"), "the message has the password");
    }
}

#[test]
fn a_flood_of_refusals_is_few_lines_in_the_log_and_all_of_them_in_the_metrics() {
    const CALLS: u64 = 400;
    let mut deployment = start();
    let runtime = Runtime::new().expect("a runtime");
    let token = Key::new("k9").token();
    let flood = |calls: u64| {
        runtime.block_on(async {
            let access = deployment.secured().with_token(&token);
            let (url, start) = (deployment.gateway_url(), Instant::now());
            let mut left = calls;
            while left > 0 {
                // A connection on which more fail in a row is looked at no more for a while.
                let some = left.min(50);
                let client = Client::connect_with(&url, ONCE, access.clone()).await;
                let client = client.expect("a gateway");
                for _ in 0..some {
                    let done = client.put(&put("anna", "main", b"x", &evidence("DE"))).await;
                    assert!(done.is_err(), "a key that nobody knows");
                }
                left -= some;
            }
            start.elapsed().as_secs()
        })
    };
    let told = || {
        let log = deployment.stderr("gateway");
        let lines = log.lines().filter(|line| line.contains("IDENTITY_INVALID"));
        let lines = lines.map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
        lines
            .map(|line| line.get("unsaid").and_then(Value::as_u64).expect("a number"))
            .collect::<Vec<_>>()
    };
    let seconds = flood(CALLS);
    let lines = u64::try_from(told().len()).expect("a number");
    assert!((1..=10 * (seconds + 2)).contains(&lines), "{lines} lines in {seconds} seconds");
    // What went unsaid is told with the next one.
    pause(Duration::from_millis(1_100));
    flood(1);
    let all = || u64::try_from(told().len()).expect("a number") + told().iter().sum::<u64>();
    wait_until("all are accounted for", READ_MAX, || all() == CALLS + 1);
    let (_, metrics) = get(deployment.gateway().admin(), "/metrics").expect("a page");
    let counted =
        format!("calls_total{{method=\"Put\",reason=\"IDENTITY_INVALID\"}} {}", CALLS + 1);
    assert!(metrics.contains(&counted), "{metrics}");
}
