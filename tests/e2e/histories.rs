//! Histories of concurrent callers through a gateway, while the shard is killed (SIGKILL) again and again,
//! against the model of `crates/shard/tests/suite/histories`: each record is linearizable, and in the end
//! records, lists and counts agree. The clock is the machine's, so nothing expires.

#![expect(clippy::panic, reason = "a test that cannot go on fails")]

#[path = "../../crates/shard/tests/suite/histories/checker.rs"]
mod checker;
#[expect(dead_code, reason = "each test file uses its own part")]
#[path = "../../crates/shard/tests/suite/histories/drawn.rs"]
mod drawn;
#[expect(dead_code, reason = "each test file uses its own part")]
#[path = "../../crates/shard/tests/suite/histories/model.rs"]
mod model;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use checker::{EVENTS_MAX, Event};
use client::{Client, Error, api};
use drawn::{Caller, RECORDS, names};
use model::{Ask, Attributes, Body, Change, FILTERS, Model, Record, Seen, Told, Value, Write};
use tokio::runtime::Runtime;
use tokio::time::sleep;

use crate::support::load::{ONCE, PATIENT, delete, evidence, put};
use crate::support::process::wait_until;
use crate::support::{Deployment, Options, stored};

/// Seeds on each engine.
const SEEDS: [u64; 3] = [1, 2, 3];
const CALLERS: u64 = 6;
const KILLS: u64 = 6;
/// Calls that callers make before a kill: the least, and how many more at most.
const WORK: (u64, u64) = (20, 60);
/// An answer that has not come.
const OPEN: u64 = u64::MAX;

/// The sample map, in which profiles have a list and the attributes of the model.
fn options(engine: &'static str) -> Options {
    let usual = Options::default();
    let reads = "reads = \"counted\"\n";
    let mut with = format!("{reads}list = true\n");
    for (name, kind, index) in [
        ("age", "integer", "range"),
        ("mail", "string", "exact"),
        ("note", "string", "none"),
        ("seen", "bool", "exact"),
    ] {
        with.push_str(&format!(
            "\n[[collections.attributes]]\nname = \"{name}\"\ntype = \"{kind}\"\nindex = \"{index}\"\n"
        ));
    }
    Options { regions: vec!["eu-fra"], engine, map: usual.map.replacen(reads, &with, 1), ..usual }
}

fn request_id(n: u64) -> String {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    terms::RequestId::from_bytes(bytes).to_string()
}

fn encoded(all: &Attributes) -> Vec<api::Attribute> {
    let one = |(name, value): (&&str, &Value)| {
        let value = match value {
            Value::Integer(n) => api::attribute::Value::IntegerValue(*n),
            Value::Text(text) => api::attribute::Value::StringValue((*text).to_owned()),
            Value::Bool(yes) => api::attribute::Value::BoolValue(*yes),
        };
        api::Attribute { name: (*name).to_owned(), value: Some(value) }
    };
    all.iter().map(one).collect()
}

fn decoded(all: &[api::Attribute]) -> Attributes {
    let known = |text: &str| {
        ["age", "mail", "note", "seen", "a@x", "b@x", "", "n"]
            .into_iter()
            .find(|own| *own == text)
            .expect("a text of ours")
    };
    let one = |attribute: &api::Attribute| {
        let value = match attribute.value.as_ref().expect("a value") {
            api::attribute::Value::IntegerValue(n) => Value::Integer(*n),
            api::attribute::Value::BoolValue(yes) => Value::Bool(*yes),
            api::attribute::Value::StringValue(text) => Value::Text(known(text)),
            api::attribute::Value::TimestampValue(_) => panic!("no history has a time"),
        };
        (known(&attribute.name), value)
    };
    all.iter().map(one).collect()
}

/// A record as a read shows it; a list has no bodies.
fn seen(record: &api::Record, whole: bool) -> Seen {
    Seen {
        version: record.version.cast_unsigned(),
        body: whole.then(|| Body::read(&record.body).expect("a body that was written whole")),
        attributes: decoded(&record.attributes),
        expires: 0,
    }
}

/// What is known of a call, and the etag that came with it.
enum Known {
    Told(Told, String),
    /// It was not done.
    Refused,
    Unknown,
}

