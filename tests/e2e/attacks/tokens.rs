//! Callers with false proofs: tokens, and certificates.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use ledger::entry::Kind;
use rcgen::KeyPair;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::by_hand::{BODY, SECRETS, SUBJECT, runtime};
use super::callers::{client, read, start, with, write};
use super::{
    PACE, REFUSED, counted, lines, logged, mark, refused_for, says_nothing, told, written,
};
use crate::support::Deployment;
use crate::support::load::{evidence, put};
use crate::support::process::{get, pause};
use crate::support::rogue::{Pair, forge};
use crate::support::secure::{KEY_ID, claims, now};

/// A token by hand: header and claims as they are, and a signature or what stands for one.
fn by_hand(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| BASE64URL.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

/// A token that proves nothing, and what its refusal says is wrong with it.
type False = (&'static str, String, &'static str);

/// Tokens that nobody who is trusted has signed.
fn unsigned_tokens(deployment: &Deployment) -> Vec<False> {
    const UNREADABLE: &str = "the token cannot be read";
    const NOT_GOOD: &str = "signature or claims are not good";
    let everything = claims(&json!({}));
    let good = deployment.secured().token(&json!({}));
    let (unsigned, signature) = good.rsplit_once('.').expect("three parts");
    let none = json!({ "alg": "none", "kid": KEY_ID });
    let jwks = std::fs::read(deployment.root().join("tls/jwks.json")).expect("a file");
    let by = |algorithm, kid: &str, key: &EncodingKey| {
        let mut header = Header::new(algorithm);
        header.kid = Some(kid.to_owned());
        encode(&header, &everything, key).expect("a token")
    };
    let foreign = KeyPair::generate().expect("a key").serialize_pem();
    let foreign = EncodingKey::from_ec_pem(foreign.as_bytes()).expect("a key");
    let changed = claims(&json!({"tenant": "other"}));
    let changed = by_hand(&json!({ "alg": "ES256", "kid": KEY_ID }), &changed, signature);
    let public = EncodingKey::from_secret(&jwks);
    vec![
        ("no algorithm", by_hand(&none, &everything, ""), UNREADABLE),
        ("no algorithm, signed", by_hand(&none, &everything, signature), UNREADABLE),
        ("no signature", format!("{unsigned}."), NOT_GOOD),
        (
            "a shared secret that everybody knows",
            by(Algorithm::HS256, KEY_ID, &public),
            "the token's algorithm is not its key's",
        ),
        (
            "a key that is not known",
            by(Algorithm::ES256, "k2", &foreign),
            "the token's key is not one of the issuer's",
        ),
        ("another key, same name", by(Algorithm::ES256, KEY_ID, &foreign), NOT_GOOD),
        ("claims that were changed", changed, NOT_GOOD),
        ("no token at all", "x.y.z".to_owned(), UNREADABLE),
    ]
}

/// Tokens that the issuer has signed, and that are not for here or for now.
fn unfit_tokens(deployment: &Deployment) -> Vec<False> {
    const NOT_GOOD: &str = "signature or claims are not good";
    let token = |changes| deployment.secured().token(&changes);
    let (past, future) = (now() - 3_600, now() + 3_600);
    let another = "https://other.example";
    vec![
        (
            "another audience",
            token(json!({ "aud": "another" })),
            "the token is for another audience",
        ),
        ("no audience", token(json!({ "aud": null })), NOT_GOOD),
        ("another issuer", token(json!({ "iss": another })), "the token is another issuer's"),
        ("expired", token(json!({ "exp": past })), "the token has expired"),
        ("no end", token(json!({ "exp": null })), NOT_GOOD),
        ("not yet valid", token(json!({ "nbf": future })), "the token is not valid yet"),
        ("no tenant", token(json!({ "tenant": null })), NOT_GOOD),
    ]
}

#[test]
fn whoever_proves_nothing_gets_nothing() {
    let mut deployment = start("eu-fra", &["eu-fra"]);
    let admin = deployment.gateway().admin();
    let tokens = [unsigned_tokens(&deployment), unfit_tokens(&deployment)].concat();
    let from = mark(&deployment, "gateway");
    runtime().block_on(async {
        let secured = deployment.secured();
        for (what, token, problem) in &tokens {
            let client = client(&deployment, secured.with_token(token)).await.expect("a gateway");
            let before = told(&lines(&deployment, "gateway", from, REFUSED), "IDENTITY_INVALID");
            pause(PACE);
            let put = write(&client, SUBJECT, "DE").await.err();
            pause(PACE);
            let got = read(&client, SUBJECT, "eu-fra").await.err();
            for refused in [put, got] {
                let refused = refused.expect("a refusal");
                assert_eq!(refused.reason, "IDENTITY_INVALID", "{what}: {refused:?}");
                assert!(refused.message.starts_with(problem), "{what}: {refused:?}");
            }
            let after = told(&lines(&deployment, "gateway", from, REFUSED), "IDENTITY_INVALID");
            assert_eq!(after - before, 2, "{what}");
        }
        let nobody = client(&deployment, secured.with_nothing()).await.expect("a gateway");
        let refused = write(&nobody, SUBJECT, "DE").await.expect_err("a refusal");
        assert_eq!(refused.reason, "IDENTITY_MISSING");
        // What is refused above is refused for the token: the right one is taken.
        write(&with(&deployment, &json!({})).await, "control", "DE").await.expect("a put");
    });
    let lines = logged(&deployment, "gateway", from, REFUSED);
    let rows = u64::try_from(tokens.len()).expect("few");
    assert_eq!(rows, 15);
    for (reason, count) in [("IDENTITY_INVALID", 2 * rows), ("IDENTITY_MISSING", 1)] {
        assert_eq!(told(&lines, reason), count, "{reason}");
        assert_eq!(counted(admin, "calls", &format!("reason=\"{reason}\"")), count, "{reason}");
    }
    for method in ["Put", "Get"] {
        let of_method = lines.iter().filter(|line| line["method"] == method);
        assert!(of_method.count() >= tokens.len(), "{method}");
    }
    // Neither a token nor one of its parts is told: the second one is what it says of somebody.
    let parts = tokens.iter().flat_map(|(_, token, _)| token.split('.'));
    let secrets: Vec<&str> = parts.filter(|part| part.len() > 1).collect();
    says_nothing(&deployment, &["gateway", "eu-fra"], &[SECRETS, &secrets].concat());
    assert_eq!(written(&mut deployment, "eu-fra"), [Kind::Place]);
}

/// Certificates that make nobody a caller, each with the cause for which TLS refuses it.
fn false_certificates(deployment: &Deployment) -> Vec<(&'static str, Pair, &'static str)> {
    let secured = deployment.secured();
    let (uri, callers) = ("spiffe://sample/caller/backend", secured.authority("callers"));
    let by_region = forge(Some(&secured.authority("eu-fra")), uri, 3_600);
    secured.issue("callers", &["--caller", "gone"], "gone");
    secured.revoke("callers", "gone");
    vec![
        ("signed by itself", forge(None, uri, 3_600), "authority"),
        ("by a region's authority", by_region, "authority"),
        ("expired", forge(Some(&callers), uri, -60), "expired"),
        ("not yet valid", forge(Some(&callers), uri, 2 * 86_400), "expired"),
        ("a gateway's", secured.pair("gateway"), "authority"),
        ("a shard's", secured.pair("eu-fra"), "authority"),
        ("revoked", secured.pair("gone"), "revoked"),
    ]
}

#[test]
fn a_caller_with_a_false_certificate_gets_nothing() {
    let mut deployment = start("eu-fra", &["eu-fra"]);
    let admin = deployment.gateway().admin();
    let start = mark(&deployment, "gateway");
    let rows = false_certificates(&deployment);
    logged(&deployment, "gateway", start, "the listener's certificates were read");
    let runtime = runtime();
    let secured = deployment.secured();
    let attempt = |(chain, key): &Pair| {
        runtime.block_on(async {
            let access = secured.with_certificate((chain, key));
            let client = client(&deployment, access).await?;
            write_as(&client).await
        })
    };
    for (what, pair, cause) in &rows {
        // A client tries its handshake some times, and ten lines of a cause are told in a second.
        pause(Duration::from_millis(1_100));
        let of = format!("cause=\"{cause}\"");
        let all = || counted(admin, "listener_certificates_refused", "cause=");
        let own_cause = || counted(admin, "listener_certificates_refused", &of);
        let (from, before) = (mark(&deployment, "gateway"), (all(), own_cause()));
        let error = attempt(pair).expect_err(what);
        // TLS refuses it: there is no answer with a reason, and no call that was counted.
        assert!(!error.starts_with("refused: "), "{what}: {error}");
        refused_for(&deployment, "gateway", from, cause);
        let (all, own_cause) = (all(), own_cause());
        assert!(own_cause > before.1, "{what}: not counted as {cause}");
        assert_eq!(all - before.0, own_cause - before.1, "{what}: counted as something else");
    }
    let (_, page) = get(admin, "/metrics").expect("the operators' page");
    assert!(!page.contains("bailiwick_calls_total{"), "a call was read: {page}");
    // One that verifies, of somebody to whom nothing is granted: the gateway says no.
    secured.issue("callers", &["--caller", "nobody"], "nobody");
    let from = mark(&deployment, "gateway");
    let refused = attempt(&secured.pair("nobody"));
    assert_eq!(refused, Err("refused: NOT_PERMITTED".to_owned()));
    let line = logged(&deployment, "gateway", from, REFUSED);
    assert!(line.iter().all(|line| line["reason"] == "NOT_PERMITTED"), "{line:?}");
    // The right one is taken, until it is revoked: its connection then is worth nothing more.
    let stored = runtime.block_on(until_revoked(&deployment));
    let shown = ["spiffe://sample/caller", "BEGIN"];
    says_nothing(&deployment, &["gateway", "eu-fra"], &[SECRETS, &shown].concat());
    let kinds = written(&mut deployment, "eu-fra");
    assert_eq!(kinds.len(), stored);
    let (first, more) = kinds.split_first().expect("the control");
    assert!(*first == Kind::Place && more.iter().all(|kind| *kind == Kind::Replace), "{kinds:?}");
}

async fn write_as(client: &client::Client) -> Result<(), String> {
    let done = client.put(&put(SUBJECT, "main", BODY, &evidence("DE"))).await;
    let error = match done {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    Err(match error.refused() {
        Some(refused) => format!("refused: {}", refused.reason),
        None => error.to_string(),
    })
}

/// Writes as the caller's certificate lets it until it is revoked; gives how often.
async fn until_revoked(deployment: &Deployment) -> usize {
    let secured = deployment.secured();
    let (chain, key) = secured.pair("backend");
    let backend = client(deployment, secured.with_certificate((&chain, &key))).await;
    let backend = backend.expect("a gateway");
    write(&backend, "control", "DE").await.expect("a put");
    secured.revoke("callers", "backend");
    let latest = Instant::now() + Duration::from_secs(60);
    let mut stored = 1;
    loop {
        match write(&backend, "control", "DE").await {
            Ok(()) => stored += 1,
            Err(refused) => {
                assert_eq!(refused.reason, "IDENTITY_INVALID");
                return stored;
            }
        }
        assert!(Instant::now() < latest, "a revoked certificate is still good");
        sleep(Duration::from_millis(50)).await;
    }
}
