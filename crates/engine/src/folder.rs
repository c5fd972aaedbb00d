//! The folder of an embedded store, held for one opening.
//!
//! ```text
//! LOCK      held exclusively while the store is open
//! FORMAT    which engine, which version of the layout
//! store/    the engine's own files
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise, statvfs};

use crate::{Error, Kind, Space};

/// Version of the layout of the folder and of the rows in the store.
const FORMAT_VERSION: &str = "1";

/// The marker while the store is being created. fjall cannot go on with a creation that was cut
/// short, so one that is found with this marker alone, and which nobody can have used, starts again.
const UNFINISHED: &str = "FORMAT.new";

/// Bytes that must be free to open a store.
const OPEN_BYTES_MIN: u64 = 4 * 1024 * 1024;

/// How many times a commit's bytes must be free: the log, the flush of it, and room beside.
const COMMIT_SPACE_FACTOR: u64 = 3;

/// An open and locked folder. The lock goes when this is dropped, so it must be dropped after the
/// store.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    kind: Kind,
    _lock: File,
}

impl Folder {
    /// Creates the folder if it is missing, locks it, and checks that it is a store of `kind`.
    pub(crate) fn open(path: &Path, kind: Kind) -> Result<Self, Error> {
        create(path)?;
        let lock = lock(path)?;
        match read_format(path, kind)? {
            Found::Ours => {}
            Found::Nothing => begin(path, kind)?,
        }
        Ok(Self { path: path.to_path_buf(), kind, _lock: lock })
    }

    /// Ends a creation: from now on the store counts as one, and is never made again. Called once
    /// the first term is durable, and before anything can have been acknowledged.
    pub(crate) fn finish(&self) -> Result<(), Error> {
        let (path, new) = (self.path.join("FORMAT"), self.path.join(UNFINISHED));
        if path.exists() {
            return Ok(());
        }
        fs::rename(&new, &path).map_err(|e| Error::io("write", &path, &e))?;
        sync_folder(&self.path)
    }

    /// Where the engine's own files are.
    pub(crate) fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    /// The room on its disk.
    pub(crate) fn space(&self) -> Result<Space, Error> {
        space(&self.path, self.kind)
    }

    /// Refuses to open where not even the engine's small files have room. With less than a commit
    /// needs it opens all the same: opening, and what the engine clears away then, frees space.
    pub(crate) fn check_open_space(&self) -> Result<(), Error> {
        let (free, needed) = (free_bytes(&self.path)?, OPEN_BYTES_MIN);
        if free < needed {
            return Err(Error::Full { folder: self.path.clone(), free, needed });
        }
        Ok(())
    }

    /// Refuses a commit for which the disk has no room, before anything is written: neither engine
    /// survives a full disk in the middle of a write.
    pub(crate) fn check_space(&self, batch_bytes: usize) -> Result<(), Error> {
        let free = free_bytes(&self.path)?;
        let batch_bytes = u64::try_from(batch_bytes).unwrap_or(u64::MAX);
        let needed = batch_bytes
            .saturating_mul(COMMIT_SPACE_FACTOR)
            .saturating_add(self.kind.free_bytes_min());
        if free < needed {
            return Err(Error::Full { folder: self.path.clone(), free, needed });
        }
        Ok(())
    }

    /// Makes everything in the store's folder durable: the files, and the names in each folder.
    /// Neither library syncs all of its small files and folders when it opens.
    pub(crate) fn sync_all(&self) -> Result<(), Error> {
        walk(&self.store(), &mut |entry| {
            let file = File::open(entry).map_err(|e| Error::io("open", entry, &e))?;
            file.sync_all().map_err(|e| Error::io("sync", entry, &e))
        })?;
        sync_folder(&self.path)
    }

    /// Drops the kernel's copies of the store's files. After a failed sync the kernel may hold
    /// pages as clean that never reached the disk: the next opening must read the disk, not them.
    /// Nothing more can be done when this fails too, so its failures are ignored.
    pub(crate) fn drop_cached_pages(&self) {
        let outcome = walk(&self.store(), &mut |entry| {
            if let Ok(file) = File::open(entry) {
                let _best_effort = fadvise(&file, 0, None, Advice::DontNeed);
            }
            Ok(())
        });
        drop(outcome);
    }
}

/// Whether a folder holds a store, or the beginnings of one. It is not opened.
pub(crate) fn exists(folder: &Path) -> bool {
    ["FORMAT", UNFINISHED, "store"].iter().any(|name| folder.join(name).exists())
}

