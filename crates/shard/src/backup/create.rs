//! `bailiwick shard backup`: makes a backup of a shard, whether it runs or not.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use atlas::{Annex, Date, RegionMap};
use ledger::entry::MapRef;
use link::ops::health::Health;
use link::ops::metrics::Registry;
use terms::UnixMillis;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep, timeout};

use crate::backup::changes::reduce;
use crate::backup::check::{VerifiedBackup, verify_backup};
use crate::backup::format::{FAILED, FRAME_BYTES_MAX, MAGIC, MANIFEST};
use crate::backup::write::write;
use crate::log::begun_backup::BackupId;
use crate::metrics::Metrics;
use crate::startup::open::Opening;
use crate::startup::shard::Parts;
use crate::store::slots::{MAP_ROW_BYTES, decode_map};
use crate::store::{directories, keys};
use crate::write::rotate::Ending;
use crate::{Environment, Error, Settings};

/// Time in which a running shard must begin.
const BEGINS_WITHIN: Duration = Duration::from_secs(30);
/// Time in which a running shard must say its map, before its store is looked at again.
const MAP_WITHIN: Duration = Duration::from_secs(5);
/// Time in which it must go on.
const GOES_ON_WITHIN: Duration = Duration::from_secs(120);
/// Time between two looks whether it has begun.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Bytes of the text that says why there is no backup.
const WHY_BYTES_MAX: u64 = 4_096;

/// A backup that was made, and read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeBackup {
    /// Its file.
    pub path: PathBuf,
    /// What it has.
    pub backup: VerifiedBackup,
}

/// Makes a backup in `folder`, under a name of its own. It has that name only once it is durable and
/// was read back; what is left of one that failed begins with a point. With `since`, it has only what
/// has changed since that whole backup, which is in the same folder.
///
/// # Errors
/// [`Error::NotBackedUp`]; [`Error::Backup`], of `since`; [`Error::Io`]; whatever would keep a shard
/// that does not run from starting.
pub async fn backup(
    settings: &Settings,
    map: &RegionMap,
    annex: &Annex,
    outside: &Environment,
    folder: &Path,
    since: Option<&Path>,
) -> Result<MadeBackup, Error> {
    let io = |source| Error::Io { path: folder.to_owned(), source };
    let there = folder.ancestors().find(|above| above.exists()).unwrap_or_else(|| Path::new("."));
    if let Some(data) = outside.store.folder().filter(|data| data.exists()) {
        directories::apart(data, there, "a backup")?;
    }
    directories::make(folder)?;
    let name = name(settings, outside.clock.now());
    let (path, partial) =
        (folder.join(&name), folder.join(format!(".{name}.{}.partial", std::process::id())));
    if path.exists() {
        return Err(Error::NotBackedUp(format!("{} is there already", path.display())));
    }
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(&partial);
    let mut file = file.map_err(io)?;
    let made = make(settings, map, annex, outside, &mut file).await;
    let made = made.and_then(|()| file.sync_all().map_err(io));
    let made = made.and_then(|()| verify_backup(settings, map.deployment(), &partial));
    let made = match since {
        Some(base) => made.and_then(|_whole| reduce(settings, map.deployment(), &partial, base)),
        None => made,
    };
    let backup = match made {
        Ok(backup) => backup,
        Err(error) => {
            // It may have filled the disk.
            fs::remove_file(&partial).ok();
            return Err(error);
        }
    };
    fs::rename(&partial, &path).map_err(io)?;
    directories::sync_parent(&path)?;
    Ok(MadeBackup { path, backup })
}

/// The name of a backup: region, shard and time.
fn name(settings: &Settings, now: UnixMillis) -> String {
    let Settings { region, shard, .. } = settings;
    let day = Date::of(now).to_string().replace('-', "");
    let second = now.0 / 1_000 % 86_400;
    let (hours, minutes, seconds) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{region}-{shard}-{day}T{hours:02}{minutes:02}{seconds:02}Z.backup")
}

async fn make(
    settings: &Settings,
    map: &RegionMap,
    annex: &Annex,
    outside: &Environment,
    file: &mut File,
) -> Result<(), Error> {
    match stopped(settings, map, annex, outside, file) {
        Err(Error::Engine(engine::Error::Locked { .. })) => running(settings, file).await,
        done => done,
    }
}

/// Reads the store of a shard that does not run.
fn stopped(
    settings: &Settings,
    map: &RegionMap,
    annex: &Annex,
    outside: &Environment,
    file: &mut File,
) -> Result<(), Error> {
    let opened = Opening { settings, map, annex, outside }.open()?;
    let metrics = Metrics::new(&mut Registry::new());
    let mut parts = Parts::new(settings, None, outside, metrics, opened, Health::new())?;
    // Nothing is written into a period that has ended.
    if let Some(offered) = parts.sealed.take() {
        parts.committer.rotate(Ending::Sealed(offered))??;
    }
    let node = Arc::clone(&parts.committer.node);
    let begun = parts.committer.note_backup(BackupId(node.random()?))??;
    let view = node.engine.view()?;
    write(&node, &*view, &begun, &mut |frame| {
        file.write_all(&frame).map_err(|error| Error::NotBackedUp(error.to_string()))
    })
}

