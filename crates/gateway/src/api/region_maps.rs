//! The service `RegionMaps`: which map is in force where, and how the next map gets there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use atlas::{Date, Epoch, SignedMap, Succession, VerifiedMap};
use futures_util::future::join_all;
use prost_types::Timestamp;
use terms::{Detail, Reason, RegionId, Rejection, Rounded};
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status};
use wire::session::{self as proto, call::Op, reply::Outcome};
use wire::v1;
use wire::v1::region_maps_server::RegionMaps;

use crate::api::context::{Call, CallContext};
use crate::api::{index_build::index_build, slots};
use crate::map::routing::Routing;
use crate::map::sync::{fetch, offer};
use crate::shards::in_flight::Effect;
use crate::shards::session::{Session, ShardTarget};

/// Time that one shard has to go through its subjects.
const SURVEY_TIME_MAX: Duration = Duration::from_secs(60);

/// Kinds of effects of a map that one answer lists: with all their fields it stays below what callers
/// decode.
const PLAN_MOVES_MAX: usize = 12_288;

/// Rulings by region, collection, fate and detail.
type Moves = BTreeMap<[String; 4], Rounded>;

/// The service. Clones share everything.
#[derive(Clone)]
pub(crate) struct RegionMapsService(pub(crate) Arc<CallContext>);

#[tonic::async_trait]
impl RegionMaps for RegionMapsService {
    async fn get(
        &self,
        request: Request<v1::GetRegionMapRequest>,
    ) -> Result<Response<v1::SignedRegionMap>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = in_time(&call, get(&self.0, request.epoch)).await;
        call.answer(answer)
    }

    async fn check(
        &self,
        request: Request<v1::CheckRegionMapRequest>,
    ) -> Result<Response<v1::CheckRegionMapResponse>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let ctx = Arc::clone(&self.0);
        let checked = async {
            let _reading = self.0.map.reading.acquire().await;
            blocking(move || check(&ctx, request)).await
        };
        let answer = in_time(&call, checked).await;
        call.answer(answer)
    }

    async fn plan(
        &self,
        request: Request<v1::PlanRegionMapRequest>,
    ) -> Result<Response<v1::PlanRegionMapResponse>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = in_time(&call, plan(&self.0, &call, request)).await;
        call.answer(answer)
    }

    async fn apply(
        &self,
        request: Request<v1::ApplyRegionMapRequest>,
    ) -> Result<Response<v1::ApplyRegionMapResponse>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = in_time(&call, apply(&self.0, request)).await;
        call.answer(answer)
    }

    async fn status(
        &self,
        request: Request<v1::RegionMapStatusRequest>,
    ) -> Result<Response<v1::RegionMapStatus>, Status> {
        let (call, _) = Call::open(&self.0, request)?;
        let routing = self.0.map.pin();
        let shards = routing.sessions().map(|session| async {
            v1::ShardMap {
                audit_address: routing.audit(&session.target).unwrap_or_default().to_owned(),
                index_build: index_build(session, call.deadline.of_call()).await,
                slots: slots::owned(session),
                ..shard_map(session)
            }
        });
        let shards = join_all(shards).await;
        let gateway = Some(to_wire(routing.map().epoch()));
        let unserved = slots::unserved(&routing);
        call.answer(Ok(v1::RegionMapStatus { gateway, shards, unserved }))
    }

    async fn history(
        &self,
        request: Request<v1::RegionMapHistoryRequest>,
    ) -> Result<Response<v1::RegionMapHistory>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = in_time(&call, history(&self.0, &call, &request)).await;
        call.answer(answer)
    }
}

/// Ends work at the caller's deadline. A map is applied to each shard separately: repeating the call
/// finds the shards that have it, and goes on with the rest.
async fn in_time<T>(
    call: &Call,
    work: impl Future<Output = Result<T, Rejection>>,
) -> Result<T, Rejection> {
    let done = timeout_at(call.deadline.of_call(), work).await;
    done.unwrap_or_else(|_| Err(Reason::DeadlinePassed.into()))
}

