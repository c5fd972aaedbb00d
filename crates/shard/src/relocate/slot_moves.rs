//! Drives moves of slots between this shard and others of its region: one step after another, each of which
//! may be done twice. All that is known of a move is in one row at each end, so it goes on after a crash of
//! either shard, and whenever the link between them is back. One slot goes at a time.
//!
//! A slot is not written while its rows are read and compared. If the other shard is not reached meanwhile,
//! the move is given up after [`FROZEN_MAX`], so that callers are served, and begins again later. Once the
//! slot was given away, it only goes on: no shard serves it until the other one has adopted it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use terms::{Reason, Rejection, ShardId, Slot};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use wire::session as proto;
use wire::session::slot_move::Step;
use wire::session::slot_stands::State;

use crate::Error;
use crate::node::Node;
use crate::policy::asker::Asker;
use crate::relocate::drive::{Driver, Halt};
use crate::relocate::peer_session::PeerSession;
use crate::relocate::peers::RegionShards;
use crate::relocate::slot_survey;
use crate::reply::{Outcome, ReplySlot};
use crate::settings::Settings;
use crate::store::region_maps::map_ref;
use crate::store::slot_move::{self, Going, GoingState, Handover, SlotMoveId};
use crate::store::slots;
use crate::write::command::{Action, Op, SlotMove, SlotStep};

/// Time between two looks for what there is to do.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Time between two questions whether the other shard serves a slot that was given away.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// Time for which a slot is not written because the other shard is not reached.
const FROZEN_MAX: Duration = Duration::from_secs(10);
/// Time in which a step here must have begun.
const WITHIN: Duration = Duration::from_secs(60);
/// Bytes that a step takes besides rows, roughly.
const STEP_BYTES: usize = 4_096;

/// What is kept in memory of moves of slots.
#[derive(Default)]
pub(super) struct Turn {
    pub(super) sessions: HashMap<ShardId, PeerSession>,
    /// Since when slots are not written, by what this run of the shard knows.
    frozen: HashMap<Slot, Instant>,
    /// Why slots do not go on, as of the last look.
    pub(super) halted: BTreeMap<Slot, String>,
}

impl Driver {
    /// Has the other shards of the region confirm slots, and moves slots.
    pub(crate) fn tend_slots(
        &self,
        beside: &mut JoinSet<()>,
        shards: RegionShards,
        settings: Settings,
    ) {
        beside.spawn(self.confirm_slots(shards.clone()));
        beside.spawn(self.clone().move_slots(shards, settings));
    }

    /// Does what operators ask, and drives what goes on. Never done.
    async fn move_slots(self, shards: RegionShards, settings: Settings) {
        let (mut turn, mut slots) = (Turn::default(), self.node.slots.subscribe());
        loop {
            match settings.take_slots_asked() {
                Ok(Some(asked)) => {
                    let answer = self.carry_out(&mut turn, &shards, &asked.request).await;
                    if let Err(error) = settings.answer_slots(&asked, answer) {
                        self.trouble(&error.to_string());
                    }
                }
                Ok(None) => {}
                Err(error) => self.trouble(&error.to_string()),
            }
            if !self.drive_slots(&mut turn, &shards).await {
                tokio::select! {
                    () = sleep(LOOK_EVERY) => {}
                    // A slot that was given away to here is waited for.
                    Ok(()) = slots.changed() => {}
                }
            }
        }
    }

    fn trouble(&self, why: &str) {
        if let Some(unsaid) = self.node.troubles.allow(self.node.clock.now()) {
            tracing::warn!(why, unsaid, "a move of slots does not go on for now");
        }
    }

    /// The slots that go from here, with those that no shard serves first.
    pub(super) async fn going(&self) -> Result<Vec<(Slot, Going)>, Halt> {
        let mut going = self.blocking(|node| Ok(going(node)?)).await?;
        going.sort_by_key(|(slot, going)| {
            let order = match going.state {
                GoingState::Left(_) => 0,
                GoingState::Frozen => 1,
                GoingState::GivenUp => 2,
                GoingState::Ordered => 3,
            };
            (order, *slot)
        });
        Ok(going)
    }

