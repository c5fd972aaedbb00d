//! The service `RegionMaps`: what is in force where, and how the next map gets there.

use std::sync::Arc;
use std::time::Duration;

use atlas::{Date, Epoch, SealedMap, SignedMap, Succession};
use futures_util::future::join_all;
use prost_types::Timestamp;
use terms::{Detail, Fault, Reason, RegionId};
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status};
use wire::session::{self as proto, call::Op, reply::Outcome};
use wire::v1;
use wire::v1::region_maps_server::RegionMaps;

use crate::Shared;
use crate::call::Asked;
use crate::flight::Effect;
use crate::follow::{fetch, offer};
use crate::routing::Routing;
use crate::session::{Ask, Session};

/// Time that one shard has to walk over its subjects.
const SURVEY_MAX: Duration = Duration::from_secs(60);

/// The service. Clones share everything.
#[derive(Clone)]
pub(crate) struct Service(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl RegionMaps for Service {
    async fn get(
        &self,
        request: Request<v1::GetRegionMapRequest>,
    ) -> Result<Response<v1::SignedRegionMap>, Status> {
        let (asked, request) = Asked::open(&self.0.desk, request)?;
        let answer = in_time(&asked, get(&self.0, request.epoch)).await;
        asked.answer(answer)
    }

    async fn check(
        &self,
        request: Request<v1::CheckRegionMapRequest>,
    ) -> Result<Response<v1::CheckRegionMapResponse>, Status> {
        let (asked, request) = Asked::open(&self.0.desk, request)?;
        let shared = Arc::clone(&self.0);
        let checked = async {
            let _reading = self.0.charts.reading.acquire().await;
            blocking(move || check(&shared, request)).await
        };
        let answer = in_time(&asked, checked).await;
        asked.answer(answer)
    }

    async fn plan(
        &self,
        request: Request<v1::PlanRegionMapRequest>,
    ) -> Result<Response<v1::PlanRegionMapResponse>, Status> {
        let (asked, request) = Asked::open(&self.0.desk, request)?;
        let answer = in_time(&asked, plan(&self.0, &asked, request)).await;
        asked.answer(answer)
    }

    async fn apply(
        &self,
        request: Request<v1::ApplyRegionMapRequest>,
    ) -> Result<Response<v1::ApplyRegionMapResponse>, Status> {
        let (asked, request) = Asked::open(&self.0.desk, request)?;
        let answer = in_time(&asked, apply(&self.0, request)).await;
        asked.answer(answer)
    }

    async fn status(
        &self,
        request: Request<v1::RegionMapStatusRequest>,
    ) -> Result<Response<v1::RegionMapStatus>, Status> {
        let (asked, _) = Asked::open(&self.0.desk, request)?;
        let routing = self.0.charts.pin();
        let shards = routing.sessions().map(|session| v1::ShardMap {
            audit_address: routing.audit(&session.peer).unwrap_or_default().to_owned(),
            ..shard_map(session)
        });
        let shards = shards.collect();
        let gateway = Some(to_wire(routing.map().epoch()));
        asked.answer(Ok(v1::RegionMapStatus { gateway, shards }))
    }

    async fn history(
        &self,
        request: Request<v1::RegionMapHistoryRequest>,
    ) -> Result<Response<v1::RegionMapHistory>, Status> {
        let (asked, request) = Asked::open(&self.0.desk, request)?;
        let answer = in_time(&asked, history(&self.0, &asked, &request.region)).await;
        asked.answer(answer)
    }
}

/// What a call gives before its caller's deadline. A map that is applied is applied to each shard
/// by itself: the same call again finds out where it is, and goes on with the rest.
async fn in_time<T>(
    asked: &Asked,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let done = timeout_at(asked.deadline.of_call(), work).await;
    done.unwrap_or_else(|_| Err(Reason::DeadlinePassed.into()))
}

async fn get(shared: &Shared, epoch: u64) -> Result<v1::SignedRegionMap, Fault> {
    let routing = shared.charts.pin();
    let wanted = if epoch == 0 { routing.map().epoch().number } else { epoch };
    let fetched = routing
        .sessions()
        .filter(|session| session.is_up())
        .map(|session| fetch(session, proto::MapFetch { epoch: wanted, after: false }));
    // No shard is believed for being one: the map in force is known by its digest, an earlier one
    // by its signatures and the number in it.
    let own = routing.map().epoch();
    let given = join_all(fetched).await.into_iter().filter_map(Result::ok);
    let good = given.into_iter().find(|signed| {
        if wanted == own.number {
            return signed.digest() == own.digest;
        }
        let opened = shared.charts.open(signed);
        opened.is_ok_and(|sealed| sealed.map.epoch().number == wanted)
    });
    let mine = || (wanted == own.number).then(|| SignedMap::of(routing.map(), String::new()));
    if let Some(SignedMap { text, note, packs }) = good.or_else(mine) {
        return Ok(v1::SignedRegionMap { text, note, packs });
    }
    Err(Fault::new(Reason::MapGap)
        .field("epoch")
        .problem("no shard within reach has a map of that version whose signatures count")
        .cure("ask for one that `bailiwick map history` names"))
}

/// Work that takes a core for a while.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(Reason::Internal.into()))
}

