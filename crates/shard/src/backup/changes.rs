//! Makes of a whole backup one that has only what has changed since another whole one.

use std::cmp::Ordering;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use engine::{Key, Value};

use crate::backup::check::{VerifiedBackup, verify_backup};
use crate::backup::format::{BASE, CHANGES, Changes, Format, FrameKey, MANIFEST, encode_base};
use crate::backup::source::Whole;
use crate::store::keyring::FileKeyring;
use crate::{Error, Settings};

/// Bytes of changes in a frame, if one change has not more.
const FRAME_BYTES: usize = 1 << 20;

/// Replaces the whole backup in the file `whole` by what has changed since the one in `base`. It lies in
/// the same folder, where a restore looks for it. What is left is read back with it.
///
/// # Errors
/// [`Error::NotBackedUp`], [`Error::Backup`], [`Error::Keys`], [`Error::Io`]: `whole` is what it was.
pub(super) fn reduce(
    settings: &Settings,
    deployment: &str,
    whole: &Path,
    base: &Path,
) -> Result<VerifiedBackup, Error> {
    let absolute = |path: &Path| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        fs::canonicalize(folder.unwrap_or_else(|| Path::new(".")))
    };
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { path, source }
    };
    if absolute(base).map_err(io(base))? != absolute(whole).map_err(io(whole))? {
        let why = "the backup since which the changes are wanted is not in the folder of backups, \
                   where a restore looks for it";
        return Err(Error::NotBackedUp(why.to_owned()));
    }
    let reduced = whole.with_extension("changes");
    let made = write(settings, deployment, whole, base, &reduced);
    let made = made.and_then(|()| verify_backup(settings, deployment, &reduced));
    let made = made.and_then(|verified| {
        fs::rename(&reduced, whole).map_err(io(&reduced))?;
        Ok(verified)
    });
    if made.is_err() {
        fs::remove_file(&reduced).ok();
    }
    made
}

fn write(
    settings: &Settings,
    deployment: &str,
    whole: &Path,
    base: &Path,
    to: &Path,
) -> Result<(), Error> {
    let keyring = FileKeyring::open(&settings.keys, &settings.region, settings.guard().as_ref())?;
    let mut old = Whole::open(settings, deployment, &keyring, base)?;
    let mut new = Whole::open(settings, deployment, &keyring, whole)?;
    let name = base.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Error::NotBackedUp("its name is not text".to_owned()))?;
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(to);
    let file = file.map_err(|source| Error::Io { path: to.to_owned(), source })?;
    let (key, beginning) = FrameKey::begin(&keyring, &new.frames.header, Format::Changes);
    let mut out = Out { key, file, number: 0, ready: Vec::new(), bytes: 0 };
    out.put(&beginning)?;
    out.frame(BASE, &encode_base(name, old.frames.header.id))?;
    loop {
        old.fill()?;
        new.fill()?;
        let order = match (old.rows.front(), new.rows.front()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((before, _)), Some((after, _))) => before.cmp(after),
        };
        let before = if order == Ordering::Greater { None } else { old.rows.pop_front() };
        let after = if order == Ordering::Less { None } else { new.rows.pop_front() };
        match (before, after) {
            (before, Some(after)) if before.as_ref() == Some(&after) => {}
            (_, Some((key, value))) => out.change(key, Some(value))?,
            (Some((key, _)), None) => out.change(key, None)?,
            (None, None) => {}
        }
    }
    out.flush()?;
    let manifest = new.manifest.ok_or(Error::Damaged("store"))?;
    out.frame(MANIFEST, &manifest.encode())?;
    out.file.sync_all().map_err(|error| Error::NotBackedUp(error.to_string()))
}

/// The file that is written, a frame at a time.
struct Out {
    key: FrameKey,
    file: File,
    number: u64,
    /// Changes that are in no frame yet, and their bytes.
    ready: Vec<(Key, Option<Value>)>,
    bytes: usize,
}

impl Out {
    fn change(&mut self, key: Key, value: Option<Value>) -> Result<(), Error> {
        let bytes = key.len() + value.as_ref().map_or(0, Vec::len);
        if self.bytes + bytes > FRAME_BYTES {
            self.flush()?;
        }
        self.bytes += bytes;
        self.ready.push((key, value));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.ready.is_empty() {
            return Ok(());
        }
        let changes = Changes(std::mem::take(&mut self.ready));
        self.bytes = 0;
        self.frame(CHANGES, &changes.encode())
    }

    fn frame(&mut self, kind: u8, plain: &[u8]) -> Result<(), Error> {
        self.number += 1;
        let frame = self.key.seal(kind, self.number, plain);
        self.put(&frame)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|error| Error::NotBackedUp(error.to_string()))
    }
}
