//! Which map a shard starts with: the newest of the one that it has taken last and the one that its
//! configuration names. It never goes back.

use std::sync::Arc;

use atlas::{SignedMap, VerifiedMap};
use engine::{Batch, Engine};
use terms::{Reason, Rejection};

use crate::Error;
use crate::log::Draft;
use crate::startup::open::{Opened, Opening};
use crate::store::region_maps::{Offered, map_ref};
use crate::store::types::{EpochNumber, Minute};
use crate::store::{index_state, region_maps};

/// The map in force at a start.
pub(crate) struct Start {
    pub(crate) offered: Offered,
    /// Whether it is newer than the one that the store has, or was not kept whole.
    take: bool,
}

impl Opening<'_> {
    /// The map of the configuration, opened with the keys that it names, if it names any.
    pub(crate) fn offered(&self) -> Result<Offered, Error> {
        let signed = SignedMap::of(self.map, self.settings.map_note.clone());
        if self.settings.signers.is_none() {
            let sealed = VerifiedMap { map: Arc::new(self.map.clone()), by: Vec::new() };
            return Ok(Offered { sealed, signed });
        }
        Ok(region_maps::open(signed, self.settings.signers.as_ref())?)
    }

    /// The map of a new store: the first, for which two people answer.
    pub(crate) fn first_map(&self) -> Result<Offered, Error> {
        let offered = self.offered()?;
        if self.settings.signers.is_some() {
            region_maps::may_follow(None, &offered)?;
        }
        Ok(offered)
    }

    /// Which map holds, by store and configuration.
    pub(crate) fn start(&self, engine: &dyn Engine) -> Result<Start, Error> {
        let held = region_maps::in_force(engine)?;
        let given = map_ref(self.map);
        if given.epoch == held.epoch && given.digest != held.digest {
            return Err(Error::MapFork { version: given.epoch });
        }
        if given == held {
            // Its signatures are looked at again: the store's own word is not enough, and keys may
            // have been taken out of the configuration since.
            let offered = self.offered()?;
            let kept = match (
                region_maps::exactly(engine, EpochNumber(held.epoch))?,
                &self.settings.signers,
            ) {
                (None, _) => false,
                (Some(_), None) => true,
                // Signatures that count no more give way to those beside the file.
                (Some(taken), signers) => region_maps::open(taken.signed, signers.as_ref()).is_ok(),
            };
            return Ok(Start { offered, take: !kept });
        }
        if given.epoch < held.epoch {
            return self.newer_in_store(engine, held.epoch, given.epoch);
        }
        // No signer answers for an unsigned map; but one that names another map than the one in force
        // as the one before it is of another history.
        let named = self.map.predecessors();
        let next = given.epoch == held.epoch + 1 && !named.is_empty();
        if next && !named.contains(&held.digest) {
            return Err(Error::MapFork { version: given.epoch });
        }
        let offered = self.offered()?;
        if self.settings.signers.is_some() {
            // One that no signer answers for is none: then two must, as for the first.
            let before = match self.stored(engine, EpochNumber(held.epoch)) {
                Err(Error::MapRefused(_)) => None,
                other => other?,
            };
            let held = before.as_ref().map(|before| &*before.sealed.map);
            match (region_maps::may_follow(held, &offered), before) {
                // Maps between are missing. The one that it holds is good, and a gateway brings
                // the others.
                (Err(gap), Some(stored)) if gap.reason == Reason::MapGap => {
                    tracing::warn!(file = given.epoch, "the file's map is not the next: not taken");
                    return Ok(Start { offered: stored, take: false });
                }
                (follows, _) => drop(follows?),
            }
        }
        Ok(Start { offered, take: true })
    }

    /// The store has taken a newer map than the file, as it does when maps are applied.
    fn newer_in_store(
        &self,
        engine: &dyn Engine,
        accepted: u64,
        offered: u64,
    ) -> Result<Start, Error> {
        let stale = || Error::MapStale { offered, accepted };
        // Without signers, the file is what maps are rolled out by: an older one is a mistake.
        if self.settings.signers.is_none() {
            return Err(stale());
        }
        let stored = self.stored(engine, EpochNumber(accepted))?.ok_or_else(stale)?;
        tracing::info!(map_epoch = accepted, file = offered, "the map that was applied last holds");
        Ok(Start { offered: stored, take: false })
    }

    /// The map of that number as the store has it, with signatures that count today.
    fn stored(&self, engine: &dyn Engine, epoch: EpochNumber) -> Result<Option<Offered>, Error> {
        let Some(taken) = region_maps::exactly(engine, epoch)? else { return Ok(None) };
        let offered = region_maps::open(taken.signed, self.settings.signers.as_ref())?;
        if map_ref(&offered.sealed.map) == region_maps::in_force(engine)? {
            Ok(Some(offered))
        } else {
            Err(Error::Damaged("region maps"))
        }
    }

    /// Takes the map of the configuration, if it is newer than the one in force, or was not kept
    /// whole. It is a commit like any other; a new one has its entry. A store that says nothing of its
    /// indexes begins to.
    pub(crate) fn accept_map(&self, opened: &mut Opened, start: Start) -> Result<(), Error> {
        let Start { offered, take } = start;
        let mut batch = Batch::new();
        index_state::take_map(&mut batch, &*opened.engine, &offered.sealed.map)?;
        if !take && batch.is_empty() {
            return Ok(());
        }
        let now = opened.clock.now().max(opened.last_commit);
        let minute = Minute::of(now);
        let same = map_ref(&offered.sealed.map) == region_maps::in_force(&*opened.engine)?;
        let mut draft = Draft::new(&opened.log);
        let entry = take.then(|| region_maps::take_into(&mut batch, &offered, minute));
        if let Some(entry) = entry.filter(|_| !same) {
            draft.append(&entry).map_err(|_| Error::Damaged("placement log"))?;
        }
        if draft.is_empty() {
            let size = opened.head.size;
            return Ok(opened.engine.commit(batch, opened.head, size)?);
        }
        let (edge, size) = draft.finish(&mut batch, now);
        opened.engine.commit(batch, opened.head, size)?;
        opened.log.edge = edge;
        opened.head.size = size;
        opened.last_commit = now;
        Ok(())
    }
}

/// What a refusal of a map means at a start.
impl From<Rejection> for Error {
    fn from(fault: Rejection) -> Self {
        if fault.reason == Reason::StoredDataDamaged {
            return Self::Damaged("region maps");
        }
        Self::MapRefused(Box::new(fault))
    }
}
