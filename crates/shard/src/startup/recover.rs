//! `bailiwick shard recover --accept-loss`: somebody has decided to go on with a store that lacks
//! what was signed. The loss is not hidden: a new period of the log begins, under a new key, and
//! its GENESIS names the old head, or says that nobody knows it any more.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::{Batch, Engine};
use ledger::checkpoint::Checkpoint;
use ledger::entry::{Detail, Entry};
use link::ops::health::Health;
use link::ops::metrics::Registry;
use terms::UnixMillis;

use crate::clock::GuardedClock;
use crate::log::checkpoint_file::CheckpointFile;
use crate::log::checkpointer::signed_empty;
use crate::log::erasure_file::{ErasureKey, each_erasure};
use crate::log::first_commit::FirstCommit;
use crate::log::{EdgeRow, Log};
use crate::metrics::Metrics;
use crate::startup::open::{Opening, RESTORE_BEGUN};
use crate::startup::shard::Parts;
use crate::store::identity::Identity;
use crate::store::keyring::FileKeyring;
use crate::store::types::{CommitAt, Minute, Period};
use crate::store::{directories, generations};
use crate::{Environment, Error, Settings};

/// What was given up, and where the log goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The head that was signed last: origin and entries. `None`: no checkpoint was left to say.
    pub signed: Option<(String, u64)>,
    /// The log that the store still has: origin and entries. `None`: there is none.
    pub found: Option<(String, u64)>,
    /// The origin of the new period.
    pub origin: String,
    /// The public key of the new period: give it to your auditors, and keep the old one.
    pub vkey: String,
}

/// Opens a new log period over what the store still holds. Then it erases again each subject and
/// collection that the file of erasures names, if the store still has it.
///
/// # Errors
/// [`Error`]. A recovery that failed half way keeps the shard from starting until a second call
/// has ended well; it names the same old head again.
pub fn recover(
    settings: &Settings,
    map: &atlas::RegionMap,
    annex: &atlas::Annex,
    outside: &Environment,
) -> Result<Recovered, Error> {
    let opening = Opening { settings, map, annex, outside };
    if fs::metadata(opening.recovering()).is_ok_and(|mark| mark.len() > 0) {
        let why = RESTORE_BEGUN;
        return Err(Error::CheckpointFile { path: opening.recovering(), why });
    }
    let begun = begin_after(&opening, None)?;
    let erasures = settings.erasures_path();
    let known = erasures.exists().then_some(erasures);
    erase_again(&opening, known.as_slice(), begun.since)?;
    remove(&opening.recovering())?;
    Ok(begun.recovered)
}

/// A period that has begun over what a store held.
pub(crate) struct Begun {
    pub(crate) recovered: Recovered,
    /// The end of the log that the store held.
    pub(crate) since: CommitAt,
}

/// What a restore adds to the beginning of a period.
pub(crate) struct AfterRestore {
    /// The newest head that is known of the log before.
    pub(crate) old_head: Checkpoint,
    /// The backup, by its number, and the head with which it ends.
    pub(crate) id: String,
    pub(crate) head: Checkpoint,
    /// Erasures that are known. `None`: it is not known who was erased after the backup.
    pub(crate) erasures: Option<u64>,
}

/// Begins a new period over what the store holds. The mark that keeps it from starting stays.
pub(crate) fn begin_after(
    opening: &Opening<'_>,
    restored: Option<AfterRestore>,
) -> Result<Begun, Error> {
    let Opening { settings, map, outside, .. } = opening;
    let (territory, path) = (opening.named()?, opening.anchor_path());
    settings.make_folders(&*outside.store)?;
    let anchored = anchored(opening)?;
    let signed = match &restored {
        Some(restored) => Some(restored.old_head.clone()),
        None => anchored.as_ref().and_then(|(_, note)| unverified(note)),
    };
    let keyring = FileKeyring::open(&settings.keys, &settings.region, settings.guard().as_ref())?;
    let engine = outside.store.open()?;
    let identity = Identity::read(&*engine)?;
    // A recovery does not bring an older map back either.
    let offered = match &identity {
        Some(_) => opening.start(&*engine)?.offered,
        None => opening.first_map()?,
    };
    let edge = match &identity {
        Some(identity) => {
            let (region, shard) = (&settings.region, &settings.shard);
            identity.expect(map.deployment(), region, shard, territory.as_str())?;
            opening.check_keyring(&*engine, identity, &keyring)?;
            Some(EdgeRow::read(&*engine)?)
        }
        None => None,
    };
    let of_store = identity.as_ref().map_or(0, |identity| identity.period.0);
    let of_anchor = signed.as_ref().and_then(period_of).unwrap_or(0);
    let period = Period(of_anchor.max(of_store).max(settings.last_log_key()?)).next();
    // Whatever happens next, no start takes the store for whole. What was refused until here has
    // changed nothing.
    if restored.is_none() {
        set(&opening.recovering(), "")?;
    }
    let signer = opening.new_signer(period)?;
    let next = opening.identity(period, territory, &signer, &keyring);
    let mut batch = Batch::new();
    if identity.is_none() {
        opening.take_slots(&mut batch);
        generations::put(&mut batch, &keyring, &settings.region, &*outside.entropy)?;
    }
    let last = edge.as_ref().map_or(UnixMillis(0), |edge| edge.committed);
    let clock = GuardedClock::start(Arc::clone(&outside.clock), settings, last, edge.is_none());
    let now = clock.now().max(last);
    let first = FirstCommit {
        log: &Log::new(period, engine.head()?.size),
        identity: &next,
        details: vec![old_head(opening, &*engine, signed.as_ref(), edge.as_ref())?],
        offered: &offered,
        also: restored.map(|AfterRestore { id, head, erasures, .. }| {
            Entry::restored(Minute::of(now).0, &id, &head, erasures)
        }),
        now,
    };
    first.commit(&*engine, batch)?;
    // After the commit: a crash in between leaves the old anchor, and the mark that keeps the
    // shard from starting on it.
    anchor(anchored, &path, &signed_empty(&signer)?)?;
    let since = edge.as_ref().map(|edge| CommitAt { period: edge.period, index: edge.size });
    let recovered = Recovered {
        signed: signed.map(|head| (head.origin, head.size)),
        found: edge.map(|edge| (opening.origins().of(edge.period), edge.size)),
        origin: signer.name().to_owned(),
        vkey: next.vkey,
    };
    let since = since.unwrap_or(CommitAt { period: Period(0), index: 0 });
    Ok(Begun { recovered, since })
}

