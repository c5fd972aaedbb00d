//! A period of the log ends, and the next begins: a SEAL entry, a last checkpoint over it, then a
//! new key and a new origin, whose GENESIS names the old head. Nothing is lost or forgotten: the
//! sealed log is served on, under its own key.
//!
//! Each step may be the last before a crash. After the SEAL, every start goes on from there, and
//! nothing else is ever written into that period.

use engine::{Batch, Engine};
use ledger::checkpoint::Checkpoint;
use ledger::entry::{Detail, Entry, Kind};

use crate::log::checkpointer::{extend, signed_empty};
use crate::log::closed_periods::Sealed;
use crate::log::{Draft, Log, edge_at};
use crate::startup::open::{Opened, Opening};
use crate::{Environment, Error, Settings};

const DAMAGED: Error = Error::Damaged("placement log");
/// Bytes that must be free before a period ends: far more than what that writes.
const ROOM_BYTES: u64 = 16 << 20;

/// A period that has ended, and the one that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The origin of the sealed log.
    pub sealed: String,
    /// Its entries.
    pub size: u64,
    /// The origin of the log that grows now.
    pub origin: String,
    /// Its public key: give it to your auditors, and keep the old one.
    pub vkey: String,
}

/// Ends the period of a shard that does not run, and begins the next.
///
/// # Errors
/// [`Error`]: whatever would keep the shard from starting.
pub fn rotate_log(
    settings: &Settings,
    map: &atlas::RegionMap,
    annex: &atlas::Annex,
    outside: &Environment,
) -> Result<Rotated, Error> {
    let opening = Opening { settings, map, annex, outside };
    let opened = opening.open()?;
    opening.rotate(opened)
}

/// Whether a period that is due may end now. Where it cannot, the shard serves on: nothing is
/// gained by one that is down.
pub(crate) fn may_rotate(settings: &Settings, engine: &dyn Engine) -> bool {
    let room = room(settings, engine);
    if let Err(error) = &room {
        tracing::error!(%error, "the period of the log is due and cannot end");
    }
    room.is_ok()
}

/// Whether there is room for what a rotation writes.
fn room(settings: &Settings, engine: &dyn Engine) -> Result<(), Error> {
    let space = engine.space()?;
    let needed = space.commit_min.saturating_add(ROOM_BYTES);
    if space.free < needed {
        return Err(Error::NoRoom { what: "the store", free: space.free, needed });
    }
    let free = engine::free_bytes(&settings.keys)?;
    if free < ROOM_BYTES {
        return Err(Error::NoRoom { what: "the folder of keys", free, needed: ROOM_BYTES });
    }
    Ok(())
}

impl Opening<'_> {
    /// Ends the period of an opened store. What can fail for want of room or chance comes before
    /// the SEAL: after it there is no way back.
    pub(crate) fn rotate(&self, mut opened: Opened) -> Result<Rotated, Error> {
        room(self.settings, &*opened.engine)?;
        let next = self.settings.last_log_key()?.max(opened.period) + 1;
        let new = self.new_signer(next)?;
        if !opened.sealed {
            self.seal(&mut opened)?;
        }
        let Opened {
            engine,
            keyring,
            log,
            signer,
            anchor,
            territory,
            last_commit,
            clock,
            signed,
            origin,
            ..
        } = &mut opened;
        let (period, size) = (log.period, log.edge.size());
        // As for every checkpoint: the leaves are hashed a second time, from what is stored.
        let mut second = edge_at(&**engine, period, *signed)?;
        extend((&**engine, period), &mut second, size)?;
        if second.root() != log.edge.root() {
            return Err(DAMAGED);
        }
        let (origin, root) = (origin.to_string(), second.root());
        let checkpoint = Checkpoint { origin: origin.clone(), size, root };
        let note = checkpoint.sign(signer).map_err(|_| DAMAGED)?;
        anchor.store(&note)?;
        let identity = self.identity(next, *territory, &new, keyring);
        let mut batch = Batch::new();
        Sealed { vkey: signer.vkey(), note, size }.put(&mut batch, period);
        let offered = self.start(&**engine)?.offered;
        let begun = Log::new(next, engine.head()?.size);
        let details = vec![Detail::OldHead { origin: origin.clone(), size, root }];
        let first = (&begun, details, clock.now().max(*last_commit), &offered);
        self.begin_period(&**engine, batch, (&identity, None), first)?;
        // A crash before this leaves the old log's last checkpoint here: see `after_rotation`.
        anchor.store(&signed_empty(&new)?)?;
        let (sealed, vkey) = (origin, identity.vkey);
        tracing::info!(sealed, size, origin = new.name(), "a new period of the log has begun");
        Ok(Rotated { sealed, size, origin: new.name().to_owned(), vkey })
    }

    /// The SEAL entry, in a commit of its own.
    fn seal(&self, opened: &mut Opened) -> Result<(), Error> {
        let now = opened.clock.now().max(opened.last_commit);
        let minute = u32::try_from(now.minute()).unwrap_or(u32::MAX);
        let mut draft = Draft::new(&opened.log);
        draft.append(&Entry::new(Kind::Seal, minute)).map_err(|_| DAMAGED)?;
        let mut batch = Batch::new();
        let (edge, size) = draft.finish(&mut batch, now);
        opened.engine.commit(batch, opened.head, size)?;
        opened.log.edge = edge;
        opened.head.size = size;
        opened.last_commit = now;
        opened.sealed = true;
        Ok(())
    }
}