/// Bytes that an unprivileged process may still write on the disk that holds `path`.
///
/// # Errors
/// [`Error::Io`].
pub fn free_bytes(path: &Path) -> Result<u64, Error> {
    disk(path).map(|(free, _)| free)
}

/// The room on the disk of a store, without what its engine may take for itself.
pub(crate) fn space(path: &Path, kind: Kind) -> Result<Space, Error> {
    let (free, total) = disk(path)?;
    Ok(Space { free, total, commit_min: kind.free_bytes_min(), work: 0 })
}

/// Bytes of the disk that holds `path`: free ones, and all.
fn disk(path: &Path) -> Result<(u64, u64), Error> {
    let stat = statvfs(path).map_err(|e| Error::io("measure", path, &e.into()))?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok((bytes(stat.f_bavail), bytes(stat.f_blocks)))
}

/// Creates a folder that only its owner may enter, and makes its name durable.
fn create(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Ok(());
    }
    let builder = |recursive| {
        let mut builder = DirBuilder::new();
        builder.recursive(recursive).mode(0o700);
        builder
    };
    builder(true).create(path).map_err(|e| Error::io("create", path, &e))?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => sync_folder(Path::new(".")),
    }
}

fn sync_folder(path: &Path) -> Result<(), Error> {
    let folder = File::open(path).map_err(|e| Error::io("open", path, &e))?;
    folder.sync_all().map_err(|e| Error::io("sync", path, &e))
}

fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join("LOCK");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|e| Error::io("open", &path, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { path }),
        Err(TryLockError::Error(e)) => Err(Error::io("lock", &path, &e)),
    }
}

enum Found {
    Ours,
    Nothing,
}

/// Reads the marker. Without one the folder must hold nothing but what [`Folder::open`] makes
/// before it, so that no other program's folder is ever taken.
fn read_format(folder: &Path, kind: Kind) -> Result<Found, Error> {
    let foreign =
        |why| Error::Foreign { folder: folder.to_path_buf(), expected: kind.as_str(), why };
    let path = folder.join("FORMAT");
    let mut text = String::new();
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            if folder.join(UNFINISHED).exists() {
                return Ok(Found::Nothing);
            }
            if folder.join("store").exists() {
                return Err(foreign("its FORMAT file is missing"));
            }
            let entries = fs::read_dir(folder).map_err(|e| Error::io("list", folder, &e))?;
            for entry in entries {
                let entry = entry.map_err(|e| Error::io("list", folder, &e))?;
                if entry.file_name() != "LOCK" {
                    return Err(foreign("it holds files that are not a store's"));
                }
            }
            return Ok(Found::Nothing);
        }
        Err(e) => return Err(Error::io("open", &path, &e)),
    };
    file.take(64).read_to_string(&mut text).map_err(|e| Error::io("read", &path, &e))?;
    match text.trim_end().split_once(' ') {
        Some((name, FORMAT_VERSION)) if name == kind.as_str() => Ok(Found::Ours),
        Some((name, FORMAT_VERSION)) if Kind::parse(name).is_some() => {
            Err(foreign("it was made by another engine"))
        }
        Some((name, _)) if Kind::parse(name).is_some() => Err(foreign("it has another version")),
        _ => Err(Error::damaged(&path, "the marker is not one")),
    }
}

/// Begins a creation, or begins it again: the marker of one, then an empty folder for the store.
fn begin(folder: &Path, kind: Kind) -> Result<(), Error> {
    let (new, store) = (folder.join(UNFINISHED), folder.join("store"));
    let write = || {
        let mut file = File::create(&new)?;
        file.write_all(format!("{} {FORMAT_VERSION}\n", kind.as_str()).as_bytes())?;
        file.sync_all()
    };
    write().map_err(|e| Error::io("write", &new, &e))?;
    sync_folder(folder)?;
    if store.exists() {
        fs::remove_dir_all(&store).map_err(|e| Error::io("remove", &store, &e))?;
    }
    create(&store)
}

/// Calls `visit` with every file and then every folder below and including `folder`.
fn walk(folder: &Path, visit: &mut dyn FnMut(&Path) -> Result<(), Error>) -> Result<(), Error> {
    let entries = fs::read_dir(folder).map_err(|e| Error::io("list", folder, &e))?;
    for entry in entries {
        let entry = entry.map_err(|e| Error::io("list", folder, &e))?;
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&path, visit)?,
            Ok(_) => match visit(&path) {
                // The libraries remove files of their own accord, in the background.
                Err(Error::Io { cause: ErrorKind::NotFound, .. }) => {}
                outcome => outcome?,
            },
            Err(e) => return Err(Error::io("list", &path, &e)),
        }
    }
    visit(folder)
}
