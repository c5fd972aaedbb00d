//! Slots in the commit: which one a command is about, and which the other shards of the region confirm.

use std::sync::Arc;

use engine::Batch;
use terms::{Slot, SlotSet};

use crate::Error;
use crate::store::slots::OwnSlots;
use crate::write::command::{Action, Depart, DepartStep};
use crate::write::committer::Committer;
use crate::write::copy_command::CopyOutStep;
use crate::write::list_numbers::ListChanges;

impl Action {
    /// The slot of the subject that it is about, if it is about one.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are treated alike")]
    pub(crate) fn slot(&self) -> Option<Slot> {
        match self {
            Self::Claim(claim) => Some(claim.of.slot),
            Self::TakeCopy(copy) => Some(copy.owner.slot),
            other => other.owner().map(|owner| owner.slot),
        }
    }

    /// Whether a store with these slots may do it. Where a slot is not confirmed, another shard may serve
    /// its people: none of them, and no copy, is given to another region. A copy that the other region is to erase goes.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are treated alike")]
    pub(crate) fn may_be_done(&self, slots: &OwnSlots) -> bool {
        let Some(slot) = self.slot() else { return true };
        let dropped = |depart: &Depart| matches!(depart.step, DepartStep::Dropped { .. });
        let gives = match self {
            Self::Depart(depart) => !dropped(depart),
            Self::CopyOut(copy) => matches!(copy.step, CopyOutStep::Send(_)),
            _ => false,
        };
        if gives {
            return slots.served.contains(slot);
        }
        // What is frozen is copied to another shard as it is: not even who reads is noted.
        slots.is_written(slot)
    }
}

impl Committer {
    /// If a commit has changed which slots the store has, all others are told what it says now.
    pub(super) fn read_slots(&mut self, changed: bool) -> Result<(), Error> {
        if !changed {
            return Ok(());
        }
        let slots = match OwnSlots::read(&*self.node.engine) {
            Err(error) => {
                self.recover(error)?;
                OwnSlots::read(&*self.node.engine)
            }
            slots => slots,
        }?;
        if *self.node.slots.borrow() != slots {
            self.node.slots.send_replace(slots);
            self.node.show_slots();
        }
        Ok(())
    }

    /// Serves these slots from now on, if the store has them. A commit without an entry: it changes
    /// nothing that a caller has told the shard.
    pub(super) fn confirm_slots(&mut self, free: &SlotSet) -> Result<(), Error> {
        let node = Arc::clone(&self.node);
        let slots = node.slots.borrow().confirmed(free);
        let mut batch = Batch::new();
        slots.put_unconfirmed(&mut batch);
        // If it fails, they are asked for again.
        if self.commit_unlogged(batch, &ListChanges::default(), &mut [])? {
            tracing::info!(slots = %slots.served, "no other shard of the region has these slots");
            node.slots.send_replace(slots);
            node.show_slots();
        }
        Ok(())
    }
}
