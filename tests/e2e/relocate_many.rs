//! Many persons move by a list: at once, with one who cannot, and by the same command again, which moves
//! no one twice.

use client::Client;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::relocation::{audit, options};
use crate::support::Deployment;
use crate::support::load::{ONCE, evidence, get, put};
use crate::support::maps::text;
use crate::support::process::{Finished, run};

const PERSONS: u64 = 12;

fn relocate(url: &str, plan: &str) -> Finished {
    let of = ["relocate", "--gateway", url, "--plan", plan, "--reason", "they have moved"];
    run(&[&of[..], &["--rate", "1000", "--receipts", "--json"]].concat())
}

fn said(done: &Finished, code: i32) -> Value {
    assert_eq!(done.code, code, "{done:?}");
    serde_json::from_str(&done.stdout).expect("JSON")
}

#[test]
fn persons_of_a_list_move_once() {
    let mut deployment = Deployment::start(&options());
    let (runtime, url) = (Runtime::new().expect("a runtime"), deployment.gateway_url());
    let client = runtime.block_on(Client::connect(&url, ONCE)).expect("a gateway");
    let person = |n: u64| format!("p-{n}");
    runtime.block_on(async {
        for n in 0..PERSONS {
            let request = put(&person(n), "k", b"body", &evidence("RU"));
            client.put(&request).await.expect("a put");
        }
    });
    // By the map in force none of them belongs elsewhere.
    let (list, plan) = (deployment.root().join("list"), deployment.root().join("plan"));
    let of = ["relocate", "list", "--gateway", &url, "--domicile", "ru-msk", "--to", "eu-fra"];
    let more = ["--collection", "profiles", "--reason", "a look", "--out", text(&list), "--json"];
    let looked_at = said(&run(&[&of[..], &more].concat()), 0);
    assert_eq!((&looked_at["looked_at"], &looked_at["listed"]), (&PERSONS.into(), &0.into()));
    assert_eq!((&looked_at["refused"], &looked_at["divided"]), (&0.into(), &0.into()));
    // A list is not overwritten, and a region that is none is not a matter of each person.
    let before = run(&[&of[..], &more].concat());
    assert!(before.code == 1 && before.stderr.contains("exists"), "{before:?}");
    let nowhere =
        ["relocate", "list", "--gateway", &url, "--domicile", "ru-msk", "--to", "nowhere"];
    let other = deployment.root().join("other");
    let more = ["--collection", "profiles", "--reason", "a look", "--out", text(&other), "--json"];
    let nowhere = run(&[&nowhere[..], &more].concat());
    assert!(nowhere.code == 1 && nowhere.stderr.contains("DOMICILE_UNKNOWN"), "{nowhere:?}");
    assert!(!other.exists());
    // With what is new of them all do; one is not there.
    let line = |n: u64| {
        let evidence = ["residence=DE", "citizenship=DE"];
        let to = json!({"subject": person(n), "domicile": "ru-msk", "to": "eu-fra",
                        "evidence": evidence});
        format!("{to}\n")
    };
    std::fs::write(&plan, (0..=PERSONS).map(line).collect::<String>()).expect("room");
    let first = said(&relocate(&url, text(&plan)), 3);
    let ends = json!({"moved": PERSONS, "refused (SUBJECT_UNKNOWN)": 1});
    assert_eq!((&first["ends"], &first["moved_in_this_run"]), (&ends, &PERSONS.into()));
    let again = said(&relocate(&url, text(&plan)), 3);
    assert_eq!((&again["ends"], &again["moved_in_this_run"]), (&ends, &0.into()));
    // A run whose report is lost, with another reason: they have moved all the same.
    let lost = deployment.root().join("lost");
    let of = ["relocate", "--gateway", &url, "--plan", text(&plan), "--reason", "once more"];
    let lost = said(&run(&[&of[..], &["--report", text(&lost), "--json"]].concat()), 3);
    assert_eq!(lost["ends"], ends);
    runtime.block_on(async {
        for n in 0..PERSONS {
            let found = get(&client, &person(n), "eu-fra", "k").await.expect("it has moved");
            assert_eq!(&*found.body, b"body");
        }
    });
    let report = std::fs::read_to_string(format!("{}.report", plan.display())).expect("a report");
    let proven = report.lines().filter(|line| line.contains("tlog_proof")).count();
    assert_eq!(u64::try_from(proven).expect("a count"), PERSONS);
    audit(&deployment, PERSONS);
    // The session over which they came keeps no shard from its end.
    let shard = deployment.shard("eu-fra");
    assert_eq!(shard.stop(), 0);
    assert!(!shard.stderr().contains("have not ended in time"), "{}", shard.stderr());
}
