//! Sealed transit and caller-held keys through real processes. The memory of a gateway is read as root reads it,
//! since the gateway lets no one else: it must hold nothing of a sealed body, and holds a plain one.

#![expect(clippy::indexing_slicing, reason = "a test that goes astray may panic")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use client::{Access, CallerKey, Client, Error, KeySet, NotSealed, Proof, api, verify_receipt};
use tokio::runtime::Runtime;

use crate::support::load::{ONCE, PATIENT, evidence, get, put, request_id};
use crate::support::process::{run, wait_until};
use crate::support::{Deployment, Options};

pub(crate) const REGION: &str = "eu-fra";
/// Looks into the memory of a gateway.
pub(crate) const LOOKS: u64 = 8;
/// Time for one more round of puts and gets.
pub(crate) const ROUND_MAX: Duration = Duration::from_secs(120);
/// Bytes of memory that are searched at once.
const CHUNK_BYTES: usize = 8 << 20;

/// Whether a process has `marker` anywhere in memory that it may write.
pub(crate) fn holds(pid: u32, marker: &str) -> bool {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("its maps, as root");
    let memory = File::open(format!("/proc/{pid}/mem")).expect("its memory, as root");
    let mut read = 0;
    let mut found = false;
    for line in maps.lines() {
        let mut parts = line.split(' ');
        let (range, rights) = (parts.next().expect("a range"), parts.next().expect("rights"));
        if !rights.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').expect("two ends");
        let [from, to] = [from, to].map(|end| u64::from_str_radix(end, 16).expect("an address"));
        let mut chunk = vec![0; CHUNK_BYTES + marker.len()];
        for start in (from..to).step_by(CHUNK_BYTES) {
            // Chunks overlap by a marker's length. What is gone meanwhile has nothing.
            let want = usize::try_from(to - start).unwrap_or(usize::MAX).min(chunk.len());
            let Ok(count) = memory.read_at(&mut chunk[..want], start) else { break };
            read += count;
            found |= chunk[..count].windows(marker.len()).any(|part| part == marker.as_bytes());
        }
    }
    assert!(read > 1 << 20, "the memory cannot be read: {read} bytes");
    found
}

/// The key that signs the transit keys of a region, as its operators print it.
pub(crate) fn identity(deployment: &Deployment, region: &str) -> String {
    let config = deployment.root().join(format!("shard-{region}.toml"));
    let shown = run(&["shard", "show-transit-key", "--config", config.to_str().expect("text")]);
    assert_eq!(shown.code, 0, "{shown:?}");
    let vkey = shown.stdout.trim().to_owned();
    assert!(vkey.starts_with(&format!("sample/{region}/transit+")), "{vkey}");
    vkey
}

pub(crate) async fn plain(deployment: &Deployment, settings: client::Settings) -> Client {
    let access = Access { tenant: Some("sample".to_owned()), ..Access::default() };
    let url = deployment.gateway_url();
    Client::connect_with(&url, settings, access).await.expect("a gateway")
}

/// Bodies of this many repetitions of a marker: one that shares its buffers with others, and one that does not.
const REPEATED: [usize; 2] = [100, 20_000];

/// Puts records full of a marker and reads them back, again and again, and looks into the memory of the
/// gateway meanwhile. Whether the marker was in it at any look.
fn seen(runtime: &Runtime, client: &Client, gateway: u32, marker: &'static str) -> bool {
    let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (ends, done, client) = (Arc::clone(&stop), Arc::clone(&rounds), client.clone());
    let traffic = runtime.spawn(async move {
        while !ends.load(Ordering::Relaxed) {
            for (n, times) in REPEATED.into_iter().enumerate() {
                let key = format!("key-{n}");
                let body = marker.repeat(times).into_bytes();
                client.put(&put("anna", &key, &body, &evidence("DE"))).await.expect("a put");
                let record = get(&client, "anna", REGION, &key).await.expect("a record");
                assert!(record.body == body, "another body came back");
            }
            done.fetch_add(1, Ordering::Relaxed);
        }
    });
    let mut found = false;
    for look in 1..=LOOKS {
        wait_until("puts and gets go on", ROUND_MAX, || rounds.load(Ordering::Relaxed) >= look);
        found = found || holds(gateway, marker);
    }
    stop.store(true, Ordering::Relaxed);
    runtime.block_on(traffic).expect("every put and get is answered");
    found
}

#[test]
fn a_gateway_holds_nothing_of_a_sealed_body_and_some_of_a_plain_one() {
    let options = Options { regions: vec![REGION], ..Options::default() };
    let mut deployment = Deployment::start(&options);
    let runtime = Runtime::new().expect("a runtime");
    let gateway = deployment.gateway().pid();
    let open = runtime.block_on(plain(&deployment, PATIENT));
    let sealed = open.sealed([identity(&deployment, REGION)]).expect("an identity");
    assert!(!seen(&runtime, &sealed, gateway, "sealed-marker-a7c1"), "it was read on its way");
    // The same search finds what is there: a name of the map, and a body that is not sealed.
    assert!(holds(gateway, "\"profiles\""));
    assert!(seen(&runtime, &open, gateway, "plain-marker-b8d2"));
    assert!(!holds(gateway, "sealed-marker-a7c1"));
}

