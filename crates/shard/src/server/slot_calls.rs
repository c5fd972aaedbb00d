//! Steps of moves of slots to here, which another shard of this region asks for.

use std::sync::Arc;

use terms::{Reason, Rejection, Slot};
use tokio::time::{Duration, Instant};
use wire::session as proto;
use wire::session::slot_move::Step;

use crate::node::Node;
use crate::read::reader::Reader;
use crate::relocate::slot_survey;
use crate::reply::{Outcome, ReplySlot, SlotStand, SlotState, busy};
use crate::server::handshake::{Gateway, OtherShard};
use crate::store::region_maps::map_ref;
use crate::store::slot_move;
use crate::store::slot_move::{Coming, ComingState, Handover, SlotMoveId};
use crate::write::command::{self, Action, SlotMove, SlotStep};

/// Bytes of the origin of a log.
const ORIGIN_BYTES_MAX: usize = 512;
/// Logs that are named at most.
const ORIGINS_MAX: usize = 65_536;
/// Bytes that a step takes besides rows, roughly.
const STEP_BYTES: usize = 4_096;

/// What is to be done for a step.
enum Prepared {
    Answer(SlotStand),
    Step(SlotStep),
}

/// Does one step.
pub(crate) fn serve(
    reader: &Reader,
    gateway: &Gateway,
    from: &OtherShard,
    reply: ReplySlot,
    deadline_ms: u32,
    of: proto::SlotMove,
) {
    let deadline = Instant::now() + Duration::from_millis(deadline_ms.into());
    let asker = from.asker_of_slots(&reader.node, gateway.territory);
    // Before anything is done for it: what is being read back counts as queued.
    let bytes = STEP_BYTES + rows_bytes(&of);
    let Some(room) = reader.queue.admit(bytes) else { return reply.send(busy()) };
    let (node, queue, from) = (Arc::clone(&reader.node), reader.queue.clone(), from.clone());
    tokio::task::spawn_blocking(move || match step(&node, &from, of, bytes) {
        Ok((Prepared::Step(step), mut of)) => {
            of.step = step;
            let action = Action::SlotMove(Box::new(of));
            queue.submit(command::Op { reply, deadline, asker, map_epoch: None, action }, room);
        }
        Ok((Prepared::Answer(stand), _)) => reply.send(Outcome::SlotStand(Box::new(stand))),
        Err(fault) => {
            node.report(&fault);
            reply.send(fault.into());
        }
    });
}

/// Discards all that comes from a shard of this region whose store may be another one now; then says which
/// slots this store has.
pub(crate) fn say_slots(reader: &Reader, gateway: &Gateway, from: &OtherShard, reply: ReplySlot) {
    let (node, queue) = (Arc::clone(&reader.node), reader.queue.clone());
    let coming = node.slots.borrow().on_the_way.staging.clone();
    let claimed = move |node: &Node| Outcome::Slots(Box::new(node.slots.borrow().claimed()));
    let Some(slot) = coming.iter().next() else { return reply.send(claimed(&node)) };
    let step = SlotStep::Forget(from.shard.clone());
    let (move_id, random) = ([0; 16], [0; 32]);
    let of = SlotMove { slot, move_id, random, step, bytes: STEP_BYTES };
    let action = Action::SlotMove(Box::new(of));
    let Some(room) = queue.admit(action.bytes()) else { return reply.send(busy()) };
    let asker = from.asker_of_slots(&node, gateway.territory);
    let deadline = Instant::now() + Duration::from_secs(60);
    // What is left of it is discarded when it asks again.
    let reply = ReplySlot::new(move |outcome, room| {
        drop(room);
        if let Outcome::Rejected(fault) = outcome {
            return reply.send(fault.into());
        }
        reply.send(claimed(&node));
    });
    queue.submit(command::Op { reply, deadline, asker, map_epoch: None, action }, room);
}

fn rows_bytes(of: &proto::SlotMove) -> usize {
    let Some(Step::Rows(rows)) = &of.step else { return 0 };
    rows.rows.iter().map(|row| row.key.len() + row.value.len()).sum()
}

