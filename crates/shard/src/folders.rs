//! Folders and the disk under them.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use crate::Error;

/// Makes a folder, readable by its owner only, with those above it, and makes its name durable.
pub(crate) fn make(folder: &Path) -> Result<(), Error> {
    let io = |source| Error::Io { path: folder.to_owned(), source };
    if folder.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
    match folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => fs::File::open(parent).and_then(|parent| parent.sync_all()).map_err(io),
        None => Ok(()),
    }
}

/// Whether there is nothing in a folder.
pub(crate) fn is_empty(folder: &Path) -> Result<bool, Error> {
    let io = |source| Error::Io { path: folder.to_owned(), source };
    Ok(fs::read_dir(folder).map_err(io)?.next().is_none())
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
