//! For unit tests: a shard's node on an engine in memory, without threads and listeners.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use atlas::{Country, RegionMap};
use engine::{Disk, Memory};
use link::host::clock::{SystemClock, SystemEntropy};
use link::ops::health::Health;
use link::ops::log_throttle::LogThrottle;
use link::ops::metrics::Registry;
use terms::{Collection, RecordKey, SlotSet, SubjectId, TenantId, UnixMillis};
use tokio::sync::watch;

use crate::clock::GuardedClock;
use crate::metrics::Metrics;
use crate::node::Node;
use crate::settings::Settings;
use crate::store::aead::AesGcm;
use crate::store::claims::Claims;
use crate::store::growing_log::{GrowingLog, Origins};
use crate::store::keyring::FileKeyring;
use crate::store::keys::KeyLayout;
use crate::store::move_progress::MoveProgress;
use crate::store::record::Address;
use crate::store::slots::OwnSlots;
use crate::store::transit::TransitKeys;
use crate::store::types::{Minute, Period};
use crate::store::upload_check::UploadChecks;

pub(crate) const MAP: &str = include_str!("../../../deploy/sample/map.toml");
/// Where the shard of [`node`] stands.
pub(crate) const HERE: &str = "RU";

/// A node of region `ru-msk`, whose keys lie in `folder`.
pub(crate) fn node(folder: &Path, disk: &Disk) -> Node {
    let settings = crate::settings::tests::settings(folder);
    let map = Arc::new(RegionMap::parse(MAP).expect("a map"));
    let keyring = FileKeyring::create(&settings.keys, &settings.region, None, &SystemEntropy);
    let keyring = keyring.expect("a keyring");
    Node {
        region: settings.region.clone(),
        shard: settings.shard.clone(),
        territory: Country::parse(HERE).expect("a country"),
        deployment: map.deployment().to_owned(),
        growing: ArcSwap::from_pointee(log_of(&settings, &keyring, Period::FIRST)),
        transit: TransitKeys::new(map.deployment(), &settings.region, &keyring).expect("names"),
        in_force: watch::Sender::new(map),
        engine: Box::new(Memory::open(disk)),
        namer: KeyLayout::new(&keyring),
        keyring: Box::new(keyring),
        clock: GuardedClock::start(Arc::new(SystemClock), &settings, UnixMillis(0), true),
        entropy: Arc::new(SystemEntropy),
        cipher: &AesGcm,
        slots: watch::Sender::new(OwnSlots { served: SlotSet::ALL, ..OwnSlots::default() }),
        subjects: quick_cache::sync::Cache::new(1 << 16),
        metrics: Metrics::new(&mut Registry::new()),
        ingress: None,
        refusals: LogThrottle::default(),
        troubles: LogThrottle::default(),
        health: Health::new(),
        upload_checks: UploadChecks::default(),
        claims: Claims::new(&SystemEntropy).expect("randomness"),
        moves: MoveProgress::default(),
        copies_due: tokio::sync::Notify::new(),
        copy_lines: LogThrottle::default(),
        committed: AtomicU64::new(0),
    }
}

fn log_of(settings: &Settings, keyring: &FileKeyring, period: Period) -> GrowingLog {
    let Settings { region, shard, .. } = settings;
    let origins = Origins { deployment: "sample", region, shard };
    GrowingLog::new(origins, period, "", Minute(1), keyring)
}

/// The log of a period, whose keys lie in `folder`.
pub(crate) fn log(folder: &Path, period: Period) -> GrowingLog {
    let settings = crate::settings::tests::settings(folder);
    let keyring = FileKeyring::open(&settings.keys, &settings.region, None)
        .or_else(|_| FileKeyring::create(&settings.keys, &settings.region, None, &SystemEntropy));
    log_of(&settings, &keyring.expect("a keyring"), period)
}

/// The record `main` of a subject's profiles.
pub(crate) fn address(node: &Node, subject: &str) -> Address {
    let tenant = TenantId::parse("sample").expect("a tenant");
    let owner = node.namer.owner(tenant, SubjectId::parse(subject).expect("an id"));
    let collection = Collection::parse("profiles").expect("a collection");
    let key = RecordKey::parse("main").expect("a key");
    let row = node.namer.record(&owner, &collection, &key);
    Address { owner, collection, key, row }
}
