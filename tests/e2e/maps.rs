//! The life of a map in a running deployment: who must sign it, what a restart keeps, a fork, a
//! signer who is lost, what a plan tells of those who are stored.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::load::{evidence, put};
use crate::support::maps::{apply, digest, next, text, version};
use crate::support::process::{Finished, get as page, run, wait_until};
use crate::support::{Deployment, Options, stored};
use client::{Client, Settings};
use ledger::Entry;
use ledger::entry::{Detail, Kind};
use serde_json::json;
use tokio::runtime::Runtime;

/// Time in which a process that is within reach must hold a map.
const REACHED_MAX: Duration = Duration::from_secs(60);
const PATIENT: Settings =
    Settings { deadline: Duration::from_secs(60), attempts_max: 60, ..Settings::DEFAULT };

const CLAUSE: &str = "\n[[clauses]]\nid = \"in-us\"\nfrom = \"IN\"\nto = \"US\"\ncollections = \"*\"\n\
    legal_basis = \"INVENTED FOR THE EXAMPLE\"\nimporter = \"INVENTED FOR THE EXAMPLE\"\n\
    reference = \"INVENTED FOR THE EXAMPLE\"\nnot_before = 2020-01-01\nexpires = 2100-01-01\n";

fn start(signed: bool) -> Deployment {
    Deployment::start(&Options { signed, regions: vec!["eu-fra", "ru-msk"], ..Options::default() })
}

fn first(deployment: &Deployment) -> String {
    fs::read_to_string(deployment.root().join("map.toml")).expect("a map")
}

/// Writes a map beside the deployment's, and has it signed.
fn written(deployment: &Deployment, name: &str, map: &str, by: &[&str]) -> PathBuf {
    let path = deployment.root().join(name);
    fs::write(&path, map).expect("a map can be written");
    deployment.people().sign(&path, by);
    path
}

#[track_caller]
fn refused(done: &Finished, reason: &str) {
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stderr.contains(reason), "not {reason}: {done:?}");
}

