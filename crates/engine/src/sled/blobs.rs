//! The files that sled writes beside its log, and never syncs.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// sled's folder for large records, which it never syncs.
#[derive(Debug)]
pub(super) struct Blobs {
    folder: PathBuf,
    synced: Mutex<HashSet<OsString>>,
}

impl Blobs {
    /// Those of the store in `store`, none of them known to be durable.
    pub(super) fn new(store: &Path) -> Self {
        Self { folder: store.join("blobs"), synced: Mutex::default() }
    }

    /// Syncs the files that appeared since the last time. There should be none.
    pub(super) fn sync(&self) -> io::Result<()> {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        let mut here = HashSet::new();
        let mut appeared = false;
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            if !synced.contains(&name) {
                match File::open(self.folder.join(&name)) {
                    Ok(file) => file.sync_all()?,
                    // sled removed it: nothing refers to it any more.
                    Err(e) if e.kind() == ErrorKind::NotFound => continue,
                    Err(e) => return Err(e),
                }
                appeared = true;
            }
            here.insert(name);
        }
        *synced = here;
        if appeared { File::open(&self.folder)?.sync_all() } else { Ok(()) }
    }
}