async fn get(ctx: &CallContext, epoch: u64) -> Result<v1::SignedRegionMap, Rejection> {
    let routing = ctx.map.pin();
    let wanted = if epoch == 0 { routing.map().epoch().number } else { epoch };
    let fetched = routing
        .sessions()
        .filter(|session| session.is_up())
        .map(|session| fetch(session, proto::MapFetch { epoch: wanted, after: false }));
    // A shard's answer is not trusted: the map in force is known by its digest, an earlier one by its
    // signatures and its number.
    let own = routing.map().epoch();
    let given = join_all(fetched).await.into_iter().filter_map(Result::ok);
    let good = given.into_iter().find(|signed| {
        if wanted == own.number {
            return signed.digest() == own.digest;
        }
        let opened = ctx.map.open(signed);
        opened.is_ok_and(|verified| verified.map.epoch().number == wanted)
    });
    let mine = || (wanted == own.number).then(|| SignedMap::of(routing.map(), String::new()));
    if let Some(SignedMap { text, note, packs }) = good.or_else(mine) {
        return Ok(v1::SignedRegionMap { text, note, packs });
    }
    Err(Rejection::new(Reason::MapGap)
        .field("epoch")
        .problem("no shard within reach has a validly signed map of that version")
        .cure("ask for one that `bailiwick map history` names"))
}

/// Work that takes a core for a while.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Rejection> + Send + 'static,
) -> Result<T, Rejection> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(Reason::Internal.into()))
}

fn check(
    ctx: &CallContext,
    request: v1::CheckRegionMapRequest,
) -> Result<v1::CheckRegionMapResponse, Rejection> {
    let signed = from_wire(request.map)?;
    let date = day(&request.as_of, ctx)?;
    let checked = signed.check(date)?;
    let widens = match &checked.map {
        Some(map) => {
            let own = ctx.map.pin();
            atlas::widening(Some(own.map()), map).iter().map(ToString::to_string).collect()
        }
        None => Vec::new(),
    };
    let findings = checked.diagnostics.into_iter().map(|found| v1::MapFinding {
        error: found.severity == atlas::Severity::Error,
        line: u32::try_from(found.line).unwrap_or(u32::MAX),
        column: u32::try_from(found.column).unwrap_or(u32::MAX),
        code: found.code.to_owned(),
        problem: found.problem,
        cure: found.help,
    });
    Ok(v1::CheckRegionMapResponse { findings: findings.collect(), widens })
}

async fn plan(
    ctx: &CallContext,
    call: &Call,
    request: v1::PlanRegionMapRequest,
) -> Result<v1::PlanRegionMapResponse, Rejection> {
    let number = match request.as_of.as_str() {
        "" => 0,
        text => day(text, ctx)?.day(),
    };
    let signed = from_wire(request.map)?;
    let read = signed.clone();
    let reading = ctx.map.reading.acquire().await;
    blocking(move || read.read().map(|_| ())).await?;
    drop(reading);
    let bytes = signed.bytes();
    let routing = ctx.map.pin();
    let SignedMap { text, note, packs } = signed;
    let map = Some(proto::SignedMap { text, note, packs });
    let surveyed = routing.sessions().map(|session| {
        let op = Op::Survey(proto::Survey { map: map.clone(), day: number });
        async move { (session, ask(session, call, op, bytes).await) }
    });
    // Shards of one region are counted together, by the sum of their ranges.
    let mut subjects = Rounded::default();
    let mut answer = v1::PlanRegionMapResponse {
        against: Some(to_wire(routing.map().epoch())),
        ..Default::default()
    };
    let mut moves = Moves::new();
    for (session, surveyed) in join_all(surveyed).await {
        let region = session.target.region.as_str();
        match surveyed {
            Ok(Outcome::Surveyed(surveyed)) => {
                subjects = subjects.plus(range(surveyed.subjects));
                for count in surveyed.counts {
                    add_move(&mut moves, region, count);
                }
            }
            Ok(_) => return Err(Reason::Internal.into()),
            Err(rejection) => {
                tracing::warn!(region, reason = %rejection.reason, "a shard was not surveyed");
                answer.unreachable.push(region.to_owned());
            }
        }
    }
    answer.unreachable.sort_unstable();
    answer.unreachable.dedup();
    answer.subjects = to_range(subjects);
    answer.moves = planned(moves);
    Ok(answer)
}

