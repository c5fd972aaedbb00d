//! Lists and counts: the shards of the choice are asked at the same time, and their answers put
//! together. A region that does not answer in time is named, and keeps no other waiting.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use terms::limits::LIST_PAGE_BYTES_MAX;
use terms::{Code, Reason, RegionId, Rejection, ShardId};
use tokio::time::Instant;
use wire::session::{self as proto, call::Op, reply::Outcome};
use wire::v1;

use crate::api::attributes;
use crate::api::context::{Call, CallContext};
use crate::api::get_request::SealedQuestion;
use crate::api::list_merge::{Answer, merge};
use crate::api::list_request::Choice;
use crate::api::page_token::{self, Place, ShardPlace};
use crate::api::participants;
use crate::api::pinned_map::PinnedMap;
use crate::api::response;
use crate::auth::caller::Caller;
use crate::map::routing::Route;
use crate::shards::in_flight::Effect;

/// Time that a call keeps for its own answer while it waits for several regions.
const ANSWER_TIME: Duration = Duration::from_millis(250);

/// A shard of the choice that is not done.
pub(crate) struct Asked<'a> {
    pub(crate) region: RegionId,
    pub(crate) shard: Option<ShardId>,
    /// None: its region has no annex just now, or several of its shards own the same slots.
    pub(crate) route: Option<Route<'a>>,
    pub(crate) place: Place,
}

/// A page of the records that are asked for.
pub(crate) async fn list(
    ctx: &CallContext,
    call: &Call,
    request: v1::ListRecordsRequest,
) -> Result<v1::ListRecordsResponse, Rejection> {
    let caller = &*call.admitted.acting.caller;
    let pinned = ctx.pin();
    let list = pinned.reader(caller).list(request)?;
    call.admitted.permit.has_room()?;
    let asked = shards(&pinned, caller, &list.choice, list.places.as_deref())?;
    let active = asked.iter().filter(|shard| shard.place != Place::Lost).count().max(1);
    let share = u32::try_from(list.page_size.div_ceil(active)).unwrap_or(u32::MAX);
    let bytes = u32::try_from(LIST_PAGE_BYTES_MAX / active).unwrap_or(u32::MAX);
    let op = |region: &RegionId, from: &Bytes| {
        Op::List(proto::List {
            order_by: list.order_by.clone(),
            view: list.view.into(),
            page_size: share,
            bytes_max: bytes,
            cursor: from.clone(),
            cursor_each: active > 1,
            ..list.choice.to_wire(list.questions.get(region))
        })
    };
    let mut answers = ask(call, &list.choice, asked, op).await?;
    let taken = merge(&mut answers, list.page_size, list.order.as_ref());
    let left: Vec<ShardPlace> = answers.iter().filter_map(Answer::left).collect();
    let mut page = v1::ListRecordsResponse {
        next_page_token: page_token::encode(&left, &list.choice.regions),
        unreachable: unreachable(&answers),
        missing: missing(&answers),
        withheld: sum(&answers, |listed| listed.withheld),
        records: Vec::with_capacity(taken.len()),
    };
    let mut bytes = 0;
    for (region, record) in taken {
        bytes += record.body.len() + record.attributes.len() + record.subject.len();
        page.records.push(to_api(&list.choice, region, record)?);
    }
    // Held until the page has left the process.
    call.admitted.permit.hold(bytes)?;
    Ok(page)
}

/// How many records are asked for.
pub(crate) async fn count(
    ctx: &CallContext,
    call: &Call,
    request: v1::CountRecordsRequest,
) -> Result<v1::CountRecordsResponse, Rejection> {
    let caller = &*call.admitted.acting.caller;
    let pinned = ctx.pin();
    let choice = pinned.reader(caller).count(request)?;
    let asked = shards(&pinned, caller, &choice, None)?;
    let op =
        |_: &RegionId, _: &Bytes| Op::List(proto::List { count: true, ..choice.to_wire(None) });
    let answers = ask(call, &choice, asked, op).await?;
    Ok(v1::CountRecordsResponse {
        count: sum(&answers, |listed| listed.count),
        withheld: sum(&answers, |listed| listed.withheld),
        unreachable: unreachable(&answers),
        missing: missing(&answers),
    })
}

impl Choice {
    /// For a region to whose key that question is sealed.
    pub(crate) fn to_wire(&self, question: Option<&SealedQuestion>) -> proto::List {
        let (sealed_key, sealed_question) = sealed(question);
        let participant = self.participant.as_ref();
        let region = participant.and_then(|one| one.region.as_ref());
        proto::List {
            collection: self.collection.as_str().to_owned(),
            subject: self.subject.as_ref().map_or_else(String::new, |id| id.expose().to_owned()),
            filter: self.filter.clone(),
            purpose: self.purpose.clone(),
            participant: participant.map_or_else(String::new, |one| one.id.expose().to_owned()),
            participant_region: region.map_or_else(String::new, |name| name.as_str().to_owned()),
            sealed_key,
            sealed_question,
            ..Default::default()
        }
    }
}

/// The id of the key, and what is sealed to it; empty: there is no question.
pub(crate) fn sealed(question: Option<&SealedQuestion>) -> (String, Bytes) {
    question.map(|of| (of.key.clone(), of.sealed.clone())).unwrap_or_default()
}