fn refused(error: &Error) -> Known {
    let reason = error.refused().map(|refused| refused.reason.clone());
    match reason.expect("the gateway lives, and gives a reason").as_str() {
        "REGION_UNAVAILABLE" | "SHARD_BUSY" | "SHUTTING_DOWN" => Known::Refused,
        "WRITE_OUTCOME_UNKNOWN" => Known::Unknown,
        reason => Known::Told(Told::Refused(reason.to_owned()), String::new()),
    }
}

fn written(version: i64, etag: String, replayed: bool) -> Known {
    Known::Told(Told::Written { version: version.cast_unsigned(), replayed }, etag)
}

fn etag(write: &Write) -> String {
    write.etag.as_ref().map_or_else(String::new, |(_, etag)| etag.clone())
}

async fn write(client: &Client, record: usize, write: &Write) -> Known {
    let done = match &write.change {
        Change::Put { body, attributes, .. } => {
            put_it(client, record, write, *body, attributes).await
        }
        Change::Patch { body, set, remove } => {
            let mut request = patch_of(record, write);
            request.body = body.map(|body| body.bytes().into());
            request.attributes = encoded(set);
            request.remove_attributes = remove.iter().map(|name| (*name).to_owned()).collect();
            client.patch(&request).await.map(|done| {
                let api::PatchRecordResponse { version, etag, replayed, .. } = done.answer;
                written(version, etag, replayed)
            })
        }
        Change::Touch { .. } => touch_it(client, record, write).await,
        Change::Delete => {
            let (subject, key) = names(record);
            let request = api::DeleteRecordRequest {
                request_id: request_id(write.request),
                if_version: write.if_version.map(u64::cast_signed),
                etag: etag(write),
                validate_only: write.dry,
                ..delete(&subject, "eu-fra", &key)
            };
            let done = client.delete(&request).await;
            done.map(|done| written(done.answer.version, String::new(), done.answer.replayed))
        }
    };
    done.unwrap_or_else(|error| refused(&error))
}

async fn put_it(
    client: &Client,
    record: usize,
    write: &Write,
    body: Body,
    attributes: &Attributes,
) -> Result<Known, Error> {
    let (subject, key) = names(record);
    let request = api::PutRecordRequest {
        request_id: request_id(write.request),
        if_version: write.if_version.map(u64::cast_signed),
        etag: etag(write),
        validate_only: write.dry,
        attributes: encoded(attributes),
        ..put(&subject, &key, &body.bytes(), &evidence("DE"))
    };
    let api::PutRecordResponse { version, etag, replayed, .. } = client.put(&request).await?.answer;
    Ok(written(version, etag, replayed))
}

fn patch_of(record: usize, write: &Write) -> api::PatchRecordRequest {
    let (id, key) = names(record);
    api::PatchRecordRequest {
        subject: Some(api::SubjectRef { id, domicile: "eu-fra".to_owned() }),
        collection: "profiles".to_owned(),
        key,
        request_id: request_id(write.request),
        if_version: write.if_version.map(u64::cast_signed),
        etag: etag(write),
        validate_only: write.dry,
        ..Default::default()
    }
}

async fn touch_it(client: &Client, record: usize, write: &Write) -> Result<Known, Error> {
    let api::PatchRecordRequest { subject, collection, key, request_id, if_version, etag, .. } =
        patch_of(record, write);
    let request = api::TouchRecordRequest {
        subject,
        collection,
        key,
        request_id,
        if_version,
        etag,
        validate_only: write.dry,
        ..Default::default()
    };
    let done = client.touch(&request).await?.answer;
    Ok(written(done.version, done.etag, done.replayed))
}

async fn get(client: &Client, record: usize) -> Known {
    let (id, key) = names(record);
    let request = api::GetRecordRequest {
        subject: Some(api::SubjectRef { id, domicile: "eu-fra".to_owned() }),
        collection: "profiles".to_owned(),
        key,
        ..Default::default()
    };
    match client.get(&request).await {
        Ok(found) => Known::Told(Told::Seen(seen(&found, true)), found.etag),
        Err(error) => refused(&error),
    }
}

/// What a list gives, in one page. None: the shard cannot give it now.
async fn listed(client: &Client, filter: usize) -> Option<BTreeMap<(String, String), Seen>> {
    let (text, _) = FILTERS.get(filter).copied().expect("a filter");
    let request = api::ListRecordsRequest {
        collection: "profiles".to_owned(),
        regions: vec!["eu-fra".to_owned()],
        filter: text.to_owned(),
        page_size: 100,
        view: api::RecordView::Attributes.into(),
        ..Default::default()
    };
    let page = client.list_page(&request).await.ok()?;
    let whole = page.unreachable.is_empty() && page.missing.is_empty();
    let of = |record: &api::Record| {
        let subject = record.subject.clone().expect("a subject").id;
        ((subject, record.key.clone()), seen(record, false))
    };
    whole.then(|| page.records.iter().map(of).collect())
}

