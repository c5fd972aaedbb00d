//! The canary search (P1): no body lies in another region's files. The shards of all regions run
//! in this process with a cipher that leaves bodies readable, so that a byte in the wrong place
//! can be seen. The cipher exists here alone: no build of the product has one like it.

mod copies;
mod failures;

use std::collections::{BTreeMap, BTreeSet};
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
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

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
    engine: engine::Kind,
    map: Arc<RegionMap>,
    signed: Signed,
    running: BTreeMap<String, Running>,
    /// Regions whose shards the others reach.
    peers: Vec<&'static str>,
}

/// Who signs maps, and the signatures of the first.
#[derive(Default, Clone)]
struct Signed {
    signers: Option<ledger::Signers>,
    note: String,
}

/// A shard with threads of its own, so that it can be ended with all that it does.
struct Running {
    runtime: Runtime,
    serving: JoinHandle<Result<(), Error>>,
    stop: watch::Sender<bool>,
}

/// Time in which a shard that has ended lets go of its store.
const UNLOCKED_WITHIN: Duration = Duration::from_secs(60);
/// Bytes that are kept free on the disk of a shard that is not short of them.
const RESERVE: u64 = 1 << 20;

impl Shards {
    fn start(
        deployment: &Deployment,
        regions: &[&str],
        engine: engine::Kind,
        signed: Signed,
    ) -> Self {
        let text = fs::read_to_string(deployment.root().join("map.toml")).expect("a map");
        let map = Arc::new(RegionMap::parse(&text).expect("a valid map"));
        let (running, peers) = (BTreeMap::new(), Vec::new());
        let mut shards = Self { engine, map, signed, running, peers };
        for region in regions {
            shards.make(deployment, region);
            shards.serve(deployment, region, RESERVE);
        }
        shards
    }

    fn annex(&self, deployment: &Deployment, region: &str) -> Annex {
        let annex = deployment.root().join(format!("annex-{region}.toml"));
        let annex = fs::read_to_string(annex).expect("an annex");
        Annex::parse(&annex, &self.map).expect("a valid annex")
    }

    fn settings(&self, home: &Path, region: &str, reserve: u64) -> Settings {
        Settings {
            region: RegionId::parse(region).expect("a region"),
            shard: ShardId::parse("s1").expect("a shard"),
            anchor: home.join("anchor"),
            keys: home.join("keys"),
            token: None,
            disk_reserve_bytes: reserve,
            beat: Duration::from_millis(100),
            signers: self.signed.signers.clone(),
            map_note: self.signed.note.clone(),
            log: LogSettings::default(),
        }
    }

    fn outside(&self, home: &Path) -> Environment {
        let options = engine::Options { cache_bytes: 16 << 20 };
        let store = engine::Embedded { kind: self.engine, folder: home.join("data"), options };
        Environment {
            store: Arc::new(store),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            cipher: &Readable,
        }
    }

    fn make(&self, deployment: &Deployment, region: &str) {
        let home = deployment.root().join(region);
        let (settings, outside) = (self.settings(&home, region, RESERVE), self.outside(&home));
        let annex = self.annex(deployment, region);
        shard::init(&settings, &self.map, &annex, &outside, &shard::KeyringSource::New)
            .expect("a shard can be made");
    }

    /// Serves a region, with so many bytes of its disk kept free.
    fn serve(&mut self, deployment: &Deployment, region: &str, reserve: u64) {
        let home = deployment.root().join(region);
        let runtime = Runtime::new().expect("a runtime");
        let (settings, outside) = (self.settings(&home, region, reserve), self.outside(&home));
        let (map, annex) = (Arc::clone(&self.map), self.annex(deployment, region));
        let stop = watch::Sender::new(false);
        let mut stopped = stop.subscribe();
        let ports = [deployment.port(region), deployment.audit_port(region)];
        let (shard, calls, listener) = runtime.block_on(async {
            let until = Instant::now() + UNLOCKED_WITHIN;
            let shard = loop {
                let (settings, map, annex) = (settings.clone(), Arc::clone(&map), annex.clone());
                let (mut registry, health) = (Registry::new(), Health::new());
                let outside = outside.clone();
                match Shard::open(settings, map, annex, outside, &mut registry, health).await {
                    // Threads of one that was cut off may hold its store for a moment.
                    Err(Error::Engine(engine::Error::Locked { .. })) if Instant::now() < until => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    opened => break opened.expect("a shard opens"),
                }
            };
            let [calls, audit] = ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
            let calls = listener::bind(calls).await.expect("the port of the annex is free");
            let listener = listener::bind(audit).await.expect("the port of the annex is free");
            (shard, calls, listener)
        });
        let peers = self.peers.iter().map(|peer| self.annex(deployment, peer));
        shard.peers().set(peers.collect());
        let auditors = Auditors { listener, entrance: AuditorEntrance::Loopback };
        let stop_asked = async move { drop(stopped.wait_for(|stop| *stop).await) };
        let serving = runtime.spawn(shard.serve(calls, None, Some(auditors), stop_asked));
        self.running.insert(region.to_owned(), Running { runtime, serving, stop });
    }

    /// Ends a region's shard in the middle of what it does.
    fn cut(&mut self, region: &str) {
        let Running { runtime, .. } = self.running.remove(region).expect("it runs");
        runtime.shutdown_timeout(Duration::from_secs(60));
    }

    fn stop(self) {
        for Running { runtime, serving, stop } in self.running.into_values() {
            stop.send_replace(true);
            let served = runtime.block_on(serving).expect("no panic");
            served.expect("the shard drains");
        }
    }
}

#[test]
fn no_body_lies_in_another_regions_files() {
    let people = people();
    for engine in engine::Kind::ALL {
        let options = Options::default();
        let regions = options.regions.clone();
        let mut deployment = Deployment::configure(&Options { regions: vec![], ..options });
        let shards = Shards::start(&deployment, &regions, engine, Signed::default());
        deployment.serve(&regions);
        let rows = file(PEOPLE);
        let rows = rows.to_str().expect("a path that is text");
        let done = run(&["import", "--gateway", &deployment.gateway_url(), "--json", rows]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        assert_eq!(deployment.gateway().stop(), 0);
        shards.stop();

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
