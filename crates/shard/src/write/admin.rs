//! Taking a map: a commit in the same queue as the writes. What was queued before it is done under
//! the map before it; what comes after, under it. So no write can pass under a clause after the
//! commit that withdrew it.

use std::collections::VecDeque;
use std::sync::Arc;

use atlas::Succession;
use engine::{Batch, Key};
use ledger::entry::{Call, Entry};
use terms::{Detail, Reason, Rejection};

use crate::Error;
use crate::log::Draft;
use crate::reply::Outcome;
use crate::store::keys::Owner;
use crate::store::region_maps;
use crate::store::region_maps::Offered;
use crate::store::types::Minute;
use crate::store::{feed, index_state, keys};
use crate::write::command::{Errand, MapOp};
use crate::write::committer::Committer;
use crate::write::list_numbers::ListChanges;
use crate::write::question::Question;
use crate::write::rotate::Ending;
use crate::write::seen::{Seen, Told};

impl Committer {
    /// Does one errand.
    pub(crate) fn run_errand(&mut self, errand: Errand, counts: bool) -> Result<(), Error> {
        // Reads that were counted until now were counted under the map before.
        if counts {
            self.commit(&mut VecDeque::new(), true)?;
        }
        match errand {
            Errand::Map(op) => self.take_map(op),
            Errand::Note(question) => self.note(*question),
            Errand::SweepFeed(rows, answer) => {
                self.sweep_feed(rows)?;
                // Who asked may be gone.
                answer.send(()).ok();
                Ok(())
            }
            Errand::Clear(rows, answer) => {
                let mut batch = Batch::new();
                rows.into_iter().for_each(|row| batch.delete(row));
                if self.commit_unlogged(batch, &ListChanges::default(), &mut [])? {
                    // Who asked may be gone.
                    answer.send(()).ok();
                }
                Ok(())
            }
            Errand::ClearCopies(set, answer) => {
                if self.clear_copies(&set)? {
                    // Who asked may be gone.
                    answer.send(()).ok();
                }
                Ok(())
            }
            Errand::Rotate(answer) => {
                let rotated = self.rotate(Ending::Due)?;
                // Who asked may be gone; the period has ended all the same.
                drop(answer.send(rotated));
                Ok(())
            }
            Errand::Keys(work, answer) => {
                let done = self.work_on_keys(work)?;
                drop(answer.send(done));
                Ok(())
            }
            Errand::Index(step, answer) => {
                let done = self.index(&step)?;
                // Who asked may be gone.
                drop(answer.send(done));
                Ok(())
            }
            Errand::Backup(begin) => self.begin_backup(&begin),
            Errand::NoteErasures => {
                self.note_erasures();
                Ok(())
            }
            Errand::ConfirmSlots(free) => self.confirm_slots(&free),
            Errand::NoteSeen(seen, answer) => {
                let noted = self.note_seen(&seen)?;
                // Who asked may be gone.
                drop(answer.send(noted));
                Ok(())
            }
        }
    }

    /// Takes a map, if it may follow the one that is in force at this moment.
    fn take_map(&mut self, op: MapOp) -> Result<(), Error> {
        let MapOp { mut reply, offered } = op;
        let outcome = match region_maps::may_follow(Some(self.rules.map()), &offered) {
            Ok(Succession::Same) => Ok(()),
            Ok(Succession::Next) => {
                reply.begin();
                self.replace_map(&offered)?
            }
            Err(fault) => Err(fault),
        };
        reply.send(match outcome {
            Ok(()) => Outcome::MapTaken(self.rules.map_ref()),
            Err(fault) => Outcome::Rejected(fault),
        });
        Ok(())
    }

    /// Writes what was counted under the map in force, then takes the next. What is counted from
    /// now until then belongs to neither.
    fn replace_map(&mut self, offered: &Offered) -> Result<Result<(), Rejection>, Error> {
        self.counts.close();
        let taken = self.commit(&mut VecDeque::new(), true).and_then(|()| {
            if self.counts.none_of_map() {
                self.commit_map(offered)
            } else {
                // There was no room for them, and so there is none for a map.
                Ok(Err(Rejection::new(Reason::DiskReserve)))
            }
        });
        self.counts.open(self.rules.epoch());
        taken
    }

    /// One commit: the map's rows and its entry; then, and only then, it is in force.
    fn commit_map(&mut self, offered: &Offered) -> Result<Result<(), Rejection>, Error> {
        let mut batch = Batch::new();
        let entry = region_maps::take_into(&mut batch, offered, Minute::of(self.now()));
        let indexes = index_state::take_map(&mut batch, &*self.node.engine, &offered.sealed.map);
        if let Err(error) = indexes {
            return Ok(Err(error.into()));
        }
        if let Err(fault) = self.commit_entry(batch, &entry)? {
            return Ok(Err(fault));
        }
        let map = Arc::clone(&offered.sealed.map);
        let before = self.rules.epoch();
        self.rules.set_map(Arc::clone(&map));
        self.node.metrics.map_epoch(map.epoch().number);
        tracing::info!(
            before = before.0,
            map_epoch = map.epoch().number,
            "a region map came into force"
        );
        self.node.in_force.send_replace(map);
        Ok(Ok(()))
    }

