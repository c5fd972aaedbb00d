//! What comes with a write, and its way to the committer.

use tokio::time::Instant;

use crate::policy::asker::Asker;
use crate::read::reader::Reader;
use crate::reply::ReplySlot;
use crate::server::decode::Write;
use crate::store::types::EpochNumber;
use crate::write::command::Op;
use crate::write::queue_share::Room;

/// What came with a write.
pub(super) struct Sent {
    pub(super) reply: ReplySlot,
    pub(super) deadline: Instant,
    pub(super) asker: Asker,
    pub(super) map_epoch: Option<EpochNumber>,
}

impl Sent {
    pub(super) fn submit(self, reader: &Reader, write: Write, room: Room) {
        let Self { reply, deadline, asker, map_epoch } = self;
        match write.prepare(&reader.node, &asker) {
            Ok(action) => {
                reader.queue.submit(Op { reply, deadline, asker, map_epoch, action }, room);
            }
            Err(fault) => reply.send(fault.into()),
        }
    }
}
