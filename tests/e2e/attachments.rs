//! Attachments by the SDK and the binary, against real processes: whole, in parts, cut at any place,
//! killed in between, and with what a hostile caller sends.

use std::fs;
use std::io::{self, Cursor, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use client::{Client, api};
use sha2::{Digest as _, Sha256};
use terms::limits::ATTACHMENT_CHUNK_BYTES as MIB;
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use wire::v1::attachments_client::AttachmentsClient;
use wire::v1::upload_attachment_request::Part;
use wire::v1::upload_attachment_response::Outcome;

use crate::support::load::{ONCE, PATIENT, evidence, get, put, request_id};
use crate::support::process::run;
use crate::support::{Deployment, Options};

const ANNA: &str = "anna";

/// Bytes that do not repeat.
fn content(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut all = Vec::with_capacity(bytes + 8);
    while all.len() < bytes {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        all.extend(state.to_be_bytes());
    }
    all.truncate(bytes);
    all
}

fn anna() -> Option<api::SubjectRef> {
    Some(api::SubjectRef { id: ANNA.to_owned(), domicile: "eu-fra".to_owned() })
}

fn announce(key: &str, content: &[u8]) -> api::UploadSpec {
    api::UploadSpec {
        subject: anna(),
        collection: "profiles".to_owned(),
        key: key.to_owned(),
        request_id: request_id(),
        size: i64::try_from(content.len()).expect("small"),
        sha256: Sha256::digest(content).to_vec().into(),
        ..Default::default()
    }
}

fn part(key: &str, offset: i64, length: i64) -> api::DownloadAttachmentRequest {
    let (collection, key) = ("profiles".to_owned(), key.to_owned());
    api::DownloadAttachmentRequest {
        subject: anna(),
        collection,
        key,
        offset,
        length,
        ..Default::default()
    }
}

async fn stat(client: &Client, key: &str) -> Result<api::AttachmentInfo, String> {
    let (collection, key) = ("profiles".to_owned(), key.to_owned());
    let request =
        api::StatAttachmentRequest { subject: anna(), collection, key, ..Default::default() };
    client.stat(&request).await.map_err(reason)
}

fn reason(error: client::Error) -> String {
    error.refused().map_or_else(|| error.to_string(), |refused| refused.reason.clone())
}

/// A stream of our own, with which anything can be sent.
struct Raw {
    sender: mpsc::Sender<api::UploadAttachmentRequest>,
    answers: Streaming<api::UploadAttachmentResponse>,
}

impl Raw {
    async fn open(deployment: &Deployment) -> Self {
        let channel = Channel::from_shared(deployment.gateway_url()).expect("an address");
        let mut client = AttachmentsClient::new(channel.connect().await.expect("a gateway"));
        let (sender, receiver) = mpsc::channel(16);
        let answers = client.upload(ReceiverStream::new(receiver)).await.expect("a stream");
        Self { sender, answers: answers.into_inner() }
    }

    async fn send(&self, part: Part) {
        let message = api::UploadAttachmentRequest { part: Some(part) };
        self.sender.send(message).await.expect("the stream is open");
    }

    async fn data(&self, offset: usize, data: &[u8]) {
        let offset = i64::try_from(offset).expect("small");
        self.send(Part::Data(api::UploadData { offset, data: data.to_vec().into() })).await;
    }

    async fn answer(&mut self) -> Result<Outcome, Status> {
        let answer = self.answers.message().await?;
        Ok(answer.expect("an answer").outcome.expect("an outcome"))
    }

    /// Begins an upload: how many bytes the region has.
    async fn begin(deployment: &Deployment, spec: &api::UploadSpec) -> Result<(Self, i64), String> {
        let mut raw = Self::open(deployment).await;
        raw.send(Part::Spec(spec.clone())).await;
        match raw.answer().await {
            Ok(Outcome::CommittedBytes(bytes)) => Ok((raw, bytes)),
            Ok(Outcome::Done(_)) => Err("done".to_owned()),
            Err(status) => Err(said(status)),
        }
    }
}

fn said(status: Status) -> String {
    reason(client::Error::from(status))
}

fn start(engine: &'static str) -> (Deployment, Runtime) {
    let options = Options { regions: vec!["eu-fra"], engine, ..Options::default() };
    (Deployment::start(&options), Runtime::new().expect("a runtime"))
}

/// A client, and a subject that may have attachments.
async fn client(deployment: &Deployment) -> Client {
    let client = Client::connect(&deployment.gateway_url(), PATIENT).await.expect("a gateway");
    let first = put(ANNA, "first", b"hello", &evidence("DE"));
    client.put(&first).await.expect("a put");
    client
}

/// Kilobytes of memory that a process had at the most.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn sixty_four_mib_go_there_and_back_and_more_takes_no_more_memory() {
    let (mut deployment, runtime) = start("sled");
    let root = deployment.root().to_path_buf();
    let (from, to) = (root.join("from"), root.join("to"));
    runtime.block_on(async { client(&deployment).await });
    let pids = [deployment.gateway().pid(), deployment.shard("eu-fra").pid()];
    let url = deployment.gateway_url();
    let names = ["--subject", ANNA, "--domicile", "eu-fra", "--collection", "profiles"];
    let rest = ["--key", "film", "--gateway", &url, "--deadline-ms", "60000", "--json"];
    let attachment = |verb: &str, more: &[&str]| {
        let done = run(&[&["attachment", verb], &names[..], &rest, more].concat());
        assert_eq!(done.code, 0, "{done:?}");
        serde_json::from_str::<serde_json::Value>(&done.stdout).expect("JSON")
    };
    let there_and_back = |bytes: usize, version: u32| {
        let whole = content(bytes);
        fs::write(&from, &whole).expect("a file");
        let stored = attachment("put", &["--file", from.to_str().expect("text")]);
        let sha256 = hex::encode(Sha256::digest(&whole));
        assert_eq!(
            (&stored["sha256"], &stored["proof"]),
            (&sha256.clone().into(), &"receipt".into())
        );
        assert_eq!(stored["version"], version);
        let got = attachment("get", &["--out", to.to_str().expect("text")]);
        assert_eq!(got["sha256"], sha256);
        assert!(fs::read(&to).expect("a file") == whole, "other bytes came back");
        fs::remove_file(&to).expect("it is there");
        assert_eq!(attachment("stat", &[])["size"], bytes);
        pids.map(peak)
    };
    // The store's cache and buffers are full after the first; then three times as much takes no more.
    let first = there_and_back(64 * MIB + 12_345, 1);
    let second = there_and_back(192 * MIB, 2);
    let grown = [0, 1].map(|n| second[n].saturating_sub(first[n]) / 1_024);
    println!("gateway and shard grew by {grown:?} MiB");
    assert!(grown[0] < 16 && grown[1] < 64, "{grown:?} MiB");
    assert_eq!(attachment("delete", &[])["version"], 3);
    let gone = run(&[&["attachment", "stat"], &names[..], &rest].concat());
    assert!(gone.code != 0 && gone.stderr.contains("RECORD_NOT_FOUND"), "{gone:?}");
}