    /// Removes rows of the change feed, and notes the last: a commit without an entry, for it changes
    /// nothing that a caller has told the shard.
    fn sweep_feed(&mut self, rows: Vec<Key>) -> Result<(), Error> {
        let Some(last) = rows.last().and_then(|row| keys::fed_commit(row)) else { return Ok(()) };
        let mut batch = Batch::new();
        batch.put(keys::FEED_SWEPT.to_vec(), feed::swept(last));
        rows.into_iter().for_each(|row| batch.delete(row));
        let size = self.head.size;
        if let Err(error) = self.node.engine.commit(batch, self.head, size) {
            let edge = self.log.edge.clone();
            // What was not removed now is removed later.
            self.settle(error, &edge, size)?;
        }
        Ok(())
    }

    /// One commit of one entry; then the answer.
    fn note(&mut self, question: Question) -> Result<(), Error> {
        let Question { kind, answer, who, collection, judged, map, count, why } = question;
        let own = self.rules.epoch();
        if judged.is_some_and(|judged| judged != own) {
            // A map has come in between: whether it may be answered is to be asked again.
            answer.give(Err(Rejection::new(Reason::MapsDiffer).with(Detail::MapEpoch, own.0)));
            return Ok(());
        }
        let who = who.in_log(&self.node.growing());
        let tenant_tag = who.tenant_tag.map(|tag| tag.0);
        let collection = collection.as_ref().map(terms::Collection::as_str);
        let call = Call { tenant_tag, caller: Some(&who.caller), collection, map };
        let entry = Entry::question(Minute::of(self.now()).0, call, count, &why);
        let entry = Entry { kind, ..entry };
        // What is kept on the disk for erasure is not for questions.
        let done = if self.disk_is_low() {
            Err(Rejection::new(Reason::DiskReserve))
        } else {
            self.commit_entry(Batch::new(), &entry)?
        };
        answer.give(done);
        Ok(())
    }

    /// Tells people that a page had their records. A commit without an entry: the page's own comes after
    /// it. The inner error: nothing was changed, and the page is not given.
    fn note_seen(&mut self, seen: &Seen) -> Result<Result<(), Rejection>, Error> {
        if self.node.clock.ahead().is_some() {
            return Ok(Err(Rejection::new(Reason::ClockUnconfirmed)));
        }
        let frozen = |owner: &Owner| !self.node.slots.borrow().is_written(owner.slot);
        if seen.owners.iter().any(frozen) {
            // The page is read again where they are by then.
            return Ok(Err(Rejection::new(Reason::SlotNotOwned)));
        }
        let untold = match seen.untold(&self.node) {
            Ok(untold) => untold,
            Err(fault) => return Ok(Err(fault)),
        };
        // What is kept on the disk for erasure is not for pages.
        if !untold.is_empty() && self.disk_is_low() {
            return Ok(Err(Rejection::new(Reason::DiskReserve)));
        }
        let mut batch = Batch::new();
        untold.into_iter().for_each(|Told { key, row }| batch.put(key, row));
        if self.commit_unlogged(batch, &ListChanges::default(), &mut [])? {
            return Ok(Ok(()));
        }
        Ok(Err(Reason::RegionUnavailable.into()))
    }

    /// Commits one entry and what belongs to it. The inner error: nothing was changed.
    pub(super) fn commit_entry(
        &mut self,
        mut batch: Batch,
        entry: &Entry,
    ) -> Result<Result<(), Rejection>, Error> {
        let now = self.now();
        if self.node.clock.ahead().is_some() {
            return Ok(Err(Rejection::new(Reason::ClockUnconfirmed)));
        }
        let mut draft = Draft::new(&self.log);
        if let Err(error) = draft.append(entry) {
            let problem = format!("its entry cannot be written: {error}");
            let fault = Rejection::new(Reason::Internal).problem(problem);
            self.node.report(&fault);
            return Ok(Err(fault));
        }
        let (edge, size) = draft.finish(&mut batch, now);
        if let Err(error) = self.node.engine.commit(batch, self.head, size)
            && let Some(fault) = self.settle(error, &edge, size)?
        {
            return Ok(Err(fault));
        }
        self.node.metrics.commits.inc();
        self.node.metrics.entries.inc();
        self.committed(edge, size, now);
        Ok(Ok(()))
    }
}
