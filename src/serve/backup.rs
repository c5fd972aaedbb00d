//! `bailiwick shard backup` and `shard restore`: backups of a shard, made, verified and restored.

use std::path::Path;

use ::shard::{Erasures, MadeBackup, Restored, VerifiedBackup};
use link::ops::logging::Level;
use serde_json::{Value, json};

use super::shard::error;
use super::{block_on, outside, start_logs};
use crate::config;
use crate::error::Failure;
use crate::terminal;

/// Makes a backup in a folder: a whole one, or of what has changed since another one.
pub(crate) fn make(
    config: &Path,
    folder: &Path,
    since: Option<&Path>,
    as_json: bool,
) -> Result<(), Failure> {
    let config = config::shard::read(config)?;
    start_logs(true, Level::Warn)?;
    // The region's keys will be in it, as in a server's.
    let _closed = link::host::sandbox::close_memory();
    let outside = outside(config.store.if_ended().backend());
    let settings = &config.settings;
    let made = block_on(async {
        let (map, annex) = (&config.map, &config.annex);
        let made = ::shard::backup(settings, map, annex, &outside, folder, since).await;
        made.map_err(error)
    });
    let MadeBackup { path, backup } = made?;
    let path = path.display().to_string();
    if as_json {
        return terminal::say(shown(&backup, &path));
    }
    terminal::say(format!("{path} is a backup, and was read back\n{}", described(&backup)))
}

/// Checks a backup.
pub(crate) fn verify(config: &Path, backup: &Path, as_json: bool) -> Result<(), Failure> {
    let config = config::shard::read(config)?;
    let _closed = link::host::sandbox::close_memory();
    let verified = ::shard::verify_backup(&config.settings, config.map.deployment(), backup);
    let (verified, path) = (verified.map_err(error)?, backup.display().to_string());
    if as_json {
        return terminal::say(shown(&verified, &path));
    }
    terminal::say(format!("{path} is whole\n{}", described(&verified)))
}

/// Restores a backup.
pub(crate) fn restore(
    config: &Path,
    from: &Path,
    erasures: &Erasures,
    as_json: bool,
) -> Result<(), Failure> {
    let config = config::shard::read(config)?;
    start_logs(true, Level::Warn)?;
    let _closed = link::host::sandbox::close_memory();
    let outside = outside(config.store.backend());
    let (settings, map, annex) = (&config.settings, &config.map, &config.annex);
    let restored = ::shard::restore(settings, map, annex, &outside, from, erasures);
    let Restored { backup, old_head: (log, size), erased_again, origin, vkey } =
        restored.map_err(error)?;
    if as_json {
        return terminal::say(json!({
            "backup": shown(&backup, &from.display().to_string()),
            "old_head": { "origin": log, "entries": size },
            "erased_again": erased_again, "origin": origin, "vkey": vkey,
        }));
    }
    terminal::say(format!(
        "{}\nthe newest head that is known of the log before is {log}, {size} entries: what is in \
         it and not in the backup is lost\n{erased_again} people, or collections of people, of \
         the backup were erased after it, and are erased again\nthe log {origin} begins, with a RESTORE entry\nits public key, \
         for your auditors; keep the old one too:\n{vkey}",
        described(&backup)
    ))
}

fn shown(backup: &VerifiedBackup, path: &str) -> Value {
    let VerifiedBackup { id, origin, entries, root, minute, rows, bytes, chunks } = backup;
    json!({
        "file": path, "id": id, "origin": origin, "entries": entries, "root": hex::encode(root),
        "minute": minute, "rows": rows, "bytes": bytes, "chunks": chunks,
    })
}

fn described(backup: &VerifiedBackup) -> String {
    let VerifiedBackup { id, origin, entries, root, rows, bytes, chunks, .. } = backup;
    let root = hex::encode(root);
    format!(
        "backup {id}: {rows} rows of {bytes} bytes in {chunks} chunks; {entries} entries of the log \
         {origin} with the root {root}, as its checkpoint signs"
    )
}
