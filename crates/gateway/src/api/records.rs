//! The service `Records`: each method from its request to its answer.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use terms::{Reason, Rejection};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};
use wire::session::{self as proto, call::Op};
use wire::v1;
use wire::v1::records_server::Records;

use crate::api::context::{Call, CallContext};
use crate::api::pinned_map::PinnedMap;
use crate::api::put::put;
use crate::api::put_stream;
use crate::api::request::Target;
use crate::api::response;
use crate::auth::caller::Caller;
use crate::map::routing::Route;
use crate::shards::in_flight::Effect;

/// The service. Clones share everything.
#[derive(Clone)]
pub(crate) struct RecordsService(pub(crate) Arc<CallContext>);

#[tonic::async_trait]
impl Records for RecordsService {
    async fn put(
        &self,
        request: Request<v1::PutRecordRequest>,
    ) -> Result<Response<v1::PutRecordResponse>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = put(&self.0, &call.admitted, call.deadline.of_call(), request).await;
        call.answer(answer)
    }

    async fn get(
        &self,
        request: Request<v1::GetRecordRequest>,
    ) -> Result<Response<v1::Record>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = get(&self.0, &call, request).await;
        call.answer(answer)
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteRecordRequest>,
    ) -> Result<Response<v1::DeleteRecordResponse>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = delete(&self.0, &call, request).await;
        call.answer(answer)
    }

    async fn touch(
        &self,
        request: Request<v1::TouchRecordRequest>,
    ) -> Result<Response<v1::TouchRecordResponse>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = touch(&self.0, &call, request).await;
        call.answer(answer)
    }

    type StreamPutStream =
        Pin<Box<dyn Stream<Item = Result<v1::StreamPutResponse, Status>> + Send + 'static>>;

    async fn stream_put(
        &self,
        request: Request<Streaming<v1::PutRecordRequest>>,
    ) -> Result<Response<Self::StreamPutStream>, Status> {
        let (call, requests) = Call::open(&self.0, request)?;
        Ok(Response::new(Box::pin(put_stream::puts(Arc::clone(&self.0), call, requests))))
    }
}

async fn get(
    ctx: &CallContext,
    call: &Call,
    request: v1::GetRecordRequest,
) -> Result<v1::Record, Rejection> {
    let caller = &*call.admitted.acting.caller;
    let pinned = ctx.pin();
    let target = pinned.reader(caller).get(request)?;
    call.admitted.permit.has_room()?;
    let route = domicile(&pinned, caller, &target)?;
    let subject = Some(response::subject(&target.subject, route.region()));
    let op = Op::Get(proto::Get {
        subject: target.subject.expose().to_owned(),
        collection: target.collection.as_str().to_owned(),
        key: target.key.clone(),
    });
    let deadline = call.deadline.of_call();
    let sent = call.admitted.shard_call(route.region(), deadline, Effect::Read, 0, op)?;
    let found = response::found(route.send(sent).await?)?;
    // Held until the record has left the process.
    call.admitted.permit.hold(found.body.len())?;
    Ok(v1::Record {
        subject,
        collection: target.collection.as_str().to_owned(),
        key: target.key,
        body: found.body,
        version: found.version,
        etag: found.etag,
        expire_time: response::time(found.expire_ms),
    })
}

async fn delete(
    ctx: &CallContext,
    call: &Call,
    request: v1::DeleteRecordRequest,
) -> Result<v1::DeleteRecordResponse, Rejection> {
    let caller = &*call.admitted.acting.caller;
    let pinned = ctx.pin();
    let delete = pinned.reader(caller).delete(request)?;
    let route = domicile(&pinned, caller, &delete.target)?;
    let validate_only = delete.validate_only;
    let op = Op::Delete(proto::Delete {
        subject: delete.target.subject.expose().to_owned(),
        collection: delete.target.collection.as_str().to_owned(),
        key: delete.target.key,
        request_id: Bytes::copy_from_slice(delete.request_id.bytes()),
        if_version: delete.condition.if_version,
        etag: delete.condition.etag,
        validate_only,
        prove: delete.prove,
    });
    let (deadline, effect) = (call.deadline.of_call(), Effect::of_write(validate_only));
    let sent = call.admitted.shard_call(route.region(), deadline, effect, 0, op)?;
    let (written, receipt) = response::written(route.send(sent).await?, validate_only)?;
    Ok(v1::DeleteRecordResponse { version: written.version, replayed: written.replayed, receipt })
}

async fn touch(
    ctx: &CallContext,
    call: &Call,
    request: v1::TouchRecordRequest,
) -> Result<v1::TouchRecordResponse, Rejection> {
    let caller = &*call.admitted.acting.caller;
    let pinned = ctx.pin();
    let touch = pinned.reader(caller).touch(request)?;
    let route = domicile(&pinned, caller, &touch.target)?;
    let validate_only = touch.validate_only;
    let op = Op::Touch(proto::Touch {
        subject: touch.target.subject.expose().to_owned(),
        collection: touch.target.collection.as_str().to_owned(),
        key: touch.target.key,
        request_id: Bytes::copy_from_slice(touch.request_id.bytes()),
        if_version: touch.condition.if_version,
        etag: touch.condition.etag,
        validate_only,
        prove: touch.prove,
        expire_ms: touch.expire_ms,
    });
    let (deadline, effect) = (call.deadline.of_call(), Effect::of_write(validate_only));
    let sent = call.admitted.shard_call(route.region(), deadline, effect, 0, op)?;
    let (written, receipt) = response::written(route.send(sent).await?, validate_only)?;
    let proto::Written { version, etag, replayed, .. } = written;
    Ok(v1::TouchRecordResponse { version, etag, replayed, receipt })
}

/// The route to the domicile, which reads and deletes must name.
fn domicile<'a>(
    pinned: &'a PinnedMap,
    caller: &Caller,
    target: &Target,
) -> Result<Route<'a>, Rejection> {
    match &target.domicile {
        Some(region) => pinned.routing.domicile(region, &caller.tenant, &target.subject),
        None => Err(Rejection::new(Reason::DomicileRequired)
            .field("subject.domicile")
            .cure("set subject.domicile as returned by the first put")),
    }
}
