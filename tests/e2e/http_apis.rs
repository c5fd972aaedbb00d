//! JSON over HTTP with a real curl, and what a browser asks, on the port of a real gateway.

#![expect(clippy::indexing_slicing, reason = "a test that goes astray may panic")]

use std::process::Command;

use client::Client;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::support::load::{ONCE, get};
use crate::support::{Deployment, Options};

const OPEN: &str =
    "[http]\njson = true\ngrpc_web = true\ncors_origins = [\"https://app.example\"]\n";
const HTTP_1: &str = "--http1.1";
const ID: &str = "0b8e4c26-3f0f-4a80-8f3b-0d6a7c1e9d55";

/// What curl got: the status, the headers, and the body.
struct Answer {
    status: u16,
    head: String,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("JSON")
    }

    fn reason(&self) -> String {
        let body = self.json();
        let details = body["details"].as_array().expect("details").iter();
        let mut infos = details.filter(|detail| detail["type"] == "google.rpc.ErrorInfo");
        let info = infos.next().expect("an ErrorInfo").get("debug").expect("its JSON");
        assert_eq!(info["metadata"]["call_id"].as_str().map(str::len), Some(32));
        info["reason"].as_str().expect("a reason").to_owned()
    }
}

/// A caller with curl.
struct Curl<'a> {
    deployment: &'a Deployment,
    token: Option<String>,
    version: &'static str,
}

impl Curl<'_> {
    fn with(&self, method: &str, arguments: &[&str]) -> Answer {
        let url = format!("{}/bailiwick.v1.{method}", self.deployment.gateway_url());
        let authorities = self.deployment.root().join("tls/authorities.pem");
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "120", "--include", self.version]);
        curl.arg("--cacert").arg(authorities);
        if let Some(token) = &self.token {
            curl.arg("--header").arg(format!("authorization: Bearer {token}"));
        }
        let done = curl.args(arguments).arg(url).output().expect("curl can be started");
        let stderr = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{stderr}");
        let all = String::from_utf8(done.stdout).expect("text");
        // An interim answer (100) precedes the one that counts.
        let mut rest = all.as_str();
        loop {
            let (head, body) = rest.split_once("\r\n\r\n").expect("a head");
            let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
            if status == 100 {
                rest = body;
                continue;
            }
            return Answer { status, head: head.to_lowercase(), text: body.to_owned() };
        }
    }

    fn call(&self, method: &str, message: &Value) -> Answer {
        let message = message.to_string();
        let kind = "content-type: application/json";
        self.with(method, &["--header", kind, "--data-binary", &message])
    }

    #[track_caller]
    fn good(&self, method: &str, message: &Value) -> Value {
        let answer = self.call(method, message);
        assert_eq!(answer.status, 200, "{method}: {}", answer.text);
        answer.json()
    }

    #[track_caller]
    fn refused(&self, method: &str, message: &Value, status: u16, reason: &str) {
        let answer = self.call(method, message);
        assert_eq!(answer.status, status, "{method}: {}", answer.text);
        assert_eq!(answer.reason(), reason);
    }
}

fn put(key: &str) -> Value {
    json!({
        "subject": {"id": "person-1"}, "collection": "profiles", "key": key, "body": "aGVsbG8=",
        "requestId": ID, "createSubject": true,
        "evidence": [{"kind": "RESIDENCE", "value": "DE"}],
    })
}

fn named(key: &str) -> Value {
    json!({
        "subject": {"id": "person-1", "domicile": "eu-fra"}, "collection": "profiles", "key": key,
    })
}

fn with(mut message: Value, field: &str, value: Value) -> Value {
    message[field] = value;
    message
}

fn open(regions: Vec<&'static str>, tables: &'static str) -> Deployment {
    Deployment::start(&Options { regions, tls: true, gateway_tables: tables, ..Options::default() })
}

fn caller<'a>(deployment: &'a Deployment, claims: &Value) -> Curl<'a> {
    Curl { deployment, token: Some(deployment.secured().token(claims)), version: HTTP_1 }
}