/// What all callers of a history share.
#[derive(Default)]
struct Shared {
    counter: AtomicU64,
    /// Whether the callers may call: they wait while the shard starts, so that each record has few calls.
    go: AtomicBool,
    stop: AtomicBool,
    histories: Mutex<Vec<Vec<Event>>>,
    unknown: AtomicU64,
}

impl Shared {
    fn number(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::SeqCst)
    }

    fn add(&self, record: usize, event: Event) {
        let mut histories = self.histories.lock().expect("no panic under the lock");
        histories.get_mut(record).expect("a record").push(event);
    }

    /// Whether a record has room for the calls that may be under way: four of each caller.
    fn has_room(&self) -> bool {
        let histories = self.histories.lock().expect("no panic under the lock");
        let room = EVENTS_MAX - 24;
        histories.iter().all(|history| history.len() < room)
    }

    /// Waits until the histories have so many more calls, or one of them is full.
    fn wait_calls(&self, more: u64) {
        let calls = || {
            let histories = self.histories.lock().expect("no panic under the lock");
            histories.iter().map(|history| history.len() as u64).sum::<u64>()
        };
        let enough = calls() + more;
        wait_until("callers work", Duration::from_secs(180), || {
            calls() >= enough || !self.has_room()
        });
    }

    /// The shard is dead: what it has not done by now, it does not do any more.
    fn close(&self, killed: u64) {
        let mut histories = self.histories.lock().expect("no panic under the lock");
        let open = histories.iter_mut().flatten();
        open.filter(|event| event.until == OPEN && event.from < killed)
            .for_each(|event| event.until = killed);
    }

    fn note(&self, record: usize, ask: &Ask, from: u64, known: &Known) {
        let event = |told, until| Event { ask: ask.clone(), told, from, until };
        match known {
            Known::Told(told, _) => self.add(record, event(Some(told.clone()), self.number())),
            Known::Unknown if matches!(ask, Ask::Write(_)) => {
                self.unknown.fetch_add(1, Ordering::Relaxed);
                self.add(record, event(None, OPEN));
            }
            Known::Refused | Known::Unknown => {}
        }
    }
}

async fn work(mut caller: Caller, client: Client, shared: Arc<Shared>) {
    while !shared.stop.load(Ordering::Relaxed) && shared.has_room() {
        if !shared.go.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(2)).await;
            continue;
        }
        let (record, ask) = caller.draw(0);
        let from = shared.number();
        let known = match &ask {
            Ask::Get | Ask::Tick(_) => get(&client, record).await,
            Ask::Write(own) => write(&client, record, own).await,
            Ask::List(filter) => {
                if let Some(found) = listed(&client, *filter).await {
                    note_list(&shared, *filter, from, &found);
                }
                // A call fails at once when its runtime ends: the task must end with it.
                tokio::task::yield_now().await;
                continue;
            }
        };
        shared.note(record, &ask, from, &known);
        match (known, ask) {
            (Known::Told(Told::Written { version, .. }, etag), _) => {
                caller.learn(record, version, etag);
            }
            (Known::Told(Told::Seen(seen), etag), _) => caller.learn(record, seen.version, etag),
            (Known::Unknown, Ask::Write(write)) => caller.doubt(record, write),
            // As a caller that obeys: not at once again.
            (Known::Refused, _) => sleep(Duration::from_millis(20)).await,
            _ => {}
        }
    }
}

fn note_list(shared: &Shared, filter: usize, from: u64, all: &BTreeMap<(String, String), Seen>) {
    let until = shared.number();
    for record in 0..RECORDS {
        let told = all.get(&names(record)).cloned().map_or(Told::Absent, Told::Seen);
        shared.add(record, Event { ask: Ask::List(filter), told: Some(told), from, until });
    }
}

