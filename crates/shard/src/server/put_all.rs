//! Puts of which all are done or none: checked and sealed one by one, then queued together.

use std::sync::Arc;

use terms::Rejection;
use tokio::time::Instant;
use wire::session as proto;

use crate::policy::asker::Asker;
use crate::read::reader::Reader;
use crate::reply::{Outcome, ReplySlot, busy};
use crate::server::decode::Write;
use crate::server::proof_waiter::ProofWaiter;
use crate::store::types::EpochNumber;
use crate::write::command::Op;
use crate::write::queue_share::Room;

/// Bytes that a put takes up beside its body.
const PUT_BYTES: usize = 512;

/// The puts, each with the place for its answer.
pub(crate) struct PutAll {
    pub(crate) replies: Vec<ReplySlot>,
    pub(crate) puts: Vec<proto::Put>,
    pub(crate) deadline: Instant,
    pub(crate) asker: Asker,
    pub(crate) map_epoch: Option<EpochNumber>,
}

/// Prepares the puts and queues them. Bodies are sealed on a thread that may be busy for a while.
pub(crate) fn put_all(reader: &Reader, prover: &ProofWaiter, all: PutAll) {
    let PutAll { replies, puts, deadline, asker, map_epoch } = all;
    let puts: Vec<Write> = puts.into_iter().map(Write::Put).collect();
    let proven = |(reply, write): (ReplySlot, &Write)| {
        if write.prove() { prover.proven(reply) } else { reply }
    };
    let replies: Vec<ReplySlot> = replies.into_iter().zip(&puts).map(proven).collect();
    let room = |write: &Write| reader.queue.admit(write.body_bytes() + PUT_BYTES);
    let Some(rooms) = puts.iter().map(room).collect::<Option<Vec<Room>>>() else {
        return replies.into_iter().for_each(|reply| reply.send(busy()));
    };
    let reader = reader.clone();
    tokio::task::spawn_blocking(move || {
        let node = Arc::clone(&reader.node);
        let prepare = |(n, put): (usize, Write)| {
            put.prepare(&node, &asker).map_err(|fault| fault.of_request(n))
        };
        let actions: Result<Vec<_>, Rejection> =
            puts.into_iter().enumerate().map(prepare).collect();
        let actions = match actions {
            Ok(actions) => actions,
            Err(fault) => {
                let refused = |reply: ReplySlot| reply.send(Outcome::Rejected(fault.clone()));
                return replies.into_iter().for_each(refused);
            }
        };
        let ops = replies.into_iter().zip(actions).map(|(reply, action)| Op {
            reply,
            deadline,
            asker: asker.clone(),
            map_epoch,
            action,
        });
        reader.queue.submit_all(ops.zip(rooms).collect());
    });
}
