//! The canary search (P1): no body lies in another region's files. The shards of all regions run
//! in this process with a cipher that leaves bodies readable, so that a byte in the wrong place
//! can be seen. The cipher exists here alone: no build of the product has one like it.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::support::evidence::{PEOPLE, people};
use crate::support::process::run;
use crate::support::{Deployment, Options, file, search};
use atlas::{Annex, RegionMap};
use link::host::clock::{SystemClock, SystemEntropy};
use link::net::listener;
use link::ops::health::Health;
use link::ops::metrics::Registry;
use shard::{
    AuditorEntrance, Auditors, BodyCipher, Environment, Error, KEY_BYTES, LogSettings, NotOpened,
    Settings, Shard,
};
use terms::{RegionId, ShardId};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Leaves a body as it is, and appends as many bytes as AES-GCM's tag has.
struct Readable;

const TAG: [u8; 16] = *b"not-encrypted---";

impl BodyCipher for Readable {
    fn seal(&self, _: &[u8; KEY_BYTES], _: &[u8], row: &mut Vec<u8>, _: usize) {
        row.extend_from_slice(&TAG);
    }

    fn open(&self, _: &[u8; KEY_BYTES], _: &[u8], body: Vec<u8>) -> Result<Vec<u8>, NotOpened> {
        body.strip_suffix(&TAG).map(<[u8]>::to_vec).ok_or(NotOpened)
    }
}

/// The shards of a deployment that has none of its own.
struct Shards {
    serving: JoinSet<Result<(), Error>>,
    stop: watch::Sender<bool>,
}

impl Shards {
    async fn start(deployment: &Deployment, regions: &[&str], engine: engine::Kind) -> Self {
        let text = fs::read_to_string(deployment.root().join("map.toml")).expect("a map");
        let map = Arc::new(RegionMap::parse(&text).expect("a valid map"));
        let mut shards = Self { serving: JoinSet::new(), stop: watch::Sender::new(false) };
        for region in regions {
            let annex = deployment.root().join(format!("annex-{region}.toml"));
            let annex = fs::read_to_string(annex).expect("an annex");
            let annex = Annex::parse(&annex, &map).expect("a valid annex");
            let shard = open(&deployment.root().join(region), region, (&map, annex), engine).await;
            let bind = async |port| {
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                listener::bind(address).await.expect("the port of the annex is free")
            };
            let calls = bind(deployment.port(region)).await;
            let audit = bind(deployment.audit_port(region)).await;
            let auditors = Auditors { listener: audit, entrance: AuditorEntrance::Loopback };
            let mut stopped = shards.stop.subscribe();
            let stop = async move { drop(stopped.wait_for(|stop| *stop).await) };
            shards.serving.spawn(shard.serve(calls, None, Some(auditors), stop));
        }
        shards
    }

    async fn stop(mut self) {
        self.stop.send_replace(true);
        while let Some(served) = self.serving.join_next().await {
            served.expect("no panic").expect("the shard drains");
        }
    }
}

/// A shard whose folders lie below `home`.
async fn open(
    home: &Path,
    region: &str,
    (map, annex): (&Arc<RegionMap>, Annex),
    engine: engine::Kind,
) -> Shard {
    let settings = Settings {
        region: RegionId::parse(region).expect("a region"),
        shard: ShardId::parse("s1").expect("a shard"),
        anchor: home.join("anchor"),
        keys: home.join("keys"),
        disk_reserve_bytes: 1 << 20,
        beat: Duration::from_millis(100),
        signers: None,
        map_note: String::new(),
        log: LogSettings::default(),
    };
    let options = engine::Options { cache_bytes: 16 << 20 };
    let store = engine::Embedded { kind: engine, folder: home.join("data"), options };
    let outside = Environment {
        store: Arc::new(store),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        cipher: &Readable,
    };
    shard::init(&settings, map, &annex, &outside, &shard::KeyringSource::New)
        .expect("a shard can be made");
    let (mut registry, health) = (Registry::new(), Health::new());
    let shard = Shard::open(settings, Arc::clone(map), annex, outside, &mut registry, health);
    shard.await.expect("a shard opens")
}

#[test]
fn no_body_lies_in_another_regions_files() {
    let people = people();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for engine in engine::Kind::ALL {
        let options = Options::default();
        let regions = options.regions.clone();
        let mut deployment = Deployment::configure(&Options { regions: vec![], ..options });
        let shards = runtime.block_on(Shards::start(&deployment, &regions, engine));
        deployment.serve(&regions);
        let rows = file(PEOPLE);
        let rows = rows.to_str().expect("a path that is text");
        let done = run(&["import", "--gateway", &deployment.gateway_url(), "--json", rows]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        assert_eq!(deployment.gateway().stop(), 0);
        runtime.block_on(shards.stop());

        // Exactly the region's own: data, checkpoints, keys.
        for region in &regions {
            let own: BTreeSet<String> = people
                .iter()
                .filter(|person| person.expected.as_deref() == Ok(*region))
                .map(|person| person.id.clone())
                .collect();
            assert!(!own.is_empty(), "{region} has people");
            let found = search::ids(&deployment.root().join(region));
            assert_eq!(found, own, "{region} on {}", engine.as_str());
        }
        // Nothing at all in what the gateway writes, nor in the configurations.
        let others = deployment.root().join("others");
        fs::create_dir(&others).expect("a folder");
        for entry in fs::read_dir(deployment.root()).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                fs::copy(&path, others.join(path.file_name().expect("a name"))).expect("a copy");
            }
        }
        assert!(others.join("gateway.stderr").exists(), "the gateway's log is searched");
        assert_eq!(search::ids(&others), BTreeSet::new(), "logs and configs");

        // The search sees one that is planted, in the middle of a file.
        let home = deployment.root().join("kz-ala");
        let stranger = people.iter().find(|p| p.expected.as_deref() == Ok("ru-msk"));
        let stranger = &stranger.expect("a Russian").id;
        fs::write(
            home.join("planted"),
            format!("{}{stranger}{}", "x".repeat(5000), "y".repeat(5000)),
        )
        .expect("a file can be written");
        assert!(search::ids(&home).contains(stranger));
    }
}
