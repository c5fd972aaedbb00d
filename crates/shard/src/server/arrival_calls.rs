//! The calls of a shard of another region: the steps of moves of subjects to here.

use std::collections::BTreeMap;
use std::sync::Arc;

use atlas::Moment;
use ledger::Receipt;
use ledger::entry::{Detail as Said, Entry, Kind};
use ledger::note::Verifier;
use ledger::tlog_proof;
use prost::Message as _;
use terms::{Detail, Reason, Rejection, SubjectId, TenantId};
use wire::session as proto;
use wire::session::arrival::Step;
use wire::session::call::Op;

use crate::Error;
use crate::log::entry_in_row;
use crate::log::view::LogViews;
use crate::node::Node;
use crate::policy::asker::Asker;
use crate::policy::ingress::may_enter;
use crate::policy::rulings::{Rules, Verdict};
use crate::read::reader::Reader;
use crate::relocate::digest;
use crate::relocate::digest::Whole;
use crate::relocate::travel;
use crate::reply::{Arrived, ArrivedState, Outcome, ReplySlot, TakenIn, busy};
use crate::server::decode;
use crate::server::decode::Prepare;
use crate::server::handshake::{Gateway, OtherShard};
use crate::store::damage::read_rows;
use crate::store::keys;
use crate::store::keys::Owner;
use crate::store::move_proof::GaveAway;
use crate::store::moving::Arriving;
use crate::store::subject::{Status, Subject, SubjectRow};
use crate::write::command;
use crate::write::command::{Action, Arrive, ArriveStep};
use crate::write::entries::subject_statement;
use crate::write::move_command::{Adoption, Ended, LostEntry};