/// The shards of the choice that are not done, by region and name.
pub(crate) fn shards<'a>(
    pinned: &'a PinnedMap,
    caller: &Caller,
    choice: &Choice,
    places: Option<&[ShardPlace]>,
) -> Result<Vec<Asked<'a>>, Rejection> {
    let mut all = Vec::new();
    for region in &choice.regions {
        let routes = match &choice.subject {
            Some(subject) => vec![pinned.routing.domicile(region, &caller.tenant, subject)?],
            None => pinned.routing.shards(region),
        };
        // Where several shards own a slot, the people of it may be in each: none of the region is asked.
        let contested = choice.subject.is_none() && pinned.routing.is_contested(region);
        let none = routes.is_empty().then_some(None);
        all.extend(routes.into_iter().map(Some).chain(none).map(|route| Asked {
            region: region.clone(),
            shard: route.as_ref().map(|route| route.shard().clone()),
            route: route.filter(|_| !contested),
            place: Place::From(Bytes::new()),
        }));
    }
    let Some(places) = places else { return Ok(all) };
    let mut left = Vec::with_capacity(places.len());
    for one in places {
        let at = all.iter().position(|asked| {
            asked.region == one.region && asked.shard.as_ref().is_none_or(|own| *own == one.shard)
        });
        // A region whose shards are others now: where each of them goes on is not known.
        let invalid = || Rejection::new(Reason::PageTokenInvalid).field("page_token");
        let mut asked = all.swap_remove(at.ok_or_else(invalid)?);
        asked.place = one.place.clone();
        asked.shard = Some(one.shard.clone());
        left.push(asked);
    }
    Ok(left)
}

/// Asks each shard that is not lost, all at the same time.
async fn ask(
    call: &Call,
    choice: &Choice,
    asked: Vec<Asked<'_>>,
    op: impl Fn(&RegionId, &Bytes) -> Op,
) -> Result<Vec<Answer>, Rejection> {
    let several = choice.regions.len() > 1;
    let until = call.deadline.of_call();
    let until = if several { shard_deadline(until) } else { until };
    let answers = asked.into_iter().map(|Asked { region, shard, route, place }| {
        let from = match &place {
            Place::From(from) => Some(from.clone()),
            Place::Lost => None,
        };
        let sent = from.map(|from| op(&region, &from));
        async move {
            let outcome = match (sent, route) {
                (Some(op), Some(route)) => send(call, route, until, op).await.map(Some),
                (Some(_), None) => Err(Reason::RegionUnavailable.into()),
                (None, _) => Ok(None),
            };
            (region, shard, place, outcome)
        }
    });
    let mut all = Vec::new();
    for (region, shard, place, outcome) in join_all(answers).await {
        let (listed, missing) = match outcome {
            Ok(listed) => (listed, None),
            Err(fault) if several && passes(fault.reason) => {
                tracing::warn!(region = region.as_str(), reason = %fault.reason, "a region was left out of a list");
                (None, Some(fault.reason))
            }
            Err(fault) => return Err(fault),
        };
        let mut answer = Answer::new(region, shard, place, listed);
        answer.missing = missing;
        all.push(answer);
    }
    Ok(all)
}

/// When a shard must have answered, for a call to several regions that ends then: one that does not
/// answer is named in the answer of the call.
pub(super) fn shard_deadline(until: Instant) -> Instant {
    let left = until.saturating_duration_since(Instant::now());
    until - (left / 4).min(ANSWER_TIME)
}

/// Whether the same question may be answered later.
pub(super) const fn passes(reason: Reason) -> bool {
    matches!(reason.code(), Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded)
}

pub(crate) async fn send(
    call: &Call,
    route: Route<'_>,
    until: Instant,
    op: Op,
) -> Result<proto::Listed, Rejection> {
    let sent = call.admitted.shard_call(route.region(), until, Effect::Read, 0, op)?;
    let Outcome::Listed(listed) = route.send(sent).await?.outcome else {
        return Err(Reason::Internal.into());
    };
    Ok(listed)
}

fn sum(answers: &[Answer], of: impl Fn(&proto::Listed) -> u64) -> i64 {
    let sum: u64 = answers.iter().filter_map(|answer| answer.listed.as_ref()).map(of).sum();
    i64::try_from(sum).unwrap_or(i64::MAX)
}

fn unreachable(answers: &[Answer]) -> Vec<String> {
    let lost = answers.iter().filter(|answer| answer.listed.is_none());
    let mut regions: Vec<String> = lost.map(|answer| answer.region.as_str().to_owned()).collect();
    regions.sort_unstable();
    regions.dedup();
    regions
}

/// Why regions are missing, each once.
fn missing(answers: &[Answer]) -> Vec<v1::RegionMissing> {
    let one = |answer: &Answer| {
        let reason = answer.missing?.as_str().to_owned();
        Some(v1::RegionMissing { region: answer.region.as_str().to_owned(), reason })
    };
    let mut all: Vec<v1::RegionMissing> = answers.iter().filter_map(one).collect();
    all.dedup_by(|one, other| one.region == other.region);
    all
}

pub(crate) fn to_api(
    choice: &Choice,
    region: RegionId,
    mut record: proto::ListedRecord,
) -> Result<v1::Record, Rejection> {
    let (id, domicile) = (std::mem::take(&mut record.subject), region.as_str().to_owned());
    record_of(v1::SubjectRef { id, domicile }, choice.collection.as_str(), record)
}

/// A record of a page, as the API has it.
pub(crate) fn record_of(
    subject: v1::SubjectRef,
    collection: &str,
    record: proto::ListedRecord,
) -> Result<v1::Record, Rejection> {
    Ok(v1::Record {
        subject: Some(subject),
        collection: collection.to_owned(),
        key: record.key,
        body: record.body,
        version: record.version,
        etag: record.etag,
        expire_time: response::time(record.expire_ms),
        attributes: attributes::to_api(&record.attributes)?,
        attachment_bytes: i64::try_from(record.attachment_bytes).unwrap_or(i64::MAX),
        participants: participants::to_api(&record.participants)?,
        sealed: record.sealed,
        copy: None,
    })
}
