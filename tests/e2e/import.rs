//! The main job on real input: 3,000 persons through a gateway into five regions, each a process
//! of its own. Every record lies in its region's folder and nowhere else.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::support::evidence::{PEOPLE, Person, expected, people};
use crate::support::load::PATIENT;
use crate::support::process::{Finished, Server, get, run, wait_until};
use crate::support::{Deployment, Options, file, search, stored};
use client::{Client, api};
use rustix::process::Signal;
use serde_json::Value;

const REGIONS: [&str; 5] = ["eu-fra", "in-bom", "kz-ala", "ru-msk", "us-iad"];
/// Readers at once.
const READERS: usize = 16;

fn import(url: &str, rows: &Path) -> Finished {
    let rows = rows.to_str().expect("a path that is text");
    run(&["import", "--gateway", url, "--json", rows])
}

fn counts(finished: &Finished) -> Value {
    assert_eq!(finished.code, 0, "{}", finished.stderr);
    parsed(&finished.stdout)
}

/// The object with which a command ends.
fn parsed(stdout: &str) -> Value {
    let last = stdout.lines().last().expect("the command ends with an object");
    serde_json::from_str(last).expect("an object")
}

/// The sizes for which each region's log has been signed.
fn log_sizes(deployment: &mut Deployment) -> Vec<String> {
    let mut sizes = Vec::new();
    for region in REGIONS {
        deployment.wait_signed(region);
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
        purpose: "a test".to_owned(),
        ..Default::default()
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
    let client = runtime.block_on(Client::connect(&url, PATIENT)).expect("a gateway");
    let (client, all) = (Arc::new(client), Arc::new(people));
    let readers = (0..READERS).map(|first| {
        let (client, people) = (Arc::clone(&client), Arc::clone(&all));
        runtime.spawn(async move {
            for person in people.iter().skip(first).step_by(READERS) {
                for region in REGIONS {
                    let found = read(&client, person, region).await;
                    if person.expected.as_deref() == Ok(region) {
                        let record = found.unwrap_or_else(|why| panic!("{}: {why}", person.id));
                        assert!(record.body == person.body, "{}: another body", person.id);
                    } else {
                        let reason = found.err();
                        assert_eq!(reason.as_deref(), Some("SUBJECT_UNKNOWN"), "{}", person.id);
                    }
                }
            }
        })
    });
    for reader in readers.collect::<Vec<_>>() {
        runtime.block_on(reader).expect("every answer is as expected");
    }

    // The folders themselves: as many records as the region has people, and no id in the clear.
    let mut placed = BTreeMap::new();
    for person in all.iter() {
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
fn a_record_with_other_content_is_not_counted_as_placed() {
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
    let wanted = serde_json::json!({ "placed": {}, "refused": { "RECORD_EXISTS": 10 } });
    let done = import(&url, &path);
    assert_eq!((done.code, parsed(&done.stdout)), (1, wanted), "{}", done.stderr);
    let said = "ten.jsonl:1: RECORD_EXISTS: a record with other content exists in ru-msk";
    assert!(done.stderr.contains(said), "{}", done.stderr);

    // The line's own content under another request id: as next week, when the request is forgotten.
    let first = russians[0];
    let body = String::from_utf8(first.body.clone()).expect("JSON is text");
    let record = ["--domicile", "ru-msk", "--collection", &first.collection, "--key", "main"];
    let put = ["record", "put", "--gateway", &url, "--subject", &first.id, "--body", &body];
    let put = run(&[&put[..], &record].concat());
    assert_eq!(put.code, 0, "{}", put.stderr);
    let done = import(&url, &path);
    let wanted =
        serde_json::json!({ "placed": { "ru-msk": 1 }, "refused": { "RECORD_EXISTS": 9 } });
    assert_eq!((done.code, parsed(&done.stdout)), (1, wanted), "{}", done.stderr);
}

/// Every value that a reader of JSON might change on its way is stored as it was written.
#[test]
fn a_body_is_stored_byte_for_byte() {
    let options = Options { regions: vec!["eu-fra"], ..Options::default() };
    let deployment = Deployment::start(&options);
    let url = deployment.gateway_url();
    let own = r#""double": 946670.2184469479, "big" :123456789012345678901234567890, "e":1E400,
        "one":1.0,"twice":1, "twice":2,"escape":"\u00e9\/\ud800", "minus":-0"#;
    let own = own.replace('\n', "").replace("        ", " ");
    let evidence = r#""evidence":[{"kind":"residence","value":"DE"}]"#;
    let bodies = [
        format!(r#"{{"id":"a", {own},"collection":"profiles",{evidence} }}"#),
        format!(r#"{{{own},{evidence},"id" : "b","collection":"profiles"}}"#),
    ];
    // With a byte order mark before the first line, and lines that end as on other systems.
    let expect = r#", "expect": {"region": "eu-fra"} }"#;
    let second = bodies[1].strip_suffix('}').expect("an object");
    let text = format!("\u{feff}{}\r\n  {second}{expect}\r\n", bodies[0]);
    let path = deployment.root().join("bytes.jsonl");
    std::fs::write(&path, text).expect("a file can be written");
    let wanted = serde_json::json!({ "placed": { "eu-fra": 2 }, "refused": {} });
    assert_eq!(counts(&import(&url, &path)), wanted);
    let wanted = [bodies[0].clone(), format!("{second} }}")];
    for (id, body) in ["a", "b"].iter().zip(wanted) {
        let get = ["record", "get", "--gateway", &url, "--domicile", "eu-fra", "--json"];
        let what = ["--subject", id, "--collection", "profiles", "--key", "main"];
        let got = run(&[&get[..], &what].concat());
        assert_eq!(parsed(&got.stdout)["body_utf8"], *body, "{}", got.stderr);
    }
}

#[test]
fn a_signal_ends_an_import_with_its_counts() {
    let options = Options { regions: vec!["eu-fra"], ..Options::default() };
    let deployment = Deployment::start(&options);
    let url = deployment.gateway_url();
    // Nobody writes into it: after its first line the import waits for more.
    let pipe = deployment.root().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo can be started").success());
    let path = pipe.to_str().expect("text");
    for (n, signal) in [Signal::TERM, Signal::INT].into_iter().enumerate() {
        let output = deployment.root().join(format!("import-{n}"));
        let arguments = ["import", "--gateway", &url, "--json", path];
        let mut running = Server::of(&arguments, &output);
        running.start();
        // For both, so that this waits for nobody.
        let open = std::fs::OpenOptions::new().read(true).write(true).open(&pipe);
        let mut writer = open.expect("a pipe");
        let row = format!(
            r#"{{"id":"s-{n}","collection":"profiles","evidence":[{{"kind":"residence","value":"DE"}}]}}"#
        );
        writeln!(writer, "{row}").expect("a line can be written");
        let get = ["record", "get", "--gateway", &url, "--domicile", "eu-fra", "--json"];
        let id = format!("s-{n}");
        let what = ["--subject", &id, "--collection", "profiles", "--key", "main"];
        wait_until("the line is stored", Duration::from_secs(120), || {
            run(&[&get[..], &what].concat()).code == 0
        });
        running.signal(signal);
        assert_eq!(running.wait_end(), 130, "{}", running.stderr());
        let counts = parsed(&running.stdout());
        assert_eq!(counts["refused"], serde_json::json!({}), "{counts}");
        assert!(running.stderr().contains("the same command resumes"), "{}", running.stderr());
    }
}
