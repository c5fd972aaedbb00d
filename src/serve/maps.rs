//! Applies changed maps and annexes to a running process: pins the authorities of the new map, and
//! connects to the shards that the annexes name.

use std::sync::Arc;
use std::time::Duration;

use ::shard::Peers;
use atlas::RegionMap;
use gateway::Handle;
use link::host::supervise::supervise;
use link::tls::Tls;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::config;
use crate::config::maps::{AnnexFiles, note_of_annex};

/// Time between two looks at the annexes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Pins what each map of a shard says from then on.
pub(super) fn pin_with_shard(tls: Tls, maps: watch::Receiver<Arc<RegionMap>>) {
    keep("pins", move || {
        let (tls, mut maps) = (tls.clone(), maps.clone());
        async move {
            while maps.changed().await.is_ok() {
                let map = Arc::clone(&maps.borrow_and_update());
                tls.repin(config::tls::pins(&map));
            }
        }
    });
}

/// Pins what each map of a gateway says from then on.
pub(super) fn pin_with_gateway(tls: Tls, handle: Handle) {
    let first = handle.map();
    keep("pins", move || {
        let (tls, handle, mut map) = (tls.clone(), handle.clone(), Arc::clone(&first));
        async move {
            loop {
                map = handle.until_other(&map).await;
                tls.repin(config::tls::pins(&map));
            }
        }
    });
}

/// Runs a task as long as the process; one that panics begins again.
fn keep<T: Future<Output = ()> + Send + 'static>(
    task: &'static str,
    begin: impl FnMut() -> T + Send + 'static,
) {
    tokio::spawn(supervise(task, begin, || std::future::ready(())));
}

/// Reads the annexes again whenever one of them, or the map, has changed.
pub(super) fn follow_annexes(handle: Handle, files: AnnexFiles) {
    keep("annexes", move || look_at_annexes(handle.clone(), files.clone()));
}

/// Reads the annexes of other regions again whenever one of them, or the map, has changed.
pub(super) fn follow_peers(peers: Peers, maps: watch::Receiver<Arc<RegionMap>>, files: AnnexFiles) {
    keep("peer_annexes", move || look_at_peers(peers.clone(), maps.clone(), files.clone()));
}

async fn look_at_peers(peers: Peers, mut maps: watch::Receiver<Arc<RegionMap>>, files: AnnexFiles) {
    let mut seen = None;
    loop {
        let now = digest(&files);
        let map = Arc::clone(&maps.borrow_and_update());
        let state = (now, map.epoch());
        if seen != Some(state) {
            seen = Some(state);
            let (annexes, _unusable) = files.read(&map, peers.get());
            peers.set(annexes);
        }
        tokio::select! {
            changed = maps.changed() => if changed.is_err() { return },
            () = sleep(LOOK_EVERY) => {}
        }
    }
}

async fn look_at_annexes(handle: Handle, files: AnnexFiles) {
    // Of a time before anything was read: the first look reads them once more.
    let (mut seen, mut map) = ([0; 32], handle.map());
    loop {
        tokio::select! {
            other = handle.until_other(&map) => map = other,
            () = sleep(LOOK_EVERY) => {
                let now = digest(&files);
                if now == seen {
                    continue;
                }
                seen = now;
            }
        }
        let (annexes, unusable) = files.read(&map, handle.annexes());
        // What cannot be used was said, file by file.
        if unusable == 0 {
            tracing::info!(regions = annexes.len(), "annexes were read");
        }
        handle.set_annexes(annexes);
    }
}

/// Of the names and contents of all files, and of the notes beside them.
fn digest(files: &AnnexFiles) -> [u8; 32] {
    let mut digest = Sha256::new();
    for path in files.files() {
        digest.update(path.as_os_str().as_encoded_bytes());
        for part in [note_of_annex(&path), path] {
            digest.update(Sha256::digest(std::fs::read(part).unwrap_or_default()));
        }
    }
    digest.finalize().into()
}