fn check(
    shared: &Shared,
    request: v1::CheckRegionMapRequest,
) -> Result<v1::CheckRegionMapResponse, Fault> {
    let signed = from_wire(request.map)?;
    let date = day(&request.as_of, shared)?;
    let checked = signed.check(date)?;
    let widens = match &checked.map {
        Some(map) => {
            let own = shared.charts.pin();
            atlas::widening(Some(own.map()), map).iter().map(ToString::to_string).collect()
        }
        None => Vec::new(),
    };
    let findings = checked.findings.into_iter().map(|found| v1::MapFinding {
        error: found.severity() == atlas::Severity::Error,
        line: u32::try_from(found.line).unwrap_or(u32::MAX),
        column: u32::try_from(found.column).unwrap_or(u32::MAX),
        code: found.code.to_owned(),
        problem: found.problem,
        cure: found.cure,
    });
    Ok(v1::CheckRegionMapResponse { findings: findings.collect(), widens })
}

async fn plan(
    shared: &Shared,
    asked: &Asked,
    request: v1::PlanRegionMapRequest,
) -> Result<v1::PlanRegionMapResponse, Fault> {
    let number = match request.as_of.as_str() {
        "" => 0,
        text => day(text, shared)?.day(),
    };
    let signed = from_wire(request.map)?;
    let read = signed.clone();
    let reading = shared.charts.reading.acquire().await;
    blocking(move || read.read().map(|_| ())).await?;
    drop(reading);
    let bytes = signed.bytes();
    let routing = shared.charts.pin();
    let SignedMap { text, note, packs } = signed;
    let map = Some(proto::SignedMap { text, note, packs });
    let surveyed = routing.sessions().map(|session| {
        let op = Op::Survey(proto::Survey { map: map.clone(), day: number });
        async move { (session, of_operator(session, asked, (op, bytes), SURVEY_MAX).await) }
    });
    let mut answer = v1::PlanRegionMapResponse {
        against: Some(to_wire(routing.map().epoch())),
        ..Default::default()
    };
    for (session, surveyed) in join_all(surveyed).await {
        let region = session.peer.region.as_str();
        match surveyed {
            Ok(Outcome::Surveyed(surveyed)) => {
                answer.subjects += surveyed.subjects;
                answer.moves.extend(surveyed.counts.into_iter().map(|count| v1::PlannedMove {
                    region: region.to_owned(),
                    collection: count.collection,
                    fate: count.fate,
                    detail: count.detail,
                    count: count.count,
                }));
            }
            Ok(_) => return Err(Reason::Internal.into()),
            Err(fault) => {
                tracing::warn!(region, reason = %fault.reason, "a shard was not surveyed");
                answer.unreachable.push(region.to_owned());
            }
        }
    }
    answer.unreachable.sort_unstable();
    answer.unreachable.dedup();
    Ok(answer)
}

async fn apply(
    shared: &Shared,
    request: v1::ApplyRegionMapRequest,
) -> Result<v1::ApplyRegionMapResponse, Fault> {
    let signed = from_wire(request.map)?;
    let routing = shared.charts.pin();
    let own = routing.map().epoch().number;
    let opened = signed.clone();
    let charts = Arc::clone(&shared.charts);
    let sealed = blocking(move || charts.open(&opened)).await?;
    let again = sealed.map.epoch() == routing.map().epoch();
    if own != request.expect_epoch && !again {
        let fault = Fault::new(Reason::MapEpochChanged).field("expect_epoch");
        return Err(fault.with(Detail::MapEpoch, own));
    }
    atlas::succeeds(Some(routing.map()), &sealed.map, sealed.by.len())?;
    let map = Some(to_wire(sealed.map.epoch()));
    if request.validate_only {
        return Ok(v1::ApplyRegionMapResponse { map, shards: Vec::new() });
    }
    let shards = offer_to_all(shared, &routing, (&signed, &sealed)).await?;
    Ok(v1::ApplyRegionMapResponse { map, shards })
}

