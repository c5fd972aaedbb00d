//! An atomic `BatchPut`: all puts are stored, in one commit of one shard, or none. Everything that can be
//! refused here is refused before anything is sent; what the shard refuses, it refuses as a whole.

use std::collections::HashSet;

use terms::limits::{ATOMIC_PUTS_MAX, BODY_BYTES_MAX};
use terms::{Detail, Reason, Rejection};
use wire::v1;

use crate::api::batch::check_count;
use crate::api::context::{Admitted, Call, CallContext};
use crate::api::put::{self, Prepared};
use crate::api::response;
use crate::shards::in_flight::Effect;
use crate::shards::session::{ShardPut, ShardPuts};

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
        let one = put::prepare(&pinned, &acting.caller, request);
        prepared.push(one.map_err(|rejection| rejection.of_request(n))?);
    }
    let validate_only = belong_together(&prepared)?;
    let admit = |one: &Prepared<'_>| {
        // The bytes of its body are held with those of the whole message.
        let Admitted { permit, .. } = call.admit_item(0)?;
        permit.to_region(one.route.region())
    };
    let permits = prepared.iter().map(admit).collect::<Result<Vec<_>, _>>()?;
    let (mut puts, mut answers, mut route) = (Vec::new(), Vec::new(), None);
    for (one, permit) in prepared.into_iter().zip(permits) {
        let Prepared { route: own, put, subject, given } = one;
        answers.push((response::subject(&subject, own.region()), given));
        puts.push(ShardPut { put, permit });
        route.get_or_insert(own);
    }
    let route = route.ok_or(Reason::Internal)?;
    let (deadline, effect) = (call.deadline.of_call(), Effect::of_write(validate_only));
    let done = route.put_all(ShardPuts { acting, deadline, effect, puts }).await?;
    let item = |((subject, given), answer)| {
        let done = put::answer(&pinned, subject, given, answer, validate_only)?;
        Ok(Item { outcome: Some(Outcome::Done(done)) })
    };
    let results = answers.into_iter().zip(done).map(item).collect::<Result<_, Rejection>>()?;
    Ok(v1::BatchPutRecordsResponse { results })
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
