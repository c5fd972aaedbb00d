//! Relocations of subjects: the order of one, and the service `Operations`.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use terms::{Detail, Reason, RegionId, Rejection, RequestId};
use tokio::time::Instant;
use tonic::{Request, Response, Status};
use wire::session::{self as proto, call::Op, moves::Of, reply::Outcome};
use wire::v1;
use wire::v1::operations_server::Operations;

use crate::api::context::{Call, CallContext};
use crate::api::erase;
use crate::api::held::minute;
use crate::api::list::{passes, shard_deadline};
use crate::api::pinned_map::PinnedMap;
use crate::api::subject_request::{Named, Relocate};
use crate::map::routing::Route;
use crate::shards::in_flight::Effect;

/// The service. Clones share everything.
#[derive(Clone)]
pub(crate) struct OperationsService(pub(crate) Arc<CallContext>);

#[tonic::async_trait]
impl Operations for OperationsService {
    async fn get(
        &self,
        request: Request<v1::GetOperationRequest>,
    ) -> Result<Response<v1::Operation>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = get(&self.0, &call, request).await;
        call.answer(answer)
    }

    async fn list(
        &self,
        request: Request<v1::ListOperationsRequest>,
    ) -> Result<Response<v1::ListOperationsResponse>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = list(&self.0, &call, &request).await;
        call.answer(answer)
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelOperationRequest>,
    ) -> Result<Response<v1::Operation>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = cancel(&self.0, &call, request).await;
        call.answer(answer)
    }
}

/// Orders the relocation of a subject.
pub(crate) async fn relocate(
    ctx: &CallContext,
    call: &Call,
    request: v1::RelocateSubjectRequest,
) -> Result<v1::Operation, Rejection> {
    let caller = &call.admitted.acting.caller;
    let pinned = ctx.pin();
    let Relocate { of, region, request_id, given, reason, validate_only } =
        pinned.reader(caller).relocate(request)?;
    caller.may_reach(&region)?;
    let op = Op::Relocate(proto::Relocate {
        subject: of.subject.expose().to_owned(),
        region: region.as_str().to_owned(),
        request_id: Bytes::copy_from_slice(request_id.bytes()),
        reason,
        findings: given.encode(),
        phone_data: pinned.phone_data(&given),
        ip_data: pinned.ip_data(&given),
        validate_only,
    });
    let (written, _) = erase::send(call, &pinned, &of, validate_only, op).await?;
    let ordered = v1::Operation {
        subject: Some(super::response::subject(&of.subject, &of.region)),
        region: region.as_str().to_owned(),
        request_id: request_id.to_string(),
        ..Default::default()
    };
    let mut operation = if validate_only {
        ordered
    } else {
        // The order is durable: that its state cannot be read just now is no failure of it.
        of_subject(call, &pinned, &of).await.unwrap_or(ordered)
    };
    operation.replayed = written.replayed;
    Ok(operation)
}

async fn get(
    ctx: &CallContext,
    call: &Call,
    request: v1::GetOperationRequest,
) -> Result<v1::Operation, Rejection> {
    let pinned = ctx.pin();
    let of = pinned.reader(&call.admitted.acting.caller).operation(request.subject)?;
    let mut operation = of_subject(call, &pinned, &of).await?;
    if request.prove && operation.state() == v1::OperationState::Done {
        operation.receipt = Some(receipt(call, &pinned, &of, &operation.region).await?);
    }
    Ok(operation)
}

/// The proof of a move that is done, from the region to which the subject has moved.
async fn receipt(
    call: &Call,
    pinned: &PinnedMap,
    of: &Named,
    region: &str,
) -> Result<v1::MoveReceipt, Rejection> {
    let caller = &call.admitted.acting.caller;
    let region = RegionId::parse(region).map_err(|_| Reason::Internal)?;
    caller.may_reach(&region)?;
    let route = pinned.routing.domicile(&region, &caller.tenant, &of.subject)?;
    let found =
        ask(call, route, call.deadline.of_call(), Of::Arrived(of.subject.expose().to_owned()))
            .await?;
    let proto::MoveProof { digest, out, into } = *found.proof.ok_or(Reason::Internal)?;
    let entry = |of: Option<proto::MoveEntry>| -> Result<v1::Receipt, Rejection> {
        let of = of.ok_or(Reason::Internal)?;
        Ok(v1::Receipt {
            origin: of.origin,
            index: of.index,
            entry: of.entry,
            opening: of.opening,
            statement: of.statement,
            tlog_proof: of.proof,
        })
    };
    Ok(v1::MoveReceipt { digest, move_out: Some(entry(out)?), move_in: Some(entry(into)?) })
}

