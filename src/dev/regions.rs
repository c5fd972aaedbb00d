//! The shards of `bailiwick dev`: one for each region of the map, on a free loopback port.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use atlas::{Annex, RegionMap};
use link::ops::health::Health;
use link::ops::metrics::Registry;
use shard::{AuditorEntrance, Auditors, Settings, Shard};
use terms::{RegionId, SLOTS, ShardId};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::BEAT;
use crate::error::{Exit, Failure};
use crate::serve;

/// The name of every region's one shard.
const SHARD: &str = "s1";
/// Bytes of memory for each store's cache: five of them share one machine with everything else.
const CACHE_BYTES: u64 = 32 << 20;
/// Bytes that stay free on the disk.
const DISK_RESERVE_BYTES: u64 = 64 << 20;

/// One region's shard, not serving yet.
struct Region {
    annex: Annex,
    shard: Shard,
    listener: TcpListener,
    /// Where auditors come.
    auditors: TcpListener,
    named: Named,
}

/// What callers are told of a region.
#[derive(Clone)]
pub(super) struct Named {
    pub(super) region: String,
    /// Where its shard listens.
    pub(super) address: SocketAddr,
    /// The public key of its log, with which receipts are verified. None: its file is missing.
    pub(super) log_key: Option<String>,
    /// The public key that signs its transit keys, for callers that seal bodies.
    pub(super) transit_identity: String,
}

/// All of them.
pub(super) struct Regions(Vec<Region>);

/// All of them, serving.
pub(super) struct Serving {
    tasks: JoinSet<Result<(), shard::Error>>,
    stop: watch::Sender<bool>,
}

impl Regions {
    /// Opens a shard for each region, all at once. A region's store, its checkpoints and its keys
    /// have folders of their own under `DATA/regions/<region>`.
    pub(super) async fn open(
        map: &Arc<RegionMap>,
        data: &Path,
        engine: engine::Kind,
    ) -> Result<Self, Failure> {
        let mut opening = JoinSet::new();
        for (n, region) in map.regions().iter().enumerate() {
            let (name, map) = (region.name().clone(), Arc::clone(map));
            let home = data.join("regions").join(name.as_str());
            opening.spawn(async move { (n, one(&name, map, &home, engine).await) });
        }
        let mut opened = Vec::new();
        while let Some(done) = opening.join_next().await {
            let (n, region) = done.map_err(|error| Failure::new(Exit::Unavailable, error))?;
            opened.push((n, region?));
        }
        opened.sort_by_key(|(n, _)| *n);
        Ok(Self(opened.into_iter().map(|(_, region)| region).collect()))
    }

    /// What callers are told of each region.
    pub(super) fn names(&self) -> Vec<Named> {
        self.0.iter().map(|region| region.named.clone()).collect()
    }

    /// Each region's annex, with the port that its shard has.
    pub(super) fn annexes(&self) -> Vec<Annex> {
        self.0.iter().map(|region| region.annex.clone()).collect()
    }

    /// Starts to serve.
    pub(super) fn serve(self) -> Serving {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let annexes = self.annexes();
        for Region { shard, listener, auditors, .. } in self.0 {
            shard.peers().set(annexes.clone());
            let mut stopped = stopped.clone();
            tasks.spawn(async move {
                let told = async move {
                    // The sender is gone only when the process ends.
                    drop(stopped.wait_for(|stop| *stop).await);
                };
                let entrance = AuditorEntrance::Loopback;
                let auditors = Auditors { listener: auditors, entrance };
                shard.serve(listener, None, Some(auditors), told).await
            });
        }
        Serving { tasks, stop }
    }
}

impl Serving {
    /// Done when a shard has ended without being stopped.
    pub(super) async fn failed(&mut self) -> Failure {
        match self.tasks.join_next().await {
            Some(Ok(Err(error))) => serve::shard::error(error),
            Some(Ok(Ok(())) | Err(_)) => Failure::said(Exit::Unavailable, "a shard has ended"),
            None => std::future::pending().await,
        }
    }

    /// Tells all to drain, and waits for it.
    pub(super) async fn drain(mut self) -> Result<(), Failure> {
        self.stop.send_replace(true);
        let mut all = Ok(());
        while let Some(done) = self.tasks.join_next().await {
            let done = match done {
                Ok(served) => served.map_err(serve::shard::error),
                Err(error) => Err(Failure::new(Exit::Unavailable, error)),
            };
            all = all.and(done);
        }
        all
    }
}

async fn one(
    name: &RegionId,
    map: Arc<RegionMap>,
    home: &Path,
    engine: engine::Kind,
) -> Result<Region, Failure> {
    let listener = serve::bind((Ipv4Addr::LOCALHOST, 0).into()).await?;
    let address = listener.local_addr().map_err(|e| Failure::new(Exit::Unavailable, e))?;
    let auditors = serve::bind((Ipv4Addr::LOCALHOST, 0).into()).await?;
    let audit = auditors.local_addr().map_err(|e| Failure::new(Exit::Unavailable, e))?;
    let last = SLOTS - 1;
    let text = format!(
        "region = \"{name}\"\n[[shards]]\nname = \"{SHARD}\"\naddress = \"http://{address}\"\n\
         audit = \"http://{audit}\"\nslots = \"0-{last}\"\n"
    );
    let annex = Annex::parse(&text, &map).map_err(|wrong| {
        let lines: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        Failure::said(Exit::Config, lines.join("\n"))
    })?;
    let settings = Settings {
        region: name.clone(),
        shard: ShardId::parse(SHARD).map_err(|error| Failure::new(Exit::Config, error))?,
        anchor: home.join("anchor"),
        keys: home.join("keys"),
        token: None,
        disk_reserve_bytes: DISK_RESERVE_BYTES,
        beat: BEAT,
        signers: None,
        map_note: String::new(),
        log: shard::LogSettings::default(),
    };
    let options = engine::Options { cache_bytes: CACHE_BYTES };
    let store = engine::Embedded { kind: engine, folder: home.join("data"), options };
    let outside = serve::outside(Arc::new(store));
    // What a deployment does on purpose, `dev` does by itself: a first start, and trust in the
    // machine's clock.
    if settings.nothing_there(&*outside.store).map_err(serve::shard::error)? {
        shard::init(&settings, &map, &annex, &outside, &shard::KeyringSource::New)
            .map_err(serve::shard::error)?;
    }
    shard::confirm_clock(&settings, &*outside.clock).map_err(serve::shard::error)?;
    let keys = settings.log_keys(map.deployment()).map_err(serve::shard::error)?;
    let identity = settings.transit_identity(map.deployment()).map_err(serve::shard::error)?;
    let named = Named {
        region: name.to_string(),
        address,
        log_key: keys.into_iter().next_back().and_then(|key| key.vkey),
        transit_identity: identity,
    };
    let mut registry = Registry::new();
    let shard = Shard::open(settings, map, annex.clone(), outside, &mut registry, Health::new());
    let shard = shard.await.map_err(serve::shard::error)?;
    Ok(Region { annex, shard, listener, auditors, named })
}
