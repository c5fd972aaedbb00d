//! The calls of a shard of another region about copies of its records here.

use std::sync::Arc;

use atlas::Findings;
use ledger::entry::CopyEnd;
use prost::Message as _;
use terms::{Collection, Reason, RecordKey, Rejection, ShardId, SubjectId, TenantId};
use wire::session as proto;
use wire::session::call::Op;
use wire::session::copy_call::Step;

use crate::node::Node;
use crate::read::copies::{held_of, is_restored};
use crate::read::reader::Reader;
use crate::relocate::travel;
use crate::reply::{CopiesHeld, Outcome, ReplySlot, busy};
use crate::server::decode;
use crate::server::decode::Prepare;
use crate::server::handshake::{Gateway, OtherShard};
use crate::store::copied_set::HomePlace;
use crate::store::copy_keys;
use crate::store::keys::Owner;
use crate::store::record::{Address, Body};
use crate::store::types::{Minute, Period};
use crate::write::command;
use crate::write::command::{Action, TakeCopy, TakeCopyStep};
use crate::write::copy_command::CopyOfRecord;

/// Bytes that a step takes up in addition to what it brings.
const STEP_BYTES: usize = 4 << 10;
/// Bytes that the answer about copies held takes up, roughly.
const HELD_BYTES: usize = 256 << 10;
/// Bytes of the origin of a log.
const ORIGIN_BYTES_MAX: usize = 512;

/// Does a step, on a thread that may block.
pub(super) fn serve(
    reader: &Reader,
    gateway: &Gateway,
    from: &OtherShard,
    reply: ReplySlot,
    call: proto::Call,
) {
    let proto::Call { deadline_ms, tenant, op, map_epoch, .. } = call;
    let (deadline, map_epoch) = (Prepare::deadline(deadline_ms), decode::map_epoch(map_epoch));
    let Some(Op::Copy(copy)) = op else {
        return reply.send(Rejection::new(Reason::NotPermitted).into());
    };
    // What is read, and what is encrypted of it.
    let bytes = STEP_BYTES + 2 * copy.encoded_len();
    let owner = match owner(&reader.node, &tenant, &copy.subject) {
        Ok(owner) => owner,
        Err(fault) => return reply.send(fault.into()),
    };
    let asker = from.asker(&reader.node, gateway.territory, owner.tenant.clone());
    // Before anything is done for it: what is being encrypted counts as queued.
    let Some(room) = reader.queue.admit(bytes) else { return reply.send(busy()) };
    let (node, queue, from) = (Arc::clone(&reader.node), reader.queue.clone(), from.clone());
    tokio::task::spawn_blocking(move || match prepare(&node, &from, owner, copy, bytes) {
        Ok(copy) => {
            let action = Action::TakeCopy(Box::new(copy));
            queue.submit(command::Op { reply, deadline, asker, map_epoch, action }, room);
        }
        Err(fault) => {
            node.report(&fault);
            reply.send(fault.into());
        }
    });
}

/// Says of which of its records there are copies here, on a thread that may block.
pub(super) fn held(reader: &Reader, from: &OtherShard, reply: ReplySlot, call: proto::Call) {
    let Some(Op::HeldCopies(proto::HeldCopies { after })) = call.op else {
        return reply.send(Rejection::new(Reason::NotPermitted).into());
    };
    // As of any step: so not too many are answered at once.
    let Some(room) = reader.queue.admit(HELD_BYTES) else { return reply.send(busy()) };
    let (node, from) = (Arc::clone(&reader.node), from.clone());
    tokio::task::spawn_blocking(move || {
        let found = match copies_of(&node, &from, &after) {
            Ok(held) => Outcome::CopiesHeld(Box::new(held)),
            Err(fault) => {
                node.report(&fault);
                fault.into()
            }
        };
        reply.send(found);
        drop(room);
    });
}

fn copies_of(node: &Node, from: &OtherShard, after: &[u8]) -> Result<CopiesHeld, Rejection> {
    if is_restored(node)? {
        return Err(Reason::ShardBusy.into());
    }
    let after = (!after.is_empty()).then_some(after);
    if after.is_some_and(|after| !copy_keys::is_set(after)) {
        return Err(invalid("after"));
    }
    held_of(node, &from.region, &from.shard, after)
}

