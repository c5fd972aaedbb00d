//! Attributes, lists and counts, by the SDK and by the binary, over several regions of which one is
//! down; and pages while writers run.

#![expect(clippy::indexing_slicing, reason = "a test that goes astray may panic")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::load::{ONCE, PATIENT, delete, evidence, put};
use crate::support::maps::{apply, next, text};
use crate::support::process::{Finished, run};
use crate::support::{Deployment, Options};
use client::{Client, api};
use serde_json::Value;
use tokio::runtime::Runtime;

/// The sample map, in which profiles have attributes and a list.
pub(crate) fn options() -> Options {
    let usual = Options::default();
    let reads = "reads = \"counted\"\n";
    let attributes = "list = true\n\n\
        [[collections.attributes]]\nname = \"city\"\ntype = \"string\"\nindex = \"exact\"\n\n\
        [[collections.attributes]]\nname = \"age\"\ntype = \"integer\"\nindex = \"range\"\n\n\
        [[collections.attributes]]\nname = \"seen\"\ntype = \"bool\"\n\n\
        [[collections.attributes]]\nname = \"joined\"\ntype = \"timestamp\"\nindex = \"range\"\n";
    let map = usual.map.replacen(reads, &format!("{reads}{attributes}"), 1);
    Options { regions: vec!["eu-fra", "ru-msk"], map, ..usual }
}

fn with(mut put: api::PutRecordRequest, age: i64, city: &str) -> api::PutRecordRequest {
    let attribute =
        |name: &str, value| api::Attribute { name: name.to_owned(), value: Some(value) };
    put.attributes = vec![
        attribute("age", api::attribute::Value::IntegerValue(age)),
        attribute("city", api::attribute::Value::StringValue(city.to_owned())),
    ];
    put
}

fn listing(regions: &[&str]) -> api::ListRecordsRequest {
    api::ListRecordsRequest {
        collection: "profiles".to_owned(),
        regions: regions.iter().map(|region| (*region).to_owned()).collect(),
        view: api::RecordView::Attributes.into(),
        ..Default::default()
    }
}

/// Ages of all records of a list, and how many pages they took.
async fn ages(client: &Client, request: api::ListRecordsRequest) -> (Vec<i64>, usize) {
    let (mut ages, mut pages) = (Vec::new(), 0);
    let mut records = client.list(request);
    while let Some(page) = records.next_page().await.expect("a page") {
        pages += 1;
        ages.extend(page.iter().flat_map(|record| &record.attributes).filter_map(|attribute| {
            match attribute.value {
                Some(api::attribute::Value::IntegerValue(age)) => Some(age),
                _ => None,
            }
        }));
    }
    (ages, pages)
}

fn reason(error: client::Error) -> String {
    error.refused().expect("a refusal").reason.clone()
}

/// Twenty persons of two regions, whose ages are 0 to 19.
async fn store(client: &Client) {
    for n in 0..20_i64 {
        let country = if n % 2 == 0 { "DE" } else { "RU" };
        let request = put(&format!("p-{n}"), "main", b"hello", &evidence(country));
        let city = if n < 10 { "a" } else { "b" };
        client.put(&with(request, n, city)).await.expect("a put");
    }
}

fn ordered(by: &str, size: i32) -> api::ListRecordsRequest {
    let order_by = by.to_owned();
    api::ListRecordsRequest { order_by, page_size: size, ..listing(&["ru-msk", "eu-fra"]) }
}

async fn check_orders(client: &Client) {
    for size in [3, 20] {
        let (found, pages) = ages(client, ordered("age", size)).await;
        assert_eq!(found, (0..20).collect::<Vec<_>>());
        assert!(pages >= 20_usize.div_ceil(usize::try_from(size).expect("small")), "{pages}");
        let down = ages(client, ordered("age desc", size)).await.0;
        assert_eq!(down, (0..20).rev().collect::<Vec<_>>());
    }
    let filter = "city = \"a\" AND age >= 5".to_owned();
    let some = api::ListRecordsRequest { filter: filter.clone(), ..ordered("age", 100) };
    let regions = some.regions.clone();
    assert_eq!(ages(client, some).await.0, (5..10).collect::<Vec<_>>());
    let collection = "profiles".to_owned();
    let count = api::CountRecordsRequest { collection, regions, filter, ..Default::default() };
    assert_eq!(client.count(&count).await.expect("a count").count, 5);
}

