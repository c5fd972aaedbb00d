//! Checks files and folders: free space, owners and modes, and whether the keys open.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use terms::with_causes;

use crate::config::store::Store;
use crate::doctor::line::Line;
use crate::doctor::target::{Settings, Target};
use crate::doctor::writable;

/// Times its reserve that should be free on a shard's disk.
const RESERVES: u64 = 4;
const MB: u64 = 1 << 20;
/// The bits by which others than the owner reach a file.
const OTHERS: u32 = 0o077;

/// All checks of files and folders.
pub(super) fn all(target: &Target) -> Vec<Line> {
    let mut lines = writable::all(target);
    lines.extend(secrets(target));
    if let (Some(shard), Some(store)) = (target.shard(), target.store()) {
        lines.extend(match store {
            Store::Embedded(embedded) => vec![disk(shard, embedded)],
            Store::Postgres(postgres) => database(postgres),
        });
        lines.extend([folders(target), keys(shard, store)]);
    }
    lines
}

/// Whether there is room for more than the reserve.
fn disk(shard: &shard::Settings, store: &engine::Embedded) -> Line {
    let free = match store.space() {
        Ok(space) => space.free,
        Err(error) => {
            return Line::bad("disk", with_causes(&error), "mount it, or look at the disk");
        }
    };
    let (free_mb, reserve_mb) = (free / MB, shard.disk_reserve_bytes / MB);
    let folder = store.folder.display();
    let what = format!("{free_mb} MB free for {folder}, {reserve_mb} MB in reserve");
    if free <= shard.disk_reserve_bytes {
        return Line::bad("disk", format!("{what}: writes are refused"), "free disk space");
    }
    if free / RESERVES < shard.disk_reserve_bytes {
        return Line::warn("disk", what, "free disk space before writes are refused");
    }
    Line::ok("disk", what)
}

/// Whether the database of a shard is reached and may be used, who writes to it, and what its
/// settings should be.
fn database(postgres: &engine::Postgres) -> Vec<Line> {
    const CHECK: &str = "database";
    let place = postgres.place();
    let standing = match postgres.standing() {
        Ok(standing) => standing,
        Err(error) => {
            let cure = "see docs/operations.md: the shard would not start either";
            return vec![Line::bad(CHECK, format!("{place}: {error}"), cure)];
        }
    };
    let what = match standing {
        None => format!("{place} has no store yet: `bailiwick shard init` creates it"),
        Some(engine::Standing { released: true, head, .. }) => {
            format!("{place}: no process writes to it, {} log entries", head.size)
        }
        Some(engine::Standing { holder, head, .. }) => {
            format!("{place}: {holder} writes to it, {} log entries", head.size)
        }
    };
    let advice = postgres.advice().unwrap_or_default().into_iter();
    let advice = advice.map(|advice| Line::warn(CHECK, place.clone(), advice));
    std::iter::once(Line::ok(CHECK, what)).chain(advice).collect()
}

/// Whether a shard's folders are its own.
fn folders(target: &Target) -> Line {
    const CHECK: &str = "folders";
    let mut missing = 0_usize;
    let mut owners = Vec::new();
    for folder in target.folders() {
        let found = match fs::metadata(folder) {
            Ok(found) => found,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                missing += 1;
                continue;
            }
            Err(error) => {
                let what = format!("{} ({error})", folder.display());
                return Line::bad(CHECK, what, "run this as the user that the shard runs as");
            }
        };
        if !found.is_dir() {
            let what = format!("{} is not a folder", folder.display());
            return Line::bad(CHECK, what, "name another folder, or remove it");
        }
        if found.mode() & OTHERS != 0 {
            let what = format!("{} is open to users other than its owner", folder.display());
            return Line::bad(CHECK, what, format!("chmod 700 {}", folder.display()));
        }
        owners.push(found.uid());
    }
    owners.dedup();
    match (owners.as_slice(), missing) {
        ([], _) => Line::ok(CHECK, "none yet: `bailiwick shard init` creates them"),
        ([_], 0) => {
            Line::ok(CHECK, "data, anchor and keys have one owner, and are closed to others")
        }
        ([_], _) => Line::bad(
            CHECK,
            format!("{missing} of data, anchor and keys are missing while the others exist"),
            "mount or restore the missing folders before you start the shard",
        ),
        (several, _) => {
            let what = format!("data, anchor and keys have {} owners", several.len());
            Line::bad(CHECK, what, "chown all of them to the user that the shard runs as")
        }
    }
}

/// Whether every file with a secret in it is closed to others.
fn secrets(target: &Target) -> Vec<Line> {
    let mut secret = Vec::new();
    if let Some(shard) = target.shard() {
        match fs::read_dir(&shard.keys) {
            Ok(entries) => secret.extend(entries.flatten().map(|entry| entry.path())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                let what = format!("{} ({error})", shard.keys.display());
                let cure = "run this as the user that the shard runs as";
                return vec![Line::bad("secrets", what, cure)];
            }
        }
    }
    secret.extend(target.tls.as_ref().map(|(files, _)| files.key.clone()));
    if let Settings::Shard(shard) = &target.server {
        secret.extend(shard.bucket_secret.clone());
    }
    secret.extend(target.callers.as_ref().map(|files| files.key.clone()));
    secret.sort();
    secret.dedup();
    let open: Vec<Line> = secret.iter().filter_map(|path| closed(path)).collect();
    if open.is_empty() {
        let what = format!("{} files with keys, readable by their owner only", secret.len());
        return vec![Line::ok("secrets", what)];
    }
    open
}

/// What is wrong with the mode of a secret file, if anything is.
fn closed(path: &Path) -> Option<Line> {
    match fs::metadata(path) {
        Ok(found) => link::host::file_watch::exposed(&found).map(|why| {
            let what = format!("{}: {why}", path.display());
            let cure = format!(
                "chmod 600 {}, and create a new key: this one may be known",
                path.display()
            );
            Line::bad("secrets", what, cure)
        }),
        Err(error) => {
            let what = format!("{} ({error})", path.display());
            Some(Line::bad("secrets", what, "name a readable file read by the server's user"))
        }
    }
}

/// Whether the keyring opens.
fn keys(shard: &shard::Settings, store: &Store) -> Line {
    match shard.check_keys() {
        Ok(true) => Line::ok("keys", format!("the keyring of {} opens", shard.region)),
        Ok(false) if shard.anchor.is_dir() || store.folder().is_some_and(Path::is_dir) => {
            Line::bad(
                "keys",
                format!("there is a store, but no keyring of {}", shard.region),
                "restore it: without it the store cannot be read",
            )
        }
        Ok(false) => Line::ok("keys", "none yet: `bailiwick shard init` creates them"),
        Err(error) => {
            Line::bad("keys", with_causes(&error), "restore the file, or correct its mode")
        }
    }
}