const fn to_range(Rounded { at_least, at_most }: Rounded) -> Option<v1::CountRange> {
    Some(v1::CountRange { at_least, at_most })
}

fn planned(moves: Moves) -> Vec<v1::PlannedMove> {
    let one = |([region, collection, fate, detail], count): ([String; 4], Rounded)| {
        v1::PlannedMove { region, collection, fate, detail, count: to_range(count) }
    };
    moves.into_iter().map(one).collect()
}

/// A range as a shard sends it; a missing one is none.
fn range(sent: Option<proto::CountRange>) -> Rounded {
    let proto::CountRange { at_least, at_most } = sent.unwrap_or_default();
    Rounded { at_least, at_most }
}

/// Adds what one shard counted. Kinds beyond those that an answer holds are counted together by
/// region, as the shards do.
fn add_move(moves: &mut Moves, region: &str, counted: proto::SurveyCount) {
    let proto::SurveyCount { collection, fate, detail, count } = counted;
    let mut kind = [region.to_owned(), collection, fate, detail];
    if moves.len() >= PLAN_MOVES_MAX && !moves.contains_key(&kind) {
        kind = [region.to_owned(), String::new(), "other".to_owned(), String::new()];
    }
    let sum = moves.entry(kind).or_default();
    *sum = sum.plus(range(count));
}

async fn apply(
    ctx: &CallContext,
    request: v1::ApplyRegionMapRequest,
) -> Result<v1::ApplyRegionMapResponse, Rejection> {
    let signed = from_wire(request.map)?;
    let routing = ctx.map.pin();
    let own = routing.map().epoch().number;
    let opened = signed.clone();
    let map_state = Arc::clone(&ctx.map);
    let verified = blocking(move || map_state.open(&opened)).await?;
    let again = verified.map.epoch() == routing.map().epoch();
    if own != request.expect_epoch && !again {
        let rejection = Rejection::new(Reason::MapEpochChanged).field("expect_epoch");
        return Err(rejection.with(Detail::MapEpoch, own));
    }
    atlas::succeeds(Some(routing.map()), &verified.map, verified.by.len())?;
    let map = Some(to_wire(verified.map.epoch()));
    if request.validate_only {
        return Ok(v1::ApplyRegionMapResponse { map, shards: Vec::new() });
    }
    let shards = offer_to_all(ctx, &routing, &signed, &verified).await?;
    Ok(v1::ApplyRegionMapResponse { map, shards })
}

