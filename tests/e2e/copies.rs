//! A law that wants a copy at home, between separate processes: the copy is there at rest, is caught up
//! after the mirror's shard was down, is read as what it is, goes when the clause is withdrawn, and both
//! logs say so.

#![expect(clippy::indexing_slicing, reason = "what fails here fails the test")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use client::{Access, Client, GetBuilder, api};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::support::load::{PATIENT, put};
use crate::support::maps::{apply, next, text};
use crate::support::process::{get as page, run, wait_until};
use crate::support::{Deployment, Options};

const REGIONS: [&str; 3] = ["eu-fra", "kz-ala", "ru-msk"];
/// Time in which whatever is waited for must come about.
const WITHIN: Duration = Duration::from_secs(120);

fn options() -> Options {
    let shard_tables = "peer_annexes = [\"annex-eu-fra.toml\", \"annex-kz-ala.toml\", \
                        \"annex-ru-msk.toml\"]\n";
    let shard_tables = shard_tables.to_owned();
    Options { regions: REGIONS.to_vec(), signed: true, shard_tables, ..Options::default() }
}

/// A Russian citizen who lives in Kazakhstan.
fn record(key: &str, body: &str) -> api::PutRecordRequest {
    let of = [(api::EvidenceKind::Citizenship, "RU"), (api::EvidenceKind::Residence, "KZ")];
    let evidence = of.map(|(kind, value)| api::Evidence {
        kind: kind.into(),
        value: value.to_owned(),
        observe_time: None,
    });
    put("anna", key, body.as_bytes(), &evidence)
}

/// The copy of a record, or why it is not read.
async fn copy(client: &Client, key: &str) -> Result<api::Record, String> {
    let get = GetBuilder::new("anna", "ru-msk", "profiles", key).copy_in("kz-ala").build();
    client.get(&get).await.map_err(|error| {
        error.refused().map_or_else(|| error.to_string(), |refused| refused.reason.clone())
    })
}

fn wait_copy(runtime: &Runtime, client: &Client, key: &str, is_there: bool) {
    wait_until(&format!("{key} there: {is_there}"), WITHIN, || {
        runtime.block_on(copy(client, key)).is_ok() == is_there
    });
}

/// A gauge of the home about the mirror's region.
fn gauge(deployment: &mut Deployment, name: &str) -> Option<u64> {
    let (200, page) = page(deployment.shard("ru-msk").admin(), "/metrics")? else { return None };
    let line = format!("bailiwick_shard_copies_{name}{{region=\"kz-ala\"}} ");
    page.lines().find_map(|found| found.strip_prefix(line.as_str())?.trim().parse().ok())
}

/// Copies in the store of the mirror, and by its log, as an auditor counts them.
fn counted(deployment: &Deployment, mirror: &Path) -> [Option<u64>; 2] {
    deployment.wait_signed("kz-ala");
    let url = format!("http://127.0.0.1:{}", deployment.audit_port("kz-ala"));
    let done = run(&["audit", "mirror", "--shard", &url, text(mirror)]);
    assert_eq!(done.code, 0, "{done:?}");
    let of = ["audit", "reconcile", "--sample", "0", "--json", "--shard", &url];
    let done = run(&[&of[..], &[text(mirror)]].concat());
    assert_eq!(done.code, 0, "{done:?}");
    let shown: Value = serde_json::from_str(&done.stdout).expect("JSON");
    let shown = shown.pointer("/shards/0").expect("a shard");
    ["copies", "copies_expected"].map(|name| shown.get(name).and_then(Value::as_u64))
}