/// The reason of a refusal.
#[track_caller]
pub(crate) fn refused<T>(answer: Result<T, Error>) -> String {
    let error = answer.err().expect("it is refused");
    error.refused().expect("a reason").reason.clone()
}

pub(crate) fn subject(id: &str) -> Option<api::SubjectRef> {
    Some(api::SubjectRef { id: id.to_owned(), domicile: REGION.to_owned() })
}

/// A deployment whose map wants the bodies of profiles sealed.
pub(crate) fn wanting() -> Deployment {
    let mut options = Options { regions: vec![REGION], ..Options::default() };
    let name = "name = \"profiles\"\n";
    assert!(options.map.contains(name));
    options.map = options.map.replacen(name, &format!("{name}transit = \"sealed\"\n"), 1);
    Deployment::start(&options)
}

#[test]
fn a_collection_that_wants_sealed_bodies_is_used_by_a_client_that_seals() {
    let deployment = wanting();
    let config = deployment.root().join("shard-eu-fra.toml");
    let shown = run(&["shard", "show-key", "--config", config.to_str().expect("text")]);
    let log = shown.stdout.lines().find_map(|line| line.strip_prefix("log ")).expect("a key");
    Runtime::new().expect("a runtime").block_on(async {
        let open = plain(&deployment, PATIENT).await;
        let client = open.sealed([identity(&deployment, REGION)]).expect("an identity");
        // A put without a domicile asks for its placement first.
        let mut request = put("anna", "main", b"hello", &evidence("DE"));
        request.receipt_view = api::ReceiptView::Full.into();
        let done = client.first_time().put(&request).await.expect("a put");
        let receipt = done.receipt.as_ref().expect("a receipt");
        verify_receipt(receipt, log, Some(b"hello")).expect("the receipt is of the plain body");
        let again = client.put(&request).await.expect("a retry");
        assert!(again.replayed && again.version == done.version);
        let record = get(&client, "anna", REGION, "main").await.expect("a record");
        assert!(record.body == b"hello"[..] && !record.sealed);
        let patch = api::PatchRecordRequest {
            subject: subject("anna"),
            collection: "profiles".to_owned(),
            key: "main".to_owned(),
            request_id: request_id(),
            body: Some(b"patched".to_vec().into()),
            ..Default::default()
        };
        client.patch(&patch).await.expect("a patch");
        // A batch, a batch of all or none, and a stream.
        let batch: Vec<_> = ["a", "b"]
            .iter()
            .map(|key| put("anna", key, key.as_bytes(), &evidence("DE")))
            .collect();
        for end in client.batch_put(&batch).await.expect("an answer") {
            assert!(matches!(end.expect("a put").proof, Proof::Receipt(_)));
        }
        let all: Vec<_> = ["c", "d"]
            .iter()
            .map(|key| put("anna", key, key.as_bytes(), &evidence("DE")))
            .collect();
        assert_eq!(client.put_atomic(&all).await.expect("an answer").len(), 2);
        let (puts, mut answers) = client.stream_put(4).await.expect("a stream");
        puts.send(put("anna", "e", b"e", &evidence("DE"))).await.expect("it is sent");
        drop(puts);
        while let Some(answer) = answers.next().await.expect("an answer") {
            assert!(matches!(answer.outcome.expect("a put").proof, Proof::Receipt(_)));
        }
        let names: Vec<_> = ["a", "b", "c", "d", "e", "none"]
            .iter()
            .map(|key| api::GetRecordRequest {
                subject: subject("anna"),
                collection: "profiles".to_owned(),
                key: (*key).to_owned(),
                ..Default::default()
            })
            .collect();
        let read = client.batch_get(&names).await.expect("an answer");
        for (name, record) in names.iter().zip(&read).take(5) {
            assert!(record.as_ref().expect("a record").body == name.key.as_bytes());
        }
        let missing = read.into_iter().next_back().expect("six");
        assert_eq!(refused(missing), "RECORD_NOT_FOUND");
        // A key that the caller does not know is not sealed to.
        let other = identity(&deployment, REGION).replace("eu-fra", "ru-msk");
        assert!(matches!(open.sealed([other]), Err(Error::NotSealed(NotSealed::Identity))));
    });
}

