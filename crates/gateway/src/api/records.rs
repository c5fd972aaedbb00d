//! The service `Records`: each method from its request to its answer.

use std::pin::Pin;
use std::sync::Arc;

use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};
use wire::v1;
use wire::v1::records_server::Records;

use crate::api::context::{Call, CallContext};
use crate::api::delete::delete;
use crate::api::get::get;
use crate::api::list;
use crate::api::patch::patch;
use crate::api::put::put;
use crate::api::put_stream;
use crate::api::touch::touch;
use crate::api::{batch, batch_atomic, scan, watch};

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
        let answer = get(&self.0, &call.admitted, call.deadline.of_call(), request).await;
        call.answer(answer)
    }

    async fn list(
        &self,
        request: Request<v1::ListRecordsRequest>,
    ) -> Result<Response<v1::ListRecordsResponse>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = list::list(&self.0, &call, request).await;
        call.answer(answer)
    }

    async fn count(
        &self,
        request: Request<v1::CountRecordsRequest>,
    ) -> Result<Response<v1::CountRecordsResponse>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = list::count(&self.0, &call, request).await;
        call.answer(answer)
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteRecordRequest>,
    ) -> Result<Response<v1::DeleteRecordResponse>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = delete(&self.0, &call.admitted, call.deadline.of_call(), request).await;
        call.answer(answer)
    }

    async fn batch_get(
        &self,
        request: Request<v1::BatchGetRecordsRequest>,
    ) -> Result<Response<v1::BatchGetRecordsResponse>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = batch::get_all(&self.0, &call, request).await;
        call.answer(answer)
    }

    async fn batch_put(
        &self,
        request: Request<v1::BatchPutRecordsRequest>,
    ) -> Result<Response<v1::BatchPutRecordsResponse>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = if request.atomic {
            batch_atomic::put_all(&self.0, &call, request.requests).await
        } else {
            batch::put_all(&self.0, &call, request).await
        };
        call.answer(answer)
    }

    async fn batch_delete(
        &self,
        request: Request<v1::BatchDeleteRecordsRequest>,
    ) -> Result<Response<v1::BatchDeleteRecordsResponse>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = batch::delete_all(&self.0, &call, request).await;
        call.answer(answer)
    }

    async fn touch(
        &self,
        request: Request<v1::TouchRecordRequest>,
    ) -> Result<Response<v1::TouchRecordResponse>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = touch(&self.0, &call.admitted, call.deadline.of_call(), request).await;
        call.answer(answer)
    }

    async fn patch(
        &self,
        request: Request<v1::PatchRecordRequest>,
    ) -> Result<Response<v1::PatchRecordResponse>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = patch(&self.0, &call.admitted, call.deadline.of_call(), request).await;
        call.answer(answer)
    }

    type WatchStream =
        Pin<Box<dyn Stream<Item = Result<v1::WatchRecordsResponse, Status>> + Send + 'static>>;

    async fn watch(
        &self,
        request: Request<v1::WatchRecordsRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        Ok(Response::new(Box::pin(watch::changes(Arc::clone(&self.0), call, request)?)))
    }

    type ScanStream =
        Pin<Box<dyn Stream<Item = Result<v1::ScanRecordsResponse, Status>> + Send + 'static>>;

    async fn scan(
        &self,
        request: Request<v1::ScanRecordsRequest>,
    ) -> Result<Response<Self::ScanStream>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        Ok(Response::new(Box::pin(scan::records(Arc::clone(&self.0), call, request)?)))
    }

    type StreamPutStream =
        Pin<Box<dyn Stream<Item = Result<v1::StreamPutResponse, Status>> + Send + 'static>>;

    async fn stream_put(
        &self,
        request: Request<Streaming<v1::StreamPutRequest>>,
    ) -> Result<Response<Self::StreamPutStream>, Status> {
        let (call, requests) = Call::open(&self.0, request)?;
        Ok(Response::new(Box::pin(put_stream::writes(Arc::clone(&self.0), call, requests))))
    }
}
