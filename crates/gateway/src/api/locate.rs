//! Finds the regions that hold a subject, by its id alone: all are asked at the same time, each by a
//! question that does not tell the id. One that does not answer in time is named, and keeps no other
//! waiting.
//!
//! Nothing that was found is remembered: each answer is counted in the region's log, and ends with the
//! subject.

use std::time::Duration;

use futures_util::future::join_all;
use terms::{Collection, Reason, RegionId, Rejection, SubjectId, TenantId};
use tokio::time::Instant;
use wire::session::{self as proto, call::Op, reply::Outcome};
use wire::v1;

use crate::api::context::{Admitted, Call, CallContext};
use crate::api::pinned_map::PinnedMap;
use crate::auth::caller::Caller;
use crate::shards::in_flight::Effect;

/// Time in which a region must answer.
const REGION_WAIT_MAX: Duration = Duration::from_secs(1);
/// Part of the time that is left which a call keeps for its own answer.
const ANSWER_PART: u32 = 4;

/// One question to several regions.
pub(crate) struct Questions<'a> {
    pub(crate) ctx: &'a CallContext,
    pub(crate) pinned: &'a PinnedMap,
    pub(crate) admitted: &'a Admitted,
    pub(crate) subject: &'a SubjectId,
    /// Until when the call must be answered.
    pub(crate) deadline: Instant,
}

impl Questions<'_> {
    /// Asks these regions at the same time.
    pub(crate) async fn ask(
        &self,
        regions: impl IntoIterator<Item = &RegionId>,
        op: impl Fn(bytes::Bytes) -> Op,
    ) -> Vec<(RegionId, Result<Outcome, Rejection>)> {
        let now = Instant::now();
        let left = self.deadline.saturating_duration_since(now);
        let until = now + REGION_WAIT_MAX.min(left - left / ANSWER_PART);
        let op = &op;
        let one = |region: &RegionId| {
            let region = region.clone();
            async move {
                let outcome = self.one(&region, until, op).await;
                (region, outcome)
            }
        };
        join_all(regions.into_iter().map(one)).await
    }

    async fn one(
        &self,
        region: &RegionId,
        until: Instant,
        op: &impl Fn(bytes::Bytes) -> Op,
    ) -> Result<Outcome, Rejection> {
        let route = self.pinned.routing.domicile(region, self.tenant(), self.subject)?;
        let entropy = &*self.ctx.entropy;
        let question = route.question(self.tenant(), self.subject, entropy, until).await?;
        let sent = self.admitted.shard_call(region, until, Effect::Read, 0, op(question))?;
        Ok(route.send(sent).await?.outcome)
    }

    fn tenant(&self) -> &TenantId {
        &self.admitted.acting.caller.tenant
    }
}

/// Finds a subject.
pub(crate) async fn locate(
    ctx: &CallContext,
    call: &Call,
    request: v1::LocateSubjectRequest,
) -> Result<v1::LocateSubjectResponse, Rejection> {
    let (pinned, admitted) = (ctx.pin(), &call.admitted);
    let caller = &*admitted.acting.caller;
    let map = pinned.routing.map();
    if !map.tenant(&caller.tenant).is_some_and(atlas::Tenant::locate) {
        return Err(Reason::LocateNotAllowed.into());
    }
    let subject = SubjectId::parse(&request.subject_id);
    let subject = &subject.map_err(|why| Rejection::id("subject_id", why))?;
    let deadline = call.deadline.of_call();
    let questions = Questions { ctx, pinned: &pinned, admitted, subject, deadline };
    let regions = map.regions().iter().map(atlas::Region::name);
    let regions = regions.filter(|region| caller.may_reach(region).is_ok());
    let answers = questions.ask(regions, |question| Op::Locate(proto::Locate { question })).await;
    let mut response = v1::LocateSubjectResponse::default();
    for (region, outcome) in answers {
        let located = match outcome {
            Ok(Outcome::Located(located)) => located,
            Ok(_) => return Err(Reason::Internal.into()),
            Err(rejection) => {
                response.unreachable.push(missing(&region, &rejection));
                continue;
            }
        };
        let domicile = region.as_str().to_owned();
        if located.withheld {
            response.withheld.push(domicile.clone());
        }
        let collections = usable(caller, located.collections);
        if !collections.is_empty() {
            response.domiciles.push(v1::SubjectDomicile { domicile, collections });
        }
    }
    response.complete = response.unreachable.is_empty() && response.withheld.is_empty();
    Ok(response)
}

/// Those of the collections that the caller may use.
fn usable(caller: &Caller, mut collections: Vec<String>) -> Vec<String> {
    collections
        .retain(|name| Collection::parse(name).is_ok_and(|name| caller.may_use(&name).is_ok()));
    collections
}

/// Why a region has not answered.
pub(crate) fn missing(region: &RegionId, rejection: &Rejection) -> v1::RegionMissing {
    let reason = rejection.reason.as_str().to_owned();
    v1::RegionMissing { region: region.as_str().to_owned(), reason }
}