    /// Drives what goes on, a little. Whether there may be more to do at once.
    async fn drive_slots(&self, turn: &mut Turn, shards: &RegionShards) -> bool {
        let installing = self.node.slots.borrow().on_the_way.installing.clone();
        if !installing.is_empty() {
            return self.install().await;
        }
        let going = match self.going().await {
            Ok(going) => going,
            Err(halt) => {
                self.trouble(&why(&halt));
                return false;
            }
        };
        let there = |slot: &Slot| going.iter().any(|(going, _)| going == slot);
        turn.halted.retain(|slot, _| there(slot));
        turn.frozen.retain(|slot, _| there(slot));
        for (slot, going) in going {
            let waits = matches!(going.state, GoingState::Left(_) | GoingState::Frozen);
            let frozen = matches!(going.state, GoingState::Frozen);
            let since = frozen.then(|| *turn.frozen.entry(slot).or_insert_with(Instant::now));
            match self.one_slot(turn, shards, slot, &going).await {
                Ok(()) => {
                    turn.halted.remove(&slot);
                    return true;
                }
                Err(halt) => {
                    let goes_on = matches!(halt, Halt::GoesOn);
                    if !goes_on {
                        let why = why(&halt);
                        self.trouble(&why);
                        turn.halted.insert(slot, why);
                    }
                    let over = since.is_some_and(|since| since.elapsed() >= FROZEN_MAX);
                    let refused = matches!(halt, Halt::Refused(_) | Halt::Failed(_));
                    if frozen && (over || refused) {
                        turn.frozen.remove(&slot);
                        let step = SlotStep::GiveUp { again: true };
                        self.slot_step(slot, going.move_id, step).await.ok();
                        return false;
                    }
                    // Another one begins once this one is served again.
                    if waits {
                        sleep(ASK_EVERY).await;
                        return goes_on;
                    }
                }
            }
        }
        false
    }

    /// Puts what has come in its place, a little.
    async fn install(&self) -> bool {
        let coming = self.blocking(|node| {
            let all = slots::all(&*node.engine, slot_move::Coming::all())?;
            let mut found = None;
            for (key, row) in all {
                let of = slot_move::Coming::of_key(&key).ok_or(Error::Damaged("slots"))?;
                let coming = slot_move::Coming::read(&row)?;
                if matches!(coming.state, slot_move::ComingState::Installing(_)) {
                    found = Some(of);
                }
            }
            Ok(found)
        });
        let done = match coming.await {
            Ok(Some((slot, move_id))) => self.slot_step(slot, move_id, SlotStep::Install).await,
            Ok(None) => Ok(()),
            Err(fault) => Err(fault.into()),
        };
        if let Err(halt) = &done {
            self.trouble(&why(halt));
        }
        done.is_ok()
    }

    /// Drives one slot as far as it goes.
    async fn one_slot(
        &self,
        turn: &mut Turn,
        shards: &RegionShards,
        slot: Slot,
        going: &Going,
    ) -> Result<(), Halt> {
        let Going { to, move_id, .. } = going;
        match &going.state {
            GoingState::GivenUp => {
                let session = self.session_with(turn, shards, to).await?;
                loop {
                    let there = session.slot(&self.node, slot, move_id, Step::Drop(true)).await?;
                    if there.state() != State::Staging {
                        break;
                    }
                }
                self.slot_step(slot, *move_id, SlotStep::Dropped).await
            }
            GoingState::Ordered => {
                // What keeps it from going is found before anyone has to wait.
                self.survey(slot, &proto::SlotStands::default()).await?;
                let begins = self.begins().await?;
                let session = self.session_with(turn, shards, to).await?;
                let there = session.slot(&self.node, slot, move_id, Step::Begin(begins)).await?;
                if !is_served_there(&there) && !self.node.owns(slot) {
                    // Another one may serve it.
                    return Err(Halt::Later(
                        "no other shard has confirmed the slot yet".to_owned(),
                    ));
                }
                self.slot_step(slot, *move_id, SlotStep::Freeze).await
            }
            GoingState::Frozen => self.give(turn, shards, slot, going).await,
            GoingState::Left(handover) => {
                self.hand_slot_over(turn, shards, slot, going, handover).await
            }
        }
    }