/// Offers a map to every shard within reach; once one has taken it, the gateway rules by it as well.
async fn offer_to_all(
    ctx: &CallContext,
    routing: &Routing,
    signed: &SignedMap,
    verified: &VerifiedMap,
) -> Result<Vec<v1::ShardMap>, Rejection> {
    let offered = routing.sessions().map(|session| async move {
        let taken = offer(session, signed).await;
        (session, taken)
    });
    let (mut shards, mut first, mut taken) = (Vec::new(), None, false);
    for (session, outcome) in join_all(offered).await {
        let mut reported = shard_map(session);
        match outcome {
            Ok(held) => {
                ctx.map.versions.shard_holds(session, held.epoch, &held.digest);
                reported.map = Some(v1::RegionMapRef { epoch: held.epoch, digest: held.digest });
                taken = true;
            }
            Err(rejection) => {
                rejection.reason.as_str().clone_into(&mut reported.reason);
                reported.problem = rejection.to_string();
                // An answer of a shard counts more than that another was not reached.
                if first.is_none() || rejection.reason != Reason::RegionUnavailable {
                    first = Some(rejection);
                }
            }
        }
        shards.push(reported);
    }
    match first {
        Some(rejection) if !taken => Err(rejection),
        _ => {
            // An even newer one may have come into force meanwhile; the shards have taken this one.
            match ctx.map.take(verified, |_| true) {
                Ok(Succession::Next) => {
                    tracing::info!(
                        map_epoch = verified.map.epoch().number,
                        "a map was applied here"
                    );
                }
                Ok(Succession::Same) => {}
                Err(rejection) => tracing::warn!(
                    reason = %rejection.reason,
                    "shards took a map that this gateway does not"
                ),
            }
            Ok(shards)
        }
    }
}

async fn history(
    ctx: &CallContext,
    call: &Call,
    request: &v1::RegionMapHistoryRequest,
) -> Result<v1::RegionMapHistory, Rejection> {
    let routing = ctx.map.pin();
    let wanted = match request.region.as_str() {
        "" => None,
        name => Some(RegionId::parse(name).map_err(|why| Rejection::id("region", why))?),
    };
    if wanted.as_ref().is_some_and(|name| routing.map().region(name).is_none()) {
        return Err(Rejection::new(Reason::DomicileUnknown).field("region"));
    }
    let page = PageToken::parse(&request.page_token)?;
    let of_region = |session: &&Arc<Session>| {
        let target = &session.target;
        session.is_up()
            && wanted.as_ref().is_none_or(|name| target.region == *name)
            && page.as_ref().is_none_or(|page| page.is_of(target))
    };
    let session = routing.sessions().find(of_region).ok_or(Reason::RegionUnavailable)?;
    let after = page.map_or(0, |page| page.after);
    let op = Op::MapHistory(proto::MapHistory { after });
    let Outcome::History(taken) = ask(session, call, op, 0).await? else {
        return Err(Reason::Internal.into());
    };
    let (region, shard) = (session.target.region.to_string(), session.target.shard.to_string());
    let last = taken.maps.last().and_then(|taken| taken.map.as_ref());
    let next = last.filter(|_| taken.more).map(|map| format!("{region}/{shard}/{}", map.epoch));
    let maps = taken.maps.into_iter().map(|taken| {
        let map = taken.map.unwrap_or_default();
        let take_time = Timestamp { seconds: i64::from(taken.minute) * 60, nanos: 0 };
        v1::TakenRegionMap {
            map: Some(v1::RegionMapRef { epoch: map.epoch, digest: map.digest }),
            take_time: Some(take_time),
            signers: taken.signers,
        }
    });
    let (maps, next_page_token) = (maps.collect(), next.unwrap_or_default());
    Ok(v1::RegionMapHistory { region, shard, maps, next_page_token })
}

/// Where a page of a history begins. All pages are of one shard.
struct PageToken<'a> {
    region: &'a str,
    shard: &'a str,
    after: u64,
}

impl<'a> PageToken<'a> {
    /// `None`: the first page.
    fn parse(token: &'a str) -> Result<Option<Self>, Rejection> {
        if token.is_empty() {
            return Ok(None);
        }
        let mut parts = token.splitn(3, '/');
        let (region, shard, after) = (parts.next(), parts.next(), parts.next());
        match (region, shard, after.and_then(|number| number.parse().ok())) {
            (Some(region), Some(shard), Some(after)) => Ok(Some(Self { region, shard, after })),
            _ => Err(Rejection::new(Reason::FieldInvalid)
                .field("page_token")
                .problem("is not a token that an answer gave")
                .cure("use next_page_token of the answer before, or none for the first page")),
        }
    }

