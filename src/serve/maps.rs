//! What a running process does when maps and annexes change: the authorities of the new map are
//! pinned, and the shards are looked for where the annexes say.

use std::sync::Arc;
use std::time::Duration;

use atlas::RegionMap;
use gateway::Handle;
use link::tls::Tls;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::config;
use crate::config::maps::{AnnexFiles, note_of_annex};

/// Time between two looks at the annexes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Pins what each map of a shard says from then on.
pub(super) fn pin_with_shard(tls: Tls, mut maps: watch::Receiver<Arc<RegionMap>>) {
    tokio::spawn(async move {
        while maps.changed().await.is_ok() {
            let map = Arc::clone(&maps.borrow_and_update());
            tls.repin(config::tls::pins(&map));
        }
    });
}

/// Pins what each map of a gateway says from then on.
pub(super) fn pin_with_gateway(tls: Tls, handle: Handle) {
    let mut map = handle.map();
    tokio::spawn(async move {
        loop {
            map = handle.until_other(&map).await;
            tls.repin(config::tls::pins(&map));
        }
    });
}

/// Reads the annexes again whenever one of them, or the map, has changed.
pub(super) fn follow_annexes(handle: Handle, files: AnnexFiles) {
    // Of a time before anything was read: the first look reads them once more.
    let (mut seen, mut map) = ([0; 32], handle.map());
    tokio::spawn(async move {
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
            let annexes = files.read(&map, handle.annexes());
            tracing::info!(regions = annexes.len(), "annexes were read");
            handle.set_annexes(annexes);
        }
    });
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
