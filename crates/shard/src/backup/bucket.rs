//! Backups in a bucket of an S3-compatible server at the region's site.
//!
//! A backup is made and verified in a folder of this machine first, as any other is. It is then sent as it
//! is, and read back. So the server sees sealed bytes alone, and a slow one keeps no view of the store open.
//! A backup leaves for no server that the region map does not list, in the map that the configuration
//! names, and in the one that was in force when it was made.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use atlas::{Annex, Endpoint, RegionMap};
use link::net::object_store::{self, Bucket};

use crate::backup::create::{MadeBackup, backup};
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

    /// Stores a file under a name that no object has.
    async fn store(&self, name: &str, path: &Path) -> Result<(), Error> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let mut file = tokio::fs::File::open(path).await.map_err(io)?;
        // Of one that grows, what it has now.
        let bytes = file.metadata().await.map_err(io)?.len();
        let key = format!("{}{}", self.prefix, checked(name)?);
        let stored = self.bucket.store(&key, &mut file, bytes).await;
        stored.map_err(|source| of_bucket(name, source))
    }

    /// Reads an object into a folder.
    async fn fetch(&self, name: &str, folder: &Path) -> Result<PathBuf, Error> {
        let path = folder.join(checked(name)?);
        let io = |source| Error::Io { path: path.clone(), source };
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        let mut file = file.map_err(io)?;
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

/// A folder for one command. It goes with all that is in it.
#[derive(Debug)]
struct Work(PathBuf);

impl Work {
    fn begin(of: &BackupBucket) -> Result<Self, Error> {
        directories::make(&of.scratch)?;
        if let Some(data) = of.data.as_ref().filter(|data| data.exists()) {
            directories::apart(data, &of.scratch, "a backup")?;
        }
        let path = of.scratch.join(format!(".bucket-{}", std::process::id()));
        // One that was left by a command that was killed, and had the same number.
        fs::remove_dir_all(&path).ok();
        directories::make(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// Makes a backup in a bucket, under a name of its own. It is seen there only once it is whole, and was read
/// back. With `since`, it has only what has changed since that whole backup of the bucket. A copy of the file
/// of erasures follows it, under the same name that ends with `.erasures`.
///
/// # Errors
/// [`Error::EndpointNotListed`], before anything is sent; [`Error::Bucket`]; as
/// [`backup`](crate::backup()).
pub async fn backup_to_bucket(
    settings: &Settings,
    map: &RegionMap,
    annex: &Annex,
    outside: &Environment,
    to: &BackupBucket,
    since: Option<&str>,
) -> Result<MadeBackup, Error> {
    to.listed(map, settings)?;
    let work = Work::begin(to)?;
    let base = match since {
        Some(name) => Some(to.fetch(name, &work.0).await?),
        None => None,
    };
    let made = backup(settings, map, annex, outside, &work.0, base.as_deref()).await;
    let MadeBackup { path, backup } = made.map_err(|error| in_bucket(error, &work))?;
    // A running shard may have taken a newer map than the one of the configuration.
    to.listed(&map_in_force(settings, map, &path)?, settings)?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    to.store(name, &path).await?;
    // After the backup: a restore refuses one that is older.
    let erasures = settings.erasures_path();
    if erasures.exists() {
        to.store(&Path::new(name).with_extension(ERASURES).to_string_lossy(), &erasures).await?;
    }
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
        from.fetch(name, &self.work.0).await
    }

    /// What is wrong with it, or with the one since which it has changes, by the name in the bucket.
    pub fn named(&self, error: Error) -> Error {
        in_bucket(error, &self.work)
    }
}

/// What is wrong with a backup that was read from the bucket, by its name there.
fn in_bucket(error: Error, work: &Work) -> Error {
    if let Error::Backup { path, why } = &error
        && path.starts_with(&work.0)
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
    let work = Work::begin(from)?;
    let path = from.fetch(name, &work.0).await?;
    let keyring = FileKeyring::open(&settings.keys, &settings.region, settings.guard().as_ref())?;
    let base = base_of(settings, map.deployment(), &keyring, &path);
    if let Some(base) = base.map_err(|error| in_bucket(error, &work))? {
        from.fetch(&base, &work.0).await?;
    }
    Ok(FetchedBackup { work, path })
}