    fn is_of(&self, target: &ShardTarget) -> bool {
        target.region.as_str() == self.region && target.shard.as_str() == self.shard
    }
}

/// Sends an operator's call to one shard; `bytes` are those of a map in it.
async fn ask(session: &Session, call: &Call, op: Op, bytes: usize) -> Result<Outcome, Rejection> {
    let deadline = (Instant::now() + SURVEY_TIME_MAX).min(call.deadline.of_call());
    let region = &session.target.region;
    let sent = call.admitted.shard_call(region, deadline, Effect::Read, bytes, op)?;
    Ok(session.call(sent, 0).await?.outcome)
}

fn shard_map(session: &Session) -> v1::ShardMap {
    v1::ShardMap {
        region: session.target.region.to_string(),
        shard: session.target.shard.to_string(),
        reachable: session.is_up(),
        map: session.map().map(to_wire),
        ..Default::default()
    }
}

fn to_wire(epoch: Epoch) -> v1::RegionMapRef {
    v1::RegionMapRef { epoch: epoch.number, digest: epoch.digest.to_vec().into() }
}

fn from_wire(map: Option<v1::SignedRegionMap>) -> Result<SignedMap, Rejection> {
    let map = map.unwrap_or_default();
    if map.text.is_empty() {
        return Err(Rejection::new(Reason::FieldMissing).field("map.text"));
    }
    let signed = SignedMap { text: map.text, note: map.note, packs: map.packs }.trimmed();
    signed.bounded()?;
    Ok(signed)
}

/// The day that a request names; today if it names none.
fn day(text: &str, ctx: &CallContext) -> Result<Date, Rejection> {
    if text.is_empty() {
        return Ok(Date::of(ctx.clock.now()));
    }
    let wrong = || Rejection::new(Reason::FieldInvalid).field("as_of").problem("is not a day");
    Date::parse(text).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use wire::bounded::check;

    use super::*;

    #[test]
    fn callers_can_decode_a_plan_of_many_shards() {
        let mut moves = Moves::new();
        for region in 0..20 {
            for n in 0..4_097 {
                let counted = proto::SurveyCount {
                    collection: format!("c{n}"),
                    fate: "elsewhere".to_owned(),
                    detail: "eu-fra".to_owned(),
                    count: Some(proto::CountRange { at_least: 10, at_most: 19 }),
                };
                add_move(&mut moves, &format!("r{region}"), counted);
            }
        }
        let all: u64 = moves.values().map(|sum| sum.at_least).sum();
        assert_eq!(all, 20 * 4_097 * 10, "each ruling is counted once");
        let answer = v1::PlanRegionMapResponse { moves: planned(moves), ..Default::default() };
        assert!(answer.moves.iter().any(|kind| kind.fate == "other"));
        let bytes = prost::Message::encode_to_vec(&answer);
        assert_eq!(check::<v1::PlanRegionMapResponse>(&bytes), Ok(()));
    }

    #[test]
    fn the_pages_of_a_history_are_of_one_shard() {
        let target = |shard: &str| ShardTarget {
            region: RegionId::parse("eu-fra").unwrap(),
            shard: terms::ShardId::parse(shard).unwrap(),
            territory: "DE",
            address: String::new(),
            standbys: Vec::new(),
        };
        assert!(PageToken::parse("").unwrap().is_none());
        let page = PageToken::parse("eu-fra/s1/256").unwrap().unwrap();
        assert_eq!(page.after, 256);
        assert!(page.is_of(&target("s1")) && !page.is_of(&target("s2")));
        for wrong in ["256", "eu-fra/s1", "eu-fra/s1/", "eu-fra/s1/-1", "eu-fra/s1/2/3"] {
            let rejection = PageToken::parse(wrong).err().unwrap();
            assert_eq!(
                (rejection.reason, rejection.field.as_deref()),
                (Reason::FieldInvalid, Some("page_token"))
            );
        }
    }
}