/// All records of one region, for a purpose.
async fn check_scan(client: &Client) {
    let request = api::ScanRecordsRequest {
        collection: "profiles".to_owned(),
        region: "eu-fra".to_owned(),
        purpose: "a search index".to_owned(),
        view: api::RecordView::Whole.into(),
        ..Default::default()
    };
    let mut scan = client.scan(&request).await.expect("a scan");
    let mut found = 0;
    while let Some(record) = scan.next().await.expect("a record") {
        assert_eq!(record.subject.expect("a subject").domicile, "eu-fra");
        assert_eq!((&*record.body, record.attributes.len()), (b"hello".as_slice(), 2));
        found += 1;
    }
    assert_eq!((found, scan.withheld()), (10, 0));
    let of = |change: &dyn Fn(&mut api::ScanRecordsRequest)| {
        let mut request = request.clone();
        change(&mut request);
        request
    };
    for (refused, wanted) in [
        (of(&|r| " ".clone_into(&mut r.purpose)), "FIELD_MISSING"),
        (of(&|r| r.region.clear()), "FIELD_MISSING"),
        (of(&|r| "size = 1".clone_into(&mut r.filter)), "ATTRIBUTE_UNKNOWN"),
        (of(&|r| r.view = 9), "FIELD_INVALID"),
        (of(&|r| "nothing".clone_into(&mut r.collection)), "COLLECTION_UNKNOWN"),
    ] {
        let refused = match client.scan(&refused).await {
            Ok(mut scan) => scan.next().await.err(),
            Err(error) => Some(error),
        };
        assert_eq!(reason(refused.expect("it is refused")), wanted);
    }
}

/// A token goes with its own question.
async fn check_tokens(client: &Client) {
    let first = ordered("", 4);
    let token = client.list_page(&first).await.expect("a page").next_page_token;
    let again = |change: &dyn Fn(&mut api::ListRecordsRequest)| {
        let mut request = first.clone();
        request.page_token.clone_from(&token);
        change(&mut request);
        request
    };
    client.list_page(&again(&|_| {})).await.expect("a page");
    for other in [
        again(&|request| "age > 1".clone_into(&mut request.filter)),
        again(&|request| "age".clone_into(&mut request.order_by)),
        again(&|request| request.view = api::RecordView::Whole.into()),
        again(&|request| request.regions.truncate(1)),
        again(&|request| request.page_token = request.page_token.replace('a', "b")),
    ] {
        let refused = client.list_page(&other).await.err().expect("it is refused");
        assert_eq!(reason(refused), "PAGE_TOKEN_INVALID");
    }
}

#[test]
fn records_of_two_regions_come_in_one_order_and_one_that_is_down_is_named() {
    in_one_order(&options());
}

pub(crate) fn in_one_order(options: &Options) {
    let mut deployment = Deployment::start(options);
    let runtime = Runtime::new().expect("a runtime");
    let url = deployment.gateway_url();
    let client = runtime.block_on(Client::connect(&url, PATIENT)).expect("a gateway");
    runtime.block_on(async {
        store(&client).await;
        check_orders(&client).await;
        check_tokens(&client).await;
        check_scan(&client).await;
        // An update and a deletion change what is found.
        let moved = put("p-0", "main", b"hello", &evidence("DE"));
        client.put(&with(moved, 100, "a")).await.expect("a put");
        client.delete(&delete("p-1", "ru-msk", "main")).await.expect("a deletion");
        let expected: Vec<i64> = (2..20).chain([100]).collect();
        assert_eq!(ages(&client, ordered("age", 100)).await.0, expected);
    });
    deployment.shard("ru-msk").kill();
    deployment.wait_session("ru-msk", false);
    runtime.block_on(async {
        let mut records = client.list(ordered("age", 4));
        let mut found = 0;
        while let Some(record) = records.next().await.expect("a record") {
            assert_eq!(record.subject.expect("a subject").domicile, "eu-fra");
            found += 1;
        }
        assert_eq!((found, records.unreachable().collect::<Vec<_>>()), (10, vec!["ru-msk"]));
        let once = Client::connect(&url, ONCE).await.expect("a gateway");
        let refused = once.list_page(&listing(&["ru-msk"])).await.err().expect("it is refused");
        assert_eq!(reason(refused), "REGION_UNAVAILABLE");
    });
}

