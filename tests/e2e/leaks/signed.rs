//! The same over TLS, with tokens that the issuer has signed: nothing that one says of somebody gets
//! out sideways, whether it is taken or refused.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use tonic::Status;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
use wire::v1::records_client::RecordsClient;

use super::{
    PHONE, REGION, Sender, check_files, check_pages, check_silent, good, holds, marker, send_all,
};
use crate::support::process::get;
use crate::support::secure::{ISSUER, Secured, now, replace};
use crate::support::{Deployment, Options, search};

/// Claims with markers wherever a token has room for one, and still be good.
fn claims(changes: &Value) -> Value {
    let mut claims = json!({
        "iss": marker("issuer"), "sub": marker("sub"), "exp": now() + 3_600,
        "jti": marker("jti"), "name": marker("name"), "email": format!("{}@example.org", marker("e")),
        "phone_number": format!("+49{PHONE}"), "address": { "street": marker("street") },
        "groups": [marker("group")], "roles": ["writer", "reader", marker("role")],
        "aud": ["bailiwick", marker("audience")],
        "collections": [marker("of-claim"), "*"], "regions": ["*", marker("region")],
    });
    let own = claims.as_object_mut().expect("an object");
    own.extend(changes.as_object().expect("an object").clone());
    claims
}

/// Tokens of the issuer's own key that are refused, each for its marker.
fn refused(secured: &Secured, key: &str) -> Vec<(&'static str, String, &'static str)> {
    let by = |changes: Value| secured.token_by(key, &claims(&changes));
    let (invalid, denied) = ("IDENTITY_INVALID", "NOT_PERMITTED");
    let other_key = secured.token_by(&marker("other-key"), &claims(&json!({})));
    vec![
        ("key", other_key, invalid),
        ("issuer", by(json!({ "iss": marker("other-issuer") })), invalid),
        ("audience", by(json!({ "aud": marker("audience") })), invalid),
        ("expired", by(json!({ "exp": 1_000_000_000 })), invalid),
        ("territory", by(json!({ "territory": marker("territory") })), invalid),
        ("sub", by(json!({ "sub": format!("{}\n", marker("line")) })), invalid),
        ("long sub", by(json!({ "sub": marker("long").repeat(64) })), invalid),
        ("form", by(json!({ "roles": marker("role") })), invalid),
        ("tenant", by(json!({ "tenant": marker("tenant") })), denied),
        ("roles", by(json!({ "roles": [marker("role")] })), denied),
        ("collections", by(json!({ "collections": [marker("of-claim")] })), denied),
        ("regions", by(json!({ "regions": [marker("region")] })), denied),
    ]
}

/// The key's second name, and the issuer's, stand in these two files. Gives what they held before.
fn name_with_markers(deployment: &mut Deployment, key: &str) -> [(std::path::PathBuf, String); 2] {
    let paths = ["gateway.toml", "tls/jwks.json"].map(|file| deployment.root().join(file));
    let before = paths.map(|path| {
        let text = fs::read_to_string(&path).expect("a text");
        (path, text)
    });
    let [(config, text), (jwks, keys)] = &before;
    fs::write(config, text.replace(ISSUER, &marker("issuer"))).expect("a configuration");
    let mut keys: Value = serde_json::from_str(keys).expect("keys");
    let list = keys.pointer_mut("/keys").and_then(Value::as_array_mut).expect("a list");
    let mut named = list.first().expect("a key").clone();
    named.as_object_mut().expect("an object").insert("kid".to_owned(), json!(key));
    list.push(named);
    replace(jwks, keys.to_string().as_bytes());
    deployment.gateway().restart();
    deployment.wait_session(REGION, true);
    before
}

/// Sends everything with a token that is taken, and a put with each that is not.
async fn send(sender: &Sender, refused: &[(&'static str, String, &'static str)]) {
    send_all(sender).await;
    for (what, token, reason) in refused {
        let sender = Sender::new(sender.channel.clone(), Some(token));
        let mut records = RecordsClient::new(sender.channel.clone());
        let status: Status = records.put(sender.poisoned(good())).await.err().expect(what);
        check_silent(what, &status);
        let details = String::from_utf8_lossy(status.details()).into_owned();
        assert!(details.contains(reason), "{what}: {status:?}");
    }
}

#[test]
fn nothing_that_a_signed_token_says_gets_out_sideways() {
    let options = Options { tls: true, ..super::lists::options() };
    let mut deployment = Deployment::start(&options);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let key = marker("key-id");
    let before = name_with_markers(&mut deployment, &key);

    let secured = deployment.secured();
    let taken = secured.token_by(&key, &claims(&json!({})));
    let refused = refused(secured, &key);
    let (url, authorities) = (deployment.gateway_url(), secured.authorities());
    runtime.block_on(async {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authorities));
        let endpoint = Endpoint::from_shared(url).and_then(|endpoint| endpoint.tls_config(tls));
        let endpoint = endpoint.expect("an address").user_agent(marker("agent"));
        let endpoint = endpoint.expect("a header").timeout(Duration::from_secs(20));
        let channel = endpoint.connect().await.expect("a gateway");
        send(&Sender::new(channel, Some(&taken)), &refused).await;
    });

    check_pages(&mut deployment);
    // Nor is a token told, or a part of it: what it says can be read out of the second.
    let tokens = refused.iter().map(|(_, token, _)| token).chain([&taken]);
    let parts: Vec<&str> = tokens.flat_map(|token| token.split('.')).collect();
    for admin in [deployment.gateway().admin(), deployment.shard(REGION).admin()] {
        for page in ["/livez", "/readyz", "/metrics"] {
            let (_, text) = get(admin, page).expect("a page");
            assert!(parts.iter().all(|part| !text.contains(part)), "{page} of {admin}");
        }
    }
    assert_eq!(deployment.gateway().stop(), 0);
    assert_eq!(deployment.shard(REGION).stop(), 0);
    for (path, text) in before {
        fs::write(path, text).expect("the text of before");
    }
    check_files(&deployment);
    for process in ["gateway", REGION] {
        let said = deployment.stderr(process);
        assert!(parts.iter().all(|part| !said.contains(part)), "{process} tells of a token");
    }
    let own: Vec<&str> = taken.split('.').collect();
    search::files(deployment.root(), &mut |path, bytes| {
        assert!(own.iter().all(|part| !holds(bytes, part)), "a token in {}", path.display());
    });
    let said = deployment.stderr("gateway");
    for reason in ["IDENTITY_INVALID", "NOT_PERMITTED"] {
        assert!(said.contains(reason), "{reason} was not logged");
    }
}
