//! Backups in a bucket of an S3-compatible server at the region's site.
//!
//! A backup is made and verified in a folder of this machine first, as any other is. It is then sent as it
//! is, and read back. So the server sees sealed bytes alone, and a slow one keeps no view of the store open.
//! A backup leaves for no server that the region map does not list, in the map that the configuration
//! names, and in the one that was in force when it was made. If another map comes into force before it is
//! seen there, it is not seen at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use atlas::{Annex, Endpoint, RegionMap};
use ledger::entry::MapRef;
use link::net::object_store::{self, Bucket};
use tokio::time::Instant;

use crate::backup::changes::reduce;
use crate::backup::create::{MadeBackup, backup, map_now};
use crate::backup::source::{Source, base_of};
use crate::store::directories;
use crate::store::keyring::FileKeyring;
use crate::store::keys;
use crate::store::region_maps::{self, Taken, map_ref};
use crate::store::slots::decode_map;
use crate::{Environment, Error, Settings};

/// What stands before the name of a backup that lies in the bucket.
pub const IN_BUCKET: &str = "s3:";
/// How the name of a copy of the file of erasures ends.
const ERASURES: &str = "erasures";
/// Bytes of a name at the most.
const NAME_BYTES_MAX: usize = 255;
/// How the names of the folders of commands begin.
const WORK: &str = ".bucket-";
/// Time for which the shard's word about its map holds while parts are sent.
const MAP_HOLDS_FOR: Duration = Duration::from_secs(60);
/// The first byte of the keys of maps that were taken whole. The map in force stands before them.
const MAPS_TAKEN: u8 = 0x04;

/// A bucket for the backups of one shard.
#[derive(Debug)]
pub struct BackupBucket {
    /// The address of its server, which the region map must list.
    pub endpoint: Endpoint,
    /// The bucket, at that address.
    pub bucket: Bucket,
    /// What stands before the names of its backups: nothing, or folders that end with `/`.
    pub prefix: String,
    /// The folder in which backups are made before they are sent, and kept while they are read.
    pub scratch: PathBuf,
    /// The folder of the store, in which `scratch` may not lie.
    pub data: Option<PathBuf>,
}

impl BackupBucket {
    /// Refuses a server that a map does not list for this region.
    fn listed(&self, map: &RegionMap, settings: &Settings) -> Result<(), Error> {
        let region = map.region(&settings.region);
        if region.is_some_and(|region| region.backup_endpoints().contains(&self.endpoint)) {
            return Ok(());
        }
        let (endpoint, region) = (self.endpoint.clone(), settings.region.clone());
        Err(Error::EndpointNotListed { endpoint, region, version: map.epoch().number })
    }

    /// Stores a file under a name that no object has, as long as the map stays in force.
    async fn store(&self, name: &str, path: &Path, map: &mut InForce<'_>) -> Result<(), Error> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let mut file = tokio::fs::File::open(path).await.map_err(io)?;
        // Of one that grows, what it has now.
        let bytes = file.metadata().await.map_err(io)?.len();
        let key = format!("{}{}", self.prefix, checked(name)?);
        let mut may = async |now: bool| {
            map.check(now).await.map_err(|error| {
                if let Error::NotBackedUp(why) = error { why } else { error.to_string() }
            })
        };
        let stored = self.bucket.store(&key, &mut file, bytes, &mut may).await;
        stored.map_err(|source| {
            if let object_store::Error::Stopped(why) = source {
                return Error::NotBackedUp(why);
            }
            of_bucket(name, source)
        })
    }