/// The version that a process says on its page.
fn held(admin: u16) -> u64 {
    let Some((200, page)) = page(admin, "/metrics") else { return 0 };
    let mut lines = page.lines().filter(|line| !line.starts_with('#'));
    let line = lines.rfind(|line| line.contains("map_epoch "));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

#[track_caller]
fn wait_held(deployment: &mut Deployment, who: &str, version: u64) {
    let server = if who == "gateway" { deployment.gateway() } else { deployment.shard(who) };
    let admin = server.admin();
    wait_until(&format!("{who} holds map {version}"), REACHED_MAX, || held(admin) == version);
}

/// The entries of a region's log, once its shard has ended.
fn log(deployment: &mut Deployment, region: &str) -> Vec<Entry> {
    assert_eq!(deployment.shard(region).stop(), 0);
    let entries = stored::entries(&deployment.data_dir(region), engine::Kind::Sled, 1);
    entries.iter().map(|entry| Entry::decode(entry).expect("an entry")).collect()
}

#[test]
fn two_people_answer_for_what_widens_and_one_for_what_narrows() {
    let mut deployment = start(true);
    let url = deployment.gateway_url();
    let one = first(&deployment);
    let wider = next(&one, |map| map + CLAUSE);
    let path = written(&deployment, "wider.toml", &wider, &["anna"]);
    let done = apply(&url, &path, 1);
    refused(&done, "MAP_UNSIGNED");
    assert!(done.stderr.contains("in-us"), "it says what widens: {done:?}");
    // The same person twice is one person; somebody whom nobody knows is nobody.
    deployment.people().sign(&path, &["anna", "carol"]);
    refused(&apply(&url, &path, 1), "MAP_UNSIGNED");
    deployment.people().sign(&path, &["boris"]);
    refused(&apply(&url, &path, 7), "MAP_EPOCH_CHANGED");
    let signed = fs::read_to_string(&path).expect("a map");
    fs::write(&path, signed.replace("in-us", "in-xx")).expect("a map can be written");
    refused(&apply(&url, &path, 1), "MAP_UNSIGNED");
    fs::write(&path, signed).expect("a map can be written");
    let done = apply(&url, &path, 1);
    assert_eq!(done.code, 0, "{done:?}");
    // Given twice, it is taken once.
    assert_eq!(apply(&url, &path, 1).code, 0);
    let narrower = next(&wider, |map| map.replace(CLAUSE, ""));
    let path = written(&deployment, "narrower.toml", &narrower, &["boris"]);
    let done = apply(&url, &path, 2);
    assert_eq!(done.code, 0, "{done:?}");
    for region in ["gateway", "eu-fra", "ru-msk"] {
        wait_held(&mut deployment, region, 3);
    }
    let history = run(&["map", "history", "--gateway", &url]);
    assert!(history.stdout.contains("anna, boris") && history.stdout.contains(&digest(&wider)));
    // Back to an older one there is no way, but by a newer one that says the same.
    let path = written(&deployment, "again.toml", &one, &["anna", "boris"]);
    refused(&apply(&url, &path, 3), "MAP_STALE");
    let fork = next(&wider, |map| {
        map.replace("name = \"sample\"\ndeployment", "name = \"fork\"\ndeployment")
    });
    let path = written(&deployment, "fork.toml", &fork, &["anna", "boris"]);
    refused(&apply(&url, &path, 3), "MAP_FORK");
    let back = deployment.root().join("back.toml");
    let done = run(&["map", "revert", "--gateway", &url, "--to", "2", "--out", text(&back)]);
    assert_eq!(done.code, 0, "{done:?}");
    deployment.people().sign(&back, &["anna", "boris"]);
    let done = apply(&url, &back, 3);
    assert_eq!(done.code, 0, "{done:?}");
    let maps = log(&mut deployment, "eu-fra");
    let maps = maps.iter().filter(|entry| entry.kind == Kind::Map).map(|entry| {
        let by = entry.details.iter().find_map(|detail| {
            if let Detail::Signers(names) = detail { Some(names.clone()) } else { None }
        });
        (entry.map.expect("a map").epoch, by.unwrap_or_default())
    });
    let both = "anna,boris".to_owned();
    let all = [(1, both.clone()), (2, both.clone()), (3, "boris".to_owned()), (4, both)];
    assert_eq!(maps.collect::<Vec<_>>(), all);
}

#[test]
fn a_restart_keeps_the_map_that_was_applied() {
    let mut deployment = start(true);
    let url = deployment.gateway_url();
    let wider = next(&first(&deployment), |map| map + CLAUSE);
    let path = written(&deployment, "wider.toml", &wider, &["anna", "boris"]);
    assert_eq!(apply(&url, &path, 1).code, 0);
    // Their files are as old as they were.
    deployment.shard("eu-fra").restart();
    wait_held(&mut deployment, "eu-fra", 2);
    deployment.gateway().restart();
    deployment.wait_session("eu-fra", true);
    wait_held(&mut deployment, "gateway", 2);
    // A shard that was away hears of what it missed from a gateway, and of all of it.
    deployment.shard("ru-msk").kill();
    let mut map = wider;
    for n in 0..3 {
        map = next(&map, |map| {
            format!(
                "{map}\n[[collections]]\nname = \"c{n}\"\ncategory = \"x\"\nreads = \"logged\"\n"
            )
        });
        let path = written(&deployment, "more.toml", &map, &["anna", "boris"]);
        let done = apply(&url, &path, version(&map) - 1);
        assert_eq!(done.code, 0, "{done:?}");
    }
    deployment.restart("ru-msk");
    wait_held(&mut deployment, "ru-msk", 5);
    let history = run(&["map", "history", "--gateway", &url, "--region", "ru-msk"]);
    for line in 1..=5 {
        assert!(history.stdout.contains(&format!("│ {line} ")), "map {line}: {}", history.stdout);
    }
}

#[test]
fn a_fork_is_healed_by_a_map_that_names_both_heads() {
    let mut deployment = start(true);
    let url = deployment.gateway_url();
    let one = first(&deployment);
    let left = next(&one, |map| map + CLAUSE);
    let right = next(&one, |map| map + &CLAUSE.replace("in-us", "in-other"));
    deployment.shard("ru-msk").kill();
    let path = written(&deployment, "left.toml", &left, &["anna", "boris"]);
    assert_eq!(apply(&url, &path, 1).code, 0);
    // Somebody rolls out another map of the same version, by hand.
    let config = deployment.root().join("shard-ru-msk.toml");
    let told = fs::read_to_string(&config).expect("a configuration");
    let told =
        told.replace("\"map.toml\"", "\"right.toml\"").replace("\"map.note\"", "\"right.note\"");
    fs::write(&config, told).expect("a configuration can be written");
    written(&deployment, "right.toml", &right, &["anna", "boris"]);
    deployment.shard("ru-msk").restart();
    wait_held(&mut deployment, "ru-msk", 2);
    deployment.wait_session("ru-msk", false);
    let third = |map: &str| {
        next(map, |map| {
            map.replace(&digest(&left), "LEFT")
                .replace("\"LEFT\"", &format!("[\"{}\", \"{}\"]", digest(&left), digest(&right)))
        })
    };
    let healed = third(&left);
    let path = written(&deployment, "healed.toml", &healed, &["anna", "boris"]);
    let done = apply(&url, &path, 2);
    assert_eq!(done.code, 0, "{done:?}");
    deployment.wait_session("ru-msk", true);
    wait_held(&mut deployment, "ru-msk", 3);
}

#[test]
fn a_signer_who_is_lost_gives_way_to_another() {
    let mut deployment = start(true);
    let url = deployment.gateway_url();
    // Anna's key is lost; carol signs the map in force in her place, before anybody forgets anna.
    deployment.people().sign(&deployment.root().join("map.toml"), &["carol"]);
    let old = deployment.people().config(&["anna", "boris"]);
    let new = deployment.people().config(&["boris", "carol"]);
    for name in ["gateway.toml", "shard-eu-fra.toml", "shard-ru-msk.toml"] {
        let path = deployment.root().join(name);
        let told = fs::read_to_string(&path).expect("a configuration").replace(&old, &new);
        fs::write(&path, told).expect("a configuration can be written");
    }
    deployment.gateway().restart();
    for region in ["eu-fra", "ru-msk"] {
        deployment.restart(region);
    }
    let wider = next(&first(&deployment), |map| map + CLAUSE);
    let path = written(&deployment, "wider.toml", &wider, &["anna", "boris"]);
    refused(&apply(&url, &path, 1), "MAP_UNSIGNED");
    deployment.people().sign(&path, &["carol"]);
    let done = apply(&url, &path, 1);
    assert_eq!(done.code, 0, "{done:?}");
}

#[test]
fn a_process_starts_under_no_map_that_nobody_answers_for() {
    let mut deployment = start(true);
    let path = deployment.root().join("map.toml");
    let map = fs::read_to_string(&path).expect("a map");
    for name in ["gateway", "eu-fra"] {
        let server = if name == "gateway" { deployment.gateway() } else { deployment.shard(name) };
        server.kill();
        fs::write(&path, format!("{map}# one more line\n")).expect("a map can be written");
        server.start();
        assert_eq!(server.wait_end(), 64, "{name}");
        assert!(server.stderr().contains("MAP_UNSIGNED"), "{name}: {}", server.stderr());
        fs::write(&path, &map).expect("a map can be written");
        server.restart();
    }
}

#[test]
fn without_signers_a_map_comes_from_the_file_alone() {
    let mut deployment = start(false);
    let url = deployment.gateway_url();
    let wider = next(&first(&deployment), |map| map + CLAUSE);
    let path = deployment.root().join("wider.toml");
    fs::write(&path, wider).expect("a map can be written");
    fs::write(deployment.root().join("wider.note"), "nothing").expect("a note can be written");
    let done = apply(&url, &path, 1);
    refused(&done, "MAP_UNSIGNED");
    assert!(done.stderr.contains("map_signers"), "it says what to do: {done:?}");
    assert_eq!(held(deployment.shard("eu-fra").admin()), 1);
}

#[test]
fn a_plan_counts_those_who_are_stored_and_is_in_the_log() {
    let mut deployment = start(true);
    let url = deployment.gateway_url();
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let client = Client::connect(&url, PATIENT).await.expect("a gateway");
        for (country, count) in [("DE", 12), ("FR", 11), ("GB", 3)] {
            for n in 0..count {
                let subject = format!("{country}-{n}");
                let request = put(&subject, "main", b"x", &evidence(country));
                client.put(&request).await.expect("it is stored");
            }
        }
    });
    // The home of the EEA goes to Russia, whose clause lets `profiles` go there; that of the United
    // Kingdom goes nowhere that a clause lets it.
    let moved = next(&first(&deployment), |map| {
        let map =
            map.replace("for = \"EEA\"\nregion = \"eu-fra\"", "for = \"EEA\"\nregion = \"ru-msk\"");
        map.replace("for = \"GB\"\nregion = \"eu-fra\"", "for = \"GB\"\nregion = \"us-iad\"")
    });
    let (old, new) = (deployment.root().join("map.toml"), deployment.root().join("moved.toml"));
    fs::write(&new, moved).expect("a map can be written");
    let plan = ["map", "plan", text(&old), text(&new)];
    let done = run(&[&plan[..], &["--stored", "--gateway", &url, "--json"]].concat());
    assert_eq!(done.code, 3, "{done:?}");
    let told: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON");
    let stored = &told["stored"];
    let moves = stored["moves"].as_array().expect("a list");
    let find = |fate: &str| {
        moves
            .iter()
            .find(|moved| moved["fate"] == fate)
            .unwrap_or_else(|| panic!("{fate}: {stored}"))
    };
    let range = |at_least: u64, at_most: u64| json!({"at_least": at_least, "at_most": at_most});
    assert_eq!(find("elsewhere")["rulings"], range(20, 29), "23, as the ten in which it lies");
    assert_eq!(find("elsewhere")["detail"], "ru-msk");
    assert_eq!(find("refused")["rulings"], range(1, 9), "3");
    // 26 in eu-fra, and nobody in ru-msk.
    assert_eq!(stored["subjects"], range(20, 29));
    assert_eq!(find("refused")["detail"], "TRANSFER_NOT_COVERED");
    assert_eq!(stored["unreachable"].as_array().expect("a list").len(), 3);
    let entries = log(&mut deployment, "eu-fra");
    let counted = entries.iter().filter(|entry| entry.kind == Kind::Count).map(|entry| {
        let caller = entry.caller.as_ref().expect("who asked");
        (caller.role.as_str(), entry.details.contains(&Detail::Count(20)))
    });
    assert_eq!(counted.collect::<Vec<_>>(), [("operator", true)]);
    let done = run(&plan);
    assert_eq!(done.code, 3, "{done:?}");
    assert!(done.stdout.contains("ru-msk"), "{done:?}");
    let done = run(&["map", "plan", text(&old), text(&old)]);
    assert_eq!(done.code, 0, "a map against itself: {done:?}");
}

