//! Nothing that a caller sends gets out sideways: every part of a request carries a marker, and
//! then everything else that the processes say or write is searched, and so is every byte that
//! goes from the gateway to the shard. With tokens that are good, and over TLS: `leaks/signed.rs`.
//! A panic of the binary says nothing either: `leaks/panics.rs`.

mod lists;
mod panics;
mod signed;
pub(crate) mod tap;

use std::fs;
use std::time::Duration;

use crate::support::load::{evidence, put};
use crate::support::maps::text;
use crate::support::process::{get, run, wait_until};
use crate::support::{Deployment, search};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use client::api;
use lists::attribute;
use tap::Tap;
use tonic::body::Body;
use tonic::codegen::{Service as _, http};
use tonic::metadata::{Ascii, BinaryMetadataValue, MetadataKey, MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use wire::v1::records_client::RecordsClient;
use wire::v1::subjects_client::SubjectsClient;

/// Stands in everything that is sent. Lower case, as header names must be.
const MARKER: &str = "leakq7zx";
/// A number that the phone plans know, without its country code.
const PHONE: &str = "30901820";
/// The region of the test, and where its records lie.
const REGION: &str = "eu-fra";

/// Headers as a caller may set them: some that proxies and tracers forward, some that a server
/// may read, some that nobody knows.
const HEADERS: &[&str] = &[
    "baggage",
    "traceparent",
    "tracestate",
    "b3",
    "x-b3-traceid",
    "x-request-id",
    "x-forwarded-for",
    "forwarded",
    "x-cloud-trace-context",
    "grpc-trace-context",
    "x-tenant",
    "x-bailiwick-tenant",
    "cookie",
    "referer",
    "x-leakq7zx",
];

/// A marker of its own for each place, so that a find names where it came from.
fn marker(place: &str) -> String {
    format!("{MARKER}-{place}")
}

/// A token that nobody signed, with markers among its claims.
fn token() -> String {
    let part = |json: String| BASE64_URL_SAFE_NO_PAD.encode(json);
    let head = part(format!(r#"{{"alg":"none","kid":"{}"}}"#, marker("kid")));
    let claims = part(format!(
        r#"{{"sub":"{}","iss":"{}","tenant":"{}"}}"#,
        marker("of-token"),
        marker("iss"),
        marker("tenant")
    ));
    format!("{head}.{claims}.{}", marker("signature"))
}

/// Markers in all headers that a caller may send.
fn poison(metadata: &mut MetadataMap) {
    for name in HEADERS {
        let value = match *name {
            // As a tracer would send it: only whole ones are read by those who read them.
            "traceparent" => "00-1eaf07221eaf07221eaf07221eaf0722-1eaf07221eaf0722-01".to_owned(),
            _ => format!("user={}", marker(name)),
        };
        metadata.insert(*name, MetadataValue::try_from(value).expect("a header"));
    }
    let key = MetadataKey::from_bytes(b"x-leakq7zx-bin").expect("a name");
    let value = BinaryMetadataValue::from_bytes(marker("binary").as_bytes());
    metadata.insert_bin(key, value);
}

/// A connection to a gateway, and the token of whoever has one.
struct Sender {
    channel: Channel,
    bearer: Option<MetadataValue<Ascii>>,
}

impl Sender {
    fn new(channel: Channel, token: Option<&str>) -> Self {
        let bearer = token.map(|token| format!("Bearer {token}").parse().expect("a header"));
        Self { channel, bearer }
    }

    /// A message with markers in all of its headers.
    fn poisoned<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        poison(request.metadata_mut());
        if let Some(bearer) = &self.bearer {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        request
    }
}

/// A put that succeeds, with a marker wherever one can stand.
fn good() -> api::PutRecordRequest {
    let mut facts = evidence("DE");
    facts.push(api::Evidence {
        kind: api::EvidenceKind::Phone.into(),
        value: format!("+49{PHONE}"),
        observe_time: None,
    });
    let put = put(&marker("subject"), &marker("key"), marker("body").as_bytes(), &facts);
    let attributes = vec![attribute("mail", "attribute"), attribute("note", "note")];
    api::PutRecordRequest { attributes, ..put }
}

/// Puts that are refused, each for its marker.
fn bad() -> Vec<api::PutRecordRequest> {
    let place = |id: &str, domicile: &str| {
        Some(api::SubjectRef { id: id.to_owned(), domicile: domicile.to_owned() })
    };
    let fact = |kind: api::EvidenceKind| api::Evidence {
        kind: kind.into(),
        value: marker("evidence"),
        observe_time: None,
    };
    let of = |change: &dyn Fn(&mut api::PutRecordRequest)| {
        let mut request = good();
        change(&mut request);
        request
    };
    let mut all = vec![
        of(&|r| r.collection = marker("collection")),
        of(&|r| r.subject = place(&marker("subject"), &marker("domicile"))),
        of(&|r| r.subject = place(&format!("{}\n", marker("line")), "")),
        of(&|r| r.key = format!("{}\u{1b}[31m", marker("escape"))),
        of(&|r| r.request_id = marker("request")),
        of(&|r| r.etag = marker("etag")),
        of(&|r| r.if_version = Some(77)),
        of(&|r| r.attributes = vec![attribute(&marker("name"), "value")]),
        of(&|r| r.attributes = vec![attribute("mail", "twice"); 2]),
        of(&|r| r.body = marker("large").repeat(1 << 18).into()),
        of(&|r| {
            r.subject = place(&marker("other"), "");
            r.create_subject = false;
        }),
    ];
    let country = marker("finding");
    let kind = api::EvidenceKind::Citizenship.into();
    all.push(of(&|r| r.findings = vec![api::Finding { kind, country: country.clone() }]));
    all.push(of(&|r| r.findings = vec![api::Finding { kind: 99, country: country.clone() }]));
    for kind in [
        api::EvidenceKind::Citizenship,
        api::EvidenceKind::Document,
        api::EvidenceKind::Residence,
        api::EvidenceKind::CollectedIn,
        api::EvidenceKind::Ip,
        api::EvidenceKind::Phone,
        api::EvidenceKind::Sim,
    ] {
        all.push(of(&|r| r.evidence = vec![fact(kind)]));
    }
    all
}

/// An error as the caller gets it says nothing that was sent.
fn check_silent(what: &str, status: &Status) {
    let details = String::from_utf8_lossy(status.details()).into_owned();
    let shown = format!("{} {details} {:?}", status.message(), status.metadata());
    assert!(!shown.to_lowercase().contains(MARKER), "{what}: {shown}");
    assert!(!shown.contains(PHONE), "{what}: {shown}");
}

/// Sends everything that a caller can send: what is done, and what is refused.
async fn send_all(sender: &Sender) {
    let poisoned = |message| sender.poisoned(message);
    let mut records = RecordsClient::new(sender.channel.clone());
    let done = records.put(poisoned(good())).await.expect("it is stored").into_inner();
    let subject = done.subject.expect("a subject");
    assert_eq!(subject.domicile, REGION);

    for (n, request) in bad().into_iter().enumerate() {
        let refused = records.put(poisoned(request)).await.err();
        assert!(refused.is_some(), "bad put {n} was taken");
        let Some(refused) = refused else { continue };
        check_silent(&format!("bad put {n}"), &refused);
    }
    for timeout in [marker("timeout"), "0n".to_owned()] {
        let mut request = poisoned(good());
        request.metadata_mut().insert("grpc-timeout", timeout.parse().expect("a header"));
        check_silent("timeout", &records.put(request).await.err().expect("no time"));
    }
    let mut request = poisoned(good());
    let bearer = format!("Bearer {}", token()).parse().expect("a header");
    request.metadata_mut().insert("authorization", bearer);
    // A listener without tokens ignores one, another refuses one that nobody signed. Neither
    // shows it.
    let taken = records.put(request).await;
    assert_eq!(taken.is_err(), sender.bearer.is_some());
    if let Err(refused) = taken {
        check_silent("token", &refused);
    }

    let read = api::GetRecordRequest {
        subject: Some(subject.clone()),
        collection: "profiles".to_owned(),
        key: marker("key"),
        ..Default::default()
    };
    let record =
        records.get(sender.poisoned(read.clone())).await.expect("it is there").into_inner();
    assert_eq!(record.body, marker("body").as_bytes());
    let absent = api::GetRecordRequest { key: marker("absent"), ..read };
    check_silent(
        "absent",
        &records.get(sender.poisoned(absent)).await.err().expect("it is not there"),
    );

    lists::send(sender).await;
    let unknown = api::CreateSubjectRequest {
        subject: Some(api::SubjectRef { id: marker("new"), domicile: String::new() }),
        collection: marker("collection"),
        ..Default::default()
    };
    let mut subjects = SubjectsClient::new(sender.channel.clone());
    check_silent(
        "create",
        &subjects.create(sender.poisoned(unknown)).await.err().expect("no collection"),
    );
    check_unknown_method(sender).await;
}

/// A call to a method whose name is a marker: the answer's headers and trailers say nothing of it.
async fn check_unknown_method(sender: &Sender) {
    let mut channel = sender.channel.clone();
    let path = format!("http://localhost/bailiwick.v1.Records/{}", marker("method"));
    let mut request = http::Request::post(path).header("content-type", "application/grpc");
    for name in HEADERS {
        request = request.header(*name, marker(name));
    }
    if let Some(bearer) = &sender.bearer {
        request = request.header("authorization", bearer.to_str().expect("text"));
    }
    let request = request.body(Body::empty()).expect("a request");
    std::future::poll_fn(|cx| channel.poll_ready(cx)).await.expect("a connection");
    let answer = channel.call(request).await.expect("an answer");
    let status = Status::from_header_map(answer.headers()).expect("a status in the headers");
    assert_eq!(status.code(), Code::Unimplemented);
    check_silent("path", &status);
    assert!(!format!("{:?}", answer.headers()).contains(MARKER));
}

#[test]
fn nothing_that_is_sent_gets_out_sideways() {
    let mut deployment = Deployment::start(&lists::options());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");

    // From here on, what the gateway says to the shard goes through a tap.
    let tap = Tap::between(&runtime, &mut deployment, REGION);
    let greeted = tap.requests();
    assert!(greeted >= 1, "the session is not seen");

    let url = deployment.gateway_url();
    runtime.block_on(async {
        let endpoint = Endpoint::from_shared(url).expect("an address");
        let agent = marker("agent");
        let endpoint = endpoint.user_agent(agent).expect("a header");
        let channel = endpoint.timeout(Duration::from_secs(20)).connect().await;
        send_all(&Sender::new(channel.expect("a gateway"), None)).await;
    });

    // What had to go to the shard did, on the one session that was open before anybody called:
    // no header of a caller can have gone with it, and nothing else of the caller did.
    let sent = tap.bytes();
    for needed in ["subject", "key", "body"] {
        assert!(holds(&sent, &marker(needed)), "{needed} is not seen: the tap is broken");
    }
    assert_eq!(tap.requests(), greeted, "a call opened a stream of its own");
    let mut not_for_shards: Vec<String> = HEADERS.iter().map(|name| marker(name)).collect();
    not_for_shards.extend(["agent", "binary", "evidence", "finding", "method"].map(marker));
    not_for_shards.extend(["kid", "of-token", "iss", "tenant", "signature"].map(marker));
    not_for_shards.extend([PHONE.to_owned(), "1eaf0722".to_owned(), token()]);
    for part in &not_for_shards {
        assert!(!holds(&sent, part), "{part} goes to the shard");
    }

    check_pages(&mut deployment);
    mirror(&deployment);
    assert_eq!(deployment.gateway().stop(), 0);
    assert_eq!(deployment.shard(REGION).stop(), 0);
    check_files(&deployment);
}

/// Puts the whole log as auditors get it among the files that are searched, entries printed and
/// all.
fn mirror(deployment: &Deployment) {
    deployment.wait_signed(REGION);
    let folder = deployment.root().join("mirror");
    let port = deployment.audit_port(REGION);
    let url = format!("http://127.0.0.1:{port}");
    let done = run(&["audit", "mirror", "--shard", &url, text(&folder)]);
    assert_eq!(done.code, 0, "{done:?}");
    let done = run(&["audit", "entries", "--json", text(&folder.join(format!("{REGION}.s1.1")))]);
    assert!(done.stdout.contains("PLACE"), "{done:?}");
    fs::write(folder.join("entries.json"), done.stdout).expect("it can be written");
    let (status, page) = get(port, &format!("/{}/checkpoint", marker("origin"))).expect("a page");
    assert_eq!(status, 404);
    check_text("the page of a log that is not there", page.as_bytes());
}

/// The operators' pages of both servers hold nothing of it.
fn check_pages(deployment: &mut Deployment) {
    for admin in [deployment.gateway().admin(), deployment.shard(REGION).admin()] {
        for page in ["/livez", "/readyz", "/metrics"] {
            let (_, text) = get(admin, page).expect("a page");
            assert!(!text.is_empty(), "{page}");
            check_text(&format!("{page} of {admin}"), text.as_bytes());
        }
        let path = format!("/{}", marker("page"));
        let (status, text) = get(admin, &path).expect("a page");
        assert_eq!(status, 404);
        check_text("the page that is not there", text.as_bytes());
    }
}

/// Nor does any file of the deployment, by name or content: configurations, what the processes
/// printed, the store, whose rows are sealed, the checkpoints, the keys.
fn check_files(deployment: &Deployment) {
    let mut seen = 0;
    search::files(deployment.root(), &mut |path, bytes| {
        seen += 1;
        let name = path.to_str().expect("a path that is text");
        check_text(&format!("the name {name}"), name.as_bytes());
        check_text(name, bytes);
    });
    assert!(seen > 8, "only {seen} files were searched");
    // The processes did say something of these calls: the search was not of nothing.
    let said = deployment.stderr("gateway");
    for reason in ["COLLECTION_UNKNOWN", "EVIDENCE_MALFORMED", "FIELD_INVALID"] {
        assert!(said.contains(reason), "{reason} was not logged");
    }
}

fn check_text(what: &str, bytes: &[u8]) {
    let lower = bytes.to_ascii_lowercase();
    for part in [MARKER, PHONE, "1eaf0722", &token().to_lowercase()] {
        assert!(!holds(&lower, part), "{part} stands in {what}");
    }
}

fn holds(bytes: &[u8], part: &str) -> bool {
    bytes.windows(part.len()).any(|window| window == part.as_bytes())
}

#[test]
fn the_tap_counts_what_opens_a_stream() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let echo = runtime.block_on(tap::sink());
    let tap = Tap::start(&runtime, echo);
    tap::check_counting(&runtime, &tap);
    wait_until("the marker passes", Duration::from_secs(60), || holds(&tap.bytes(), MARKER));
}
