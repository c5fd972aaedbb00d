//! The IP database of a running gateway, re-read when its file changes.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use gateway::Handle;
use link::ops::health::Health;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// Time between two looks at the file.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The fact that tells operators which database is in use.
const FACT: &str = "ip_database";

/// What changes when a file is written or replaced. Such files are large: their content is not
/// compared.
type Stamp = (u64, u64, SystemTime);

/// Reads the database again whenever its file has changed. One that cannot be used leaves the old
/// one in use, and is said.
pub(super) fn follow(handle: Handle, path: PathBuf, health: Health) {
    tokio::spawn(async move {
        // Of a time before anything was read: the first look reads the file again.
        let mut seen = None;
        loop {
            let now = stamp(&path);
            if now != seen {
                seen = now;
                let (handle, path, health) = (handle.clone(), path.clone(), health.clone());
                // Whether it panicked is of no use to the next look.
                drop(spawn_blocking(move || read(&handle, &path, &health)).await);
            }
            sleep(LOOK_EVERY).await;
        }
    });
}

fn read(handle: &Handle, path: &Path, health: &Health) {
    let file = path.display();
    let taken = std::fs::read(path)
        .map_err(|error| error.to_string())
        .and_then(|bytes| handle.set_ip_database(bytes).map_err(|error| error.to_string()));
    match taken {
        Ok(version) => {
            tracing::info!(%file, version, "the IP database was read");
            health.set_fact(FACT, version);
        }
        Err(error) => {
            tracing::error!(%file, error, "the changed IP database cannot be used: the previous one stays in use");
            health.set_fact(FACT, "the file cannot be used: the previous one is in use");
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.ino(), found.len(), found.modified().ok()?))
}
