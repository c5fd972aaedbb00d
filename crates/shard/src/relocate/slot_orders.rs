//! What an operator asks about moves of slots from this shard, and what is answered.

use terms::{Reason, Rejection, ShardId, SlotSet};
use wire::session::slot_move::Step;

use crate::log::slots_request::{SlotsRequest, SlotsStatus};
use crate::relocate::drive::{Driver, Halt};
use crate::relocate::peers::RegionShards;
use crate::relocate::slot_moves::{Turn, said};
use crate::store::slot_move::GoingState;
use crate::write::command::SlotStep;

impl Driver {
    /// Does what an operator asks. The refusal is for people.
    pub(super) async fn carry_out(
        &self,
        turn: &mut Turn,
        shards: &RegionShards,
        asked: &SlotsRequest,
    ) -> Result<SlotsStatus, String> {
        let said = |halt| match halt {
            Halt::GoesOn => "the shard is busy: try again".to_owned(),
            Halt::Later(why) => why,
            Halt::Refused(fault) | Halt::Failed(fault) => said(&fault),
        };
        match asked {
            SlotsRequest::Status => {}
            SlotsRequest::Move { to, slots } => {
                self.order(turn, shards, to, slots.as_deref()).await.map_err(said)?;
            }
            SlotsRequest::Cancel => {
                for (slot, going) in self.going().await.map_err(said)? {
                    if matches!(going.state, GoingState::Left(_)) {
                        continue;
                    }
                    let step = SlotStep::GiveUp { again: false };
                    self.slot_step(slot, going.move_id, step).await.map_err(said)?;
                }
            }
        }
        let going = self.going().await.map_err(said)?;
        let of = |wanted: fn(&GoingState) -> bool| {
            let some = going.iter().filter(|(_, going)| wanted(&going.state));
            some.map(|(slot, _)| *slot).collect::<SlotSet>().to_string()
        };
        let own = self.node.slots.borrow().clone();
        Ok(SlotsStatus {
            serves: own.served.to_string(),
            ordered: of(|state| matches!(state, GoingState::Ordered)),
            frozen: of(|state| matches!(state, GoingState::Frozen)),
            left: of(|state| matches!(state, GoingState::Left(_))),
            given_up: of(|state| matches!(state, GoingState::GivenUp)),
            coming: own.on_the_way.staging.or(&own.on_the_way.installing).to_string(),
            halted: turn
                .halted
                .iter()
                .map(|(slot, why)| format!("slot {}: {why}", slot.number()))
                .collect(),
        })
    }

    /// Orders the moves of slots, if they may begin.
    async fn order(
        &self,
        turn: &mut Turn,
        shards: &RegionShards,
        to: &str,
        slots: Option<&str>,
    ) -> Result<(), Halt> {
        let refuse = |problem: String| {
            Halt::Refused(Rejection::new(Reason::FieldInvalid).field("slots").problem(problem))
        };
        if !self.going().await?.is_empty() {
            let problem =
                "moves of slots from this shard go on: wait for their end, or cancel them";
            return Err(refuse(problem.to_owned()));
        }
        let own = self.node.slots.borrow().clone();
        let to = ShardId::parse(to).map_err(|_| refuse(format!("{to} is no name of a shard")))?;
        if to == self.node.shard {
            return Err(refuse(format!("this shard is {to}: slots go to another one")));
        }
        let wished = shards.wished.get(&to).ok_or_else(|| {
            refuse(format!(
                "the annex of region {} names no shard {to}: put it into the annex, and start this shard \
                 again",
                self.node.region
            ))
        })?;
        let slots = match slots {
            Some(text) => {
                let slots = SlotSet::parse(text);
                slots.ok_or_else(|| refuse(format!("{text} are no slots, such as 0-511,600")))?
            }
            None => own.all().and(wished),
        };
        let Some(first) = slots.iter().next() else {
            return Err(refuse(format!("this shard has no slot that the annex gives shard {to}")));
        };
        for (name, wished) in &shards.wished {
            let both = slots.and(wished);
            if *name != to && *name != self.node.shard && !both.is_empty() {
                let problem =
                    format!("the annex gives slots {both} to shard {name}: correct the annex");
                return Err(refuse(problem));
            }
        }
        // What has ended since the last move is not asked.
        turn.sessions.clear();
        // That one says when each slot begins to come.
        for other in shards.others.iter().filter(|other| other.shard != to) {
            let session = self.session_with(turn, shards, &other.shard).await?;
            let both = session.slots(&self.node).await?.and(&slots);
            if !both.is_empty() {
                let name = &other.shard;
                return Err(refuse(format!("shard {name} has slots {both} too: see `map status`")));
            }
        }
        let begins = self.begins().await?;
        let session = self.session_with(turn, shards, &to).await?;
        session.slot(&self.node, first, &[0; 16], Step::Ask(begins)).await?;
        let move_id = self.node.random().map_err(Rejection::from)?;
        self.slot_step(first, move_id, SlotStep::Order(slots.clone(), to.clone())).await?;
        turn.halted.clear();
        tracing::info!(%to, %slots, "slots are to go to another shard of the region");
        Ok(())
    }
}
