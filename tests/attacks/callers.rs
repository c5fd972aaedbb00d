//! Attacks by callers: whoever has the wrong proof, and whoever has the right one and wants more.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use client::{Access, Client, Refused, api};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::KeyPair;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};

use super::super::support::load::{ONCE, evidence, put};
use super::super::support::rogue::forge;
use super::super::support::secure::{KEY_ID, claims, now};
use super::super::support::{Deployment, Options};
use super::super::{placed, says_nothing};

/// A subject's name that no log may repeat.
const SUBJECT: &str = "subject-of-the-attack";
const BODY: &[u8] = b"body-of-the-attack";

fn start(gateway_region: &'static str, regions: &[&'static str]) -> Deployment {
    let mut options =
        Options { tls: true, gateway_region, regions: regions.to_vec(), ..Options::default() };
    let tenant = "[[tenants]]\nname = \"sample\"\n";
    let both = format!("{tenant}\n[[tenants]]\nname = \"other\"\n");
    options.map = options.map.replace(tenant, &both);
    Deployment::start(&options)
}

fn runtime() -> Runtime {
    Runtime::new().expect("a runtime")
}

async fn client(deployment: &Deployment, access: Access) -> Result<Client, String> {
    let url = deployment.gateway_url();
    Client::connect_with(&url, ONCE, access).await.map_err(|error| error.to_string())
}

async fn with(deployment: &Deployment, changes: &Value) -> Client {
    let secured = deployment.secured();
    let access = secured.with_token(&secured.token(changes));
    client(deployment, access).await.expect("a gateway")
}

async fn read(client: &Client, subject: &str, domicile: &str) -> Result<api::Record, Refused> {
    let subject = api::SubjectRef { id: subject.to_owned(), domicile: domicile.to_owned() };
    read_of(client, subject, "profiles").await
}

async fn read_of(
    client: &Client,
    subject: api::SubjectRef,
    collection: &str,
) -> Result<api::Record, Refused> {
    let request = api::GetRecordRequest {
        subject: Some(subject),
        collection: collection.to_owned(),
        key: "main".to_owned(),
    };
    client.get(&request).await.map_err(|error| error.refused().expect("a reason").clone())
}

async fn write(client: &Client, subject: &str, country: &str) -> Result<(), Refused> {
    let done = client.put(&put(subject, "main", BODY, &evidence(country))).await;
    done.map(drop).map_err(|error| error.refused().expect("a reason").clone())
}

