//! Lists and counts: the records of a subject, or of a collection in this shard, that a filter
//! wants. All of a page is read at one moment.
//!
//! A record is given only if those who ask may read it, as with a single read; what may not leave
//! is counted as withheld. From abroad, where a law may bar a reader, nothing is asked of what is
//! withheld, and no index finds it: the count must not tell by what a person can be found.

mod changes;
mod count;
mod cursor;
mod fault;
mod filling;
pub(crate) mod people;
mod plan;
mod query;
mod seen;
mod walk;

use std::cell::RefCell;

use ledger::entry::Kind;
use sealed::{AnswerPart, AnswerSecret, PageDigest};
use terms::{Detail, Reason, Rejection};
use tokio::time::Instant;

use crate::Error;
use crate::node::Node;
use crate::policy::asker::Asker;
use crate::policy::egress::EgressPolicy;
use crate::read::list::fault::Fault;
use crate::read::list::people::People;
use crate::read::list::plan::Plan;
use crate::read::list::walk::Walk;
use crate::read::reader::Reader;
use crate::reply::{Outcome, Page, ReplySlot, busy};
use crate::store::damage::{is_over, read_row};
use crate::store::region_maps::map_ref;
use crate::store::types::EpochNumber;
use crate::write::command::{Action, Errand, Op, Read, ReadAbout, ReadOf};
use crate::write::question::{NotedAnswer, Question};

pub(crate) use query::{ListQuery, Of, View, Wanted};

/// A list or count on its way.
pub(crate) struct List {
    pub(crate) reply: ReplySlot,
    pub(crate) deadline: Instant,
    pub(crate) asker: Asker,
    pub(crate) query: ListQuery,
}

impl List {
    /// Reads the page, notes the read, and answers. Blocks its thread.
    pub(crate) fn serve(self, reader: &Reader) {
        let Self { mut reply, deadline, asker, query } = self;
        // Before anything is judged: should another map come in, it is judged again.
        let judged = EpochNumber::of(&reader.node.map());
        match read(reader, &asker, &query, deadline, judged) {
            Err(fault) => {
                reader.node.report(&fault);
                reply.send(fault.into());
            }
            Ok(page) => {
                reply.fit_room(page.weight);
                let noting = Noting { reader, deadline, asker, query, judged };
                if noting.query.of == Of::Number {
                    noting.count(reply, page)
                } else {
                    noting.page(reply, page)
                }
            }
        }
    }
}

fn read(
    reader: &Reader,
    asker: &Asker,
    query: &ListQuery,
    deadline: Instant,
    judged: EpochNumber,
) -> Result<Page, Rejection> {
    let (node, counts) = (&*reader.node, &*reader.counts);
    let policy = EgressPolicy { node, counts, collection: &query.collection, asker, judged };
    let broken = |error| broken(reader, error);
    let map = node.map();
    // Before anything is told: a question that does not open is told nothing.
    let secret = query.secret(node, &asker.tenant)?;
    let served = node.slots.borrow().served.clone();
    // Before the rows are read: what is committed meanwhile comes with the next page.
    let end = changes::end(node);
    // All rows are those of one moment.
    let view = node.engine.view().map_err(broken)?;
    let asked = query.read_under(&map, &*view)?;
    let (people, guarded) = match &query.subject {
        // Its records are theirs to read, or there is no list at all; but for those that name others.
        Some(owner) => {
            let row = read_row(&*view, &owner.row()).map_err(broken)?;
            (People::readable(owner, policy.admit(owner, row)?), !policy.at_home())
        }
        None => {
            all_confirmed(node)?;
            (People::default(), policy.may_withhold())
        }
    };
    let plan = Plan::new(&node.namer, &asker.tenant, query, &asked, guarded)?;
    let (policy, view, asked, plan) = (&policy, &*view, &asked, &plan);
    let (people, now) = (RefCell::new(people), node.now());
    let walk = Walk { policy, view, query, asked, plan, guarded, deadline, now, people, secret };
    let page = match query.of {
        Of::Records => filling::page(&walk),
        // Its entry says how many there are, and stands before the first is given.
        Of::Scan if query.cursor.is_empty() => walk.count().and_then(|all| {
            let page = filling::page(&walk)?;
            Ok(Page { count: all.count, ..page })
        }),
        Of::Scan => filling::page(&walk),
        Of::Number => walk.count(),
        Of::Changes => changes::page(&walk, end),
    };
    let page = page.map_err(|fault| match fault {
        Fault::Engine(error) => broken(error),
        Fault::Rejected(fault) => fault,
    })?;
    // Another shard may have what was read, and more of it.
    match &query.subject {
        Some(owner) => node.still_owns(owner.slot)?,
        None if node.slots.borrow().served != served => return Err(Reason::SlotNotOwned.into()),
        None => all_confirmed(node)?,
    }
    match secret {
        Some(secret) if query.export => with_seal(node, query, secret, page),
        Some(_) | None => Ok(page),
    }
}

