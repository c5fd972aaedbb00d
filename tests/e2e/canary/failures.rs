//! The same search while gateways in three territories write and everything fails in turn: shards are
//! cut off in the middle, gateways killed, disks full, deadlines missed, the map changed. What callers
//! are told is searched too.

#![expect(clippy::indexing_slicing, reason = "a test that goes astray may panic")]

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Arc, Duration, fs, search};
use super::{BTreeMap, BTreeSet, Deployment, Options, Path, RESERVE, Runtime, Shards, Signed};
use crate::support::load::{ONCE, evidence, put};
use crate::support::maps::{apply, next};
use crate::support::process::{Server, free_port, get as page, pause, wait_until};
use client::{Client, Settings, api};
use engine::{Batch, Span};

/// Records in one run; `CANARY_RECORDS` says otherwise.
const RECORDS: u64 = 3_000;
/// Callers of each gateway.
const CALLERS: u64 = 16;
/// A deadline that many calls miss.
const HASTY: Settings = Settings { deadline: Duration::from_millis(4), ..ONCE };
/// What every marker begins with; then come the region, the field, and the number.
const MARK: &str = "canary~";
/// Where callers and their gateways are.
const TERRITORIES: [&str; 3] = ["DE", "RU", "KZ"];
/// Where markers stand.
const FIELDS: [&str; 4] = ["id", "key", "mail", "body"];
/// In place of a field: what follows the region is none.
const TORN: &str = "torn";
/// Countries, and the regions of their residents.
const HOMES: [(&str, &str); 5] =
    [("DE", "eu-fra"), ("RU", "ru-msk"), ("KZ", "kz-ala"), ("IN", "in-bom"), ("US", "us-iad")];
/// Time in which callers store one more record, whatever has failed.
const PROGRESS_WITHIN: Duration = Duration::from_secs(300);

fn mark(region: &str, field: &str, n: u64) -> String {
    format!("{MARK}{region}~{field}~{n:06}~")
}

/// The put of one record, with a marker in each of its fields.
fn marked(n: u64) -> (api::PutRecordRequest, &'static str) {
    let (country, region) = HOMES[usize::try_from(n % 5).expect("below 5")];
    let body = mark(region, "body", n);
    let request = put(&mark(region, "id", n), &mark(region, "key", n), &[], &evidence(country));
    // Some bodies have rows of their own.
    let body = body.repeat(if n.is_multiple_of(47) { 300 } else { 1 }).into_bytes();
    let value = Some(api::attribute::Value::StringValue(mark(region, "mail", n)));
    let attributes = vec![api::Attribute { name: "mail".to_owned(), value }];
    (api::PutRecordRequest { body: body.into(), attributes, ..request }, region)
}

/// What callers have done.
#[derive(Default)]
struct Done {
    stored: AtomicU64,
    failed: AtomicU64,
}