/// A token by hand: header and claims as they are, and a signature or what stands for one.
fn by_hand(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| BASE64URL.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

/// Tokens that prove nothing, each with the reason with which it is refused.
fn false_tokens(deployment: &Deployment) -> Vec<(&'static str, String)> {
    let secured = deployment.secured();
    let everything = claims(&json!({}));
    let good = secured.token(&json!({}));
    let (unsigned, signature) = good.rsplit_once('.').expect("three parts");
    let none = json!({ "alg": "none", "kid": KEY_ID });
    let jwks = std::fs::read(deployment.root().join("tls/jwks.json")).expect("a file");
    let shared = |algorithm, kid: &str, key: &EncodingKey| {
        let mut header = Header::new(algorithm);
        header.kid = Some(kid.to_owned());
        encode(&header, &everything, key).expect("a token")
    };
    let foreign = KeyPair::generate().expect("a key").serialize_pem();
    let foreign = EncodingKey::from_ec_pem(foreign.as_bytes()).expect("a key");
    let more = by_hand(
        &json!({ "alg": "ES256", "kid": KEY_ID }),
        &claims(&json!({"tenant": "other"})),
        signature,
    );
    vec![
        ("no algorithm", by_hand(&none, &everything, "")),
        ("no algorithm, with a signature", by_hand(&none, &everything, signature)),
        ("no signature", format!("{unsigned}.")),
        (
            "a shared secret that everybody knows",
            shared(Algorithm::HS256, KEY_ID, &EncodingKey::from_secret(&jwks)),
        ),
        ("a key that is not known", shared(Algorithm::ES256, "k2", &foreign)),
        ("another key under the same name", shared(Algorithm::ES256, KEY_ID, &foreign)),
        ("claims that were changed", more),
        ("another audience", secured.token(&json!({ "aud": "another" }))),
        ("no audience", secured.token(&json!({ "aud": null }))),
        ("another issuer", secured.token(&json!({ "iss": "https://other.example" }))),
        ("expired", secured.token(&json!({ "exp": now() - 3_600 }))),
        ("no end", secured.token(&json!({ "exp": null }))),
        ("not yet valid", secured.token(&json!({ "nbf": now() + 3_600 }))),
        ("no tenant", secured.token(&json!({ "tenant": null }))),
        ("no token at all", "x.y.z".to_owned()),
    ]
}

#[test]
fn whoever_proves_nothing_gets_nothing() {
    let mut deployment = start("eu-fra", &["eu-fra"]);
    let tokens = false_tokens(&deployment);
    runtime().block_on(async {
        let secured = deployment.secured();
        for (what, token) in &tokens {
            let client = client(&deployment, secured.with_token(token)).await.expect("a gateway");
            for refused in [
                write(&client, SUBJECT, "DE").await.err(),
                read(&client, SUBJECT, "eu-fra").await.err(),
            ] {
                let refused = refused.expect("a refusal");
                assert_eq!(refused.reason, "IDENTITY_INVALID", "{what}: {refused:?}");
            }
        }
        let nobody = client(&deployment, secured.with_nothing()).await.expect("a gateway");
        let refused = write(&nobody, SUBJECT, "DE").await.expect_err("a refusal");
        assert_eq!(refused.reason, "IDENTITY_MISSING");
        // What is refused above is refused for the token: the right one is taken.
        write(&with(&deployment, &json!({})).await, "control", "DE").await.expect("a put");
    });
    let log = deployment.stderr("gateway");
    assert!(log.contains("IDENTITY_INVALID") && log.contains("IDENTITY_MISSING"), "{log}");
    let secrets: Vec<&str> = tokens.iter().map(|(_, token)| token.as_str()).collect();
    says_nothing(&deployment, &["gateway", "eu-fra"], &secrets);
    says_nothing(&deployment, &["gateway", "eu-fra"], &[SUBJECT, "body-of-the-attack"]);
    assert_eq!(placed(&mut deployment, "eu-fra"), 1);
}

#[test]
fn a_caller_with_a_false_certificate_gets_nothing() {
    let mut deployment = start("eu-fra", &["eu-fra"]);
    let uri = "spiffe://sample/caller/backend";
    let secured = deployment.secured();
    let callers = secured.authority("callers");
    secured.issue("callers", &["--caller", "nobody"], "nobody");
    let rows = [
        ("signed by itself", forge(None, uri, 3_600)),
        ("by a region's authority", forge(Some(&secured.authority("eu-fra")), uri, 3_600)),
        ("expired", forge(Some(&callers), uri, -60)),
        ("a gateway's", secured.pair("gateway")),
        ("of somebody to whom nothing is granted", secured.pair("nobody")),
    ];
    runtime().block_on(async {
        for (what, (chain, key)) in &rows {
            let access = secured.with_certificate((chain, key));
            // TLS refuses it, or the gateway does.
            let Ok(client) = client(&deployment, access).await else { continue };
            let done = client.put(&put(SUBJECT, "main", BODY, &evidence("DE"))).await;
            let error = done.err().unwrap_or_else(|| panic!("{what}: a record was stored"));
            let reason = error.refused().map(|refused| refused.reason.as_str());
            let refused = ["IDENTITY_INVALID", "IDENTITY_MISSING", "NOT_PERMITTED"];
            assert!(reason.is_none_or(|reason| refused.contains(&reason)), "{what}: {error}");
        }
        // The right one is taken, until it is revoked: its connection then is worth nothing more.
        let (chain, key) = secured.pair("backend");
        let backend = secured.with_certificate((&chain, &key));
        let backend = client(&deployment, backend).await.expect("a gateway");
        write(&backend, "control", "DE").await.expect("a put");
        secured.revoke("callers", "backend");
        let latest = Instant::now() + Duration::from_secs(10);
        while backend.put(&put("control", "main", BODY, &evidence("DE"))).await.is_ok() {
            assert!(Instant::now() < latest, "a revoked certificate is still good");
            sleep(Duration::from_millis(50)).await;
        }
    });
    says_nothing(&deployment, &["gateway", "eu-fra"], &[SUBJECT, "body-of-the-attack"]);
    assert!(placed(&mut deployment, "eu-fra") >= 1);
}

#[test]
fn no_role_gives_more_than_it_is_for() {
    let mut deployment = start("eu-fra", &["eu-fra"]);
    runtime().block_on(async {
        write(&with(&deployment, &json!({})).await, "control", "DE").await.expect("a put");
        for (roles, writes, reads) in [
            (json!([]), false, false),
            (json!(["reader"]), false, true),
            (json!(["writer"]), true, false),
            (json!(["operator"]), false, false),
            (json!(["auditor", "eraser", "operator"]), false, false),
        ] {
            let client = with(&deployment, &json!({ "roles": roles })).await;
            let refused = |done: Option<Refused>| done.map(|refused| refused.reason);
            let no = |may: bool| (!may).then(|| "NOT_PERMITTED".to_owned());
            let written = write(&client, "control", "DE").await.err();
            assert_eq!(refused(written), no(writes), "{roles}");
            let read = read(&client, "control", "eu-fra").await.err();
            assert_eq!(refused(read), no(reads), "{roles}");
        }
    });
    assert!(deployment.stderr("gateway").contains("NOT_PERMITTED"));
    says_nothing(&deployment, &["gateway", "eu-fra"], &["body-of-the-attack"]);
    assert_eq!(placed(&mut deployment, "eu-fra"), 2);
}

#[test]
fn permission_comes_before_existence() {
    let deployment = start("eu-fra", &["eu-fra"]);
    runtime().block_on(async {
        write(&with(&deployment, &json!({})).await, SUBJECT, "DE").await.expect("a put");
        let narrow = json!({ "collections": ["messages"], "regions": ["eu-fra"] });
        let client = with(&deployment, &narrow).await;
        // What is there, what is not, and what cannot be: one answer.
        let mut answers = Vec::new();
        for (subject, domicile, collection) in [
            (SUBJECT, "eu-fra", "profiles"),
            ("nobody", "eu-fra", "profiles"),
            (SUBJECT, "eu-fra", "no-such-collection"),
            (SUBJECT, "ru-msk", "messages"),
            (SUBJECT, "no-such-region", "messages"),
        ] {
            let subject = api::SubjectRef { id: subject.to_owned(), domicile: domicile.to_owned() };
            let refused = read_of(&client, subject, collection).await.err().expect("a refusal");
            assert_eq!(refused.reason, "NOT_PERMITTED", "{domicile} {collection}");
            answers.push(said(&refused));
        }
        // It names the claim that is missing, the collection's or the region's, and nothing else.
        answers.dedup();
        assert_eq!(answers.len(), 2, "{answers:?}");
        // And no claim at all is no permission.
        for absent in ["collections", "regions", "roles"] {
            let client = with(&deployment, &json!({ absent: null })).await;
            let refused = read(&client, SUBJECT, "eu-fra").await.err().expect("a refusal");
            assert_eq!(refused.reason, "NOT_PERMITTED", "without {absent}");
        }
    });
    says_nothing(&deployment, &["gateway", "eu-fra"], &[SUBJECT]);
}

#[test]
fn a_tenant_learns_nothing_of_another() {
    let mut deployment = start("eu-fra", &["eu-fra"]);
    runtime().block_on(async {
        write(&with(&deployment, &json!({})).await, SUBJECT, "DE").await.expect("a put");
        let other = with(&deployment, &json!({ "tenant": "other" })).await;
        // A name that another tenant has, and one that nobody has, are the same to it.
        let there = read(&other, SUBJECT, "eu-fra").await.err().expect("a refusal");
        let nowhere = read(&other, "nobody-at-all", "eu-fra").await.err().expect("a refusal");
        assert_eq!(there.reason, "SUBJECT_UNKNOWN");
        assert_eq!(said(&there), said(&nowhere));
        // Under the same names it has subjects and records of its own.
        write(&other, SUBJECT, "DE").await.expect("its own subject");
        let record = read(&other, SUBJECT, "eu-fra").await.expect("its own record");
        assert_eq!(record.version, 1);
        // A tenant that the map does not know is nobody.
        let stranger = with(&deployment, &json!({ "tenant": "stranger" })).await;
        let refused = read(&stranger, SUBJECT, "eu-fra").await.err().expect("a refusal");
        assert!(
            ["NOT_PERMITTED", "IDENTITY_INVALID"].contains(&refused.reason.as_str()),
            "{refused:?}"
        );
    });
    says_nothing(&deployment, &["gateway", "eu-fra"], &[SUBJECT, "body-of-the-attack"]);
    assert_eq!(placed(&mut deployment, "eu-fra"), 2);
}

#[test]
fn a_caller_abroad_gets_nothing_through_a_gateway_at_home() {
    let mut deployment = start("eu-fra", &["eu-fra"]);
    runtime().block_on(async {
        write(&with(&deployment, &json!({})).await, SUBJECT, "DE").await.expect("a put");
        let home = with(&deployment, &json!({ "territory": "FR" })).await;
        assert!(read(&home, SUBJECT, "eu-fra").await.is_ok(), "inside the territory");
        // A clause of the sample map covers profiles from EEA to RU.
        let covered = with(&deployment, &json!({ "territory": "RU" })).await;
        assert!(read(&covered, SUBJECT, "eu-fra").await.is_ok(), "a clause covers it");
        for territory in [json!("US"), Value::Null] {
            let abroad = with(&deployment, &json!({ "territory": territory })).await;
            let there = read(&abroad, SUBJECT, "eu-fra").await.err().expect("a refusal");
            let nowhere = read(&abroad, "nobody-at-all", "eu-fra").await.err().expect("a refusal");
            assert_eq!(there.reason, "EGRESS_NOT_COVERED", "{territory}");
            assert_eq!(said(&there), said(&nowhere), "who is there is not told abroad");
        }
    });
    assert!(deployment.stderr("eu-fra").contains("EGRESS_NOT_COVERED"));
    says_nothing(&deployment, &["gateway", "eu-fra"], &[SUBJECT, "body-of-the-attack"]);
    assert_eq!(placed(&mut deployment, "eu-fra"), 1);
}

/// Everything that a refusal says, but for the call's own id.
fn said(refused: &Refused) -> Refused {
    Refused { call_id: None, ..refused.clone() }
}