fn lines(done: &Finished) -> Vec<Value> {
    done.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// A command of `record`, as it is typed.
fn record(url: &str, more: &[&str]) -> Finished {
    run(&[&["record"], more, &["--gateway", url, "--json"]].concat())
}

const BOTH: [&str; 6] = ["--collection", "profiles", "--region", "ru-msk", "--region", "eu-fra"];

fn list(url: &str, more: &[&str]) -> Finished {
    record(url, &[&["list"], &BOTH[..], more].concat())
}

fn count(url: &str, more: &[&str]) -> Finished {
    record(url, &[&["count"], &BOTH[..], more].concat())
}

fn domicile(n: usize) -> &'static str {
    if n < 3 { "ru-msk" } else { "eu-fra" }
}

/// Seven persons, of whom three are Russians.
fn type_puts(url: &str) {
    for n in 0..7 {
        let country = if n < 3 { "RU" } else { "DE" };
        let of = |kind: &str| format!("{kind}={country}");
        let (subject, age) = (format!("p-{n}"), format!("age={n}"));
        let (residence, citizenship) = (of("residence"), of("citizenship"));
        let mut put =
            vec!["put", "--subject", &subject, "--collection", "profiles", "--key", "main"];
        put.extend(["--create-subject", "--evidence", &residence, "--evidence", &citizenship]);
        put.extend(["--body", "hello", "--attribute", &age, "--attribute", "city=\"7\""]);
        put.extend(["--attribute", "seen=true"]);
        put.extend(["--attribute", "joined=2026-11-30T08:45:00+02:00"]);
        let done = record(url, &put);
        assert_eq!(done.code, 0, "{done:?}");
    }
    let mut get = vec!["get", "--subject", "p-0", "--domicile", "ru-msk"];
    get.extend(["--collection", "profiles", "--key", "main"]);
    let wanted = serde_json::json!(
        {"age": 0, "city": "7", "joined": "2026-11-30T06:45:00Z", "seen": true}
    );
    assert_eq!(lines(&record(url, &get))[0]["attributes"], wanted);
}

fn check_lists(url: &str) {
    let all = list(url, &["--page-size", "2"]);
    assert_eq!(all.code, 0, "{all:?}");
    let mut found: Vec<(String, String)> = lines(&all)
        .iter()
        .map(|line| {
            assert_eq!((&line["key"], &line["version"]), (&"main".into(), &1.into()));
            assert!(line.get("attributes").is_none() && line.get("body").is_none());
            let text = |name: &str| line[name].as_str().expect("text").to_owned();
            (text("subject"), text("domicile"))
        })
        .collect();
    found.sort();
    let expected = (0..7).map(|n| (format!("p-{n}"), domicile(n).to_owned()));
    assert_eq!(found, expected.collect::<Vec<_>>());
    let filter = "age >= 2 AND age < 4";
    let whole = ["--view", "whole", "--filter", filter, "--order-by", "age desc"];
    let whole = lines(&list(url, &whole));
    let age = |line: &Value| line["attributes"]["age"].as_i64().expect("an age");
    assert_eq!(whole.iter().map(age).collect::<Vec<_>>(), [3, 2]);
    assert!(whole.iter().all(|line| line["body_utf8"] == "hello"));
    let mut one = vec!["list", "--collection", "profiles", "--subject", "p-5"];
    one.extend(["--domicile", "eu-fra", "--view", "attributes"]);
    assert_eq!(lines(&record(url, &one))[0]["attributes"]["age"], 5);
    assert_eq!(lines(&count(url, &[]))[0]["count"], 7);
    let filter = "joined > \"2026-11-30T06:44:59.999Z\" AND city = '7'";
    assert_eq!(lines(&count(url, &["--filter", filter]))[0]["count"], 7);
}

fn check_scans(url: &str) {
    let scan = |more: &[&str]| {
        let of = ["scan", "--collection", "profiles", "--region", "ru-msk"];
        record(url, &[&of[..], more].concat())
    };
    let all = scan(&["--purpose", "a search index"]);
    assert_eq!(all.code, 0, "{all:?}");
    assert_eq!(lines(&all).len(), 3);
    assert!(lines(&all).iter().all(|line| line["body_utf8"] == "hello"));
    let some = scan(&["--purpose", "x", "--filter", "age = 1", "--view", "attributes"]);
    assert_eq!((lines(&some).len(), &lines(&some)[0]["attributes"]["age"]), (1, &1.into()));
    assert_eq!(scan(&[]).code, 2, "the purpose is required");
}

