//! The calls of a shard of another region: the steps of moves of subjects to here.

use std::sync::Arc;

use ledger::Receipt;
use ledger::entry::{Kind, Role};
use ledger::note::Verifier;
use terms::{Reason, Rejection, SubjectId, TenantId};
use wire::session as proto;
use wire::session::arrival::Step;
use wire::session::call::Op;

use crate::Error;
use crate::node::Node;
use crate::policy::asker::{Asker, Stands};
use crate::read::reader::Reader;
use crate::relocate::digest;
use crate::relocate::digest::Whole;
use crate::relocate::travel;
use crate::reply::{Arrived, ArrivedState, Outcome, ReplySlot, busy};
use crate::server::decode;
use crate::server::decode::Prepare;
use crate::server::handshake::{Gateway, OtherShard};
use crate::store::accesses::Accesses;
use crate::store::damage::read_rows;
use crate::store::keys::Owner;
use crate::store::moving::Arriving;
use crate::store::principal::Principal;
use crate::store::subject::{Status, Subject, SubjectRow};
use crate::write::command;
use crate::write::command::{Action, Arrive, ArriveStep};
use crate::write::entries::subject_statement;
use crate::write::move_command::Adoption;

/// Bytes that a step takes up in addition to what it brings.
const STEP_BYTES: usize = 4 << 10;

/// One step, whose names are checked.
struct Checked {
    asker: Asker,
    owner: Owner,
    from: OtherShard,
    move_id: [u8; 16],
}

/// Does a step, on a thread that may block.
pub(crate) fn serve(
    reader: &Reader,
    gateway: &Gateway,
    from: &OtherShard,
    reply: ReplySlot,
    call: proto::Call,
) {
    let proto::Call { deadline_ms, tenant, op, map_epoch, .. } = call;
    let (deadline, map_epoch) = (Prepare::deadline(deadline_ms), decode::map_epoch(map_epoch));
    let Some(Op::Arrival(arrival)) = op else {
        return reply.send(Rejection::new(Reason::NotPermitted).into());
    };
    let checked = match checked(&reader.node, gateway, from, &tenant, &arrival) {
        Ok(checked) => checked,
        Err(fault) => return reply.send(fault.into()),
    };
    let Some(step) = arrival.step else {
        return reply.send(Rejection::new(Reason::NotBuilt).into());
    };
    let bytes = STEP_BYTES + bytes_of(&step);
    // Before anything is done for it: what is being encrypted counts as queued.
    let Some(room) = reader.queue.admit(bytes) else { return reply.send(busy()) };
    let (node, queue) = (Arc::clone(&reader.node), reader.queue.clone());
    tokio::task::spawn_blocking(move || match prepare(&node, &checked, step) {
        Ok(Prepared::Answer(arrived)) => reply.send(Outcome::Arrived(arrived)),
        Ok(Prepared::Step(step)) => {
            let Checked { asker, owner, from, move_id } = checked;
            let opening = match node.random() {
                Ok(opening) => opening,
                Err(error) => return reply.send(Rejection::from(error).into()),
            };
            let from = from.region;
            let arrive = Arrive { owner, from, move_id, opening, bytes, step };
            let action = Action::Arrive(Box::new(arrive));
            queue.submit(command::Op { reply, deadline, asker, map_epoch, action }, room);
        }
        Err(fault) => {
            node.report(&fault);
            reply.send(fault.into());
        }
    });
}

fn bytes_of(step: &Step) -> usize {
    match step {
        Step::Begin(subject) => subject.len(),
        // Read, and encrypted.
        Step::Rows(rows) => 2 * rows.records.len(),
        Step::Check(_) | Step::Adopt(_) | Step::Drop(_) => 0,
    }
}

/// The shard that asks, and the subject.
fn checked(
    node: &Node,
    gateway: &Gateway,
    from: &OtherShard,
    tenant: &str,
    arrival: &proto::Arrival,
) -> Result<Checked, Rejection> {
    let tenant = TenantId::parse(tenant).map_err(|why| Rejection::id("tenant", why))?;
    let subject = SubjectId::parse(&arrival.subject);
    let subject = subject.map_err(|why| Rejection::id("subject.id", why))?;
    let move_id = arrival.move_id.as_ref().try_into();
    let move_id = move_id.map_err(|_| Rejection::new(Reason::FieldInvalid).field("request_id"))?;
    let owner = node.namer.owner(tenant.clone(), subject);
    if !node.owns(owner.slot) {
        return Err(Reason::SlotNotOwned.into());
    }
    let (territory, log) = (gateway.territory, node.growing());
    let name = format!("{}/{}", from.region, from.shard);
    let stands = Some(territory.as_str().to_owned());
    let who = Principal::new(&log, Some(tenant.clone()), &name, Role::Shard, stands);
    let stands = Stands { gateway: territory, caller: Some(territory) };
    let asker = Asker { tenant, who: Arc::new(who), stands };
    Ok(Checked { asker, owner, from: from.clone(), move_id })
}

/// What a step comes to.
enum Prepared {
    Step(ArriveStep),
    Answer(Arrived),
}