    /// Copies a slot that is not written, and gives it away once both ends have read the same.
    async fn give(
        &self,
        turn: &mut Turn,
        shards: &RegionShards,
        slot: Slot,
        going: &Going,
    ) -> Result<(), Halt> {
        let move_id = &going.move_id;
        let there = self.stage_slot(turn, shards, slot, going).await?;
        let mut given = self.survey(slot, &there).await?;
        given.held = is_served_there(&there);
        match there.state() {
            State::Staging => {
                let session = self.session_with(turn, shards, &going.to).await?;
                let read = session.slot(&self.node, slot, move_id, Step::Check(true)).await?;
                if *read.digest != given.digest {
                    let fault = Rejection::new(Reason::StoredDataDamaged);
                    return Err(Halt::Refused(fault.problem("the copy of the slot differs")));
                }
            }
            // It was given away before this store was restored, or lost what it had committed last: that is
            // said again.
            State::Installing | State::Adopted if given.held => {}
            State::Adopted | State::Dropped | State::Installing => return Err(ended()),
            State::None | State::Unspecified => return Err(ended()),
        }
        self.slot_step(slot, *move_id, SlotStep::Switch(Box::new(given))).await
    }

    /// Has the other shard adopt a slot that was given away; then what is left of it here goes.
    async fn hand_slot_over(
        &self,
        turn: &mut Turn,
        shards: &RegionShards,
        slot: Slot,
        going: &Going,
        handover: &Handover,
    ) -> Result<(), Halt> {
        let move_id = &going.move_id;
        let mut there = self.stage_slot(turn, shards, slot, going).await?;
        if there.state() == State::Staging {
            let Handover { origin, index, opening, digest, live } = handover.clone();
            let (opening, digest) = (opening.to_vec().into(), digest.to_vec().into());
            let adopt = proto::SlotHandover { origin, index, opening, digest, live };
            let session = self.session_with(turn, shards, &going.to).await?;
            there = session.slot(&self.node, slot, move_id, Step::Adopt(adopt)).await?;
        }
        match there.state() {
            State::Adopted => {}
            State::Installing => return Err(Halt::GoesOn),
            State::Dropped => return self.slot_step(slot, *move_id, SlotStep::Renew).await,
            State::Staging | State::None | State::Unspecified => {
                return Err(Halt::Later(
                    "the other shard does not have all of the slot".to_owned(),
                ));
            }
        }
        loop {
            match self.slot_step(slot, *move_id, SlotStep::Purge).await {
                Err(Halt::GoesOn) => {}
                done => return done,
            }
        }
    }

    /// Has all rows come that have not yet.
    async fn stage_slot(
        &self,
        turn: &mut Turn,
        shards: &RegionShards,
        slot: Slot,
        going: &Going,
    ) -> Result<proto::SlotStands, Halt> {
        let begins = self.begins().await?;
        let session = self.session_with(turn, shards, &going.to).await?;
        let begin = Step::Begin(begins);
        let mut there = session.slot(&self.node, slot, &going.move_id, begin).await?;
        while there.state() == State::Staging {
            let after = there.after.clone();
            let rows = self.blocking({
                let after = after.clone();
                move |node| slot_survey::next_rows(node, slot, &after)
            });
            let rows = rows.await?;
            if rows.is_empty() {
                break;
            }
            let row = |(key, value): (Vec<u8>, Vec<u8>)| proto::SlotRow {
                key: key.into(),
                value: value.into(),
            };
            let rows = Step::Rows(proto::SlotRows {
                after: after.clone(),
                rows: rows.into_iter().map(row).collect(),
            });
            there = session.slot(&self.node, slot, &going.move_id, rows).await?;
            if there.state() == State::Staging && there.after == after {
                return Err(Halt::Later("the other shard takes no more for now".to_owned()));
            }
        }
        Ok(there)
    }

    async fn survey(
        &self,
        slot: Slot,
        there: &proto::SlotStands,
    ) -> Result<crate::write::slot_move_command::Given, Halt> {
        let peer = (there.origin.clone(), there.index);
        Ok(self.blocking(move |node| slot_survey::of_slot(node, slot, peer)).await?)
    }