#[test]
fn a_collection_that_wants_sealed_bodies_refuses_plain_ones() {
    let deployment = wanting();
    Runtime::new().expect("a runtime").block_on(async {
        let open = plain(&deployment, ONCE).await;
        let client = open.sealed([identity(&deployment, REGION)]).expect("an identity");
        client.put(&put("anna", "main", b"hello", &evidence("DE"))).await.expect("a put");
        let request = put("anna", "plain", b"plain", &evidence("DE"));
        let no = "TRANSIT_NOT_SEALED";
        assert_eq!(refused(open.put(&request).await), no);
        let mut ends = open.batch_put(std::slice::from_ref(&request)).await.expect("an answer");
        assert_eq!(refused(ends.remove(0)), no);
        assert_eq!(refused(open.put_atomic(std::slice::from_ref(&request)).await), no);
        let (puts, mut answers) = open.stream_put(1).await.expect("a stream");
        puts.send(request.clone()).await.expect("it is sent");
        let answer = answers.next().await.expect("an answer").expect("an answer");
        assert_eq!(refused(answer.outcome), no);
        let patch = api::PatchRecordRequest {
            subject: subject("anna"),
            collection: "profiles".to_owned(),
            key: "main".to_owned(),
            request_id: request_id(),
            body: Some(b"patched".to_vec().into()),
            ..Default::default()
        };
        assert_eq!(refused(open.patch(&patch).await), no);
        let spec = api::UploadSpec {
            subject: subject("anna"),
            collection: "profiles".to_owned(),
            key: "film".to_owned(),
            request_id: request_id(),
            size: 5,
            sha256: vec![1; 32].into(),
            ..Default::default()
        };
        let mut film = std::io::Cursor::new(b"hello".to_vec());
        assert_eq!(refused(open.upload(&spec, &mut film, |_| {}).await), no);
        assert_eq!(get(&open, "anna", REGION, "main").await.err().as_deref(), Some(no));
        let download = api::DownloadAttachmentRequest {
            subject: subject("anna"),
            collection: "profiles".to_owned(),
            key: "main".to_owned(),
            ..Default::default()
        };
        assert_eq!(refused(open.download(download).await), no);
        let list = |view: api::RecordView| api::ListRecordsRequest {
            collection: "profiles".to_owned(),
            subject: subject("anna"),
            view: view.into(),
            ..Default::default()
        };
        assert_eq!(refused(open.list_page(&list(api::RecordView::Whole)).await), no);
        let names = open.list_page(&list(api::RecordView::Attributes)).await.expect("names");
        assert_eq!(names.records.len(), 1);
        let scan = api::ScanRecordsRequest {
            collection: "profiles".to_owned(),
            region: REGION.to_owned(),
            purpose: "a test".to_owned(),
            view: api::RecordView::Whole.into(),
            ..Default::default()
        };
        let mut scan = match open.scan(&scan).await {
            Ok(scan) => scan,
            Err(error) => return assert_eq!(refused::<()>(Err(error)), no),
        };
        assert_eq!(refused(scan.next().await.map(|_| ())), no);
    });
}

#[test]
fn bodies_under_the_callers_own_keys_are_stored_as_they_came() {
    let options = Options { regions: vec![REGION], ..Options::default() };
    let deployment = Deployment::start(&options);
    let config = deployment.root().join("shard-eu-fra.toml");
    let shown = run(&["shard", "show-key", "--config", config.to_str().expect("text")]);
    let log = shown.stdout.lines().find_map(|line| line.strip_prefix("log ")).expect("a key");
    Runtime::new().expect("a runtime").block_on(async {
        let open = plain(&deployment, PATIENT).await;
        let key = CallerKey::new("2026-12", [7; 32]).expect("a key");
        let own = open.with_own_keys(Arc::new(KeySet::new(key.clone(), [])));
        // Under both: the gateway reads neither, the region not the body.
        let both = own.sealed([identity(&deployment, REGION)]).expect("an identity");
        for (n, client) in [own, both].into_iter().enumerate() {
            let name = format!("own-{n}");
            let mut request = put("anna", &name, b"own-marker", &evidence("DE"));
            request.receipt_view = api::ReceiptView::Full.into();
            let done = client.put(&request).await.expect("a put");
            let receipt = done.receipt.as_ref().expect("a receipt");
            let sent = client.encrypted(&request).expect("a key");
            verify_receipt(receipt, log, Some(&sent.body)).expect("it is of the encrypted body");
            assert!(verify_receipt(receipt, log, Some(b"own-marker")).is_err());
            assert!(client.put(&request).await.expect("a retry").replayed);
            let record = get(&client, "anna", REGION, &name).await.expect("a record");
            assert!(record.body == b"own-marker"[..]);
            let stored = get(&open, "anna", REGION, &name).await.expect("a record").body;
            assert!(stored == sent.body && !stored.windows(10).any(|part| part == b"own-marker"));
        }
        // A key that is not there any more opens nothing.
        let next = CallerKey::new("2027-01", [8; 32]).expect("a key");
        let later = open.with_own_keys(Arc::new(KeySet::new(next.clone(), [])));
        assert!(get(&later, "anna", REGION, "own-0").await.is_err());
        let later = open.with_own_keys(Arc::new(KeySet::new(next, [key])));
        assert!(get(&later, "anna", REGION, "own-0").await.is_ok());
        // What is listed is decrypted as well.
        let list = api::ListRecordsRequest {
            collection: "profiles".to_owned(),
            subject: subject("anna"),
            view: api::RecordView::Whole.into(),
            ..Default::default()
        };
        let page = later.list_page(&list).await.expect("a page");
        assert_eq!(page.records.len(), 2);
        assert!(page.records.iter().all(|record| record.body == b"own-marker"[..]));
    });
}
