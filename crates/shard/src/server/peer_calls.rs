//! Calls of other shards: the steps of moves and copies for one of another region, and the slots of this store for
//! one of this region.

use terms::{Reason, Rejection};
use wire::session as proto;
use wire::session::call::Op;

use crate::log::view::LogViews;
use crate::read::reader::Reader;
use crate::reply::ReplySlot;
use crate::server::handshake::{Gateway, OtherShard};
use crate::server::{arrival_calls, copy_calls, slot_calls};

/// Whether shards alone ask that.
pub(crate) const fn are_of_shards(op: Option<&Op>) -> bool {
    matches!(
        op,
        Some(Op::Arrival(_) | Op::Copy(_) | Op::HeldCopies(_) | Op::AskSlots(_) | Op::SlotMove(_))
    )
}

/// Answers a call of another shard.
pub(crate) fn serve(
    reader: &Reader,
    views: &LogViews,
    gateway: &Gateway,
    from: &OtherShard,
    reply: ReplySlot,
    call: proto::Call,
) {
    let node = &reader.node;
    match (&call.op, from.region == node.region) {
        (Some(Op::AskSlots(_)), true) => slot_calls::say_slots(reader, gateway, from, reply),
        (Some(Op::SlotMove(of)), true) => {
            slot_calls::serve(reader, gateway, from, reply, call.deadline_ms, of.clone());
        }
        (Some(Op::Arrival(_)), false) => {
            arrival_calls::serve(reader, views, gateway, from, reply, call);
        }
        (Some(Op::Copy(_)), false) => copy_calls::serve(reader, gateway, from, reply, call),
        (Some(Op::HeldCopies(_)), false) => copy_calls::held(reader, from, reply, call),
        _ => reply.send(Rejection::new(Reason::NotPermitted).into()),
    }
}