/// What a command prints with `--json`: one line.
#[track_caller]
fn answer(arguments: &[&str]) -> serde_json::Value {
    let done = run(&[arguments, &["--json"]].concat());
    assert_eq!((done.code, done.stdout.lines().count()), (0, 1), "{done:?}");
    serde_json::from_str(&done.stdout).expect("JSON")
}

#[test]
fn a_map_comes_back_byte_for_byte_and_answers_are_json() {
    let deployment = start(true);
    let url = deployment.gateway_url();
    let one = first(&deployment);
    // Line ends of two kinds, and a last line without an end.
    let two = next(&one, |map| format!("{map}# a note\r\n\n# the last line"));
    let path = written(&deployment, "two.toml", &two, &["anna", "boris"]);
    let apply = ["map", "apply", text(&path), "--gateway", &url, "--expect-epoch", "1"];
    let second = json!({ "epoch": 2, "digest": digest(&two) });
    let would = answer(&[&apply[..], &["--validate-only"]].concat());
    assert_eq!(would, json!({ "would_be_applied": second }));
    let shard = |region: &str, map: &serde_json::Value, reachable: bool| {
        json!({
            "region": region, "shard": "s1", "reachable": reachable, "map": map,
            "slots": if reachable { "0-1023" } else { "" },
        })
    };
    let none = serde_json::Value::Null;
    let regions = [
        shard("ru-msk", &second, true),
        shard("eu-fra", &second, true),
        shard("kz-ala", &none, false),
        shard("in-bom", &none, false),
        shard("us-iad", &none, false),
    ];
    let mut applied = answer(&apply);
    let shards = applied["shards"].as_array_mut().map(std::mem::take).expect("shards");
    let unserved = ["in-bom", "kz-ala", "us-iad"]
        .map(|region| json!({ "region": region, "missing": "0-1023", "contested": "" }));
    assert_eq!(
        applied,
        json!({ "gateway": second, "shards": [], "ends": null, "unserved_slots": unserved })
    );
    assert_eq!(shards.len(), regions.len(), "{shards:?}");
    assert!(regions.iter().all(|region| shards.contains(region)), "{shards:?}");

    let get = ["map", "get", "--gateway", &url];
    assert_eq!(run(&get).stdout, two);
    assert_eq!(run(&[&get[..], &["--epoch", "1"]].concat()).stdout, one);
    let out = deployment.root().join("got.toml");
    let done = run(&[&get[..], &["--out", text(&out)]].concat());
    assert_eq!(done.code, 0, "{done:?}");
    for ending in ["toml", "note"] {
        let [got, gave] = [&out, &path].map(|path| fs::read(path.with_extension(ending)));
        assert_eq!(got.expect("a file"), gave.expect("a file"), "{ending}");
    }
}