    /// Reads an object into a folder.
    async fn fetch(&self, name: &str, folder: &Path) -> Result<PathBuf, Error> {
        let path = folder.join(checked(name)?);
        let io = |source| Error::Io { path: path.clone(), source };
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        let mut file = file.map_err(|source| {
            if source.kind() != std::io::ErrorKind::AlreadyExists {
                return io(source);
            }
            let why = "a file of that name is there already: name each object once, and make no two \
                       backups in one second";
            Error::Backup { path: path.clone(), why: why.to_owned() }
        })?;
        let key = format!("{}{name}", self.prefix);
        let read = self.bucket.read(&key, &mut |bytes: &[u8]| file.write_all(bytes)).await;
        read.map_err(|source| of_bucket(name, source))?;
        Ok(path)
    }
}

/// A name that is one part of a path, and the same in every address.
fn checked(name: &str) -> Result<&str, Error> {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(letter);
    if fits && !name.starts_with('.') {
        return Ok(name);
    }
    let why = "its name is not one of letters, digits, '.', '-' and '_'".to_owned();
    Err(Error::Backup { path: format!("{IN_BUCKET}{name}").into(), why })
}

fn of_bucket(name: &str, source: object_store::Error) -> Error {
    Error::Bucket { name: format!("{IN_BUCKET}{name}"), source }
}

/// The map by which a server was found to be listed, for as long as it is in force at the shard.
struct InForce<'a> {
    settings: &'a Settings,
    outside: &'a Environment,
    map: MapRef,
    /// When the shard said so last.
    asked: Option<Instant>,
}

impl InForce<'_> {
    /// Asks the shard whether the map is still in force: `now`, or unless it has said so a moment ago.
    async fn check(&mut self, now: bool) -> Result<(), Error> {
        if !now && self.asked.is_some_and(|asked| asked.elapsed() < MAP_HOLDS_FOR) {
            return Ok(());
        }
        let asked = Instant::now();
        let found = map_now(self.settings, self.outside).await?;
        if found != self.map {
            let why = format!(
                "version {} of the region map came into force while the backup was made by version \
                 {}: it, or its copy of the file of erasures, is not stored. Make it again",
                found.epoch, self.map.epoch
            );
            return Err(Error::NotBackedUp(why));
        }
        self.asked = Some(asked);
        Ok(())
    }
}

/// A folder for one command. It goes with all that is in it.
#[derive(Debug)]
struct Work {
    path: PathBuf,
    /// Locked as long as the command runs: what is not locked was left by one that was killed.
    _lock: File,
}

impl Work {
    fn begin(scratch: &Path, data: Option<&Path>) -> Result<Self, Error> {
        directories::make(scratch)?;
        if let Some(data) = data.filter(|data| data.exists()) {
            directories::apart(data, scratch, "a backup")?;
        }
        let io = |source| Error::Io { path: scratch.to_owned(), source };
        // Another command neither begins nor removes anything while this is locked.
        let all = File::open(scratch).map_err(io)?;
        if all.metadata().map_err(io)?.permissions().mode() & 0o077 != 0 {
            let why = "other users have rights to this folder: chmod 700 it".to_owned();
            return Err(Error::Backup { path: scratch.to_owned(), why });
        }
        all.lock().map_err(io)?;
        for left in fs::read_dir(scratch).map_err(io)?.flatten() {
            let is_work = left.file_name().to_string_lossy().starts_with(WORK);
            if is_work && File::open(left.path()).is_ok_and(|left| left.try_lock().is_ok()) {
                fs::remove_dir_all(left.path()).ok();
            }
        }
        // In a container, each command may have the same number.
        let mut paths =
            (0_u32..).map(|n| scratch.join(format!("{WORK}{}-{n}", std::process::id())));
        let path = loop {
            let path = paths.next().ok_or(Error::Bug)?;
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                made => break made.map(|()| path).map_err(io)?,
            }
        };
        let lock = File::open(&path).map_err(io)?;
        lock.lock().map_err(io)?;
        Ok(Self { path, _lock: lock })
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.path).ok();
    }
}