/// Stores every `CALLERS`th record of a gateway's share, each until it is acknowledged.
async fn write(url: String, caller: u64, all: u64, done: Arc<Done>) {
    let clients = [
        Client::connect(&url, ONCE).await.expect("a gateway"),
        Client::connect(&url, HASTY).await.expect("a gateway"),
    ];
    let step = CALLERS * TERRITORIES.len() as u64;
    for n in (caller..all).step_by(usize::try_from(step).expect("small")) {
        let (request, region) = marked(n);
        let mut tries = 0;
        loop {
            let client = &clients[usize::from(n.is_multiple_of(16) && tries < 3)];
            tries += 1;
            match client.put(&request).await {
                Ok(answer) => {
                    let subject = answer.answer.subject.expect("a subject");
                    assert_eq!(subject.domicile, region);
                    break;
                }
                Err(error) => {
                    said(&error);
                    done.failed.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
        // Most callers are abroad: then the answer is a refusal.
        if n.is_multiple_of(7) {
            let asked = api::GetRecordRequest {
                subject: request
                    .subject
                    .map(|subject| api::SubjectRef { domicile: region.to_owned(), ..subject }),
                collection: request.collection,
                key: request.key,
                purpose: "a test".to_owned(),
                ..Default::default()
            };
            clients[0].get(&asked).await.err().iter().for_each(said);
        }
        done.stored.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a caller is told names no one.
fn said(error: &client::Error) {
    let refused = error.refused().map(|refused| format!("{refused:?}"));
    assert!(!format!("{error} {error:?} {refused:?}").contains(MARK), "an error has a marker");
    let reason = error.refused().map_or("", |refused| &*refused.reason);
    // Nothing but what was made to fail.
    let known = [
        "",
        "DEADLINE_PASSED",
        "DISK_RESERVE",
        "EGRESS_NOT_COVERED",
        "MAPS_DIFFER",
        "OVERLOADED",
        "REGION_BUSY",
        "REGION_UNAVAILABLE",
        "SHARD_BUSY",
        "SHUTTING_DOWN",
        "WRITE_OUTCOME_UNKNOWN",
    ];
    assert!(known.contains(&reason), "{reason}");
}

/// Three gateways, each with callers of its own territory.
fn gateways(deployment: &Deployment) -> Vec<(String, Server)> {
    let root = deployment.root();
    let first = fs::read_to_string(root.join("gateway.toml")).expect("a configuration");
    let others = TERRITORIES.iter().map(|territory| {
        let (port, admin) = (free_port(), free_port());
        let lines = first.lines().map(|line| match line.split_once(" = ") {
            Some(("name", "\"gateway-1\"")) => format!("name = \"gateway-{territory}\""),
            Some(("listen", _)) => format!("listen = \"127.0.0.1:{port}\""),
            Some(("admin_listen", _)) => format!("admin_listen = \"127.0.0.1:{admin}\""),
            Some(("territory", _)) => format!("territory = \"{territory}\""),
            _ => line.to_owned(),
        });
        let lines: Vec<String> = lines.collect();
        assert!(lines.contains(&format!("territory = \"{territory}\"")), "{lines:?}");
        let config = root.join(format!("gateway-{territory}.toml"));
        fs::write(&config, lines.join("\n")).expect("it can be written");
        let mut server = Server::new("gateway", &format!("gateway-{territory}"), &config, admin);
        server.start();
        server.wait_ready();
        (format!("http://127.0.0.1:{port}"), server)
    });
    others.collect()
}

/// The regions and fields of the markers below a folder, and the numbers of each.
fn markers(folder: &Path) -> BTreeMap<(String, String), BTreeSet<u64>> {
    let mut found: BTreeMap<(String, String), BTreeSet<u64>> = BTreeMap::new();
    search::files(folder, &mut |path, bytes| {
        for (at, _) in
            bytes.windows(MARK.len()).enumerate().filter(|(_, it)| *it == MARK.as_bytes())
        {
            let rest = bytes.get(at + MARK.len()..).unwrap_or_default();
            let rest = String::from_utf8_lossy(rest.get(..32).unwrap_or(rest)).into_owned();
            let region = HOMES.iter().map(|(_, home)| *home).find(|home| rest.starts_with(home));
            assert!(region.is_some(), "torn in {}: {rest:?}", path.display());
            let region = region.unwrap_or_default();
            let mut parts = rest.split('~').skip(1);
            let (field, number) = (parts.next().unwrap_or_default(), parts.next());
            // Where an engine's file has room again, the rest of a row may be another's.
            let field = if FIELDS.contains(&field) { field } else { TORN };
            let number = number.filter(|number| number.len() == 6);
            let number = number.and_then(|number| number.parse::<u64>().ok());
            found.entry((region.to_owned(), field.to_owned())).or_default().extend(number);
        }
    });
    found
}

/// A reserve with which the disk is full: more bytes than are free, and fewer than it has.
fn more_than_is_free(folder: &Path) -> u64 {
    let disk = rustix::fs::statvfs(folder).expect("a disk can be measured");
    (disk.f_bavail + disk.f_blocks) / 2 * disk.f_frsize
}

/// What is made to fail, one after the other, for as long as callers store records.
fn fail(
    deployment: &Deployment,
    shards: &mut Shards,
    gateways: &mut [(String, Server)],
    done: &Done,
    all: u64,
) -> u64 {
    let stored = || done.stored.load(Ordering::Relaxed);
    let mut rounds = 0;
    while stored() < all {
        let (_, region) = HOMES[usize::try_from(rounds % 5).expect("below 5")];
        match rounds % 4 {
            0 => {
                shards.cut(region);
                shards.serve(deployment, region, RESERVE);
            }
            1 => {
                let which = usize::try_from(rounds).expect("small") / 4 % gateways.len();
                gateways[which].1.restart();
            }
            2 => {
                shards.cut(region);
                shards.serve(deployment, region, more_than_is_free(deployment.root()));
                pause(Duration::from_millis(300));
                shards.cut(region);
                shards.serve(deployment, region, RESERVE);
            }
            _ => change_map(deployment, &gateways[0].0, rounds / 4 + 1),
        }
        rounds += 1;
        let enough = (stored() + all / 20).min(all);
        wait_until("callers go on", PROGRESS_WITHIN, || stored() >= enough);
    }
    rounds
}

/// Puts the next map in force: the same rules, under another number.
fn change_map(deployment: &Deployment, url: &str, epoch: u64) {
    let path = |epoch| {
        deployment.root().join(if epoch == 1 {
            "map.toml".into()
        } else {
            format!("map-{epoch}.toml")
        })
    };
    let before = fs::read_to_string(path(epoch)).expect("a map");
    let after = path(epoch + 1);
    fs::write(&after, next(&before, |map| map)).expect("a map can be written");
    deployment.people().sign(&after, &["anna", "boris"]);
    let applied = || apply(url, &after, epoch).code == 0;
    wait_until("the next map is in force", PROGRESS_WITHIN, applied);
}

/// Where each marker lies, once all has ended: exactly the region's own bodies in its own files, and
/// nothing in any other.
fn check(deployment: &Deployment, all: u64) {
    for (home, (_, region)) in (0..).zip(HOMES) {
        let own: BTreeSet<u64> = (0..all).filter(|n| n % 5 == home).collect();
        let mut found = markers(&deployment.root().join(region));
        found.remove(&(region.to_owned(), TORN.to_owned()));
        let wanted = BTreeMap::from([((region.to_owned(), "body".to_owned()), own)]);
        let differ = || found.iter().map(|(of, numbers)| (of, numbers.len())).collect::<Vec<_>>();
        assert!(found == wanted, "{region}: {:?}", differ());
    }
    let others = deployment.root().join("others");
    fs::create_dir(&others).expect("a folder");
    let mut logs = 0;
    for entry in fs::read_dir(deployment.root()).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            let name = path.file_name().expect("a name");
            logs += usize::from(path.extension().is_some_and(|it| it == "stderr"));
            fs::copy(&path, others.join(name)).expect("a copy");
        }
    }
    assert_eq!(logs, TERRITORIES.len(), "the gateways' logs are searched");
    assert_eq!(markers(&others), BTreeMap::new(), "logs, metrics and configurations");
}

/// Moves one record's body into the store of another region, as a build would that sends one write
/// astray, and gives its number.
fn misroute(deployment: &Deployment, engine: engine::Kind) -> u64 {
    let options = engine::Options { cache_bytes: 16 << 20 };
    let open = |region: &str| {
        let data = deployment.root().join(region).join("data");
        engine::open(engine, &data, options).expect("a store")
    };
    let limit = engine::ScanLimit { rows: 1, bytes: 1 << 20 };
    let page = open("ru-msk").scan(&Span::prefix(&[0x11]), engine::Order::Ascending, limit);
    let (key, row) = page.expect("a page").rows.pop().expect("a body");
    let text = String::from_utf8_lossy(&row).into_owned();
    let number = text.split('~').nth(3).expect("a marker").parse().expect("a number");
    let astray = open("us-iad");
    let mut batch = Batch::new();
    batch.put(key, row);
    let head = astray.head().expect("a head");
    astray.commit(batch, head, head.size).expect("a commit");
    number
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a switch of this test")]
fn no_marker_lies_anywhere_else_while_everything_fails() {
    let all = std::env::var("CANARY_RECORDS").ok().and_then(|text| text.parse().ok());
    let all: u64 = all.unwrap_or(RECORDS);
    for engine in engine::Kind::ALL {
        let mail = "reads = \"counted\"\n\n[[collections.attributes]]\nname = \"mail\"\n\
                    type = \"string\"\nindex = \"exact\"\n";
        let options = Options { signed: true, territory: Some("DE"), ..Options::default() };
        let map = options.map.replacen("reads = \"counted\"\n", mail, 1);
        let deployment = Deployment::configure(&Options { regions: vec![], map, ..options });
        let keys = deployment.people().keys.iter().take(2).map(|(_, vkey)| vkey.as_str());
        let signers = Some(ledger::Signers::parse(keys).expect("keys"));
        let note = fs::read_to_string(deployment.root().join("map.note")).expect("signatures");
        let regions = HOMES.map(|(_, region)| region);
        let mut shards = Shards::start(&deployment, &regions, engine, Signed { signers, note });
        let mut gateways = gateways(&deployment);
        let (runtime, done) = (Runtime::new().expect("a runtime"), Arc::new(Done::default()));
        let callers: Vec<_> = (0_u64..)
            .zip(&gateways)
            .flat_map(|(gateway, (url, _))| {
                (0..CALLERS).map(move |caller| (url.clone(), gateway * CALLERS + caller))
            })
            .map(|(url, caller)| runtime.spawn(write(url, caller, all, Arc::clone(&done))))
            .collect();
        let rounds = fail(&deployment, &mut shards, &mut gateways, &done, all);
        for caller in callers {
            runtime.block_on(caller).expect("a caller does not panic");
        }
        for (territory, (_, gateway)) in TERRITORIES.iter().zip(&mut gateways) {
            let (_, metrics) = page(gateway.admin(), "/metrics").expect("a page");
            let file = deployment.root().join(format!("metrics-{territory}.txt"));
            fs::write(file, metrics).expect("it can be written");
            assert_eq!(gateway.stop(), 0);
        }
        shards.stop();
        check(&deployment, all);
        let (failed, name) = (done.failed.load(Ordering::Relaxed), engine.as_str());
        println!(
            "{name}: {all} records, {rounds} failures, {failed} calls failed, 0 markers astray"
        );

        // One write that goes astray is found.
        let number = misroute(&deployment, engine);
        let found = markers(&deployment.root().join("us-iad"));
        let astray = found.get(&("ru-msk".to_owned(), "body".to_owned()));
        assert_eq!(astray, Some(&BTreeSet::from([number])));
    }
}
