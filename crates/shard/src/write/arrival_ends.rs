//! The end of an arrival without a subject that is served, and what is kept of arrivals that have ended.

use engine::Key;
use ledger::entry::{Detail as Said, Entry, Kind};
use terms::{RegionId, Rejection};

use crate::Error;
use crate::policy::asker::Asker;
use crate::store::keys;
use crate::store::keys::Owner;
use crate::write::arrivals::{adopted, none};
use crate::write::arriving_chunks::Arrival;
use crate::write::move_command::{ArriveStep, Ended, WhyDropped};
use crate::write::transaction::{Done, Transaction};

/// Why the log says once more that a subject was adopted.
const SAID_AGAIN: &str = "the log that said it has ended without a last checkpoint";

impl Transaction<'_> {
    /// Ends an arrival of which its source knows nothing any more: the source has one move of a subject at
    /// the most, so its newer word settles the older. It asks again until that is done.
    pub(super) fn supersede(
        &mut self,
        of: Arrival<'_>,
        move_id: [u8; 16],
        step: &ArriveStep,
        opening: &[u8; 32],
    ) -> Result<Done, Rejection> {
        let (owner, here) = (of.owner, of.here.clone());
        self.drop_arrival(of, opening, WhyDropped::GivenUp)?;
        let more = self.subjects.contains_key(&owner.tag);
        if !matches!(step, ArriveStep::Drop) {
            return Ok(none());
        }
        if more {
            return self.staging(&here);
        }
        self.note_ended(owner, &here.from, move_id, Ended::GivenUp)?;
        Ok(none())
    }

    /// Erases what has arrived, as much as one commit takes.
    pub(super) fn drop_arrival(
        &mut self,
        of: Arrival<'_>,
        opening: &[u8; 32],
        why: WhyDropped,
    ) -> Result<Done, Rejection> {
        let Arrival { asker, owner, subject, here } = of;
        let gone = self.take_records(owner, subject, owner.records(), None)?;
        for (collection, live) in &gone.live {
            let entry: Entry = self.of_collection(asker, owner, subject, collection, *live);
            self.entries.append(&entry)?;
        }
        if gone.more {
            return self.staging(&here);
        }
        let mut entry = self.entries.about_subject(Kind::MoveIn, asker);
        entry.say(Said::Count(0));
        entry.say(Said::Reason(why.as_str().to_owned()));
        self.append_about(owner, None, opening, entry)?;
        here.attachment.iter().for_each(|chunks| self.discard_chunks(chunks));
        self.node.moves.arrived(owner.tag);
        match here.before {
            Some(stone) => self.batch.put(owner.row(), stone),
            None => self.batch.delete(owner.row()),
        }
        self.batch.delete(owner.accesses());
        self.batch.delete(keys::arriving(&owner.row()));
        if why == WhyDropped::GivenUp {
            self.note_ended(owner, &here.from, here.move_id, Ended::GivenUp)?;
        }
        self.change_due(owner, subject.due(), None);
        self.subjects.remove(&owner.tag);
        self.erased.push(owner.tag);
        Ok(none())
    }

    /// Says in the log that grows what an entry said of a log that has ended without a last checkpoint:
    /// that a subject was adopted. The source asks for a proof of it before it erases what it has.
    pub(super) fn adopted_again(
        &mut self,
        asker: &Asker,
        owner: &Owner,
        from: &RegionId,
        move_id: [u8; 16],
        lost: Entry,
    ) -> Result<Done, Rejection> {
        let mut entry = self.entries.about_subject(Kind::MoveIn, asker);
        (entry.details, entry.commitment) = (lost.details, lost.commitment);
        if entry.reason().is_none() {
            entry.say(Said::Reason(SAID_AGAIN.to_owned()));
        }
        let at = self.entries.next();
        self.entries.append(&entry.in_order())?;
        self.note_ended(owner, from, move_id, Ended::Adopted(at))?;
        Ok(adopted())
    }

    /// Forgets that a move was given up, if it was: its source begins it again. Its log has given the subject
    /// away, so no beginning that comes late is of a move that was given up.
    pub(super) fn reopen(
        &mut self,
        owner: &Owner,
        from: &RegionId,
        move_id: [u8; 16],
        ended: Option<&Ended>,
    ) -> Done {
        if ended == Some(&Ended::GivenUp) {
            let key: Key = keys::move_ended(&owner.row(), from, &move_id);
            // It goes alone: no other command of the group asks for it.
            self.moves_ended.remove(&key);
            self.batch.delete(key);
        }
        none()
    }

    /// Notes that a move has ended, so that a late beginning of it is refused. Of one that was adopted before a
    /// restore it stays noted what has become of the subject, if it is given up after that, too.
    pub(super) fn note_ended(
        &mut self,
        owner: &Owner,
        from: &RegionId,
        move_id: [u8; 16],
        how: Ended,
    ) -> Result<(), Rejection> {
        if how == Ended::GivenUp
            && matches!(self.ended(owner, from, move_id)?, Some(Ended::Lost(_)))
        {
            return Ok(());
        }
        let key: Key = keys::move_ended(&owner.row(), from, &move_id);
        self.batch.put(key.clone(), how.row());
        self.moves_ended.insert(key, how);
        Ok(())
    }

    /// How a move has ended, as this group has left it. None: it has not.
    pub(super) fn ended(
        &self,
        owner: &Owner,
        from: &RegionId,
        move_id: [u8; 16],
    ) -> Result<Option<Ended>, Rejection> {
        let key = keys::move_ended(&owner.row(), from, &move_id);
        if let Some(how) = self.moves_ended.get(&key) {
            return Ok(Some(how.clone()));
        }
        let rows = self.node.engine.get_many(&[&key]).map_err(Error::from)?;
        let row = rows.into_iter().next().flatten();
        Ok(row.map(|row| Ended::read(&row)).transpose()?)
    }
}
