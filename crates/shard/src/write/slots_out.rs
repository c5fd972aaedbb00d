//! The move of a slot to another shard of the region, at the shard that gives it away.
//!
//! An operator orders it. A slot is then *frozen*: read and not written. `relocate/slot_moves.rs` has its
//! rows copied as they are, since both shards have the region's keys, and has both ends compute one digest
//! of them. Then the slot is given away, in one commit that takes its ownership row, with a MOVE_OUT entry
//! that commits to the digest. From that commit on this shard neither reads nor writes it. Its rows stay
//! until the other shard has adopted it. Until it is given away, the move may be given up.
//!
//! MOVE_OUT entries: one for each collection of a tenant, and each ruling, with the number of records; then
//! one about the slot, which names the entry with which it began to come to the other shard.

use ledger::entry::{Detail as Said, Kind};
use ledger::statement::{commitment, content_digest};
use terms::{Reason, Rejection, ShardId, Slot, SlotSet};

use crate::Error;
use crate::policy::asker::Asker;
use crate::reply::Written;
use crate::store::keys;
use crate::store::slot_move::{self, Going, GoingState, Handover, SlotMoveId};
use crate::store::subject::{Subject, SubjectRow};
use crate::write::slot_move_command::{Given, SlotMove, SlotStep};
use crate::write::transaction::{Done, Transaction};

/// Subjects that one commit takes away at most.
const SUBJECTS_AT_ONCE: usize = 1_024;
/// Bytes of rows that one commit takes away, roughly: keys alone are written.
const PURGE_BYTES: usize = 4 << 20;

/// What the commitment of a move of a slot opens to: no name of a person is in it.
pub(crate) fn slot_statement(slot: Slot, digest: [u8; 32]) -> Vec<u8> {
    let name = format!("slot {}", slot.number());
    let (tenant, subject, collection) = ("", name.as_str(), "");
    ledger::statement::Statement { tenant, subject, collection, key: "", version: 0, digest }
        .encode()
}