/// Makes a backup in a bucket, under a name of its own. It is seen there only once it is whole, and was read
/// back. With `since`, it has only what has changed since that whole backup of the bucket. A copy of the file
/// of erasures follows it, under the same name that ends with `.erasures`.
///
/// # Errors
/// [`Error::EndpointNotListed`], before anything is sent; [`Error::NotBackedUp`], if another map came into
/// force meanwhile; [`Error::Bucket`]; as [`backup`](crate::backup()).
pub async fn backup_to_bucket(
    settings: &Settings,
    map: &RegionMap,
    annex: &Annex,
    outside: &Environment,
    to: &BackupBucket,
    since: Option<&str>,
) -> Result<MadeBackup, Error> {
    to.listed(map, settings)?;
    let work = Work::begin(&to.scratch, to.data.as_deref())?;
    let made = backup(settings, map, annex, outside, &work.path, None).await;
    let MadeBackup { path, mut backup } = made.map_err(|error| in_bucket(error, &work))?;
    // A running shard may have taken a newer map than the one of the configuration.
    let held = map_in_force(settings, map, &path)?;
    to.listed(&held, settings)?;
    let mut held = InForce { settings, outside, map: map_ref(&held), asked: None };
    let erasures = settings.erasures_path();
    if !erasures.try_exists().map_err(|source| Error::Io { path: erasures.clone(), source })? {
        let why = format!("the file of erasures is missing: {}", erasures.display());
        return Err(Error::NotBackedUp(why));
    }
    // Only now: reading the other one asks the server, too.
    if let Some(since) = since {
        held.check(true).await?;
        let base = to.fetch(since, &work.path).await.map_err(|error| in_bucket(error, &work))?;
        let reduced = reduce(settings, map.deployment(), &path, &base);
        backup = reduced.map_err(|error| in_bucket(error, &work))?;
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    to.store(name, &path, &mut held).await?;
    // After the backup: a restore refuses one that is older.
    let copy = Path::new(name).with_extension(ERASURES);
    to.store(&copy.to_string_lossy(), &erasures, &mut held).await?;
    Ok(MadeBackup { path: format!("{IN_BUCKET}{name}").into(), backup })
}

/// The map that was in force when a backup was made.
fn map_in_force(settings: &Settings, map: &RegionMap, backup: &Path) -> Result<RegionMap, Error> {
    let keyring = FileKeyring::open(&settings.keys, &settings.region, settings.guard().as_ref())?;
    let mut source = Source::open(settings, map.deployment(), &keyring, backup)?;
    let (mut held, mut newest) = (None, None);
    'rows: loop {
        let page = source.page()?;
        if page.is_empty() {
            break;
        }
        for (key, row) in page {
            if key.first().is_some_and(|first| *first > MAPS_TAKEN) {
                break 'rows;
            } else if key == keys::MAP {
                held = Some(decode_map(&row)?);
            } else if key.first() == Some(&MAPS_TAKEN) {
                newest = Some(row);
            }
        }
    }
    let damaged = || Error::Damaged("region maps");
    let held = held.ok_or_else(damaged)?;
    if held == map_ref(map) {
        return Ok(map.clone());
    }
    if settings.signers.is_none() {
        let why = format!(
            "the shard runs by version {} of the region map, and its configuration names version {}: \
             restart the shard",
            held.epoch,
            map.epoch().number
        );
        return Err(Error::NotBackedUp(why));
    }
    let taken = Taken::decode(&newest.ok_or_else(damaged)?)?;
    let offered = region_maps::open(taken.signed, settings.signers.as_ref())?;
    let in_force = RegionMap::clone(&offered.sealed.map);
    if map_ref(&in_force) == held { Ok(in_force) } else { Err(damaged()) }
}

/// A backup that was read from a bucket, with the one since which it has changes. Both are removed when
/// this is dropped.
#[derive(Debug)]
pub struct FetchedBackup {
    work: Work,
    path: PathBuf,
}