    pub(super) async fn begins(&self) -> Result<proto::SlotBegins, Halt> {
        Ok(self
            .blocking(|node| {
                let map = map_ref(&node.map());
                let (map_epoch, map_digest) = (map.epoch, map.digest.to_vec().into());
                let (generations, origins) = (node.keyring.generations(), node.all_origins()?);
                Ok(proto::SlotBegins { generations, map_epoch, map_digest, origins })
            })
            .await?)
    }

    pub(super) async fn session_with<'a>(
        &self,
        turn: &'a mut Turn,
        shards: &RegionShards,
        to: &ShardId,
    ) -> Result<&'a mut PeerSession, Halt> {
        let sessions = &mut turn.sessions;
        if sessions.get(to).is_none_or(|session| !session.is_open()) {
            sessions.remove(to);
            let other = shards.others.iter().find(|other| other.shard == *to);
            let none = || Halt::Later(format!("the annex names no shard {to}"));
            let opened = PeerSession::open(&self.node, self.tls.as_ref(), other.ok_or_else(none)?);
            return Ok(sessions.entry(to.clone()).or_insert(opened.await?));
        }
        sessions.get_mut(to).ok_or_else(|| Halt::Later("the session has ended".to_owned()))
    }

    /// Has the committer do one step.
    pub(super) async fn slot_step(
        &self,
        slot: Slot,
        move_id: SlotMoveId,
        step: SlotStep,
    ) -> Result<(), Halt> {
        let random = self.node.random().map_err(Rejection::from)?;
        let of = SlotMove { slot, move_id, random, step, bytes: STEP_BYTES };
        let action = Action::SlotMove(Box::new(of));
        let queue = self.queue.of_session();
        let busy = || Halt::Later("the committer's queue is full".to_owned());
        let room = queue.admit(action.bytes()).ok_or_else(busy)?;
        let (sender, answer) = oneshot::channel();
        let reply = ReplySlot::new(move |outcome, _| drop(sender.send(outcome)));
        let log = self.node.growing();
        let asker = Asker::of_shards(&log, self.node.shard.as_str(), self.node.territory);
        let deadline = Instant::now() + WITHIN;
        queue.submit(Op { reply, deadline, asker, map_epoch: None, action }, room);
        match answer.await {
            Ok(Outcome::Written(written)) if written.unfinished => Err(Halt::GoesOn),
            Ok(Outcome::Written(_) | Outcome::SlotStand(_)) => Ok(()),
            Ok(Outcome::Rejected(fault)) => Err(fault.into()),
            _ => Err(Halt::Later("a step was not answered".to_owned())),
        }
    }
}

/// The other shard knows no such move any more.
fn ended() -> Halt {
    let fault = Rejection::new(Reason::StoredDataDamaged);
    Halt::Refused(fault.problem("the move has ended at the other shard"))
}

/// Whether the other shard serves a slot already, or will whatever happens here.
fn is_served_there(there: &proto::SlotStands) -> bool {
    let adopted = there.state() == State::Adopted && there.held;
    adopted || there.state() == State::Installing
}

/// The slots that go from here. Blocks its thread.
fn going(node: &Node) -> Result<Vec<(Slot, Going)>, Error> {
    let rows = slots::all(&*node.engine, slot_move::all_going())?;
    let one = |(key, row): (Vec<u8>, Vec<u8>)| {
        let slot = slot_move::slot_of_going(&key).ok_or(Error::Damaged("slots"))?;
        Ok((slot, Going::read(&row)?))
    };
    rows.into_iter().map(one).collect()
}

fn why(halt: &Halt) -> String {
    match halt {
        Halt::GoesOn => "it goes on".to_owned(),
        Halt::Later(why) => why.clone(),
        Halt::Refused(fault) | Halt::Failed(fault) => said(fault),
    }
}

/// A refusal, for people.
pub(super) fn said(fault: &Rejection) -> String {
    let reason = fault.reason.as_str();
    let problem = fault.problem.as_deref().map(|problem| format!(": {problem}"));
    let cure = fault.cure.as_deref().map(|cure| format!("; {cure}"));
    format!("{reason}{}{}", problem.unwrap_or_default(), cure.unwrap_or_default())
}
