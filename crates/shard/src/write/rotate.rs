//! A period of the log ends, and the next begins, between two groups of writes: a SEAL entry, a last
//! checkpoint over it, then a new key and a new origin, whose GENESIS names the old head. Nothing is
//! lost or forgotten: the sealed log is served on, under its own key.
//!
//! Each step may be the last before a crash. After the SEAL, nothing else is ever written into that
//! period: whatever fails from there on ends the shard, and its next start goes on from there.

use std::sync::Arc;

use engine::{Batch, Engine};
use ledger::entry::{Detail, Entry, Kind};
use ledger::note::Signer;

use crate::log::Log;
use crate::log::first_commit::{FirstCommit, new_signer};
use crate::log::rotation_request::Rotated;
use crate::store::growing_log::GrowingLog;
use crate::store::identity::Identity;
use crate::store::region_maps;
use crate::store::region_maps::Offered;
use crate::store::types::{EpochNumber, Minute, Period};
use crate::write::committer::Committer;
use crate::{Error, Settings};

/// Bytes that must be free before a period ends: far more than what that writes.
const ROOM_BYTES: u64 = 16 << 20;

/// How far the end of a period has come.
pub(crate) enum Ending {
    /// It is due.
    Due,
    /// The SEAL was written before a start, under which this map is in force.
    Sealed(Box<Offered>),
}

/// What the next period begins with.
struct Next {
    period: Period,
    signer: Signer,
    identity: Identity,
    offered: Offered,
}

impl Committer {
    /// Whether the period of the log has reached its end.
    pub(crate) fn period_is_over(&self) -> bool {
        let (max, log) = (self.settings.log.period_max, self.node.growing.load());
        max.reached(log.began.0, log.size(), self.now())
    }

    /// Ends the period and begins the next. The inner error: it was put off, and nothing was changed.
    ///
    /// # Errors
    /// The process must end. If the period had ended by then, the next start begins the new one.
    pub(crate) fn rotate(&mut self, ending: Ending) -> Result<Result<Rotated, Error>, Error> {
        // What can fail for want of room or chance comes before the SEAL: after it there is no way
        // back.
        let (sealed, offered) = match ending {
            // So the last checkpoint has little to do, and a file that cannot be written is noticed.
            Ending::Due => (false, self.signer.lock().sign().and_then(|()| self.offered())),
            Ending::Sealed(offered) => (true, Ok(*offered)),
        };
        let next = match offered.and_then(|offered| self.next_period(offered)) {
            Ok(next) => next,
            Err(error) => return Ok(Err(error)),
        };
        if !sealed {
            let entry = Entry::new(Kind::Seal, Minute::of(self.now()).0);
            if let Err(fault) = self.commit_entry(Batch::new(), &entry)? {
                return Ok(Err(Error::PeriodNotEnded(Box::new(fault))));
            }
        }
        self.begin(next).map(Ok)
    }

    /// The map in force, as the store has it.
    fn offered(&self) -> Result<Offered, Error> {
        let map = self.node.map();
        let taken = region_maps::exactly(&*self.node.engine, EpochNumber::of(&map))?;
        let taken = taken.ok_or(Error::Damaged("region maps"))?;
        let sealed = atlas::VerifiedMap { map, by: taken.by };
        Ok(Offered { sealed, signed: taken.signed })
    }

    fn next_period(&self, offered: Offered) -> Result<Next, Error> {
        let (node, settings) = (&self.node, &self.settings);
        room(settings, &*node.engine)?;
        let before = Identity::read(&*node.engine)?.ok_or(Error::Damaged("identity"))?;
        let period = Period(settings.last_log_key()?).max(self.log.period).next();
        let signer = new_signer(settings, &node.deployment, &*node.entropy, period)?;
        let identity = Identity { period, vkey: signer.vkey(), ..before };
        Ok(Next { period, signer, identity, offered })
    }

    /// Signs all of the log that has ended, then begins the next.
    fn begin(&mut self, next: Next) -> Result<Rotated, Error> {
        let Next { period, signer, identity, offered } = next;
        let shared = self.signer.clone();
        let mut checkpoints = shared.lock();
        // As for every checkpoint: the leaves are hashed a second time, from what is stored.
        let closed = checkpoints.close()?;
        let (size, root) = (self.log.edge.size(), self.log.edge.root());
        if closed.size != size {
            return Err(Error::Damaged("placement log"));
        }
        let sealed = self.node.growing().name.origin.to_string();
        let (now, begun) = (self.now(), Log::new(period, self.head.size));
        let first = FirstCommit {
            log: &begun,
            identity: &identity,
            details: vec![Detail::OldHead { origin: sealed.clone(), size, root }],
            offered: &offered,
            also: None,
            now,
        };
        let mut batch = Batch::new();
        closed.put(&mut batch, self.log.period);
        let (edge, head) = first.add_to(&*self.node.engine, &mut batch)?;
        self.node.engine.commit(batch, self.head, head)?;
        let (origins, keyring) = (self.node.origins(), &*self.node.keyring);
        let grows = GrowingLog::new(origins, period, &identity.vkey, Minute::of(now), keyring);
        let name = grows.name.clone();
        self.log = begun;
        self.node.growing.store(Arc::new(grows));
        let metrics = &self.node.metrics;
        metrics.log_period(period.0);
        metrics.commits.inc();
        metrics.entries.inc_by(edge.size());
        self.committed(edge, head, now);
        // A crash before this leaves the old log's last checkpoint in the file. Nothing more is
        // committed until it has the new log's: a start tells the one case from the other by that.
        checkpoints.begin(name.clone(), signer)?;
        let origin = name.origin.to_string();
        tracing::info!(sealed, size, origin, "a new period of the log has begun");
        Ok(Rotated { sealed, size, origin, vkey: identity.vkey })
    }
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
