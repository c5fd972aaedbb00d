//! An atomic `BatchPut`: all puts are stored, in one commit of one shard, or none. Everything that can be
//! refused here is refused before anything is sent; what the shard refuses, it refuses as a whole.

use std::collections::HashSet;

use futures_util::StreamExt as _;
use futures_util::stream;
use terms::limits::{ATOMIC_PUTS_MAX, BODY_BYTES_MAX};
use terms::{Detail, Reason, Rejection};
use wire::session as proto;
use wire::v1;

use crate::api::batch::check_count;
use crate::api::binding;
use crate::api::context::{Admitted, Call, CallContext};
use crate::api::put::{self, Prepared};
use crate::api::response;
use crate::api::unique::{Creation, Unreachable, settled, ticket};
use crate::map::routing::Route;
use crate::shards::in_flight::Effect;
use crate::shards::session::{ShardAnswer, ShardPut, ShardPuts};

/// Puts whose participants are asked for at once.
const BOUND_AT_ONCE: usize = 16;

/// Stores all records, or none.
pub(crate) async fn put_all(
    ctx: &CallContext,
    call: &Call,
    requests: Vec<v1::PutRecordRequest>,
) -> Result<v1::BatchPutRecordsResponse, Rejection> {
    use v1::{BatchPutResult as Item, batch_put_result::Outcome};
    check_count(requests.len(), ATOMIC_PUTS_MAX)?;
    let bytes: usize = requests.iter().map(|put| put.body.len()).sum();
    if bytes > BODY_BYTES_MAX {
        let rejection = Rejection::new(Reason::BodyTooLarge).field("requests");
        return Err(rejection.with(Detail::Limit, BODY_BYTES_MAX));
    }
    let (pinned, acting) = (ctx.pin(), &call.admitted.acting);
    let mut prepared: Vec<Prepared<'_>> = Vec::with_capacity(requests.len());
    for (n, request) in requests.into_iter().enumerate() {
        let one = put::prepare(&pinned, &acting.caller, request)
            .map_err(|rejection| rejection.of_request(n))?;
        prepared.push(one);
    }
    let validate_only = belong_together(&prepared)?;
    let (until, mut binds) = (call.deadline.of_call(), Vec::with_capacity(prepared.len()));
    for Prepared { participants, put, .. } in &mut prepared {
        binds.push(binding::bind(&pinned, &call.admitted, until, participants, put));
    }
    let bound: Vec<_> = stream::iter(binds).buffered(BOUND_AT_ONCE).collect().await;
    let unbound = (0..).zip(bound).find_map(|(n, bound)| Some(bound.err()?.of_request(n)));
    let (mut puts, mut answers, mut route) = (Vec::new(), Vec::new(), None);
    for Prepared { route: own, put, subject, given, .. } in prepared {
        answers.push((response::subject(&subject, own.region()), given));
        puts.push(put);
        route.get_or_insert((own, subject));
    }
    let (route, subject) = route.ok_or(Reason::Internal)?;
    let (admitted, deadline, subject) = (&call.admitted, call.deadline.of_call(), &subject);
    let creation = Creation { ctx, pinned: &pinned, admitted, subject, deadline, validate_only };
    let sent = send(call, &creation, route, puts).await;
    let (done, unreachable) = binding::answered(unbound, sent)?;
    let item = |((subject, given), answer)| {
        let done = put::answer(&pinned, subject, given, answer, validate_only)?;
        Ok(Item { outcome: Some(Outcome::Done(done)) })
    };
    let mut results =
        answers.into_iter().zip(done).map(item).collect::<Result<Vec<_>, Rejection>>()?;
    // One of them has created the subject. The caller learns of it with the first.
    if let Some(Item { outcome: Some(Outcome::Done(done)) }) = results.first_mut() {
        done.unreachable = unreachable;
    }
    Ok(v1::BatchPutRecordsResponse { results })
}

/// Sends the puts, and once more where the other regions must be asked for their subject first.
async fn send(
    call: &Call,
    creation: &Creation<'_>,
    route: Route<'_>,
    mut puts: Vec<proto::Put>,
) -> Result<(Vec<ShardAnswer>, Unreachable), Rejection> {
    let (region, acting) = (route.region().clone(), &call.admitted.acting);
    let effect = Effect::of_write(creation.validate_only);
    let all = |puts: Vec<proto::Put>| {
        let one = |put| {
            // The bytes of its body are held with those of the whole message.
            let Admitted { permit, .. } = call.admit_item(0)?;
            Ok(ShardPut { put, permit: permit.to_region(&region)? })
        };
        let puts = puts.into_iter().map(one).collect::<Result<Vec<_>, Rejection>>()?;
        Ok::<_, Rejection>(ShardPuts { acting, deadline: creation.deadline, effect, puts })
    };
    let creates = puts.iter().any(|put| put.create_subject);
    if !creates || !creation.may_be_asked() {
        let done = route.put_all(all(puts)?).await?;
        let asks = done.iter().any(|answer| settled(answer).is_err());
        return if asks { Err(Reason::MapsDiffer.into()) } else { Ok((done, Unreachable::new())) };
    }
    let done = route.put_all(all(puts.clone())?).await?;
    let Some(ticket) = done.iter().find_map(ticket) else { return Ok((done, Unreachable::new())) };
    let unreachable = creation.claim(&region).await?;
    puts.iter_mut().for_each(|put| put.asked.clone_from(&ticket));
    let done = creation.again(&region)?.put_all(all(puts)?).await?;
    done.iter().try_for_each(settled)?;
    Ok((done, unreachable))
}

/// Whether the puts are of different records of one subject in one region, and all of them are dry
/// runs or none is. Gives whether they are.
fn belong_together(all: &[Prepared<'_>]) -> Result<bool, Rejection> {
    let first = all.first().ok_or(Reason::Internal)?;
    let mut records = HashSet::new();
    for (n, one) in all.iter().enumerate() {
        let wrong = |field, problem: &'static str| {
            let rejection = Rejection::new(Reason::FieldInvalid).field(field).problem(problem);
            Err(rejection.of_request(n))
        };
        if one.put.subject != first.put.subject || !one.route.is_that_of(&first.route) {
            return wrong("subject", "is another subject or region than that of the first request");
        }
        if !records.insert((one.put.collection.as_str(), one.put.key.as_str())) {
            return wrong("key", "names a record that a request before it names");
        }
        if one.put.validate_only != first.put.validate_only {
            return wrong("validate_only", "differs from that of the first request");
        }
    }
    Ok(first.put.validate_only)
}
