//! `bailiwick shard restore`: puts a backup into an empty store, and begins a new period of the log
//! over it. Those who were erased after the backup are erased again.

use std::path::Path;
use std::sync::Arc;

use atlas::{Annex, RegionMap};
use engine::Batch;
use ledger::checkpoint::Checkpoint;
use terms::UnixMillis;

use crate::backup::check::{Checked, VerifiedBackup, check};
use crate::clock::GuardedClock;
use crate::log::EdgeRow;
use crate::log::checkpoint_file::unverified;
use crate::log::erasure_file::What;
use crate::log::known_erasures::{Erasures, all_known, keep_all, refuse_copies_alone};
use crate::startup::open::Opening;
use crate::startup::recover::{
    AfterRestore, Before, ErasedAgain, anchored, begin_after, erase_again, place, remove, set,
};
use crate::startup::recovery_mark;
use crate::startup::recovery_mark::{Mark, Restoring};
use crate::store::keyring::{FileKeyring, Keyring as _};
use crate::store::{attachment, generations};
use crate::{Environment, Error, Settings};

/// Milliseconds of a minute.
const MINUTE_MS: u64 = 60_000;

/// A store that was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What the backup has.
    pub backup: VerifiedBackup,
    /// The newest head that is known of the log before: origin and entries. What is in it and not in
    /// the backup is lost.
    pub old_head: (String, u64),
    /// What was erased again.
    pub again: ErasedAgain,
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
    let mark = recovery_mark::read(&opening.recovering())?;
    let missing = !settings.erasures_path().exists();
    let noted_lost = mark.as_ref().is_some_and(Mark::erasures_lost);
    let erasures_lost = missing || noted_lost || *erasures == Erasures::Unknown;
    let known = all_known(settings, &keyring, erasures, false)?;
    let newest = known.last().map(|known| known.entry);
    if *erasures != Erasures::Unknown && newest < checked.erased {
        let path = settings.erasures_path();
        let why = "it and all files that were given are older than the backup, which lists erasures \
                   that are not in them";
        return Err(Error::Erasures { path, why: why.to_owned() });
    }
    if erasures_lost {
        refuse_copies_alone(settings, erasures)?;
    }
    let began = UnixMillis(u64::from(checked.shown.minute) * MINUTE_MS);
    if GuardedClock::start(Arc::clone(&outside.clock), settings, began, false).ahead().is_some() {
        return Err(Error::ClockUnconfirmed);
    }
    let old_head = old_head(&opening, &checked, mark, erasures_lost)?;
    // A restore that is begun again, without the files of this one, finds them all in its own.
    if !known.is_empty() {
        keep_all(settings, &keyring, &known, &*outside.entropy)?;
    }
    load(&opening, &keyring, from, &checked.shown)?;
    let Checked { shown, checkpoint, .. } = checked;
    // Subjects that came are no erasures.
    let erased = known.iter().filter(|one| !matches!(one.what, What::Returned | What::Taken(_)));
    let count = u64::try_from(erased.count()).unwrap_or(u64::MAX);
    let erasures = (!erasures_lost).then_some(count);
    let signed = (old_head.origin.clone(), old_head.size);
    let after = AfterRestore { old_head, id: shown.id.clone(), head: checkpoint, erasures };
    let begun = begin_after(&opening, &keyring, Before::Restore(after), newest)?;
    let again = erase_again(&opening, &known, begun.since)?;
    remove(&opening.recovering())?;
    let (origin, vkey) = (begun.recovered.origin, begun.recovered.vkey);
    Ok(Restored { backup: shown, old_head: signed, again, origin, vkey })
}

/// The newest head that is known of the log, and the mark that keeps the store from starting. A
/// restore that is begun again finds the head in that mark.
fn old_head(
    opening: &Opening<'_>,
    checked: &Checked,
    mark: Option<Mark>,
    erasures_lost: bool,
) -> Result<Checkpoint, Error> {
    let before = match mark {
        Some(Mark::Restore(Restoring { note, .. })) => Some(note),
        Some(Mark::Recovery(given_up)) => given_up.note,
        None => None,
    };
    let note = match before {
        Some(note) => Some(note),
        None => anchored(opening)?.map(|(_, note)| note),
    };
    let signed = note.as_deref().and_then(unverified);
    let heads = signed.into_iter().chain([checked.checkpoint.clone()]);
    let newest = heads.max_by_key(place).unwrap_or_else(|| checked.checkpoint.clone());
    let note = note.unwrap_or_else(|| "no checkpoint was left\n".to_owned());
    set(&opening.recovering(), &Restoring { note, erasures_lost }.text())?;
    Ok(newest)
}

/// Fills the store. Its identity and its head come last, so that a part of it opens as no store.
/// `first`: the backup that was checked before, which must be this one.
fn load(
    opening: &Opening<'_>,
    keyring: &FileKeyring,
    from: &Path,
    first: &VerifiedBackup,
) -> Result<(), Error> {
    let Opening { settings, map, outside, .. } = opening;
    let engine = outside.store.open()?;
    let term = engine.head()?;
    let mut last = Batch::new();
    let held = keyring.generations();
    let checked = check(settings, map.deployment(), keyring, from, &mut |rows| {
        let mut batch = Batch::new();
        for (key, value) in rows {
            if attachment::discard_lost(&mut batch, &key, &value, &held) {
                continue;
            }
            match key.first() {
                Some(0x01) => last.put(key, value),
                // The keyring may have lost or won generations since.
                Some(0x05) => {}
                _ => batch.put(key, value),
            }
        }
        Ok(engine.commit(batch, term, 0)?)
    })?;
    let refused = |why: &str| Error::Backup { path: from.to_owned(), why: why.to_owned() };
    if checked.shown != *first {
        let why = "it was replaced while it was restored. Empty the store, and restore again";
        return Err(refused(why));
    }
    generations::put(&mut last, keyring, &settings.region, &*outside.entropy)?;
    let log = EdgeRow::read(&*engine)?;
    if (log.period, log.size) != (checked.identity.period, checked.checkpoint.size) {
        return Err(refused("its log does not end with its checkpoint"));
    }
    Ok(engine.commit(last, term, log.base + log.size)?)
}