impl Transaction<'_> {
    /// Does one step of a move of a slot from here.
    pub(super) fn slot_goes(&mut self, asker: &Asker, of: SlotMove) -> Result<Done, Rejection> {
        self.kept.slots_changed = true;
        let SlotMove { slot, move_id, random, step, .. } = of;
        if let SlotStep::Order(slots, to) = &step {
            return self.order_slots(slots, to, move_id);
        }
        let going = self.going(slot)?.filter(|going| going.move_id == move_id);
        let Some(going) = going else { return Err(ended()) };
        let next = |state| Going { since: self.entries.minute(), state, ..going.clone() };
        let next = match (step, &going.state) {
            (SlotStep::Freeze, GoingState::Frozen) => return Ok(done()),
            (SlotStep::Freeze, GoingState::Ordered) => next(GoingState::Frozen),
            (SlotStep::GiveUp { again }, GoingState::Ordered | GoingState::Frozen) => {
                Going { again, ..next(GoingState::GivenUp) }
            }
            (SlotStep::GiveUp { again }, GoingState::GivenUp) => {
                Going { again: again && going.again, ..going }
            }
            (SlotStep::Switch(given), GoingState::Frozen) => {
                return self.give_slot(asker, slot, going, &given, random);
            }
            (SlotStep::Renew, GoingState::Left(_)) => {
                Going { move_id: *random.first_chunk().expect("sixteen of its bytes"), ..going }
            }
            (SlotStep::Purge, GoingState::Left(_)) => return self.purge(slot),
            (SlotStep::Dropped, GoingState::GivenUp) if going.again => {
                let move_id = *random.first_chunk().expect("sixteen of its bytes");
                Going { move_id, again: false, ..next(GoingState::Ordered) }
            }
            (SlotStep::Dropped, GoingState::GivenUp) => {
                self.batch.delete(Going::key(slot));
                return Ok(done());
            }
            _ => return Err(ended()),
        };
        self.batch.put(Going::key(slot), next.row());
        Ok(done())
    }

    fn going(&self, slot: Slot) -> Result<Option<Going>, Rejection> {
        let rows = self.node.engine.get_many(&[&Going::key(slot)]).map_err(Error::from)?;
        let row = rows.into_iter().next().flatten();
        Ok(row.map(|row| Going::read(&row)).transpose()?)
    }

    /// Orders the moves of slots: of all of them, or of none.
    fn order_slots(
        &mut self,
        slots: &SlotSet,
        to: &ShardId,
        move_id: SlotMoveId,
    ) -> Result<Done, Rejection> {
        let unowned = slots.without(&self.node.slots.borrow().all());
        if !unowned.is_empty() {
            let fault = Rejection::new(Reason::FieldInvalid).field("slots");
            return Err(fault.problem(format!("this shard does not have slots {unowned}")));
        }
        for slot in slots.iter() {
            if self.going(slot)?.is_some() {
                let fault = Rejection::new(Reason::FieldInvalid).field("slots");
                let number = slot.number();
                return Err(fault.problem(format!("a move of slot {number} goes on already")));
            }
            let (to, since, state) = (to.clone(), self.entries.minute(), GoingState::Ordered);
            let move_id = of_slot(move_id, slot);
            let going = Going { to, move_id, since, again: false, state };
            self.batch.put(Going::key(slot), going.row());
        }
        Ok(done())
    }

    /// Gives a slot away.
    fn give_slot(
        &mut self,
        asker: &Asker,
        slot: Slot,
        going: Going,
        given: &Given,
        opening: [u8; 32],
    ) -> Result<Done, Rejection> {
        if !given.held {
            // A slot that another shard may serve as well is given to none.
            self.node.still_owns(slot)?;
        }
        let own = self.entries.own_origin();
        if given.map != self.rules.map_ref() || *given.origin != *own {
            // It is read again.
            return Err(Reason::ShardBusy.into());
        }
        // It stands in this log for ever: nothing but the name of a log of that shard.
        let theirs = format!("{}/{}/{}/", self.node.deployment, self.node.region, going.to);
        if !given.peer.0.starts_with(&theirs) {
            let fault = Rejection::new(Reason::FieldInvalid).field("slot.origin");
            return Err(fault.problem("is no log of the other shard"));
        }
        for (entry, live) in &given.groups {
            let mut entry = entry.clone();
            entry.minute = self.entries.minute().0;
            entry.say(Said::Count(*live));
            self.entries.append(&entry.in_order())?;
        }
        let mut entry = self.entries.about_subject(Kind::MoveOut, asker);
        entry.say(Said::Reason(format!("slot {} goes to shard {}", slot.number(), going.to)));
        let (origin, index) = given.peer.clone();
        entry.say(Said::Peer { origin, index });
        let digest = content_digest(&opening, &given.digest);
        entry.commitment = Some(commitment(&opening, &slot_statement(slot, digest)));
        let at = self.entries.next();
        self.entries.append(&entry.in_order())?;
        let handover = Handover {
            origin: own.to_string(),
            index: at.index.0,
            opening,
            digest: given.digest,
            live: given.live(),
        };
        let since = self.entries.minute();
        let left = Going { since, state: GoingState::Left(handover), ..going };
        self.batch.put(Going::key(slot), left.row());
        self.batch.delete(keys::slot(slot));
        Ok(done())
    }

    /// Takes away rows of a slot that was given away, as many as one commit takes.
    fn purge(&mut self, slot: Slot) -> Result<Done, Rejection> {
        let (mut taken, mut unfinished) = (0, false);
        let mut spans = slot_move::travelling(slot);
        // The subjects first: with them goes what finds their records.
        if let Some(mut span) = spans.next() {
            while taken < SUBJECTS_AT_ONCE {
                let page = self.scan(&span, 1)?;
                let Some((key, row)) = page.rows.into_iter().next() else { break };
                unfinished = true;
                let (prefix, tag) = keys::of_subject(&key).ok_or(Error::Damaged("subjects"))?;
                span.from = keys::past_subject(prefix);
                self.node.subjects.remove(&tag);
                let owner = Subject::owner_of(&row, tag, self.node.subject_keys())?;
                if let Some(owner) = owner
                    && let SubjectRow::Kept(subject) = self.node.open_subject(&owner, &row)?
                {
                    let gone = self.take_records(&owner, &subject, owner.records(), None)?;
                    if gone.more {
                        break;
                    }
                    self.change_due(&owner, subject.due(), None);
                }
                self.batch.delete(key);
                taken += 1;
                if self.bytes() >= PURGE_BYTES {
                    break;
                }
            }
        }
        if unfinished {
            return Ok(going_on());
        }
        for span in spans {
            if !self.scan(&span, 1)?.rows.is_empty() {
                self.take_rows(span)?;
                return Ok(going_on());
            }
        }
        self.batch.delete(Going::key(slot));
        Ok(done())
    }
}

/// The id of the move of one slot of those that are ordered together.
fn of_slot(mut move_id: SlotMoveId, slot: Slot) -> SlotMoveId {
    if let Some(last) = move_id.last_chunk_mut() {
        *last = slot.number().to_be_bytes();
    }
    move_id
}

/// It is not what it was when the step was made.
fn ended() -> Rejection {
    Rejection::new(Reason::ShardBusy).problem("the move of the slot is not where it was")
}

fn done() -> Done {
    Done::written(Written::default())
}

fn going_on() -> Done {
    Done::written(Written { unfinished: true, ..Default::default() })
}

/// Whether a step is done at the shard that gives a slot away.
pub(super) const fn is_of_source(step: &SlotStep) -> bool {
    match step {
        SlotStep::Order(..) | SlotStep::Freeze | SlotStep::GiveUp { .. } => true,
        SlotStep::Switch(_) | SlotStep::Purge | SlotStep::Dropped | SlotStep::Renew => true,
        SlotStep::Begin { .. } | SlotStep::Rows { .. } | SlotStep::Adopt { .. } => false,
        SlotStep::Install | SlotStep::Drop(_) | SlotStep::Forget(_) => false,
    }
}
