//! JSON through the whole stack of a gateway, over HTTP/1.1 and HTTP/2.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Version;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use terms::Reason;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::body::Body;
use tower::{Service as _, ServiceExt as _};

use super::rig::{Rig, Shard, gateway_with, settings, welcome};
use crate::{HttpApis, Settings};

const PUT: &str = "/bailiwick.v1.Records/Put";

fn put_json() -> Value {
    json!({
        "subject": {"id": "p1"}, "collection": "profiles", "key": "k", "body": "aGk=",
        "requestId": "0b8e4c26-3f0f-4a80-8f3b-0d6a7c1e9d55", "createSubject": true,
        "evidence": [{"kind": "RESIDENCE", "value": "US"}],
    })
}

async fn rig(apis: HttpApis, in_flight_max: usize, at: &[(&str, &str)]) -> Rig {
    let settings = Settings { apis, in_flight_max, ..settings() };
    let entropy = Arc::new(link::host::clock::SystemEntropy);
    Rig::of(gateway_with(at, settings, link::ops::health::Health::new(), entropy)).await
}

fn with_json() -> HttpApis {
    HttpApis { json: true, ..HttpApis::default() }
}

/// One request over HTTP/1.1, and its answer.
async fn ask(rig: &Rig, path: &str, headers: &str, body: &str) -> (u16, String, Value) {
    let mut stream = TcpStream::connect(rig.addr).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n{headers}\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), serde_json::from_str(body).unwrap_or_default())
}

/// The `ErrorInfo` of a refusal.
fn info(body: &Value) -> &Value {
    let details = body["details"].as_array().expect("details");
    let info = details.iter().find(|detail| detail["type"] == "google.rpc.ErrorInfo");
    &info.expect("an ErrorInfo")["debug"]
}

fn reason(body: &Value) -> &str {
    info(body)["reason"].as_str().expect("a reason")
}

#[tokio::test]
async fn a_put_in_json_is_the_same_call() {
    let mut shard = Shard::start(welcome("us-iad", "US")).await;
    let rig = rig(with_json(), 64, &[("us-iad", &shard.address)]).await;
    let mut conn = shard.conn().await;
    rig.until_up("us-iad").await;
    let text = put_json().to_string();
    let (answer, call) = tokio::join!(ask(&rig, PUT, "", &text), conn.accept());
    assert_eq!(answer.0, 200, "{answer:?}");
    assert_eq!(answer.2["subject"], json!({"id": "p1", "domicile": "us-iad"}));
    assert!(answer.2["version"].is_string(), "64-bit numbers are strings");
    drop(call);
    // The same over HTTP/2.
    let mut channel = rig.channel().await;
    let request = http::Request::post(format!("http://localhost{PUT}"))
        .header("content-type", "application/json")
        .body(Body::new(Full::new(Bytes::from(text))))
        .unwrap();
    let (answer, _) = tokio::join!(channel.ready().await.unwrap().call(request), conn.accept());
    let answer = answer.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, Version::HTTP_2));
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(serde_json::from_slice::<Value>(&body).unwrap().get("etag").is_some());
    rig.until_idle().await;
}

#[tokio::test]
async fn what_is_refused_has_its_reason_and_holds_nothing() {
    let rig = rig(with_json(), 64, &[]).await;
    let good = put_json().to_string();
    for (path, headers, body, status, want) in [
        (PUT, "", "{", 400, Reason::FieldInvalid),
        (PUT, "", r#"{"none": 1}"#, 400, Reason::FieldInvalid),
        (PUT, "", "{}", 400, Reason::FieldMissing),
        (PUT, "connect-timeout-ms: 0\r\n", &good, 504, Reason::DeadlinePassed),
        (PUT, "connect-timeout-ms: 1x\r\n", &good, 400, Reason::FieldInvalid),
        (PUT, "connect-timeout-ms: 12345678901\r\n", &good, 400, Reason::FieldInvalid),
        (PUT, "", &good, 503, Reason::RegionUnavailable),
        ("/bailiwick.v1.Records/Nothing", "", "{}", 501, Reason::NotBuilt),
        ("/bailiwick.v1.Records/StreamPut", "", "{}", 501, Reason::NotBuilt),
        ("/", "", "{}", 501, Reason::NotBuilt),
    ] {
        let (got, head, answer) = ask(&rig, path, headers, body).await;
        assert_eq!((got, reason(&answer)), (status, want.as_str()), "{path} {body}: {answer}");
        assert!(head.contains("content-type: application/json"), "{head}");
        let id = info(&answer)["metadata"]["call_id"].as_str();
        assert_eq!(id.map(str::len), Some(32));
        assert_eq!(head.contains("retry-after:"), status == 503, "{head}");
    }
    let mut large = put_json();
    large["body"] = "AAAA".repeat(6 << 20).into();
    let (got, _, answer) = ask(&rig, PUT, "", &large.to_string()).await;
    assert_eq!((got, reason(&answer)), (413, "BODY_TOO_LARGE"), "{answer}");
    rig.until_idle().await;
}

#[tokio::test]
async fn a_full_gateway_says_so_in_json() {
    let mut shard = Shard::start(welcome("us-iad", "US")).await;
    let rig = rig(with_json(), 1, &[("us-iad", &shard.address)]).await;
    let mut conn = shard.conn().await;
    rig.until_up("us-iad").await;
    let text = put_json().to_string();
    let crowd = async {
        let call = conn.call().await;
        let (status, head, answer) = ask(&rig, PUT, "", &text).await;
        assert_eq!((status, reason(&answer)), (429, "GATEWAY_BUSY"));
        assert!(head.contains("retry-after: 1"), "{head}");
        conn.written(call.id).await;
    };
    let (answer, ()) = tokio::join!(ask(&rig, PUT, "", &text), crowd);
    assert_eq!(answer.0, 200);
    rig.until_idle().await;
}

#[tokio::test]
async fn without_configuration_no_byte_of_http_1_is_answered() {
    let rig = rig(HttpApis::default(), 64, &[]).await;
    let mut stream = TcpStream::connect(rig.addr).await.unwrap();
    let request = b"POST /bailiwick.v1.Records/Put HTTP/1.1\r\nhost: localhost\r\n\
                    content-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer));
    // The end of the connection, or a reset: either way nothing of HTTP/1.
    drop(ended.await.expect("the connection ends"));
    assert!(!answer.starts_with(b"HTTP/"), "{}", String::from_utf8_lossy(&answer));
    rig.until_idle().await;
}

#[tokio::test]
async fn headers_of_http_1_that_are_too_long_are_refused() {
    let rig = rig(with_json(), 64, &[]).await;
    let long = format!("x-long: {}\r\n", "x".repeat(20 << 10));
    assert_eq!(ask(&rig, PUT, &long, "{}").await.0, 431);
}