/// Stores the first checkpoint of the new period.
fn anchor(
    anchored: Option<(CheckpointFile, String)>,
    path: &Path,
    empty: &str,
) -> Result<(), Error> {
    match anchored {
        Some((mut anchor, _)) => anchor.store(empty),
        None => {
            set_aside(path)?;
            CheckpointFile::create(path, empty).map(drop)
        }
    }
}

/// Erases again what these files name and the store still has, and returns how many that were. A
/// collection is erased only if its ERASE entry comes after `since`.
pub(crate) fn erase_again(
    opening: &Opening<'_>,
    files: &[PathBuf],
    since: CommitAt,
) -> Result<u64, Error> {
    let Opening { settings, outside, .. } = opening;
    let opened = opening.open_unended(false)?;
    let key = ErasureKey::new(settings, &opened.keyring);
    let metrics = Metrics::new(&mut Registry::new());
    let mut parts = Parts::new(settings, None, outside, metrics, opened, Health::new())?;
    let mut erased = 0;
    for file in files {
        each_erasure(file, &key, |known| {
            erased += u64::from(parts.committer.erase_again(&known, since)?);
            Ok(())
        })?;
    }
    parts.committer.signer.lock().sign()?;
    Ok(erased)
}

/// The checkpoint file, if there is one that can be read, and its note. One that cannot says as
/// little as one that is missing.
pub(crate) fn anchored(opening: &Opening<'_>) -> Result<Option<(CheckpointFile, String)>, Error> {
    let anchored = match CheckpointFile::open(&opening.anchor_path()) {
        Ok(anchored) => anchored,
        Err(Error::CheckpointFile { .. }) => None,
        Err(other) => return Err(other),
    };
    let head = anchored.as_ref().and_then(|(_, note)| unverified(note));
    let ours = |head: &Checkpoint| head.origin.starts_with(&opening.origin_prefix());
    if let Some(foreign) = head.filter(|head| !ours(head)) {
        let (found, expected) = (foreign.origin, opening.origin_prefix());
        return Err(Error::ForeignStore { found, expected });
    }
    Ok(anchored)
}

/// The period of the log that a checkpoint is of.
pub(crate) fn period_of(head: &Checkpoint) -> Option<u32> {
    head.origin.rsplit('/').next()?.parse().ok()
}

/// What GENESIS says of the log before it.
fn old_head(
    opening: &Opening<'_>,
    engine: &dyn Engine,
    signed: Option<&Checkpoint>,
    edge: Option<&EdgeRow>,
) -> Result<Detail, Error> {
    if let Some(Checkpoint { origin, size, root }) = signed {
        return Ok(Detail::OldHead { origin: origin.clone(), size: *size, root: *root });
    }
    let Some(edge) = edge else {
        let text = "neither store nor checkpoint of the log before this one was left";
        return Ok(Detail::Reason(text.to_owned()));
    };
    // The store's own word, which nothing confirms: the entry says so by its unsigned origin.
    let origin = format!("unsigned:{}", opening.origins().of(edge.period));
    let root = Log::restore(engine, edge)?.edge.root();
    Ok(Detail::OldHead { origin, size: edge.size, root })
}

/// The checkpoint of a note whose key may be lost with the store: its signature is not checked,
/// because the new period names what the anchor says, right or wrong, and auditors hold the
/// signed original.
pub(crate) fn unverified(note: &str) -> Option<Checkpoint> {
    let (text, _) = note.rsplit_once("\n\n")?;
    Checkpoint::parse(&format!("{text}\n")).ok()
}

pub(crate) fn set(mark: &Path, content: &str) -> Result<(), Error> {
    let replaced = link::host::files::replace(mark, content.as_bytes(), link::host::files::SECRET);
    replaced.map_err(|source| Error::Io { path: mark.to_owned(), source })
}

pub(crate) fn remove(mark: &Path) -> Result<(), Error> {
    let io = |source| Error::Io { path: mark.to_owned(), source };
    fs::remove_file(mark).map_err(io)?;
    directories::sync_parent(mark)
}

/// Keeps an anchor that could not be read, under another name.
fn set_aside(path: &Path) -> Result<(), Error> {
    if path.exists() {
        let io = |source| Error::Io { path: path.to_owned(), source };
        fs::rename(path, path.with_extension("checkpoint.unreadable")).map_err(io)?;
    }
    Ok(())
}
