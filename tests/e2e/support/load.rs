//! Requests, and writers that go on through whatever happens to a shard.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use client::{Client, Settings, api, new_request_id};
use link::host::clock::SystemEntropy;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::process::wait_until;

/// One attempt: what the gateway says is what the caller gets.
pub(crate) const ONCE: Settings =
    Settings { deadline: Duration::from_secs(20), attempts_max: 1, ..Settings::DEFAULT };
/// As a backend service would: what may be sent again is.
pub(crate) const PATIENT: Settings =
    Settings { deadline: Duration::from_secs(60), attempts_max: 100, ..Settings::DEFAULT };

/// A write that was acknowledged.
pub(crate) struct Acked {
    pub(crate) subject: String,
    pub(crate) key: String,
    pub(crate) body: Vec<u8>,
    pub(crate) index: u64,
    pub(crate) entry: Vec<u8>,
}

impl Acked {
    pub(crate) fn of(subject: &str, key: &str, body: &[u8], done: &api::PutRecordResponse) -> Self {
        let receipt = done.receipt.as_ref().expect("a receipt");
        Self {
            subject: subject.to_owned(),
            key: key.to_owned(),
            body: body.to_vec(),
            index: receipt.index,
            entry: receipt.entry.to_vec(),
        }
    }
}

/// Evidence of a resident and citizen.
pub(crate) fn evidence(country: &str) -> Vec<api::Evidence> {
    [api::EvidenceKind::Residence, api::EvidenceKind::Citizenship]
        .map(|kind| api::Evidence {
            kind: kind.into(),
            value: country.to_owned(),
            observe_time: None,
        })
        .to_vec()
}

pub(crate) fn request_id() -> String {
    new_request_id(&SystemEntropy).expect("randomness").to_string()
}

/// A put that creates its subject.
pub(crate) fn put(
    subject: &str,
    key: &str,
    body: &[u8],
    evidence: &[api::Evidence],
) -> api::PutRecordRequest {
    api::PutRecordRequest {
        subject: Some(api::SubjectRef { id: subject.to_owned(), domicile: String::new() }),
        collection: "profiles".to_owned(),
        key: key.to_owned(),
        body: body.to_vec().into(),
        request_id: request_id(),
        create_subject: true,
        evidence: evidence.to_vec(),
        ..Default::default()
    }
}

pub(crate) fn delete(subject: &str, domicile: &str, key: &str) -> api::DeleteRecordRequest {
    api::DeleteRecordRequest {
        subject: Some(api::SubjectRef { id: subject.to_owned(), domicile: domicile.to_owned() }),
        collection: "profiles".to_owned(),
        key: key.to_owned(),
        request_id: request_id(),
        ..Default::default()
    }
}

/// Reads a record, or says with which reason it is not read.
pub(crate) async fn get(
    client: &Client,
    subject: &str,
    domicile: &str,
    key: &str,
) -> Result<api::Record, String> {
    let request = api::GetRecordRequest {
        subject: Some(api::SubjectRef { id: subject.to_owned(), domicile: domicile.to_owned() }),
        collection: "profiles".to_owned(),
        key: key.to_owned(),
        ..Default::default()
    };
    client.get(&request).await.map_err(|error| {
        error.refused().map_or_else(|| error.to_string(), |refused| refused.reason.clone())
    })
}

/// Writers that put one record after the other, each until it is acknowledged.
pub(crate) struct Writers {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<Vec<Acked>>>,
}

/// What writers and their test tell each other.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    acked: AtomicU64,
    unknown: AtomicU64,
}

impl Writers {
    pub(crate) fn start(runtime: &Runtime, url: &str, count: u64) -> Self {
        let shared = Arc::new(Shared::default());
        let tasks = (0..count)
            .map(|writer| runtime.spawn(write(url.to_owned(), writer, Arc::clone(&shared))))
            .collect();
        Self { shared, tasks }
    }

    /// Waits until so many more records are acknowledged.
    #[track_caller]
    pub(crate) fn wait_acked(&self, more: u64) {
        let acked = || self.shared.acked.load(Ordering::Relaxed);
        let enough = acked() + more;
        wait_until("records are acknowledged", Duration::from_secs(180), || acked() >= enough);
    }

    /// How many outcomes were not known, so far.
    pub(crate) fn unknown(&self) -> u64 {
        self.shared.unknown.load(Ordering::Relaxed)
    }

    /// Ends them, and gives everything that was acknowledged.
    pub(crate) fn stop(self, runtime: &Runtime) -> Vec<Acked> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut acked = Vec::new();
        for task in self.tasks {
            acked.extend(runtime.block_on(task).expect("a writer does not panic"));
        }
        acked
    }
}

async fn write(url: String, writer: u64, shared: Arc<Shared>) -> Vec<Acked> {
    // One attempt a call: the writer itself sends again, with the same request id.
    let client = Client::connect(&url, ONCE).await.expect("a gateway");
    let mut acked = Vec::new();
    let subject = format!("writer-{writer}");
    for n in 0.. {
        let (key, body) = (format!("k{n}"), format!("{writer}:{n}").repeat(20).into_bytes());
        let request = put(&subject, &key, &body, &evidence("DE"));
        loop {
            if shared.stop.load(Ordering::Relaxed) {
                return acked;
            }
            match client.put(&request).await {
                Ok(done) => {
                    assert_eq!(done.version, 1, "a retry has no second effect");
                    acked.push(Acked::of(&subject, &key, &body, &done));
                    shared.acked.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                Err(error) => {
                    let refused = error.refused().expect("an error with a reason");
                    assert!(refused.retryable, "{error}");
                    if refused.reason == "WRITE_OUTCOME_UNKNOWN" {
                        shared.unknown.fetch_add(1, Ordering::Relaxed);
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
    }
    acked
}

/// The reason of a refusal, and the field.
#[track_caller]
pub(crate) fn refused<T>(done: Result<T, client::Error>) -> (String, String) {
    let Err(error) = done else { unreachable!("it is refused") };
    let refused = error.refused().expect("a refusal");
    (refused.reason.clone(), refused.field.clone().unwrap_or_default())
}
