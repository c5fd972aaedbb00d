//! Slots that move between the shards of a region, as processes, under writers behind a gateway: from one
//! shard to two, and then to four. No call fails other than those that are sent again, every write is there
//! once, and each shard's log accounts for what it has.

use std::time::Duration;

use client::Client;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::support::load::{self, Acked, ONCE, Writers};
use crate::support::maps::text;
use crate::support::process::{get, run, wait_until};
use crate::support::{Deployment, Options, SESSION_MAX, shards};

const WRITERS: u64 = 2;
/// Callers who read what was written, at the same time.
const READERS: usize = 8;
/// Longer than moves of half a region take on a loaded machine.
const MOVES_MAX: Duration = Duration::from_secs(600);

/// The slots that each shard says it owns, by `map status`.
fn slots(url: &str) -> Vec<String> {
    let done = run(&["map", "status", "--gateway", url, "--json"]);
    assert_eq!(done.code, 0, "{done:?}");
    let status: Value = serde_json::from_str(&done.stdout).expect("JSON");
    let all = status.get("shards").and_then(Value::as_array).expect("shards");
    let text = |shard: &Value, key: &str| {
        shard.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let mut own: Vec<_> = all
        .iter()
        .filter(|shard| text(shard, "region") == "eu-fra")
        .map(|shard| (text(shard, "shard"), text(shard, "slots")))
        .collect();
    own.sort();
    own.into_iter().map(|(_, slots)| slots).collect()
}

/// Starts a region with one shard that has all slots, and moves equal parts to the others under writers.
fn spread(count: u16, expected: &[&str]) {
    let options = Options { regions: vec!["eu-fra"], engine: "fjall", ..Options::default() };
    let mut deployment = Deployment::configure(&options);
    let mut further = shards::spread(&deployment, "eu-fra", count);
    further.iter_mut().for_each(|shard| shard.server.start());
    deployment.serve(&["eu-fra"]);
    further.iter().for_each(|shard| shard.server.wait_ready());
    let (url, runtime) = (deployment.gateway_url(), Runtime::new().expect("a runtime"));
    let admin = deployment.gateway().admin();
    let reached = || get(admin, "/readyz").is_some_and(|(_, page)| page.contains("eu-fra: within"));
    wait_until("all shards are within reach", SESSION_MAX, reached);

    let writers = Writers::start(&runtime, &url, WRITERS);
    writers.wait_acked(WRITERS * 4);
    let first = deployment.root().join("shard-eu-fra.toml");
    let order = ["shard", "move-slots", "--config", text(&first), "--from", "s1", "--to"];
    for n in 1..count {
        let to = format!("s{}", n + 1);
        let done = run(&[&order[..], &[&to, "--watch", "--json"]].concat());
        assert_eq!(done.code, 0, "{done:?}");
        writers.wait_acked(WRITERS);
    }
    wait_until("each shard has its part", MOVES_MAX, || slots(&url) == expected);
    writers.wait_acked(WRITERS * 4);
    let acked = writers.stop(&runtime);
    read_all(&runtime, &url, acked);
    wait_until("the region is within reach", SESSION_MAX, reached);
    audit(&deployment, &further);
}

/// What was acknowledged is there, once.
fn read_all(runtime: &Runtime, url: &str, mut acked: Vec<Acked>) {
    let part = acked.len().div_ceil(READERS).max(1);
    let mut readers = Vec::new();
    while !acked.is_empty() {
        let (some, url) = (acked.split_off(acked.len().saturating_sub(part)), url.to_owned());
        readers.push(runtime.spawn(async move {
            let client = Client::connect(&url, ONCE).await.expect("a gateway");
            for one in some {
                let record = load::get(&client, &one.subject, "eu-fra", &one.key).await;
                let record = record.expect("a record that was acknowledged");
                assert_eq!((record.version, record.body.as_ref()), (1, one.body.as_slice()));
            }
        }));
    }
    readers.into_iter().for_each(|reader| runtime.block_on(reader).expect("no panic"));
}

/// All logs verify, those of the first and the second shard tell of the same moves, and each store agrees
/// with its log.
fn audit(deployment: &Deployment, further: &[shards::Further]) {
    let mirror = deployment.root().join("mirror");
    let ports = further.iter().map(|shard| shard.audit);
    let ports = std::iter::once(deployment.audit_port("eu-fra")).chain(ports);
    let urls: Vec<String> = ports.map(|port| format!("http://127.0.0.1:{port}")).collect();
    let well = |arguments: &[&str]| {
        let done = run(&[&["audit"], arguments].concat());
        assert_eq!(done.code, 0, "{arguments:?} {done:?}");
        done.stdout
    };
    let of_all = urls.iter().flat_map(|url| ["--shard", url.as_str()]);
    well(&[&["mirror"][..], &of_all.collect::<Vec<_>>(), &[text(&mirror)]].concat());
    well(&["verify", text(&mirror)]);
    let logs = ["s1", "s2"].map(|shard| mirror.join(format!("eu-fra.{shard}.1")));
    let paired = well(&["verify", "--json", "--pair", text(&logs[0]), text(&logs[1])]);
    let paired: Value = serde_json::from_str(&paired).expect("JSON");
    let moves = 1024 / (further.len() + 1);
    assert_eq!(paired.get("moves"), Some(&json!(moves)), "one of each slot");
    urls.iter().for_each(|url| drop(well(&["reconcile", "--shard", url, text(&mirror)])));
}

#[test]
fn half_of_a_region_moves_to_a_second_shard_under_writers() {
    spread(2, &["0-511", "512-1023"]);
}

#[test]
fn a_region_of_one_shard_becomes_one_of_four_under_writers() {
    spread(4, &["0-255", "256-511", "512-767", "768-1023"]);
}
