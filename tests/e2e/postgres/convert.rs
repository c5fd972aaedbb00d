//! A store that is converted from engine to engine, and back.

use std::fs;
use std::sync::Arc;

use crate::postgres::{REGION, audit, well};
use crate::support::load::{Acked, PATIENT, Writers, get};
use crate::support::maps::text;
use crate::support::postgres::Server;
use crate::support::process::run;
use crate::support::{Deployment, Options};
use client::Client;
use tokio::runtime::Runtime;

/// Records of the store; `CONVERTED` says otherwise.
const RECORDS: usize = 300;
/// Callers that write and read.
const CALLERS: usize = 8;

/// Reads all that was acknowledged, and compares its bodies.
fn compare(runtime: &Runtime, url: &str, acked: Vec<Acked>) {
    let client = runtime.block_on(Client::connect(url, PATIENT)).expect("a gateway");
    let acked = Arc::new(acked);
    let readers: Vec<_> = (0..CALLERS)
        .map(|first| {
            let (client, acked) = (client.clone(), Arc::clone(&acked));
            runtime.spawn(async move {
                for write in acked.iter().skip(first).step_by(CALLERS) {
                    let record = get(&client, &write.subject, REGION, &write.key).await;
                    assert!(record.expect("an acknowledged record").body == write.body);
                }
            })
        })
        .collect();
    readers.into_iter().for_each(|reader| runtime.block_on(reader).expect("no reader panics"));
}

/// From engine to engine and back: the same rows, the same root, the same records.
#[test]
#[expect(clippy::disallowed_methods, reason = "a switch of this test")]
fn a_store_is_converted_through_all_engines_and_back() {
    let records = std::env::var("CONVERTED").ok();
    let records = records.map(|text| text.parse::<usize>().expect("CONVERTED is a number"));
    let server = Server::start();
    let mut deployment =
        Deployment::start(&Options { regions: vec![REGION], ..Options::default() });
    let runtime = Runtime::new().expect("a runtime");
    let writers = Writers::start(&runtime, &deployment.gateway_url(), CALLERS as u64);
    for _ in 0..records.unwrap_or(RECORDS) / 100 {
        writers.wait_acked(100);
    }
    let acked = writers.stop(&runtime);
    assert_eq!(deployment.shard(REGION).stop(), 0);
    let root = deployment.root().to_path_buf();
    let config = root.join(format!("shard-{REGION}.toml"));
    let first = fs::read_to_string(&config).expect("a configuration");
    let kept = first.lines().filter(|line| {
        !["engine", "data", "cache_mb"].iter().any(|key| line.starts_with(&format!("{key} = ")))
    });
    let kept = kept.collect::<Vec<_>>().join("\n");
    let url = server.database("people");
    let stores = [
        format!("engine = \"fjall\"\ndata = \"{}/fjall\"\n", root.display()),
        format!(
            "engine = \"postgres\"\n[postgres]\nurl = \"{url}\"\npassword_file = \
             \"database-password\"\nplaintext = true\n"
        ),
        format!("engine = \"sled\"\ndata = \"{}/sled\"\n", root.display()),
    ];
    let mut from = config.clone();
    let mut said = Vec::new();
    for (n, store) in stores.iter().enumerate() {
        let to = root.join(format!("to-{n}.toml"));
        fs::write(&to, format!("{kept}\n{store}")).expect("it can be written");
        let done = run(&["shard", "convert", "--config", text(&from), "--to", text(&to)]);
        well(&done);
        let (_, sums) = done.stdout.split_once(" is a copy: ").expect("it says so");
        said.push(sums.split('\n').next().expect("a line").to_owned());
        let again = run(&["shard", "convert", "--config", text(&from), "--to", text(&to)]);
        assert_ne!(again.code, 0, "there is a store already: {again:?}");
        from = to;
    }
    assert!(said.iter().all(|sums| *sums == said[0]), "{said:?}");
    fs::copy(&from, &config).expect("it can be copied");
    deployment.restart(REGION);
    compare(&runtime, &deployment.gateway_url(), acked);
    audit(&deployment, &root.join("mirror"));
}