fn check_refusals(url: &str) {
    let error = |done: &Finished| -> Value {
        assert_eq!(done.code, 1, "{done:?}");
        serde_json::from_str(&done.stderr).expect("JSON")
    };
    for (filter, reason) in [
        ("seen = true", "INDEX_REQUIRED"),
        ("city > 'a'", "INDEX_REQUIRED"),
        ("size = 1", "ATTRIBUTE_UNKNOWN"),
        ("age = '1'", "ATTRIBUTE_INVALID"),
        ("age == 1", "FILTER_INVALID"),
    ] {
        let refused = error(&list(url, &["--filter", filter]));
        assert_eq!(refused["error"]["reason"], reason, "{filter}");
    }
    let mut wrong = vec!["put", "--subject", "p-0", "--domicile", "ru-msk"];
    wrong.extend(["--collection", "profiles", "--key", "x", "--body", "x"]);
    wrong.extend(["--attribute", "age=old"]);
    assert_eq!(error(&record(url, &wrong))["error"]["field"], "attributes[0].value");
}

/// What a patch does not name stays, and comes back under a new version.
fn check_patches(url: &str) {
    let of = ["--subject", "p-6", "--domicile", "eu-fra", "--collection", "profiles"];
    let of = [&of[..], &["--key", "main"]].concat();
    let patch = |more: &[&str]| record(url, &[&["patch"], &of[..], more].concat());
    let first =
        patch(&["--attribute", "age=60", "--remove-attribute", "city", "--if-version", "1"]);
    assert_eq!(first.code, 0, "{first:?}");
    let said = &lines(&first)[0];
    assert_eq!((&said["version"], &said["proof"]), (&2.into(), &"receipt".into()));
    assert_eq!(said["ruling"]["region"], "eu-fra");
    let second = patch(&["--body", "bye", "--etag", said["etag"].as_str().expect("an etag")]);
    assert_eq!(second.code, 0, "{second:?}");
    let got = lines(&record(url, &[&["get"], &of[..]].concat()));
    let wanted = serde_json::json!({"age": 60, "joined": "2026-11-30T06:45:00Z", "seen": true});
    assert_eq!((&got[0]["attributes"], &got[0]["body_utf8"]), (&wanted, &"bye".into()));
    for (more, reason, field) in [
        (&["--body", "x", "--if-version", "1"][..], "VERSION_MISMATCH", "if_version"),
        (&["--validate-only"], "FIELD_MISSING", "body"),
        (&["--remove-attribute", "Age"], "ATTRIBUTE_UNKNOWN", "remove_attributes[0]"),
    ] {
        let refused = patch(more);
        assert_eq!(refused.code, 1, "{refused:?}");
        let refused: Value = serde_json::from_str(&refused.stderr).expect("JSON");
        assert_eq!(
            (&refused["error"]["reason"], &refused["error"]["field"]),
            (&reason.into(), &field.into())
        );
    }
    assert_eq!(lines(&count(url, &["--filter", "age = 60"]))[0]["count"], 1);
    assert_eq!(lines(&count(url, &["--filter", "city = '7'"]))[0]["count"], 6);
}

#[test]
fn an_operator_puts_attributes_lists_and_counts() {
    let mut deployment = Deployment::start(&options());
    let url = deployment.gateway_url();
    type_puts(&url);
    check_lists(&url);
    check_scans(&url);
    check_refusals(&url);
    check_patches(&url);
    deployment.shard("ru-msk").kill();
    deployment.wait_session("ru-msk", false);
    let part = list(&url, &[]);
    assert_eq!((part.code, lines(&part).len()), (69, 4), "{part:?}");
    assert!(part.stderr.contains("ru-msk (REGION_UNAVAILABLE)"), "{part:?}");
    let part = count(&url, &[]);
    assert_eq!((part.code, &lines(&part)[0]["count"]), (69, &4.into()));
    assert_eq!(lines(&part)[0]["unreachable"], serde_json::json!(["ru-msk"]));
    assert_eq!(lines(&part)[0]["missing"]["ru-msk"], "REGION_UNAVAILABLE");
}

