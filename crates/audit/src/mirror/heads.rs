//! Whether a log that follows another one says of it what was mirrored of it.

use std::path::Path;

use ledger::entry::Entry;
use ledger::tree;

use super::folder_of;
use crate::Finding;
use crate::folder::{Error, Folder};
use crate::rules::{OldHead, old_head};

/// Compares what the first entry of each log below `place` says of the log before it with that
/// log's mirror, if there is one.
///
/// # Errors
/// [`Error`], when a log cannot be read.
pub fn old_heads(place: &Path) -> Result<Vec<Finding>, Error> {
    let logs = Folder::logs(place)?;
    let findings = logs.iter().map(|folder| old_head_of(place, folder).transpose());
    findings.flatten().collect()
}

/// The same for one log.
pub(super) fn old_head_of(place: &Path, folder: &Folder) -> Result<Option<Finding>, Error> {
    let key = folder.key()?;
    let size = match folder.checkpoint(&key) {
        Ok(at) => at.size,
        Err(Error::Missing(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some((_, first)) = folder.entries(size, 0, 1).next().transpose()? else { return Ok(None) };
    let head = Entry::decode(&first).ok().as_ref().and_then(old_head);
    let Some(head) = head else { return Ok(None) };
    let Some(older) = folder_of(place, &head.origin).filter(Folder::is_log) else {
        return Ok(None);
    };
    let what = contradiction(&older, &head)?;
    Ok(what.map(|what| Finding::new("", format!("{}: its first entry {what}", key.name()))))
}

/// What a head says that the mirror of its log does not.
fn contradiction(older: &Folder, head: &OldHead) -> Result<Option<String>, Error> {
    let OldHead { origin, size, root } = head;
    let mirrored = older.checkpoint(&older.key()?)?;
    if mirrored.size > *size {
        let ours = mirrored.size;
        return Ok(Some(format!("says that {origin} had {size} entries; {ours} were signed")));
    }
    if mirrored.size < *size {
        // What is mirrored of it is less: nothing can be said, and nothing contradicts it.
        return Ok(None);
    }
    let found = tree::root_at(*size, &mut older.tiles(mirrored.size)).ok();
    let same = found == Some(*root);
    Ok((!same).then(|| format!("says that {origin} had another root at {size} entries")))
}