impl FetchedBackup {
    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads one more object of the bucket next to it: a copy of the file of erasures.
    ///
    /// # Errors
    /// [`Error::Bucket`]; [`Error::Backup`], of its name; [`Error::Io`].
    pub async fn also(&self, from: &BackupBucket, name: &str) -> Result<PathBuf, Error> {
        from.fetch(name, &self.work.path).await.map_err(|error| in_bucket(error, &self.work))
    }

    /// What is wrong with it, or with the one since which it has changes, by the name in the bucket.
    pub fn named(&self, error: Error) -> Error {
        in_bucket(error, &self.work)
    }
}

/// What is wrong with a backup that was read from the bucket, by its name there.
fn in_bucket(error: Error, work: &Work) -> Error {
    if let Error::Backup { path, why } = &error
        && path.starts_with(&work.path)
    {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        return Error::Backup { path: format!("{IN_BUCKET}{name}").into(), why: why.clone() };
    }
    error
}

/// Reads a backup from a bucket, and the one since which it has changes. Nothing is verified yet.
///
/// # Errors
/// [`Error::EndpointNotListed`], before anything is asked for; [`Error::Bucket`]; [`Error::Backup`];
/// [`Error::Keys`]; [`Error::Io`].
pub async fn fetch_backup(
    settings: &Settings,
    map: &RegionMap,
    from: &BackupBucket,
    name: &str,
) -> Result<FetchedBackup, Error> {
    from.listed(map, settings)?;
    let work = Work::begin(&from.scratch, from.data.as_deref())?;
    let path = from.fetch(name, &work.path).await?;
    let keyring = FileKeyring::open(&settings.keys, &settings.region, settings.guard().as_ref())?;
    let base = base_of(settings, map.deployment(), &keyring, &path);
    if let Some(base) = base.map_err(|error| in_bucket(error, &work))? {
        from.fetch(&base, &work.path).await.map_err(|error| in_bucket(error, &work))?;
    }
    Ok(FetchedBackup { work, path })
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_a_killed_command_has_left_goes_and_what_another_one_uses_stays() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = folder.path().join("scratch");
        let first = Work::begin(&scratch, None).unwrap();
        fs::write(first.path.join("a.backup"), "in use").unwrap();
        // As one that was killed leaves it: nothing has it locked.
        let left = scratch.join(format!("{WORK}1-0"));
        fs::create_dir(&left).unwrap();
        fs::write(left.join("b.backup"), "left").unwrap();
        let second = Work::begin(&scratch, None).unwrap();
        assert!(!left.exists());
        assert!(first.path != second.path && first.path.join("a.backup").exists());
        drop((first, second));
        assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_is_there_already_is_never_taken() {
        let folder = tempfile::tempdir().unwrap();
        let (scratch, other) = (folder.path().join("scratch"), folder.path().join("other"));
        fs::create_dir(&other).unwrap();
        directories::make(&scratch).unwrap();
        // Locked, so that it is not removed first.
        let _used = File::open(&other).map(|it| it.lock().map(|()| it)).unwrap().unwrap();
        let theirs = scratch.join(format!("{WORK}{}-0", std::process::id()));
        symlink(&other, &theirs).unwrap();
        let work = Work::begin(&scratch, None).unwrap();
        assert_ne!(work.path, theirs);
        assert!(work.path.symlink_metadata().unwrap().is_dir());
    }

    #[test]
    fn a_folder_that_others_may_use_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = folder.path().join("scratch");
        directories::make(&scratch).unwrap();
        for mode in [0o701, 0o750, 0o777, 0o1777] {
            fs::set_permissions(&scratch, Permissions::from_mode(mode)).unwrap();
            let refused = Work::begin(&scratch, None);
            assert!(matches!(refused, Err(Error::Backup { .. })), "{mode:o}");
        }
        fs::set_permissions(&scratch, Permissions::from_mode(0o700)).unwrap();
        assert!(Work::begin(&scratch, None).is_ok());
    }
}