/// Gives a map to every shard within reach; once one has it, the gateway rules by it too.
async fn offer_to_all(
    shared: &Shared,
    routing: &Routing,
    (signed, sealed): (&SignedMap, &SealedMap),
) -> Result<Vec<v1::ShardMap>, Fault> {
    let offered = routing.sessions().map(|session| async move {
        let taken = offer(session, signed).await;
        (session, taken)
    });
    let (mut shards, mut first, mut taken) = (Vec::new(), None, false);
    for (session, outcome) in join_all(offered).await {
        let mut told = shard_map(session);
        match outcome {
            Ok(held) => {
                shared.charts.heard(session, held.epoch, &held.digest);
                told.map = Some(v1::RegionMapRef { epoch: held.epoch, digest: held.digest });
                taken = true;
            }
            Err(fault) => {
                fault.reason.as_str().clone_into(&mut told.reason);
                told.problem = fault.to_string();
                // What a shard says counts more than that another was not reached.
                let says = fault.reason != Reason::RegionUnavailable;
                if first.is_none() || says {
                    first = Some(fault);
                }
            }
        }
        shards.push(told);
    }
    match first {
        Some(fault) if !taken => Err(fault),
        _ => {
            // A still newer one may have come in between: what shards have taken is applied.
            match shared.charts.take(sealed, |_| true) {
                Ok(Succession::Next) => {
                    tracing::info!(map_epoch = sealed.map.epoch().number, "a map was applied here");
                }
                Ok(Succession::Same) => {}
                Err(fault) => tracing::warn!(reason = %fault.reason, "applied, and not here"),
            }
            Ok(shards)
        }
    }
}

async fn history(
    shared: &Shared,
    asked: &Asked,
    region: &str,
) -> Result<v1::RegionMapHistory, Fault> {
    let routing = shared.charts.pin();
    let wanted = match region {
        "" => None,
        name => Some(RegionId::parse(name).map_err(|why| Fault::id("region", why))?),
    };
    if wanted.as_ref().is_some_and(|name| routing.map().region(name).is_none()) {
        return Err(Fault::new(Reason::DomicileUnknown).field("region"));
    }
    let of_region = |session: &&Arc<Session>| {
        session.is_up() && wanted.as_ref().is_none_or(|name| session.peer.region == *name)
    };
    let session = routing.sessions().find(of_region).ok_or(Reason::RegionUnavailable)?;
    let op = Op::MapHistory(proto::MapHistory {});
    let Outcome::History(taken) = of_operator(session, asked, (op, 0), SURVEY_MAX).await? else {
        return Err(Reason::Internal.into());
    };
    let maps = taken.maps.into_iter().map(|taken| {
        let map = taken.map.unwrap_or_default();
        let take_time = Timestamp { seconds: i64::from(taken.minute) * 60, nanos: 0 };
        v1::TakenRegionMap {
            map: Some(v1::RegionMapRef { epoch: map.epoch, digest: map.digest }),
            take_time: Some(take_time),
            signers: taken.signers,
        }
    });
    Ok(v1::RegionMapHistory {
        region: session.peer.region.to_string(),
        shard: session.peer.shard.to_string(),
        maps: maps.collect(),
    })
}

/// A question of an operator to one shard.
async fn of_operator(
    session: &Session,
    asked: &Asked,
    (op, body): (Op, usize),
    within: Duration,
) -> Result<Outcome, Fault> {
    let (acting, share) = (&asked.turn.acting, &asked.turn.share);
    let deadline = (Instant::now() + within).min(asked.deadline.of_call());
    let (effect, load) = (Effect::Read, share.carry(body, (&session.peer.region, usize::MAX))?);
    let ask = Ask { acting, deadline, effect, body, load, op };
    let answered = timeout_at(deadline, session.call(ask, 0)).await;
    Ok(answered.map_err(|_| Fault::new(Reason::DeadlinePassed))??.outcome)
}

fn shard_map(session: &Session) -> v1::ShardMap {
    v1::ShardMap {
        region: session.peer.region.to_string(),
        shard: session.peer.shard.to_string(),
        reachable: session.is_up(),
        map: session.map().map(to_wire),
        ..Default::default()
    }
}

fn to_wire(epoch: Epoch) -> v1::RegionMapRef {
    v1::RegionMapRef { epoch: epoch.number, digest: epoch.digest.to_vec().into() }
}

fn from_wire(map: Option<v1::SignedRegionMap>) -> Result<SignedMap, Fault> {
    let map = map.unwrap_or_default();
    if map.text.is_empty() {
        return Err(Fault::new(Reason::FieldMissing).field("map.text"));
    }
    let signed = SignedMap { text: map.text, note: map.note, packs: map.packs }.trimmed();
    signed.bounded()?;
    Ok(signed)
}

/// The day that is asked about; today, if none is named.
fn day(text: &str, shared: &Shared) -> Result<Date, Fault> {
    if text.is_empty() {
        return Ok(Date::of(shared.clock.now()));
    }
    let wrong = || Fault::new(Reason::FieldInvalid).field("as_of").problem("is no day");
    Date::parse(text).ok_or_else(wrong)
}
