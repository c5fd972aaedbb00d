//! Folders and the disk under them.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use engine::Backend;

use crate::{Error, Settings};

impl Settings {
    /// Makes the folders that are missing, the store's among them, and refuses keys or checkpoints
    /// inside the store's folder. Opening does it, too; a process that means to shut itself off from
    /// every other folder calls it before it does.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Folders`].
    pub fn make_folders(&self, store: &dyn Backend) -> Result<(), Error> {
        [&self.anchor, &self.keys].into_iter().try_for_each(|folder| make(folder))?;
        let Some(data) = store.folder() else { return Ok(()) };
        make(data)?;
        apart(data, &self.anchor, "the last signed checkpoint")?;
        apart(data, &self.keys, "the keyring")
    }
}

/// Makes a folder, readable by its owner only, with those above it, and makes its name durable.
pub(crate) fn make(folder: &Path) -> Result<(), Error> {
    let io = |source| Error::Io { path: folder.to_owned(), source };
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        make(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(io(error)),
        _ => {}
    }
    let parent = parent.unwrap_or_else(|| Path::new("."));
    fs::File::open(parent).and_then(|parent| parent.sync_all()).map_err(io)
}

/// Makes the name of a file durable in its folder.
pub(crate) fn sync_parent(file: &Path) -> Result<(), Error> {
    let folder = file.parent().unwrap_or_else(|| Path::new("."));
    let io = |source| Error::Io { path: folder.to_owned(), source };
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)
}

/// Refuses `inner` if it lies in `outer`: what must survive the loss of a folder may not be in it.
pub(crate) fn apart(outer: &Path, inner: &Path, what: &'static str) -> Result<(), Error> {
    let absolute = |path: &Path| {
        fs::canonicalize(path).map_err(|source| Error::Io { path: path.to_owned(), source })
    };
    if absolute(inner)?.starts_with(absolute(outer)?) {
        return Err(Error::Folders { path: inner.to_owned(), what });
    }
    Ok(())
}
