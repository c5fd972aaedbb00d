//! Session frames: counted, decoded, and a shard's "no" as a gateway reads it.

use link::session::{from_wire, to_wire};
use prost::Message as _;
use wire::bounded::{check, decode, FIELDS_MAX, FRAME_PARTS_MAX};
use wire::session::{reply, ToGateway, ToShard};

/// Tries one input. A panic is a finding.
pub fn run(data: &[u8]) {
    if let Ok(frame) = decode::<ToShard>(data) {
        assert!(frame.calls.len() <= FRAME_PARTS_MAX + 4);
        // What was read can be said again, and reads the same.
        let again = frame.encode_to_vec();
        assert!(ToShard::decode(&*again).is_ok_and(|read| read == frame));
    }
    let Ok(frame) = decode::<ToGateway>(data) else { return };
    assert!(check::<ToGateway>(data).is_ok());
    assert!(frame.replies.len() <= FRAME_PARTS_MAX + 4);
    let outcomes = frame.replies.into_iter().filter_map(|reply| reply.outcome);
    let faults = outcomes.filter_map(|outcome| match outcome {
        reply::Outcome::Fault(fault) => Some(fault),
        _ => None,
    });
    for fault in faults.chain(frame.goodbye) {
        assert!(fault.details.len() <= FIELDS_MAX);
        let read = from_wire(fault);
        assert!(from_wire(to_wire(&read)) == read, "a fault survives the way");
    }
}
