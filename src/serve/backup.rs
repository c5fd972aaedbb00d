//! `bailiwick shard backup` and `shard restore`: backups of a shard, made, verified and restored.

use std::path::{Path, PathBuf};

use ::shard::{
    BackupBucket, Erasures, FetchedBackup, IN_BUCKET, MadeBackup, Restored, VerifiedBackup,
};
use link::ops::logging::Level;
use serde_json::{Value, json};

use super::shard::{erased_again, error};
use super::{block_on, outside, start_logs};
use crate::config;
use crate::error::{Exit, Failure};
use crate::terminal;

/// The name of a backup in the bucket, if it is not a path. It is empty for the bucket itself.
fn in_bucket(place: &Path) -> Option<&str> {
    place.to_str()?.strip_prefix(IN_BUCKET)
}

/// The bucket of a configuration.
fn bucket(config: &config::shard::Config) -> Result<BackupBucket, Failure> {
    let missing = || {
        let why = "the configuration names no bucket: add [backup_bucket], or name a folder";
        Failure::said(Exit::Config, why)
    };
    config.backup_bucket.as_ref().ok_or_else(missing)?.open(config.store.folder())
}

/// The bucket into which a backup should go. None: a folder is named.
fn target(
    config: &config::shard::Config,
    out: &Path,
    since: Option<&Path>,
) -> Result<Option<BackupBucket>, Failure> {
    let said = |why| Err(Failure::said(Exit::Config, why));
    match (in_bucket(out), since.map(in_bucket)) {
        (Some(""), None | Some(Some(_))) => bucket(config).map(Some),
        (Some(""), Some(None)) => said("`--since` names no backup of the bucket: give s3:NAME"),
        (Some(_), _) => said("`--out s3:` takes no name: a backup has one of its own"),
        (None, Some(Some(_))) => {
            said("`--since` names a backup of the bucket, and `--out` a folder")
        }
        (None, None | Some(None)) => Ok(None),
    }
}

/// Reads a backup from the bucket, if it is named as one that lies there.
fn fetched(
    config: &config::shard::Config,
    backup: &Path,
) -> Result<Option<FetchedBackup>, Failure> {
    let Some(name) = in_bucket(backup) else { return Ok(None) };
    let from = bucket(config)?;
    let fetched = block_on(async {
        let fetched = ::shard::fetch_backup(&config.settings, &config.map, &from, name).await;
        fetched.map_err(error)
    });
    fetched.map(Some)
}

/// The same files of erasures, of which those in the bucket were read from there.
fn erasures_of(
    config: &config::shard::Config,
    fetched: Option<&FetchedBackup>,
    erasures: &Erasures,
) -> Result<Erasures, Failure> {
    let read = |files: &Vec<PathBuf>| {
        let read = files.iter().map(|file| match (in_bucket(file), fetched) {
            (None, _) => Ok(file.clone()),
            (Some(name), Some(fetched)) => {
                let from = bucket(config)?;
                block_on(async { fetched.also(&from, name).await.map_err(error) })
            }
            (Some(_), None) => {
                let why =
                    "`--erasures` names a file of the bucket, and `--from` a file of this machine";
                Err(Failure::said(Exit::Config, why))
            }
        });
        read.collect::<Result<Vec<_>, _>>()
    };
    Ok(match erasures {
        Erasures::Known(files) => Erasures::Known(read(files)?),
        Erasures::Copies(files) => Erasures::Copies(read(files)?),
        Erasures::Unknown => Erasures::Unknown,
    })
}

/// Makes a backup in a folder, or in the bucket: a whole one, or of what has changed since another one.
pub(crate) fn make(
    config: &Path,
    out: &Path,
    since: Option<&Path>,
    as_json: bool,
) -> Result<(), Failure> {
    let config = config::shard::read(config)?;
    start_logs(true, Level::Warn)?;
    // The region's keys will be in it, as in a server's.
    let _closed = link::host::sandbox::close_memory();
    let to = target(&config, out, since)?;
    let outside = outside(config.store.if_ended().backend());
    let settings = &config.settings;
    let made = block_on(async {
        let (map, annex) = (&config.map, &config.annex);
        let made = match &to {
            Some(to) => {
                let since = since.and_then(in_bucket);
                ::shard::backup_to_bucket(settings, map, annex, &outside, to, since).await
            }
            None => ::shard::backup(settings, map, annex, &outside, out, since).await,
        };
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
    let fetched = fetched(&config, backup)?;
    let file = fetched.as_ref().map_or(backup, FetchedBackup::path);
    let verified = ::shard::verify_backup(&config.settings, config.map.deployment(), file);
    let verified = verified.map_err(|wrong| named(fetched.as_ref(), wrong))?;
    let path = backup.display().to_string();
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
    let fetched = fetched(&config, from)?;
    let file = fetched.as_ref().map_or(from, FetchedBackup::path);
    let erasures = &erasures_of(&config, fetched.as_ref(), erasures)?;
    let outside = outside(config.store.backend());
    let (settings, map, annex) = (&config.settings, &config.map, &config.annex);
    let restored = ::shard::restore(settings, map, annex, &outside, file, erasures);
    let Restored { backup, old_head: (log, size), again, origin, vkey } =
        restored.map_err(|wrong| named(fetched.as_ref(), wrong))?;
    if as_json {
        return terminal::say(json!({
            "backup": shown(&backup, &from.display().to_string()),
            "old_head": { "origin": log, "entries": size },
            "erased_again": again.erased, "arrivals_erased": again.arrivals,
            "arrivals_left": again.arrivals_left, "origin": origin, "vkey": vkey,
        }));
    }
    terminal::say(format!(
        "{}\nthe newest head that is known of the log before is {log}, {size} entries: what is in \
         it and not in the backup is lost\n{}\nthe log {origin} begins, with a RESTORE entry\nits public key, \
         for your auditors; keep the old one too:\n{vkey}",
        described(&backup),
        erased_again(&again)
    ))
}

/// What is wrong with a backup, by the name with which it was asked for.
fn named(fetched: Option<&FetchedBackup>, wrong: ::shard::Error) -> Failure {
    error(match fetched {
        Some(fetched) => fetched.named(wrong),
        None => wrong,
    })
}

fn shown(backup: &VerifiedBackup, path: &str) -> Value {
    let VerifiedBackup { id, origin, entries, root, minute, rows, bytes, chunks, uploads_lost } =
        backup;
    json!({
        "file": path, "id": id, "origin": origin, "entries": entries, "root": hex::encode(root),
        "minute": minute, "rows": rows, "bytes": bytes, "chunks": chunks,
        "uploads_lost": uploads_lost,
    })
}

fn described(backup: &VerifiedBackup) -> String {
    let VerifiedBackup { id, origin, entries, root, rows, bytes, chunks, uploads_lost, .. } =
        backup;
    let root = hex::encode(root);
    let lost = match uploads_lost {
        0 => String::new(),
        lost => format!(
            "; {lost} uploads in progress are under a destroyed generation of the region's key: a \
             restore discards them"
        ),
    };
    format!(
        "backup {id}: {rows} rows of {bytes} bytes in {chunks} chunks; {entries} entries of the log \
         {origin} with the root {root}, as its checkpoint signs{lost}"
    )
}
