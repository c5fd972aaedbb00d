//! Reads: the newest durable version of a record, opened. No read is silent.

use std::sync::Arc;

use atlas::Reads;
use terms::{Reason, Rejection};
use tokio::sync::watch;
use tokio::time::Instant;
use wire::session as proto;

use crate::Error;
use crate::log::access_counters::AccessCounters;
use crate::node::Node;
use crate::policy::egress;
use crate::policy::egress::EgressPolicy;
use crate::server::decode::{Asker, Lookup};
use crate::store::damage::Row;
use crate::store::record::{Address, EntryAt, Stored};
use crate::store::subject::Subject;
use crate::write::command::{Action, Op, Outcome, Read, ReplySlot};
use crate::write::committer::{Life, Queue, busy};

/// What reads need beside the node.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) node: Arc<Node>,
    pub(crate) queue: Queue,
    pub(crate) counts: Arc<AccessCounters>,
    pub(crate) life: watch::Sender<Life>,
}

/// One read of a frame.
pub(crate) struct Get {
    pub(crate) reply: ReplySlot,
    pub(crate) deadline: Instant,
    pub(crate) lookup: Lookup,
}

impl Reader {
    /// Serves some reads, whose answers have room already. Blocks its thread.
    pub(crate) fn serve(&self, gets: Vec<Get>) {
        if let Err(error) = self.some(gets) {
            // Nothing that is read from here on can be trusted: as after a failed flush.
            tracing::error!(%error, "rows cannot be read; the shard answers nothing more");
            self.life.send_replace(Life::Poisoned);
        }
    }

    /// Who reads at home is let in in any case: subject and record are read at once. For all
    /// others the fence is asked first, and a record that it bars is not touched: neither its size
    /// nor its being there may tell by how long the answer takes.
    fn some(&self, gets: Vec<Get>) -> Result<(), engine::Error> {
        // Before anything is judged: should another map come in, it is judged again.
        let judged = self.node.map().epoch().number;
        let mut keys = Vec::with_capacity(gets.len() * 2);
        for get in &gets {
            keys.push(get.lookup.address.owner.row());
            if self.fence(&get.lookup, judged).at_home() {
                keys.push(get.lookup.address.row.clone());
            }
        }
        let mut rows = self.node.read_rows(&keys)?.into_iter();
        let (mut ready, mut later) = (Vec::new(), Vec::new());
        for get in gets {
            let home = self.fence(&get.lookup, judged).at_home();
            let mut next = || rows.next().unwrap_or(Ok(None));
            let (subject, record) = (next(), home.then(next));
            match self.let_in(&get, judged, subject) {
                Err(fault) => self.refuse(get.reply, fault),
                Ok(subject) => match record {
                    Some(record) => ready.push((get, subject, record)),
                    None => later.push((get, subject)),
                },
            }
        }
        let keys: Vec<_> = later.iter().map(|(get, _)| get.lookup.address.row.clone()).collect();
        let rows = self.node.read_rows(&keys)?;
        ready.extend(later.into_iter().zip(rows).map(|((get, subject), row)| (get, subject, row)));
        for (get, subject, record) in ready {
            let record = match record {
                Ok(record) => record,
                Err(fault) => {
                    self.refuse(get.reply, fault);
                    continue;
                }
            };
            self.one(get, judged, &subject, record.as_deref());
        }
        Ok(())
    }

    fn refuse(&self, reply: ReplySlot, fault: Rejection) {
        self.node.report(&fault);
        reply.send(fault.into());
    }

    fn fence<'a>(&'a self, lookup: &'a Lookup, judged: u64) -> EgressPolicy<'a> {
        EgressPolicy { node: &self.node, counts: &self.counts, lookup, judged }
    }

    /// The subject, if those who ask may have its records.
    fn let_in(&self, get: &Get, judged: u64, row: Row) -> Result<Arc<Subject>, Rejection> {
        let Get { deadline, lookup, .. } = get;
        if Instant::now() > *deadline {
            return Err(Rejection::new(Reason::DeadlinePassed));
        }
        let (owner, fence) = (&lookup.address.owner, self.fence(lookup, judged));
        let row = match row {
            Ok(None) => {
                fence.absent()?;
                return Err(egress::unknown());
            }
            Ok(Some(row)) => Ok(row),
            Err(fault) => Err(fault),
        };
        let opened = row.and_then(|row| match self.node.subjects.get(&owner.tag) {
            Some(cached) => Ok(cached),
            None => Ok(Arc::new(self.node.open_subject(owner, &row)?)),
        });
        let subject = match opened {
            Ok(subject) => subject,
            Err(damaged) => {
                // That there is a row at all is not for everybody.
                fence.absent()?;
                return Err(damaged);
            }
        };
        fence.known(&subject)?;
        Ok(subject)
    }

    fn one(&self, get: Get, judged: u64, subject: &Subject, record: Option<&[u8]>) {
        let Get { mut reply, deadline, lookup } = get;
        if Instant::now() > deadline {
            return reply.send(Rejection::new(Reason::DeadlinePassed).into());
        }
        let (found, entry) = match self.open(&lookup.address, subject, record) {
            Ok(found) => found,
            Err(fault) => return self.refuse(reply, fault),
        };
        reply.fit_room(found.body.len());
        self.node.metrics.reads.inc();
        let Lookup { address, asker } = lookup;
        match self.node.map().collection(&address.collection).map(atlas::CollectionRules::reads) {
            Some(Reads::Counted)
                if self.counts.add(
                    judged,
                    asker.tenant_tag,
                    &asker.caller,
                    &address.collection,
                ) =>
            {
                reply.send(Outcome::Found(found));
            }
            // Also a collection that the map no longer names, a caller for whom no counter is left,
            // and a read under a map that is being replaced: no read is silent.
            Some(Reads::Logged | Reads::Counted) | None => {
                let collection = address.collection;
                let read = Read { collection, entry, found, judged };
                let action = Action::Read(Box::new(read));
                let Asker { caller, tenant_tag, stands, .. } = asker;
                let gateway = stands.gateway;
                let Some(room) = self.queue.admit(action.bytes()) else {
                    return reply.send(busy());
                };
                // No ruling is asked for: under which map it was sent does not matter.
                let map_epoch = 0;
                let op = Op { reply, deadline, caller, tenant_tag, gateway, map_epoch, action };
                self.queue.submit(op, room);
            }
        }
    }

    fn open(
        &self,
        address: &Address,
        subject: &Subject,
        record: Option<&[u8]>,
    ) -> Result<(proto::Found, EntryAt), Rejection> {
        let not_found = || Rejection::new(Reason::RecordNotFound).field("key");
        let row = record.ok_or_else(not_found)?;
        let damaged = |_| Rejection::from(Error::Damaged("records"));
        let stored = Stored::read(row).map_err(damaged)?;
        let head = stored.head(address, &self.node.region, subject.key()).map_err(damaged)?;
        if head.deleted {
            return Err(not_found());
        }
        let body =
            stored.body(address, &self.node.region, self.node.cipher, &head).map_err(damaged)?;
        let version = i64::try_from(head.version).unwrap_or(i64::MAX);
        Ok((proto::Found { version, etag: head.etag(), body: body.into() }, head.entry))
    }
}
