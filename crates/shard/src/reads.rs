//! Reads: the newest durable version of a record, opened. No read is silent.

use std::sync::Arc;

use atlas::Reads;
use terms::{Fault, Reason};
use tokio::time::Instant;
use wire::session as proto;

use crate::Error;
use crate::committer::Queue;
use crate::counts::Counts;
use crate::node::Node;
use crate::op::{Action, Op, Outcome, Read, ReplySlot};
use crate::prepare::Lookup;
use crate::record::{EntryAt, Stored};

/// What reads need beside the node.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) node: Arc<Node>,
    pub(crate) queue: Queue,
    pub(crate) counts: Arc<Counts>,
}

/// One read of a frame.
pub(crate) struct Get {
    pub(crate) reply: ReplySlot,
    pub(crate) deadline: Instant,
    pub(crate) lookup: Lookup,
}

impl Reader {
    /// Serves the reads of one frame, looked up together. Blocks its thread.
    pub(crate) fn serve(&self, gets: Vec<Get>) {
        let mut keys = Vec::with_capacity(gets.len() * 2);
        for get in &gets {
            keys.push(get.lookup.address.owner.row());
            keys.push(get.lookup.address.row.clone());
        }
        let wanted: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let rows = match self.node.engine.get_many(&wanted) {
            Ok(rows) => rows,
            Err(error) => {
                tracing::error!(%error, "rows cannot be read");
                let fault = Fault::new(Reason::Internal);
                return gets.into_iter().for_each(|get| get.reply.send(fault.clone().into()));
            }
        };
        let mut rows = rows.into_iter();
        for get in gets {
            let (subject, record) = (rows.next().flatten(), rows.next().flatten());
            self.one(get, subject.as_deref(), record.as_deref());
        }
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
            Some(Reads::Counted) => {
                if self.counts.add(asker.tenant_tag, &asker.caller, &address.collection) {
                    self.queue.write_counts();
                }
                reply.send(Outcome::Found(found));
            }
            // A collection that the map no longer names is treated as the stricter case.
            Some(Reads::Logged) | None => {
                let collection = address.collection;
                let action = Action::Read(Box::new(Read { collection, entry, found }));
                let (caller, tenant_tag) = (asker.caller, asker.tenant_tag);
                self.queue.submit(Op { reply, deadline, caller, tenant_tag, action });
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
        let row = subject.ok_or_else(|| Fault::new(Reason::SubjectUnknown).field("subject.id"))?;
        let subject = match self.node.subjects.get(&address.owner.tag) {
            Some(subject) => subject,
            None => Arc::new(self.node.open_subject(&address.owner, row)?),
        };
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
