//! Fills a group with writes, up to what fits into one commit.

use std::collections::VecDeque;

use terms::{Reason, Rejection, limits};

use crate::write::command::Op;
use crate::write::queue_share::Room;
use crate::write::transaction::{Done, Transaction};
use crate::write::uploads;

/// Bytes that the rows of a group may have before it is closed: one more write of the largest size
/// still fits into the engine's batch. A body is counted in its op; a write can change a subject's
/// row besides, whose findings and rulings are larger than many a body.
const GROUP_BYTES_MAX: usize = limits::COMMIT_BYTES_MAX;
const _: () = assert!(
    GROUP_BYTES_MAX + engine::VALUE_BYTES_MAX + (4 << 20) <= engine::BATCH_BYTES_MAX,
    "a group that is closed early is never too large"
);

/// Applies commands until the group is full. Returns the rooms that they had in the queue.
pub(crate) fn fill(
    work: &mut Transaction<'_>,
    ops: &mut VecDeque<(Op, Room)>,
    low: bool,
    unbelieved: bool,
) -> Vec<Room> {
    let mut rooms = Vec::with_capacity(ops.len());
    while work.bytes() < GROUP_BYTES_MAX
        && let Some((op, room)) = ops.pop_front()
    {
        // What takes the body out of the row that was read waits for the writes before it.
        if let Some(address) = op.action.keeps_body_of()
            && work.heads.contains_key(&address.row)
        {
            ops.push_front((op, room));
            break;
        }
        let alone = op.action.goes_alone();
        if alone && !rooms.is_empty() {
            ops.push_front((op, room));
            break;
        }
        rooms.push(room);
        let refuse = |reason| Done::from(Rejection::new(reason));
        if unbelieved {
            work.answers.push((op.reply, refuse(Reason::ClockUnconfirmed)));
        } else if low && op.action.fills() {
            work.answers.push((op.reply, refuse(Reason::DiskReserve)));
        } else {
            work.apply(op, uploads::step);
        }
        if alone {
            break;
        }
    }
    rooms
}