/// A page of an export, with what shows where it begins and ends, and that it has all that it had here.
fn with_seal(
    node: &Node,
    query: &ListQuery,
    secret: &AnswerSecret,
    page: Page,
) -> Result<Page, Rejection> {
    if page.withheld > 0 {
        // It is whole, or refused.
        return Err(Rejection::new(Reason::ExportWithheld).with(Detail::Region, &node.region));
    }
    let mut records = PageDigest::default();
    page.records.iter().for_each(|record| records.add(&record.body));
    let part = AnswerPart::Page {
        collection: query.collection.as_str(),
        from: &query.cursor,
        next: &page.next,
        records: &records.finish(),
    };
    let seal = secret.seal_part(node.random()?, &part, &[]).into();
    Ok(Page { seal, ..page })
}

/// What is not of one person goes over all slots of the store. As long as some are not confirmed, their
/// people are served by no shard, or by another one: a page would lack them, and a count have them.
fn all_confirmed(node: &Node) -> Result<(), Rejection> {
    let slots = node.slots.borrow();
    if slots.are_settled() {
        return Ok(());
    }
    let fault = Rejection::new(Reason::SlotNotOwned);
    if slots.unconfirmed.is_empty() {
        return Err(fault.problem("a slot goes from one shard of the region to another just now"));
    }
    Err(fault.problem("the other shards of the region have not confirmed all slots of this one"))
}

/// A store that answers no more is opened again, or ends the shard.
fn broken(reader: &Reader, error: engine::Error) -> Rejection {
    if is_over(&error) {
        tracing::error!(%error, "rows cannot be read");
        reader.queue.recover();
    }
    Error::from(error).into()
}

/// How a read is noted: no read is silent.
struct Noting<'a> {
    reader: &'a Reader,
    deadline: Instant,
    asker: Asker,
    query: ListQuery,
    judged: EpochNumber,
}

impl Noting<'_> {
    /// A page of whole records, or of a collection whose reads are logged, has an entry of its own, the
    /// latter even if it is empty; of a scan, the first page has one for all. Any other is counted. If
    /// reads are logged, the people in a page of the whole collection are told of it, before its entry.
    fn page(self, reply: ReplySlot, page: Page) {
        let Self { reader, deadline, asker, query, judged } = self;
        let records = u64::try_from(page.records.len()).unwrap_or(u64::MAX);
        reader.node.metrics.reads.inc_by(records);
        let begins = query.of == Of::Scan && query.cursor.is_empty();
        let rules = reader.node.map();
        let reads = rules.collection(&query.collection).map(atlas::CollectionRules::reads);
        // What tells that nothing matches is a read too; that nothing has changed, or comes after the first
        // page of a scan, is none.
        let tells = query.of == Of::Records && reads != Some(atlas::Reads::Counted);
        if records == 0 && !begins && !tells {
            return reply.send(Outcome::Listed(page));
        }
        if query.subject.is_none()
            && reads != Some(atlas::Reads::Counted)
            && let Err(fault) = seen::note(reader, &asker, &query, &page)
        {
            reader.node.report(&fault);
            return reply.send(fault.into());
        }
        let counted = match query.of {
            // The first page has the entry of all.
            Of::Scan => !begins,
            Of::Records | Of::Number | Of::Changes => {
                query.view != View::Whole && reads == Some(atlas::Reads::Counted)
            }
        };
        if counted && reader.counts.add(judged, &asker.who, &query.collection, records) {
            return reply.send(Outcome::Listed(page));
        }
        let of = ReadOf::Page {
            count: if begins { page.count } else { records },
            why: query.purpose(),
            page,
        };
        let purpose = query.purpose.clone();
        let about = query.subject.map(|owner| ReadAbout::new(owner, purpose));
        let read = Read { collection: query.collection, of, about, judged };
        let action = Action::Read(Box::new(read));
        let Some(room) = reader.queue.admit(action.bytes()) else { return reply.send(busy()) };
        // No ruling is asked for: under which map it was sent does not matter.
        let op = Op { reply, deadline, asker, map_epoch: None, action };
        reader.queue.submit(op, room);
    }

    /// A count is a question about many: it is answered once a COUNT entry is durable.
    fn count(self, reply: ReplySlot, page: Page) {
        let Self { reader, asker, query, judged, .. } = self;
        let map = map_ref(&reader.node.map());
        let (count, why) = (page.count, query.purpose());
        let outcome = Outcome::Listed(page);
        let question = Question {
            kind: Kind::Count,
            answer: NotedAnswer::Session(reply, Box::new(outcome)),
            who: asker.who,
            collection: Some(query.collection),
            judged: Some(judged),
            map,
            count,
            why: why.into(),
        };
        reader.queue.submit_errand(Errand::Note(Box::new(question)));
    }
}