/// Reads what a step brings. Blocks its thread.
fn prepare(node: &Node, of: &Checked, step: Step) -> Result<Prepared, Rejection> {
    let invalid = || Rejection::new(Reason::FieldInvalid).field("arrival");
    Ok(match step {
        Step::Begin(subject) => {
            let subject = travel::read_subject(&subject).map_err(|_| invalid())?;
            Prepared::Step(ArriveStep::Begin(Box::new(subject)))
        }
        Step::Rows(proto::ArrivalRows { after, next, records }) => {
            let records = travel::read_records(node, &of.owner, &records)?;
            if records.is_empty() {
                return Err(invalid());
            }
            let (after, next) = (after.to_vec(), next.to_vec());
            Prepared::Step(ArriveStep::Rows { after, next, records })
        }
        Step::Check(_) => Prepared::Answer(check(node, of)?.map_or_else(
            || Arrived::of(ArrivedState::None),
            |(here, whole)| arrived(node, &here, whole),
        )),
        Step::Adopt(end) => {
            let adoption = match check(node, of)? {
                Some((here, whole)) => adoption(node, of, &here, whole, end)?,
                // The committer says what has become of it.
                None => Adoption {
                    after: Vec::new(),
                    digest: [0; 32],
                    source: (String::new(), 0),
                    accesses: Accesses::default(),
                },
            };
            Prepared::Step(ArriveStep::Adopt(Box::new(adoption)))
        }
        Step::Drop(_) => Prepared::Step(ArriveStep::Drop),
    })
}

fn arrived(node: &Node, here: &Arriving, whole: Whole) -> Arrived {
    let period = node.period_of(here.began.log).ok();
    let began = period.map(|period| (node.origins().of(period).into(), here.began.index));
    let (after, digest) = (here.after.clone(), Some(whole.digest));
    Arrived { state: ArrivedState::Staging, after, heads: whole.heads, began, digest }
}

/// Reads back all that has arrived. None: nothing arrives of that move.
fn check(node: &Node, of: &Checked) -> Result<Option<(Arriving, Whole)>, Rejection> {
    let Some((here, subject)) = arriving(node, of)? else { return Ok(None) };
    let whole = digest::of_all(node, &of.owner, &subject)?;
    if (whole.heads, whole.live()) != (here.heads, here.live) {
        return Err(Error::Damaged("records").into());
    }
    // What was read was all of it, and of that moment.
    match arriving(node, of)? {
        Some((still, _)) if still == here => Ok(Some((here, whole))),
        _ => Err(Reason::ShardBusy.into()),
    }
}

fn arriving(node: &Node, of: &Checked) -> Result<Option<(Arriving, Subject)>, Rejection> {
    let rows = read_rows(&*node.engine, &[of.owner.row()]).map_err(Error::from)?;
    let Some(row) = rows.into_iter().next().unwrap_or(Ok(None))? else { return Ok(None) };
    let SubjectRow::Kept(subject) = node.open_subject(&of.owner, &row)? else { return Ok(None) };
    let Status::Arriving(here) = &subject.status else { return Ok(None) };
    let here = Arriving::clone(here);
    let meant = here.move_id == of.move_id && here.from == of.from.region;
    Ok(meant.then_some((here, subject)))
}

/// Whether the source's log has committed to give away exactly what has arrived: the proof of its
/// MOVE_OUT entry, which names this shard, and whose commitment opens to the digest of what was read.
fn adoption(
    node: &Node,
    of: &Checked,
    here: &Arriving,
    whole: Whole,
    end: proto::ArrivalEnd,
) -> Result<Adoption, Rejection> {
    let invalid = |problem| {
        let fault = Rejection::new(Reason::FieldInvalid).field("arrival.proof");
        Err(fault.problem(problem))
    };
    let proto::ArrivalEnd { origin, index, entry, opening, proof, vkey, accesses } = end;
    let OtherShard { region, shard } = &of.from;
    let theirs = format!("{}/{region}/{shard}/", node.deployment);
    let Ok(log) = Verifier::from_vkey(&vkey) else { return invalid("its key is none") };
    if !origin.starts_with(&theirs) || log.name() != origin {
        return invalid("is of another shard's log");
    }
    let Ok(opening) = <[u8; 32]>::try_from(opening.as_ref()) else {
        return invalid("its opening has not 32 bytes");
    };
    let digest = ledger::statement::content_digest(&opening, &whole.digest);
    let statement = subject_statement(&of.owner, None, digest);
    let entry = entry.to_vec();
    let receipt = Receipt { origin: origin.clone(), index, entry, opening, statement };
    let Ok((entry, _)) = receipt.verify(&proof, &log, None) else {
        return invalid("does not show that the log gives away what has arrived");
    };
    let ours = format!("{}/{}/{}/", node.deployment, node.region, node.shard);
    let to_here = entry.peer().is_some_and(|(origin, _)| origin.starts_with(&ours));
    if entry.kind != Kind::MoveOut || entry.collection.is_some() || !to_here {
        return invalid("is of an entry that gives nothing away to here");
    }
    let Ok(accesses) = travel::read_accesses(&accesses) else {
        return invalid("does not say who read the subject");
    };
    let (after, digest) = (here.after.clone(), whole.digest);
    Ok(Adoption { after, digest, source: (origin, index), accesses })
}