#[test]
fn curl_with_a_token_puts_gets_lists_and_deletes() {
    let deployment = open(vec!["eu-fra"], OPEN);
    let curl = caller(&deployment, &json!({}));
    let stored = curl.good("Records/Put", &put("k"));
    assert_eq!(stored["subject"]["domicile"], "eu-fra");
    assert_eq!((&stored["version"], &stored["ruling"]["mapEpoch"]), (&json!("1"), &json!("1")));
    assert_eq!(curl.good("Records/Put", &put("k"))["replayed"], true);
    let over_2 = Curl { version: "--http2", ..caller(&deployment, &json!({})) };
    assert_eq!(over_2.good("Records/Get", &named("k"))["version"], "1");
    let record = curl.good("Records/Get", &named("k"));
    assert_eq!((&record["body"], &record["etag"]), (&json!("aGVsbG8="), &stored["etag"]));

    let own = json!({ "subject": {"id": "person-1", "domicile": "eu-fra"} });
    let of = with(own, "collection", json!("profiles"));
    assert_eq!(curl.good("Records/List", &of)["records"][0]["key"], "k");
    assert_eq!(curl.good("Records/Count", &of)["count"], "1");
    let batch = curl.good("Records/BatchGet", &json!({ "requests": [named("k"), named("none")] }));
    let text = batch.to_string();
    assert!(text.contains("aGVsbG8=") && text.contains("RECORD_NOT_FOUND"), "{text}");

    let delete = with(named("k"), "requestId", json!("5f0c6a37-91b5-4c56-8a7e-4a1b7b0f6a11"));
    let deleted = curl.good("Records/Delete", &delete);
    assert_eq!(deleted["version"], "2");
    curl.refused("Records/Get", &named("k"), 404, "RECORD_NOT_FOUND");

    // A body of 12 MiB is above what is let through by default: the map says 1 MiB.
    let large = with(put("large"), "body", json!("AAAA".repeat(4 << 20)));
    let file = deployment.root().join("large.json");
    std::fs::write(&file, large.to_string()).expect("a file");
    let data = format!("@{}", file.display());
    let kind = ["--header", "content-type: application/json"];
    let answer = curl.with("Records/Put", &[&kind[..], &["--data-binary", &data]].concat());
    assert_eq!((answer.status, answer.reason().as_str()), (413, "BODY_TOO_LARGE"));
}

#[test]
fn every_kind_of_refusal_has_its_status_and_reason() {
    let deployment =
        open(vec!["eu-fra"], "[http]\njson = true\n[limits]\ncalls_per_second_per_tenant = 8\n");
    let curl = caller(&deployment, &json!({}));
    let first = curl.good("Records/Put", &put("k"));
    curl.refused("Records/Put", &with(put("k"), "body", json!("!")), 400, "FIELD_INVALID");
    curl.refused("Records/Put", &with(put("k"), "requestId", json!("")), 400, "FIELD_MISSING");
    curl.refused("Records/Get", &named("none"), 404, "RECORD_NOT_FOUND");
    let stale = with(
        with(put("k"), "ifVersion", json!("7")),
        "requestId",
        json!("6d0f8b2e-6b0e-4f7c-9b1f-8a1c2d3e4f50"),
    );
    curl.refused("Records/Put", &stale, 409, "VERSION_MISMATCH");
    assert_eq!(first["version"], "1");

    let nothing = Curl { deployment: &deployment, token: None, version: HTTP_1 };
    let answer = nothing.call("Records/Get", &named("k"));
    assert_eq!((answer.status, answer.reason().as_str()), (401, "IDENTITY_MISSING"));
    assert!(answer.head.contains("www-authenticate: bearer"), "{}", answer.head);
    // Over HTTP/2, too, the answer comes whole, whether the request was read or not.
    let (kind, page) = ("content-type: application/json", "x".repeat(300 << 10));
    let over_2 = Curl { version: "--http2", ..nothing };
    for _ in 0..10 {
        let answer =
            over_2.with("Records/Get", &["--header", kind, "--data-binary", &page[..90_000]]);
        assert_eq!((answer.status, answer.reason().as_str()), (401, "IDENTITY_MISSING"));
    }
    let forged = Curl { deployment: &deployment, token: Some("a.b.c".to_owned()), version: HTTP_1 };
    forged.refused("Records/Get", &named("k"), 401, "IDENTITY_INVALID");
    let reader = caller(&deployment, &json!({ "roles": ["reader"] }));
    reader.refused("Records/Put", &put("k"), 403, "NOT_PERMITTED");
    // A region whose shard does not run.
    let away = json!({
        "subject": {"id": "p", "domicile": "us-iad"}, "collection": "profiles", "key": "k",
    });
    crate::support::process::pause(std::time::Duration::from_secs(2));
    curl.refused("Records/Get", &away, 503, "REGION_UNAVAILABLE");
    // More calls than the tenant may make in a second: a client makes them, as each curl takes its time.
    let runtime = Runtime::new().expect("a runtime");
    let access = deployment.secured().with_token(curl.token.as_deref().expect("a token"));
    let url = deployment.gateway_url();
    let client = runtime.block_on(Client::connect_with(&url, ONCE, access)).expect("a gateway");
    let flood = runtime.spawn(async move {
        loop {
            get(&client, "person-1", "eu-fra", "k").await.ok();
            // A call fails at once when its runtime ends: the task must end with it.
            tokio::task::yield_now().await;
        }
    });
    let busy = (0..100).map(|_| curl.call("Records/Get", &named("k")));
    let busy = busy.into_iter().find(|answer| answer.status == 429).expect("a limit");
    assert_eq!(busy.reason(), "TENANT_BUSY");
    assert!(busy.head.contains("retry-after: "), "{}", busy.head);
    flood.abort();
    assert!(runtime.block_on(flood).is_err_and(|ended| ended.is_cancelled()));
}