/// Bytes that a step takes up in addition to what it brings.
const STEP_BYTES: usize = 4 << 10;
/// Pages of records, or parts of attachments, that are read back in one call.
const PAGES_AT_ONCE: usize = 16;
/// Bytes of what says how far a source is: the key of a row.
const AFTER_BYTES_MAX: usize = 64;

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
    views: &LogViews,
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
    let brought = arrival.encoded_len();
    let Some(step) = arrival.step else {
        return reply.send(Rejection::new(Reason::NotBuilt).into());
    };
    // What is read, and what is encrypted of it.
    let bytes = STEP_BYTES + 2 * brought;
    // Before anything is done for it: what is being encrypted counts as queued.
    let Some(room) = reader.queue.admit(bytes) else { return reply.send(busy()) };
    let (node, queue) = (Arc::clone(&reader.node), reader.queue.clone());
    let views = views.clone();
    tokio::task::spawn_blocking(move || match prepare(&node, &views, &checked, step) {
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
    let asker = from.asker(node, gateway.territory, tenant);
    Ok(Checked { asker, owner, from: from.clone(), move_id })
}

/// What a step comes to.
enum Prepared {
    Step(ArriveStep),
    Answer(Arrived),
}

/// Reads what a step brings. Blocks its thread.
fn prepare(node: &Node, views: &LogViews, of: &Checked, step: Step) -> Result<Prepared, Rejection> {
    let invalid = || Rejection::new(Reason::FieldInvalid).field("arrival");
    Ok(match step {
        Step::Begin(subject) => {
            let subject = travel::read_subject(&subject).map_err(|_| invalid())?;
            Prepared::Step(ArriveStep::Begin(Box::new(subject)))
        }
        Step::Rows(rows) => Prepared::Step(match arriving(node, of)? {
            Some((here, _)) if *rows.after == here.after => records(node, of, &here, rows)?,
            _ => ArriveStep::Look,
        }),
        Step::Chunk(chunk) => {
            let chunk = match arriving(node, of)? {
                Some((here, _)) => travel::read_chunk(node, &of.owner, &here, &chunk)?,
                None => None,
            };
            Prepared::Step(match chunk {
                Some(chunk) => ArriveStep::Chunk(Box::new(chunk)),
                None => ArriveStep::Look,
            })
        }
        Step::Check(_) => Prepared::Answer(match check(node, of)? {
            None => Arrived::of(ArrivedState::None),
            Some((here, whole)) => {
                if whole.is_some() {
                    placed(node, of)?;
                }
                arrived(node, &here, whole)
            }
        }),
        Step::Adopt(end) => {
            let adoption = match check(node, of)? {
                Some((here, Some(whole))) => adoption(node, of, &here, whole, end)?,
                // Not all was read back yet: the source asks for that again.
                Some((here, None)) => return Ok(Prepared::Answer(arrived(node, &here, None))),
                None => return Ok(Prepared::Step(without_arrival(node, of, end)?)),
            };
            Prepared::Step(ArriveStep::Adopt(Some(Box::new(adoption))))
        }
        Step::Prove(_) => taken(node, views, of)?,
        Step::Drop(_) => Prepared::Step(ArriveStep::Drop),
    })
}

/// The step that stores the records which come next.
fn records(
    node: &Node,
    of: &Checked,
    here: &Arriving,
    rows: proto::ArrivalRows,
) -> Result<ArriveStep, Rejection> {
    let proto::ArrivalRows { after, next, records } = rows;
    let records = travel::read_records(node, &of.owner, &records, here.attachment.as_ref())?;
    // It grows, as the rows do in which the source reads: else this would be asked again for ever.
    let grows = *next > *after && next.len() <= AFTER_BYTES_MAX;
    if records.is_empty() || !grows {
        return Err(Rejection::new(Reason::FieldInvalid).field("arrival"));
    }
    Ok(ArriveStep::Rows { after: after.to_vec(), next: next.to_vec(), records })
}

/// The proof that this log has the entry with which the subject was adopted. It stays good when the
/// subject is gone from here. If a restore or a recovery has ended the entry's log without a last
/// checkpoint, nothing proves it: then the log that grows is to say it again.
fn taken(node: &Node, views: &LogViews, of: &Checked) -> Result<Prepared, Rejection> {
    let answer = |arrived| Ok(Prepared::Answer(arrived));
    let at = match ended(node, of)? {
        Some(Ended::Adopted(at)) => at,
        Some(Ended::GivenUp | Ended::Lost(_)) | None => {
            return answer(Arrived::of(ArrivedState::None));
        }
    };
    let Ok(period) = node.period_of(at.log) else {
        // The subject's slot has come from another shard since, whose log has the entry.
        node.origin_of(at.log)?;
        return Err(Reason::LogUnknown.into());
    };
    let view = match views.of(&node.origins().of(period)) {
        Err(fault) if fault.reason == Reason::LogUnknown && period < node.growing().name.period => {
            let entry = entry_in_row(&*node.engine, period, at)?;
            let entry = Entry::decode(&entry).map_err(|_| Error::Damaged("placement log"))?;
            return Ok(Prepared::Step(ArriveStep::SayAgain(Box::new(LostEntry { at, entry }))));
        }
        view => view?,
    };
    if view.size() <= at.index.0 {
        // The next checkpoint has it.
        return answer(Arrived::of(ArrivedState::Adopted));
    }
    let (entry, path) = view.proof(at.index.0)?;
    let taken = TakenIn {
        origin: view.origin().to_string(),
        index: at.index.0,
        entry,
        proof: path.to_text(),
        vkey: view.signed.log.vkey.to_string(),
    };
    answer(Arrived { taken: Some(Box::new(taken)), ..Arrived::of(ArrivedState::Adopted) })
}

/// The step that answers a source which has given the subject away, where nothing arrives of that move.
fn without_arrival(
    node: &Node,
    of: &Checked,
    end: proto::ArrivalEnd,
) -> Result<ArriveStep, Rejection> {
    Ok(match (ended(node, of)?, given_away(node, of, &end)) {
        // Who gave it up had a key of its shard.
        (Some(Ended::GivenUp), Some(_)) => ArriveStep::Reopen,
        (Some(Ended::Lost(lost)), Some(said)) => {
            let proto::ArrivalEnd { origin, index, vkey, .. } = end;
            let (count, key) = (Said::Count(lost.live), Said::LogKey(vkey));
            let details = vec![count, Said::Peer { origin, index }, key];
            ArriveStep::SayTaken(Box::new(Entry { details, ..said }))
        }
        // The committer says what has become of it.
        (Some(Ended::Adopted(_)) | None, _) | (_, None) => ArriveStep::Adopt(None),
    })
}

/// How the move has ended. None: it has not.
fn ended(node: &Node, of: &Checked) -> Result<Option<Ended>, Rejection> {
    let key = keys::move_ended(&of.owner.row(), &of.from.region, &of.move_id);
    let row = node.engine.get_many(&[&key]).map_err(Error::from)?.pop().flatten();
    Ok(row.map(|row| Ended::read(&row)).transpose()?)
}

/// The entry with which the source's log gives someone away to here. None: it does not prove that. Which
/// person and which move that is, its commitment does not say before their records are here: what was given
/// away is compared once it has come again, or with what is noted of the move.
fn given_away(node: &Node, of: &Checked, end: &proto::ArrivalEnd) -> Option<Entry> {
    let log = log_of(node, &of.from, &end.origin, &end.vkey)?;
    let included = tlog_proof::verify_receipt(&end.proof, &log, &end.entry).ok()?;
    let here = (end.index, end.origin.as_str());
    let said = Entry::decode(&end.entry).ok()?;
    let is_here = (included.index, included.checkpoint.origin.as_str()) == here;
    (is_here && is_to_here(node, &said)).then_some(said)
}

/// The log of that shard, if it is one of its logs.
fn log_of(node: &Node, shard: &OtherShard, origin: &str, vkey: &str) -> Option<Verifier> {
    let OtherShard { region, shard } = shard;
    let period = origin.strip_prefix(&format!("{}/{region}/{shard}/", node.deployment))?;
    let log = Verifier::from_vkey(vkey).ok()?;
    let named = period.len() <= 10 && period.parse::<u32>().is_ok() && log.name() == origin;
    named.then_some(log)
}

/// Whether an entry gives a subject away to this shard.
fn is_to_here(node: &Node, said: &Entry) -> bool {
    let ours = format!("{}/{}/{}/", node.deployment, node.region, node.shard);
    let to_here = said.peer().is_some_and(|(origin, _)| origin.starts_with(&ours));
    said.kind == Kind::MoveOut && said.collection.is_none() && to_here
}

/// `whole`: None: not all was read back yet.
fn arrived(node: &Node, here: &Arriving, whole: Option<Whole>) -> Arrived {
    let period = node.period_of(here.began.log).ok();
    let began = period.map(|period| (node.origins().of(period).into(), here.began.index));
    let (after, digest) = (here.after.clone(), whole.map(|whole| whole.digest));
    let chunks = here.attachment.as_ref().map_or(0, |chunks| chunks.next);
    let (state, heads, taken) = (ArrivedState::Staging, here.heads, None);
    Arrived { state, after, heads, chunks, began, digest, taken }
}

/// Reads back some more of what has arrived, and says what it is once that was all. None: nothing arrives
/// of that move. One call reads little enough to be answered in time.
fn check(node: &Node, of: &Checked) -> Result<Option<(Arriving, Option<Whole>)>, Rejection> {
    let Some((here, subject)) = arriving(node, of)? else { return Ok(None) };
    if let Some(digest) = here.proven {
        // All of it was read back before a part of it went.
        let (heads, live) = (here.heads, BTreeMap::new());
        return Ok(Some((here, Some(Whole { heads, live, digest }))));
    }
    let mut check = node.moves.take_check(of.owner.tag, &here);
    for _ in 0..PAGES_AT_ONCE {
        if check.read.done {
            break;
        }
        digest::go_on(node, &of.owner, &subject, &mut check.read)?;
    }
    let whole = Whole::of(&check.read);
    if let Some(whole) = &whole
        && (whole.heads, whole.live()) != (here.heads, here.live)
    {
        return Err(Error::Damaged("records").into());
    }
    // What was read was of that moment: nothing has come in between, and nothing was dropped.
    match arriving(node, of)? {
        Some((still, _)) if still == here => {
            node.moves.keep_check(of.owner.tag, check);
            Ok(Some((here, whole)))
        }
        _ => Err(Reason::ShardBusy.into()),
    }
}

/// Whether the map of this moment still places all of it here: once the source has given it away, it is
/// too late to ask.
fn placed(node: &Node, of: &Checked) -> Result<(), Rejection> {
    let Some((_, subject)) = arriving(node, of)? else { return Ok(()) };
    let mut rules = Rules::new(node.map(), node.region.clone(), node.territory);
    rules.set_date(Moment::of(node.now()));
    for standing in subject.standings() {
        let (tenant, collection) = (&of.owner.tenant, &standing.collection);
        let chosen = subject.choice.chosen.as_ref();
        match rules.decide(tenant, collection, &standing.basis, chosen) {
            Verdict::Here(ruled) => may_enter(node, &ruled, of.asker.stands.gateway)?,
            Verdict::Refused(fault) => return Err(fault),
            Verdict::Elsewhere(region) => {
                let fault = Rejection::new(Reason::PlacementNotAdmitted).field("region");
                return Err(fault.with(Detail::Region, region));
            }
        }
    }
    Ok(())
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
    let Some(log) = log_of(node, &of.from, &origin, &vkey) else {
        return invalid("is of another shard's log, or its key is none");
    };
    let Ok(opening) = <[u8; 32]>::try_from(opening.as_ref()) else {
        return invalid("its opening has not 32 bytes");
    };
    let digest = ledger::statement::content_digest(&opening, &whole.digest);
    let statement = subject_statement(&of.owner, None, digest);
    let entry = entry.to_vec();
    let receipt = Receipt { origin, index, entry, opening, statement };
    let Ok((said, _)) = receipt.verify(&proof, &log, None) else {
        return invalid("does not show that the log gives away what has arrived");
    };
    if !is_to_here(node, &said) {
        return invalid("is of an entry that gives nothing away to here");
    }
    let Ok(accesses) = travel::read_accesses(&accesses) else {
        return invalid("does not say who read the subject");
    };
    let (here, digest) = (here.clone(), whole.digest);
    let Receipt { origin, index, entry, opening, .. } = receipt;
    let source = GaveAway { origin, index, entry, opening, proof };
    Ok(Adoption { here, digest, source, vkey, accesses })
}