#[test]
fn an_upload_that_is_cut_anywhere_goes_on_and_shows_nothing_before_its_end() {
    let (deployment, runtime) = start("sled");
    let whole = content(3 * MIB + 700);
    runtime.block_on(async {
        let client = client(&deployment).await;
        let spec = announce("film", &whole);
        for stored in 0..4 {
            // Each stream brings one chunk, and a part of the next is lost with it.
            let (mut raw, committed) = Raw::begin(&deployment, &spec).await.expect("it begins");
            assert_eq!(usize::try_from(committed), Ok((stored * MIB).min(whole.len())));
            let (from, to) = (stored * MIB, ((stored + 1) * MIB).min(whole.len()));
            raw.data(from, &whole[from..to]).await;
            let committed = i64::try_from(to).expect("small");
            assert!(matches!(raw.answer().await, Ok(Outcome::CommittedBytes(n)) if n == committed));
            if to < whole.len() {
                raw.data(to, &whole[to..(to + 500).min(whole.len())]).await;
            }
            drop(raw);
            if to < whole.len() {
                assert_eq!(stat(&client, "film").await.err().as_deref(), Some("RECORD_NOT_FOUND"));
            }
        }
        // All is there: whether the last stream ended it or not, a retry says so.
        let done = client.upload(&spec, &mut Cursor::new(&whole), |_| ()).await.expect("stored");
        assert_eq!(done.version, 1);
        let mut back = Vec::new();
        client.download_to(part("film", 0, 0), &mut back, |_, _| ()).await.expect("it");
        assert!(back == whole, "other bytes came back");
    });
}

