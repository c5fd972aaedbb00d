//! The main job on real input: 3,000 persons through a gateway into five regions, each a process
//! of its own. Every record lies in its region's folder and nowhere else.

#[expect(dead_code, reason = "each test file uses its own part")]
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use client::{Client, api};
use serde_json::Value;
use support::evidence::{PEOPLE, Person, expected, people};
use support::load::PATIENT;
use support::process::{Finished, get, run};
use support::{Deployment, Options, file, search, stored};

const REGIONS: [&str; 5] = ["eu-fra", "in-bom", "kz-ala", "ru-msk", "us-iad"];

fn import(url: &str, rows: &Path) -> Finished {
    let rows = rows.to_str().expect("a path that is text");
    run(&["import", "--gateway", url, "--json", rows])
}

fn counts(finished: &Finished) -> Value {
    assert_eq!(finished.code, 0, "{}", finished.stderr);
    let last = finished.stdout.lines().last().expect("import ends with an object");
    serde_json::from_str(last).expect("an object")
}

/// The sizes for which each region's log has been signed.
fn log_sizes(deployment: &mut Deployment) -> Vec<String> {
    // A checkpoint comes within a beat of the last write.
    support::process::pause(Duration::from_millis(700));
    let mut sizes = Vec::new();
    for region in REGIONS {
        let admin = deployment.shard(region).admin();
        let (_, page) = get(admin, "/metrics").expect("the shard answers");
        let line = page.lines().find(|l| l.starts_with("bailiwick_shard_checkpoint_size "));
        sizes.push(format!("{region} {}", line.expect("a checkpoint size")));
    }
    sizes
}

async fn read(client: &Client, person: &Person, region: &str) -> Result<api::Record, String> {
    let request = api::GetRecordRequest {
        subject: Some(api::SubjectRef { id: person.id.clone(), domicile: region.to_owned() }),
        collection: person.collection.clone(),
        key: "main".to_owned(),
    };
    client.get(&request).await.map_err(|error| {
        error.refused().map_or_else(|| error.to_string(), |refused| refused.reason.clone())
    })
}

#[test]
fn every_person_lies_in_the_right_region_and_nowhere_else() {
    let people = people();
    let mut deployment = Deployment::start(&Options::default());
    let url = deployment.gateway_url();
    let first = import(&url, &file(PEOPLE));
    assert_eq!(counts(&first), expected(&people));

    // A second run changes nothing: no entry is added to any log.
    let before = log_sizes(&mut deployment);
    assert_eq!(counts(&import(&url, &file(PEOPLE))), expected(&people));
    assert_eq!(log_sizes(&mut deployment), before);

    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let client = Client::connect(&url, PATIENT).await.expect("a gateway");
        for person in &people {
            for region in REGIONS {
                let found = read(&client, person, region).await;
                if person.expected.as_deref() == Ok(region) {
                    let record = found.unwrap_or_else(|why| panic!("{}: {why}", person.id));
                    assert!(record.body == person.body, "{}: another body", person.id);
                } else {
                    assert_eq!(found.err().as_deref(), Some("SUBJECT_UNKNOWN"), "{}", person.id);
                }
            }
        }
    });

    // The folders themselves: as many records as the region has people, and no id in the clear.
    let mut placed = BTreeMap::new();
    for person in &people {
        if let Ok(region) = &person.expected {
            *placed.entry(region.as_str()).or_insert(0) += 1;
        }
    }
    assert_eq!(deployment.gateway().stop(), 0);
    for region in REGIONS {
        assert_eq!(deployment.shard(region).stop(), 0);
        let home = deployment.data_dir(region);
        let records = stored::rows(&home, engine::Kind::Sled, &[0x10]);
        // Slot, subject tag and kind of row follow the prefix: 01 is a record.
        let records = records.iter().filter(|(key, _)| key.get(19) == Some(&1)).count();
        assert_eq!(Some(&records), placed.get(region), "{region}");
        assert_eq!(search::ids(home.parent().expect("a home")).len(), 0, "{region}");
    }
}

#[test]
fn what_is_there_already_counts_as_placed() {
    let options = Options { regions: vec!["ru-msk"], ..Options::default() };
    let deployment = Deployment::start(&options);
    let url = deployment.gateway_url();
    // Somebody has put the first ten Russians before, under other request ids.
    let people: Vec<_> = people();
    let russians: Vec<_> =
        people.iter().filter(|p| p.expected.as_deref() == Ok("ru-msk")).take(10).collect();
    for person in &russians {
        let row: Value = serde_json::from_slice(&person.body).expect("a row");
        let mut arguments = vec!["record", "put", "--gateway", &url, "--create-subject"];
        arguments.extend(["--subject", &person.id, "--collection", &person.collection]);
        arguments.extend(["--key", "main", "--body", "other"]);
        let items: Vec<String> = row["evidence"]
            .as_array()
            .expect("evidence")
            .iter()
            .map(|item| {
                let text = |key: &str| item[key].as_str().expect("text").to_owned();
                format!("{}={}", text("kind"), text("value"))
            })
            .collect();
        items.iter().for_each(|item| arguments.extend(["--evidence", item]));
        let put = run(&arguments);
        assert_eq!(put.code, 0, "{}", put.stderr);
    }
    let rows: Vec<String> = russians
        .iter()
        .map(|person| String::from_utf8(person.body.clone()).expect("JSON is text"))
        .collect();
    let path = deployment.root().join("ten.jsonl");
    std::fs::write(&path, rows.join("\n")).expect("a file can be written");
    let wanted = serde_json::json!({ "placed": { "ru-msk": 10 }, "refused": {} });
    assert_eq!(counts(&import(&url, &path)), wanted);
}
