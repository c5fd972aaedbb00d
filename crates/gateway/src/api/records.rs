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

use crate::api::context::{Asked, Turn};
use crate::api::put::{effect, put};
use crate::api::put_stream;
use crate::api::request::Target;
use crate::api::response;
use crate::auth::caller::Caller;
use crate::limits::Kept;
use crate::map::routing::Way;
use crate::shards::in_flight::Effect;
use crate::shards::session::Ask;
use crate::{Pinned, Shared};

/// The service. Clones share everything.
#[derive(Clone)]
pub(crate) struct Service(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl Records for Service {
    async fn put(
        &self,
        request: Request<v1::PutRecordRequest>,
    ) -> Result<Response<v1::PutRecordResponse>, Status> {
        let (asked, request) = Asked::open(&self.0.desk, request)?;
        let answer = put(&self.0, &asked.turn, asked.deadline.of_call(), request).await;
        asked.answer(answer)
    }

    async fn get(
        &self,
        request: Request<v1::GetRecordRequest>,
    ) -> Result<Response<v1::Record>, Status> {
        let (asked, request) = Asked::open(&self.0.desk, request)?;
        match get(&self.0, &asked, request).await {
            Ok((record, kept)) => {
                let mut response = asked.answer(Ok(record))?;
                // It takes its room until it has gone out.
                response.extensions_mut().insert(Arc::new(kept));
                Ok(response)
            }
            Err(fault) => asked.answer(Err(fault)),
        }
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteRecordRequest>,
    ) -> Result<Response<v1::DeleteRecordResponse>, Status> {
        let (asked, request) = Asked::open(&self.0.desk, request)?;
        let answer = delete(&self.0, &asked, request).await;
        asked.answer(answer)
    }

    type StreamPutStream =
        Pin<Box<dyn Stream<Item = Result<v1::StreamPutResponse, Status>> + Send + 'static>>;

    async fn stream_put(
        &self,
        request: Request<Streaming<v1::PutRecordRequest>>,
    ) -> Result<Response<Self::StreamPutStream>, Status> {
        let (asked, requests) = Asked::open(&self.0.desk, request)?;
        Ok(Response::new(Box::pin(put_stream::puts(Arc::clone(&self.0), asked, requests))))
    }
}

async fn get(
    shared: &Shared,
    asked: &Asked,
    request: v1::GetRecordRequest,
) -> Result<(v1::Record, Kept), Rejection> {
    let Turn { acting, share } = &asked.turn;
    let caller = &*acting.caller;
    let pinned = shared.pin();
    let target = pinned.reader(caller).get(request)?;
    share.may_ask()?;
    let way = home(&pinned, caller, &target)?;
    let subject = Some(response::subject(&target.subject, way.region()));
    let op = Op::Get(proto::Get {
        subject: target.subject.expose().to_owned(),
        collection: target.collection.as_str().to_owned(),
        key: target.key.clone(),
    });
    let deadline = asked.deadline.of_call();
    let (effect, load) = (Effect::Read, share.carry(0, (way.region(), shared.desk.seats.free()))?);
    let ask = Ask { acting, deadline, effect, body: 0, load, op };
    let found = response::found(way.send(ask).await?)?;
    let kept = share.keep(found.body.len())?;
    let record = v1::Record {
        subject,
        collection: target.collection.as_str().to_owned(),
        key: target.key,
        body: found.body,
        version: found.version,
        etag: found.etag,
    };
    Ok((record, kept))
}

async fn delete(
    shared: &Shared,
    asked: &Asked,
    request: v1::DeleteRecordRequest,
) -> Result<v1::DeleteRecordResponse, Rejection> {
    let Turn { acting, share } = &asked.turn;
    let caller = &*acting.caller;
    let pinned = shared.pin();
    let delete = pinned.reader(caller).delete(request)?;
    let way = home(&pinned, caller, &delete.target)?;
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
    let deadline = asked.deadline.of_call();
    let (effect, load) =
        (effect(validate_only), share.carry(0, (way.region(), shared.desk.seats.free()))?);
    let ask = Ask { acting, deadline, effect, body: 0, load, op };
    let (written, receipt) = response::written(way.send(ask).await?, validate_only)?;
    Ok(v1::DeleteRecordResponse { version: written.version, replayed: written.replayed, receipt })
}

/// The way to the domicile, which reads and deletes cannot do without.
fn home<'a>(
    pinned: &'a Pinned<'_>,
    caller: &Caller,
    target: &Target,
) -> Result<Way<'a>, Rejection> {
    match &target.domicile {
        Some(region) => pinned.routing.domicile(region, &caller.tenant, &target.subject),
        None => Err(Rejection::new(Reason::DomicileRequired)
            .field("subject.domicile")
            .cure("set subject.domicile as returned by the first put")),
    }
}
