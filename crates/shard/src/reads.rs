//! Reads: the newest durable version of a record, opened. No read is silent.

use std::sync::Arc;

use atlas::Reads;
use terms::{Fault, Reason, limits};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use wire::session as proto;

use crate::Error;
use crate::committer::{Life, Queue, busy};
use crate::counts::Counts;
use crate::fence::{self, Fence};
use crate::node::Node;
use crate::op::{Action, Op, Outcome, Read, ReplySlot};
use crate::prepare::{Asker, Lookup};
use crate::record::{EntryAt, Stored};

/// Reads that are looked up together: a few of the largest records fit into memory.
const GETS_AT_ONCE: usize = 32;

/// What reads need beside the node.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) node: Arc<Node>,
    pub(crate) queue: Queue,
    pub(crate) counts: Arc<Counts>,
    pub(crate) life: watch::Sender<Life>,
}

/// One read of a frame.
pub(crate) struct Get {
    pub(crate) reply: ReplySlot,
    pub(crate) deadline: Instant,
    pub(crate) lookup: Lookup,
}

/// Room for the records that wait on one session for their gateway to take them.
#[derive(Clone)]
pub(crate) struct Answers(Arc<Semaphore>);

impl Answers {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(limits::SESSION_ANSWER_BYTES_MAX >> 10)))
    }

    /// Kibibytes, rounded up; the largest record is below the whole.
    fn size(body: usize) -> u32 {
        u32::try_from((body >> 10) + 1).unwrap_or(u32::MAX)
    }

    /// Waits for room. `None`: the session has ended. Blocks its thread.
    fn wait(&self, body: usize) -> Option<OwnedSemaphorePermit> {
        let room = Arc::clone(&self.0).acquire_many_owned(Self::size(body));
        Handle::current().block_on(room).ok()
    }

    /// A record has left the session's queue.
    pub(crate) fn left(&self, frame: &proto::ToGateway) {
        for reply in &frame.replies {
            if let Some(proto::reply::Outcome::Found(found)) = &reply.outcome {
                let size = usize::try_from(Self::size(found.body.len())).unwrap_or(0);
                self.0.add_permits(size);
            }
        }
    }

    /// The session has ended: nobody waits any more.
    pub(crate) fn close(&self) {
        self.0.close();
    }
}

impl Reader {
    /// Serves the reads of one frame, some at a time. Blocks its thread.
    pub(crate) fn serve(&self, gets: Vec<Get>, answers: &Answers) {
        let mut gets = gets.into_iter();
        loop {
            let some: Vec<Get> = gets.by_ref().take(GETS_AT_ONCE).collect();
            if some.is_empty() {
                return;
            }
            if let Err(error) = self.some(some, answers) {
                // Nothing that is read from here on can be trusted: as after a failed flush.
                tracing::error!(%error, "rows cannot be read; the shard answers nothing more");
                self.life.send_replace(Life::Poisoned);
                return;
            }
        }
    }

    fn some(&self, gets: Vec<Get>, answers: &Answers) -> Result<(), engine::Error> {
        let mut keys = Vec::with_capacity(gets.len() * 2);
        for get in &gets {
            keys.push(get.lookup.address.owner.row());
            keys.push(get.lookup.address.row.clone());
        }
        let wanted: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let mut rows = self.node.engine.get_many(&wanted)?.into_iter();
        for mut get in gets {
            let (subject, record) = (rows.next().flatten(), rows.next().flatten());
            let Some(room) = answers.wait(record.as_ref().map_or(0, Vec::len)) else {
                return Ok(());
            };
            get.reply.room = Some(room);
            self.one(get, subject.as_deref(), record.as_deref());
        }
        Ok(())
    }

    fn one(&self, get: Get, subject: Option<&[u8]>, record: Option<&[u8]>) {
        let Get { reply, deadline, lookup } = get;
        if Instant::now() > deadline {
            return reply.send(Fault::new(Reason::DeadlinePassed).into());
        }
        let (found, entry) = match self.open(&lookup, subject, record) {
            Ok(found) => found,
            Err(fault) => return reply.send(fault.into()),
        };
        self.node.metrics.reads.inc();
        let Lookup { address, asker } = lookup;
        match self.node.map.collection(&address.collection).map(atlas::CollectionRules::reads) {
            Some(Reads::Counted)
                if self.counts.add(asker.tenant_tag, &asker.caller, &address.collection) =>
            {
                reply.send(Outcome::Found(found));
            }
            // Also a collection that the map no longer names, and a caller for whom no counter is
            // left: no read is silent.
            Some(Reads::Logged | Reads::Counted) | None => {
                let collection = address.collection;
                let action = Action::Read(Box::new(Read { collection, entry, found }));
                let Asker { caller, tenant_tag, stands, .. } = asker;
                let gateway = stands.gateway;
                let Some(room) = self.queue.admit(action.bytes()) else {
                    return reply.send(busy());
                };
                self.queue
                    .submit(Op { reply, deadline, caller, tenant_tag, gateway, action }, room);
            }
        }
    }

    fn open(
        &self,
        lookup: &Lookup,
        subject: Option<&[u8]>,
        record: Option<&[u8]>,
    ) -> Result<(proto::Found, EntryAt), Fault> {
        let Lookup { address, .. } = lookup;
        let fence = Fence { node: &self.node, lookup };
        let Some(row) = subject else {
            fence.absent()?;
            return Err(fence::unknown());
        };
        let cached = self.node.subjects.get(&address.owner.tag);
        let opened = cached
            .map_or_else(|| self.node.open_subject(&address.owner, row).map(Arc::new), Ok)
            .map_err(Fault::from);
        let subject = match opened {
            Ok(subject) => subject,
            Err(damaged) => {
                // That there is a row at all is not for everybody.
                fence.absent()?;
                return Err(damaged);
            }
        };
        // Before the record is looked at: the answer tells nothing of it to whom it is barred.
        fence.known(&subject)?;
        let not_found = || Fault::new(Reason::RecordNotFound).field("key");
        let row = record.ok_or_else(not_found)?;
        let damaged = |_| Fault::from(Error::Damaged("records"));
        let stored = Stored::read(row).map_err(damaged)?;
        let head = stored.head(address, &self.node.region, subject.key()).map_err(damaged)?;
        if head.deleted {
            return Err(not_found());
        }
        let body = stored.body(address, &self.node.region, &head).map_err(damaged)?;
        let version = i64::try_from(head.version).unwrap_or(i64::MAX);
        Ok((proto::Found { version, etag: head.etag(), body: body.into() }, head.entry))
    }
}