#[test]
fn a_page_may_call_only_from_an_origin_that_is_named() {
    let deployment = open(vec!["eu-fra"], OPEN);
    let curl = caller(&deployment, &json!({}));
    let preflight = |origin: &str| {
        let origin = format!("origin: {origin}");
        let asks = ["--header", "access-control-request-method: POST"];
        let headers = ["--header", "access-control-request-headers: authorization"];
        let arguments = [&["--request", "OPTIONS", "--header", &origin][..], &asks, &headers];
        Curl { deployment: &deployment, token: None, version: HTTP_1 }
            .with("Records/Get", &arguments.concat())
    };
    let allowed = preflight("https://app.example");
    assert_eq!(allowed.status, 204);
    for header in [
        "access-control-allow-origin: https://app.example",
        "access-control-allow-methods: post",
        "access-control-allow-headers: authorization",
        "vary: origin",
    ] {
        assert!(allowed.head.contains(header), "{}", allowed.head);
    }
    assert!(!allowed.head.contains("allow-credentials"), "{}", allowed.head);
    let refused = preflight("https://evil.example");
    assert_eq!(refused.status, 403);
    assert!(!refused.head.contains("access-control"), "{}", refused.head);

    curl.good("Records/Put", &put("k"));
    let page = |origin: &str, kind: &str, data: &str| {
        let (origin, kind) = (format!("origin: {origin}"), format!("content-type: {kind}"));
        let data = ["--header", &kind, "--data-binary", data];
        curl.with("Records/Get", &[&["--header", &origin][..], &data].concat())
    };
    let message = named("k").to_string();
    let got = page("https://app.example", "application/json", &message);
    assert_eq!((got.status, &got.json()["body"]), (200, &json!("aGVsbG8=")));
    assert!(got.head.contains("access-control-allow-origin: https://app.example"));
    assert_eq!(page("https://evil.example", "application/json", &message).status, 403);
    // gRPC-Web, as text: an empty message is refused in the answer's trailers or headers.
    let web = page("https://app.example", "application/grpc-web-text", "AAAAAAA=");
    assert_eq!(web.status, 200);
    assert!(web.head.contains("grpc-status: 3"), "{}", web.head);
    assert!(web.head.contains("content-type: application/grpc-web"), "{}", web.head);
    assert_eq!(page("https://app.example", "text/plain", &message).status, 415);
}

#[test]
fn without_configuration_curl_gets_nothing() {
    let deployment = open(vec!["eu-fra"], "");
    let secured = deployment.secured();
    let url = format!("{}/bailiwick.v1.Records/Get", deployment.gateway_url());
    let curl = |version: &str| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--max-time", "120", version, "--write-out", "%{http_code}"]);
        curl.arg("--cacert").arg(deployment.root().join("tls/authorities.pem"));
        curl.arg("--header").arg(format!("authorization: Bearer {}", secured.token(&json!({}))));
        curl.args(["--header", "content-type: application/json", "--data-binary", "", &url]);
        let done = curl.output().expect("curl can be started");
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    // HTTP/1.1 is not spoken at all; over HTTP/2 JSON is not taken.
    assert_eq!(curl("--http1.1"), "000");
    assert_eq!(curl("--http2"), "415");
}

#[test]
fn a_collection_that_wants_sealed_bodies_refuses_them_plain_as_json() {
    let usual = Options::default();
    let name = "name = \"profiles\"\n";
    let map = usual.map.replacen(name, &format!("{name}transit = \"sealed\"\n"), 1);
    assert_ne!(map, usual.map);
    let options =
        Options { regions: vec!["eu-fra"], tls: true, gateway_tables: OPEN, map, ..usual };
    let deployment = Deployment::start(&options);
    let token = Some(deployment.secured().token(&json!({})));
    let curl = Curl { deployment: &deployment, token, version: HTTP_1 };
    curl.refused("Records/Put", &put("main"), 400, "TRANSIT_NOT_SEALED");
    let get = json!({
        "subject": {"id": "person-1", "domicile": "eu-fra"}, "collection": "profiles", "key": "main",
    });
    curl.refused("Records/Get", &get, 400, "TRANSIT_NOT_SEALED");
    let key = curl.good("Transit/GetKey", &json!({"region": "eu-fra"}));
    let note = key["note"].as_str().expect("a note");
    assert!(note.starts_with("bailiwick transit key v1\nsample/eu-fra\n"), "{note}");
    curl.refused("Transit/GetKey", &json!({"region": "no-where"}), 400, "DOMICILE_UNKNOWN");
    curl.refused("Transit/GetKey", &json!({"region": "ru-msk"}), 503, "REGION_UNAVAILABLE");
}
