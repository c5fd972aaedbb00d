//! `bailiwick shard recover --accept-loss`: somebody has decided to go on with a store that lacks
//! what was signed. The loss is not hidden: a new period of the log begins, under a new key, and
//! its GENESIS names the old head, or says that nobody knows it any more.

use std::fs;
use std::sync::Arc;

use engine::{Batch, Engine};
use ledger::checkpoint::Checkpoint;
use ledger::entry::Detail;
use terms::UnixMillis;

use crate::clock::GuardedClock;
use crate::log::checkpoint_file::CheckpointFile;
use crate::log::checkpointer::signed_empty;
use crate::log::first_commit::FirstCommit;
use crate::log::{EdgeRow, Log};
use crate::startup::open::Opening;
use crate::store::identity::Identity;
use crate::store::keyring::FileKeyring;
use crate::store::types::Period;
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

/// Opens a new log period over whatever the store still holds.
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
    let (territory, path) = (opening.named()?, opening.anchor_path());
    settings.make_folders(&*outside.store)?;
    // An anchor that cannot be read says as little as one that is missing.
    let anchored = match CheckpointFile::open(&path) {
        Ok(anchored) => anchored,
        Err(Error::CheckpointFile { .. }) => None,
        Err(other) => return Err(other),
    };
    let signed = anchored.as_ref().and_then(|(_, note)| unverified(note));
    let ours = |head: &Checkpoint| head.origin.starts_with(&opening.origin_prefix());
    if let Some(foreign) = signed.as_ref().filter(|head| !ours(head)) {
        let (found, expected) = (foreign.origin.clone(), opening.origin_prefix());
        return Err(Error::ForeignStore { found, expected });
    }
    let keyring = FileKeyring::open(&settings.keys, &settings.region)?;
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
    let period_of = |head: &Checkpoint| head.origin.rsplit('/').next()?.parse::<u32>().ok();
    let of_store = identity.as_ref().map_or(0, |identity| identity.period.0);
    let of_anchor = signed.as_ref().and_then(period_of).unwrap_or(0);
    let period = Period(of_anchor.max(of_store).max(settings.last_log_key()?)).next();
    // Whatever happens next, no start takes the store for whole. What was refused until here has
    // changed nothing.
    set(&opening.recovering())?;
    let signer = opening.new_signer(period)?;
    let next = opening.identity(period, territory, &signer, &keyring);
    let mut batch = Batch::new();
    if identity.is_none() {
        opening.take_slots(&mut batch);
        generations::put(&mut batch, &keyring, &settings.region, &*outside.entropy)?;
    }
    let last = edge.as_ref().map_or(UnixMillis(0), |edge| edge.committed);
    let clock = GuardedClock::start(Arc::clone(&outside.clock), settings, last, edge.is_none());
    let first = FirstCommit {
        log: &Log::new(period, engine.head()?.size),
        identity: &next,
        details: vec![old_head(&opening, &*engine, signed.as_ref(), edge.as_ref())?],
        offered: &offered,
        key: None,
        now: clock.now().max(last),
    };
    first.commit(&*engine, batch)?;
    // After the commit: a crash in between leaves the old anchor, and the mark that keeps the
    // shard from starting on it.
    let empty = signed_empty(&signer)?;
    match anchored {
        Some((mut anchor, _)) => anchor.store(&empty)?,
        None => {
            set_aside(&path)?;
            drop(CheckpointFile::create(&path, &empty)?);
        }
    }
    remove(&opening.recovering())?;
    Ok(Recovered {
        signed: signed.map(|head| (head.origin, head.size)),
        found: edge.map(|edge| (opening.origins().of(edge.period), edge.size)),
        origin: signer.name().to_owned(),
        vkey: next.vkey,
    })
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
fn unverified(note: &str) -> Option<Checkpoint> {
    let (text, _) = note.rsplit_once("\n\n")?;
    Checkpoint::parse(&format!("{text}\n")).ok()
}

fn set(mark: &std::path::Path) -> Result<(), Error> {
    let io = |source| Error::Io { path: mark.to_owned(), source };
    fs::File::create(mark).and_then(|file| file.sync_all()).map_err(io)?;
    directories::sync_parent(mark)
}

fn remove(mark: &std::path::Path) -> Result<(), Error> {
    let io = |source| Error::Io { path: mark.to_owned(), source };
    fs::remove_file(mark).map_err(io)?;
    directories::sync_parent(mark)
}

/// Keeps an anchor that could not be read, under another name.
fn set_aside(path: &std::path::Path) -> Result<(), Error> {
    if path.exists() {
        let io = |source| Error::Io { path: path.to_owned(), source };
        fs::rename(path, path.with_extension("checkpoint.unreadable")).map_err(io)?;
    }
    Ok(())
}