/// Compares records, lists and counts once nothing fails any more. Gives how many records there are, and
/// how many rows of indexes.
async fn agree(client: &Client, shared: &Shared) -> (usize, usize) {
    let mut live = BTreeMap::new();
    for record in 0..RECORDS {
        let from = shared.number();
        let known = get(client, record).await;
        shared.note(record, &Ask::Get, from, &known);
        match known {
            Known::Told(Told::Seen(seen), _) => {
                live.insert(names(record), Seen { body: None, ..seen });
            }
            Known::Told(..) => {}
            Known::Refused | Known::Unknown => panic!("nothing fails any more"),
        }
    }
    for (n, (text, passes)) in FILTERS.into_iter().enumerate() {
        let mut wanted = live.clone();
        wanted.retain(|_, seen| passes(&seen.attributes));
        assert_eq!(listed(client, n).await.expect("a list"), wanted, "the list of {text:?}");
        let request = api::CountRecordsRequest {
            collection: "profiles".to_owned(),
            regions: vec!["eu-fra".to_owned()],
            filter: text.to_owned(),
            ..Default::default()
        };
        let counted = client.count(&request).await.expect("a count").count;
        assert_eq!(usize::try_from(counted), Ok(wanted.len()), "the count of {text:?}");
    }
    let rows =
        |seen: &Seen| 1 + seen.attributes.len() - usize::from(seen.attributes.contains_key("note"));
    (live.len(), live.values().map(rows).sum())
}

/// One history. Gives how many calls it has, and how many of an unknown outcome.
fn run(engine: &'static str, kind: engine::Kind, seed: u64) -> (usize, u64) {
    let mut deployment = Deployment::start(&options(engine));
    let (url, runtime) = (deployment.gateway_url(), Runtime::new().expect("a runtime"));
    let shared =
        Arc::new(Shared { histories: Mutex::new(vec![Vec::new(); RECORDS]), ..Shared::default() });
    let patient = runtime.block_on(Client::connect(&url, PATIENT)).expect("a gateway");
    for record in (0..RECORDS).step_by(2) {
        let (subject, _) = names(record);
        let first = put(&subject, "first", b"x", &evidence("DE"));
        let first = api::PutRecordRequest { collection: "messages".to_owned(), ..first };
        runtime.block_on(patient.put(&first)).expect("a put");
    }
    let mut dice = drawn::Dice(seed);
    let mut tasks = Vec::new();
    for n in 0..CALLERS {
        let client = runtime.block_on(Client::connect(&url, ONCE)).expect("a gateway");
        let caller = Caller::new(seed, n, &[]);
        tasks.push(runtime.spawn(work(caller, client, Arc::clone(&shared))));
    }
    for _ in 0..KILLS {
        shared.go.store(true, Ordering::Relaxed);
        shared.wait_calls(WORK.0 + dice.below(WORK.1));
        deployment.shard("eu-fra").kill();
        shared.go.store(false, Ordering::Relaxed);
        // Those who wait are told by the gateway in a moment, of calls that began before.
        let killed = shared.number();
        deployment.restart("eu-fra");
        deployment.wait_session("eu-fra", true);
        shared.close(killed);
    }
    shared.stop.store(true, Ordering::Relaxed);
    for task in tasks {
        runtime.block_on(task).expect("no panic");
    }
    let (records, rows) = runtime.block_on(agree(&patient, &shared));
    assert_eq!(deployment.shard("eu-fra").stop(), 0);
    let data = deployment.data_dir("eu-fra");
    assert_eq!(stored::rows(&data, kind, &[0x30]).len(), rows, "{engine}, seed {seed}: rows");
    let histories = std::mem::take(&mut *shared.histories.lock().expect("no panic"));
    for (record, history) in histories.iter().enumerate() {
        if let Err(report) = checker::check(Model::default(), &Record::new(0), history) {
            panic!("{engine}, seed {seed}, record {record} of {records}: {report}");
        }
    }
    (histories.iter().map(Vec::len).sum(), shared.unknown.load(Ordering::Relaxed))
}

#[test]
fn every_record_is_linearizable_though_the_shard_is_killed_again_and_again() {
    for (kind, engine) in [(engine::Kind::Sled, "sled"), (engine::Kind::Fjall, "fjall")] {
        let (mut calls, mut unknown) = (0, 0);
        for seed in SEEDS {
            let (own, open) = run(engine, kind, seed);
            println!("{engine}, seed {seed}: {own} calls, {open} of an unknown outcome");
            (calls, unknown) = (calls + own, unknown + open);
        }
        assert!(calls > 300 && unknown > 0, "{engine}: {calls} calls, {unknown} unknown");
    }
}