#[test]
fn an_upload_outlives_its_shard_and_a_retry_has_no_second_effect() {
    let (mut deployment, runtime) = start("fjall");
    let whole = content(2 * MIB + 1);
    let spec = runtime.block_on(async {
        client(&deployment).await;
        let spec = announce("film", &whole);
        let (mut raw, _) = Raw::begin(&deployment, &spec).await.expect("it begins");
        raw.data(0, &whole[..MIB]).await;
        assert!(matches!(raw.answer().await, Ok(Outcome::CommittedBytes(_))));
        spec
    });
    deployment.shard("eu-fra").kill();
    deployment.restart("eu-fra");
    runtime.block_on(async {
        let client = Client::connect(&deployment.gateway_url(), PATIENT).await.expect("a gateway");
        let mut told = Vec::new();
        let done = client.upload(&spec, &mut Cursor::new(&whole), |bytes| told.push(bytes)).await;
        let done = done.expect("it is stored");
        assert_eq!((done.version, told[0]), (1, MIB as u64));
        let again = client.upload(&spec, &mut Cursor::new(&whole), |_| ()).await.expect("a retry");
        assert!(again.replayed && again.version == 1);
        // Another version replaces it as a whole.
        let other = content(MIB + 9);
        let next = announce("film", &other);
        let done = client.upload(&next, &mut Cursor::new(&other), |_| ()).await.expect("stored");
        assert_eq!(done.version, 2);
        let mut back = Vec::new();
        let is = client.download_to(part("film", 0, 0), &mut back, |_, _| ()).await.expect("it");
        assert!(back == other && is.etag == done.etag);
        // Parts, across chunks and past the end.
        for (offset, length) in
            [(0, 1), (MIB - 1, 2), (MIB, 0), (7, MIB), (MIB + 9, 0), (5, 4 * MIB)]
        {
            let end = if length == 0 { other.len() } else { (offset + length).min(other.len()) };
            let (from, many) =
                (offset.try_into().expect("small"), length.try_into().expect("small"));
            let mut back = Vec::new();
            client.download_to(part("film", from, many), &mut back, |_, _| ()).await.expect("it");
            assert!(back == other[offset..end], "{offset} {length}");
        }
        let past = client.download_to(part("film", 1 << 40, 0), &mut Vec::new(), |_, _| ()).await;
        assert_eq!(past.err().map(reason).as_deref(), Some("FIELD_INVALID"));
        // A list says what it is; a get refuses it; a put of the same record makes it small again.
        let list = api::ListRecordsRequest {
            collection: "profiles".to_owned(),
            subject: anna(),
            view: api::RecordView::Whole.into(),
            ..Default::default()
        };
        let page = client.list_page(&list).await.expect("a page");
        let listed = page.records.iter().find(|record| record.key == "film").expect("it");
        assert_eq!(
            (listed.attachment_bytes, listed.body.len()),
            (i64::try_from(other.len()).expect("small"), 0)
        );
        assert_eq!(
            get(&client, ANNA, "eu-fra", "film").await.err().as_deref(),
            Some("BODY_IS_ATTACHMENT")
        );
        client.put(&put(ANNA, "film", b"small", &evidence("DE"))).await.expect("a put");
        assert_eq!(get(&client, ANNA, "eu-fra", "film").await.expect("it").body, "small");
        let mut back = Vec::new();
        let is = client.download_to(part("film", 1, 3), &mut back, |_, _| ()).await.expect("it");
        assert_eq!((back.as_slice(), is.size, is.sha256.len()), (&b"mal"[..], 5, 0));
    });
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_nothing() {
    let (deployment, runtime) = start("sled");
    let whole = content(MIB + 5);
    runtime.block_on(async {
        let client = client(&deployment).await;
        let begin = async |change: &dyn Fn(&mut api::UploadSpec)| {
            let mut changed = announce("film", &whole);
            change(&mut changed);
            Raw::begin(&deployment, &changed).await.err().unwrap_or_else(|| "begun".to_owned())
        };
        let unknown = |spec: &mut api::UploadSpec| {
            spec.subject =
                Some(api::SubjectRef { id: "nobody".to_owned(), domicile: "eu-fra".to_owned() });
        };
        assert_eq!(begin(&unknown).await, "SUBJECT_UNKNOWN");
        assert_eq!(
            begin(&|spec| spec.subject.as_mut().expect("one").domicile.clear()).await,
            "DOMICILE_REQUIRED"
        );
        assert_eq!(begin(&|spec| spec.size = (1 << 30) + 1).await, "ATTACHMENT_TOO_LARGE");
        assert_eq!(begin(&|spec| spec.size = 0).await, "FIELD_INVALID");
        assert_eq!(begin(&|spec| spec.size = -1).await, "FIELD_INVALID");
        assert_eq!(begin(&|spec| spec.sha256 = vec![1; 31].into()).await, "FIELD_INVALID");
        assert_eq!(begin(&|spec| spec.request_id.clear()).await, "FIELD_MISSING");
        assert_eq!(begin(&|spec| spec.if_version = Some(7)).await, "VERSION_MISMATCH");
        assert_eq!(begin(&|spec| spec.collection = "none".to_owned()).await, "COLLECTION_UNKNOWN");
        let past = prost_types::Timestamp { seconds: 1_000_000_000, nanos: 0 };
        assert_eq!(begin(&|spec| spec.expire_time = Some(past)).await, "FIELD_INVALID");

        let spec = announce("film", &whole);
        let after = async |first: Part| {
            let (mut raw, _) = Raw::begin(&deployment, &spec).await.expect("it begins");
            raw.send(first).await;
            said(raw.answer().await.err().expect("it is refused"))
        };
        let data =
            |offset, data: Vec<u8>| Part::Data(api::UploadData { offset, data: data.into() });
        assert_eq!(after(data(1, vec![0; 8])).await, "UPLOAD_OUT_OF_STEP");
        assert_eq!(after(data(-1, vec![0; 8])).await, "UPLOAD_OUT_OF_STEP");
        assert_eq!(after(data(0, Vec::new())).await, "FIELD_INVALID");
        assert_eq!(after(data(0, vec![0; MIB + 1])).await, "FIELD_INVALID");
        assert_eq!(after(Part::Spec(spec.clone())).await, "FIELD_INVALID");
        let mut raw = Raw::open(&deployment).await;
        raw.data(0, b"x").await;
        assert_eq!(said(raw.answer().await.err().expect("refused")), "FIELD_MISSING");
        // The same id for another upload.
        let mut other = spec.clone();
        other.size -= 1;
        assert_eq!(
            Raw::begin(&deployment, &other).await.err().as_deref(),
            Some("REQUEST_ID_REUSED")
        );

        // The hash does not match: what was uploaded is discarded, and nothing can be read.
        let mut wrong = announce("wrong", &whole);
        wrong.sha256 = vec![7; 32].into();
        let once = Client::connect(&deployment.gateway_url(), ONCE).await.expect("a gateway");
        let refused = once.upload(&wrong, &mut Cursor::new(&whole), |_| ()).await;
        assert_eq!(refused.err().map(reason).as_deref(), Some("CONTENT_MISMATCH"));
        assert_eq!(stat(&client, "wrong").await.err().as_deref(), Some("RECORD_NOT_FOUND"));
        assert_eq!(Raw::begin(&deployment, &wrong).await.map(|(_, bytes)| bytes), Ok(0));

        // One subject has eight uploads at the most: `film` and `wrong` are two of them.
        let more = (0..7).map(|n| announce(&format!("more-{n}"), &whole));
        let mut ends = Vec::new();
        for one in more {
            ends.push(Raw::begin(&deployment, &one).await.err());
        }
        assert_eq!(ends[..6], [const { None }; 6]);
        assert_eq!(ends[6].as_deref(), Some("UPLOADS_FULL"));
        // Those that are begun still go on.
        let done = client.upload(&spec, &mut Cursor::new(&whole), |_| ()).await.expect("stored");
        assert_eq!(done.version, 1);
    });
}

/// A source that gives its first MiB, nothing for a while, and then fails.
struct Cut(Cursor<Vec<u8>>, Pin<Box<Sleep>>);

impl AsyncRead for Cut {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0.position() >= MIB as u64 {
            return self.1.as_mut().poll(cx).map(|()| Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncSeek for Cut {
    fn start_seek(mut self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        Pin::new(&mut self.0).start_seek(position)
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Pin::new(&mut self.0).poll_complete(cx)
    }
}

#[test]
fn nobody_goes_on_with_the_upload_of_another_tenant() {
    let usual = Options::default();
    let tenants = "[[tenants]]\nname = \"other\"\n\n[[tenants]]\nname = \"sample\"\n";
    let map = usual.map.replacen("[[tenants]]\nname = \"sample\"\n", tenants, 1);
    let options = Options { regions: vec!["eu-fra"], tls: true, map, ..usual };
    let deployment = Deployment::start(&options);
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let whole = content(MIB + 5);
        let spec = announce("film", &whole);
        let of = async |tenant: &str| {
            let token = deployment.secured().token(&serde_json::json!({ "tenant": tenant }));
            let access = deployment.secured().with_token(&token);
            Client::connect_with(&deployment.gateway_url(), ONCE, access).await.expect("a gateway")
        };
        let (own, other) = (of("sample").await, of("other").await);
        own.put(&put(ANNA, "first", b"hello", &evidence("DE"))).await.expect("a put");
        // It is cut after its first chunk.
        let mut cut = Cut(Cursor::new(whole.clone()), Box::pin(sleep(Duration::from_secs(12))));
        let refused = own.upload(&spec, &mut cut, |_| ()).await;
        assert!(refused.is_err(), "the source ended");
        // The other has no such subject; and once it has, an upload of its own, from the beginning.
        let refused = other.upload(&spec, &mut Cursor::new(&whole), |_| ()).await;
        assert_eq!(refused.err().map(reason).as_deref(), Some("SUBJECT_UNKNOWN"));
        other.put(&put(ANNA, "first", b"hello", &evidence("DE"))).await.expect("a put");
        let mut told = Vec::new();
        let done = other.upload(&spec, &mut Cursor::new(&whole), |bytes| told.push(bytes)).await;
        assert_eq!((done.expect("stored").version, told[0]), (1, 0));
        assert_eq!(stat(&own, "film").await.err().as_deref(), Some("RECORD_NOT_FOUND"));
        let mut told = Vec::new();
        own.upload(&spec, &mut Cursor::new(&whole), |bytes| told.push(bytes))
            .await
            .expect("stored");
        assert_eq!(told[0], MIB as u64);
    });
}

#[test]
fn an_attachment_crosses_no_border_that_a_record_does_not() {
    let options = Options { regions: vec!["ru-msk"], territory: Some("DE"), ..Options::default() };
    let deployment = Deployment::start(&options);
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let client = Client::connect(&deployment.gateway_url(), ONCE).await.expect("a gateway");
        client.put(&put(ANNA, "first", b"hello", &evidence("RU"))).await.expect("a put");
        let there = |request: &mut Option<api::SubjectRef>| {
            "ru-msk".clone_into(&mut request.as_mut().expect("one").domicile);
        };
        let whole = content(MIB + 5);
        let mut spec = announce("film", &whole);
        there(&mut spec.subject);
        client.upload(&spec, &mut Cursor::new(&whole), |_| ()).await.expect("stored");
        let record = get(&client, ANNA, "ru-msk", "first").await.err().expect("it is barred");
        let mut request = part("film", 0, 0);
        there(&mut request.subject);
        let barred = client.download_to(request, &mut Vec::new(), |_, _| ()).await;
        assert_eq!(barred.err().map(reason), Some(record));
    });
}
