//! The service `Transit`: the key to which bodies for a region are sealed. A gateway passes it on, and cannot
//! make one: the caller checks who has signed it.

use std::sync::Arc;

use terms::{Detail, Reason, RegionId, Rejection};
use tonic::{Request, Response, Status};
use wire::session::{self as proto, call::Op, reply::Outcome};
use wire::v1;
use wire::v1::transit_server::Transit;

use crate::api::context::{Call, CallContext};
use crate::shards::session::Session;

/// The service. Clones share everything.
#[derive(Clone)]
pub(crate) struct TransitService(pub(crate) Arc<CallContext>);

#[tonic::async_trait]
impl Transit for TransitService {
    async fn get_key(
        &self,
        request: Request<v1::GetTransitKeyRequest>,
    ) -> Result<Response<v1::TransitKey>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = get_key(&self.0, &call, &request).await;
        call.answer(answer)
    }
}

/// Asks one shard of the region that is in reach: all of them have the same key.
async fn get_key(
    ctx: &CallContext,
    call: &Call,
    request: &v1::GetTransitKeyRequest,
) -> Result<v1::TransitKey, Rejection> {
    let region = RegionId::parse(&request.region).map_err(|why| Rejection::id("region", why))?;
    call.admitted.acting.caller.may_reach(&region)?;
    let pinned = ctx.pin();
    if pinned.routing.map().region(&region).is_none() {
        return Err(Rejection::new(Reason::DomicileUnknown).field("region"));
    }
    let in_reach = |session: &&Arc<Session>| session.target.region == region && session.is_up();
    let session = pinned.routing.sessions().find(in_reach);
    let unavailable =
        || Rejection::new(Reason::RegionUnavailable).with(Detail::Region, region.as_str());
    let op = Op::TransitKey(proto::TransitKeyAsked {});
    let deadline = call.deadline.of_call();
    let session = session.ok_or_else(unavailable)?;
    // It takes a place among the tenant's calls to the region, as any other call does.
    let permit = call.admitted.permit.to_region(&region)?;
    let answer = session.call_about_region(op, deadline, Some(permit)).await?;
    let Outcome::TransitKey(note) = answer else { return Err(Reason::Internal.into()) };
    Ok(v1::TransitKey { note })
}
