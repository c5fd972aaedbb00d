//! `bailiwick shard restore`: puts a backup into an empty store, and begins a new period of the log
//! over it. Those who were erased after the backup are erased again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use atlas::{Annex, RegionMap};
use engine::Batch;
use ledger::checkpoint::Checkpoint;
use terms::UnixMillis;

use crate::backup::check::{Checked, VerifiedBackup, check};
use crate::clock::GuardedClock;
use crate::log::EdgeRow;
use crate::log::erasure_file::{ErasureKey, each_erasure};
use crate::startup::open::Opening;
use crate::startup::recover::{
    AfterRestore, anchored, begin_after, erase_again, period_of, remove, set, unverified,
};
use crate::store::generations;
use crate::store::keyring::FileKeyring;
use crate::store::types::CommitAt;
use crate::{Environment, Error, Settings};

/// Milliseconds of a minute.
const MINUTE_MS: u64 = 60_000;

/// Where it stands who was erased after a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Erasures {
    /// In these files; empty: in the one beside the checkpoint.
    Known(Vec<PathBuf>),
    /// Nowhere: it is accepted that people come back who were erased.
    Unknown,
}

/// A store that was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What the backup has.
    pub backup: VerifiedBackup,
    /// The newest head that is known of the log before: origin and entries. What is in it and not in
    /// the backup is lost.
    pub old_head: (String, u64),
    /// People, and collections of people, that the backup had and that were erased again.
    pub erased_again: u64,
    /// The origin of the new period.
    pub origin: String,
    /// The public key of the new period: give it to your auditors, and keep the old one.
    pub vkey: String,
}

/// Restores a backup. Nothing is written before all of it was checked.
///
/// # Errors
/// [`Error`]. A restore that failed half way keeps the shard from starting; empty the store, and
/// restore again.
pub fn restore(
    settings: &Settings,
    map: &RegionMap,
    annex: &Annex,
    outside: &Environment,
    from: &Path,
    erasures: &Erasures,
) -> Result<Restored, Error> {
    let opening = Opening { settings, map, annex, outside };
    let territory = opening.named()?;
    settings.make_folders(&*outside.store)?;
    if outside.store.exists()? {
        return Err(Error::NotEmpty { place: outside.store.place() });
    }
    let keyring = FileKeyring::open(&settings.keys, &settings.region, settings.guard().as_ref())?;
    let checked = check(settings, map.deployment(), &keyring, from, &mut |_| Ok(()))?;
    let (region, shard) = (&settings.region, &settings.shard);
    checked.identity.expect(map.deployment(), region, shard, territory.as_str())?;
    let files = match erasures {
        Erasures::Known(files) if files.is_empty() => vec![settings.erasures_path()],
        Erasures::Known(files) => files.clone(),
        Erasures::Unknown => Vec::new(),
    };
    let known = known(settings, &keyring, &files, checked.erased)?;
    let began = UnixMillis(u64::from(checked.shown.minute) * MINUTE_MS);
    if GuardedClock::start(Arc::clone(&outside.clock), settings, began, false).ahead().is_some() {
        return Err(Error::ClockUnconfirmed);
    }
    let old_head = old_head(&opening, &checked)?;
    load(&opening, &keyring, from)?;
    let Checked { shown, checkpoint, .. } = checked;
    let erasures = (*erasures != Erasures::Unknown).then_some(known);
    let signed = (old_head.origin.clone(), old_head.size);
    let after = AfterRestore { old_head, id: shown.id.clone(), head: checkpoint, erasures };
    let begun = begin_after(&opening, Some(after))?;
    let erased_again = erase_again(&opening, &files, begun.since)?;
    remove(&opening.recovering())?;
    let (origin, vkey) = (begun.recovered.origin, begun.recovered.vkey);
    Ok(Restored { backup: shown, old_head: signed, erased_again, origin, vkey })
}

/// How many erasures the files name. Refused if all of them are older than the backup.
fn known(
    settings: &Settings,
    keyring: &FileKeyring,
    files: &[PathBuf],
    in_backup: Option<CommitAt>,
) -> Result<u64, Error> {
    let key = ErasureKey::new(settings, keyring);
    let (mut known, mut newest) = (0, None);
    for file in files {
        known += each_erasure(file, &key, |erasure| {
            newest = newest.max(Some(erasure.entry));
            Ok(())
        })?;
    }
    match files.first() {
        Some(path) if newest < in_backup => {
            let why = "it is older than the backup, which lists erasures that are not in it";
            Err(Error::Erasures { path: path.clone(), why: why.to_owned() })
        }
        _ => Ok(known),
    }
}

/// The newest head that is known of the log, and the mark that keeps the store from starting. A
/// restore that is begun again finds the head in that mark.
fn old_head(opening: &Opening<'_>, checked: &Checked) -> Result<Checkpoint, Error> {
    let mark = opening.recovering();
    let before = fs::read_to_string(&mark).ok().filter(|note| !note.is_empty());
    let note = match before {
        Some(note) => Some(note),
        None => anchored(opening)?.map(|(_, note)| note),
    };
    let signed = note.as_deref().and_then(unverified);
    let place = |head: &Checkpoint| (period_of(head), head.size);
    let heads = signed.into_iter().chain([checked.checkpoint.clone()]);
    let newest = heads.max_by_key(place).unwrap_or_else(|| checked.checkpoint.clone());
    set(&mark, note.as_deref().unwrap_or("no checkpoint was left\n"))?;
    Ok(newest)
}

/// Fills the store. Its identity and its head come last, so that a part of it opens as no store.
fn load(opening: &Opening<'_>, keyring: &FileKeyring, from: &Path) -> Result<(), Error> {
    let Opening { settings, map, outside, .. } = opening;
    let engine = outside.store.open()?;
    let term = engine.head()?;
    let mut last = Batch::new();
    let checked = check(settings, map.deployment(), keyring, from, &mut |rows| {
        let mut batch = Batch::new();
        for (key, value) in rows {
            match key.first() {
                Some(0x01) => last.put(key, value),
                // The keyring may have lost or won generations since.
                Some(0x05) => {}
                _ => batch.put(key, value),
            }
        }
        Ok(engine.commit(batch, term, 0)?)
    })?;
    generations::put(&mut last, keyring, &settings.region, &*outside.entropy)?;
    let log = EdgeRow::read(&*engine)?;
    if (log.period, log.size) != (checked.identity.period, checked.checkpoint.size) {
        return Err(Error::Damaged("placement log"));
    }
    Ok(engine.commit(last, term, log.base + log.size)?)
}