#[test]
fn a_copy_is_at_home_as_the_law_wants_it_and_goes_with_the_clause() {
    let mut deployment = Deployment::start(&options());
    let (runtime, url) = (Runtime::new().expect("a runtime"), deployment.gateway_url());
    let access = Access::default();
    let client = runtime.block_on(Client::connect_with(&url, PATIENT, access)).expect("a gateway");
    runtime.block_on(client.put(&record("k-0", "body 0"))).expect("a put");
    wait_copy(&runtime, &client, "k-0", true);
    let found = runtime.block_on(copy(&client, "k-0")).expect("the copy");
    assert_eq!((&*found.body, found.version), (&b"body 0"[..], 1));
    let of = found.copy.expect("it is marked as a copy");
    assert_eq!(of.region, "kz-ala");
    assert!(of.write_time.is_some() && of.copy_time.is_some());
    assert_eq!(found.subject.map(|subject| subject.domicile).as_deref(), Some("ru-msk"));
    // The command line reads it as well, and a third region has none.
    let read = |region: &str| {
        let of = ["record", "get", "--gateway", &url, "--subject", "anna", "--domicile", "ru-msk"];
        let more = ["--collection", "profiles", "--key", "k-0", "--copy-in", region, "--json"];
        run(&[&of[..], &more].concat())
    };
    let done = read("kz-ala");
    assert_eq!(done.code, 0, "{done:?}");
    let shown: Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert_eq!(shown.pointer("/copy/region"), Some(&"kz-ala".into()));
    let none = read("eu-fra");
    assert!(none.code == 1 && none.stderr.contains("has no copies"), "{none:?}");

    // The mirror is down: the home goes on, and the mirror catches up.
    deployment.shard("kz-ala").kill();
    runtime.block_on(async {
        for n in 1..40 {
            let request = record(&format!("k-{n}"), &format!("body {n}"));
            client.put(&request).await.expect("the home takes writes");
        }
    });
    wait_until("copies are due", WITHIN, || gauge(&mut deployment, "due") >= Some(39));
    // The home says which region it is.
    let said = "\"why\":\"kz-ala/s1: ";
    wait_until("the log names it", WITHIN, || deployment.shard("ru-msk").stderr().contains(said));
    deployment.restart("kz-ala");
    for n in 1..40 {
        wait_copy(&runtime, &client, &format!("k-{n}"), true);
    }
    wait_until("nothing is due", WITHIN, || gauge(&mut deployment, "due") == Some(0));

    // The auditor of the mirror counts them, in the log and in the store.
    let mirror = deployment.root().join("mirror");
    assert_eq!(counted(&deployment, &mirror), [Some(40), Some(40)]);

    // The clause under which they lie there is withdrawn.
    let map = fs::read_to_string(deployment.root().join("map.toml")).expect("a map");
    let names = "from = \"RU\"\nto = \"KZ\"\n";
    assert!(map.contains(names));
    let without = next(&map, |map| {
        let at = map.find(names).expect("the clause");
        let from = map.get(..at).and_then(|before| before.rfind("[[clauses]]"));
        let from = from.expect("its beginning");
        let rest = map.get(at..).unwrap_or_default();
        let until = rest.find("[[clauses]]").map_or(map.len(), |next| at + next);
        [map.get(..from), map.get(until..)].map(Option::unwrap_or_default).concat()
    });
    let path = deployment.root().join("without.toml");
    fs::write(&path, without).expect("room");
    deployment.people().sign(&path, &["anna", "boris"]);
    let done = apply(&url, &path, 1);
    assert_eq!(done.code, 0, "{done:?}");
    wait_copy(&runtime, &client, "k-0", false);
    wait_until("all is confirmed", WITHIN, || gauge(&mut deployment, "unconfirmed") == Some(0));
    both_logs_say_so(&deployment);
}

/// Both logs are verified, the mirror's says that its copies went, and they agree on those that came.
fn both_logs_say_so(deployment: &Deployment) {
    let mirror = deployment.root().join("mirror");
    let urls = ["ru-msk", "kz-ala"].map(|region| {
        deployment.wait_signed(region);
        format!("http://127.0.0.1:{}", deployment.audit_port(region))
    });
    let shards = urls.iter().flat_map(|url| ["--shard", url.as_str()]);
    let all: Vec<&str> = ["audit", "mirror"].into_iter().chain(shards).collect();
    let log = mirror.join("kz-ala.s1.1");
    wait_until("the copies went", WITHIN, || {
        let done = run(&[&all[..], &[text(&mirror)]].concat());
        assert_eq!(done.code, 0, "{done:?}");
        let done = run(&["audit", "entries", text(&log), "--kind", "COPY_DROP", "--json"]);
        done.code == 0 && done.stdout.contains("withdrawn")
    });
    assert_eq!(counted(deployment, &mirror), [Some(0), Some(0)]);
    let done = run(&["audit", "verify", text(&mirror)]);
    assert_eq!(done.code, 0, "{done:?}");
    let logs = ["ru-msk", "kz-ala"].map(|region| mirror.join(format!("{region}.s1.1")));
    let done = run(&["audit", "verify", "--json", "--pair", text(&logs[0]), text(&logs[1])]);
    assert_eq!(done.code, 0, "{done:?}");
    let paired: Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert!(paired["copies"].as_u64() >= Some(40), "{paired}");
}