async fn cancel(
    ctx: &CallContext,
    call: &Call,
    request: v1::CancelOperationRequest,
) -> Result<v1::Operation, Rejection> {
    let pinned = ctx.pin();
    let (of, reason, id) = pinned.reader(&call.admitted.acting.caller).cancel(request)?;
    let cancel = Of::Cancel(of.subject.expose().to_owned());
    let request_id = id.map(|id| Bytes::copy_from_slice(id.bytes())).unwrap_or_default();
    let op = Op::Moves(proto::Moves { of: Some(cancel), reason, request_id });
    let (written, _) = erase::send(call, &pinned, &of, false, op).await?;
    let mut operation = of_subject(call, &pinned, &of).await?;
    operation.replayed = written.replayed;
    Ok(operation)
}

async fn list(
    ctx: &CallContext,
    call: &Call,
    request: &v1::ListOperationsRequest,
) -> Result<v1::ListOperationsResponse, Rejection> {
    let caller = &call.admitted.acting.caller;
    let pinned = ctx.pin();
    caller.may_use_all()?;
    let map = pinned.routing.map();
    let regions: Vec<&RegionId> = if request.domicile.is_empty() {
        let all = map.regions().iter().map(atlas::Region::name);
        all.filter(|region| caller.may_reach(region).is_ok()).collect()
    } else {
        let region = RegionId::parse(&request.domicile);
        let region = region.map_err(|why| Rejection::id("domicile", why))?;
        caller.may_reach(&region)?;
        let known = map
            .region(&region)
            .ok_or_else(|| Rejection::new(Reason::DomicileUnknown).field("domicile"))?;
        vec![known.name()]
    };
    let (several, until) = (request.domicile.is_empty(), call.deadline.of_call());
    let until = if several { shard_deadline(until) } else { until };
    let asked = regions.iter().map(|region| of_region(call, &pinned, region, until));
    let mut answer = v1::ListOperationsResponse::default();
    for (region, found) in regions.iter().zip(join_all(asked).await) {
        match found {
            Ok(found) => found.into_iter().for_each(|(moves, more)| {
                answer.more |= more;
                answer.operations.extend(moves);
            }),
            Err(fault) if several && passes(fault.reason) => {
                answer.unreachable.push(region.as_str().to_owned());
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(answer)
}

/// What moves from a region, of each of its shards; true: there is more.
async fn of_region(
    call: &Call,
    pinned: &PinnedMap,
    region: &RegionId,
    until: Instant,
) -> Result<Vec<(Vec<v1::Operation>, bool)>, Rejection> {
    let shards = pinned.routing.shards(region);
    if shards.is_empty() {
        let fault = Rejection::new(Reason::RegionUnavailable);
        return Err(fault.with(Detail::Region, region.as_str()));
    }
    let asked = shards.into_iter().map(|route| ask(call, route, until, Of::All(true)));
    let found = join_all(asked).await.into_iter().map(|found| {
        let found = found?;
        let moves = found.moves.into_iter().map(|one| operation(region, one));
        Ok((moves.collect::<Result<_, Rejection>>()?, found.more))
    });
    found.collect()
}

/// The relocation of one subject.
async fn of_subject(
    call: &Call,
    pinned: &PinnedMap,
    of: &Named,
) -> Result<v1::Operation, Rejection> {
    let tenant = &call.admitted.acting.caller.tenant;
    let route = pinned.routing.domicile(&of.region, tenant, &of.subject)?;
    let found =
        ask(call, route, call.deadline.of_call(), Of::Subject(of.subject.expose().to_owned()))
            .await?;
    let one = found.moves.into_iter().next().ok_or(Reason::Internal)?;
    operation(&of.region, one)
}

async fn ask(
    call: &Call,
    route: Route<'_>,
    until: Instant,
    of: Of,
) -> Result<proto::MovesFound, Rejection> {
    let op = Op::Moves(proto::Moves { of: Some(of), ..Default::default() });
    let sent = call.admitted.shard_call(route.region(), until, Effect::Read, 0, op)?;
    let Outcome::Moves(found) = route.send(sent).await?.outcome else {
        return Err(Reason::Internal.into());
    };
    Ok(found)
}

fn operation(domicile: &RegionId, of: proto::Move) -> Result<v1::Operation, Rejection> {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let id = <[u8; 16]>::try_from(of.request_id.as_ref()).map_err(|_| Reason::Internal)?;
    Ok(v1::Operation {
        subject: Some(v1::SubjectRef { id: of.subject, domicile: domicile.as_str().to_owned() }),
        region: of.region,
        request_id: RequestId::from_bytes(id).to_string(),
        state: of.state,
        copied_count: count(of.copied),
        record_count: count(of.records),
        create_time: minute(of.began_minute),
        end_time: minute(of.ended_minute),
        refusal: of.refused,
        replayed: false,
        receipt: None,
    })
}