/// Has the shard that runs give one.
async fn running(settings: &Settings, file: &mut File) -> Result<(), Error> {
    let path = settings.backup_pipe();
    let io = |source| Error::Io { path: path.clone(), source };
    // One that was left by a command that ended early.
    fs::remove_file(&path).ok();
    link::host::files::make_pipe(&path).map_err(io)?;
    let taken = match pipe::OpenOptions::new().open_receiver(&path) {
        Ok(pipe) => take(pipe, file).await,
        Err(error) => Err(io(error)),
    };
    fs::remove_file(&path).ok();
    taken
}

async fn take(mut pipe: pipe::Receiver, file: &mut File) -> Result<(), Error> {
    let failed = |why: &str| Error::NotBackedUp(why.to_owned());
    let until = Instant::now() + BEGINS_WITHIN;
    let mut magic = [0; MAGIC.len()];
    // Without a writer, a pipe reads as one that has ended.
    while pipe.read(&mut magic[..1]).await.map_err(|error| failed(&error.to_string()))? == 0 {
        if Instant::now() > until {
            let why = "the store is in use, and the shard has not begun: see that it runs with this \
                       configuration, that this command runs as the shard's user, and that no other \
                       backup of it is being made";
            return Err(failed(why));
        }
        sleep(LOOK_EVERY).await;
    }
    if magic[0] == FAILED.to_be_bytes()[0] {
        exactly(&mut pipe, &mut [0; 3]).await?;
        return Err(refusal(pipe).await);
    }
    exactly(&mut pipe, &mut magic[1..]).await?;
    let write = |file: &mut File, bytes: &[u8]| {
        file.write_all(bytes).map_err(|error| Error::NotBackedUp(error.to_string()))
    };
    write(file, &magic)?;
    let mut number = 0_u64;
    loop {
        let mut length = [0; 4];
        exactly(&mut pipe, &mut length).await?;
        let bytes = u32::from_be_bytes(length);
        if bytes == FAILED {
            return Err(refusal(pipe).await);
        }
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        if bytes > FRAME_BYTES_MAX {
            return Err(failed("the shard gives no backup"));
        }
        let mut frame = vec![0; bytes];
        exactly(&mut pipe, &mut frame).await?;
        write(file, &length)?;
        write(file, &frame)?;
        // The header is no sealed frame, and has no kind.
        if number > 0 && frame.first() == Some(&MANIFEST) {
            return Ok(());
        }
        number += 1;
    }
}

/// The region map that is in force at the shard now, whether it runs or not.
///
/// # Errors
/// [`Error::NotBackedUp`]: the shard runs, and does not say. [`Error::Engine`], [`Error::Damaged`].
pub(super) async fn map_now(settings: &Settings, outside: &Environment) -> Result<MapRef, Error> {
    let until = Instant::now() + BEGINS_WITHIN;
    // It may end, or start, while it is asked.
    while Instant::now() < until {
        match outside.store.open() {
            Ok(store) => {
                let row = store.get_many(&[keys::MAP])?.pop().flatten();
                return decode_map(&row.ok_or(Error::Damaged("region maps"))?);
            }
            Err(engine::Error::Locked { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(row) = asked_map(settings).await? {
            return decode_map(&row);
        }
    }
    Err(Error::NotBackedUp("the shard does not say which region map is in force".to_owned()))
}

/// What the shard that runs says of its map. `None`: it has not answered for a while.
async fn asked_map(settings: &Settings) -> Result<Option<[u8; MAP_ROW_BYTES]>, Error> {
    let path = settings.map_pipe();
    let io = |source| Error::Io { path: path.clone(), source };
    // One that was left by a command that ended early.
    fs::remove_file(&path).ok();
    link::host::files::make_pipe(&path).map_err(io)?;
    let mut row = [0; MAP_ROW_BYTES];
    let said = match pipe::OpenOptions::new().open_receiver(&path) {
        Ok(mut pipe) => {
            let until = Instant::now() + MAP_WITHIN;
            // Without a writer, a pipe reads as one that has ended.
            let mut begun = 0;
            while begun == 0 && Instant::now() < until {
                begun = pipe.read(&mut row[..1]).await.map_err(io)?;
                if begun == 0 {
                    sleep(LOOK_EVERY).await;
                }
            }
            if begun == 0 {
                Ok(None)
            } else {
                exactly(&mut pipe, &mut row[1..]).await.map(|()| Some(row))
            }
        }
        Err(error) => Err(io(error)),
    };
    fs::remove_file(&path).ok();
    said
}

/// What the shard says in the place of a backup.
async fn refusal(pipe: pipe::Receiver) -> Error {
    let (mut why, mut pipe) = (Vec::new(), pipe.take(WHY_BYTES_MAX));
    timeout(GOES_ON_WITHIN, pipe.read_to_end(&mut why)).await.ok();
    Error::NotBackedUp(String::from_utf8_lossy(&why).into_owned())
}

async fn exactly(pipe: &mut pipe::Receiver, bytes: &mut [u8]) -> Result<(), Error> {
    let ended = || Error::NotBackedUp("the shard has ended in the middle of it".to_owned());
    match timeout(GOES_ON_WITHIN, pipe.read_exact(bytes)).await {
        Ok(read) => read.map(drop).map_err(|_| ended()),
        Err(_) => Err(Error::NotBackedUp("the shard does not go on with it".to_owned())),
    }
}