fn owner(node: &Node, tenant: &str, subject: &str) -> Result<Owner, Rejection> {
    let tenant = TenantId::parse(tenant).map_err(|why| Rejection::id("tenant", why))?;
    let subject = SubjectId::parse(subject).map_err(|why| Rejection::id("subject.id", why))?;
    let owner = node.namer.owner(tenant, subject);
    if node.owns(owner.slot) { Ok(owner) } else { Err(Reason::SlotNotOwned.into()) }
}

/// Reads what a step brings, and encrypts it under a key of this region. Blocks its thread.
fn prepare(
    node: &Node,
    from: &OtherShard,
    owner: Owner,
    copy: proto::CopyCall,
    bytes: usize,
) -> Result<TakeCopy, Rejection> {
    if is_restored(node)? {
        return Err(Reason::ShardBusy.into());
    }
    let proto::CopyCall { collection, origin, index, step, .. } = copy;
    let collection = Collection::parse(&collection);
    let collection = collection.map_err(|why| Rejection::id("collection", why))?;
    let (shard, period) = log_of(node, from, &origin)
        .filter(|(shard, _)| *shard == from.shard)
        .ok_or_else(|| invalid("origin"))?;
    let at = HomePlace { shard, period, index };
    let set = copy_keys::set(&owner, node.namer.copy_set(&collection, &from.region));
    let step = match step.ok_or_else(|| Rejection::new(Reason::NotBuilt))? {
        Step::Version(version) => {
            let mut copy = record(node, from, &owner, version)?;
            if copy.record.address.collection != collection {
                return Err(invalid("version"));
            }
            let address = &mut copy.record.address;
            address.row = copy_keys::copy(&set, &address.row);
            TakeCopyStep::Record(Box::new(copy))
        }
        Step::Gone(gone) => {
            let key = RecordKey::parse(&gone.key).map_err(|why| Rejection::id("key", why))?;
            let why = CopyEnd::parse(&gone.why).ok_or_else(|| invalid("why"))?;
            let row = node.namer.record(&owner, &collection, &key);
            let row = copy_keys::copy(&set, &row);
            let (owner, collection) = (owner.clone(), collection.clone());
            TakeCopyStep::Gone { address: Address { owner, collection, key, row }, why }
        }
        Step::State(state) => TakeCopyStep::State {
            findings: Findings::decode(&state.findings).map_err(|_| invalid("findings"))?,
            blocked: state.blocked,
        },
        Step::Drop(why) => TakeCopyStep::Drop(CopyEnd::parse(&why).ok_or_else(|| invalid("why"))?),
    };
    Ok(TakeCopy { owner, home: from.region.clone(), set, at, bytes, collection, step })
}

/// A version of a record.
fn record(
    node: &Node,
    from: &OtherShard,
    owner: &Owner,
    version: proto::CopyVersion,
) -> Result<CopyOfRecord, Rejection> {
    let proto::CopyVersion { findings, record, origin, index, written_minute } = version;
    let findings = Findings::decode(&findings).map_err(|_| invalid("findings"))?;
    let mut records = travel::read_records(node, owner, &record, None)?;
    let record = records.pop().filter(|_| records.is_empty()).ok_or_else(|| invalid("record"))?;
    if record.content.sealed.body() == Body::Deleted {
        return Err(invalid("record"));
    }
    // It stands in this log for ever: nothing but the name of a log of that region.
    log_of(node, from, &origin).ok_or_else(|| invalid("origin"))?;
    let nonces = [node.random()?, node.random()?];
    let (placed, written) = ((origin, index), Minute(written_minute));
    if !travel::is_date(written) {
        return Err(invalid("version"));
    }
    Ok(CopyOfRecord { record, findings, placed, written, nonces })
}

/// The shard and the period of a log of that region.
fn log_of(node: &Node, from: &OtherShard, origin: &str) -> Option<(ShardId, Period)> {
    let theirs = format!("{}/{}/", node.deployment, from.region);
    let (shard, period) = origin.strip_prefix(&theirs)?.split_once('/')?;
    let digits = period.len() <= 10 && period.bytes().all(|digit| digit.is_ascii_digit());
    let period = period.parse().ok().filter(|_| digits && origin.len() <= ORIGIN_BYTES_MAX)?;
    Some((ShardId::parse(shard).ok()?, Period(period)))
}

fn invalid(field: &'static str) -> Rejection {
    let fault = Rejection::new(Reason::FieldInvalid).field(format!("copy.{field}"));
    fault.problem("is not as shards send it")
}