#[test]
fn while_writers_run_a_list_has_what_stays_once() {
    const STAY: usize = 400;
    let deployment = Deployment::start(&options());
    let runtime = Runtime::new().expect("a runtime");
    let client = runtime.block_on(Client::connect(&deployment.gateway_url(), PATIENT));
    let client = client.expect("a gateway");
    let country = |n: usize| if n.is_multiple_of(2) { "DE" } else { "RU" };
    let one = move |n: usize, key: &str| {
        with(put(&format!("p-{}", n % 60), key, b"x", &evidence(country(n % 60))), 1, "a")
    };
    runtime.block_on(async {
        for n in 0..STAY {
            client.put(&one(n, &format!("stay-{n}"))).await.expect("a put");
        }
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, written, writer) = (Arc::clone(&stop), Arc::clone(&done), client.clone());
        let writing = tokio::spawn(async move {
            let mut n = 0;
            while !stopped.load(Ordering::Relaxed) {
                n += 1;
                let key = format!("go-{}", n % 30);
                writer.put(&one(n, &key)).await.expect("a put");
                let again = n * 7 % STAY;
                writer.put(&one(again, &format!("stay-{again}"))).await.expect("a put");
                let domicile = if (n % 60).is_multiple_of(2) { "eu-fra" } else { "ru-msk" };
                let gone = delete(&format!("p-{}", n % 60), domicile, &key);
                writer.delete(&gone).await.expect("a deletion");
                written.store(n, Ordering::Relaxed);
            }
        });
        for order in ["", "age", "key desc"] {
            // As long as it takes to have many writes within a list of that order.
            let until = done.load(Ordering::Relaxed) + 40;
            while done.load(Ordering::Relaxed) < until {
                let request = api::ListRecordsRequest {
                    order_by: order.to_owned(),
                    page_size: 57,
                    ..listing(&["eu-fra", "ru-msk"])
                };
                let mut records = client.list(request);
                let mut found = Vec::new();
                while let Some(record) = records.next().await.expect("a record") {
                    if record.key.starts_with("stay") {
                        found.push(record.key);
                    }
                }
                let each: BTreeSet<&String> = found.iter().collect();
                assert_eq!((found.len(), each.len()), (STAY, STAY), "{order}");
            }
        }
        stop.store(true, Ordering::Relaxed);
        writing.await.expect("no panic");
    });
}

/// Records that are stored before the map that lets one list by them.
const STORED: i64 = 400;

#[test]
fn records_that_were_stored_before_their_index_are_all_found_by_it() {
    for engine in ["sled", "fjall"] {
        let whole = options();
        let plain = |map: &str| {
            map.replace("list = true\n", "").replace("index = \"range\"", "index = \"none\"")
        };
        let map = plain(&whole.map);
        let options = Options { signed: true, engine, map, regions: vec!["ru-msk"], ..whole };
        let deployment = Deployment::start(&options);
        let url = deployment.gateway_url();
        let runtime = Runtime::new().expect("a runtime");
        let all: Vec<i64> = (0..STORED).collect();
        let by_age = || api::ListRecordsRequest {
            order_by: "age".to_owned(),
            page_size: 150,
            ..listing(&["ru-msk"])
        };
        let client = runtime.block_on(async {
            let client = Client::connect(&url, PATIENT).await.expect("a gateway");
            for n in 0..STORED {
                let request =
                    put(&format!("p-{}", n % 9), &format!("k-{n}"), b"x", &evidence("RU"));
                client.put(&with(request, n, "a")).await.expect("a put");
            }
            let refused = client.list(by_age()).next_page().await.err().expect("a refusal");
            assert_eq!(reason(refused), "INDEX_REQUIRED");
            client
        });
        // The same map with list and indexes.
        let first = std::fs::read_to_string(deployment.root().join("map.toml")).expect("a map");
        let indexed = next(&first, |map| {
            let map = map.replacen(
                "type = \"integer\"\nindex = \"none\"",
                "type = \"integer\"\nindex = \"range\"",
                1,
            );
            map.replacen("reads = \"counted\"\n", "reads = \"counted\"\nlist = true\n", 1)
        });
        let path = deployment.root().join("indexed.toml");
        std::fs::write(&path, indexed).expect("a map can be written");
        deployment.people().sign(&path, &["anna", "boris"]);
        let done = apply(&url, &path, 1);
        assert_eq!(done.code, 0, "{done:?} {}", text(&path));
        runtime.block_on(async {
            // The client sends again what is refused with INDEX_BUILDING.
            assert_eq!(ages(&client, by_age()).await.0, all, "{engine}");
            let count = api::CountRecordsRequest {
                collection: "profiles".to_owned(),
                regions: vec!["ru-msk".to_owned()],
                ..Default::default()
            };
            let counted = client.count(&count).await.expect("a count");
            assert_eq!(counted.count, STORED);
        });
        let status = run(&["map", "status", "--gateway", &url, "--json"]);
        assert_eq!(status.code, 0, "{status:?}");
        let status: Value = serde_json::from_str(&status.stdout).expect("JSON");
        let shards = status["shards"].as_array().expect("shards");
        let of_shard = shards.iter().find(|shard| shard["region"] == "ru-msk").expect("the shard");
        assert_eq!(
            (&of_shard["reachable"], &of_shard["indexes_building"]),
            (&true.into(), &Value::Null)
        );
    }
}
