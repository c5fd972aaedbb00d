//! Whether a log that follows another one says of it what was mirrored of it.

use std::path::Path;

use ledger::{Checkpoint, Entry};

use crate::finding::Finding;
use crate::folder::{Error, Folder};
use crate::origin::Origin;

/// Compares what the first entry of each log below `place` says of the log before it with that
/// log's mirror. What cannot be compared is a finding, too. If `place` is the folder of one log,
/// the others are looked for beside it.
///
/// # Errors
/// [`Error`], when a log cannot be read.
pub fn old_heads(place: &Path) -> Result<Vec<Finding>, Error> {
    let logs = Folder::logs(place)?;
    let beside = Folder::at(place).is_log();
    let place = if beside { place.parent().unwrap_or(place) } else { place };
    let findings = logs.iter().map(|folder| old_head_of(place, folder).transpose());
    findings.flatten().collect()
}

/// The same for one log.
pub(super) fn old_head_of(place: &Path, folder: &Folder) -> Result<Option<Finding>, Error> {
    Ok(head_of(place, folder)?.map(|said| said.finding))
}

/// Whether the first entry of a log contradicts the mirror of the log before it. What cannot be compared
/// does not, and neither does a log that goes on from fewer entries, as after a restore.
///
/// # Errors
/// [`Error`], when a log cannot be read.
pub fn contradicted_head(place: &Path, folder: &Folder) -> Result<Option<Finding>, Error> {
    let said = head_of(place, folder)?.filter(|said| said.contradicts);
    Ok(said.map(|said| said.finding))
}

/// What is wrong between a log and the one before it.
struct Said {
    finding: Finding,
    /// Whether both cannot be true.
    contradicts: bool,
}

fn head_of(place: &Path, folder: &Folder) -> Result<Option<Said>, Error> {
    let key = folder.key()?;
    let size = match folder.checkpoint(&key) {
        Ok(at) => at.size,
        Err(Error::Missing(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some((_, first)) = folder.entries(size, 0, 1).next().transpose()? else { return Ok(None) };
    // What is no entry is a finding of its own; and only our logs have periods.
    let (Ok(first), Some(name)) = (Entry::decode(&first), Origin::parse(key.name())) else {
        return Ok(None);
    };
    let what = match first.old_head() {
        Some(head) => of_head(place, &name, &head)?,
        None if name.period == 1 => None,
        None => Some((false, lost(&first))),
    };
    Ok(what.map(|(contradicts, what)| Said {
        finding: Finding::new("", format!("{}: its first entry {what}", key.name())),
        contradicts,
    }))
}

/// A period that does not name the one before it.
fn lost(first: &Entry) -> String {
    match first.reason() {
        Some(reason) => format!("says no head of the log before it: accepted loss ({reason})"),
        None => "says nothing of the log before it".to_owned(),
    }
}

/// What is wrong with a head that a log names, or cannot be compared; and whether it contradicts a mirror.
fn of_head(
    place: &Path,
    own: &Origin<'_>,
    head: &Checkpoint,
) -> Result<Option<(bool, String)>, Error> {
    let origin = crate::shown(&head.origin);
    let earlier = Origin::parse(&head.origin)
        .is_some_and(|old| old.same_shard(own) && old.period < own.period);
    if !earlier {
        let what = format!("names {origin}, which is no earlier log of the same shard");
        return Ok(Some((true, what)));
    }
    let unmirrored = format!("cannot be checked: {origin}, the log before it, is not mirrored");
    let unmirrored = (false, unmirrored);
    let Some(older) = Folder::of_log(place, &head.origin) else { return Ok(Some(unmirrored)) };
    let mirrored = older.key().and_then(|key| older.checkpoint(&key));
    let mirrored = match mirrored {
        Ok(mirrored) => mirrored,
        Err(Error::Missing(_)) => return Ok(Some(unmirrored)),
        Err(error) => return Err(error),
    };
    if mirrored.origin != head.origin {
        return Ok(Some(unmirrored));
    }
    let (ours, theirs) = (mirrored.size, head.size);
    Ok(if ours > theirs {
        Some((false, format!("says that {origin} had {theirs} entries; {ours} were signed")))
    } else if ours < theirs {
        let what = format!(
            "cannot be checked yet: it says that {origin} had {theirs} entries, and {ours} are \
             mirrored"
        );
        Some((false, what))
    } else if mirrored.root != head.root {
        Some((true, format!("says that {origin} had another root at {theirs} entries")))
    } else {
        None
    })
}