/// Reads a step, and what it needs of the store. Blocks its thread.
fn step(
    node: &Node,
    from: &OtherShard,
    of: proto::SlotMove,
    bytes: usize,
) -> Result<(Prepared, SlotMove), Rejection> {
    let proto::SlotMove { slot, move_id, step } = of;
    let slot = u16::try_from(slot).ok().and_then(Slot::new).ok_or_else(|| invalid("slot"))?;
    let move_id: SlotMoveId = (&*move_id).try_into().map_err(|_| invalid("move_id"))?;
    let prepared = match step.ok_or_else(|| Rejection::new(Reason::NotBuilt))? {
        Step::Ask(begins) => {
            may_come(node, &begins)?;
            Prepared::Answer(SlotStand::default())
        }
        Step::Begin(begins) => {
            let origins = may_come(node, &begins)?;
            let from = from.shard.clone();
            Prepared::Step(SlotStep::Begin { from, origins })
        }
        Step::Rows(rows) => Prepared::Step(rows_step(slot, rows)?),
        Step::Check(_) => {
            let digest = Some(slot_survey::digest_of_came(node, slot)?);
            Prepared::Answer(SlotStand {
                state: SlotState::Staging,
                digest,
                ..SlotStand::default()
            })
        }
        Step::Adopt(handover) => {
            let handover = handover_of(node, from, handover)?;
            // Read before its rows are: if more comes meanwhile, it is not adopted.
            let checked = match coming(node, slot, &move_id)? {
                Some(Coming { state: ComingState::Staging(after), .. }) => after,
                _ => Vec::new(),
            };
            if slot_survey::digest_of_came(node, slot)? == handover.digest {
                Prepared::Step(SlotStep::Adopt { checked, handover })
            } else {
                // It says where it is.
                Prepared::Step(SlotStep::Rows { after: vec![0], next: vec![0], rows: Vec::new() })
            }
        }
        Step::Drop(_) => Prepared::Step(SlotStep::Drop(from.shard.clone())),
    };
    let random = node.random()?;
    Ok((prepared, SlotMove { slot, move_id, random, step: SlotStep::Install, bytes }))
}

fn coming(node: &Node, slot: Slot, move_id: &SlotMoveId) -> Result<Option<Coming>, Rejection> {
    let rows = node.engine.get_many(&[&Coming::key(slot, move_id)]).map_err(crate::Error::from)?;
    let row = rows.into_iter().next().flatten();
    Ok(row.map(|row| Coming::read(&row)).transpose()?)
}

/// Whether slots of that shard may come: under the same map, and with keys that open their rows here.
fn may_come(node: &Node, begins: &proto::SlotBegins) -> Result<Vec<String>, Rejection> {
    let map = map_ref(&node.map());
    if (begins.map_epoch, &*begins.map_digest) != (map.epoch, map.digest.as_slice()) {
        return Err(Reason::MapsDiffer.into());
    }
    let own = node.keyring.generations();
    let lacking: Vec<String> =
        begins.generations.iter().filter(|it| !own.contains(it)).map(u32::to_string).collect();
    if !lacking.is_empty() {
        let lacking = lacking.join(", ");
        let problem = format!("the other shard lacks generation {lacking} of the region's key");
        let fault = Rejection::new(Reason::FieldInvalid).field("slots").problem(problem);
        return Err(fault.cure("have it take this shard's keyring over: `bailiwick keys take`"));
    }
    let fits = |origin: &String| origin.len() <= ORIGIN_BYTES_MAX;
    if begins.origins.len() > ORIGINS_MAX || !begins.origins.iter().all(fits) {
        return Err(invalid("origins"));
    }
    let known = format!("{}/{}/{}/", node.deployment, node.region, node.shard);
    Ok(begins.origins.iter().filter(|origin| !origin.starts_with(&known)).cloned().collect())
}

fn rows_step(slot: Slot, rows: proto::SlotRows) -> Result<SlotStep, Rejection> {
    let proto::SlotRows { after, rows } = rows;
    let rows: Vec<_> = rows.into_iter().map(|row| (row.key.to_vec(), row.value.to_vec())).collect();
    let mut before: &[u8] = &after;
    for (key, _) in &rows {
        if !slot_move::travels(key, slot) || key.as_slice() <= before {
            return Err(invalid("rows"));
        }
        before = key;
    }
    let next = before.to_vec();
    Ok(SlotStep::Rows { after: after.to_vec(), next, rows })
}

fn handover_of(
    node: &Node,
    from: &OtherShard,
    of: proto::SlotHandover,
) -> Result<Handover, Rejection> {
    let proto::SlotHandover { origin, index, opening, digest, live } = of;
    // It stands in this log for ever: nothing but the name of a log of that shard.
    let theirs = format!("{}/{}/{}/", node.deployment, from.region, from.shard);
    if !origin.starts_with(&theirs) || origin.len() > ORIGIN_BYTES_MAX {
        return Err(invalid("origin"));
    }
    let fixed = |bytes: &[u8]| bytes.try_into().map_err(|_| invalid("digest"));
    Ok(Handover { origin, index, opening: fixed(&opening)?, digest: fixed(&digest)?, live })
}

fn invalid(field: &str) -> Rejection {
    let fault = Rejection::new(Reason::FieldInvalid).field(format!("slot_move.{field}"));
    fault.problem("is not as shards send it")
}
